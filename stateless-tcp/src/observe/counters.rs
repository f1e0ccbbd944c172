//! A counter for each [`Outcome`] of a frame in user space. Metrics, log and `top` take all of them from its table.

use stateless_tcp_core::outcome::Outcome;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of one worker. Only the worker adds; every thread may read.
#[derive(Debug)]
pub struct Counters([AtomicU64; Outcome::COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Outcome::COUNT])
    }
}

impl Counters {
    /// Adds `amount`. There is one writer, so a load and a store suffice.
    #[inline]
    pub fn add(&self, outcome: Outcome, amount: u64) {
        let cell = &self.0[outcome as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The present value.
    #[must_use]
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }
}
