//! Cookies, and how an answer goes out with its SYN,ACK.

use super::*;
use crate::tcp::epoch::{CONNECTION_LIFETIME, Epochs};
use crate::tcp::isn::{CookieFields, Generations, iss_with_timestamps};
use crate::tcp::segment::{FourTuple, Options};
use crate::tcp::single_request::{Request, Response, prove};
use crate::tcp::tcb::{ParsedMessages, ResponseSpan, Tcb};
use crate::tcp::testing::{NOW, epochs};
use crate::tcp::{AckPolicy, TcpConfig};
use core::time::Duration;
use proptest::prelude::*;
use rstest::rstest;

const ONE: Key = Key([1; 16]);
const TWO: Key = Key([2; 16]);
const THREE: Key = Key([3; 16]);
const ROTATED: Keys = Keys { current: TWO, previous: Some(ONE) };
const SERVED: Generations = Generations::only(9);
const CLIENT: Address = Address::from_ipv4([192, 0, 2, 2]);
const OTHER: Address = Address::from_ipv4([192, 0, 2, 3]);

fn slots() -> Slots {
    epochs().persistent
}

fn syn(fast_open: Option<FastOpen>, timestamps: bool) -> Segment {
    Segment {
        tuple: FourTuple {
            server: Address::from_ipv4([192, 0, 2, 1]),
            client: CLIENT,
            server_port: 53,
            client_port: 40_000,
        },
        seq: u32::MAX - 3,
        ack: 0,
        flags: Flags::SYN,
        window: 64_240,
        options: Options {
            mss: Some(1460),
            timestamps: timestamps.then_some(Timestamps { value: 77, echo: 0 }),
            fast_open,
        },
        length: 34,
    }
}

#[rstest]
#[case::none(None, false, None)]
#[case::request(Some(FastOpen::Request), false, Some(TWO))]
#[case::of_another_server(Some(FastOpen::Foreign), false, Some(TWO))]
#[case::current(Some(FastOpen::Cookie(cookie(&TWO, CLIENT, slots().current))), true, None)]
#[case::previous(Some(FastOpen::Cookie(cookie(&ONE, CLIENT, slots().current))), true, Some(TWO))]
#[case::forgotten(Some(FastOpen::Cookie(cookie(&THREE, CLIENT, slots().current))), false, Some(TWO))]
#[case::of_another_client(Some(FastOpen::Cookie(cookie(&TWO, OTHER, slots().current))), false, Some(TWO))]
#[case::of_another_client_previous(Some(FastOpen::Cookie(cookie(&ONE, OTHER, slots().current))), false, Some(TWO))]
#[case::zero(Some(FastOpen::Cookie([0; 8])), false, Some(TWO))]
fn granted(#[case] option: Option<FastOpen>, #[case] accepted: bool, #[case] handed_out: Option<Key>) {
    let expected = Grant { accepted, cookie: handed_out.map(|key| cookie(&key, CLIENT, slots().current)) };
    assert_eq!(grant(&ROTATED, slots(), &syn(option, true)), expected);
}

/// Without a previous key its cookies are none.
#[test]
fn a_cookie_ends_with_its_key() {
    let presented = Some(FastOpen::Cookie(cookie(&ONE, CLIENT, slots().current)));
    let granted = grant(&Keys { current: TWO, previous: None }, slots(), &syn(presented, true));
    assert_eq!(granted, Grant { accepted: false, cookie: Some(cookie(&TWO, CLIENT, slots().current)) });
}

/// As a connection does, and the client gets a fresh one meanwhile.
#[test]
fn a_cookie_expires() {
    let start = NOW.as_secs() / 1_800 * 1_800;
    let at = |seconds| Epochs::at(Duration::from_secs(start + seconds), CONNECTION_LIFETIME).persistent;
    let presented = Some(FastOpen::Cookie(cookie(&TWO, CLIENT, at(0).current)));
    for (seconds, accepted, fresh) in [
        (0, true, false),
        (1_799, true, false),
        (1_800, true, true),
        (3_374, true, true),
        (3_375, false, true),
        (100_000, false, true),
    ] {
        let granted = grant(&ROTATED, at(seconds), &syn(presented, true));
        assert_eq!((granted.accepted, granted.cookie.is_some()), (accepted, fresh), "{seconds} s");
    }
}

fn syn_ack(segment: &Segment) -> TxSegment {
    let ack_policy = AckPolicy::Reliable;
    let config =
        TcpConfig { ack_policy, keys: ROTATED, generations: SERVED, segment_size: 1220, fast_open: true };
    crate::tcp::syn_ack(&config, &epochs(), segment).expect("a SYN is answered")
}

/// The same that the client sends who gets no answer on its SYN: see `rule` and `converse` for what it proves.
#[test]
fn the_first_segment_proves_the_connection() {
    let segment = syn(None, false);
    let first = first(&segment, &syn_ack(&segment));
    let proven = prove(&ROTATED, &epochs(), &SERVED, &first, 0);
    assert!(matches!(proven, Ok(Request { received: 0, generation: 9, .. })), "{proven:?}");

    let segment = syn(None, true);
    let syn_ack = syn_ack(&segment);
    let terms = CookieFields { class: MssClass::Standard, generation: 9 };
    assert_eq!(syn_ack.seq, iss_with_timestamps(&TWO, &segment.tuple, segment.seq, slots().current, terms).0);
    let first = super::first(&segment, &syn_ack);
    assert!(Tcb::read(&TWO, slots(), &first).is_some_and(|tcb| tcb.is_idle()));
}

/// A reply of the whole response to a connection without timestamps: closing.
fn closing_reply(first: &Segment, length: u32) -> Reply {
    let request = prove(&ROTATED, &epochs(), &SERVED, first, 0).expect("proven");
    let response = Response { length, volatile: 0, complete: true };
    request.reply(AckPolicy::Reliable, first, response, 1220).expect("a reply")
}

/// A reply on a connection with timestamps, to so many of the octets of `first`.
fn open_reply(first: &Segment, end: u16, new: u32) -> Reply {
    let tcb = Tcb::read(&TWO, slots(), first).expect("timestamps");
    let messages = ParsedMessages { new, end, ..ParsedMessages::default() };
    let span = ResponseSpan { end: new, message: end, volatile: 0 };
    tcb.build_reply(first, &messages, &[span], 1220).expect("a reply")
}

#[rstest]
#[case::least(1, true)]
#[case::most(1220 - 4 - 12 - 12, true)]
#[case::no_room_beside_the_options(1220 - 4 - 12 - 11, false)]
#[case::two_segments(1209, false)]
fn one_segment_rides_on_the_syn_ack(#[case] length: u32, #[case] rides: bool) {
    let segment = syn(None, true);
    let syn_ack = TxSegment { fast_open: Some([5; 8]), ..syn_ack(&segment) };
    let first = first(&segment, &syn_ack);
    let reply = open_reply(&first, 34, length);
    let (sent, behind) = open(&first, syn_ack, reply.clone());
    assert_eq!(behind.is_none(), rides);
    if rides {
        let only = reply.clone().next().expect("a segment");
        assert_eq!((sent.seq, sent.ack), (syn_ack.seq, segment.seq.wrapping_add(35)));
        assert_eq!(sent.flags, Flags::SYN | Flags::ACK);
        assert_eq!((sent.mss, sent.fast_open), (syn_ack.mss, syn_ack.fast_open));
        assert_eq!((sent.timestamps, sent.payload()), (only.timestamps, only.payload()));
        assert_ne!(sent.timestamps, syn_ack.timestamps, "the promise of the answer");
    } else {
        assert_eq!(sent, syn_ack);
        assert_eq!(behind.expect("the reply").collect::<Vec<_>>(), reply.collect::<Vec<_>>());
    }
}

/// Acknowledged in part, the rest of the request would come again, and who takes SYN,ACK for refused has no eye for its
/// payload.
#[test]
fn a_part_is_not_answered_on_the_syn_ack() {
    let segment = syn(None, true);
    let syn_ack = syn_ack(&segment);
    let first = first(&segment, &syn_ack);
    assert_eq!(open(&first, syn_ack, open_reply(&first, 20, 100)).0, syn_ack);
}

#[rstest]
#[case::one(231, Some(1))]
#[case::three(3 * 1220, Some(3))]
#[case::four(3 * 1220 + 1, None)]
#[case::most(60_000, None)]
fn a_last_answer_follows_the_syn_ack(#[case] length: u32, #[case] behind: Option<usize>) {
    let segment = syn(None, false);
    let syn_ack = syn_ack(&segment);
    let first = first(&segment, &syn_ack);
    let (sent, reply) = open(&first, syn_ack, closing_reply(&first, length));
    assert_eq!(sent, syn_ack, "no SYN with FIN");
    assert_eq!(reply.map(Iterator::count), behind);
}

proptest! {
    /// The cookie is one of the key and the address alone, and of both.
    #[test]
    fn cookies_differ(key: [u8; 16], other_key: [u8; 16], address: [u8; 16], other: [u8; 16]) {
        prop_assume!(key != other_key && address != other);
        let cookie = |key, address| cookie(&Key(key), Address(address), 7);
        prop_assert_ne!(cookie(key, address), cookie(other_key, address));
        prop_assert_ne!(cookie(key, address), cookie(key, other));
    }

    /// However long the answer, a SYN brings about no more than its SYN,ACK and three segments, and never more octets on
    /// one segment than the client takes.
    #[test]
    fn what_a_syn_brings_about_is_bounded(length in 1u32..65_000, closing: bool, mss in 536u16..2_000) {
        let mut segment = syn(None, !closing);
        segment.options.mss = Some(mss);
        let syn_ack = syn_ack(&segment);
        let first = first(&segment, &syn_ack);
        let reply = if closing { closing_reply(&first, length.min(60_000)) } else { open_reply(&first, 34, length) };
        let (sent, behind) = open(&first, syn_ack, reply);
        prop_assert!(behind.as_ref().is_none_or(|_| sent == syn_ack));
        let sent: Vec<_> = core::iter::once(sent).chain(behind.into_iter().flatten()).collect();
        prop_assert!(sent.len() <= 1 + MAX_SEGMENTS);
        for outgoing in sent {
            let options = outgoing.mss.map_or(0, |_| 4) + outgoing.timestamps.map_or(0, |_| 12);
            prop_assert!(outgoing.length + options <= mss.min(1220), "{outgoing:?}");
        }
    }
}
