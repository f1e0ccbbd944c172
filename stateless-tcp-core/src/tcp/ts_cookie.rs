//! The timestamp cookie: RCV.NXT and SND.NXT of a connection, in our timestamps (docs/protocol.md, "Connections with
//! timestamps").
//!
//! A client echoes in every segment the last TSval it had from us (RFC 7323). So our TSval is no clock, but the state that
//! a server would keep: "the client's bytes before RCV.NXT are answered, and the answers end at SND.NXT".
//!
//! ```text
//! TSval = (RCV.NXT + M.high):13 | (SND.NXT + M.low):17 | state:2          most significant first
//! ```
//!
//! M, a secret number of the connection, masks them: nobody can form a cookie without seeing our segments. A constant
//! added keeps the order, and RCV.NXT only grows, so the client's protection against wrapped sequence numbers accepts it.

/// Bits of RCV.NXT. The window that we advertise ends 4,095 bytes behind the client's echo, whatever is acknowledged: so
/// differences are exact, and never look like steps back in time.
const RCV_NXT_BITS: u32 = 13;
const RCV_NXT_MASK: u32 = (1 << RCV_NXT_BITS) - 1;
const SND_NXT_BITS: u32 = 17;
const SND_NXT_MASK: u32 = (1 << SND_NXT_BITS) - 1;
const SND_NXT_SHIFT: u32 = 2;
const RCV_NXT_SHIFT: u32 = SND_NXT_SHIFT + SND_NXT_BITS;
const STATE_MASK: u32 = 3;

/// Extent of a cookie. For one RCV.NXT it only ever rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum TsState {
    /// RCV.NXT is not acknowledged before the client has everything.
    AckPending = 0,
    /// RCV.NXT is acknowledged.
    Acked = 1,
    /// RCV.NXT is acknowledged and lies inside a message.
    MidMessage = 2,
    /// Our FIN follows SND.NXT.
    Closing = 3,
}

/// A decoded cookie: the low bits of two sequence numbers, and a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TsCookie {
    /// Low bits of the client's sequence number after the last byte that is accounted for.
    rcv_nxt: u32,
    /// Low bits of our sequence number after the answers.
    snd_nxt: u32,
    /// Its extent.
    pub state: TsState,
}

/// The secret number M of one connection, which masks its cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(pub u32);

impl TsCookie {
    /// The cookie of a connection whose stream up to `rcv_nxt` is answered by ours up to `snd_nxt`.
    #[inline]
    #[must_use]
    pub fn new(rcv_nxt: u32, snd_nxt: u32, state: TsState) -> Self {
        Self { rcv_nxt: rcv_nxt & RCV_NXT_MASK, snd_nxt: snd_nxt & SND_NXT_MASK, state }
    }

    /// The same cookie, its state raised to at least `state`.
    #[inline]
    #[must_use]
    pub fn raised_to(self, state: TsState) -> Self {
        Self { state: self.state.max(state), ..self }
    }

    /// The TSval that carries it.
    #[inline]
    #[must_use]
    pub fn encode(self, mask: Mask) -> u32 {
        let rcv_nxt = self.rcv_nxt.wrapping_add(mask.0 >> SND_NXT_BITS) & RCV_NXT_MASK;
        let snd_nxt = self.snd_nxt.wrapping_add(mask.0) & SND_NXT_MASK;
        rcv_nxt << RCV_NXT_SHIFT | snd_nxt << SND_NXT_SHIFT | self.state as u32
    }

    /// Decodes an echoed TSval. Every number decodes to something: only the messages at hand tell a cookie of ours.
    #[inline]
    #[must_use]
    pub fn decode(value: u32, mask: Mask) -> Self {
        Self {
            rcv_nxt: (value >> RCV_NXT_SHIFT).wrapping_sub(mask.0 >> SND_NXT_BITS) & RCV_NXT_MASK,
            snd_nxt: (value >> SND_NXT_SHIFT).wrapping_sub(mask.0) & SND_NXT_MASK,
            state: match value & STATE_MASK {
                0 => TsState::AckPending,
                1 => TsState::Acked,
                2 => TsState::MidMessage,
                _ => TsState::Closing,
            },
        }
    }

    /// RCV.NXT - `seq`: bytes from `seq` on that are accounted for; negative if `seq` lies beyond RCV.NXT.
    #[inline]
    #[must_use]
    pub fn accounted(self, seq: u32) -> i32 {
        let distance = self.rcv_nxt.wrapping_sub(seq) << (32 - RCV_NXT_BITS);
        distance.cast_signed() >> (32 - RCV_NXT_BITS)
    }

    /// SND.NXT - `ack` modulo 2^17: the bytes that the client lacks, or 2^17 less those that it has beyond SND.NXT.
    #[inline]
    #[must_use]
    pub fn unacked(self, ack: u32) -> u32 {
        self.snd_nxt.wrapping_sub(ack) & SND_NXT_MASK
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
        fn a_cookie_decodes_to_itself(
            rcv_nxt: u32, snd_nxt: u32, state in state(), mask: u32,
        ) {
            let cookie = TsCookie::new(rcv_nxt, snd_nxt, state);
            prop_assert_eq!(TsCookie::decode(cookie.encode(Mask(mask)), Mask(mask)), cookie);
        }

        #[test]
        fn distances_are_signed(rcv_nxt: u32, before in -4095i32..4096, missing in 0u32..131_072) {
            let cookie = TsCookie::new(rcv_nxt, missing.wrapping_add(77), TsState::Acked);
            prop_assert_eq!(cookie.accounted(rcv_nxt.wrapping_add_signed(-before)), before);
            prop_assert_eq!(cookie.unacked(77), missing);
        }

        /// RFC 7323 section 5: a segment whose TSval is older than the last is dropped.
        #[test]
        fn time_never_goes_backwards(
            rcv_nxt: u32, step in 0u32..4095, snd_nxt: u32, more in 0u32..65_000, mask: u32,
        ) {
            let states = [TsState::AckPending, TsState::Acked, TsState::MidMessage, TsState::Closing];
            let mut last = None::<u32>;
            let later = (rcv_nxt.wrapping_add(step), snd_nxt.wrapping_add(more));
            let steps = [(rcv_nxt, snd_nxt), later];
            for (rcv_nxt, snd_nxt) in steps.into_iter().take(if step == 0 { 1 } else { 2 }) {
                for state in states {
                    let value = TsCookie::new(rcv_nxt, snd_nxt, state).encode(Mask(mask));
                    if let Some(last) = last {
                        prop_assert!(value.wrapping_sub(last) < 1 << 31);
                    }
                    last = Some(value);
                }
            }
        }
    }
}
