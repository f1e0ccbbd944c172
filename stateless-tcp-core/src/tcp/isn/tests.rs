//! What segments prove, and how often a guess does.

use super::*;
use crate::tcp::segment::{Address, Flags, Options};
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

fn terms() -> impl Strategy<Value = CookieFields> {
    let class = prop_oneof![Just(MssClass::Standard), Just(MssClass::Minimal)];
    (class, any::<u8>()).prop_map(|(class, generation)| CookieFields { class, generation })
}

proptest! {
    /// Whatever we sent in a SYN,ACK is read back, under the current key and the previous one.
    ///
    /// Under the other key the same segment fits one time in 66,000 by chance: [`two_keys_may_fit_one_segment`].
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
        let generations = Generations::only(terms.generation);
        let by_chance = prove_by(&Key(other), &segment, 0, MOST);
        prop_assume!(!rotated || by_chance.is_none_or(|proof| !generations.hold(proof.terms.generation)));
        prop_assert_eq!(prove(&keys, &generations, &segment, 0, MOST), Some(Proof { received, terms }));
        // A later one proves the same to who knows how much went before it.
        segment.seq = segment.seq.wrapping_add(1220);
        prop_assert_eq!(prove(&keys, &generations, &segment, 1220, MOST), Some(Proof { received, terms }));
    }

    /// With timestamps every segment of a connection proves its terms, and how far the two sides have drifted apart.
    #[test]
    fn every_segment_with_timestamps_proves_its_terms(
        octets: [u8; 16], isn: u32, sent in 0u32..1 << 23, received in 0u32..1 << 23, terms in terms(),
    ) {
        let mut segment = segment(isn.wrapping_add(1 + sent), 0);
        let (iss, mask) = iss_with_timestamps(&Key(octets), &segment.tuple, isn, terms);
        segment.ack = iss.wrapping_add(1 + received);
        let proven = stream_delta(&Key(octets), &segment);
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
        segment.ack = iss(&Key(octets), &segment.tuple, isn, terms).wrapping_add(1);
        let keys = Keys { current: Key(octets), previous: None };
        // By chance one in 129 does (512 windows of 65,002 in 2^32), of any generation: no failure.
        if let Some(proof) = prove(&keys, &FIRST, &segment, 0, MOST) {
            prop_assert!(proof.received > 0);
        }
    }
}

/// Of two keys that fit, the one that leaves fewer bytes received is taken, even where the other one is the true one.
#[test]
fn two_keys_may_fit_one_segment() {
    let current = Key([36, 127, 114, 33, 37, 220, 153, 228, 188, 95, 155, 239, 253, 228, 98, 74]);
    let previous = Key([34, 224, 197, 254, 99, 144, 89, 48, 215, 122, 145, 61, 5, 126, 192, 107]);
    let isn = 3_690_424_055_u32;
    let terms = CookieFields { class: MssClass::Standard, generation: 0 };
    let mut segment = segment(isn.wrapping_add(1), 0);
    let keys = Keys { current, previous: Some(previous) };
    for (sent, read) in [(6_451, 6_451), (6_452, 0), (6_500, 48)] {
        segment.ack = iss(&previous, &segment.tuple, isn, terms).wrapping_add(1 + sent);
        assert_eq!(
            prove(&keys, &FIRST, &segment, 0, MOST),
            Some(Proof { received: read, terms }),
            "{sent} sent"
        );
    }
}

#[test]
fn blind_guesses_fit_as_rarely_as_stated() {
    let keys = Keys { current: Key([7; 16]), previous: None };
    let fitting = (0..1_000_000u32)
        .filter(|guess| {
            let proof = prove(&keys, &FIRST, &segment(1, guess.wrapping_mul(2_654_435_761)), 0, MOST);
            proof.is_some_and(|proof| FIRST.hold(proof.terms.generation))
        })
        .count();
    // 2 * 65,002 / 2^32 of a million is 30.3.
    assert!((10..=60).contains(&fitting), "{fitting} of a million guesses fit");
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
        segment.ack = iss(&Key([2; 16]), &segment.tuple, isn, terms).wrapping_add(1 + received);
        accidents += u32::from(prove_by(&keys.current, &segment, 0, MOST).is_some());
        assert_eq!(prove(&keys, &served, &segment, 0, MOST), Some(Proof { received, terms }), "ISN {isn}");
    }
    // One in 129 of them: without the order, some of these would be lost for good.
    assert!(accidents > 50, "{accidents}");
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
