//! Clients that send the same again and again in vain, and a limit on what is sent for little proof.

use core::time::Duration;

/// Between two that are allowed.
const PAUSE: Duration = Duration::from_secs(10);

/// Allows one in ten seconds. A client that is refused asks again.
#[derive(Debug, Default)]
pub struct RateGate {
    /// Time since the epoch.
    last: Duration,
}

impl RateGate {
    /// Whether one is allowed at `now`, counted from the epoch. A clock that was set back forgets the last one.
    pub fn allows(&mut self, now: Duration) -> bool {
        let allowed = now.checked_sub(self.last).is_none_or(|since| since >= PAUSE);
        if allowed {
            self.last = now;
        }
        allowed
    }
}

/// So often does a client send the same in vain before it gets RST: 3 s after the first time, with a timer of 200 ms that
/// doubles; and no earlier than a second, however many copies the network makes.
pub const PATIENCE: u8 = 4;

/// Between the first time and the last.
const AT_LEAST: Duration = Duration::from_secs(1);

/// The same, if nothing that it sends can be answered any more.
pub const ONCE_MORE: u8 = 2;

/// Recognises segments that come again and again and cannot be answered.
#[derive(Debug)]
pub struct RetryDetector {
    /// The last fingerprint in each place, how often it came, and since when.
    places: [(u64, u8, Duration); 64],
}

impl Default for RetryDetector {
    fn default() -> Self {
        Self { places: [(0, 0, Duration::ZERO); 64] }
    }
}

impl RetryDetector {
    /// Whether the segment with this fingerprint has now come `patience` times in vain.
    pub fn is_retry_loop(&mut self, fingerprint: u64, patience: u8, now: Duration) -> bool {
        let [byte, ..] = fingerprint.to_le_bytes();
        let (last, times, since) = &mut self.places[usize::from(byte) % 64];
        if *last != fingerprint {
            (*last, *times, *since) = (fingerprint, 0, now);
        }
        *times = times.saturating_add(1);
        // A clock that was set back says nothing about how long it has been.
        *times >= patience && now.checked_sub(*since).is_none_or(|since| since >= AT_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_time_is_too_often() {
        let mut stuck = RetryDetector::default();
        let mut now = Duration::ZERO;
        let mut comes = |segment| {
            now += Duration::from_millis(400);
            stuck.is_retry_loop(segment, PATIENCE, now)
        };
        assert_eq!([7, 7, 8, 7, 7, 71, 7].map(&mut comes), [false, false, false, false, true, false, false]);
    }

    #[test]
    fn copies_are_not_often() {
        let mut stuck = RetryDetector::default();
        let now = Duration::ZERO;
        assert_eq!([7; 6].map(|segment| stuck.is_retry_loop(segment, PATIENCE, now)), [false; 6]);
        assert!(stuck.is_retry_loop(7, PATIENCE, now + AT_LEAST));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        let mut stuck = RetryDetector::default();
        let at = Duration::from_secs;
        let times = [at(90_000), at(90_001), at(0), at(1)];
        assert_eq!(times.map(|now| stuck.is_retry_loop(7, PATIENCE, now)), [false, false, false, true]);
    }

    #[test]
    fn one_in_ten_seconds_whatever_the_clock_does() {
        let mut limit = RateGate::default();
        let at = |seconds: f64| Duration::from_secs_f64(seconds);
        let times = [100.0, 105.0, 109.9, 110.0, 50.0, 50.5, 60.0];
        assert_eq!(times.map(|time| limit.allows(at(time))), [true, false, false, true, true, false, true]);
    }
}
