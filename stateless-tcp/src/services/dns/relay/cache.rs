//! Answers for the next who asks, shared by all workers.

use super::stored::Stored;
use crate::observe::snapshot::Occupancy;
use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Store;
use std::sync::Arc;

/// Octets of an answer and a key that are typical: how many there will be is guessed by it.
const TYPICAL: u64 = 512;

/// Octets that an entry takes besides its key and its answer.
const OVERHEAD: u64 = 160;

/// A store of bounded size, in which what is asked for once only does not displace what is asked for again and again.
pub(super) struct Cache(Option<ByKey>);

type ByKey = Store<Box<[u8]>, Arc<Stored>, Octets, RandomState>;

#[derive(Clone)]
struct Octets;

impl Weighter<Box<[u8]>, Arc<Stored>> for Octets {
    fn weight(&self, key: &Box<[u8]>, stored: &Arc<Stored>) -> u64 {
        (key.len() + stored.octets()) as u64 + OVERHEAD
    }
}

impl Cache {
    /// A cache of so many octets; of 0, none.
    pub(super) fn new(capacity: u64) -> Self {
        let store = || {
            let items = usize::try_from(capacity / TYPICAL).unwrap_or(usize::MAX);
            Store::with(
                items,
                capacity,
                Octets,
                RandomState::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            )
        };
        Self((capacity > 0).then(store))
    }

    /// How full it is, if it is there.
    pub(super) fn occupancy(&self) -> Option<Occupancy> {
        self.0.as_ref().map(|store| Occupancy::bytes("dns_cache", store.weight(), store.capacity()))
    }

    /// What is kept under `key`, however old.
    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Stored>> {
        self.0.as_ref()?.get(key)
    }

    /// Keeps an answer, if it may be kept.
    pub(super) fn put(&self, key: &[u8], stored: &Arc<Stored>) {
        if let Some(store) = &self.0
            && stored.may_be_kept()
        {
            store.insert(key.into(), Arc::clone(stored));
        }
    }
}
