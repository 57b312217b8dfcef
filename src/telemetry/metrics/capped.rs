use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// A label set that can say less of itself, so that a family stays bounded.
pub(super) trait Fold: Clone + Eq + Hash {
    /// The same without what callers multiply (`other` in the caller's labels).
    fn without_caller(&self) -> Self;
    /// Nothing but `other`: at most one such set per family.
    fn anonymous(&self) -> Self;
}

/// The meters of at most `2 * limit + 1` label sets, found by one lookup per call.
///
/// New sets beyond `limit` lose their caller, beyond twice that everything: a scrape stays readable whoever calls.
pub(super) struct Capped<S, M> {
    limit: usize,
    sets: Mutex<HashMap<S, Arc<M>>>,
}

impl<S: Fold, M> Capped<S, M> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, sets: Mutex::new(HashMap::new()) }
    }

    /// The meters of `set`, or of what it folds to; `make` registers a new set's.
    pub(super) fn get(&self, set: &S, make: impl FnOnce(&S) -> M) -> Arc<M> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = sets.get(set) {
            return Arc::clone(found);
        }
        let folded = match sets.len() {
            held if held < self.limit => set.clone(),
            _ => {
                let known = set.without_caller();
                if sets.contains_key(&known) || sets.len() < self.limit * 2 { known } else { set.anonymous() }
            }
        };
        Arc::clone(sets.entry(folded.clone()).or_insert_with(|| Arc::new(make(&folded))))
    }
}

impl<S, M> fmt::Debug for Capped<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capped").field("limit", &self.limit).finish_non_exhaustive()
    }
}
