//! What is kept of many, bounded, with a share per principal: whoever fills it forgets its own.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::id::WorkloadId;

/// Something that is in a principal's share.
pub(super) trait OfPrincipal {
    /// In whose.
    fn principal(&self) -> &WorkloadId;
}

/// The table. What was used longest ago is forgotten first: of whoever has its share, else of whoever has most.
#[derive(Debug)]
pub(super) struct Shares<K, V> {
    /// With when each was last used.
    entries: HashMap<K, (V, u64)>,
    /// Of each principal, by when they were last used.
    used: HashMap<WorkloadId, BTreeMap<u64, K>>,
    clock: u64,
    total: usize,
    share: usize,
}

impl<K: Clone + Eq + Hash, V: OfPrincipal> Shares<K, V> {
    /// For `total` of all principals, `share` of one.
    pub(super) fn new(total: usize, share: usize) -> Self {
        Self { entries: HashMap::new(), used: HashMap::new(), clock: 0, total, share }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is under the key, which is not used by that.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// As [`Shares::get`], to be changed: but for whose share it is in.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(value, _)| value)
    }

    /// Uses what is under the key.
    pub(super) fn touch(&mut self, key: &K) -> Option<&mut V> {
        let now = self.tick();
        let (value, used) = self.entries.get_mut(key)?;
        if let Some(theirs) = self.used.get_mut(value.principal())
            && let Some(key) = theirs.remove(used)
        {
            theirs.insert(now, key);
        }
        *used = now;
        Some(value)
    }

    /// Puts it under the key, as just used. Whether another was forgotten for it.
    pub(super) fn put(&mut self, key: K, value: V) -> bool {
        let forgot = self.remove(&key).is_none() && self.make_room(value.principal());
        let now = self.tick();
        self.used.entry(value.principal().clone()).or_default().insert(now, key.clone());
        self.entries.insert(key, (value, now));
        forgot
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.used.clear();
    }

    /// All of them, in no order, each with when it was last used.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V, u64)> {
        self.entries.iter().map(|(key, (value, used))| (key, value, *used))
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let (value, used) = self.entries.remove(key)?;
        if let Some(theirs) = self.used.get_mut(value.principal()) {
            theirs.remove(&used);
            if theirs.is_empty() {
                self.used.remove(value.principal());
            }
        }
        Some(value)
    }

    fn make_room(&mut self, principal: &WorkloadId) -> bool {
        let theirs = self.used.get(principal);
        let of = if theirs.map_or(0, BTreeMap::len) >= self.share {
            theirs
        } else if self.entries.len() >= self.total {
            self.used.values().max_by_key(|theirs| theirs.len())
        } else {
            None
        };
        let oldest = of.and_then(|theirs| theirs.values().next().cloned());
        oldest.is_some_and(|key| self.remove(&key).is_some())
    }
}
