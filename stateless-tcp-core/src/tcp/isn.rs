//! The cookie: our initial sequence number, which only who has seen our SYN,ACK knows (docs/protocol.md, "The cookie").
//!
//! ```text
//! ISS       = P                  P = slot:1 | V:31, V = guard + (H + fields * width) modulo 31 * 2^26
//! H         = SipHash-2-4(key, addresses, ports, client ISN, slot)
//! ```
//!
//! The slot is a stretch of time ([`crate::tcp::epoch`]): its last bit stands in the cookie as it is and says which slot was
//! hashed. The fields, class and generation, are added, not hashed: the sequence numbers that they give lie further apart
//! than any response is long. V keeps a distance from both ends of its 31 bits, so that what is added to a cookie never
//! reaches the bit of the slot. So one hash reads back everything with no chance of error.
//!
//! With timestamps the client's ISN is added, not hashed, so that every later segment proves as much as the first:
//!
//! ```text
//! ISS       = client ISN + P     with F.low in the place of H, F = SipHash-2-4(key, addresses, ports, slot), 64 bits
//! ```
//!
//! SEG.ACK - SEG.SEQ then differs from P by what the server sent less what the client sent: the stream delta. F.high masks
//! the timestamp cookies ([`crate::tcp::ts_cookie`]).

use crate::tcp::epoch::{Epochs, Slots};
use crate::tcp::segment::{FourTuple, Segment};
use crate::tcp::siphash::SipHash;
use crate::tcp::ts_cookie::Mask;

/// A secret of 128 bits, shared by all servers that answer for one address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

impl core::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Key(secret)")
    }
}

/// The key that new connections get, and the one before it, whose connections are still answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Signs every SYN,ACK.
    pub current: Key,
    /// Accepted from clients that began under it.
    pub previous: Option<Key>,
}

/// The largest payload that we send to a client, one of two (RFC 9293 MUST-16: never more than the MSS it offered).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MssClass {
    /// 1,220 octets: IPv6's minimum MTU of 1,280 less 60 octets of headers.
    Standard,
    /// 536 octets, for a client that offered less than 1,220 (RFC 9293 section 3.7.1: the default of IPv4).
    Minimal,
}

impl MssClass {
    /// The class of a client that offered `mss`; none if no segment would be small enough.
    ///
    /// Without an offer the default holds: 536 over IPv4, 1,220 over IPv6 (RFC 9293 MUST-15).
    #[inline]
    #[must_use]
    pub fn offered(mss: Option<u16>, ipv4: bool) -> Option<Self> {
        match mss {
            None if ipv4 => Some(Self::Minimal),
            None | Some(1220..) => Some(Self::Standard),
            Some(536..) => Some(Self::Minimal),
            Some(_) => None,
        }
    }

    /// Octets of payload.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Standard => 1220,
            Self::Minimal => 536,
        }
    }

    #[inline]
    const fn bit(self) -> u32 {
        match self {
            Self::Standard => 0,
            Self::Minimal => 1,
        }
    }

    #[inline]
    const fn of_bit(bits: u32) -> Self {
        if bits & 1 == 0 { Self::Standard } else { Self::Minimal }
    }
}

/// What a connection was given at its beginning and bears in its ISS ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieFields {
    /// Largest payload.
    pub class: MssClass,
    /// Generation of the content that it is served from.
    pub generation: u8,
}

/// The generations of the content that are served: the current one, which new connections get, and former ones, whose
/// connections are still answered from them. Others are gone, or never were.
///
/// They are numbered modulo 256, and each is kept for a minute (docs/protocol.md, "Generations"): a number comes again
/// only when no client can remember its former bearer. Served numbers differ in the six bits that a connection with
/// timestamps tells. So the set is three bits for each value of those six, and looking a number up takes neither a loop
/// nor a branch: the XDP program does it for each segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    current: u8,
    /// By the six low bits of a number: whether it is served, and its two high bits.
    bits: [u64; 3],
}

impl Generations {
    /// The current generation alone.
    #[inline]
    #[must_use]
    pub const fn only(current: u8) -> Self {
        Self { current, bits: [0; 3] }.and(current)
    }

    /// The same, and `former`, which differs from all others in its six low bits.
    #[inline]
    #[must_use]
    pub const fn and(self, former: u8) -> Self {
        let [served, low, high] = self.bits;
        let (place, number) = (former & GENERATION_MASK, former as u64);
        let bits = [served | 1 << place, low | (number >> 6 & 1) << place, high | (number >> 7 & 1) << place];
        Self { bits, ..self }
    }

    /// As they are handed to the XDP program.
    #[inline]
    #[must_use]
    pub const fn from_bits(current: u8, bits: [u64; 3]) -> Self {
        Self { current, bits }
    }

    /// What [`Generations::from_bits`] takes besides the current number.
    #[inline]
    #[must_use]
    pub const fn bits(&self) -> [u64; 3] {
        self.bits
    }

    /// The assignment of new connections.
    #[inline]
    #[must_use]
    pub const fn current(&self) -> u8 {
        self.current
    }

    /// Whether connections of `generation` can be answered.
    #[inline]
    #[must_use]
    pub fn hold(&self, generation: u8) -> bool {
        let [served, low, high] = self.bits;
        // All ones where that bit of the number is set.
        let spread = |of: u8| u64::from(generation >> of & 1).wrapping_neg();
        let differ = low ^ spread(6) | high ^ spread(7);
        (served & !differ) >> (generation & GENERATION_MASK) & 1 == 1
    }

    /// The served generation whose number ends in the six bits of `number`.
    #[inline]
    #[must_use]
    pub fn ending_in(&self, number: u8) -> Option<u8> {
        let place = number & GENERATION_MASK;
        let [served, low, high] = self.bits.map(|bits| (bits >> place & 1) as u8);
        (served == 1).then_some(high << 7 | low << 6 | place)
    }
}

/// Position in our stream that a segment acknowledges, and the terms of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// SEG.ACK - ISS - 1: octets of ours (FIN counts one) that the client has received in order.
    pub received: u32,
    /// The connection's assignment.
    pub terms: CookieFields,
}

/// The proof in a segment of a connection with timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamDelta {
    /// Octets of ours that the client has acknowledged, less those that it has sent before this segment.
    pub bytes: i32,
    /// Largest payload.
    pub class: MssClass,
    /// The last six bits of the generation's number.
    pub generation: u8,
    /// The time slot in which the connection began.
    pub slot: u32,
    /// F: the same for all segments of the connection, and known to nobody who lacks the key.
    pub secret: u64,
}

impl StreamDelta {
    /// What the connection's promises are sealed by.
    #[inline]
    #[must_use]
    pub fn mask(&self) -> Mask {
        mask(self.secret)
    }
}

/// A persistent connection ends when the server has sent so many bytes more than the client, or the client
/// [`MAX_NEGATIVE_DELTA`] more than the server.
pub const MAX_STREAM_DELTA: i32 = 8 << 20;

/// See [`MAX_STREAM_DELTA`].
pub const MAX_NEGATIVE_DELTA: i32 = 6 << 20;

/// The bits of a generation's number that there is room for beside the drift.
pub const GENERATION_MASK: u8 = 63;

/// Numbers that V takes.
const MODULUS: u32 = 31 << 26;

/// The least V. Half of what 31 bits have beyond the modulus: more than any stream delta.
const GUARD: u32 = ((1 << 31) - MODULUS) / 2;

/// Distance of the fields of a connection of one request, whose class and generation take nine bits.
const SINGLE_REQUEST_WIDTH: u32 = MODULUS >> 9;

/// Distance of the fields of a persistent connection, whose class and generation take seven bits.
const PERSISTENT_WIDTH: u32 = MODULUS >> 7;

/// The least stream delta that can be read. Beyond the limits there is room for what is under way when they are passed.
const LEAST_DELTA: i32 = -(13 << 19);

const _: () = {
    let most = (PERSISTENT_WIDTH - 1).cast_signed() + LEAST_DELTA;
    assert!(most - MAX_STREAM_DELTA > 1 << 19, "more than four responses");
    assert!(-LEAST_DELTA - MAX_NEGATIVE_DELTA >= 1 << 19, "more than a window");
    assert!(GUARD > PERSISTENT_WIDTH, "no delta reaches the bit of the slot");
};

const V_BITS: u32 = 31;
const V_MASK: u32 = (1 << V_BITS) - 1;

/// P: the cookie of `fields` that lie `width` apart, in `slot`.
#[inline]
const fn place(hash: u32, slot: u32, fields: u32, width: u32) -> u32 {
    (slot << V_BITS) | (GUARD + (scaled(hash) + fields * width) % MODULUS)
}

/// Reads `distance`, a cookie and what was added to it, at least `least`: the fields, and what was added less `least`.
#[inline]
const fn read(hash: u32, distance: u32, width: u32, least: i32) -> (u32, u32) {
    let beyond = (distance & V_MASK).wrapping_sub(GUARD).wrapping_sub(least.cast_unsigned());
    let place = beyond.wrapping_add(MODULUS - scaled(hash)) % MODULUS;
    (place / width, place % width)
}

/// A number below the modulus, each as likely as any other.
#[inline]
const fn scaled(hash: u32) -> u32 {
    ((hash as u64 * MODULUS as u64) >> 32) as u32
}

/// The time slots' bit of a cookie, to which less than the guard was added.
#[inline]
const fn slot_of(slots: Slots, distance: u32) -> u32 {
    slots.ending_in(distance >> V_BITS)
}

/// Our initial sequence number for the connection that begins with the client's `isn` in `slot`.
#[inline]
#[must_use]
pub fn iss(key: &Key, tuple: &FourTuple, isn: u32, slot: u32, terms: CookieFields) -> u32 {
    let fields = u32::from(terms.generation) << 1 | terms.class.bit();
    place(hash(key, tuple, isn, slot), slot, fields, SINGLE_REQUEST_WIDTH)
}

/// Our initial sequence number for a connection with timestamps that begins in `slot`, and the mask of its cookies.
#[inline]
#[must_use]
pub fn iss_with_timestamps(
    key: &Key,
    tuple: &FourTuple,
    isn: u32,
    slot: u32,
    terms: CookieFields,
) -> (u32, Mask) {
    let secret = secret(key, tuple, slot);
    let fields = u32::from(terms.generation & GENERATION_MASK) << 1 | terms.class.bit();
    (isn.wrapping_add(place(low(secret), slot, fields, PERSISTENT_WIDTH)), mask(secret))
}

/// Reads `segment`, of a connection with timestamps that began in one of `slots`, under `key`. Every segment says something:
/// it proves no more than that one generation in 64 was guessed, until its cookie is looked at.
#[inline]
#[must_use]
pub fn stream_delta(key: &Key, slots: Slots, segment: &Segment) -> StreamDelta {
    let distance = segment.ack.wrapping_sub(segment.seq);
    let slot = slot_of(slots, distance);
    let secret = secret(key, &segment.tuple, slot);
    let (fields, above) = read(low(secret), distance, PERSISTENT_WIDTH, LEAST_DELTA);
    #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
    let generation = (fields >> 1) as u8;
    StreamDelta {
        bytes: above.cast_signed() + LEAST_DELTA,
        class: MssClass::of_bit(fields),
        generation,
        slot,
        secret,
    }
}

/// Identifies a connection of one request in the cache: known to nobody who lacks the key.
#[inline]
#[must_use]
pub fn connection(key: &Key, tuple: &FourTuple) -> u64 {
    // The same at all times.
    secret(key, tuple, 0)
}

/// What `segment` proves if `lead` octets of its connection went before it, that is if SEG.SEQ - 1 - `lead` is the client's
/// ISN: that it knows our ISS, of one of the accepted slots, and has at most `most` octets of ours. None if it proves nothing.
///
/// During a key rotation both keys may fit by accident. A proof of a generation that is served then goes before one of a
/// generation that is not; of two such, the one with fewer octets received is the likelier one, and the true one
/// wherever nothing was received yet.
#[inline]
#[must_use]
pub fn prove(
    keys: &Keys,
    epochs: &Epochs,
    generations: &Generations,
    segment: &Segment,
    lead: u32,
    most: u32,
) -> Option<Proof> {
    let slots = epochs.single_request;
    let current = prove_by(&keys.current, slots, segment, lead, most);
    let previous = keys.previous.as_ref().and_then(|key| prove_by(key, slots, segment, lead, most));
    match (current, previous) {
        (Some(current), Some(previous)) => {
            let rank = |proof: &Proof| (!generations.hold(proof.terms.generation), proof.received);
            Some(if rank(&previous) < rank(&current) { previous } else { current })
        }
        (current, previous) => current.or(previous),
    }
}

#[inline]
fn prove_by(key: &Key, slots: Slots, segment: &Segment, lead: u32, most: u32) -> Option<Proof> {
    let distance = segment.ack.wrapping_sub(1);
    let slot = slot_of(slots, distance);
    let hash = hash(key, &segment.tuple, segment.seq.wrapping_sub(lead).wrapping_sub(1), slot);
    let (fields, received) = read(hash, distance, SINGLE_REQUEST_WIDTH, 0);
    #[expect(clippy::cast_possible_truncation, reason = "nine bits")]
    let generation = (fields >> 1) as u8;
    let terms = CookieFields { class: MssClass::of_bit(fields), generation };
    (received <= most).then_some(Proof { received, terms })
}

// In BPF a function of its own, for the room on the stack. It may be one, as it returns a number.
#[cfg_attr(not(target_arch = "bpf"), inline)]
#[cfg_attr(target_arch = "bpf", inline(never))]
fn hash(key: &Key, tuple: &FourTuple, isn: u32, slot: u32) -> u32 {
    let hash = SipHash::new(key).addresses(tuple).word(ports(tuple) << 32 | u64::from(isn));
    low(hash.finish(slot_octets(slot), SLOT))
}

/// F. Of fewer octets than the hash of a first segment, so that neither says anything about the other.
// See `hash`.
#[cfg_attr(not(target_arch = "bpf"), inline)]
#[cfg_attr(target_arch = "bpf", inline(never))]
fn secret(key: &Key, tuple: &FourTuple, slot: u32) -> u64 {
    let tail = slot_octets(slot) << 32 | ports(tuple);
    SipHash::new(key).addresses(tuple).finish(tail, 4 + SLOT)
}

#[inline]
fn ports(tuple: &FourTuple) -> u64 {
    u64::from(tuple.server_port) << 16 | u64::from(tuple.client_port)
}

/// Octets of a slot's number: they find room in the last word of each hash, which takes no more rounds for them. The number
/// comes again after 15 years at least.
pub(crate) const SLOT: u64 = 3;

#[inline]
pub(crate) fn slot_octets(slot: u32) -> u64 {
    u64::from(slot & 0xff_ffff)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half")]
fn low(secret: u64) -> u32 {
    secret as u32
}

#[inline]
fn mask(secret: u64) -> Mask {
    Mask((secret >> 32) as u32)
}

#[cfg(test)]
mod tests;
