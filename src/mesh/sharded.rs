use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

/// How many parts a map has: a change copies one of them, a clone as many pointers.
const SHARDS: usize = 256;

/// A map of which clones are cheap and share what neither side changed since.
#[derive(Debug, Clone)]
pub(super) struct Sharded<K, V> {
    shards: Vec<Arc<HashMap<K, V>>>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], hasher: RandomState::new(), len: 0 }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Sharded<K, V> {
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards.get(self.shard(key))?.get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        if let Some(shard) = self.shards.get_mut(shard)
            && Arc::make_mut(shard).insert(key, value).is_none()
        {
            self.len += 1;
        }
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let shard = self.shard(key);
        // Looked at first: what is not there is no reason to copy.
        if let Some(shard) = self.shards.get_mut(shard).filter(|shard| shard.contains_key(key)) {
            Arc::make_mut(shard).remove(key);
            self.len -= 1;
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map() {
        let mut map: Sharded<String, u32> = Sharded::default();
        (0..1_000).for_each(|n| map.insert(n.to_string(), n));
        map.insert("7".to_owned(), 70);
        map.remove("8");
        map.remove("not there");
        assert_eq!((map.len(), map.iter().count()), (999, 999));
        assert_eq!((map.get("7"), map.get("8"), map.get("9")), (Some(&70), None, Some(&9)));
    }

    #[test]
    fn a_change_copies_one_part_and_is_not_seen_by_clones() {
        let mut map: Sharded<u32, u32> = Sharded::default();
        (0..10_000).for_each(|n| map.insert(n, n));
        let before = map.clone();
        map.insert(1, 100);
        assert_eq!((before.get(&1), map.get(&1)), (Some(&1), Some(&100)));
        let copied = |map: &Sharded<u32, u32>| {
            before.shards.iter().zip(&map.shards).filter(|(old, new)| !Arc::ptr_eq(old, new)).count()
        };
        assert_eq!(copied(&map), 1);
        map.remove(&20_000);
        assert_eq!(copied(&map), 1, "what is not there is no reason to copy");
    }
}
