use std::net::SocketAddr;
use std::time::SystemTime;

use super::WorkloadId;

/// A caller whose identity was proven by its certificate in a TLS handshake with us.
///
/// Made by `tls` alone, after the chain was verified against the roots of the trust domain that the certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    id: WorkloadId,
    addr: SocketAddr,
    not_after: SystemTime,
}

impl Peer {
    /// For `tls` (and, in unit tests, for whoever needs a peer): the identity was verified.
    pub(crate) fn verified(id: WorkloadId, addr: SocketAddr, not_after: SystemTime) -> Self {
        Self { id, addr, not_after }
    }

    /// The proven identity.
    pub fn id(&self) -> &WorkloadId {
        &self.id
    }

    /// The address the TLS connection came from. In ambient this is the client pod's address, as its ztunnel keeps it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// When what proved the identity on its connection ends: its certificate, or ours, whichever is first. Nothing is
    /// served on that proof afterwards.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}
