//! A limit on what may be sent for little proof. Whoever earned it asks again.

use std::time::{Duration, SystemTime};

/// Between two that are allowed.
const PAUSE: Duration = Duration::from_secs(10);

/// Allows one in ten seconds.
#[derive(Debug)]
pub(super) struct RateGate {
    last: SystemTime,
}

impl Default for RateGate {
    fn default() -> Self {
        Self { last: SystemTime::UNIX_EPOCH }
    }
}

impl RateGate {
    /// Whether one is allowed now. A clock that was set back forgets the last one.
    pub(super) fn allows(&mut self, now: SystemTime) -> bool {
        let allowed = now.duration_since(self.last).is_ok_and(|since| since >= PAUSE) || now < self.last;
        if allowed {
            self.last = now;
        }
        allowed
    }
}

/// So often does a client send the same in vain before it is told that this leads nowhere: 3 s after the first time, with
/// a timer of 200 ms that doubles; and no earlier than [`AT_LEAST`], however many copies the network makes.
pub(super) const PATIENCE: u8 = 4;

/// Between the first time and the last.
const AT_LEAST: Duration = Duration::from_secs(1);

/// The same, if nothing that it sends can be answered any more.
pub(super) const ONCE_MORE: u8 = 2;

/// Recognises segments that come again and again and cannot be answered.
#[derive(Debug)]
pub(super) struct RetryDetector {
    /// What came to each place last, how often, and since when.
    places: [(u64, u8, SystemTime); 64],
}

impl Default for RetryDetector {
    fn default() -> Self {
        Self { places: [(0, 0, SystemTime::UNIX_EPOCH); 64] }
    }
}

impl RetryDetector {
    /// Whether `segment`, an identification of what was sent in vain, has come `patience` times.
    pub(super) fn is(&mut self, segment: u64, patience: u8, now: SystemTime) -> bool {
        let [octet, ..] = segment.to_le_bytes();
        let place = &mut self.places[usize::from(octet) % 64];
        if place.0 != segment {
            *place = (segment, 0, now);
        }
        place.1 = place.1.saturating_add(1);
        place.1 >= patience && now.duration_since(place.2).is_ok_and(|since| since >= AT_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_time_is_too_often() {
        let mut stuck = RetryDetector::default();
        let mut now = SystemTime::UNIX_EPOCH;
        let mut comes = |segment| {
            now += Duration::from_millis(400);
            stuck.is(segment, PATIENCE, now)
        };
        assert_eq!([7, 7, 8, 7, 7, 71, 7].map(&mut comes), [false, false, false, false, true, false, false]);
    }

    #[test]
    fn copies_are_not_often() {
        let mut stuck = RetryDetector::default();
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!([7; 6].map(|segment| stuck.is(segment, PATIENCE, now)), [false; 6]);
        assert!(stuck.is(7, PATIENCE, now + AT_LEAST));
    }

    #[test]
    fn one_in_ten_seconds_whatever_the_clock_does() {
        let mut limit = RateGate::default();
        let at = |seconds: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
        let times = [100.0, 105.0, 109.9, 110.0, 50.0, 50.5, 60.0];
        assert_eq!(times.map(|time| limit.allows(at(time))), [true, false, false, true, true, false, true]);
    }
}
