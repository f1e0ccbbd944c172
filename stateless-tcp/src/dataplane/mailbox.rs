//! What others leave for a worker, which takes it between two turns and never waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where things are left for one worker.
#[derive(Debug)]
pub struct Mailbox<T> {
    /// There are some: a worker looks often.
    posted: AtomicBool,
    things: Mutex<Vec<T>>,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { posted: AtomicBool::default(), things: Mutex::default() }
    }
}

impl<T> Mailbox<T> {
    /// Leaves something, by what `change` does to all that lies here.
    pub fn leave<R>(&self, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut things);
        self.posted.store(!things.is_empty(), Ordering::Release);
        result
    }

    /// All that was left since last time. Costs one load if there is nothing.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Option<Vec<T>> {
        if !self.posted.load(Ordering::Relaxed) {
            return None;
        }
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        self.posted.store(false, Ordering::Release);
        Some(std::mem::take(&mut things))
    }

    /// Whether the worker has taken all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.posted.load(Ordering::Acquire)
    }
}
