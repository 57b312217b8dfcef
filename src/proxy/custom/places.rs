//! How many calls wait for each provider, with a share per principal: whoever fills it is refused before others are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::limits::{MAX_CHECKS, MAX_CHECKS_PER_PRINCIPAL};
use crate::id::WorkloadId;

/// The calls that wait, by the names of providers.
#[derive(Debug, Default)]
pub(in super::super) struct Checks(Mutex<HashMap<Arc<str>, Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_principal: HashMap<WorkloadId, usize>,
}

/// One that waits.
#[derive(Debug)]
pub(super) struct Place<'a> {
    checks: &'a Checks,
    provider: &'a Arc<str>,
    principal: &'a WorkloadId,
}

impl Checks {
    /// A place for a call of `principal`; none where there are too many.
    pub(super) fn take<'a>(&'a self, provider: &'a Arc<str>, principal: &'a WorkloadId) -> Option<Place<'a>> {
        let mut all = self.lock();
        let waiting = all.entry(Arc::clone(provider)).or_default();
        let theirs = waiting.by_principal.get(principal).copied().unwrap_or(0);
        if waiting.all >= MAX_CHECKS || theirs >= MAX_CHECKS_PER_PRINCIPAL {
            return None;
        }
        waiting.all += 1;
        waiting.by_principal.insert(principal.clone(), theirs + 1);
        Some(Place { checks: self, provider, principal })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.checks.lock();
        let Some(waiting) = all.get_mut(self.provider) else { return };
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(theirs) = waiting.by_principal.get_mut(self.principal) {
            *theirs = theirs.saturating_sub(1);
            if *theirs == 0 {
                waiting.by_principal.remove(self.principal);
            }
        }
        if waiting.all == 0 {
            all.remove(self.provider);
        }
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
        assert!(checks.lock().is_empty(), "nothing is kept of who left");
    }
}
