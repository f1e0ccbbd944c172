//! Histograms of durations.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the classes, in microseconds: from the duration of one frame to one that no client waits for. A further
/// class counts longer durations.
pub const BOUNDS: [u64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// A histogram that several threads add to and read.
#[derive(Debug, Default)]
pub struct Histogram {
    classes: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// A copy of a [`Histogram`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The count of each class.
    pub classes: [u64; BOUNDS.len() + 1],
    /// The sum of all durations, in seconds.
    pub seconds: f64,
}

impl Histogram {
    /// Counts `duration` `times` times.
    #[inline]
    pub fn record(&self, duration: Duration, times: u64) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let class = BOUNDS.partition_point(|bound| bound * 1_000 < nanoseconds);
        self.classes[class].fetch_add(times, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds.saturating_mul(times), Relaxed);
    }

    /// A copy.
    #[must_use]
    pub fn read(&self) -> Distribution {
        Distribution {
            classes: self.classes.each_ref().map(|class| class.load(Relaxed)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "2^53 nanoseconds are 104 days, then microseconds do"
            )]
            seconds: self.nanoseconds.load(Relaxed) as f64 / 1e9,
        }
    }
}

impl Distribution {
    /// The number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_class_of_the_least_bound_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for (nanoseconds, times) in
            [(0, 1), (1_000, 2), (1_001, 4), (10_000_000_000, 8), (10_000_000_001, 16)]
        {
            histogram.record(Duration::from_nanos(nanoseconds), times);
        }
        let read = histogram.read();
        assert_eq!((read.classes[0], read.classes[1], read.classes[21], read.classes[22]), (3, 4, 8, 16));
        assert_eq!(read.count(), 31);
        assert!((read.seconds - 240.000_006_02).abs() < 1e-6, "{}", read.seconds);
    }
}
