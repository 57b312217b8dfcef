use std::borrow::Borrow;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

/// How many parts a map has: a change copies one of them, a clone as many pointers.
const SHARDS: usize = 256;
/// A part that is full grows by one of so many parts of it.
const ROOM: usize = 8;

/// One part, in order of its keys: a table of hashes would be half empty most of the time.
type Shard<K, V> = Vec<(K, V)>;

/// A map of which clones are cheap and share what neither side changed since.
#[derive(Debug, Clone)]
pub(super) struct Sharded<K, V> {
    shards: Vec<Arc<Shard<K, V>>>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], hasher: RandomState::new(), len: 0 }
    }
}

impl<K: Ord + Hash + Clone, V: Clone> Sharded<K, V> {
    pub(super) fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let shard = self.shards.get(self.shard(key))?;
        shard.get(place(shard, key).ok()?).map(|(_, value)| value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        let Some(shard) = self.shards.get_mut(shard) else { return };
        let at = place(shard, &key);
        let shard = Arc::make_mut(shard);
        match at {
            Ok(at) => {
                if let Some((_, old)) = shard.get_mut(at) {
                    *old = value;
                }
            }
            Err(at) => {
                if shard.len() == shard.capacity() {
                    shard.reserve_exact(shard.len() / ROOM + 1);
                }
                shard.insert(at, (key, value));
                self.len += 1;
            }
        }
    }

    pub(super) fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let shard = self.shard(key);
        // Looked at first: what is not there is no reason to copy.
        let Some(shard) = self.shards.get_mut(shard) else { return };
        if let Ok(at) = place(shard, key) {
            Arc::make_mut(shard).remove(at);
            self.len -= 1;
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(key, value)| (key, value)))
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }
}

/// Where the key is in a part, or else belongs.
fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(shard: &[(K, V)], key: &Q) -> Result<usize, usize> {
    shard.binary_search_by(|(other, _)| other.borrow().cmp(key))
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
