use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::exchange::{Upload, UpstreamHttp};
use super::http1::One;
use crate::config::limits::{POOL_IDLE, POOL_IDLE_PER_ENDPOINT, UPSTREAM_STREAMS};
use crate::mesh::Endpoint;

/// What makes two requests able to share a connection: the same endpoint, reached and proven in the same way, and the
/// same HTTP version. Weight does not count, nor what rules of different Services say.
#[derive(Debug, Clone)]
pub(super) struct Key {
    endpoint: Arc<Endpoint>,
    version: UpstreamHttp,
}

impl Key {
    pub(super) fn new(endpoint: &Arc<Endpoint>, version: UpstreamHttp) -> Self {
        Self { endpoint: Arc::clone(endpoint), version }
    }

    /// How long a connection is kept that nobody uses.
    fn idle(&self) -> Duration {
        let said = self.endpoint.traffic.as_ref().and_then(|traffic| traffic.bounds.idle);
        said.map_or(POOL_IDLE, |said| said.min(POOL_IDLE))
    }

    /// Whether a connection that had so many requests takes another one.
    fn takes_more(&self, served: u32) -> bool {
        let most = self.endpoint.traffic.as_ref().and_then(|traffic| traffic.bounds.requests_per_connection);
        most.is_none_or(|most| served < most)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.endpoint, &other.endpoint);
        (self.version, &a.id, &a.at, &a.via, a.tunnel_port) == (other.version, &b.id, &b.at, &b.via, b.tunnel_port)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.endpoint.id, &self.endpoint.at, self.version).hash(state);
    }
}

/// Place of one request on a shared HTTP/2 connection; given back when dropped.
pub(super) type Lease = OwnedSemaphorePermit;

/// A connection for [`UPSTREAM_STREAMS`] requests at once, or as many fewer as its server takes.
#[derive(Debug)]
struct Many {
    sender: http2::SendRequest<Upload>,
    /// How many those are; none as long as that is not known.
    most: Arc<AtomicUsize>,
    places: Arc<Semaphore>,
    retire_at: Instant,
    idle_since: Option<Instant>,
    /// Requests that went out on it.
    served: u32,
}

impl Many {
    fn place(&self) -> Option<Lease> {
        let under_way = UPSTREAM_STREAMS.saturating_sub(self.places.available_permits());
        let is_free = under_way < self.most.load(Ordering::Relaxed);
        if is_free { Arc::clone(&self.places).try_acquire_owned().ok() } else { None }
    }
}

/// Idle HTTP/1.1 and all usable HTTP/2 connections. The lock is held for a few moves only.
pub(super) struct Pool {
    state: Mutex<State>,
    stir: Arc<Stir>,
    /// Wakes whoever waits in [`Pool::stirred`] when an idle connection ends, or its server says something unasked.
    waker: Waker,
}

#[derive(Default)]
struct Stir(Notify);

impl Wake for Stir {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

impl Default for Pool {
    fn default() -> Self {
        let stir = Arc::<Stir>::default();
        Self { state: Mutex::default(), waker: Arc::clone(&stir).into(), stir }
    }
}

#[derive(Default)]
struct State {
    closed: bool,
    slots: HashMap<Key, Slot>,
}

#[derive(Default)]
struct Slot {
    idle: Vec<(One, Instant)>,
    shared: Vec<Many>,
    /// One dial of a shared connection at a time: those who wait find it when they come in.
    dialing: Arc<tokio::sync::Mutex<()>>,
}

impl Pool {
    /// The connection that was used last: it is the likeliest to be alive.
    pub(super) fn take_one(&self, key: &Key) -> Option<One> {
        let mut state = self.lock();
        let slot = state.slots.get_mut(key)?;
        let now = Instant::now();
        while let Some((mut one, since)) = slot.idle.pop() {
            if self.usable(&mut one, since + key.idle(), now) {
                return Some(one);
            }
        }
        None
    }

    /// Keeps an idle connection, or closes it where there are enough or it is old.
    pub(super) fn put_one(&self, key: &Key, mut one: One) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        one.served = one.served.saturating_add(1);
        if !key.takes_more(one.served) {
            return;
        }
        let now = Instant::now();
        let slot = state.slots.entry(key.clone()).or_default();
        if slot.idle.len() < POOL_IDLE_PER_ENDPOINT && self.usable(&mut one, now + key.idle(), now) {
            slot.idle.push((one, now));
        }
    }

    /// A place on a shared connection.
    pub(super) fn take_place(&self, key: &Key) -> Option<(http2::SendRequest<Upload>, Lease)> {
        let mut state = self.lock();
        let slot = state.slots.get_mut(key)?;
        let now = Instant::now();
        slot.shared.retain(|many| !many.sender.is_closed() && now < many.retire_at && key.takes_more(many.served));
        slot.shared.iter_mut().find_map(|many| {
            let lease = many.place()?;
            many.idle_since = None;
            many.served = many.served.saturating_add(1);
            Some((many.sender.clone(), lease))
        })
    }

    /// Offers a fresh shared connection to all once it is settled how many it takes, and takes the first place on it.
    pub(super) fn share(
        &self,
        key: &Key,
        (sender, most): (&http2::SendRequest<Upload>, Arc<AtomicUsize>),
        retire_at: Instant,
    ) -> Option<Lease> {
        let places = Arc::new(Semaphore::new(UPSTREAM_STREAMS));
        let lease = Arc::clone(&places).try_acquire_owned().ok();
        let mut state = self.lock();
        if !state.closed {
            let many = Many { sender: sender.clone(), most, places, retire_at, idle_since: None, served: 1 };
            state.slots.entry(key.clone()).or_default().shared.push(many);
        }
        lease
    }

    /// To be held while dialling a shared connection.
    pub(super) fn dialing(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.lock().slots.entry(key.clone()).or_default().dialing)
    }

    /// Closes what was idle for [`POOL_IDLE`] and forgets endpoints without connections.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        state.slots.retain(|key, slot| {
            slot.idle.retain_mut(|(one, since)| self.usable(one, *since + key.idle(), now));
            slot.shared.retain_mut(|many| keep_shared(many, key.idle(), now));
            !slot.idle.is_empty() || !slot.shared.is_empty() || Arc::strong_count(&slot.dialing) > 1
        });
    }

    /// Closes everything idle and keeps nothing from now on.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.slots.clear();
    }

    /// Waits until an idle connection may have ended.
    pub(super) async fn stirred(&self) {
        self.stir.0.notified().await;
    }

    fn usable(&self, one: &mut One, until: Instant, now: Instant) -> bool {
        let quiet = one.poll_quiet(&mut Context::from_waker(&self.waker));
        quiet && now < until && now < one.retire_at
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep_shared(many: &mut Many, idle: Duration, now: Instant) -> bool {
    if many.places.available_permits() < UPSTREAM_STREAMS {
        many.idle_since = None;
    } else {
        let since = *many.idle_since.get_or_insert(now);
        if now >= since + idle {
            return false;
        }
    }
    !many.sender.is_closed() && now < many.retire_at
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("endpoints", &self.lock().slots.len()).finish_non_exhaustive()
    }
}
