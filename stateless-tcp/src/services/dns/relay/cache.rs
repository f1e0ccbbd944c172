//! The answer cache, shared by all workers.

use super::cached_answer::CachedAnswer;
use crate::observe::snapshot::Occupancy;
use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Typical bytes of an answer with its key, to estimate the number of entries.
const TYPICAL: u64 = 512;

/// Bytes of memory per entry besides its key and its answer.
const OVERHEAD: u64 = 160;

/// A cache of bounded size. Answers that are used once do not displace popular ones.
pub(super) struct AnswerCache(Option<ByKey>);

type ByKey = Cache<Box<[u8]>, Arc<CachedAnswer>, AnswerWeight, RandomState>;

#[derive(Clone)]
struct AnswerWeight;

impl Weighter<Box<[u8]>, Arc<CachedAnswer>> for AnswerWeight {
    fn weight(&self, key: &Box<[u8]>, cached: &Arc<CachedAnswer>) -> u64 {
        (key.len() + cached.bytes()) as u64 + OVERHEAD
    }
}

impl AnswerCache {
    /// A cache of this many bytes; 0: no cache.
    pub(super) fn new(capacity: u64) -> Self {
        let store = || {
            let items = usize::try_from(capacity / TYPICAL).unwrap_or(usize::MAX);
            Cache::with(
                items,
                capacity,
                AnswerWeight,
                RandomState::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            )
        };
        Self((capacity > 0).then(store))
    }

    /// Its usage, if there is a cache.
    pub(super) fn occupancy(&self) -> Option<Occupancy> {
        self.0.as_ref().map(|store| Occupancy::bytes("dns_cache", store.weight(), store.capacity()))
    }

    /// The answer under `key`, of any age.
    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<CachedAnswer>> {
        self.0.as_ref()?.get(key)
    }

    /// Caches an answer, if its lifetime allows it.
    pub(super) fn put(&self, key: &[u8], cached: &Arc<CachedAnswer>) {
        if let Some(store) = &self.0
            && cached.may_be_kept()
        {
            store.insert(key.into(), Arc::clone(cached));
        }
    }
}
