//! The invariants of an exchange, whatever was received.

use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::tcp::AckPolicy;

use super::{DNS_PORT, Exchange, HTTP_PORT, Harness, PLENTY, agreement, content, pool::LARGEST_PAYLOAD};
use crate::{
    packet::{Packet, flags},
    topology::SERVERS,
};

/// The only option that we send: an MSS of 1,220.
const MSS_1220: [u8; 4] = [2, 4, 0x04, 0xc4];
/// Bytes of one response at most.
const LARGEST_RESPONSE: u32 = 65_537;
/// Bytes at the front of a response that change, at most.
const MOST_VOLATILE: u32 = 96;
/// Bytes of what is said instead of a response that finds no room, at most.
const LARGEST_REFUSAL: u32 = 512;
/// Windows of one response at most.
const MOST_WINDOWS: u32 = 4;
/// IPv6's minimum MTU: what every path carries (RFC 8200 5).
const MTU: usize = 1280;

/// Reads a frame of ours: it has right checksums, and no byte that an independent builder would not have put there.
pub(super) fn read(bytes: &[u8]) -> Packet {
    let packet = Packet::parse(bytes).unwrap_or_else(|| panic!("no TCP packet: {bytes:02x?}"));
    assert!(packet.intact, "checksums of {packet}: {bytes:02x?}");
    // DF clear and identification 0 (docs/protocol.md, "The cookie"): so says the packet that was read.
    assert_eq!((packet.fragment, packet.ttl), (0, 64), "{packet}");
    if packet.source.is_ipv4() {
        assert_eq!(packet.identification, 0, "{packet}");
    }
    let expected = packet.unpadded();
    let same = expected == bytes;
    assert!(same, "{packet}\nsent  {bytes:02x?}\nbuilt {expected:02x?}");
    packet
}

pub(super) fn assert_exchange(harness: &mut Harness, frame: &[u8], exchange: &Exchange, sent: &[Vec<u8>]) {
    if exchange.outcome == Outcome::BadCookie {
        let packet = agreement::intact(frame).expect("a segment").0;
        assert_eq!(proof(harness, &packet), None, "refused though it proves our cookie: {packet}");
    }
    if exchange.sent.is_empty() {
        return;
    }
    let (received, partial) = agreement::intact(frame).expect("only whole segments are answered");
    assert_eq!(exchange.grown(Outcome::PartialChecksum), u64::from(partial), "{received}");
    assert_may_be_answered(&received);
    for (packet, bytes) in exchange.sent.iter().zip(sent) {
        assert_goes_back(harness, &received, packet);
        assert!(bytes.len() - packet.ip_offset() <= MTU, "{} octets: {packet}", bytes.len());
    }
    match exchange.outcome {
        Outcome::SynAck => assert_syn_ack(harness, &received, exchange),
        Outcome::FinAcknowledged => assert_fin_acknowledged(&received, exchange),
        Outcome::Answered | Outcome::Resumed => assert_answered(harness, &received, exchange),
        Outcome::Buffered => assert_part_acknowledged(&received, exchange),
        Outcome::ReassemblyLost => assert_asked_to_come_anew(&received, exchange),
        silent => panic!("{silent:?}, yet {:?} went out", exchange.sent),
    }
}

fn assert_may_be_answered(received: &Packet) {
    assert!(SERVERS.contains(&received.destination), "not to us: {received}");
    assert!([DNS_PORT, HTTP_PORT].contains(&received.destination_port), "not served: {received}");
    assert!(received.tags.len() <= 2 && received.extensions.is_empty(), "{received:?}");
    assert!(!agreement::is_fragment(received), "a fragment: {received:?}");
    assert_eq!(received.to[0] & 1, 0, "to a group: {received:?}");
    assert_eq!(received.flags & flags::RST, 0, "RST: {received}");
    assert_ne!(received.source, received.destination, "to itself: {received}");
    assert_ne!(received.source_port, 0, "{received}");
}

/// The invariants of every segment that we send.
fn assert_goes_back(harness: &Harness, received: &Packet, packet: &Packet) {
    assert_eq!(
        (packet.to, packet.from, &packet.tags),
        (received.from, received.to, &received.tags),
        "{packet}"
    );
    assert_eq!((packet.source, packet.destination), (received.destination, received.source));
    assert_eq!(
        (packet.source_port, packet.destination_port),
        (received.destination_port, received.source_port)
    );
    let window = match harness.rules {
        AckPolicy::Classic => 65_535,
        AckPolicy::Reliable => 4_095,
    };
    assert!(
        packet.window == window || harness.rules == AckPolicy::Reliable && packet.window < window,
        "{packet}"
    );
    assert!(packet.payload.len() <= LARGEST_PAYLOAD.min(harness.segment_size.into()), "{packet}");
    assert!(packet.flags & flags::ACK != 0 && packet.flags & flags::RST == 0, "{packet}");
    if packet.flags & flags::SYN == 0 {
        assert!(packet.options.is_empty(), "options: {packet:?}");
    }
}

fn assert_syn_ack(harness: &mut Harness, received: &Packet, exchange: &Exchange) {
    let control = flags::SYN | flags::ACK | flags::FIN;
    assert_eq!(received.flags & control, flags::SYN, "{received}");
    let [packet, early @ ..] = &exchange.sent[..] else { panic!("no segment for a SYN") };
    assert!(packet.is(flags::SYN | flags::ACK) && packet.payload.is_empty(), "{packet}");
    assert_eq!(packet.ack, received.seq.wrapping_add(1), "{packet}");
    let (mss, cookie) = packet.options.split_at(MSS_1220.len());
    assert_eq!(mss, MSS_1220, "{packet}");
    assert_eq!(!cookie.is_empty(), exchange.grown(Outcome::FastOpenCookie) > 0, "{packet}");
    assert!(cookie.is_empty() || cookie.len() == 12 && cookie.starts_with(&[1, 1, 34, 10]), "{cookie:?}");
    assert_early(harness, received, packet, early, exchange);
}

/// Segments that follow a SYN,ACK unasked are those that the request gets when it comes again, and no more than three segments.
fn assert_early(
    harness: &mut Harness,
    received: &Packet,
    syn_ack: &Packet,
    early: &[Packet],
    exchange: &Exchange,
) {
    let all = early.len() as u64 + exchange.grown(Outcome::NoFrame);
    assert_eq!(all > 0, exchange.grown(Outcome::FastOpen) > 0, "{received}");
    if all == 0 {
        return;
    }
    assert!(all <= 3, "{all} segments behind the SYN,ACK for {received}");
    let again = Packet {
        seq: received.seq.wrapping_add(1),
        ack: syn_ack.seq.wrapping_add(1),
        flags: flags::ACK,
        options: Vec::new(),
        ..received.clone()
    };
    let (behind, _) = harness.ask(&again.octets(), PLENTY);
    assert_eq!(behind.sent.len() as u64, all, "{again}");
    assert_eq!(early, &behind.sent[..early.len()], "{again}");
}

fn assert_fin_acknowledged(received: &Packet, exchange: &Exchange) {
    let control = flags::SYN | flags::ACK | flags::FIN;
    assert_eq!(received.flags & control, flags::FIN | flags::ACK, "{received}");
    assert!(received.payload.is_empty(), "{received}");
    let [packet] = &exchange.sent[..] else { panic!("{} segments for a FIN", exchange.sent.len()) };
    assert!(packet.is(flags::ACK) || packet.is(flags::FIN | flags::ACK), "{packet}");
    assert!(packet.payload.is_empty(), "no amplifier: {packet}");
    assert_eq!((packet.seq, packet.ack), (received.ack, received.seq.wrapping_add(1)), "{packet}");
}

/// A length by itself, which nobody has to keep.
fn assert_part_acknowledged(received: &Packet, exchange: &Exchange) {
    let [packet] = &exchange.sent[..] else { panic!("{} segments for a part", exchange.sent.len()) };
    let end = received.seq.wrapping_add(2);
    assert!(packet.is(flags::ACK) && packet.payload.is_empty() && received.payload.len() == 2, "{packet}");
    assert_eq!((packet.seq, packet.ack), (received.ack, end), "{packet}");
}

/// Its predecessor is not known: FIN, and nothing acknowledged.
fn assert_asked_to_come_anew(received: &Packet, exchange: &Exchange) {
    let [packet] = &exchange.sent[..] else { panic!("{} segments and no answer", exchange.sent.len()) };
    assert!(packet.is(flags::FIN | flags::ACK) && packet.payload.is_empty(), "{packet}");
    assert_eq!((packet.seq, packet.ack), (received.ack, received.seq), "{packet}");
}

fn assert_answered(harness: &mut Harness, received: &Packet, exchange: &Exchange) {
    let (had, class) = proof(harness, received).expect("only who has seen our SYN,ACK is answered");
    assert_eq!(exchange.outcome, if had == 0 { Outcome::Answered } else { Outcome::Resumed });
    let whole = whole_response(harness, received, had);
    let length = u32::try_from(whole.len()).expect("a response is short");
    let edge = had + u32::from(received.window);
    // What begins in a window that takes a segment, and what changes, may go on in later ones; so may what was asked behind it.
    let size = u32::from(harness.segment_size).min(u32::try_from(class).expect("small"));
    let several = harness.rules == AckPolicy::Reliable && edge >= size.max(LARGEST_REFUSAL) + MOST_VOLATILE;
    let end = if edge > length { length + 1 } else { edge - edge % size };
    let room = match (several, end > length) {
        (false, _) => edge.saturating_sub(1),
        (true, true) => MOST_WINDOWS * edge,
        (true, false) => LARGEST_RESPONSE,
    };
    let room = room.min(LARGEST_RESPONSE);
    let incomplete = exchange.grown(Outcome::Incomplete) > 0;
    let judge =
        if received.destination_port == DNS_PORT { content::assert_dns } else { content::assert_http };
    judge(&received.payload, &whole, room.try_into().expect("32 bits fit"), incomplete);

    let missing = exchange.grown(Outcome::NoFrame);
    let last = exchange.sent.len() - 1;
    let mut seq = received.ack;
    for (index, packet) in exchange.sent.iter().enumerate() {
        assert_eq!(packet.seq, seq, "segment {index} does not follow the one before it: {packet}");
        assert!(packet.payload.len() <= class, "the client takes {class}: {packet}");
        assert_eq!(packet.ack, exchange.sent[0].ack, "{packet}");
        if packet.flags & flags::FIN != 0 {
            assert_eq!((index, missing), (last, 0), "FIN before the end: {packet}");
        }
        seq = packet.seq.wrapping_add(packet.sequence_length());
    }
    let progress = seq.wrapping_sub(received.ack);
    assert!(progress <= received.window.into(), "{progress} octets into a window of {received}");
    let stream = exchange.stream();
    let from = had.min(length) as usize;
    assert_eq!(stream, whole[from..][..stream.len()], "octets from {from} on");
    if missing == 0 {
        // Behind a cut message FIN comes once more: whether it was received cannot be told.
        let again = u32::from(had > length && exchange.sent[0].flags & flags::FIN != 0);
        assert_eq!(progress, end.saturating_sub(had) + again, "the rest of the response, and FIN");
    }
    let cut_short = end <= length;
    assert_acknowledgment(
        harness,
        received,
        exchange,
        missing,
        from + stream.len() == whole.len(),
        cut_short,
    );
}

/// A request is acknowledged only together with all that its sender still lacks, unless the rules are classic.
fn assert_acknowledgment(
    harness: &Harness,
    received: &Packet,
    exchange: &Exchange,
    missing: u64,
    complete: bool,
    cut_short: bool,
) {
    let acknowledged = exchange.sent[0].ack != received.seq;
    if acknowledged {
        assert_eq!(exchange.sent[0].ack, received.seq.wrapping_add(received.sequence_length()));
    }
    match harness.rules {
        AckPolicy::Classic => {
            assert!(acknowledged && exchange.sent[0].payload.is_empty());
            assert!(exchange.sent[0].is(flags::ACK), "the acknowledgment comes first");
        }
        AckPolicy::Reliable if acknowledged => {
            assert!(exchange.sent.len() == 1 && missing == 0 && complete, "a lost one never comes again");
        }
        AckPolicy::Reliable => {
            let several = exchange.sent.len() as u64 + missing > 1;
            assert!(
                several || cut_short || answers_a_part(received, exchange),
                "a whole answer acknowledges"
            );
        }
    }
}

/// Whether a message of the request was cut off, or found no room behind the others.
fn answers_a_part(received: &Packet, exchange: &Exchange) -> bool {
    let mut asked = 0;
    let mut stream = &received.payload[..];
    while let [high, low, rest @ ..] = stream {
        let Some(behind) = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) else { break };
        asked += 1;
        stream = behind;
    }
    let room_ran_out = received.destination_port == DNS_PORT && exchange.grown(Outcome::Messages) < asked;
    exchange.grown(Outcome::Incomplete) > 0 || room_ran_out
}

/// The response bytes that a client of this request has already, and the largest payload it takes, if the request
/// proves that it knows our ISS: what the responder answers to the SYN before it says which that is.
fn proof(harness: &mut Harness, request: &Packet) -> Option<(u32, usize)> {
    [(1460_u16, 1220), (1219, 536)].into_iter().find_map(|(mss, class)| {
        let [high, low] = mss.to_be_bytes();
        let syn = Packet {
            seq: request.seq.wrapping_sub(1),
            ack: 0,
            flags: flags::SYN,
            options: vec![2, 4, high, low],
            payload: Vec::new(),
            ..request.clone()
        };
        let (exchange, _) = harness.ask(&syn.octets(), 0);
        let had = request.ack.wrapping_sub(exchange.sent.first()?.seq).wrapping_sub(1);
        (had <= LARGEST_RESPONSE + 1).then_some((had, class))
    })
}

/// The whole response to a client of this request that has nothing yet, in as many windows as that takes.
fn whole_response(harness: &mut Harness, request: &Packet, had: u32) -> Vec<u8> {
    let mut window = (u32::from(request.window) + had).min(65_535);
    let mut whole = Vec::new();
    loop {
        let got = u32::try_from(whole.len()).expect("a response is short");
        let next = Packet {
            ack: request.ack.wrapping_sub(had).wrapping_add(got),
            window: window.try_into().expect("16 bits"),
            ..request.clone()
        };
        let (exchange, _) = harness.ask(&next.octets(), PLENTY);
        let outcome = if got == 0 { Outcome::Answered } else { Outcome::Resumed };
        assert_eq!(exchange.outcome, outcome, "resumed, but never to be had from the start: {request}");
        whole.extend(exchange.stream());
        if exchange.sent.last().expect("a segment").flags & flags::FIN != 0 {
            return whole;
        }
        // All that came is read.
        window = window.max(65_535);
    }
}
