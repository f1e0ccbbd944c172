//! The whole responder by named cases: honest clients over every link, each refusal by its counter, and what happens
//! when the answer is long, the frames run out, or the request does not end. The harness looks at every frame besides.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rstest::rstest;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_tests::{
    compare::Reply,
    in_memory_harness::{DNS_PORT, Exchange, HTTP_PORT, Harness, PLENTY, script::query},
    packet::{MSS_1460, Packet, checksum, flags},
    topology::{GHOST_V4, GHOST_V6, SERVER_V4, SERVER_V6, SERVERS},
};

const A: u16 = 1;
const TXT: u16 = 16;
const ISN: u32 = u32::MAX - 20;
const REQUEST: u8 = flags::PSH | flags::ACK;
const FIN_ACK: u8 = flags::FIN | flags::ACK;

/// A client that has its SYN,ACK.
struct InMemoryClient {
    harness: Harness,
    packet: Packet,
    iss: u32,
}

impl InMemoryClient {
    /// Opens a connection in which all packets look like `packet`.
    fn open(rules: AckPolicy, segment_size: u16, packet: Packet) -> Self {
        let mut harness = Harness::new(rules, segment_size);
        let syn = Packet { flags: flags::SYN, seq: ISN, options: MSS_1460.to_vec(), ..packet.clone() };
        let opened = harness.exchange(&syn.octets(), 0);
        assert_eq!(opened.outcome, Outcome::SynAck);
        let iss = opened.sent[0].seq;
        Self { harness, packet, iss }
    }

    fn reliable(port: u16) -> Self {
        Self::open(AckPolicy::Reliable, 1220, v4(port))
    }

    /// The request, from a client that has the first `had` bytes of its answer.
    fn request(&self, payload: &[u8], had: u32) -> Packet {
        Packet {
            flags: REQUEST,
            seq: ISN.wrapping_add(1),
            ack: self.iss.wrapping_add(1).wrapping_add(had),
            payload: payload.to_vec(),
            ..self.packet.clone()
        }
    }

    fn ask(&mut self, payload: &[u8], had: u32) -> Exchange {
        let request = self.request(payload, had);
        self.harness.exchange(&request.octets(), PLENTY)
    }
}

fn v4(port: u16) -> Packet {
    Packet::new(GHOST_V4.into(), 40_000, SERVER_V4.into(), port)
}

fn v6(port: u16) -> Packet {
    Packet::new(GHOST_V6.into(), 40_000, SERVER_V6.into(), port)
}

/// An IPv4 address in the form that no IPv6 header may hold (RFC 4291 2.5.5.2).
fn mapped(address: Ipv4Addr) -> IpAddr {
    address.to_ipv6_mapped().into()
}

fn small() -> Vec<u8> {
    query(7, 0x0100, "example.com", A, None)
}

fn large() -> Vec<u8> {
    query(7, 0x0100, "large.example.com", TXT, None)
}

/// Ids of the DNS messages in a stream.
fn ids(mut stream: &[u8]) -> Vec<u16> {
    let mut ids = Vec::new();
    while let [high, low, rest @ ..] = stream {
        let (message, behind) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        ids.push(u16::from_be_bytes([message[0], message[1]]));
        stream = behind;
    }
    ids
}

#[rstest]
#[case::ipv4(v4(DNS_PORT))]
#[case::ipv6(v6(DNS_PORT))]
#[case::one_tag(Packet { tags: vec![(0x8100, 7)], ..v4(DNS_PORT) })]
#[case::two_tags(Packet { tags: vec![(0x88a8, 7), (0x8100, 8)], ..v6(DNS_PORT) })]
#[case::ip_options(Packet { ip_options: vec![1; 40], ..v4(DNS_PORT) })]
fn honest_client_is_answered(
    #[values(AckPolicy::Classic, AckPolicy::Reliable)] rules: AckPolicy,
    #[case] packet: Packet,
) {
    let mut client = InMemoryClient::open(rules, rules.segment_size(), packet);
    let answered = client.ask(&small(), 0);
    assert_eq!((answered.outcome, answered.grown(Outcome::Messages)), (Outcome::Answered, 1));
    let stream = answered.stream();
    let reply = Reply::parse(&stream[2..]).expect("a message");
    assert_eq!((reply.rcode, reply.sections[0].len()), (0, 1), "{reply:?}");
    let shapes: Vec<_> = answered.sent.iter().map(|packet| (packet.flags, packet.payload.len())).collect();
    match rules {
        AckPolicy::Reliable => assert_eq!(shapes, [(FIN_ACK, stream.len())]),
        AckPolicy::Classic => assert_eq!(shapes, [(flags::ACK, 0), (flags::ACK, stream.len()), (FIN_ACK, 0)]),
    }
}

#[test]
fn request_shorter_than_60_bytes_ends_where_its_ip_header_says() {
    let mut client = InMemoryClient::reliable(HTTP_PORT);
    // It has our FIN, which answers a part of a request, and so gets that acknowledged.
    let request = client.request(b"GET", 1);
    assert!(request.unpadded().len() < 60 && request.octets().len() == 60);
    let exchange = client.harness.exchange(&request.octets(), PLENTY);
    assert_eq!(exchange.grown(Outcome::Incomplete), 1);
    assert_eq!(exchange.sent[0].ack, request.seq.wrapping_add(4 - 1), "the padding is no payload");
}

#[test]
fn partial_checksum_is_accepted_and_counted() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    let request = client.request(&small(), 0);
    let mut frame = request.octets();
    let sum = !checksum(&[&request.pseudo_header(20 + request.payload.len())]);
    frame[request.tcp_offset() + 16..][..2].copy_from_slice(&sum.to_be_bytes());
    let exchange = client.harness.exchange(&frame, PLENTY);
    assert_eq!((exchange.outcome, exchange.grown(Outcome::PartialChecksum)), (Outcome::Answered, 1));
}

#[rstest]
#[case::dns(DNS_PORT, large())]
#[case::several(DNS_PORT, [small(), small(), small()].concat())]
fn resumed_where_a_segment_ended(
    #[values(AckPolicy::Classic, AckPolicy::Reliable)] rules: AckPolicy,
    #[case] port: u16,
    #[case] request: Vec<u8>,
) {
    let mut client = InMemoryClient::open(rules, 100, v4(port));
    let whole = client.ask(&request, 0).stream();
    let length = u32::try_from(whole.len()).expect("short");
    for had in 1..=length + 1 {
        // The harness compares each byte with the whole answer's.
        let resumed = client.ask(&request, had);
        if had < length && had % 100 != 0 {
            assert_eq!(resumed.outcome, Outcome::Misaligned, "{had} of {length}");
            continue;
        }
        assert_eq!(resumed.outcome, Outcome::Resumed, "{had} of {length}");
        assert_eq!(resumed.stream().len(), length.saturating_sub(had) as usize);
    }
    assert_eq!(client.ask(&request, length + 2).outcome, Outcome::BeyondResponse);
}

#[test]
fn http_is_resumed_behind_its_date_only() {
    // Our segments end after 40 bytes, 80, ...: the first within the date.
    const PAGE: &[u8] = b"GET /20k.html HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = InMemoryClient::open(AckPolicy::Reliable, 40, v4(HTTP_PORT));
    let whole = client.ask(PAGE, 0).stream();
    let date = whole.windows(8).position(|bytes| bytes == b"\r\nDate: ").expect("a date") + 8;
    let date_end = u32::try_from(date + 29).expect("short");
    assert!((date..date_end as usize).contains(&40), "the date has moved");
    assert_eq!(client.ask(PAGE, 40).outcome, Outcome::NonRepeatable);
    assert_eq!(client.ask(PAGE, 80).stream(), whole[80..]);
}

/// A query with an OPT record and, in it, a client cookie.
fn with_cookie(mut query: Vec<u8>) -> Vec<u8> {
    const OPTION: [u8; 12] = *b"\0\x0a\0\x08a client";
    let end = query.len();
    query.extend(OPTION);
    for (at, length) in [(0, query.len() - 2), (end - 2, OPTION.len())] {
        query[at..][..2].copy_from_slice(&u16::try_from(length).expect("short").to_be_bytes());
    }
    query
}

/// A cookie has a time in it; what is resumed must not.
#[rstest]
#[case::long(1220, &["large.example.com"], false)]
#[case::behind_another(1220, &["large.example.com", "example.com"], false)]
#[case::before_another(1220, &["example.com", "large.example.com"], true)]
#[case::short_in_small_segments(64, &["example.com"], false)]
#[case::short(1220, &["example.com"], true)]
fn a_cookie_does_not_change_what_is_resumed(
    #[case] segment_size: u16,
    #[case] names: &[&str],
    #[case] changes: bool,
) {
    let mut client = InMemoryClient::open(AckPolicy::Reliable, segment_size, v4(DNS_PORT));
    let request: Vec<u8> =
        names.iter().flat_map(|name| with_cookie(query(7, 0, name, TXT, Some(false)))).collect();
    let first = client.ask(&request, 0);
    let whole = first.stream();
    let length = u32::try_from(whole.len()).expect("short");
    let size = usize::from(segment_size);
    let opened = client.harness.now;
    let places = (0..=length).step_by(7).chain((0..=length).step_by(size)).chain([length - 1, length]);
    // As long as the proof is good.
    for (had, seconds) in places.zip((1..=100).cycle()) {
        client.harness.now = opened + Duration::from_secs(seconds);
        let again = client.ask(&request, had);
        match again.outcome {
            Outcome::Answered => assert_eq!(again.stream() != whole, changes, "asked for anew"),
            // Only inside the first segment, which is received whole.
            Outcome::NonRepeatable => assert!(changes && had < 512 && had > 0, "{had} of {length}"),
            // No segment ended there.
            Outcome::Misaligned => {
                assert!(had < length && !had.is_multiple_of(segment_size.into()), "{had} of {length}");
            }
            outcome => {
                assert_eq!(outcome, Outcome::Resumed, "{had} of {length}");
                assert_eq!(again.stream(), whole[had as usize..], "{had} of {length}");
            }
        }
    }
}

#[test]
fn several_messages_are_answered_in_order() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    let request: Vec<u8> =
        (10..18).flat_map(|id| query(id, 0, "nowhere.example.com", A, Some(id % 2 == 0))).collect();
    let exchange = client.ask(&request, 0);
    assert_eq!(exchange.grown(Outcome::Messages), 8);
    assert_eq!(ids(&exchange.stream()), (10..18).collect::<Vec<_>>());
}

#[test]
fn incomplete_message_is_answered_by_fin() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    let cut = &small()[..20];
    let alone = client.ask(cut, 0);
    assert_eq!((alone.outcome, alone.grown(Outcome::Incomplete)), (Outcome::Answered, 1));
    assert!(alone.sent[0].is(FIN_ACK) && alone.sent.len() == 1 && alone.stream().is_empty());
    let behind = client.ask(&[&small(), cut].concat(), 0);
    assert_eq!((ids(&behind.stream()), behind.grown(Outcome::Incomplete)), (vec![7], 1));
    assert!(behind.sent[0].is(FIN_ACK));
    // Neither acknowledges the request, for the client may send it whole later; what it has received does.
    let received = u32::try_from(behind.stream().len()).expect("short") + 1;
    let confirmed = client.ask(&[&small(), cut].concat(), received);
    let acknowledged = [&alone, &behind, &confirmed].map(|exchange| exchange.sent[0].ack.wrapping_sub(ISN));
    assert_eq!(acknowledged, [1, 1, 1 + u32::try_from(small().len() + cut.len()).expect("short")]);
}

/// Two bytes of a request went before, which nobody keeps.
#[test]
fn message_whose_beginning_is_lost_is_answered_by_fin() {
    let mut client = InMemoryClient::reliable(HTTP_PORT);
    let mut rest = client.request(b"T / HTTP/1.1\r\nHost: example.com\r\n\r\n", 0);
    rest.seq = rest.seq.wrapping_add(2);
    let exchange = client.harness.exchange(&rest.octets(), PLENTY);
    assert_eq!((exchange.outcome, exchange.grown(Outcome::Incomplete)), (Outcome::ReassemblyLost, 0));
}

/// A larger window may get what a small one was refused when the request comes again: nothing may have followed it.
#[test]
fn only_the_first_message_is_refused_for_the_window() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    let [first, second] = [8, 9].map(|id| query(id, 0, "example.com", A, None));
    for (request, answered, rcode) in
        [([large(), second.clone()].concat(), vec![7], 2), ([first, large(), second].concat(), vec![8], 0)]
    {
        let packet = Packet { window: 1_000, ..client.request(&request, 0) };
        let stream = client.harness.exchange(&packet.octets(), PLENTY).stream();
        assert_eq!(ids(&stream), answered);
        assert_eq!(Reply::parse(&stream[2..]).expect("a message").rcode, rcode);
        let all = ids(&request);
        assert_eq!(ids(&client.ask(&request, 0).stream()), all);
    }
}

#[test]
fn what_lacks_a_frame_is_resumed_later() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    let whole = client.ask(&large(), 0);
    let request = client.request(&large(), 0);
    for free in 0..whole.sent.len() - 1 {
        let exchange = client.harness.exchange(&request.octets(), free);
        // The frame that came is the first to go.
        assert_eq!(exchange.sent, whole.sent[..=free]);
        assert_eq!(exchange.grown(Outcome::NoFrame), (whole.sent.len() - 1 - free) as u64);
        let had = u32::try_from(exchange.stream().len()).expect("short");
        assert_eq!(client.ask(&large(), had).stream(), whole.stream()[had as usize..]);
    }
}

#[test]
fn window_bounds_the_answer() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    let whole = client.ask(&large(), 0).stream();
    let length = u16::try_from(whole.len()).expect("short");
    for (window, bytes) in [(length + 1, length), (length, length - length % 1220), (1_340, 1_220)] {
        let request = Packet { window, ..client.request(&large(), 0) };
        let exchange = client.harness.exchange(&request.octets(), PLENTY);
        assert_eq!(exchange.stream(), whole[..bytes.into()], "window of {window}");
        let last = exchange.sent.last().expect("a segment");
        assert_eq!(last.flags & flags::FIN != 0, bytes == length, "window of {window}");
        assert_eq!(client.ask(&large(), bytes.into()).stream(), whole[bytes.into()..]);
    }
    // Too small for one segment and what may change, or for a quarter of it all.
    let request = Packet { window: 1_315, ..client.request(&large(), 0) };
    let stream = client.harness.exchange(&request.octets(), PLENTY).stream();
    assert_eq!(Reply::parse(&stream[2..]).expect("a message").rcode, 2);
    let request = Packet { window: 0, ..client.request(&large(), 0) };
    assert_eq!(client.harness.exchange(&request.octets(), PLENTY).outcome, Outcome::WindowTooSmall);
}

#[test]
fn client_of_small_segments_gets_small_ones() {
    let mut harness = Harness::new(AckPolicy::Reliable, 1220);
    let syn = Packet { flags: flags::SYN, seq: ISN, options: vec![2, 4, 0x04, 0xc3], ..v4(DNS_PORT) };
    let iss = harness.exchange(&syn.octets(), 0).sent[0].seq;
    let (seq, ack) = (ISN.wrapping_add(1), iss.wrapping_add(1));
    let request = Packet { flags: REQUEST, seq, ack, payload: large(), ..v4(DNS_PORT) };
    let longest =
        harness.exchange(&request.octets(), PLENTY).sent.iter().map(|packet| packet.payload.len()).max();
    assert_eq!(longest, Some(536));
}

#[rstest]
#[case::other_port(Packet { destination_port: 54, ..v4(DNS_PORT) }, Outcome::NotServed)]
#[case::other_address(Packet { destination: IpAddr::V4(GHOST_V4), ..v4(DNS_PORT) }, Outcome::NotServed)]
#[case::extension_header(Packet { extensions: vec![(60, vec![0; 7])], ..v6(DNS_PORT) }, Outcome::NotServed)]
#[case::fragment(Packet { fragment: 0x2000, ..v4(DNS_PORT) }, Outcome::NotServed)]
#[case::from_itself(Packet { source: SERVERS[0], ..v4(DNS_PORT) }, Outcome::Martian)]
#[case::from_port_0(Packet { source_port: 0, ..v4(DNS_PORT) }, Outcome::Martian)]
#[case::from_mapped(Packet { source: mapped(GHOST_V4), ..v6(DNS_PORT) }, Outcome::Martian)]
#[case::both_mapped(
    Packet { source: mapped(GHOST_V4), destination: mapped(SERVER_V4), ..v6(DNS_PORT) },
    Outcome::Martian
)]
#[case::small_mss(Packet { options: vec![2, 4, 2, 23], ..v4(DNS_PORT) }, Outcome::MssTooSmall)]
#[case::bad_option(Packet { options: vec![2, 0, 1, 1], ..v4(DNS_PORT) }, Outcome::TcpOption)]
#[case::reset(Packet { flags: flags::RST, ..v4(DNS_PORT) }, Outcome::Reset)]
#[case::syn_ack(Packet { flags: flags::SYN | flags::ACK, ..v4(DNS_PORT) }, Outcome::SynAckReceived)]
#[case::null(Packet { flags: flags::URG, ..v4(DNS_PORT) }, Outcome::UnusualFlags)]
#[case::bare_ack(Packet { flags: flags::ACK, ..v4(DNS_PORT) }, Outcome::BareAck)]
#[case::out_of_nowhere(Packet { flags: REQUEST, payload: small(), ..v4(DNS_PORT) }, Outcome::BadCookie)]
fn refused(
    #[values(AckPolicy::Classic, AckPolicy::Reliable)] rules: AckPolicy,
    #[case] packet: Packet,
    #[case] outcome: Outcome,
) {
    let flags = if packet.flags == 0 { flags::SYN } else { packet.flags };
    let exchange = Harness::new(rules, 1220).exchange(&Packet { flags, ..packet }.octets(), PLENTY);
    assert_eq!((exchange.outcome, exchange.sent), (outcome, vec![]));
}

#[rstest]
#[case::total_length(16, 0xff, Outcome::IpLength)]
#[case::ip_header(22, 1, Outcome::IpChecksum)]
#[case::data_offset(46, 0xf0, Outcome::TcpHeader)]
#[case::tcp_checksum(50, 1, Outcome::TcpChecksum)]
fn damaged(#[case] at: usize, #[case] by: u8, #[case] outcome: Outcome) {
    let mut frame = Packet { flags: flags::SYN, ..v4(DNS_PORT) }.octets();
    frame[at] ^= by;
    let exchange = Harness::new(AckPolicy::Reliable, 1220).exchange(&frame, PLENTY);
    assert_eq!((exchange.outcome, exchange.sent), (outcome, vec![]));
}

#[test]
fn fin_is_answered_by_fin_only_where_nothing_was_asked() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    for (had, expected) in [(0, FIN_ACK), (1, flags::ACK), (100_000, flags::ACK)] {
        let fin = Packet { flags: FIN_ACK, ..client.request(&[], had) };
        let exchange = client.harness.exchange(&fin.octets(), 0);
        assert_eq!(exchange.outcome, Outcome::FinAcknowledged);
        assert!(exchange.sent[0].is(expected), "{had}: {}", exchange.sent[0]);
    }
}

#[test]
fn proof_ends_at_the_largest_response_and_its_fin() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    assert_eq!(client.ask(&small(), 65_538).outcome, Outcome::BeyondResponse);
    assert_eq!(client.ask(&small(), 65_539).outcome, Outcome::BadCookie);
    assert_eq!(client.ask(&small(), u32::MAX).outcome, Outcome::BadCookie);
}

#[test]
fn later_segment_is_a_bad_cookie() {
    let mut client = InMemoryClient::reliable(DNS_PORT);
    let first = client.request(&small(), 0);
    let later = Packet { seq: first.seq.wrapping_add(first.sequence_length()), ..first };
    assert_eq!(client.harness.exchange(&later.octets(), PLENTY).outcome, Outcome::BadCookie);
}
