//! The promise: what our timestamps say (docs/protocol.md, "Connections with timestamps").
//!
//! A client echoes in every segment the last TSval it had from us (RFC 7323). So it is not a clock that we send, but
//! what a connection needs remembered: "this answers all that you sent up to P, and the answers end at my B".
//!
//! ```text
//! TSval = (P + S.p):13 | (B + S.b):17 | state:2          most significant first
//! ```
//!
//! The sums with S, secret numbers of the connection, seal it: who cannot see our segments cannot form it. A constant
//! added keeps the order, and P only grows, so the client's protection against wrapped sequence numbers accepts it.

/// Bits of P. The window that we advertise ends 4,095 octets behind what the client echoes, whatever is acknowledged: so
/// differences are exact, and never look like steps back in time.
const POSITION_BITS: u32 = 13;
const POSITION_MASK: u32 = (1 << POSITION_BITS) - 1;
const BOUNDARY_BITS: u32 = 17;
const BOUNDARY_MASK: u32 = (1 << BOUNDARY_BITS) - 1;
const BOUNDARY_SHIFT: u32 = 2;
const POSITION_SHIFT: u32 = BOUNDARY_SHIFT + BOUNDARY_BITS;
const STATE_MASK: u32 = 3;

/// How far a promise goes. For one P it only ever rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum TsState {
    /// P is not acknowledged before the client has everything.
    AckPending = 0,
    /// P is acknowledged.
    Acked = 1,
    /// P is acknowledged and lies inside a message.
    MidMessage = 2,
    /// Our FIN follows B.
    Closing = 3,
}

/// A promise, read relative to nothing: P and B are the low bits of sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TsCookie {
    /// P: low bits of the client's sequence number after the last octet that is accounted for.
    position: u32,
    /// B: low bits of our sequence number after the answers.
    boundary: u32,
    /// How far it goes.
    pub state: TsState,
}

/// What the promises of one connection are sealed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(pub u32);

impl TsCookie {
    /// Promises that all up to `position` is answered by what ends at `boundary`.
    #[inline]
    #[must_use]
    pub fn new(position: u32, boundary: u32, state: TsState) -> Self {
        Self { position: position & POSITION_MASK, boundary: boundary & BOUNDARY_MASK, state }
    }

    /// The same promise, gone at least as far as `state`.
    #[inline]
    #[must_use]
    pub fn raised_to(self, state: TsState) -> Self {
        Self { state: self.state.max(state), ..self }
    }

    /// The TSval that says it.
    #[inline]
    #[must_use]
    pub fn seal(self, seal: Mask) -> u32 {
        let position = self.position.wrapping_add(seal.0 >> BOUNDARY_BITS) & POSITION_MASK;
        let boundary = self.boundary.wrapping_add(seal.0) & BOUNDARY_MASK;
        position << POSITION_SHIFT | boundary << BOUNDARY_SHIFT | self.state as u32
    }

    /// What an echoed TSval says. Every number says something: whether it is a promise of ours, only its content tells.
    #[inline]
    #[must_use]
    pub fn open(value: u32, seal: Mask) -> Self {
        Self {
            position: (value >> POSITION_SHIFT).wrapping_sub(seal.0 >> BOUNDARY_BITS) & POSITION_MASK,
            boundary: (value >> BOUNDARY_SHIFT).wrapping_sub(seal.0) & BOUNDARY_MASK,
            state: match value & STATE_MASK {
                0 => TsState::AckPending,
                1 => TsState::Acked,
                2 => TsState::MidMessage,
                _ => TsState::Closing,
            },
        }
    }

    /// P - `seq`: octets from `seq` on that are accounted for, negative if `seq` lies beyond P.
    #[inline]
    #[must_use]
    pub fn gap(self, seq: u32) -> i32 {
        let distance = self.position.wrapping_sub(seq) << (32 - POSITION_BITS);
        distance.cast_signed() >> (32 - POSITION_BITS)
    }

    /// B - `ack` modulo 2^17: the octets that the client lacks, or 2^17 less those that it has beyond B.
    #[inline]
    #[must_use]
    pub fn missing(self, ack: u32) -> u32 {
        self.boundary.wrapping_sub(ack) & BOUNDARY_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> impl Strategy<Value = TsState> {
        prop_oneof![
            Just(TsState::AckPending),
            Just(TsState::Acked),
            Just(TsState::MidMessage),
            Just(TsState::Closing)
        ]
    }

    proptest! {
        #[test]
        fn an_echo_says_what_was_promised(
            position: u32, boundary: u32, state in state(), seal: u32,
        ) {
            let promise = TsCookie::new(position, boundary, state);
            prop_assert_eq!(TsCookie::open(promise.seal(Mask(seal)), Mask(seal)), promise);
        }

        #[test]
        fn distances_are_signed(position: u32, before in -4095i32..4096, missing in 0u32..131_072) {
            let promise = TsCookie::new(position, missing.wrapping_add(77), TsState::Acked);
            prop_assert_eq!(promise.gap(position.wrapping_add_signed(-before)), before);
            prop_assert_eq!(promise.missing(77), missing);
        }

        /// RFC 7323 section 5: a segment whose TSval is older than the last is dropped.
        #[test]
        fn time_never_goes_backwards(
            position: u32, step in 0u32..4095, boundary: u32, more in 0u32..65_000, seal: u32,
        ) {
            let states = [TsState::AckPending, TsState::Acked, TsState::MidMessage, TsState::Closing];
            let mut last = None::<u32>;
            let later = (position.wrapping_add(step), boundary.wrapping_add(more));
            let steps = [(position, boundary), later];
            for (position, boundary) in steps.into_iter().take(if step == 0 { 1 } else { 2 }) {
                for state in states {
                    let value = TsCookie::new(position, boundary, state).seal(Mask(seal));
                    if let Some(last) = last {
                        prop_assert!(value.wrapping_sub(last) < 1 << 31);
                    }
                    last = Some(value);
                }
            }
        }
    }
}
