//! A request on the SYN gets what it would get behind it, whatever it is.

use crate::dataplane::engine::{Arrival, TcpEngine};
use crate::observe::counters::Counters;
use crate::services::Service;
use crate::services::dns::{Cookies, Dns, DnsOptions};
use crate::services::http::Http;
use crate::serving::{AnswerPolicy, Content, ServingState};
use proptest::prelude::*;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::{CONNECTION_LIFETIME, Epochs};
use stateless_tcp_core::tcp::fast_open;
use stateless_tcp_core::tcp::isn::{Key, Keys};
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::{Address, FastOpen, Flags, FourTuple, Options, Segment, Timestamps};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

const KEYS: Keys = Keys { current: Key([7; 16]), previous: None };
const SERVER: Address = Address::from_ipv4([192, 0, 2, 1]);
const CLIENT: Address = Address::from_ipv4([192, 0, 2, 2]);

/// The present slot of cookies.
fn slot() -> u32 {
    Epochs::at(Duration::from_hours(500_000), CONNECTION_LIFETIME).persistent.current
}

fn exchange(rules: AckPolicy, segment_size: u16, fast_open: bool) -> TcpEngine {
    static SERVICES: LazyLock<[(u16, Arc<dyn Service>); 2]> = LazyLock::new(|| {
        let cookies = Some(Cookies::new(Key([8; 16]), SystemTime::UNIX_EPOCH));
        let dns = Dns::builtin(DnsOptions { cookies, keepalive: 1_200, ..DnsOptions::default() });
        [(53, Arc::new(dns)), (80, Arc::new(Http::builtin()))]
    });
    let policy = AnswerPolicy {
        rules,
        keys: KEYS,
        segment_size,
        hints: 0,
        fast_open,
        connection_lifetime: CONNECTION_LIFETIME,
    };
    TcpEngine::new(0, Arc::new(ServingState::new(Content::new([SERVER], SERVICES.to_vec()), policy)))
}

fn query(name: &str, qtype: u8, cookie: bool) -> Vec<u8> {
    let mut message = vec![0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        message.push(label.len().try_into().expect("a label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, qtype, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0]);
    let option: &[u8] = if cookie { &[0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8] } else { &[0, 0] };
    message.extend(option);
    [&u16::try_from(message.len()).expect("a query").to_be_bytes(), &message[..]].concat()
}

/// Answers of one segment to 26, and what is none.
fn message() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let names = prop::sample::select(vec![
        "example.com",
        "large.example.com",
        "huge.example.com",
        "none.example.com",
    ]);
    let types = prop::sample::select(vec![1, 2, 6, 16, 48, 252, 255]);
    let question = (names, types, any::<bool>()).prop_map(|(name, qtype, cookie)| query(name, qtype, cookie));
    let questions = prop::collection::vec(question, 1..4).prop_map(|questions| (53, questions.concat()));
    let pages = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"GET /robots.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /robots.txt HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /none HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    ]);
    let page = pages.prop_map(|page| (80, page.to_vec()));
    let octets = prop::collection::vec(any::<u8>(), 1..40).prop_map(|octets| (53, octets));
    prop_oneof![4 => questions, 2 => page, 1 => octets]
}

/// (a segment, its payload), in order.
fn sent(
    exchange: &mut TcpEngine,
    segment: &Segment,
    payload: &[u8],
    counters: &Counters,
) -> Vec<(TxSegment, Vec<u8>)> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    let answer = exchange.handle(Arrival::new(now, segment, payload), counters);
    answer.map(|outgoing| (outgoing, exchange.payload(&outgoing).to_vec())).collect()
}

proptest! {
    #[test]
    fn a_request_gets_the_same_on_the_syn_and_behind_it(
        (server_port, mut payload) in message(),
        cut in prop_oneof![3 => Just(0_usize), 1 => 0..30_usize],
        timestamps: bool,
        classic in prop_oneof![3 => Just(false), 1 => Just(true)],
        segment_size in prop::sample::select(vec![1220, 512, 64]),
        window in prop_oneof![3 => Just(64_240), 1 => any::<u16>()],
        mss in prop::sample::select(vec![Some(1460), Some(1220), Some(536), None]),
        isn: u32,
    ) {
        payload.truncate((payload.len() - cut.min(payload.len())).max(1));
        let rules = if classic { AckPolicy::Classic } else { AckPolicy::Reliable };
        let mut with = exchange(rules, segment_size, true);
        let mut without = exchange(rules, segment_size, false);
        let counters = Counters::default();
        let cookie = fast_open::cookie(&KEYS.current, CLIENT, slot());
        let segment = Segment {
            tuple: FourTuple { server: SERVER, client: CLIENT, server_port, client_port: 40_000 },
            seq: isn,
            ack: 0,
            flags: Flags::SYN,
            window,
            options: Options {
                mss,
                timestamps: timestamps.then_some(Timestamps { value: 77, echo: 0 }),
                fast_open: Some(FastOpen::Cookie(cookie)),
            },
            length: payload.len().try_into().expect("a segment"),
        };
        let early = sent(&mut with, &segment, &payload, &counters);
        let plain = sent(&mut without, &segment, &payload, &Counters::default());
        prop_assert_eq!(plain.len(), 1);
        let (syn_ack, _) = plain[0];
        prop_assert_eq!(syn_ack.ack, isn.wrapping_add(1));

        // What the client sends who is told no more than this SYN,ACK.
        let echo = |ours: Timestamps| Timestamps { value: 77, echo: ours.value };
        let options = Options { timestamps: syn_ack.timestamps.map(echo), ..Options::default() };
        let (seq, ack) = (isn.wrapping_add(1), syn_ack.seq.wrapping_add(1));
        let first = Segment { seq, ack, flags: Flags::PSH | Flags::ACK, options, ..segment };
        let behind = sent(&mut without, &first, &payload, &Counters::default());

        prop_assert_eq!(counters.get(Outcome::SynAck), 1);
        let counted = counters.get(Outcome::FastOpen) + counters.get(Outcome::FastOpenLater);
        prop_assert_eq!(counted, 1);
        let (opened, octets) = &early[0];
        if *opened != syn_ack {
            let [(only, same)] = &behind[..] else { panic!("one segment, not {behind:?}") };
            prop_assert_eq!(only.flags, Flags::ACK);
            prop_assert_eq!(octets, same);
            prop_assert!(!octets.is_empty());
            prop_assert_eq!(only.ack, isn.wrapping_add(1 + u32::from(segment.length)));
            let TxSegment { ack, timestamps, offset, length, .. } = *only;
            prop_assert_eq!(*opened, TxSegment { ack, timestamps, offset, length, ..syn_ack });
            prop_assert_eq!(early.len(), 1);
        } else if early.len() > 1 {
            prop_assert_eq!(&early[1..], &behind[..]);
            prop_assert!(early.len() <= 4);
        }
        prop_assert_eq!(counters.get(Outcome::FastOpen) == 1, *opened != syn_ack || early.len() > 1);
    }
}

/// The request's answer with the right cookie, and only with it.
#[test]
fn a_question_is_answered_at_once() {
    let mut exchange = exchange(AckPolicy::Reliable, 1220, true);
    let payload = query("example.com", 1, false);
    let mut segment = Segment {
        tuple: FourTuple { server: SERVER, client: CLIENT, server_port: 53, client_port: 40_000 },
        seq: 1_000,
        ack: 0,
        flags: Flags::SYN,
        window: 64_240,
        options: Options {
            mss: Some(1460),
            timestamps: Some(Timestamps { value: 77, echo: 0 }),
            fast_open: Some(FastOpen::Cookie(fast_open::cookie(&KEYS.current, CLIENT, slot()))),
        },
        length: payload.len().try_into().expect("a segment"),
    };
    let counters = Counters::default();
    let answer = sent(&mut exchange, &segment, &payload, &counters);
    let [(syn_ack, octets)] = &answer[..] else { panic!("{answer:?}") };
    assert_eq!((syn_ack.ack, syn_ack.fast_open), (1_001 + u32::from(segment.length), None));
    assert_eq!(octets[2..4], payload[2..4]);
    assert_eq!(counters.get(Outcome::FastOpen), 1);

    for (option, handed_out) in
        [(Some(FastOpen::Cookie([1; 8])), true), (Some(FastOpen::Request), true), (None, false)]
    {
        segment.options.fast_open = option;
        let answer = sent(&mut exchange, &segment, &payload, &counters);
        let [(syn_ack, octets)] = &answer[..] else { panic!("{answer:?}") };
        assert_eq!(
            (syn_ack.ack, octets.len(), syn_ack.fast_open.is_some()),
            (1_001, 0, handed_out),
            "{option:?}"
        );
    }
    assert_eq!((counters.get(Outcome::FastOpen), counters.get(Outcome::FastOpenBadCookie)), (1, 2));
}
