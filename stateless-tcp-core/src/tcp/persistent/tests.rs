//! A connection with timestamps, segment by segment: with a connection cache, without, and as an XDP program sees it.

use super::*;
use crate::tcp::isn::{Generations, Keys, MssClass};
use crate::tcp::output::TxSegment;
use crate::tcp::segment::{Address, FourTuple, Options, Timestamps};
use crate::tcp::testing::{FixedLength, Unlimited, handle};
use crate::tcp::{AckPolicy, TcpConfig, handle_in_driver, syn_ack};
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
}

impl Client {
    fn open() -> Self {
        let mut client = Self { config: config(), iss: 0, echo: 0, cache: Unlimited::default() };
        let opened = syn_ack(&client.config, &client.segment(Flags::SYN, 0, 0, 0)).expect("SYN,ACK");
        (client.iss, client.echo) = (opened.seq, opened.timestamps.expect("offered").value);
        client
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
        let handled = handle(&self.config, &segment, &mut FixedLength::new(answer), &mut self.cache);
        let sent: Vec<_> = handled.transmit.collect();
        if let Some(decided) = (length == 0).then(|| handle_in_driver(&self.config, &segment)).flatten() {
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
    assert_eq!(handle_in_driver(&client.config, &fin), None);
    let ack = client.segment(Flags::ACK, 0, 0, 0);
    assert_eq!(handle_in_driver(&client.config, &ack), Some((Outcome::BadCookie, None)));
}
