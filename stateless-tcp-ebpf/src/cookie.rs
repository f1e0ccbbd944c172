//! The cookie: our initial sequence number, which only who has seen our SYN,ACK knows (docs/protocol.md, "The cookie").
//!
//! ```text
//! ISS = H(key, addresses, ports, client ISN) + class * 2^23 + generation * 2^24      modulo 2^32
//! ```
//!
//! H is the low half of SipHash-2-4. The class and the generation are added, not hashed: the sequence numbers that they
//! give lie 2^23 apart, no response is that long, so one hash tells them apart with no chance of error.

use crate::segment::{FourTuple, Segment};
use core::hash::Hasher;
use siphasher::sip::SipHasher24;

/// A secret of 128 bits, shared by all servers that answer for one address.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    pub const fn octets(self) -> u16 {
        match self {
            Self::Standard => 1220,
            Self::Minimal => 536,
        }
    }
}

/// What a connection was given at its beginning and bears in its ISS ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Largest payload.
    pub class: MssClass,
    /// Generation of the content that it is served from.
    pub generation: u8,
}

/// The generations of the content that are served. Others are gone, or never were.
///
/// They are numbered modulo 256, and each is kept for a minute (docs/protocol.md, "Generations"): a number comes again
/// only when no client can remember its former bearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// New connections get it.
    pub current: u8,
    /// The one before, whose connections are still answered from it.
    pub previous: Option<u8>,
}

impl Generations {
    /// Whether connections of `generation` can be answered.
    #[inline]
    #[must_use]
    pub fn hold(self, generation: u8) -> bool {
        generation == self.current || Some(generation) == self.previous
    }
}

/// Position in our stream that a segment acknowledges, and the terms of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// SEG.ACK - ISS - 1: octets of ours (FIN counts one) that the client has received in order.
    pub received: u32,
    /// What the connection was given.
    pub terms: Terms,
}

/// Bits of a sequence number below the terms.
const TERMS_SHIFT: u32 = 23;

/// Our initial sequence number for the connection that begins with the client's `isn`.
#[inline]
#[must_use]
pub fn iss(key: &Key, tuple: &FourTuple, isn: u32, terms: Terms) -> u32 {
    let class = match terms.class {
        MssClass::Standard => 0,
        MssClass::Minimal => 1,
    };
    hash(key, tuple, isn).wrapping_add((u32::from(terms.generation) << 1 | class) << TERMS_SHIFT)
}

/// What `segment` proves if it is the first of its connection, that is if SEG.SEQ - 1 is the client's ISN: that it
/// knows our ISS and has at most `most` octets of ours. None if it proves nothing.
///
/// During a key rotation both keys may fit by accident. A proof of a generation that is served then goes before one of a
/// generation that is not; of two such, the one with fewer octets received is the likelier one, and the true one
/// wherever nothing was received yet.
#[inline]
#[must_use]
pub fn prove(keys: &Keys, generations: Generations, segment: &Segment, most: u32) -> Option<Proof> {
    let current = prove_by(&keys.current, segment, most);
    let previous = keys.previous.as_ref().and_then(|key| prove_by(key, segment, most));
    match (current, previous) {
        (Some(current), Some(previous)) => {
            let rank = |proof: &Proof| (!generations.hold(proof.terms.generation), proof.received);
            Some(if rank(&previous) < rank(&current) { previous } else { current })
        }
        (current, previous) => current.or(previous),
    }
}

#[inline]
fn prove_by(key: &Key, segment: &Segment, most: u32) -> Option<Proof> {
    let base = hash(key, &segment.tuple, segment.seq.wrapping_sub(1));
    let distance = segment.ack.wrapping_sub(base).wrapping_sub(1);
    let received = distance & ((1 << TERMS_SHIFT) - 1);
    let terms = Terms {
        class: if distance >> TERMS_SHIFT & 1 == 0 { MssClass::Standard } else { MssClass::Minimal },
        generation: (distance >> (TERMS_SHIFT + 1)) as u8,
    };
    (received <= most).then_some(Proof { received, terms })
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a sequence number is the low half of the hash")]
fn hash(key: &Key, tuple: &FourTuple, isn: u32) -> u32 {
    let mut octets = [0; 40];
    octets[..16].copy_from_slice(&tuple.server.0);
    octets[16..32].copy_from_slice(&tuple.client.0);
    octets[32..34].copy_from_slice(&tuple.server_port.to_be_bytes());
    octets[34..36].copy_from_slice(&tuple.client_port.to_be_bytes());
    octets[36..].copy_from_slice(&isn.to_be_bytes());
    let mut hasher = SipHasher24::new_with_key(&key.0);
    hasher.write(&octets);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Address, Flags, Options};
    use proptest::prelude::*;

    const MOST: u32 = 65_001;
    const FIRST: Generations = Generations { current: 0, previous: None };

    fn segment(seq: u32, ack: u32) -> Segment {
        let tuple = FourTuple {
            server: Address::from_ipv4([192, 0, 2, 1]),
            client: Address::from_ipv4([192, 0, 2, 2]),
            server_port: 53,
            client_port: 40_000,
        };
        Segment {
            tuple,
            seq,
            ack,
            flags: Flags::ACK,
            window: 65_535,
            options: Options::default(),
            length: 34,
        }
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let class = prop_oneof![Just(MssClass::Standard), Just(MssClass::Minimal)];
        (class, any::<u8>()).prop_map(|(class, generation)| Terms { class, generation })
    }

    proptest! {
        /// Whatever we sent in a SYN,ACK is read back, under the current key and the previous one.
        #[test]
        fn a_first_segment_proves_its_terms(
            octets: [u8; 16], other: [u8; 16], isn: u32, received in 0..=MOST, terms in terms(), rotated: bool,
        ) {
            let mut segment = segment(isn.wrapping_add(1), 0);
            segment.ack = iss(&Key(octets), &segment.tuple, isn, terms).wrapping_add(1).wrapping_add(received);
            let keys = if rotated {
                Keys { current: Key(other), previous: Some(Key(octets)) }
            } else {
                Keys { current: Key(octets), previous: None }
            };
            let generations = Generations { current: terms.generation, previous: None };
            prop_assert_eq!(prove(&keys, generations, &segment, MOST), Some(Proof { received, terms }));
        }

        /// A later segment of the same connection proves nothing: its SEG.SEQ - 1 is not the ISN that ISS was made of.
        #[test]
        fn a_later_segment_proves_nothing(octets: [u8; 16], isn: u32, sent in 1u32..4096, terms in terms()) {
            let mut segment = segment(isn.wrapping_add(1).wrapping_add(sent), 0);
            segment.ack = iss(&Key(octets), &segment.tuple, isn, terms).wrapping_add(1);
            let keys = Keys { current: Key(octets), previous: None };
            // By chance one in 129 does (512 windows of 65,002 in 2^32), of any generation: no failure.
            if let Some(proof) = prove(&keys, FIRST, &segment, MOST) {
                prop_assert!(proof.received > 0);
            }
        }
    }

    #[test]
    fn blind_guesses_fit_as_rarely_as_stated() {
        let keys = Keys { current: Key([7; 16]), previous: None };
        let fitting = (0..1_000_000u32)
            .filter(|guess| {
                let proof = prove(&keys, FIRST, &segment(1, guess.wrapping_mul(2_654_435_761)), MOST);
                proof.is_some_and(|proof| FIRST.hold(proof.terms.generation))
            })
            .count();
        // 2 * 65,002 / 2^32 of a million is 30.3.
        assert!((10..=60).contains(&fitting), "{fitting} of a million guesses fit");
    }

    /// While keys change, a proof that both keys give is read as that of a generation that is served.
    #[test]
    fn accidents_of_key_rotation_do_not_hide_a_served_generation() {
        let served = Generations { current: 5, previous: Some(4) };
        let mut accidents = 0;
        for isn in 0..20_000 {
            let keys = Keys { current: Key([1; 16]), previous: Some(Key([2; 16])) };
            let mut segment = segment(isn + 1, 0);
            let terms = Terms { class: MssClass::Standard, generation: 4 };
            let received = 3_000;
            segment.ack = iss(&Key([2; 16]), &segment.tuple, isn, terms).wrapping_add(1 + received);
            accidents += u32::from(prove_by(&keys.current, &segment, MOST).is_some());
            assert_eq!(prove(&keys, served, &segment, MOST), Some(Proof { received, terms }), "ISN {isn}");
        }
        // One in 129 of them: without the order, some of these would be lost for good.
        assert!(accidents > 50, "{accidents}");
    }

    #[test]
    fn mss_classes() {
        for (offered, ipv4, class) in [
            (None, true, Some(MssClass::Minimal)),
            (None, false, Some(MssClass::Standard)),
            (Some(1460), true, Some(MssClass::Standard)),
            (Some(1220), true, Some(MssClass::Standard)),
            (Some(1219), false, Some(MssClass::Minimal)),
            (Some(536), true, Some(MssClass::Minimal)),
            (Some(535), true, None),
            (Some(0), false, None),
        ] {
            assert_eq!(MssClass::offered(offered, ipv4), class, "{offered:?}, IPv4 {ipv4}");
        }
    }
}
