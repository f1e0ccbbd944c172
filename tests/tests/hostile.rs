//! A frame that is not to be answered is met with silence on the wire, one count of the right reason, and nothing else.

use std::{collections::BTreeMap, fs, net::IpAddr, os::unix::fs::PermissionsExt};

use rstest::rstest;
use stateless_tcp_tests::{
    capture::Capture,
    client::{Barrier, Client, port, query},
    netns::{Netns, execute},
    packet::{MSS_1460, Packet, checksum, flags},
    responder::{Counters, Responder},
    seed::Random,
    topology::{GHOST_V4, GHOST_V6, INTERFACE, SERVER_V4, SERVER_V6, SERVERS, Topology},
};
use tempfile::TempDir;

const A: u16 = 1;

/// The counts of passing a barrier.
fn barrier_counts() -> BTreeMap<String, u64> {
    ["xdp_served", "received", "syn_ack", "sent"].map(|name| (name.to_owned(), 1)).into()
}

fn v4() -> Packet {
    Packet::new(IpAddr::V4(GHOST_V4), 40_000, IpAddr::V4(SERVER_V4), 53)
}

fn v6() -> Packet {
    Packet::new(IpAddr::V6(GHOST_V6), 40_000, IpAddr::V6(SERVER_V6), 53)
}

fn with_flags(flags: u8) -> Packet {
    Packet { flags, seq: 1000, ack: 2000, ..v4() }
}

fn question() -> Vec<u8> {
    query(1, "example.com", A)
}

fn from(source: &str) -> Vec<u8> {
    let source: IpAddr = source.parse().expect("an address");
    let base = if source.is_ipv4() { v4() } else { v6() };
    Packet { source, flags: flags::SYN, options: MSS_1460.to_vec(), ..base }.octets()
}

/// Bytes of the TCP header replaced, and its checksum set right over what the segment then is.
fn tcp_patched(packet: &Packet, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let (mut frame, ip, tcp) = (packet.unpadded(), packet.ip_offset(), packet.tcp_offset());
    frame[tcp + offset..tcp + offset + bytes.len()].copy_from_slice(bytes);
    frame[tcp + 16..tcp + 18].fill(0);
    let addresses = if packet.source.is_ipv4() { ip + 12..ip + 20 } else { ip + 8..ip + 40 };
    let length = u16::try_from(frame.len() - tcp).expect("a short segment").to_be_bytes();
    let sum = checksum(&[&frame[addresses], &[0, 6], &length, &frame[tcp..]]);
    frame[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Bytes of the IPv4 header replaced, and its checksum set right; a header length of nonsense is taken for 20 bytes.
fn ipv4_patched(packet: &Packet, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let (mut frame, ip) = (packet.octets(), packet.ip_offset());
    frame[ip + offset..ip + offset + bytes.len()].copy_from_slice(bytes);
    frame[ip + 10..ip + 12].fill(0);
    let sum = checksum(&[&frame[ip..ip + 20]]);
    frame[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn flipped(mut frame: Vec<u8>, offset: usize) -> Vec<u8> {
    frame[offset] ^= 0x10;
    frame
}

fn with_options(options: &[u8]) -> Vec<u8> {
    Packet { flags: flags::SYN, options: options.to_vec(), ..v4() }.octets()
}

fn fragment6(offset: u16, more: bool) -> Vec<u8> {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    let extensions = vec![(44, vec![0, high, low, 0, 0, 0, 9])];
    Packet { extensions, flags: flags::SYN, ..v6() }.octets()
}

/// Each frame with the reason that it is to be counted under.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let data = Packet { payload: question(), ..with_flags(flags::PSH | flags::ACK) };
    let data6 = Packet { payload: question(), flags: flags::PSH | flags::ACK, seq: 5, ack: 6, ..v6() };
    let tcp = data.tcp_offset();
    let fragment = |bits| Packet { fragment: bits, flags: flags::SYN, ..v4() }.octets();
    vec![
        ("data out of nowhere", data.octets(), "bad_cookie"),
        ("IPv6 data out of nowhere", data6.octets(), "bad_cookie"),
        ("data and FIN out of nowhere", Packet { flags: 0x19, ..data.clone() }.octets(), "bad_cookie"),
        ("RST", with_flags(flags::RST).octets(), "reset"),
        ("RST,ACK", with_flags(flags::RST | flags::ACK).octets(), "reset"),
        ("SYN,RST", with_flags(flags::SYN | flags::RST).octets(), "reset"),
        ("SYN,ACK", with_flags(flags::SYN | flags::ACK).octets(), "syn_ack_received"),
        ("bare ACK", with_flags(flags::ACK).octets(), "bare_ack"),
        ("Christmas tree", with_flags(flags::FIN | flags::PSH | flags::URG).octets(), "unusual_flags"),
        ("all flags", with_flags(0xff).octets(), "reset"),
        ("no flags", with_flags(0).octets(), "unusual_flags"),
        ("no flags, data", Packet { flags: 0, ..data.clone() }.octets(), "unusual_flags"),
        ("SYN,FIN", with_flags(flags::SYN | flags::FIN).octets(), "unusual_flags"),
        ("SYN,FIN,ACK", with_flags(flags::SYN | flags::FIN | flags::ACK).octets(), "unusual_flags"),
        ("FIN without ACK", with_flags(flags::FIN).octets(), "unusual_flags"),
        ("TCP header of 0 octets", tcp_patched(&data, 12, &[0x00]), "tcp_header"),
        ("TCP header of 16 octets", tcp_patched(&data, 12, &[0x40]), "tcp_header"),
        ("data offset past the end", tcp_patched(&with_flags(flags::SYN), 12, &[0xf0]), "tcp_header"),
        ("IPv6, data offset past the end", tcp_patched(&v6(), 12, &[0xf0]), "tcp_header"),
        ("IPv4 header of 0 octets", ipv4_patched(&data, 0, &[0x40]), "xdp_malformed"),
        ("IPv4 header of 16 octets", ipv4_patched(&data, 0, &[0x44]), "xdp_malformed"),
        ("IPv4 of version 5", ipv4_patched(&data, 0, &[0x55]), "xdp_malformed"),
        ("total length of 0", ipv4_patched(&data, 2, &[0, 0]), "ip_length"),
        ("total length within the IPv4 header", ipv4_patched(&data, 2, &[0, 19]), "ip_length"),
        ("total length within the TCP header", ipv4_patched(&data, 2, &[0, 39]), "ip_length"),
        ("total length beyond the frame", ipv4_patched(&data, 2, &[1, 0]), "ip_length"),
        (
            "payload length of 0",
            {
                let mut frame = data6.octets();
                frame[18..20].fill(0);
                frame
            },
            "ip_length",
        ),
        (
            "payload length beyond the frame",
            {
                let mut frame = data6.octets();
                frame[18] = 1;
                frame
            },
            "ip_length",
        ),
        ("cut off within the IPv4 header", data.octets()[..14 + 18].to_vec(), "xdp_truncated"),
        ("cut off before the port", data.octets()[..tcp + 3].to_vec(), "xdp_truncated"),
        ("cut off within the TCP header", data.octets()[..tcp + 10].to_vec(), "ip_length"),
        ("wrong IPv4 checksum", flipped(data.octets(), 14 + 10), "ip_checksum"),
        ("wrong TCP checksum", flipped(data.octets(), tcp + 16), "tcp_checksum"),
        ("wrong payload octet", flipped(data.octets(), tcp + 30), "tcp_checksum"),
        ("IPv6, wrong TCP checksum", flipped(data6.octets(), data6.tcp_offset() + 16), "tcp_checksum"),
        ("option of length 0", with_options(&[254, 0, 1, 1]), "tcp_option"),
        ("option of length 1", with_options(&[254, 1, 1, 1]), "tcp_option"),
        ("option past the end", with_options(&[254, 5, 1, 1]), "tcp_option"),
        ("option without a length", with_options(&[1, 1, 1, 254]), "tcp_option"),
        ("MSS of 3 octets", with_options(&[2, 3, 5, 0]), "tcp_option"),
        ("MSS of 100", with_options(&[2, 4, 0, 100]), "mss_too_small"),
        ("first fragment", fragment(0x2000), "xdp_first_fragment"),
        ("later fragment", fragment(0x2003), "xdp_fragment"),
        ("last fragment", fragment(0x0003), "xdp_fragment"),
        ("IPv6 first fragment", fragment6(0, true), "xdp_first_fragment"),
        ("IPv6 atomic fragment", fragment6(0, false), "xdp_first_fragment"),
        ("IPv6 later fragment", fragment6(3, false), "xdp_fragment"),
        (
            "LAND",
            Packet { source_port: 53, ..Packet::parse(&from("192.0.2.1")).expect("TCP") }.octets(),
            "xdp_impossible_source",
        ),
        ("IPv6 LAND", from("2001:db8::1"), "xdp_impossible_source"),
        ("from port 0", Packet { source_port: 0, ..with_flags(flags::SYN) }.octets(), "martian"),
        ("from loopback", from("127.0.0.1"), "xdp_impossible_source"),
        ("from this network", from("0.0.0.0"), "martian"),
        ("from a group", from("224.0.0.1"), "martian"),
        ("from everybody", from("255.255.255.255"), "martian"),
        ("from IPv6 loopback", from("::1"), "xdp_impossible_source"),
        ("from the unspecified address", from("::"), "martian"),
        ("from an IPv6 group", from("ff02::1"), "martian"),
    ]
}

/// A key that is the same in each run, in `directory`.
fn key_file(directory: &TempDir) -> String {
    let key = directory.path().join("key");
    fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").expect("write the key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("keep the key to ourselves");
    key.to_str().expect("a path in UTF-8").to_owned()
}

/// Keeps the kernel's reports of listeners (RFC 3810), which it sends when it pleases, from being counted with our frames.
fn hush(client: &Netns) {
    let rule =
        "table ip6 quiet { chain out { type filter hook output priority 0; ip6 daddr ff02::16 drop; }\n}";
    execute(client.command("nft").arg(rule));
}

#[rstest]
#[case::native("native")]
#[case::generic("generic")]
fn frames_meet_silence_and_the_right_counter(#[case] mode: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let topology = Topology::new(1);
    hush(&topology.client);
    let arguments = ["--xdp-mode", mode, "--key-file", &key_file(&directory)];
    let responder = Responder::start(&topology, &arguments);
    let port = port(&topology);
    let mut barrier = Barrier::default();
    barrier.pass(&port);
    let mut wrong = Vec::new();
    for (name, frame, reason) in hostile() {
        let before = responder.counters();
        port.send(&frame);
        let answers = barrier.pass(&port);
        let mut counted = responder.counters().since(&before);
        for (counter, one) in barrier_counts() {
            *counted.entry(counter).or_default() -= one;
        }
        counted.retain(|_, value| *value > 0);
        let steered = if reason.starts_with("xdp_") { &[][..] } else { &["xdp_served", "received"][..] };
        let expected: BTreeMap<_, _> =
            steered.iter().chain([&reason]).map(|name| ((*name).to_owned(), 1)).collect();
        // One forged segment in 130 fits a generation that is gone, by chance: cookies change with the time.
        if reason == "bad_cookie"
            && let Some(one) = counted.remove("generation_gone")
        {
            counted.insert(reason.to_owned(), one);
        }
        if !answers.is_empty() || counted != expected {
            wrong.push(format!("{name}: answers {answers:02x?}, counted {counted:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    responder.stop();
}

/// A connection's own numbers, one off: nothing that was not handed out by SYN,ACK opens anything.
#[test]
fn a_cookie_of_another_connection_is_wrong() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--key-file", &key_file(&directory)]);
    let port = port(&topology);
    let mut barrier = Barrier::default();
    for server in SERVERS {
        let mut client = Client::new(&port, 40_000, server, 53, 1);
        client.open();
        let right = client.segment(flags::PSH | flags::ACK, 1, 1, &question());
        let before = responder.counters();
        for wrong in [
            Packet { ack: right.ack.wrapping_sub(1), ..right.clone() },
            Packet { seq: right.seq.wrapping_add(1), ..right.clone() },
            Packet { source_port: 40_001, ..right.clone() },
            Packet { destination_port: 80, ..right.clone() },
        ] {
            client.send(&wrong);
        }
        assert_eq!(barrier.pass(&port), [[0; 0]; 0]);
        let counted = responder.counters().since(&before);
        // By chance they fit a generation that is gone.
        let refused =
            ["bad_cookie", "generation_gone"].map(|reason| counted.get(reason).copied().unwrap_or(0));
        assert_eq!(refused.iter().sum::<u64>(), 4, "{counted:?}");
        // And the right one is right.
        client.send(&right);
        assert!(!client.expect().payload.is_empty());
    }
    responder.stop();
}

/// A blind sender's requests, with sequence numbers at random: at most two of a million are answered.
///
/// A guess fits if it falls among the bytes of its answer, under one of two MSS classes: for REFUSED, of 19 bytes, 42 of
/// 2^32. So one of a million succeeds in one run of a hundred, and three in one run of six million.
#[test]
fn forged_requests_are_not_answered() {
    const BETWEEN_BARRIERS: usize = 512;
    const COUNT: usize = 1_000_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--key-file", &key_file(&directory)]);
    let port = port(&topology);
    let mut random = Random::new("forged requests");
    let mut barrier = Barrier::default();
    barrier.pass(&port);
    let before = responder.counters();
    let templates = [v4(), v6()].map(|base| {
        let packet = Packet { flags: flags::PSH | flags::ACK, payload: query(1, ".", A), ..base };
        (packet.octets(), packet.ip_offset(), packet.tcp_offset())
    });
    let (mut sent, mut answered) = (0, 0);
    while sent < COUNT {
        for _ in 0..BETWEEN_BARRIERS.min(COUNT - sent) {
            let (frame, ip, tcp) = &templates[random.below(2)];
            port.send(&forge(frame, *ip, *tcp, &mut random));
            sent += 1;
        }
        answered += barrier.pass(&port).len() as u64;
        assert!(answered <= 2, "{answered} of {sent} forged requests are answered");
    }
    let counted = responder.counters().since(&before);
    let refused: u64 = ["bad_cookie", "generation_gone", "beyond_response"]
        .map(|reason| counted.get(reason).copied().unwrap_or(0))
        .iter()
        .sum();
    println!("{counted:?}");
    assert_eq!(refused + answered, COUNT as u64, "{counted:?}");
    let count = |counter: &str| counted.get(counter).copied().unwrap_or(0);
    assert_eq!(count("syn_ack") + answered, count("sent"), "only the barriers were answered: {counted:?}");
    responder.stop();
}

/// The template from another client and with other sequence numbers, its checksum kept right (RFC 1624).
fn forge(template: &[u8], ip: usize, tcp: usize, random: &mut Random) -> Vec<u8> {
    let mut frame = template.to_vec();
    let mut sum = u32::from(!u16::from_be_bytes([frame[tcp + 16], frame[tcp + 17]]));
    let last_of_source = if tcp - ip == 20 { ip + 14 } else { ip + 22 };
    let mut header_sum = u32::from(!u16::from_be_bytes([frame[ip + 10], frame[ip + 11]]));
    // Any host of the ghost's network: 16 bits in IPv6, 8 in IPv4.
    let host = if tcp - ip == 20 { 0x0200 | (3 + random.short() % 250) } else { random.short() | 1 << 8 };
    let fields = [
        (last_of_source, host),
        (tcp, random.short() | 1),
        (tcp + 4, random.short()),
        (tcp + 6, random.short()),
        (tcp + 8, random.short()),
        (tcp + 10, random.short()),
    ];
    for (at, value) in fields {
        let change = u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]])) + u32::from(value);
        sum += change;
        if at < tcp {
            header_sum += change;
        }
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    frame[tcp + 16..tcp + 18].copy_from_slice(&folded(sum).to_be_bytes());
    if tcp - ip == 20 {
        frame[ip + 10..ip + 12].copy_from_slice(&folded(header_sum).to_be_bytes());
    }
    frame
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

#[test]
fn forged_requests_are_well_formed() {
    let mut random = Random::new("forge");
    for base in [v4(), v6()] {
        let packet = Packet { flags: flags::PSH | flags::ACK, payload: question(), ..base };
        for _ in 0..1000 {
            let frame = forge(&packet.octets(), packet.ip_offset(), packet.tcp_offset(), &mut random);
            let forged = Packet::parse(&frame).expect("TCP");
            assert!(forged.intact, "{forged}");
            assert_eq!(forged.payload, packet.payload);
        }
    }
}

/// The reply bears the request's VLAN tags.
#[rstest]
#[case::one(&[(0x8100, 0x2007)])]
#[case::one_of_802_1ad(&[(0x88a8, 0x0007)])]
#[case::two(&[(0x88a8, 0x0064), (0x8100, 0xa007)])]
fn vlan_tags_are_kept(#[case] tags: &[(u16, u16)], #[values("native", "generic")] mode: &str) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--xdp-mode", mode, "--vlan", "7", "--vlan", "100.7"]);
    let port = port(&topology);
    for server in SERVERS {
        // A packet socket sees frames after the kernel has taken the outer tag off; tcpdump puts it back.
        let capture = Capture::start(&topology.client, INTERFACE);
        let mut client = Client::new(&port, 40_000, server, 53, 1);
        client.template.tags = tags.to_vec();
        client.open();
        client.send(&client.segment(flags::PSH | flags::ACK, 1, 1, &question()));
        assert!(!client.expect().payload.is_empty());
        let packets = capture.packets();
        assert!(packets.len() >= 4, "{packets:?}");
        assert!(packets.iter().all(|packet| packet.tags == tags && packet.intact), "{packets:?}");
    }
    let counters: Counters = responder.stop();
    assert_eq!((counters.get("syn_ack"), counters.get("answered")), (2, 2));
}
