//! A mailbox from other threads to one worker, which takes the items between two turns and never waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Items for one worker.
#[derive(Debug)]
pub struct Mailbox<T> {
    /// There are items. A worker checks this once a turn, at the cost of one load.
    posted: AtomicBool,
    items: Mutex<Vec<T>>,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { posted: AtomicBool::default(), items: Mutex::default() }
    }
}

impl<T> Mailbox<T> {
    /// Changes the items that the worker has not taken yet: `change` may add and remove some.
    pub fn update<R>(&self, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut items);
        self.posted.store(!items.is_empty(), Ordering::Release);
        result
    }

    /// Takes all items. Costs one load if there are none.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Option<Vec<T>> {
        if !self.posted.load(Ordering::Relaxed) {
            return None;
        }
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        self.posted.store(false, Ordering::Release);
        Some(std::mem::take(&mut items))
    }

    /// Whether the worker has taken all items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.posted.load(Ordering::Acquire)
    }
}
