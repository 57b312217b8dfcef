//! What is known of endpoints beside what documents say: the calls under way at each, and what calls showed of it. It is
//! kept by the endpoint's address and the way there, for all targets that lead there so, and survives editions. Who names
//! another's address with an identity, a tunnel or a TLS of its own speaks of that way alone.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::DialFault;
use super::kept::{Passage, Services};
use super::outlier::{Fit, Record, Why};
use crate::config::limits::{EJECTION_TABLE, MAX_CALLS_PER_ENDPOINT, MAX_DIALS_PER_ENDPOINT};
use crate::mesh::Endpoint;

/// The endpoints that were lately called.
#[derive(Debug, Default)]
pub(super) struct Live {
    table: RwLock<HashMap<u64, Arc<One>>>,
    keys: RandomState,
    /// Endpoints against which anything speaks; none, nearly always, and then none is asked.
    troubled: AtomicUsize,
    unreachable: AtomicU64,
    /// Of the Services of which DestinationRules speak.
    pub(super) services: Services,
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct One {
    id: Arc<str>,
    calls: AtomicUsize,
    dials: AtomicUsize,
    troubled: AtomicBool,
    record: Mutex<Record>,
}

/// A call under way at an endpoint, until it is dropped.
#[derive(Debug)]
pub struct Busy {
    one: Arc<One>,
    _passage: Option<Passage>,
}

/// A connection under way to an endpoint, until it is dropped.
pub(super) struct Dialing<'o>(&'o One);

/// What is seen of an endpoint now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// As [`crate::mesh::Endpoint::id`].
    pub id: Arc<str>,
    /// Calls under way.
    pub calls: usize,
    /// Why it is left alone, and for how much longer; zero while it is being tried again.
    pub out: Option<(Why, Duration)>,
}

impl Busy {
    pub(super) fn at(&self) -> &One {
        &self.one
    }

    /// The same, counted by what a DestinationRule says too.
    pub(super) fn by(mut self, passage: Option<Passage>) -> Self {
        self._passage = passage;
        self
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.one.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.0.dials.fetch_sub(1, Ordering::Relaxed);
    }
}

impl One {
    fn new(id: &Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            id: Arc::clone(id),
            calls: AtomicUsize::new(0),
            dials: AtomicUsize::new(0),
            troubled: AtomicBool::new(false),
            record: Mutex::default(),
        })
    }

    /// # Errors
    /// [`DialFault::Crowded`]
    pub(super) fn dial(&self) -> Result<Dialing<'_>, DialFault> {
        let under_way = self.dials.fetch_add(1, Ordering::Relaxed);
        let dialing = Dialing(self);
        if under_way < MAX_DIALS_PER_ENDPOINT { Ok(dialing) } else { Err(DialFault::Crowded) }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// A call to the endpoint begins.
    ///
    /// # Errors
    /// [`DialFault::Full`]
    pub(super) fn begin(&self, endpoint: &Endpoint) -> Result<Busy, DialFault> {
        let one = self.one(endpoint);
        let under_way = one.calls.fetch_add(1, Ordering::Relaxed);
        let busy = Busy { one, _passage: None };
        if under_way < MAX_CALLS_PER_ENDPOINT { Ok(busy) } else { Err(DialFault::Full) }
    }

    /// Calls under way at the endpoint.
    pub(super) fn calls(&self, endpoint: &Endpoint) -> usize {
        self.known(self.key(endpoint)).map_or(0, |one| one.calls.load(Ordering::Relaxed))
    }

    /// Whether anything speaks against any endpoint.
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed) > 0
    }

    /// Whether the endpoint is one to choose.
    pub(super) fn fit(&self, endpoint: &Endpoint, now: Instant) -> Fit {
        let one = self.known(self.key(endpoint)).filter(|one| one.troubled.load(Ordering::Relaxed));
        one.map_or(Fit::Well, |one| one.record().fit(now))
    }

    /// The endpoint was chosen, which may be its trial.
    pub(super) fn chosen(&self, endpoint: &Endpoint) {
        if let Some(one) = self.known(self.key(endpoint)).filter(|one| one.troubled.load(Ordering::Relaxed)) {
            one.record().tried(Instant::now());
        }
    }

    /// A connection was made, or an answer came by one.
    pub(super) fn reached(&self, one: &One) {
        if !one.troubled.load(Ordering::Relaxed) {
            return;
        }
        let mut record = one.record();
        let returned = record.reached();
        self.forget(one, &mut record, Instant::now());
        drop(record);
        if returned {
            tracing::info!(endpoint = %one.id, "endpoint takes calls again");
        }
    }

    /// No connection.
    pub(super) fn failed(&self, one: &One) {
        let mut record = one.record();
        if !one.troubled.load(Ordering::Relaxed) {
            // Beyond what is remembered nothing is: who fails then is called as ever.
            if self.troubled.fetch_add(1, Ordering::Relaxed) >= EJECTION_TABLE {
                self.troubled.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            one.troubled.store(true, Ordering::Relaxed);
        }
        let left_alone = record.failed(Instant::now());
        drop(record);
        if let Some(time) = left_alone {
            self.unreachable.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(endpoint = %one.id, reason = Why::Unreachable.as_str(), seconds = time.as_secs(), "endpoint is left alone while others can be called");
        }
    }

    fn forget(&self, one: &One, record: &mut Record, now: Instant) {
        if record.is_clean(now) && one.troubled.swap(false, Ordering::Relaxed) {
            *record = Record::default();
            self.troubled.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets endpoints that nobody calls and against which nothing speaks.
    pub(super) fn sweep(&self) {
        self.services.sweep();
        let now = Instant::now();
        self.table.write().unwrap_or_else(PoisonError::into_inner).retain(|_, one| {
            self.forget(one, &mut one.record(), now);
            one.troubled.load(Ordering::Relaxed) || Arc::strong_count(one) > 1
        });
    }

    /// Every endpoint that is known of, in order of their ids.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let (now, ejected) = (Instant::now(), self.services.out());
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let seen = |one: &Arc<One>| {
            let unreachable = one.record().out(now).map(|left| (Why::Unreachable, left));
            let failing = || Some((Why::Failing, *ejected.get(&one.id)?));
            let calls = one.calls.load(Ordering::Relaxed);
            Seen { id: Arc::clone(&one.id), calls, out: unreachable.or_else(failing) }
        };
        let mut all: Vec<Seen> = table.values().map(seen).collect();
        drop(table);
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// How often any endpoint was left alone for that reason.
    pub(super) fn total(&self, why: Why) -> u64 {
        match why {
            Why::Unreachable => self.unreachable.load(Ordering::Relaxed),
            Why::Failing => self.services.ejected(),
        }
    }

    pub(super) fn one(&self, endpoint: &Endpoint) -> Arc<One> {
        let key = self.key(endpoint);
        if let Some(known) = self.known(key) {
            return known;
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(table.entry(key).or_insert_with(|| One::new(&endpoint.id)))
    }

    fn known(&self, key: u64) -> Option<Arc<One>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Under a key of this process, so that nobody makes two endpoints one.
    fn key(&self, endpoint: &Endpoint) -> u64 {
        let Endpoint { id, at, via, tunnel_port, weight: _, distance: _, traffic: _ } = endpoint;
        self.keys.hash_one((id, at, via, tunnel_port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::{EJECTION_FAILURES, EJECTION_LONGEST};
    use crate::id::WorkloadId;
    use crate::mesh::{At, HBONE_PORT, Via};

    fn endpoint(id: &str) -> Endpoint {
        let at = At::Addr("10.0.0.1:80".parse().unwrap());
        Endpoint { id: id.into(), at, via: Via::Plain, weight: 1, distance: 0, tunnel_port: HBONE_PORT, traffic: None }
    }

    /// Whoever may register a machine may give it the address of another tenant's pod, and call it as often as they like.
    #[test]
    fn who_names_anothers_address_speaks_of_their_own_way_there() {
        let live = Live::default();
        let of = |account: &str| {
            let id = WorkloadId::parse(&format!("spiffe://cluster.local/ns/{account}")).unwrap();
            Endpoint { via: Via::Hbone { expect: [id].into() }, ..endpoint("10.0.0.1:80") }
        };
        let (theirs, other) = (of("tools/sa/repo"), of("mallory/sa/m"));
        let tunnel = Endpoint { tunnel_port: 9, ..theirs.clone() };
        for named in [&other, &tunnel] {
            let one = live.one(named);
            let _dials: Vec<_> = (0..MAX_DIALS_PER_ENDPOINT).map(|_| one.dial().ok().unwrap()).collect();
            (0..EJECTION_FAILURES).for_each(|_| live.failed(&one));
            assert!(matches!(live.fit(named, Instant::now()), Fit::Out));
            assert_eq!(live.fit(&theirs, Instant::now()), Fit::Well);
            assert!(live.one(&theirs).dial().is_ok());
        }
        let near = Endpoint { distance: 3, weight: 7, ..other };
        assert!(matches!(live.fit(&near, Instant::now()), Fit::Out), "the same way in another Service");
    }

    #[test]
    fn calls_and_dials_are_bounded_and_given_back() {
        let live = Live::default();
        let (id, other) = (endpoint("a"), endpoint("b"));
        let all: Vec<_> = (0..MAX_CALLS_PER_ENDPOINT).map(|_| live.begin(&id).unwrap()).collect();
        assert!(matches!(live.begin(&id), Err(DialFault::Full)));
        assert_eq!(live.calls(&id), MAX_CALLS_PER_ENDPOINT, "what was refused counts no more");
        assert!(live.begin(&other).is_ok(), "another's are its own");
        drop(all);
        let one = live.one(&id);
        let dials: Vec<_> = (0..MAX_DIALS_PER_ENDPOINT).map(|_| one.dial().ok().unwrap()).collect();
        assert!(matches!(one.dial(), Err(DialFault::Crowded)));
        drop(dials);
        assert!(one.dial().is_ok());
        drop(one);
        live.sweep();
        assert!(live.seen().is_empty(), "nobody calls them");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_forgotten() {
        let live = Live::default();
        for n in 0..EJECTION_TABLE + 10 {
            let one = live.one(&endpoint(&format!("e{n}")));
            (0..EJECTION_FAILURES).for_each(|_| live.failed(&one));
        }
        live.sweep();
        assert_eq!(live.seen().len(), EJECTION_TABLE);
        assert_eq!(live.total(Why::Unreachable), EJECTION_TABLE as u64);
        let one = live.one(&endpoint("e0"));
        live.reached(&one);
        assert_eq!(live.fit(&endpoint("e0"), Instant::now()), Fit::Well);
        drop(one);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        live.sweep();
        assert!(live.seen().is_empty(), "nobody heard of them for an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn pods_that_are_gone_take_no_place_from_those_that_are_there() {
        let live = Live::default();
        // As with every rollout: a call was on its way, and nobody calls there again.
        for n in 0..EJECTION_TABLE {
            live.failed(&live.one(&endpoint(&format!("gone{n}"))));
        }
        let bad = live.one(&endpoint("bad"));
        let fail = || (0..EJECTION_FAILURES).for_each(|_| live.failed(&bad));
        fail();
        assert_eq!(live.fit(&endpoint("bad"), Instant::now()), Fit::Well, "there is no place");
        tokio::time::advance(2 * EJECTION_LONGEST).await;
        live.sweep();
        assert!(!live.is_troubled());
        fail();
        assert_eq!(live.fit(&endpoint("bad"), Instant::now()), Fit::Out);
        // What is heard of counts on, and one that is forgotten while it is called begins anew.
        live.sweep();
        assert!(live.is_troubled());
        tokio::time::advance(2 * EJECTION_LONGEST).await;
        live.sweep();
        live.failed(&bad);
        assert_eq!(live.fit(&endpoint("bad"), Instant::now()), Fit::Well, "one failure is not enough");
    }
}
