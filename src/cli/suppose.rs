//! Callers that are supposed, not proven: for commands that ask what would be decided. Nothing that comes from here ever
//! meets a connection.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::id::{Peer, WorkloadId};

/// How long the supposed certificate lasts; no rule can see it.
const LIFE: Duration = Duration::from_secs(3_600);

/// A caller as if it had proven `id`.
pub(super) fn peer(id: WorkloadId, addr: SocketAddr) -> Peer {
    Peer::verified(id, addr, SystemTime::now() + LIFE)
}
