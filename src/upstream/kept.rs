//! What is counted for the ports of Services of which a DestinationRule speaks: requests and connections under way, whose
//! turn it is, and which endpoints are left alone. It survives editions; each Service's is its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::ejection::{Ejection, Outcome};
use super::{Caller, DialFault};
use crate::config::limits::DIAL_TIMEOUT;
use crate::mesh::{Bounds, Endpoint, Outliers, TargetKey, Traffic};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Services {
    table: Mutex<HashMap<TargetKey, Arc<Kept>>>,
    ejected: AtomicU64,
}

/// One port of one Service.
#[derive(Debug, Default)]
pub(super) struct Kept {
    requests: AtomicU32,
    waiting: AtomicU32,
    /// For as many connections as the rule said last.
    connections: Mutex<Option<(u32, Arc<Semaphore>)>>,
    turn: AtomicUsize,
    /// By the endpoint's id, with the rule by which it was heard last.
    ejections: Mutex<HashMap<Arc<str>, (Ejection, Outliers)>>,
}

/// A request or connection that counts, until it is dropped.
#[derive(Debug)]
pub(super) struct Passage {
    _request: Option<Under>,
    _connection: Option<OwnedSemaphorePermit>,
}

/// One more of a number, until it is dropped.
#[derive(Debug)]
struct Under {
    kept: Arc<Kept>,
    which: fn(&Kept) -> &AtomicU32,
}

impl Under {
    /// # Errors
    /// [`DialFault::Bounded`] where there are `most`.
    fn new(kept: &Arc<Kept>, which: fn(&Kept) -> &AtomicU32, most: Option<u32>) -> Result<Self, DialFault> {
        let before = which(kept).fetch_add(1, Ordering::Relaxed);
        let under = Self { kept: Arc::clone(kept), which };
        if most.is_none_or(|most| before < most) { Ok(under) } else { Err(DialFault::Bounded) }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        (self.which)(&self.kept).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Services {
    fn of(&self, key: &TargetKey) -> Arc<Kept> {
        let mut table = lock(&self.table);
        if let Some(known) = table.get(key) {
            return Arc::clone(known);
        }
        Arc::clone(table.entry(key.clone()).or_default())
    }

    /// A request goes out: at once, or as soon as one of the connections is free that it needs for itself.
    ///
    /// # Errors
    /// [`DialFault::Bounded`]
    pub(super) async fn request(
        &self,
        endpoint: &Endpoint,
        own_connection: bool,
    ) -> Result<Option<Passage>, DialFault> {
        let Some(traffic) = bounded(endpoint) else { return Ok(None) };
        let (kept, bounds) = (self.of(&traffic.of), &traffic.bounds);
        let request = Under::new(&kept, |kept| &kept.requests, bounds.requests)?;
        let connection = match bounds.connections.filter(|_| own_connection) {
            Some(most) => Some(kept.connection(most, bounds.waiting).await?),
            None => None,
        };
        Ok(Some(Passage { _request: Some(request), _connection: connection }))
    }

    /// A connection is made. It waits for none.
    ///
    /// # Errors
    /// [`DialFault::Bounded`]
    pub(super) fn connection(&self, endpoint: &Endpoint) -> Result<Option<Passage>, DialFault> {
        let Some(traffic) = bounded(endpoint) else { return Ok(None) };
        let Some(most) = traffic.bounds.connections else { return Ok(None) };
        let free = self.of(&traffic.of).connections(most).try_acquire_owned();
        let connection = free.map_err(|_none_is_free| DialFault::Bounded)?;
        Ok(Some(Passage { _request: None, _connection: Some(connection) }))
    }

    /// Whose turn it is, as a number that grows.
    pub(super) fn turn(&self, traffic: &Traffic) -> usize {
        self.of(&traffic.of).turn.fetch_add(1, Ordering::Relaxed)
    }

    /// A call to the endpoint ended.
    pub(super) fn heard(&self, endpoint: &Endpoint, outcome: Outcome, caller: Caller) {
        let Some((traffic, rule)) = judged(endpoint) else { return };
        let kept = self.of(&traffic.of);
        let mut ejections = lock(&kept.ejections);
        let now = Instant::now();
        // Answers are many, and nearly all of them are good.
        let is_good = matches!(outcome, Outcome::Status(status) if status < 500);
        let out = if is_good { 0 } else { ejections.values().filter(|(one, _)| one.out(now).is_some()).count() };
        let one = ejections.entry(Arc::clone(&endpoint.id)).or_insert_with(|| (Ejection::default(), *rule));
        one.1 = *rule;
        let left_alone = one.0.heard((outcome, caller), (rule, out < most_out(traffic, rule)), now);
        drop(ejections);
        if let Some(time) = left_alone {
            self.ejected.fetch_add(1, Ordering::Relaxed);
            let (service, seconds) = (&traffic.of, time.as_secs());
            tracing::warn!(endpoint = %endpoint.id, %service, seconds, "endpoint is left alone by outlierDetection");
        }
    }

    /// Those of `endpoints` that are not left alone. The rule says how many may be; who failed first is among them.
    pub(super) fn usable<'e>(&self, endpoints: Vec<&'e Arc<Endpoint>>) -> Vec<&'e Arc<Endpoint>> {
        let Some((traffic, rule)) = endpoints.first().and_then(|endpoint| judged(endpoint)) else { return endpoints };
        let kept = self.of(&traffic.of);
        let (now, ejections) = (Instant::now(), lock(&kept.ejections));
        if ejections.is_empty() {
            return endpoints;
        }
        let out = |endpoint: &Endpoint| ejections.get(&endpoint.id).and_then(|(one, _)| one.out(now));
        let mut since: Vec<_> = endpoints.iter().filter_map(|one| Some((out(one)?.0, Arc::clone(&one.id)))).collect();
        drop(ejections);
        since.sort();
        // The rule may have changed meanwhile, or the number of endpoints.
        since.truncate(most_out(traffic, rule));
        let well = endpoints.len() - since.len();
        if since.is_empty() || well * 100 < endpoints.len() * rule.least_well as usize {
            return endpoints;
        }
        endpoints.into_iter().filter(|one| since.iter().all(|(_, id)| *id != one.id)).collect()
    }

    /// How often any endpoint was left alone.
    pub(super) fn ejected(&self) -> u64 {
        self.ejected.load(Ordering::Relaxed)
    }

    /// The endpoints that are left alone, by id, each with how much longer.
    pub(super) fn out(&self) -> HashMap<Arc<str>, Duration> {
        let now = Instant::now();
        let services: Vec<Arc<Kept>> = lock(&self.table).values().cloned().collect();
        let mut all = HashMap::new();
        for kept in services {
            for (id, (one, _)) in lock(&kept.ejections).iter() {
                if let Some((_, left)) = one.out(now) {
                    let known: &mut Duration = all.entry(Arc::clone(id)).or_default();
                    *known = left.max(*known);
                }
            }
        }
        all
    }

    /// Forgets what nobody counts and where nothing speaks against any endpoint.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        lock(&self.table).retain(|_, kept| {
            let mut ejections = lock(&kept.ejections);
            ejections.retain(|_, (one, rule)| !one.is_old(rule, now));
            let is_used = !ejections.is_empty() || kept.requests.load(Ordering::Relaxed) > 0;
            drop(ejections);
            is_used || Arc::strong_count(kept) > 1 || kept.has_connections()
        });
    }
}

/// How many endpoints may be left alone: as many as are not more of 100 than the rule says, which of few may be none (Envoy
/// without `always_eject_one_host`).
fn most_out(traffic: &Traffic, rule: &Outliers) -> usize {
    traffic.endpoints * usize::try_from(rule.most).unwrap_or(usize::MAX) / 100
}

/// The rule by which calls to the endpoint are counted.
fn bounded(endpoint: &Endpoint) -> Option<&Traffic> {
    let counts = |bounds: &Bounds| bounds.requests.is_some() || bounds.connections.is_some();
    endpoint.traffic.as_deref().filter(|traffic| counts(&traffic.bounds))
}

/// The rule by which its answers are judged.
fn judged(endpoint: &Endpoint) -> Option<(&Traffic, &Outliers)> {
    let traffic = endpoint.traffic.as_deref()?;
    Some((traffic, traffic.outliers.as_ref()?))
}

impl Kept {
    fn connections(&self, most: u32) -> Arc<Semaphore> {
        let mut now = lock(&self.connections);
        match &*now {
            Some((as_many, free)) if *as_many == most => Arc::clone(free),
            // Those that are there already count against what was said before.
            Some(_) | None => {
                let free =
                    Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)));
                *now = Some((most, Arc::clone(&free)));
                free
            }
        }
    }

    /// A connection, waited for where others wait no more than the rule says, and no longer than one may take to be made.
    async fn connection(self: &Arc<Self>, most: u32, waiting: Option<u32>) -> Result<OwnedSemaphorePermit, DialFault> {
        let free = self.connections(most);
        if let Ok(connection) = Arc::clone(&free).try_acquire_owned() {
            return Ok(connection);
        }
        let _waits = Under::new(self, |kept| &kept.waiting, waiting)?;
        let waited = tokio::time::timeout(DIAL_TIMEOUT, free.acquire_owned()).await;
        waited.ok().and_then(Result::ok).ok_or(DialFault::Bounded)
    }

    fn has_connections(&self) -> bool {
        let free = lock(&self.connections);
        free.as_ref()
            .is_some_and(|(most, free)| free.available_permits() < usize::try_from(*most).unwrap_or(usize::MAX))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
