//! Rules by cases, and what must hold of every reply.

use super::*;
use crate::tcp::isn::{CookieFields, Key, iss};
use crate::tcp::segment::{Address, FourTuple, Options};
use crate::tcp::syn_ack;
use crate::tcp::testing::{answer, epochs};
use core::ops::Range;
use proptest::prelude::*;
use rstest::rstest;

const KEYS: Keys = Keys { current: Key([7; 16]), previous: None };
const ISN: u32 = u32::MAX - 10;
const SERVED: Generations = Generations::only(7);
const TERMS: CookieFields = CookieFields { class: MssClass::Standard, generation: 7 };

fn tuple() -> FourTuple {
    FourTuple {
        server: Address::from_ipv4([192, 0, 2, 1]),
        client: Address::from_ipv4([192, 0, 2, 2]),
        server_port: 53,
        client_port: 40_000,
    }
}

fn server_isn() -> u32 {
    iss(&KEYS.current, &tuple(), ISN, epochs().single_request.current, TERMS)
}

/// A segment with numbers relative to both ISNs.
fn segment(flags: Flags, seq: u32, ack: u32, length: u16) -> Segment {
    Segment {
        tuple: tuple(),
        seq: ISN.wrapping_add(seq),
        ack: server_isn().wrapping_add(ack),
        flags,
        window: 65_535,
        options: Options { mss: Some(1460), ..Options::default() },
        length,
    }
}

const ACK: Flags = Flags::ACK;
const FIN_ACK: Flags = Flags(0x11);
const SYN_ACK: Flags = Flags(0x12);
const PSH_ACK: Flags = Flags(0x18);

/// (flags, relative seq, relative ack, payload) of what is sent, or the reason for silence.
type Sent = Result<Vec<(Flags, u32, u32, Range<usize>)>, Outcome>;

fn relative(out: TxSegment) -> (Flags, u32, u32, Range<usize>) {
    (out.flags, out.seq.wrapping_sub(server_isn()), out.ack.wrapping_sub(ISN), out.payload())
}

/// A response to the whole payload, always the same.
fn response(length: u32) -> Response {
    Response { length, volatile: 0, complete: true }
}

fn config(ack_policy: AckPolicy, generations: &Generations) -> TcpConfig {
    TcpConfig { ack_policy, keys: KEYS, generations: *generations, segment_size: 1220, fast_open: false }
}

fn respond(rules: AckPolicy, segment: &Segment, length: u32, segment_size: u16) -> Sent {
    let config = TcpConfig { segment_size, ..config(rules, &SERVED) };
    answer(&config, segment, length as usize).map(|sent| sent.into_iter().map(relative).collect())
}

#[rstest]
#[case::syn(segment(Flags::SYN, 0, 0, 0), Ok(vec![(SYN_ACK, 0, 1, 0..0)]))]
#[case::ecn_syn(segment(Flags(0xc2), 0, 0, 0), Ok(vec![(SYN_ACK, 0, 1, 0..0)]))]
#[case::syn_with_payload(segment(Flags::SYN, 0, 0, 34), Ok(vec![(SYN_ACK, 0, 1, 0..0)]))]
#[case::fin_after_all(segment(FIN_ACK, 35, 233, 0), Ok(vec![(ACK, 233, 36, 0..0)]))]
#[case::fin_first(segment(FIN_ACK, 1, 1, 0), Ok(vec![(FIN_ACK, 1, 2, 0..0)]))]
#[case::bare_ack(segment(ACK, 1, 1, 0), Err(Outcome::BareAck))]
#[case::rst(segment(Flags::RST, 1, 1, 0), Err(Outcome::Reset))]
#[case::rst_ack_with_payload(segment(Flags(0x14), 1, 1, 9), Err(Outcome::Reset))]
#[case::syn_ack(segment(SYN_ACK, 0, 1, 0), Err(Outcome::SynAckReceived))]
#[case::null(segment(Flags(0), 1, 1, 9), Err(Outcome::UnusualFlags))]
#[case::christmas_tree(segment(Flags(0x29), 1, 1, 0), Err(Outcome::UnusualFlags))]
#[case::syn_fin(segment(Flags(0x03), 0, 0, 0), Err(Outcome::UnusualFlags))]
#[case::syn_fin_ack(segment(Flags(0x13), 0, 1, 0), Err(Outcome::UnusualFlags))]
#[case::fin_without_ack(segment(Flags::FIN, 1, 1, 0), Err(Outcome::UnusualFlags))]
#[case::data_without_ack(segment(Flags::PSH, 1, 1, 34), Err(Outcome::UnusualFlags))]
#[case::later_data(segment(PSH_ACK, 35, 1, 34), Err(Outcome::BadCookie))]
#[case::one_below(segment(PSH_ACK, 1, 0, 34), Err(Outcome::BadCookie))]
#[case::beyond_the_largest(segment(PSH_ACK, 1, 65_540, 34), Err(Outcome::BadCookie))]
#[case::beyond_the_response(segment(PSH_ACK, 1, 234, 34), Err(Outcome::BeyondResponse))]
fn both_rule_sets(
    #[values(AckPolicy::Classic, AckPolicy::Reliable)] rules: AckPolicy,
    #[case] seg: Segment,
    #[case] sent: Sent,
) {
    assert_eq!(respond(rules, &seg, 231, 512), sent);
}

#[rstest]
#[case::small(1, 231, vec![(ACK, 1, 35, 0..0), (ACK, 1, 35, 0..231), (FIN_ACK, 232, 35, 231..231)])]
#[case::large(1, 1200, vec![
    (ACK, 1, 35, 0..0), (ACK, 1, 35, 0..512), (ACK, 513, 35, 512..1024), (ACK, 1025, 35, 1024..1200),
    (FIN_ACK, 1201, 35, 1200..1200),
])]
#[case::resumed(513, 1000, vec![(ACK, 513, 35, 0..0), (ACK, 513, 35, 512..1000), (FIN_ACK, 1001, 35, 1000..1000)])]
#[case::only_fin_missing(232, 231, vec![(ACK, 232, 35, 0..0), (FIN_ACK, 232, 35, 231..231)])]
#[case::nothing_missing(233, 231, vec![(ACK, 233, 35, 0..0)])]
#[case::no_answer(1, 0, vec![(ACK, 1, 35, 0..0), (FIN_ACK, 1, 35, 0..0)])]
fn classic(#[case] ack: u32, #[case] length: u32, #[case] sent: Vec<(Flags, u32, u32, Range<usize>)>) {
    let mut sent = sent;
    // Where there is nothing before the first data segment but its own ACK, offsets are those of the next octet.
    sent[0].3 = (ack - 1).min(length) as usize..(ack - 1).min(length) as usize;
    assert_eq!(respond(AckPolicy::Classic, &segment(PSH_ACK, 1, ack, 34), length, 512), Ok(sent));
}

#[rstest]
#[case::one_segment(PSH_ACK, 1, 231, vec![(FIN_ACK, 1, 35, 0..231)])]
#[case::one_full_segment(PSH_ACK, 1, 1220, vec![(FIN_ACK, 1, 35, 0..1220)])]
#[case::two_segments_withhold(PSH_ACK, 1, 1221, vec![(ACK, 1, 1, 0..1220), (FIN_ACK, 1221, 1, 1220..1221)])]
#[case::last_one_resumed(PSH_ACK, 1221, 1221, vec![(FIN_ACK, 1221, 35, 1220..1221)])]
#[case::two_of_three_resumed(PSH_ACK, 1221, 3000, vec![(ACK, 1221, 1, 1220..2440), (FIN_ACK, 2441, 1, 2440..3000)])]
#[case::only_fin_missing(PSH_ACK, 3001, 3000, vec![(FIN_ACK, 3001, 35, 3000..3000)])]
#[case::nothing_missing(PSH_ACK, 3002, 3000, vec![(ACK, 3002, 35, 3000..3000)])]
#[case::with_fin(Flags(0x19), 1, 231, vec![(FIN_ACK, 1, 36, 0..231)])]
#[case::with_fin_withheld(Flags(0x19), 1, 1221, vec![(ACK, 1, 1, 0..1220), (FIN_ACK, 1221, 1, 1220..1221)])]
#[case::no_answer(PSH_ACK, 1, 0, vec![(FIN_ACK, 1, 35, 0..0)])]
fn reliable(
    #[case] flags: Flags,
    #[case] ack: u32,
    #[case] length: u32,
    #[case] sent: Vec<(Flags, u32, u32, Range<usize>)>,
) {
    assert_eq!(respond(AckPolicy::Reliable, &segment(flags, 1, ack, 34), length, 1220), Ok(sent));
}

/// What the window has no room for is asked for by the resent request; nothing is acknowledged before.
#[rstest]
#[case::begun(1, 3000, 3000, vec![(ACK, 1, 1, 0..1220), (ACK, 1221, 1, 1220..2440)])]
#[case::resumed(2441, 3000, 3000, vec![(FIN_ACK, 2441, 35, 2440..3000)])]
#[case::room_for_all(1, 3000, 3001, vec![
    (ACK, 1, 1, 0..1220), (ACK, 1221, 1, 1220..2440), (FIN_ACK, 2441, 1, 2440..3000),
])]
#[case::all_but_fin(1, 1220, 1220, vec![(ACK, 1, 1, 0..1220)])]
#[case::only_fin(1221, 1220, 1, vec![(FIN_ACK, 1221, 35, 1220..1220)])]
#[case::the_largest(64_661, MAX_RESPONSE, 1000, vec![(FIN_ACK, 64_661, 35, 64_660..65_537)])]
fn a_response_larger_than_the_window(
    #[case] ack: u32,
    #[case] length: u32,
    #[case] window: u16,
    #[case] sent: Vec<(Flags, u32, u32, Range<usize>)>,
) {
    let segment = Segment { window, ..segment(PSH_ACK, 1, ack, 34) };
    assert_eq!(respond(AckPolicy::Reliable, &segment, length, 1220), Ok(sent));
    let at_once = ack - 1 + u32::from(window) > length;
    assert!(at_once || respond(AckPolicy::Classic, &segment, length, 1220) == Err(Outcome::WindowTooSmall));
}

/// How much is begun: what fits four windows, if one of them holds a segment and what changes. It never becomes less.
#[test]
fn a_response_finds_room_by_windows() {
    let room = |rules, received, window| {
        let request = Request { received, class: MssClass::Standard, generation: 7 };
        request.room(rules, &Segment { window, ..segment(PSH_ACK, 1, 1 + received, 34) }, 1220)
    };
    for (received, window, classic, reliable) in [
        (0, 0, 0, 0),
        (0, 1220, 1219, 1219),
        (0, 1315, 1314, 1314),
        (0, 1316, 1315, 5264),
        (0, 20_000, 19_999, MAX_RESPONSE),
        (0, 65_535, 65_534, MAX_RESPONSE),
        (1220, 96, 1315, 5264),
        (64_660, 65_535, MAX_RESPONSE, MAX_RESPONSE),
    ] {
        let found = (room(AckPolicy::Classic, received, window), room(AckPolicy::Reliable, received, window));
        assert_eq!(found, (classic, reliable), "{received} received, window {window}");
    }
}

/// What answers only a part of the payload acknowledges nothing until it is received; then FIN comes once more, for a client
/// that has an octet of a longer answer.
#[rstest]
#[case::nothing_whole(1, 0, (FIN_ACK, 1, 1, 0..0))]
#[case::nothing_whole_resent(2, 0, (FIN_ACK, 2, 35, 0..0))]
#[case::one_whole(1, 231, (FIN_ACK, 1, 1, 0..231))]
#[case::one_whole_resent(233, 231, (FIN_ACK, 233, 35, 0..0))]
fn a_part_is_not_acknowledged(
    #[case] ack: u32,
    #[case] length: u32,
    #[case] sent: (Flags, u32, u32, Range<usize>),
) {
    let data = segment(PSH_ACK, 1, ack, 34);
    let request = prove(&KEYS, &epochs(), &SERVED, &data, 0).expect("proven");
    let part = Response { complete: false, ..response(length) };
    let reply = request.reply(AckPolicy::Reliable, &data, part, 1220).expect("fits the window");
    assert_eq!(reply.map(relative).collect::<Vec<_>>(), [sent]);
}

#[test]
fn syn_ack_carries_mss_and_the_window_of_its_rules() {
    for (rules, window) in [(AckPolicy::Classic, 65_535), (AckPolicy::Reliable, 4_095)] {
        let outgoing = syn_ack(&config(rules, &SERVED), &epochs(), &segment(Flags::SYN, 0, 0, 0))
            .expect("a SYN is answered");
        assert_eq!((outgoing.mss, outgoing.window), (Some(1220), window));
    }
}

#[test]
fn a_small_mss_bounds_every_segment() {
    let mut syn = segment(Flags::SYN, 0, 0, 0);
    syn.options.mss = Some(600);
    let answered =
        syn_ack(&config(AckPolicy::Reliable, &SERVED), &epochs(), &syn).expect("a SYN is answered");
    let mut data = segment(PSH_ACK, 1, 0, 34);
    data.ack = answered.seq.wrapping_add(1);
    let request = prove(&KEYS, &epochs(), &SERVED, &data, 0).expect("proven");
    let reply = request.reply(AckPolicy::Reliable, &data, response(1300), 1220).expect("fits the window");
    assert_eq!(reply.map(|outgoing| outgoing.length).collect::<Vec<_>>(), [536, 536, 228]);

    syn.options.mss = Some(535);
    assert_eq!(syn_ack(&config(AckPolicy::Reliable, &SERVED), &epochs(), &syn), Err(Outcome::MssTooSmall));
}

#[test]
fn windows_and_volatile_octets() {
    let mut small = segment(PSH_ACK, 1, 1, 34);
    small.window = 231;
    assert_eq!(respond(AckPolicy::Reliable, &small, 231, 1220), Err(Outcome::WindowTooSmall));
    small.window = 0;
    assert_eq!(
        respond(AckPolicy::Reliable, &small, 0, 1220),
        Err(Outcome::WindowTooSmall),
        "no room for FIN"
    );
    small.window = 1;
    assert_eq!(respond(AckPolicy::Reliable, &small, 0, 1220), Ok(vec![(FIN_ACK, 1, 35, 0..0)]));
    small.window = 232;
    assert!(respond(AckPolicy::Reliable, &small, 231, 1220).is_ok());

    // Our segments end after 20 octets, 40, 60, ...; the first 50 change.
    for (received, expected) in [
        (0, None),
        (20, Some(Outcome::NonRepeatable)),
        (40, Some(Outcome::NonRepeatable)),
        (59, Some(Outcome::Misaligned)),
        (60, None),
        (1990, Some(Outcome::Misaligned)),
        (2000, None),
        (2001, None),
    ] {
        let ack = 1 + received;
        let resent = segment(PSH_ACK, 1, ack, 34);
        let request = prove(&KEYS, &epochs(), &SERVED, &resent, 0).expect("proven");
        assert_eq!(
            request
                .reply(AckPolicy::Reliable, &resent, Response { volatile: 50, ..response(2000) }, 20)
                .err(),
            expected,
            "ack {ack}"
        );
    }
}

#[rstest]
#[case::current(Generations::only(7), true)]
#[case::former(Generations::only(8).and(7), true)]
#[case::long_former(Generations::only(11).and(10).and(9).and(8).and(7), true)]
// Only six bits are the same.
#[case::alike(Generations::only(8).and(71), false)]
#[case::gone(Generations::only(8), false)]
// What a single bit could not tell: two reloads later it would be the same again.
#[case::long_gone(Generations::only(9).and(8), false)]
fn a_connection_stays_with_its_generation(#[case] served: Generations, #[case] answered: bool) {
    let data = segment(PSH_ACK, 1, 1, 34);
    let request = Request { received: 0, class: MssClass::Standard, generation: 7 };
    let expected = if answered { Ok(request) } else { Err(Outcome::GenerationGone) };
    assert_eq!(prove(&KEYS, &epochs(), &served, &data, 0), expected);
    let syn_ack = syn_ack(&config(AckPolicy::Reliable, &served), &epochs(), &segment(Flags::SYN, 0, 0, 0))
        .expect("a SYN is answered");
    let generation = served.current();
    assert_eq!(
        syn_ack.seq,
        iss(
            &KEYS.current,
            &tuple(),
            ISN,
            epochs().single_request.current,
            CookieFields { generation, ..TERMS }
        )
    );
}

#[test]
fn impossible_senders_are_ignored() {
    let syn = segment(Flags::SYN, 0, 0, 0);
    let mut own = syn;
    own.tuple.client = own.tuple.server;
    let mut multicast = syn;
    multicast.tuple.client = Address::from_ipv4([224, 0, 0, 1]);
    let mut port_zero = syn;
    port_zero.tuple.client_port = 0;
    for segment in [own, multicast, port_zero] {
        assert_eq!(respond(AckPolicy::Reliable, &segment, 0, 1220), Err(Outcome::Martian));
    }
}

proptest! {
    /// Every octet from `received` to the end is sent once and in order, in segments no larger than allowed, then FIN;
    /// nothing lies beyond the client's window; and in `reliable` a request is acknowledged only by a segment that
    /// carries all that was missing.
    #[test]
    fn a_reply_is_the_rest_of_the_response(
        classic: bool, window: u16, size in 64u16..=1220, payload in 1u16..1221,
        (length, received) in (0..=MAX_RESPONSE).prop_flat_map(|length| (Just(length), 0..=length + 1)),
        anywhere: bool,
    ) {
        // Where a segment of ours ended, most of the time.
        let on_a_boundary = received >= length || received % u32::from(size) == 0;
        let received = if anywhere || on_a_boundary { received } else { received - received % u32::from(size) };
        let rules = if classic { AckPolicy::Classic } else { AckPolicy::Reliable };
        let mut seg = segment(PSH_ACK, 1, 1 + received, payload);
        seg.window = window;
        let request = prove(&KEYS, &epochs(), &SERVED, &seg, 0).expect("proven");
        prop_assert_eq!(request.received, received);
        let reply = match request.reply(rules, &seg, response(length), size) {
            Err(Outcome::Misaligned) => {
                prop_assert!(anywhere && !on_a_boundary);
                return Ok(());
            }
            Err(Outcome::WindowTooSmall) => {
                prop_assert!(u32::from(window) < length + 1 - received);
                prop_assert!(classic || window < size);
                return Ok(());
            }
            reply => reply.expect("nothing else is wrong with it"),
        };
        let edge = seg.ack.wrapping_add(u32::from(window));
        let mut next = received.min(length);
        let mut fins = 0;
        let segments: Vec<_> = reply.collect();
        for out in &segments {
            prop_assert!(out.length <= size);
            if out.length > 0 {
                prop_assert_eq!(out.offset, next);
                prop_assert_eq!(out.seq, server_isn().wrapping_add(1 + next));
            }
            next += u32::from(out.length);
            let fin = out.flags.contains(Flags::FIN);
            fins += u32::from(fin);
            if out.length > 0 || fin {
                let end = out.seq.wrapping_add(u32::from(out.length) + u32::from(fin));
                prop_assert!(edge.wrapping_sub(end) < 1 << 31, "beyond the window");
            }
            let acknowledges = out.ack == seg.next();
            prop_assert!(acknowledges || out.ack == seg.seq);
            if rules == AckPolicy::Reliable && acknowledges {
                prop_assert_eq!((segments.len(), next), (1, length));
            }
        }
        if next < length || received <= length && fins == 0 {
            // The rest is asked for by who acknowledges all of this.
            prop_assert!(!classic && u32::from(window) <= length - received);
            prop_assert!(next > received && next.is_multiple_of(size.into()));
            return Ok(());
        }
        prop_assert_eq!(next, length);
        prop_assert_eq!(fins, u32::from(received <= length));
        prop_assert!(segments.last().is_some_and(|out| received > length || out.flags.contains(Flags::FIN)));
    }
}
