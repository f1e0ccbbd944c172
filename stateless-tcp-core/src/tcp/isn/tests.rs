//! What segments prove, and how often a guess does.

use super::*;
use crate::tcp::segment::{Address, Flags, Options};
use crate::tcp::testing::epochs;
use proptest::prelude::*;

const MOST: u32 = 65_001;
const FIRST: Generations = Generations::only(0);

fn segment(seq: u32, ack: u32) -> Segment {
    let tuple = FourTuple {
        server: Address::from_ipv4([192, 0, 2, 1]),
        client: Address::from_ipv4([192, 0, 2, 2]),
        server_port: 53,
        client_port: 40_000,
    };
    Segment { tuple, seq, ack, flags: Flags::ACK, window: 65_535, options: Options::default(), length: 34 }
}

fn slots() -> Slots {
    epochs().single_request
}

fn terms() -> impl Strategy<Value = CookieFields> {
    let class = prop_oneof![Just(MssClass::Standard), Just(MssClass::Minimal)];
    (class, any::<u8>()).prop_map(|(class, generation)| CookieFields { class, generation })
}

proptest! {
    /// Whatever we sent in a SYN,ACK is read back, under the current key and the previous one.
    ///
    /// Under the other key the same segment fits one time in 16,000 by chance: [`two_keys_may_fit_one_segment`].
    #[test]
    fn a_first_segment_proves_its_terms(
        octets: [u8; 16], other: [u8; 16], isn: u32, received in 0..=MOST, terms in terms(), rotated: bool,
    ) {
        let mut segment = segment(isn.wrapping_add(1), 0);
        segment.ack = iss(&Key(octets), &segment.tuple, isn, slots().current, terms).wrapping_add(1).wrapping_add(received);
        let keys = if rotated {
            Keys { current: Key(other), previous: Some(Key(octets)) }
        } else {
            Keys { current: Key(octets), previous: None }
        };
        let generations = Generations::only(terms.generation);
        let by_chance = prove_by(&Key(other), slots(), &segment, 0, MOST);
        prop_assume!(!rotated || by_chance.is_none_or(|proof| !generations.hold(proof.terms.generation)));
        prop_assert_eq!(prove(&keys, &epochs(), &generations, &segment, 0, MOST), Some(Proof { received, terms }));
        // A later one proves the same to who knows how much went before it.
        segment.seq = segment.seq.wrapping_add(1220);
        prop_assert_eq!(prove(&keys, &epochs(), &generations, &segment, 1220, MOST), Some(Proof { received, terms }));
    }

    /// With timestamps every segment of a connection proves its terms, and how far the two sides have drifted apart.
    #[test]
    fn every_segment_with_timestamps_proves_its_terms(
        octets: [u8; 16], isn: u32, sent in 0u32..6 << 20, received in 0u32..8 << 20, terms in terms(),
    ) {
        let slots = epochs().persistent;
        let mut segment = segment(isn.wrapping_add(1 + sent), 0);
        let (iss, mask) = iss_with_timestamps(&Key(octets), &segment.tuple, isn, slots.current, terms);
        segment.ack = iss.wrapping_add(1 + received);
        let proven = stream_delta(&Key(octets), slots, &segment);
        prop_assert_eq!(proven.bytes, received.cast_signed() - sent.cast_signed());
        prop_assert_eq!((proven.class, proven.generation), (terms.class, terms.generation & 63));
        prop_assert_eq!(proven.mask(), mask);
        let served = Generations::only(terms.generation.wrapping_sub(1)).and(terms.generation);
        prop_assert_eq!(served.ending_in(proven.generation), Some(terms.generation));
    }

    /// A later segment of the same connection proves nothing: its SEG.SEQ - 1 is not the ISN that ISS was made of.
    #[test]
    fn a_later_segment_proves_nothing(octets: [u8; 16], isn: u32, sent in 1u32..4096, terms in terms()) {
        let mut segment = segment(isn.wrapping_add(1).wrapping_add(sent), 0);
        segment.ack = iss(&Key(octets), &segment.tuple, isn, slots().current, terms).wrapping_add(1);
        let keys = Keys { current: Key(octets), previous: None };
        // By chance one in 63 does (512 times 65,002 of 31 * 2^26), of any generation: no failure.
        if let Some(proof) = prove(&keys, &epochs(), &FIRST, &segment, 0, MOST) {
            prop_assert!(proof.received > 0);
        }
    }
}

/// Of two keys that fit, the one that leaves fewer bytes received is taken, even where the other one is the true one.
#[test]
fn two_keys_may_fit_one_segment() {
    let keys = Keys { current: Key([1; 16]), previous: Some(Key([2; 16])) };
    let terms = CookieFields { class: MssClass::Standard, generation: 0 };
    let sent = |isn: u32, sent| {
        let mut segment = segment(isn.wrapping_add(1), 0);
        let iss = iss(&Key([2; 16]), &segment.tuple, isn, slots().current, terms);
        segment.ack = iss.wrapping_add(1 + sent);
        segment
    };
    let fits = |isn| {
        prove_by(&keys.current, slots(), &sent(isn, 60_000), 0, 59_999).filter(|proof| proof.terms == terms)
    };
    let (isn, accident) = (0..1_000_000).find_map(|isn| Some((isn, fits(isn)?))).expect("one in 35,000 does");
    let apart = 60_000 - accident.received;
    for (bytes, received) in [(apart - 1, apart - 1), (apart, 0), (60_000, accident.received)] {
        let proof = prove(&keys, &epochs(), &FIRST, &sent(isn, bytes), 0, MOST);
        assert_eq!(proof, Some(Proof { received, terms }), "{bytes} sent");
    }
}

#[test]
fn blind_guesses_fit_as_rarely_as_stated() {
    let keys = Keys { current: Key([7; 16]), previous: None };
    let fitting = (0..1_000_000u32)
        .filter(|guess| {
            let proof =
                prove(&keys, &epochs(), &FIRST, &segment(1, guess.wrapping_mul(2_654_435_761)), 0, MOST);
            proof.is_some_and(|proof| FIRST.hold(proof.terms.generation))
        })
        .count();
    // Of each slot 2 * 65,002 / 2^32, together 60.5 of a million.
    assert!((40..=85).contains(&fitting), "{fitting} of a million guesses fit");
}

/// While keys change, a proof that both keys give is read as that of a generation that is served.
#[test]
fn accidents_of_key_rotation_do_not_hide_a_served_generation() {
    let served = Generations::only(5).and(4);
    let mut accidents = 0;
    for isn in 0..20_000 {
        let keys = Keys { current: Key([1; 16]), previous: Some(Key([2; 16])) };
        let mut segment = segment(isn + 1, 0);
        let terms = CookieFields { class: MssClass::Standard, generation: 4 };
        let received = 3_000;
        segment.ack =
            iss(&Key([2; 16]), &segment.tuple, isn, slots().current, terms).wrapping_add(1 + received);
        accidents += u32::from(prove_by(&keys.current, slots(), &segment, 0, MOST).is_some());
        assert_eq!(
            prove(&keys, &epochs(), &served, &segment, 0, MOST),
            Some(Proof { received, terms }),
            "ISN {isn}"
        );
    }
    // One in 63 of them: without the order, some of these would be lost for good.
    assert!(accidents > 100, "{accidents}");
}

proptest! {
    /// As a list of numbers would, which are apart in their six low bits.
    #[test]
    fn a_set_of_generations_holds_what_was_put_in(numbers in prop::collection::vec(any::<u8>(), 1..8)) {
        let mut served: Vec<u8> = Vec::new();
        for number in numbers {
            if served.iter().all(|other| other & GENERATION_MASK != number & GENERATION_MASK) {
                served.push(number);
            }
        }
        let set = served[1..].iter().fold(Generations::only(served[0]), |set, &former| set.and(former));
        prop_assert_eq!(set.current(), served[0]);
        for number in 0..=u8::MAX {
            prop_assert_eq!(set.hold(number), served.contains(&number), "{}", number);
        }
        for number in 0..=GENERATION_MASK {
            let expected = served.iter().find(|served| **served & GENERATION_MASK == number);
            prop_assert_eq!(set.ending_in(number), expected.copied());
        }
    }
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

/// A cookie is read as of its own slot as long as that is accepted, and as of no other one; and its fields are right whatever
/// its numbers are.
#[test]
fn the_slot_of_a_cookie_is_certain() {
    let key = Key([9; 16]);
    let mut random = 1_u64;
    let mut word = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 32) as u32
    };
    for _ in 0..200_000 {
        let (isn, slot, generation, class) =
            (word(), word(), word().to_le_bytes()[0], MssClass::of_bit(word()));
        let terms = CookieFields { class, generation };
        let mut segment = segment(isn.wrapping_add(1), 0);
        segment.tuple.client_port = MssClass::of_bit(word()).bytes();
        for slots in [slot.wrapping_sub(1), slot.wrapping_add(1)]
            .map(|other| [Slots { current: slot, other }, Slots { current: other, other: slot }])
            .concat()
        {
            segment.ack = iss(&key, &segment.tuple, isn, slot, terms).wrapping_add(1 + word() % (MOST + 1));
            let proof = prove_by(&key, slots, &segment, 0, MOST).expect("a proof");
            assert_eq!(proof.terms, terms);
            let (iss, mask) = iss_with_timestamps(&key, &segment.tuple, isn, slot, terms);
            for bytes in [-MAX_NEGATIVE_DELTA, -1, 0, 1, 65_537, MAX_STREAM_DELTA] {
                segment.ack = iss.wrapping_add(1).wrapping_add_signed(bytes);
                let delta = stream_delta(&key, slots, &segment);
                assert_eq!((delta.bytes, delta.class, delta.generation), (bytes, class, generation & 63));
                assert_eq!((delta.slot, delta.mask()), (slot, mask));
            }
        }
    }
}
