//! Epochs: the time slots that proofs belong to, so that each proof expires (docs/protocol.md, "Proofs expire").
//!
//! The number of its slot is hashed into every cookie, and the number's last bit stands in the cookie unmasked. So one hash
//! reads a cookie back: the bit says which of two slots it can be of, and a cookie of any other slot proves nothing.
//!
//! ```text
//!             previous slot                        current slot                     next slot
//!  |------------------------------------|-----------------|---------|---------|---------------
//!                                         new proofs: current
//!   other bit:                            previous        | ending  | next
//! ```
//!
//! In the last eighth of a slot the other bit stands for the next one: another server's clock may be ahead.

use core::ops::Range;
use core::time::Duration;

/// Length of the slots of proofs without timestamps: these live for 105 to 225 s.
const SINGLE_REQUEST: u64 = 120;

/// Most time that a persistent connection lives, unless configured.
pub const CONNECTION_LIFETIME: Duration = Duration::from_hours(1);

/// Shortest slot, for which a second is much less than an eighth.
const SHORTEST: u64 = 16;

/// The two slots whose proofs of one kind are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The slot of the present: new proofs belong to it.
    pub current: u32,
    /// The one before or behind it.
    pub other: u32,
}

impl Slots {
    #[inline]
    fn at(seconds: u64, length: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "hashed as a number that may wrap")]
        let current = (seconds / length) as u32;
        let early = seconds % length >= length - length / 8;
        Self { current, other: if early { current.wrapping_add(1) } else { current.wrapping_sub(1) } }
    }

    /// The slot of a proof whose number's last bit is that of `bit`.
    #[inline]
    #[must_use]
    pub const fn ending_in(self, bit: u32) -> u32 {
        if (self.current ^ bit) & 1 == 0 { self.current } else { self.other }
    }
}

/// The slots at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// Slots of connections of one request.
    pub single_request: Slots,
    /// Slots of persistent connections, and of Fast Open cookies.
    pub persistent: Slots,
    /// Persistent connections of the previous slot end with their next answer.
    pub ending: bool,
}

impl Epochs {
    /// The slots at `now`, counted from the epoch, where connections live for `lifetime` at most.
    #[must_use]
    pub fn at(now: Duration, lifetime: Duration) -> Self {
        let (seconds, length) = (now.as_secs(), slot_length(lifetime));
        Self {
            single_request: Slots::at(seconds, SINGLE_REQUEST),
            persistent: Slots::at(seconds, length),
            ending: seconds % length >= length / 2,
        }
    }

    /// Whether a persistent connection of `slot` ends with its next answer.
    #[inline]
    #[must_use]
    pub const fn is_ending(&self, slot: u32) -> bool {
        self.ending && slot.wrapping_add(1) == self.persistent.current
    }
}

/// Half the lifetime: a connection of the previous slot is at most two slots old.
fn slot_length(lifetime: Duration) -> u64 {
    (lifetime.as_secs() / 2).max(SHORTEST)
}

/// The epochs of the present, computed only when they change.
#[derive(Clone, Debug)]
pub struct EpochClock {
    lifetime: Duration,
    epochs: Epochs,
    valid: Range<Duration>,
}

impl EpochClock {
    /// A clock of connections that live for `lifetime` at most.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        let epochs = Epochs::at(Duration::ZERO, lifetime);
        Self { lifetime, epochs, valid: Duration::ZERO..Duration::ZERO }
    }

    /// The epochs at `now`, counted from the epoch. The clock may have been set, in either direction.
    #[inline]
    pub fn at(&mut self, now: Duration) -> Epochs {
        if !self.valid.contains(&now) {
            self.epochs = Epochs::at(now, self.lifetime);
            self.valid = now..next_change(now, self.lifetime);
        }
        self.epochs
    }

    /// The time up to which the epochs last returned are those of the present.
    #[must_use]
    pub fn valid_until(&self) -> Duration {
        self.valid.end
    }
}

/// The first time after `now` at which the epochs are others.
fn next_change(now: Duration, lifetime: Duration) -> Duration {
    let next = |length: u64| {
        let (seconds, start) = (now.as_secs(), now.as_secs() / length * length);
        let parts = [length / 2, length - length / 8, length].map(|part| start + part);
        parts.into_iter().find(|&part| part > seconds).unwrap_or(start + length)
    };
    Duration::from_secs(next(SINGLE_REQUEST).min(next(slot_length(lifetime))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lifetime() -> impl Strategy<Value = Duration> {
        prop_oneof![Just(60), Just(3_600), 60u64..604_800].prop_map(Duration::from_secs)
    }

    proptest! {
        /// A clock that is asked at any times, in any order, says what a computation from scratch says.
        #[test]
        fn a_clock_is_right_whenever_it_is_asked(
            lifetime in lifetime(), start in 1u64..1 << 33, steps in prop::collection::vec((any::<bool>(), 0u64..90_000), 1..200),
        ) {
            let mut clock = EpochClock::new(lifetime);
            let mut now = Duration::from_secs(start);
            for (back, step) in steps {
                let step = Duration::from_millis(step * step / 1_000);
                now = if back && step.as_secs().is_multiple_of(7) { now.saturating_sub(step) } else { now + step };
                prop_assert_eq!(clock.at(now), Epochs::at(now, lifetime));
                prop_assert!(clock.valid_until() > now);
            }
        }

        /// The epochs stay the same until the clock says that they change, and are others then.
        #[test]
        fn epochs_change_when_the_clock_says(lifetime in lifetime(), start in 1u64..1 << 33, into in 0.0..1.0) {
            let mut clock = EpochClock::new(lifetime);
            let now = Duration::from_secs(start);
            let epochs = clock.at(now);
            let rest = clock.valid_until().saturating_sub(now);
            prop_assert_eq!(Epochs::at(now + rest.mul_f64(into * 0.999), lifetime), epochs);
        }

        /// Each slot is accepted from before it begins, for clocks that differ, until it ends an eighth before it is two
        /// slots old; and it is never taken for another one.
        #[test]
        fn a_slot_is_accepted_for_its_time(lifetime in lifetime(), slot in 10u32..100_000) {
            let length = slot_length(lifetime);
            let start = u64::from(slot) * length;
            let skew = length / 8;
            let life = start - skew..start + 2 * length - skew;
            let accepted = |seconds| {
                Epochs::at(Duration::from_secs(seconds), lifetime).persistent.ending_in(slot) == slot
            };
            for (seconds, expected) in [
                (life.start - 1, false), (life.start, true), (start, true), (start + length, true),
                (life.end - 1, true), (life.end, false), (life.end + 10 * length, false),
            ] {
                prop_assert_eq!(accepted(seconds), expected, "{} s after it began", seconds.cast_signed() - start.cast_signed());
            }
            prop_assert!(life.end - start <= lifetime.as_secs().max(2 * SHORTEST));
        }
    }

    /// docs/protocol.md, "Proofs expire".
    #[test]
    fn proofs_live_as_long_as_stated() {
        let lifetime = Duration::from_hours(1);
        let ages = |slots: fn(&Epochs) -> Slots, issued: u64, wanted: fn(&Epochs, u32) -> bool| {
            let slot = slots(&Epochs::at(Duration::from_secs(issued), lifetime)).current;
            (0..10_000)
                .take_while(|age| {
                    let epochs = Epochs::at(Duration::from_secs(issued + age), lifetime);
                    slots(&epochs).ending_in(slot) == slot && wanted(&epochs, slot)
                })
                .count()
        };
        let extremes = |slots: fn(&Epochs) -> Slots, length: u64, wanted: fn(&Epochs, u32) -> bool| {
            let start = 1_000 * length;
            let lives = (0..length).map(|into| ages(slots, start + into, wanted));
            lives.fold((usize::MAX, 0), |(least, most), life| (least.min(life), most.max(life)))
        };
        let always = |_: &Epochs, _: u32| true;
        // Without timestamps, with them, and up to the first answer that ends with FIN.
        assert_eq!(extremes(|epochs| epochs.single_request, 120, always), (106, 225));
        assert_eq!(extremes(|epochs| epochs.persistent, 1_800, always), (1_576, 3_375));
        assert_eq!(
            extremes(|epochs| epochs.persistent, 1_800, |epochs, slot| !epochs.is_ending(slot)),
            (901, 2_700)
        );
    }
}
