//! A rate: the number of things due, at so many a second.

/// Things put off for longer than this part of a second are never done: a burst after a stall would measure
/// the stall.
const LARGEST_BURST: u64 = 10;

/// Counts what is due against what was done. Times are in nanoseconds since the beginning.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: u64,
    /// Number done or left out.
    gone: u64,
    left_out: u64,
}

impl Rate {
    /// So many a second.
    #[must_use]
    pub const fn new(per_second: u64) -> Self {
        Self { per_second, gone: 0, left_out: 0 }
    }

    /// Number due.
    #[inline]
    pub fn due(&mut self, now: u64) -> u64 {
        let owed = scale(now, self.per_second, NANOSECONDS).saturating_sub(self.gone);
        let most = (self.per_second / LARGEST_BURST).max(1);
        let late = owed.saturating_sub(most);
        self.left_out += late;
        self.gone += late;
        owed - late
    }

    /// One was done.
    #[inline]
    pub const fn done(&mut self) {
        self.gone += 1;
    }

    /// When the next one is due.
    #[inline]
    #[must_use]
    pub fn next(&self) -> u64 {
        if self.per_second == 0 { u64::MAX } else { scale(self.gone + 1, NANOSECONDS, self.per_second) }
    }

    /// Number left out.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

#[inline]
fn scale(number: u64, by: u64, of: u64) -> u64 {
    u64::try_from(u128::from(number) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_due_as_time_has_passed() {
        let mut rate = Rate::new(1_000);
        assert_eq!(rate.due(999_999), 0);
        assert_eq!(rate.next(), 1_000_000);
        assert_eq!(rate.due(3_000_000), 3);
        rate.done();
        assert_eq!(rate.due(3_000_000), 2);
        assert_eq!(rate.next(), 2_000_000);
    }

    #[test]
    fn what_is_long_overdue_is_left_out() {
        let mut rate = Rate::new(1_000);
        assert_eq!(rate.due(500_000_000), 100);
        assert_eq!(rate.left_out(), 400);
        assert_eq!(rate.due(500_000_000), 100, "once");
        assert_eq!(rate.left_out(), 400);
    }

    #[test]
    fn none_a_second_is_never_due() {
        let mut rate = Rate::new(0);
        assert_eq!((rate.due(u64::MAX), rate.next()), (0, u64::MAX));
    }
}
