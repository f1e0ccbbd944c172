//! `--rules classic` puts on the wire what the transactions published in 2009 show, segment by segment.

use std::io::Write;
use std::net::IpAddr;
use std::sync::{Mutex, mpsc};

use rstest::rstest;
use stateless_tcp_tests::{
    capture::Capture,
    client::{Client, get, port, query},
    packet::{MSS_1460, Packet, flags},
    responder::Responder,
    topology::{INTERFACE, SERVER_V4, SERVER_V6, Topology},
    upstream::DnsUpstream,
    web::{self, BACK_END, PORT},
};

const SYN_ACK: u8 = flags::SYN | flags::ACK;
const FIN_ACK: u8 = flags::FIN | flags::ACK;
const PSH_ACK: u8 = flags::PSH | flags::ACK;
const ACK: u8 = flags::ACK;
/// MSS 1220, and nothing else.
const MSS_1220: [u8; 4] = [2, 4, 0x04, 0xc4];
/// What `classic` puts in a segment.
const SEGMENT: u32 = 512;
const ISN: u32 = 0xffff_ff80;
const ANY: u16 = 255;

fn fixture(zone: &str) -> String {
    format!("{}/fixtures/{zone}.zone", env!("CARGO_MANIFEST_DIR"))
}

/// One connection by the book, each of the server's packets checked against its line. Returns the response.
fn transact(server: IpAddr, server_port: u16, arguments: &[&str], request: &[u8]) -> Vec<u8> {
    transact_over(&Topology::new(1), server, server_port, arguments, request, || {})
}

/// As [`transact`]; the request is acknowledged before `answer` is called, and need not be answered before that.
fn transact_over(
    topology: &Topology,
    server: IpAddr,
    server_port: u16,
    arguments: &[&str],
    request: &[u8],
    answer: impl FnOnce(),
) -> Vec<u8> {
    let responder = Responder::start(topology, &[&["--rules", "classic"], arguments].concat());
    let port = port(topology);
    let mut client = Client::new(&port, 40_000, server, server_port, ISN);
    let expect = |client: &Client, line: (u8, u32, u32, usize)| {
        let packet = client.expect();
        assert_eq!(client.relative(&packet), line, "(flags, seq, ack, len) of {packet}");
        assert_eq!(packet.window, 65_535, "{packet}");
        packet
    };
    let length = u32::try_from(request.len()).expect("a short request");

    let syn_ack = client.open();
    assert_eq!(client.relative(&syn_ack), (SYN_ACK, 0, 1, 0));
    assert_eq!((syn_ack.window, &syn_ack.options[..]), (65_535, &MSS_1220[..]));
    client.send(&client.segment(ACK, 1, 1, b""));
    client.send(&client.segment(PSH_ACK, 1, 1, request));
    expect(&client, (ACK, 1, 1 + length, 0));
    answer();

    let mut response = Vec::new();
    let mut next = 1;
    let fin = loop {
        let packet = client.expect();
        assert_eq!(packet.options, [0; 0], "{packet}");
        let (flags, seq, ack, len) = client.relative(&packet);
        if flags & flags::FIN != 0 {
            break packet;
        }
        // A full segment, but for the last: what comes after a short one must be FIN.
        assert_eq!(response.len() % 512, 0, "a segment follows a short one: {packet}");
        assert_eq!((flags, seq, ack), (ACK, next, 1 + length), "{packet}");
        assert!(len > 0 && len <= 512, "{packet}");
        response.extend(&packet.payload);
        next += u32::try_from(len).expect("a short payload");
    };
    assert_eq!(client.relative(&fin), (FIN_ACK, next, 1 + length, 0), "FIN in a segment of its own: {fin}");
    client.send(&client.segment(ACK, 1 + length, next, b""));
    client.send(&client.segment(ACK, 1 + length, next + 1, b""));
    client.send(&client.segment(FIN_ACK, 1 + length, next + 1, b""));
    expect(&client, (ACK, next + 1, 2 + length, 0));

    let counters = responder.stop();
    // SYN,ACK, ACK, data, FIN, ACK: the client has seen all that was sent.
    assert_eq!(counters.get("sent"), 4 + u64::from((next - 1).div_ceil(SEGMENT)), "{counters:?}");
    assert_eq!(counters.get("bare_ack"), 3, "{counters:?}");
    response
}

#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn a_small_page(#[case] server: IpAddr) {
    let response = transact(server, 80, &[], &get("/robots.txt", 245));
    let text = String::from_utf8(response).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an empty line after the header");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}\n{body}");
}

#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn a_small_page_through_a_back_end(#[case] server: IpAddr) {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 395\r\n";
    const RESPONSE: usize = 467;
    let topology = Topology::new(1);
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let body = "x".repeat(RESPONSE - HEAD.len() - "Connection: close\r\n\r\n".len());
    let page = format!("{HEAD}\r\n{body}");
    let back_end = web::HttpUpstream::start(&topology.server, move |_, stream| {
        released.lock().expect("one request").recv().expect("the client has its acknowledgment");
        stream.write_all(page.as_bytes()).expect("write");
        false
    });
    let capture = Capture::start(&topology.server, "lo");
    let arguments = ["--http-relay", BACK_END];
    let request = get("/", 245);
    let response = transact_over(&topology, server, 80, &arguments, &request, || {
        release.send(()).expect("the back end waits");
    });
    assert_eq!(String::from_utf8_lossy(&response), format!("{HEAD}Connection: close\r\n\r\n{body}"));
    assert_eq!(response.len(), RESPONSE);

    let requests = back_end.requests();
    let host = "Host: www.example.com\r\nX-Fill: ";
    assert!(
        requests.len() == 1 && requests[0].starts_with(&format!("GET / HTTP/1.1\r\n{host}")),
        "{requests:?}"
    );
    // On the other side, an ordinary connection: opened, one request, one response, closed by both.
    let packets = capture.packets();
    let sent = |port: u16, flag: u8| {
        let from =
            packets.iter().filter(move |packet| packet.source_port == port && packet.flags & flag != 0);
        from.count()
    };
    let client_port = packets.first().expect("a SYN").source_port;
    assert_eq!((packets[0].flags, packets[1].flags, packets[2].flags), (flags::SYN, SYN_ACK, ACK));
    assert_eq!([sent(client_port, flags::SYN), sent(PORT, flags::SYN)], [1, 1]);
    assert_eq!([sent(client_port, flags::FIN), sent(PORT, flags::FIN)], [1, 1]);
    assert_eq!(sent(client_port, flags::RST) + sent(PORT, flags::RST), 0);
    let payload = |port: u16| {
        let from = packets.iter().filter(|packet| packet.source_port == port);
        from.map(|packet| packet.payload.len()).sum::<usize>()
    };
    assert_eq!(payload(client_port), requests[0].len());
    assert_eq!(payload(PORT), HEAD.len() + 2 + body.len());
}

#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn any_of_rand_apnic_net(#[case] server: IpAddr) {
    let request = query(0x2009, "rand.apnic.net", ANY);
    assert_eq!(request.len(), 34);
    let (rand, sec3) = (fixture("rand.apnic.net"), fixture("sec3.apnic.net"));
    let response = transact(server, 53, &["--zone", &rand, "--zone", &sec3], &request);
    assert_eq!(response.len(), 231);
    assert_eq!(response[..2], 229_u16.to_be_bytes());
    assert_eq!(response[2..4], 0x2009_u16.to_be_bytes());
    // QR, AA and RD; NOERROR; one question, 6 answers, no authority, 2 additional.
    assert_eq!(response[4..14], [0x85, 0, 0, 1, 0, 6, 0, 0, 0, 2]);
}

/// The same, segment by segment, where a back end knows the answer: it is asked by UDP, once, for what it was asked in 2009
/// and an OPT record, and what it says besides its own OPT record is the response.
#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn any_of_rand_apnic_net_through_a_back_end(#[case] server: IpAddr) {
    const OPT: [u8; 11] = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
    let request = query(0x2009, "rand.apnic.net", ANY);
    let (rand, sec3) = (fixture("rand.apnic.net"), fixture("sec3.apnic.net"));
    let known = transact(server, 53, &["--zone", &rand, "--zone", &sec3], &request);

    let topology = Topology::new(1);
    let (heard, queries) = std::sync::mpsc::channel();
    let back_end = "127.0.0.1:5301".parse().expect("an address");
    let mut answer = [&known[2..], &OPT].concat();
    answer[11] += 1;
    let _back_end = DnsUpstream::start(&topology.server, back_end, move |socket, query, from| {
        let answer = [&query[..2], &answer[2..]].concat();
        socket.send_to(&answer, from).expect("answer");
        heard.send(query.to_vec()).expect("somebody listens");
    });
    let arguments = ["--dns-relay", &back_end.to_string(), "--dns-cache", "0"];
    let response = transact_over(&topology, server, 53, &arguments, &request, || {});
    assert_eq!((response.len(), &response), (231, &known));
    let mut expected = [&request[2..], &OPT].concat();
    expected[11] = 1;
    let queries: Vec<_> = queries.try_iter().map(|query| query[2..].to_vec()).collect();
    assert_eq!(queries, [&expected[2..]], "but for the ID");
    assert_eq!(expected.len(), 32 + OPT.len());
}

#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn a_page_of_20_kilobytes_in_segments_of_512(#[case] server: IpAddr) {
    let response = transact(server, 80, &[], &get("/20k.html", 245));
    let body = response.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the header") + 4;
    assert_eq!(response.len() - body, 20_000);
    // One of 512 and the rest: only the last may be short, which `transact` has checked of each.
    assert!(response.len() > 39 * 512);
}

/// A kernel client this time: the answer that UDP truncates arrives whole, and nothing on the wire is a fragment.
#[rstest]
#[case::classic_v4("classic", IpAddr::V4(SERVER_V4), 512)]
#[case::classic_v6("classic", IpAddr::V6(SERVER_V6), 512)]
#[case::reliable_v4("reliable", IpAddr::V4(SERVER_V4), 1220)]
#[case::reliable_v6("reliable", IpAddr::V6(SERVER_V6), 1220)]
fn an_answer_of_dnssec_size(#[case] rules: &str, #[case] server: IpAddr, #[case] largest: usize) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--rules", rules]);
    let capture = Capture::start(&topology.client, INTERFACE);
    let question = "+tcp +dnssec +norecurse +tries=1 +time=60 example.com ANY";
    let printed = topology.client.run(&format!("dig @{server} {question}"));
    let frames = capture.stop();

    let size =
        printed.lines().find_map(|line| line.strip_prefix(";; MSG SIZE  rcvd: ")).expect("dig prints it");
    let size: usize = size.trim().parse().expect("a number");
    assert!(printed.contains("status: NOERROR") && printed.contains("RRSIG"), "{printed}");
    assert!(size > 2_000, "only {size} octets:\n{printed}");

    let fragments = frames.iter().filter(|frame| is_fragment(frame)).count();
    assert_eq!(fragments, 0);
    let packets: Vec<_> = frames.iter().filter_map(|frame| Packet::parse(frame)).collect();
    let data: Vec<_> =
        packets.iter().filter(|packet| packet.source_port == 53 && !packet.payload.is_empty()).collect();
    assert!(data.iter().all(|packet| packet.payload.len() <= largest && packet.intact), "{data:?}");
    assert_eq!(data.iter().map(|packet| packet.payload.len()).sum::<usize>(), size + 2);
    let syn = packets.iter().find(|packet| packet.is(flags::SYN)).expect("the client's SYN");
    assert_ne!(syn.options, MSS_1460, "not a kernel's SYN");
    responder.stop();
}

fn is_fragment(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame[20] & 0x3f != 0 || frame[21] != 0,
        [0x86, 0xdd] => frame[20] == 44,
        _ => false,
    }
}

#[test]
fn a_fragment_would_be_seen() {
    let packet = Packet::new(IpAddr::V4(SERVER_V4), 53, IpAddr::V4(SERVER_V4), 40_000);
    assert!(!is_fragment(&packet.octets()));
    assert!(is_fragment(&Packet { fragment: 0x2000, ..packet.clone() }.octets()));
    assert!(is_fragment(&Packet { fragment: 0x0001, ..packet }.octets()));
    let packet = Packet::new(IpAddr::V6(SERVER_V6), 53, IpAddr::V6(SERVER_V6), 40_000);
    assert!(!is_fragment(&packet.octets()));
    assert!(is_fragment(&Packet { extensions: vec![(44, vec![0; 7])], ..packet }.octets()));
}
