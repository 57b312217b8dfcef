//! Calls under way to each target, and each caller's share of them and of those at one endpoint: one target whose servers
//! hang, or one caller that keeps its calls open, takes nothing from others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NoEndpoint;
use crate::config::limits::{
    MAX_CALLS_PER_ENDPOINT_AND_PRINCIPAL, MAX_CALLS_PER_TARGET, MAX_CALLS_PER_TARGET_AND_PRINCIPAL,
};
use crate::id::WorkloadId;
use crate::mesh::TargetKey;

/// The targets, and the endpoints, that are called now.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    targets: Counts<TargetKey>,
    /// By [`crate::mesh::Endpoint::id`], for all targets that lead there.
    endpoints: Counts<Arc<str>>,
}

type Counts<K> = Mutex<HashMap<K, Arc<Mutex<Calls>>>>;

#[derive(Debug, Default)]
struct Calls {
    all: usize,
    of: HashMap<WorkloadId, usize>,
}

/// A call under way to a target, until it is dropped.
#[derive(Debug)]
pub struct Place {
    target: Counted,
    _endpoint: Option<Counted>,
}

/// One of a caller's calls, until it is dropped.
#[derive(Debug)]
struct Counted {
    calls: Arc<Mutex<Calls>>,
    caller: WorkloadId,
}

impl Counted {
    /// One more, where there are less than `all`, and less than `own` of the caller.
    fn new(calls: Arc<Mutex<Calls>>, caller: &WorkloadId, (all, own): (usize, usize)) -> Result<Self, NoEndpoint> {
        let mut under_way = lock(&calls);
        if under_way.all >= all {
            return Err(NoEndpoint::TargetFull);
        }
        let theirs = under_way.of.get(caller).copied().unwrap_or_default();
        if theirs >= own {
            return Err(NoEndpoint::ShareFull);
        }
        under_way.of.insert(caller.clone(), theirs + 1);
        under_way.all += 1;
        drop(under_way);
        Ok(Self { calls, caller: caller.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.all = calls.all.saturating_sub(1);
        if let Some(own) = calls.of.get_mut(&self.caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                calls.of.remove(&self.caller);
            }
        }
    }
}

impl Crowd {
    /// A call of `caller` to `target` begins.
    ///
    /// # Errors
    /// [`NoEndpoint::TargetFull`], [`NoEndpoint::ShareFull`]
    pub(super) fn enter(&self, target: &TargetKey, caller: &WorkloadId) -> Result<Place, NoEndpoint> {
        let most = (MAX_CALLS_PER_TARGET, MAX_CALLS_PER_TARGET_AND_PRINCIPAL);
        Ok(Place { target: Counted::new(of(&self.targets, target), caller, most)?, _endpoint: None })
    }

    /// The same call goes to the endpoint of that id, of which its caller has a share too: else one could fill the only one
    /// of a small Service, or one where others' sessions live. All that go there are counted elsewhere.
    ///
    /// # Errors
    /// [`NoEndpoint::ShareFull`]
    pub(super) fn at(&self, place: Place, endpoint: &Arc<str>) -> Result<Place, NoEndpoint> {
        let most = (usize::MAX, MAX_CALLS_PER_ENDPOINT_AND_PRINCIPAL);
        let counted = Counted::new(of(&self.endpoints, endpoint), &place.target.caller, most)?;
        Ok(Place { _endpoint: Some(counted), ..place })
    }

    /// Forgets targets and endpoints that nobody calls.
    pub(super) fn sweep(&self) {
        lock(&self.targets).retain(|_, calls| Arc::strong_count(calls) > 1);
        lock(&self.endpoints).retain(|_, calls| Arc::strong_count(calls) > 1);
    }
}

fn of<K: Clone + Eq + Hash>(counts: &Counts<K>, key: &K) -> Arc<Mutex<Calls>> {
    let mut counts = lock(counts);
    if let Some(known) = counts.get(key) {
        return Arc::clone(known);
    }
    Arc::clone(counts.entry(key.clone()).or_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::MAX_CALLS_PER_ENDPOINT;
    use crate::mesh::TargetKind;

    fn key(name: &str) -> TargetKey {
        TargetKey { kind: TargetKind::Service, namespace: "tools".into(), name: name.into(), port: 80, at: None }
    }

    fn id(name: &str) -> WorkloadId {
        WorkloadId::parse(&format!("spiffe://cluster.local/ns/agents/sa/{name}")).unwrap()
    }

    #[test]
    fn a_target_and_a_callers_share_of_it_are_bounded_and_others_are_not_touched() {
        let crowd = Crowd::default();
        let enter = |target: &str, caller: &str| crowd.enter(&key(target), &id(caller));
        let mut open: Vec<Place> =
            (0..MAX_CALLS_PER_TARGET_AND_PRINCIPAL).map(|_| enter("slow", "a").unwrap()).collect();
        assert_eq!(enter("slow", "a").err(), Some(NoEndpoint::ShareFull));
        assert!(enter("quick", "a").is_ok(), "its calls to another target");
        for n in 0.. {
            match enter("slow", &format!("b{}", n % 100)) {
                Ok(place) => open.push(place),
                Err(fault) => {
                    assert_eq!((fault, open.len()), (NoEndpoint::TargetFull, MAX_CALLS_PER_TARGET));
                    break;
                }
            }
        }
        assert!(enter("quick", "c").is_ok());
        open.truncate(1);
        assert!(enter("slow", "a").is_ok());
        assert_eq!(lock(&open[0].target.calls).of.len(), 1, "callers without calls are forgotten");
        open.clear();
        crowd.sweep();
        assert!(lock(&crowd.targets).is_empty());
    }

    #[test]
    fn no_caller_fills_an_endpoint_alone_whatever_targets_lead_there() {
        let crowd = Crowd::default();
        let only: Arc<str> = "10.0.0.1:8080".into();
        let call = |target: &str, caller: &str, at: &Arc<str>| crowd.at(crowd.enter(&key(target), &id(caller))?, at);
        let mut open = Vec::new();
        let fault = loop {
            match call(if open.len() % 2 == 0 { "repo" } else { "same" }, "a", &only) {
                Ok(place) => open.push(place),
                Err(fault) => break fault,
            }
        };
        assert_eq!((fault, open.len()), (NoEndpoint::ShareFull, MAX_CALLS_PER_ENDPOINT_AND_PRINCIPAL));
        assert!(open.len() < MAX_CALLS_PER_ENDPOINT, "there is room for others");
        assert!(call("repo", "b", &only).is_ok());
        assert!(call("repo", "a", &"10.0.0.2:8080".into()).is_ok(), "its calls to another endpoint");
        open.pop();
        assert!(call("repo", "a", &only).is_ok(), "what was refused counts no more");
        open.clear();
        crowd.sweep();
        assert!(lock(&crowd.endpoints).is_empty() && lock(&crowd.targets).is_empty());
    }
}
