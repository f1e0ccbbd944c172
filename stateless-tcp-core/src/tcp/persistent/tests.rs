//! A connection with timestamps, segment by segment: with a connection cache, without, and as an XDP program sees it.

use super::*;
use crate::tcp::epoch::{CONNECTION_LIFETIME as LIFETIME, Epochs};
use crate::tcp::isn::{Generations, Keys, MssClass};
use crate::tcp::output::TxSegment;
use crate::tcp::segment::{Address, FourTuple, Options, Timestamps};
use crate::tcp::testing::{FixedLength, NOW, Unlimited, handle_at};
use crate::tcp::{AckPolicy, TcpConfig, handle_in_driver, syn_ack};
use core::time::Duration;
use rstest::rstest;
use std::vec::Vec;

const ISN: u32 = u32::MAX - 20;
const SIZE: u32 = 1220 - 12;

fn config() -> TcpConfig {
    TcpConfig {
        ack_policy: AckPolicy::Reliable,
        keys: Keys { current: Key([7; 16]), previous: None },
        generations: Generations::only(7),
        segment_size: MssClass::Standard.bytes(),
        fast_open: false,
    }
}

/// A client that echoes what it is told to.
struct Client {
    config: TcpConfig,
    iss: u32,
    echo: u32,
    cache: Unlimited,
    now: Duration,
}

impl Client {
    fn open() -> Self {
        Self::open_at(NOW)
    }

    fn open_at(now: Duration) -> Self {
        let mut client = Self { config: config(), iss: 0, echo: 0, cache: Unlimited::default(), now };
        let syn = client.segment(Flags::SYN, 0, 0, 0);
        let opened = syn_ack(&client.config, &client.epochs(), &syn).expect("SYN,ACK");
        (client.iss, client.echo) = (opened.seq, opened.timestamps.expect("offered").value);
        client
    }

    fn epochs(&self) -> Epochs {
        Epochs::at(self.now, LIFETIME)
    }

    /// Sequence numbers are relative to the first byte of either side.
    fn segment(&self, flags: Flags, seq: u32, ack: u32, length: u16) -> Segment {
        let [server, client] = [1, 2].map(|last| Address::from_ipv4([192, 0, 2, last]));
        let syn = u32::from(!flags.contains(Flags::SYN));
        Segment {
            tuple: FourTuple { server, client, server_port: 53, client_port: 40_000 },
            seq: ISN.wrapping_add(syn).wrapping_add(seq),
            ack: self.iss.wrapping_add(1).wrapping_add(ack),
            flags,
            window: 65_535,
            options: Options {
                mss: Some(1460),
                timestamps: Some(Timestamps { value: 5, echo: self.echo }),
                ..Options::default()
            },
            length,
        }
    }

    /// Sends a segment, whose message has an answer of `answer` bytes.
    fn send(
        &mut self,
        flags: Flags,
        seq: u32,
        ack: u32,
        length: u16,
        answer: usize,
    ) -> (Outcome, Vec<TxSegment>) {
        let segment = self.segment(flags, seq, ack, length);
        let handled =
            handle_at(self.now, &self.config, &segment, &mut FixedLength::new(answer), &mut self.cache);
        let sent: Vec<_> = handled.transmit.collect();
        if let Some(decided) =
            (length == 0).then(|| handle_in_driver(&self.config, self.epochs(), &segment)).flatten()
        {
            assert_eq!(decided, (handled.outcome, sent.first().copied()), "an XDP program decides otherwise");
        }
        (handled.outcome, sent)
    }

    /// Takes the last timestamp.
    fn hear(&mut self, sent: &[TxSegment]) {
        self.echo = sent.last().and_then(|last| last.timestamps).expect("a timestamp").value;
    }
}

/// The acknowledgment number, relative to the first byte.
fn acked(segment: &TxSegment) -> u32 {
    segment.ack.wrapping_sub(ISN).wrapping_sub(1)
}

#[test]
fn an_answer_of_one_segment_acknowledges_its_request() {
    let mut client = Client::open();
    for round in 0..3 {
        let (outcome, sent) = client.send(Flags::ACK, 40 * round, 100 * round, 40, 100);
        assert_eq!((outcome, sent.len()), (Outcome::Answered, 1));
        assert_eq!((sent[0].flags, sent[0].length), (Flags::ACK, 100));
        assert_eq!(acked(&sent[0]), 40 * (round + 1));
        // Lost, it is asked for again, and comes again.
        assert_eq!(client.send(Flags::ACK, 40 * round, 100 * round, 40, 100).1, sent);
        client.hear(&sent);
    }
    assert_eq!(client.send(Flags::ACK, 120, 300, 0, 0), (Outcome::BareAck, Vec::new()));
}

#[test]
fn an_answer_of_several_segments_is_acknowledged_when_it_is_received() {
    let mut client = Client::open();
    let (outcome, sent) = client.send(Flags::ACK, 0, 0, 40, 5_000);
    assert_eq!(outcome, Outcome::Answered);
    assert!(sent.len() > 4 && sent.iter().all(|segment| acked(segment) == 0), "{sent:?}");
    // The client has the first segment, and sends the request again.
    let first = u32::from(sent.iter().min_by_key(|segment| segment.offset).expect("a segment").length);
    assert!(first <= SIZE);
    let (outcome, rest) = client.send(Flags::ACK, 0, first, 40, 5_000);
    assert_eq!(outcome, Outcome::Answered);
    assert_eq!(rest.iter().map(|segment| u32::from(segment.length)).sum::<u32>(), 5_000 - first);
    client.hear(&rest);
    // It has everything: the request is acknowledged by an ACK alone.
    let (outcome, acks) = client.send(Flags::ACK, 40, 5_000, 0, 0);
    assert_eq!((outcome, acks.len(), acks[0].length), (Outcome::Confirmed, 1, 0));
    assert_eq!(acked(&acks[0]), 40);
}

/// An acknowledgment inside a segment of ours is a guess.
#[test]
fn an_acknowledgment_where_no_segment_ended_is_refused() {
    let mut client = Client::open();
    let (_, sent) = client.send(Flags::ACK, 0, 0, 40, 5_000);
    let first = u32::from(sent.iter().min_by_key(|segment| segment.offset).expect("a segment").length);
    assert_eq!(client.send(Flags::ACK, 0, first - 1, 40, 5_000), (Outcome::Misaligned, Vec::new()));
}

#[rstest]
#[case::remembered(false, Outcome::AnsweredAhead, 1)]
#[case::forgotten(true, Outcome::OutOfOrder, 0)]
fn a_request_beyond_rcv_nxt_takes_the_cache(
    #[case] forget: bool,
    #[case] expected: Outcome,
    #[case] count: usize,
) {
    let mut client = Client::open();
    client.send(Flags::ACK, 0, 0, 40, 100);
    if forget {
        client.cache = Unlimited::default();
        client.cache.refuses = true;
    }
    let (outcome, sent) = client.send(Flags::ACK, 40, 0, 40, 100);
    assert_eq!((outcome, sent.len()), (expected, count));
    assert!(sent.iter().all(|segment| acked(segment) == 0), "the echo covers nothing yet");
}

#[test]
fn fin_is_answered_by_fin_in_its_turn() {
    let mut client = Client::open();
    let (_, sent) = client.send(Flags::ACK, 0, 0, 40, 100);
    let fin = Flags::FIN | Flags::ACK;
    assert_eq!(client.send(fin, 40, 0, 0, 0).0, Outcome::OutOfOrder, "the answer is not received");
    client.hear(&sent);
    let (outcome, sent) = client.send(fin, 40, 100, 0, 0);
    assert_eq!((outcome, sent[0].flags, acked(&sent[0])), (Outcome::Confirmed, fin, 41));
    client.hear(&sent);
    assert_eq!(client.send(Flags::ACK, 41, 101, 0, 0).0, Outcome::Confirmed);
}

#[test]
fn fin_of_content_that_is_gone_is_left_to_user_space() {
    let mut client = Client::open();
    client.config.generations = Generations::only(8);
    let fin = client.segment(Flags::FIN | Flags::ACK, 0, 0, 0);
    assert_eq!(handle_in_driver(&client.config, client.epochs(), &fin), None);
    let ack = client.segment(Flags::ACK, 0, 0, 0);
    assert_eq!(handle_in_driver(&client.config, client.epochs(), &ack), Some((Outcome::BadCookie, None)));
}

/// The beginning of a slot.
const SLOT_START: Duration = Duration::from_secs(NOW.as_secs() / 1_800 * 1_800);

/// A client that has its first answer, of a connection that began `into` seconds into a slot.
fn answered(into: u64) -> Client {
    let mut client = Client::open_at(SLOT_START + Duration::from_secs(into));
    let (_, sent) = client.send(Flags::ACK, 0, 0, 40, 100);
    client.hear(&sent);
    client
}

/// docs/protocol.md, "Proofs expire": half a slot after its own the next answer ends a connection, and an eighth before the
/// end of that slot nothing of it is answered any more.
#[rstest]
#[case::of_the_beginning(0)]
#[case::of_the_end(1_799)]
fn a_connection_ends_with_fin_when_its_time_is_over(#[case] into: u64) {
    let (ack, fin) = (Flags::ACK, Flags::FIN | Flags::ACK);
    for (seconds, outcome, sent) in [
        (1_800, Outcome::Answered, Some((ack, 100))),
        (2_699, Outcome::Answered, Some((ack, 100))),
        (2_700, Outcome::Answered, Some((fin, 100))),
        (3_374, Outcome::Answered, Some((fin, 100))),
        (3_375, Outcome::Expired, Some((fin, 0))),
        (6_974, Outcome::Expired, Some((fin, 0))),
        (6_975, Outcome::BadCookie, None),
    ] {
        let mut client = answered(into);
        client.now = SLOT_START + Duration::from_secs(seconds);
        let (got, segments) = client.send(ack, 40, 100, 40, 100);
        let expired = matches!(
            got,
            Outcome::BadCookie | Outcome::GenerationGone | Outcome::OutOfOrder | Outcome::Misaligned
        );
        let got = if expired { Outcome::BadCookie } else { got };
        assert_eq!(got, outcome, "{seconds} s after its slot began");
        let segments: Vec<_> = segments.iter().map(|segment| (segment.flags, segment.length)).collect();
        assert_eq!(segments, Vec::from_iter(sent), "{seconds} s after its slot began");
    }
}

/// The last answer is of several segments, and received in two parts: FIN stays where it is.
#[test]
fn fin_at_the_end_of_its_time_is_recovered() {
    let mut client = answered(0);
    client.now = SLOT_START + Duration::from_mins(45);
    let (_, sent) = client.send(Flags::ACK, 40, 100, 40, 3_000);
    let fins: Vec<_> = sent.iter().filter(|segment| segment.flags.contains(Flags::FIN)).collect();
    assert!(matches!(fins[..], [fin] if fin.offset + u32::from(fin.length) == 3_000), "{sent:?}");
    let first = sent.iter().find(|segment| segment.offset == 0).expect("the first");
    client.hear(&[*first]);
    let (_, rest) = client.send(Flags::ACK, 40, 100 + u32::from(first.length), 40, 3_000);
    assert_eq!(
        rest.iter().map(|segment| u32::from(segment.length)).sum::<u32>(),
        3_000 - u32::from(first.length)
    );
    assert_eq!(rest.iter().filter(|segment| segment.flags.contains(Flags::FIN)).count(), 1);
    // Its FIN is received, and the client's answered.
    client.hear(&rest);
    let (outcome, sent) = client.send(Flags::FIN | Flags::ACK, 80, 3_101, 0, 0);
    assert_eq!((outcome, sent[0].flags, acked(&sent[0])), (Outcome::Confirmed, Flags::ACK, 81));
}

/// FIN waits for the answers that this reply has no room for.
#[test]
fn the_end_of_its_time_leaves_nothing_unanswered() {
    let mut client = answered(0);
    client.now = SLOT_START + Duration::from_mins(45);
    let segment = client.segment(Flags::ACK, 40, 100, 2);
    let mut fins = |each| {
        let mut messages = FixedLength { each, bytewise: true, ..FixedLength::default() };
        let handled = handle_at(client.now, &client.config, &segment, &mut messages, &mut client.cache);
        handled.transmit.filter(|segment| segment.flags.contains(Flags::FIN)).count()
    };
    assert_eq!([100, 10_000].map(&mut fins), [1, 0]);
}

/// A connection that is over gets an end, whatever the client does: FIN of ours, ACK and FIN for its own, or RST.
#[test]
fn what_comes_later_is_ended() {
    let (ack, fin, rst) = (Flags::ACK, Flags::FIN | Flags::ACK, Flags::RST);
    let flags = |sent: Vec<TxSegment>| sent.into_iter().map(|segment| segment.flags).collect::<Vec<_>>();
    let mut client = answered(0);
    client.now = SLOT_START + Duration::from_secs(4_000);
    // An idle client closes.
    let (outcome, sent) = client.send(fin, 40, 100, 0, 0);
    assert_eq!((outcome, sent[0].flags, acked(&sent[0]), sent[0].length), (Outcome::Expired, fin, 41, 0));
    // Or asks, hears our FIN, and sends its question once more, with its own.
    let (outcome, sent) = client.send(ack, 40, 100, 40, 100);
    assert_eq!((outcome, acked(&sent[0])), (Outcome::Expired, 40));
    let (outcome, sent) = client.send(fin, 40, 101, 40, 100);
    assert_eq!((outcome, flags(sent)), (Outcome::Expired, [rst].into()));
    // It lacks an answer that will not come.
    let (_, sent) = client.send(ack, 40, 50, 40, 100);
    assert!(sent.iter().all(|segment| segment.length == 0), "{sent:?}");
    // Hours later, or with a clock that was set back, it gets RST when it asks once more.
    for seconds in [-7_200_i64, 7_200, 10_000, 20_000, 80_000] {
        let mut client = answered(0);
        client.now = Duration::from_secs(SLOT_START.as_secs().strict_add_signed(seconds));
        for (in_vain, expected) in [(false, Vec::new()), (true, [rst].into())] {
            client.cache.in_vain = in_vain;
            client.config.generations = Generations::only(8);
            let (_, sent) = client.send(ack, 40, 100, 40, 100);
            assert!(!in_vain || flags(sent.clone()) == expected, "{seconds} s: {sent:?}");
            assert!(in_vain || sent.is_empty(), "{seconds} s: {sent:?}");
        }
    }
}

/// Who sets the clock by hours, in either direction, answers new connections at once.
#[test]
fn a_clock_that_is_set_begins_anew() {
    let mut clock = crate::tcp::epoch::EpochClock::new(LIFETIME);
    let mut now = NOW;
    for step in [1_i64, 7_200, -10_800, 86_400, -3, -86_400, 40] {
        now = Duration::from_secs(now.as_secs().strict_add_signed(step));
        assert_eq!(clock.at(now), Epochs::at(now, LIFETIME));
        let mut client = Client::open_at(now);
        let (outcome, sent) = client.send(Flags::ACK, 0, 0, 40, 100);
        assert_eq!((outcome, sent[0].length), (Outcome::Answered, 100), "{step} s");
    }
}
