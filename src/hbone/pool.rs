use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use http::HeaderMap;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::upstream::{Ticket, Upstream};
use super::{DialFault, Stream};
use crate::config::limits::DIAL_TIMEOUT;
use crate::id::WorkloadId;
use crate::tls::{Expect, Identity};

/// Connections that may end under a tunnel, one after the other, before it is given up.
const ATTEMPTS: usize = 3;

/// Tunnels to destinations, over shared connections. A cheap handle; when the last one is dropped, all connections end.
///
/// A connection is shared only between callers that expect the same identities at the same address, and carries our own
/// identity for all of them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    slots: StdMutex<HashMap<Key, Arc<Slot>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    addr: SocketAddr,
    expect: Expect,
}

/// The connections of one key. Its lock is held while dialling, so that many callers open one connection.
type Slot = Mutex<Vec<Upstream>>;

enum Found {
    Shared(Ticket),
    Fresh(Ticket),
}

impl Pool {
    /// A pool that speaks as `identity`, whatever that is at the time of each dial.
    pub fn new(identity: Identity) -> Self {
        let stop = CancellationToken::new();
        let shared = Shared {
            identity,
            slots: StdMutex::default(),
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Opens a tunnel through the HBONE port at `tunnel` (podIP:15008), where exactly one of `expect` must answer, to
    /// `authority` (podIP:targetPort).
    ///
    /// # Errors
    /// Within `DIAL_TIMEOUT` no tunnel was opened; the application behind `authority` saw nothing.
    pub async fn connect(
        &self,
        tunnel: SocketAddr,
        expect: &Arc<[WorkloadId]>,
        authority: &str,
    ) -> Result<Stream, DialFault> {
        self.connect_with(tunnel, Expect::Exact(Arc::clone(expect)), authority, &HeaderMap::new()).await
    }

    /// [`Pool::connect`] with headers on the CONNECT (`baggage`, `forwarded`, `traceparent`), and for tools with a wider
    /// [`Expect`].
    pub async fn connect_with(
        &self,
        tunnel: SocketAddr,
        expect: Expect,
        authority: &str,
        headers: &HeaderMap,
    ) -> Result<Stream, DialFault> {
        let key = Key { addr: tunnel, expect };
        let opened = timeout(DIAL_TIMEOUT, Box::pin(self.open(&key, authority, headers))).await;
        opened.unwrap_or(Err(DialFault::Timeout))
    }

    /// Ends every connection, with the tunnels on them, and waits for their tasks.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    async fn open(&self, key: &Key, authority: &str, headers: &HeaderMap) -> Result<Stream, DialFault> {
        let mut attempt = 1;
        loop {
            let (ticket, fresh) = match self.find(key).await? {
                Found::Shared(ticket) => (ticket, false),
                Found::Fresh(ticket) => (ticket, true),
            };
            match ticket.open(authority, headers).await {
                Err(fault) if fault.of_connection() && !fresh && attempt < ATTEMPTS => attempt += 1,
                opened => return opened,
            }
        }
    }

    /// A place on a connection that is there, or on a new one.
    async fn find(&self, key: &Key) -> Result<Found, DialFault> {
        let slot = self.slot(key);
        let mut connections = slot.lock().await;
        let edition = self.shared.identity.edition();
        let mut usable = Vec::with_capacity(connections.len() + 1);
        for mut connection in connections.drain(..) {
            if connection.is_usable(edition).await {
                usable.push(connection);
            }
        }
        *connections = usable;
        if let Some(ticket) = connections.iter().find_map(Upstream::ticket) {
            return Ok(Found::Shared(ticket));
        }
        let Shared { identity, tasks, stop, .. } = &*self.shared;
        if stop.is_cancelled() {
            return Err(DialFault::Closed);
        }
        let fresh = Upstream::dial(identity, key.addr, key.expect.clone(), tasks, stop).await?;
        let ticket = fresh.ticket().ok_or(DialFault::Closed)?;
        connections.push(fresh);
        Ok(Found::Fresh(ticket))
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        // A new destination: forget those that nobody holds and that have no live connection.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().map_or(true, |held| held.iter().any(Upstream::is_open))
        });
        let slot = Arc::new(Slot::default());
        slots.insert(key.clone(), Arc::clone(&slot));
        slot
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("identity", &self.shared.identity).finish_non_exhaustive()
    }
}
