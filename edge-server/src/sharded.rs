//! A map that is read without a lock and changed in small pieces.
//!
//! Readers see an immutable map that a change replaces whole. It is cut into shards, so that a change
//! copies a few entries and not all: ten thousand environments are loaded and updated at the price of
//! forty each.

use std::collections::HashMap;

use ahash::RandomState;
use arc_swap::ArcSwap;

const SHARDS: usize = 256;

type Shard<V> = HashMap<Box<str>, V, RandomState>;

/// The map. Values are cloned with their shard and should be cheap to clone.
#[derive(Debug)]
pub(crate) struct Sharded<V> {
    shards: Box<[ArcSwap<Shard<V>>]>,
    hasher: RandomState,
}

impl<V> Default for Sharded<V> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = || ArcSwap::from_pointee(Shard::with_hasher(hasher.clone()));
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher,
        }
    }
}

impl<V: Clone> Sharded<V> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<V> {
        self.shard_of(key).load().get(key).cloned()
    }

    /// What `look` says of the value of a key, without cloning that.
    pub(crate) fn look<T>(&self, key: &str, look: impl FnOnce(&V) -> T) -> Option<T> {
        self.shard_of(key).load().get(key).map(look)
    }

    /// Gives a key a value.
    pub(crate) fn insert(&self, key: &str, value: &V) {
        self.shard_of(key).rcu(|shard| {
            let mut shard = Shard::clone(shard);
            shard.insert(key.into(), value.clone());
            shard
        });
    }

    /// Removes a key whose value `is_meant`.
    pub(crate) fn remove_if(&self, key: &str, is_meant: impl Fn(&V) -> bool) {
        self.shard_of(key).rcu(|shard| {
            let mut shard = Shard::clone(shard);
            if shard.get(key).is_some_and(&is_meant) {
                shard.remove(key);
            }
            shard
        });
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> Vec<V> {
        let shards = self.shards.iter().map(ArcSwap::load);
        shards
            .flat_map(|shard| shard.values().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn shard_of(&self, key: &str) -> &ArcSwap<Shard<V>> {
        let hash = self.hasher.hash_one(key);
        // The map within uses the low bits.
        let place = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        &self.shards[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_is_found_until_it_is_removed() {
        let map = Sharded::default();
        for n in 0..5_000 {
            map.insert(&n.to_string(), &n);
        }
        map.insert("7", &70);
        assert_eq!(
            (map.get("7"), map.get("4999"), map.get("5000")),
            (Some(70), Some(4_999), None)
        );
        assert_eq!(map.look("8", |n| n + 1), Some(9));
        map.remove_if("7", |n| *n == 7);
        assert_eq!(map.get("7"), Some(70));
        map.remove_if("7", |n| *n == 70);
        assert_eq!((map.get("7"), map.len()), (None, 4_999));
        let sum: i32 = map.values().into_iter().sum();
        assert_eq!(sum, (0..5_000).sum::<i32>() - 7);
    }
}
