//! Calls under way to each target, and each caller's share of them: one target whose servers hang, or one caller that
//! keeps its calls open, takes nothing from others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NoEndpoint;
use crate::config::limits::{MAX_CALLS_PER_TARGET, MAX_CALLS_PER_TARGET_AND_PRINCIPAL};
use crate::id::WorkloadId;
use crate::mesh::TargetKey;

/// The targets that are called now.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    targets: Mutex<HashMap<TargetKey, Arc<Mutex<Calls>>>>,
}

#[derive(Debug, Default)]
struct Calls {
    all: usize,
    of: HashMap<WorkloadId, usize>,
}

/// A call under way to a target, until it is dropped.
#[derive(Debug)]
pub struct Place {
    calls: Arc<Mutex<Calls>>,
    caller: WorkloadId,
}

impl Drop for Place {
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
        let of_target = self.of(target);
        let mut calls = lock(&of_target);
        if calls.all >= MAX_CALLS_PER_TARGET {
            return Err(NoEndpoint::TargetFull);
        }
        let own = calls.of.get(caller).copied().unwrap_or_default();
        if own >= MAX_CALLS_PER_TARGET_AND_PRINCIPAL {
            return Err(NoEndpoint::ShareFull);
        }
        calls.of.insert(caller.clone(), own + 1);
        calls.all += 1;
        drop(calls);
        Ok(Place { calls: of_target, caller: caller.clone() })
    }

    /// Forgets targets that nobody calls.
    pub(super) fn sweep(&self) {
        lock(&self.targets).retain(|_, calls| Arc::strong_count(calls) > 1);
    }

    fn of(&self, target: &TargetKey) -> Arc<Mutex<Calls>> {
        let mut targets = lock(&self.targets);
        if let Some(known) = targets.get(target) {
            return Arc::clone(known);
        }
        Arc::clone(targets.entry(target.clone()).or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(lock(&open[0].calls).of.len(), 1, "callers without calls are forgotten");
        open.clear();
        crowd.sweep();
        assert!(lock(&crowd.targets).is_empty());
    }
}
