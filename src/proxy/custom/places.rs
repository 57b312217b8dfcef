//! How many calls wait for each provider, with a share per principal: whoever fills it is refused before others are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::budget::{Budget, Hold};
use crate::config::limits::{MAX_CHECKS, MAX_CHECKS_PER_PRINCIPAL};
use crate::id::WorkloadId;

/// The calls that wait, by the names of providers.
#[derive(Debug, Default)]
pub(in super::super) struct Checks(Mutex<HashMap<Arc<str>, Arc<Budget>>>);

impl Checks {
    /// A place for a call of `principal`; none where there are too many.
    pub(super) fn take(&self, provider: &Arc<str>, principal: &WorkloadId) -> Option<Hold> {
        let mut all = self.lock();
        // Providers that are declared no more are forgotten with their last call.
        all.retain(|name, budget| name == provider || Arc::strong_count(budget) > 1);
        let budget =
            all.entry(Arc::clone(provider)).or_insert_with(|| Budget::new(MAX_CHECKS, MAX_CHECKS_PER_PRINCIPAL));
        budget.one(principal).ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Budget>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_leaves_places_for_others() {
        let (checks, provider) = (Checks::default(), Arc::from("p"));
        let id = |name: usize| WorkloadId::parse(&format!("spiffe://td/{name}")).unwrap();
        let (greedy, other) = (id(0), id(1));
        let mut taken: Vec<_> =
            (0..MAX_CHECKS_PER_PRINCIPAL).map(|_| checks.take(&provider, &greedy).unwrap()).collect();
        assert!(checks.take(&provider, &greedy).is_none());
        assert!(checks.take(&provider, &other).is_some());
        let elsewhere = Arc::from("q");
        assert!(checks.take(&elsewhere, &greedy).is_some(), "each provider has its own");
        taken.pop();
        assert!(checks.take(&provider, &greedy).is_some());
        let more: Vec<_> = (1..MAX_CHECKS).map(id).collect();
        let all: Vec<_> = more.iter().map_while(|id| checks.take(&provider, id)).collect();
        assert_eq!(taken.len() + all.len(), MAX_CHECKS);
        assert!(checks.take(&provider, &id(MAX_CHECKS)).is_none());
        drop((taken, all));
        assert!(checks.lock().values().all(|budget| budget.used() == 0), "nothing is kept of who left");
    }
}
