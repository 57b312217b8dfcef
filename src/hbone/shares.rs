//! How many connections each identity has: whoever opens ever more is refused before others are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::WorkloadId;

/// The connections of each identity that has any.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    taken: Mutex<HashMap<WorkloadId, usize>>,
}

/// One connection's; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Shares>,
    id: WorkloadId,
}

impl Shares {
    /// `most` for each identity.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// One for `id`; none where it has them all.
    pub(super) fn take(self: &Arc<Self>, id: &WorkloadId) -> Option<Share> {
        let mut all = self.lock();
        let theirs = all.get(id).copied().unwrap_or(0);
        if theirs >= self.most {
            return None;
        }
        all.insert(id.clone(), theirs + 1);
        Some(Share { of: Arc::clone(self), id: id.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkloadId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.of.lock();
        let Some(theirs) = all.get_mut(&self.id) else { return };
        *theirs = theirs.saturating_sub(1);
        if *theirs == 0 {
            all.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_and_nothing_is_kept_of_who_left() {
        let shares = Shares::new(2);
        let [one, other] = ["one", "other"].map(|name| WorkloadId::parse(&format!("spiffe://td/{name}")).unwrap());
        let mut held: Vec<_> = (0..2).map(|_| shares.take(&one).unwrap()).collect();
        assert!(shares.take(&one).is_none());
        assert!(shares.take(&other).is_some());
        held.pop();
        held.extend(shares.take(&one));
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(shares.lock().is_empty());
    }
}
