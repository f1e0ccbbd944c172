//! One counter for each thing that can become of a frame in user space: [`Outcome`].

use stateless_tcp_core::outcome::Outcome;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of one worker. Only it adds; anyone may read.
#[derive(Debug)]
pub struct Counters([AtomicU64; Outcome::COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Outcome::COUNT])
    }
}

impl Counters {
    /// Adds `amount`. A load and a store, not a locked addition: there is one writer.
    #[inline]
    pub fn add(&self, outcome: Outcome, amount: u64) {
        let cell = &self.0[outcome as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }
}
