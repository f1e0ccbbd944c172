//! Admission of clients by network: tokens for a second, by prefix, in a table of fixed size.
//!
//! Each prefix has a bucket for each [`PacketKind`] of packet, as deep as a second's tokens; it is kept as one number, the moment
//! until which what was let through takes to be paid for (the generic cell rate algorithm, ITU-T I.371). A bucket that is
//! full again is as good as none. So the table holds only who is being served right now, whoever was there before:
//!
//! ```text
//! H(key, prefix)  ->  set of 8 words  ->  word:  | tag: 24 | paid for at: 40 |
//! ```
//!
//! A prefix that finds all words of its set in use takes the one that is paid for first. So nobody pays for others, and
//! what goes wrong in a table that is too full goes wrong in favour of clients. The key keeps them from choosing a set.

use crate::tcp::isn::Key;
use crate::tcp::segment::Address;
use core::cell::Cell;
use siphasher::sip::SipHasher13;

/// Sets of the table.
pub const SETS: u32 = 1 << 15;
/// Words of a set: a cache line.
pub const WAYS: usize = 8;
/// Ticks of the clock in a second: each is 64 ns.
pub const SECOND: u64 = 1_000_000_000 >> NANOSECONDS;
/// Most tokens a second.
pub const MAX_RATE: u32 = 1_000_000;

const NANOSECONDS: u32 = 6;
/// Bits of a moment. They last 19 hours; a moment that lies further ahead than a second has passed.
const MOMENT: u32 = 40;
const MOMENTS: u64 = (1 << MOMENT) - 1;

/// Words of one set. Other CPUs may change them meanwhile, one whole word at a time: a token may be lost by that, no more.
pub type Set = [Cell<u64>; WAYS];

/// A kind of packet, which takes a token. Each has buckets of its own: what somebody forges takes none of those that proven connections need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PacketKind {
    /// A question over UDP.
    Datagram,
    /// SYN.
    Syn,
    /// A segment with payload.
    Data,
}

impl PacketKind {
    /// Every kind, by its index.
    pub const ALL: [Self; 3] = [Self::Datagram, Self::Syn, Self::Data];
}

/// The limits of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Limit {
    key: Key,
    /// Which bits of an address are its prefix, as two halves: of IPv4 (as an [`Address`]), of IPv6.
    masks: [[u64; 2]; 2],
    /// Ticks for one token, by [`PacketKind`]; 0: there is no limit.
    intervals: [u64; PacketKind::ALL.len()],
}

/// The bucket of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The set that it is in.
    pub set: u32,
    tag: u64,
    /// Ticks for one token.
    interval: u64,
}

impl Limit {
    /// Octets.
    pub const LENGTH: usize = size_of::<Self>();

    /// No limit.
    pub const NONE: Self =
        Self { key: Key([0; 16]), masks: [[0; 2]; 2], intervals: [0; PacketKind::ALL.len()] };

    /// As many tokens a second as `rate` says, 1 to [`MAX_RATE`], where it says anything, for clients whose addresses agree
    /// in the first `ipv4` bits, at most 32, or the first `ipv6`, at most 128. The key is random.
    #[must_use]
    pub fn new(key: Key, rate: impl Fn(PacketKind) -> Option<u32>, ipv4: u32, ipv6: u32) -> Self {
        let mask = |bits: u32| split(u128::MAX.checked_shl(128 - bits).unwrap_or(0));
        let masks = [mask(96 + ipv4.min(32)), mask(ipv6.min(128))];
        let interval = |kind| rate(kind).map_or(0, |rate| SECOND / u64::from(rate.clamp(1, MAX_RATE)));
        Self { key, masks, intervals: PacketKind::ALL.map(interval) }
    }

    /// The octets as they stand in memory.
    #[must_use]
    pub fn octets(&self) -> [u8; Self::LENGTH] {
        let mut octets = [0; Self::LENGTH];
        let (key, rest) = octets.split_at_mut(self.key.0.len());
        key.copy_from_slice(&self.key.0);
        let (numbers, _) = rest.as_chunks_mut();
        for (octets, number) in
            numbers.iter_mut().zip(self.masks.as_flattened().iter().chain(&self.intervals))
        {
            *octets = number.to_ne_bytes();
        }
        octets
    }

    /// Whether segments are limited, of whatever kind.
    #[inline]
    #[must_use]
    pub const fn is_for_segments(&self) -> bool {
        self.is_for(PacketKind::Syn) || self.is_for(PacketKind::Data)
    }

    /// Whether packets of this kind are limited.
    #[inline]
    #[must_use]
    pub const fn is_for(&self, kind: PacketKind) -> bool {
        self.intervals[kind as usize] != 0
    }

    /// The bucket for packets of this kind from the client whose [`Address`] has these halves.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are as good as any")]
    pub fn bucket(&self, [high, low]: [u64; 2], kind: PacketKind) -> Bucket {
        let is_ipv4 = high == 0 && low >> 32 == 0xffff;
        let [mask_high, mask_low] = self.masks[usize::from(!is_ipv4)];
        let prefix = u128::from(high & mask_high) << 64 | u128::from(low & mask_low);
        let hash = SipHasher13::new_with_key(&self.key.0).hash(&prefix.to_be_bytes());
        let tag = (hash >> MOMENT) ^ kind as u64;
        Bucket { set: hash as u32 % SETS, tag, interval: self.intervals[kind as usize] }
    }
}

impl Bucket {
    /// Takes a token from it, `set` being its set, at the time of so many nanoseconds on a clock that never goes back.
    /// False if there is none.
    #[inline]
    #[must_use]
    pub fn take(&self, set: &Set, nanoseconds: u64) -> bool {
        let now = (nanoseconds >> NANOSECONDS) & MOMENTS;
        let (mut chosen, mut least, mut debt) = (&set[0], u64::MAX, 0);
        for word in set {
            let value = word.get();
            let owed = (value & MOMENTS).wrapping_sub(now) & MOMENTS;
            let owed = if owed > SECOND { 0 } else { owed };
            if value >> MOMENT == self.tag {
                (chosen, debt) = (word, owed);
                break;
            }
            if owed < least {
                (chosen, least) = (word, owed);
            }
        }
        debt += self.interval;
        if debt > SECOND {
            return false;
        }
        chosen.set(self.tag << MOMENT | (now + debt) & MOMENTS);
        true
    }
}

/// The halves of an address, as numbers.
#[inline]
#[must_use]
pub fn halves(address: &Address) -> [u64; 2] {
    split(u128::from_be_bytes(address.0))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "it is split there")]
const fn split(whole: u128) -> [u64; 2] {
    [(whole >> 64) as u64, whole as u64]
}

#[cfg(test)]
mod tests;
