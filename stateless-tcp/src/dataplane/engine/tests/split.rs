//! Messages in several segments, and which answers go out whole.

use crate::dataplane::engine::{Arrival, TcpEngine};
use crate::observe::counters::Counters;
use crate::services::{Answered, Context, Framing, Service, Unavailable, dns, http};
use crate::serving::{AnswerPolicy, Content, ServingState};
use rstest::rstest;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::CONNECTION_LIFETIME;
use stateless_tcp_core::tcp::isn::{Key, Keys};
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::{Address, Flags, FourTuple, Options, Segment};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Messages of one octet; the answer is how much of it goes out in one segment.
struct Telling;

impl Service for Telling {
    fn frame(&self, _: &[u8]) -> Framing {
        Framing::Message(1)
    }

    fn starts_message(&self, _: &[u8]) -> bool {
        true
    }

    fn answer(&self, _: &[u8], context: &Context, response: &mut Vec<u8>) -> Result<Answered, Unavailable> {
        response.extend_from_slice(&context.whole.to_be_bytes());
        Ok(Answered { volatile: context.whole.min(3), last: false })
    }
}

/// What stands behind another response may be cut by a segment's end: it must not depend on the time.
#[test]
fn only_the_first_response_is_sent_whole() {
    let mut pair = Pair::new(TELLING, 0);
    assert_eq!(pair.send(1, 1, b"???"), [(1, 4, Flags::FIN, 24)]);
    assert_eq!(pair.exchange.responses, [512_usize, 0, 0].map(usize::to_be_bytes).concat());
}

const TELLING: u16 = 7;
const DNS: u16 = 53;
const HTTP: u16 = 80;
const ISN: u32 = u32::MAX - 2;

/// A server, and a client of it without timestamps.
struct Pair {
    exchange: TcpEngine,
    counters: Counters,
    tuple: FourTuple,
    iss: u32,
    clock: SystemTime,
}

/// What is sent: (SEG.SEQ and SEG.ACK relative to the ISNs, FIN or RST, octets).
type Sent = (u32, u32, Flags, usize);

impl Pair {
    fn new(server_port: u16, hints: usize) -> Self {
        let server = Address::from_ipv4([192, 0, 2, 1]);
        let services: Vec<(u16, Arc<dyn Service>)> = vec![
            (TELLING, Arc::new(Telling)),
            (DNS, Arc::new(dns::Dns::builtin(dns::DnsOptions::default()))),
            (HTTP, Arc::new(http::Http::builtin())),
        ];
        let policy = AnswerPolicy {
            rules: AckPolicy::Reliable,
            keys: Keys { current: Key([7; 16]), previous: None },
            segment_size: 1220,
            hints,
            fast_open: false,
            connection_lifetime: CONNECTION_LIFETIME,
        };
        let offer = Arc::new(ServingState::new(Content::new([server], services), policy));
        let tuple = FourTuple {
            server,
            client: Address::from_ipv4([192, 0, 2, 2]),
            server_port,
            client_port: 40_000,
        };
        let mut pair = Self {
            exchange: TcpEngine::new(0, offer),
            counters: Counters::default(),
            tuple,
            iss: 0,
            clock: UNIX_EPOCH + Duration::from_secs(1 << 30),
        };
        let syn = pair.segment(Flags::SYN, 0, 0, &[]);
        let opened = Arrival::new(pair.clock, &syn, &[]);
        let answer = pair.exchange.handle(opened, &pair.counters).next().expect("SYN,ACK");
        pair.iss = answer.seq;
        pair
    }

    fn segment(&self, flags: Flags, seq: u32, ack: u32, payload: &[u8]) -> Segment {
        Segment {
            tuple: self.tuple,
            seq: ISN.wrapping_add(seq),
            ack: self.iss.wrapping_add(ack),
            flags,
            window: 65_535,
            options: Options { mss: Some(1460), ..Options::default() },
            length: payload.len().try_into().expect("a segment"),
        }
    }

    /// Sends `payload` from `seq` on, having received up to `ack`.
    fn send(&mut self, seq: u32, ack: u32, payload: &[u8]) -> Vec<Sent> {
        let segment = self.segment(Flags::ACK, seq, ack, payload);
        let answer = self.exchange.handle(Arrival::new(self.clock, &segment, payload), &self.counters);
        let (iss, end) = (self.iss, Flags::FIN | Flags::RST);
        let relative = |sent: TxSegment| {
            let ack = if sent.flags.contains(Flags::ACK) { sent.ack.wrapping_sub(ISN) } else { 0 };
            (sent.seq.wrapping_sub(iss), ack, Flags(sent.flags.0 & end.0), usize::from(sent.length))
        };
        answer.map(relative).collect()
    }
}

/// A question whose answer is so many octets: one segment, or five.
fn question(name: &str, rtype: u8) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len().try_into().expect("a label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, rtype, 0, 1]);
    let length = u16::try_from(message.len()).expect("a short message");
    [&length.to_be_bytes()[..], &message].concat()
}

fn total(sent: &[Sent]) -> usize {
    sent.iter().map(|segment| segment.3).sum()
}

/// RFC 7766 section 8: a client that writes the length by itself, with Nagle, waits for its acknowledgment.
#[rstest]
#[case::remembered(64)]
#[case::nothing_remembered(0)]
fn length_by_itself_is_acknowledged(#[case] hints: usize) {
    let mut pair = Pair::new(DNS, hints);
    let whole = question("example.com", 1);
    let (end, rest) = (1 + u32::try_from(whole.len()).expect("short"), &whole[2..]);
    assert_eq!(pair.send(1, 1, &whole[..2]), [(1, 3, Flags(0), 0)]);
    let answer = pair.send(3, 1, rest);
    let [(1, acknowledged, Flags::FIN, length)] = answer[..] else { panic!("{answer:?}") };
    assert_eq!((acknowledged, length > 30), (end, true));
    assert_eq!(pair.send(3, 1, rest), answer, "resent");
    let all = u32::try_from(length).expect("short") + 2;
    assert_eq!(pair.send(3, all, rest), [(all, end, Flags(0), 0)], "received, FIN included");
    assert_eq!(pair.send(1, 1, &whole), answer, "sent in another cut");
    assert_eq!(pair.send(4, 1, rest), [], "not behind a length");
}

#[rstest]
#[case::remembered(64)]
#[case::nothing_remembered(0)]
fn length_by_itself_and_a_long_answer(#[case] hints: usize) {
    let mut pair = Pair::new(DNS, hints);
    let whole = question("large.example.com", 16);
    assert_eq!(pair.send(1, 1, &whole[..2]), [(1, 3, Flags(0), 0)]);
    let answer = pair.send(3, 1, &whole[2..]);
    assert!(answer.len() > 2 && answer.iter().all(|segment| segment.1 == 3), "acknowledged: {answer:?}");
    let resumed = pair.send(3, 1 + 1220, &whole[2..]);
    assert_eq!(resumed, answer[1..], "resumed");
}

/// A request in three parts, one of them sent again, is answered as if it were whole, as often as it is asked for.
#[rstest]
#[case::one_segment("/robots.txt", 1)]
#[case::long("/20k.html", 17)]
fn parts_are_kept(#[case] path: &str, #[case] segments: usize) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(3_000)).into_bytes();
    let mut pair = Pair::new(HTTP, 64);
    let end = 1 + u32::try_from(request.len()).expect("short");
    for _ in 0..2 {
        assert_eq!(pair.send(1, 1, &request[..1220]), [(1, 1221, Flags(0), 0)]);
        assert_eq!(pair.send(1221, 1, &request[1220..2440]), [(1, 2441, Flags(0), 0)]);
    }
    assert_eq!(pair.send(1, 1, &request[..600]), [(1, 601, Flags(0), 0)], "less of it");
    for _ in 0..2 {
        let answer = pair.send(2441, 1, &request[2440..]);
        assert_eq!(answer.len(), segments);
        let acknowledged = if segments == 1 { end } else { 2441 };
        assert!(answer.iter().all(|segment| segment.1 == acknowledged), "{answer:?}");
        let overlapping = pair.send(2001, 1, &request[2000..]);
        assert_eq!(total(&overlapping), total(&answer), "from inside of what was kept");
    }
    let length = total(&Pair::new(HTTP, 0).send(1, 1, &request));
    assert_eq!(total(&pair.send(2441, 1, &request[2440..])), length, "as if it were whole");
    assert_eq!(pair.send(2442, 1, &request[2441..]), [], "behind octets that never came");
}

#[test]
fn parts_that_cannot_be_kept_end_the_connection() {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(3_000)).into_bytes();
    // Not acknowledged: a client may send it again with the rest.
    assert_eq!(Pair::new(HTTP, 0).send(1, 1, &request[..1220]), [(1, 1, Flags::FIN, 0)]);
    // The client's FIN: there is no rest.
    let mut pair = Pair::new(HTTP, 64);
    let last = pair.segment(Flags::FIN | Flags::ACK, 1, 1, &request[..1220]);
    let arrival = Arrival::new(pair.clock, &last, &request[..1220]);
    let sent: Vec<_> = pair.exchange.handle(arrival, &pair.counters).collect();
    assert!(sent.len() == 1 && sent[0].flags.contains(Flags::FIN), "{sent:?}");
    // An answer has begun: to something else.
    assert_eq!(Pair::new(HTTP, 64).send(1, 1221, &request[..1220]), []);
    // Behind another message.
    let two = [question("example.com", 1), question("example.com", 1)].concat();
    let answer = Pair::new(DNS, 64).send(1, 1, &two[..two.len() - 3]);
    assert!(matches!(answer[..], [(1, 1, Flags::FIN, 40..)]), "{answer:?}");
    // Behind a length, and no message that tells its own.
    assert_eq!(Pair::new(DNS, 0).send(3, 1, &two[2..20]), [(1, 3, Flags::FIN, 0)]);
}

/// What was acknowledged and is not known any more must not be waited for.
#[test]
fn lost_parts_end_the_connection() {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(3_000)).into_bytes();
    let mut pair = Pair::new(HTTP, 64);
    assert_eq!(pair.send(1, 1, &request[..1220]), [(1, 1221, Flags(0), 0)]);
    pair.exchange.cache().poison(|| 5);
    for _ in 0..3 {
        assert_eq!(pair.send(1221, 1, &request[1220..2440]), []);
        pair.clock += Duration::from_secs(1);
    }
    assert_eq!(pair.send(1221, 1, &request[1220..2440]), [(1, 0, Flags::RST, 0)]);
    assert_eq!(pair.send(1221, 1, &request[1220..2440]), [], "once in a while");
    assert_eq!(pair.counters.get(Outcome::RetryLimit), 1);
}

/// A middlebox merged parts of a message: the client has bytes of an answer that none of them gets by itself.
#[test]
fn merged_parts_that_come_again_by_themselves_end_the_connection() {
    let padding = "b".repeat(3_000);
    let request = format!("GET /20k.html HTTP/1.1\r\nHost: a\r\nA: {padding}\r\n\r\n").into_bytes();
    let mut pair = Pair::new(HTTP, 64);
    assert_eq!(pair.send(1, 1, &request[..1220]), [(1, 1221, Flags(0), 0)]);
    assert_eq!(pair.send(1221, 1, &request[1220..]).len(), 17, "the second part and the third");
    for _ in 0..3 {
        assert_eq!(pair.send(1221, 1221, &request[1220..2440]), [], "the second by itself");
        pair.clock += Duration::from_secs(1);
    }
    assert_eq!(pair.send(1221, 1221, &request[1220..2440]), [(1221, 0, Flags::RST, 0)]);
}
