//! Frames: with names, and made by chance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateless_tcp_core::steering::SteeringReason;
use stateless_tcp_tests::{
    packet::{Packet, flags},
    seed::Random,
    topology::{CLIENT_V4, CLIENT_V6, SERVER_V4, SERVER_V6},
};

use super::PORTS;

const UDP: u8 = 17;
/// The kernel refuses test frames without a whole Ethernet header.
const SHORTEST: usize = 14;

fn v4() -> Packet {
    Packet { flags: flags::SYN, ..Packet::new(IpAddr::V4(CLIENT_V4), 40_000, IpAddr::V4(SERVER_V4), 53) }
}

fn v6() -> Packet {
    Packet { flags: flags::SYN, ..Packet::new(IpAddr::V6(CLIENT_V6), 40_000, IpAddr::V6(SERVER_V6), 80) }
}

fn from(source: impl Into<IpAddr>, packet: Packet) -> Vec<u8> {
    Packet { source: source.into(), ..packet }.octets()
}

/// A frame of the table with one byte of its headers set.
fn with(packet: &Packet, offset: usize, byte: u8) -> Vec<u8> {
    let mut frame = packet.octets();
    frame[offset] = byte;
    frame
}

fn with_all(packet: &Packet, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = packet.octets();
    for &(offset, byte) in changes {
        frame[offset] = byte;
    }
    frame
}

fn cut(packet: &Packet, length: usize) -> Vec<u8> {
    packet.unpadded()[..length].to_vec()
}

fn tagged(packet: Packet, tags: &[(u16, u16)]) -> Vec<u8> {
    Packet { tags: tags.to_vec(), ..packet }.octets()
}

/// An IPv6 fragment header behind its next-header byte: offset in units of 8 bytes, and whether more follow.
fn fragment_header(offset: u16, more: bool) -> (u8, Vec<u8>) {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    (44, vec![0, high, low, 0, 0, 0, 7])
}

/// Frames with names, and what is to become of each.
pub(super) fn named() -> Vec<(&'static str, Vec<u8>, SteeringReason)> {
    let (ip, tcp4, tcp6) = (14, v4().tcp_offset(), v6().tcp_offset());
    let with_fragment = |offset, more| {
        let extensions = vec![fragment_header(offset, more)];
        Packet { extensions, ..v6() }
    };
    vec![
        ("IPv4 SYN", v4().octets(), SteeringReason::Served),
        ("IPv6 SYN", v6().octets(), SteeringReason::Served),
        ("IPv4 with options", Packet { ip_options: vec![1; 40], ..v4() }.octets(), SteeringReason::Served),
        ("one 802.1Q tag", tagged(v4(), &[(0x8100, 7)]), SteeringReason::Served),
        ("one 802.1ad tag", tagged(v6(), &[(0x88a8, 7)]), SteeringReason::Served),
        ("two tags", tagged(v6(), &[(0x88a8, 7), (0x8100, 8)]), SteeringReason::Served),
        ("three tags", tagged(v4(), &[(0x8100, 7); 3]), SteeringReason::NotIp),
        ("tag cut off", cut(&Packet { tags: vec![(0x8100, 7)], ..v4() }, 16), SteeringReason::Truncated),
        ("Ethernet header only", cut(&v4(), 14), SteeringReason::Truncated),
        ("half an IPv4 header", cut(&v4(), 30), SteeringReason::Truncated),
        ("half an IPv6 header", cut(&v6(), 40), SteeringReason::Truncated),
        ("IPv4 header only", cut(&v4(), tcp4), SteeringReason::Truncated),
        ("IPv4 up to the source port", cut(&v4(), tcp4 + 2), SteeringReason::Truncated),
        ("IPv4 up to half the port", cut(&v4(), tcp4 + 3), SteeringReason::Truncated),
        ("IPv4 up to the port", cut(&v4(), tcp4 + 4), SteeringReason::Served),
        ("IPv6 up to the port", cut(&v6(), tcp6 + 4), SteeringReason::Served),
        ("IPv6 up to half the port", cut(&v6(), tcp6 + 3), SteeringReason::Truncated),
        ("ARP", with(&v4(), 13, 0x06), SteeringReason::NotIp),
        ("an 802.3 length", with(&v4(), 12, 0x00), SteeringReason::NotIp),
        ("version 6 in an IPv4 frame", with(&v4(), ip, 0x65), SteeringReason::Malformed),
        ("version 4 in an IPv6 frame", with(&v6(), ip, 0x40), SteeringReason::Malformed),
        ("header of 16 octets", with(&v4(), ip, 0x44), SteeringReason::Malformed),
        ("header of no octets", with(&v4(), ip, 0x40), SteeringReason::Malformed),
        ("header of 60 octets beyond the frame", with(&v4(), ip, 0x4f), SteeringReason::Truncated),
        ("IPv4 UDP to the port of questions", with(&v4(), ip + 9, UDP), SteeringReason::Served),
        (
            "its first fragment",
            with_all(&v4(), &[(ip + 6, 0x20), (ip + 9, UDP)]),
            SteeringReason::FirstFragment,
        ),
        ("another fragment of it", with_all(&v4(), &[(ip + 7, 1), (ip + 9, UDP)]), SteeringReason::Fragment),
        ("UDP to another address", with_all(&v4(), &[(ip + 9, UDP), (ip + 19, 77)]), SteeringReason::NotTcp),
        ("IPv4 ICMP", with(&v4(), ip + 9, 1), SteeringReason::NotTcp),
        ("IPv6 UDP to another port", with(&v6(), ip + 6, UDP), SteeringReason::NotTcp),
        ("IPv6 no next header", with(&v6(), ip + 6, 59), SteeringReason::NotTcp),
        ("IPv4 first fragment", Packet { fragment: 0x2000, ..v4() }.octets(), SteeringReason::FirstFragment),
        ("IPv4 later fragment", Packet { fragment: 0x2001, ..v4() }.octets(), SteeringReason::Fragment),
        ("IPv4 last fragment", Packet { fragment: 0x0001, ..v4() }.octets(), SteeringReason::Fragment),
        (
            "IPv4 first fragment, other port",
            Packet { fragment: 0x2000, destination_port: 22, ..v4() }.octets(),
            SteeringReason::Fragment,
        ),
        ("IPv6 first fragment", with_fragment(0, true).octets(), SteeringReason::FirstFragment),
        ("IPv6 atomic fragment", with_fragment(0, false).octets(), SteeringReason::FirstFragment),
        ("IPv6 later fragment", with_fragment(1, true).octets(), SteeringReason::Fragment),
        (
            "IPv6 first fragment, other port",
            Packet { destination_port: 22, ..with_fragment(0, true) }.octets(),
            SteeringReason::Fragment,
        ),
        (
            "other IPv4 address",
            Packet { destination: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), ..v4() }.octets(),
            SteeringReason::OtherAddress,
        ),
        (
            "other IPv6 address",
            Packet { destination: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3)), ..v6() }
                .octets(),
            SteeringReason::OtherAddress,
        ),
        ("other port", Packet { destination_port: 54, ..v4() }.octets(), SteeringReason::OtherPort),
        (
            "served port as the source",
            Packet { source_port: 53, destination_port: 40_000, ..v4() }.octets(),
            SteeringReason::OtherPort,
        ),
        (
            "served port with its octets swapped",
            Packet { destination_port: 53 << 8, ..v4() }.octets(),
            SteeringReason::OtherPort,
        ),
    ]
}

/// Frames that are told apart by their link header.
pub(super) fn named_links() -> Vec<(&'static str, Vec<u8>, SteeringReason)> {
    vec![
        ("a VLAN with a priority", tagged(v6(), &[(0x8100, 0xe007)]), SteeringReason::Served),
        ("a priority alone", tagged(v6(), &[(0x8100, 0xe000)]), SteeringReason::Served),
        ("a priority, and a VLAN", tagged(v6(), &[(0x8100, 0xe000), (0x8100, 7)]), SteeringReason::Served),
        ("another host's VLAN", tagged(v4(), &[(0x8100, 9)]), SteeringReason::OtherHost),
        ("another VLAN within one", tagged(v4(), &[(0x88a8, 7), (0x8100, 7)]), SteeringReason::OtherHost),
        ("the two the other way round", tagged(v4(), &[(0x88a8, 8), (0x8100, 7)]), SteeringReason::OtherHost),
        ("the interface on top", Packet { to: [2, 0, 0, 0, 0, 9], ..v4() }.octets(), SteeringReason::Served),
        ("another host", Packet { to: [2, 0, 0, 0, 0, 8], ..v4() }.octets(), SteeringReason::OtherHost),
        (
            "another host, first fragment",
            Packet { to: [2, 0, 0, 0, 0, 8], fragment: 0x2000, ..v4() }.octets(),
            SteeringReason::Fragment,
        ),
        (
            "from a group",
            Packet { from: [3, 0, 0, 0, 0, 2], ..v6() }.octets(),
            SteeringReason::ImpossibleSource,
        ),
        (
            "from a group to another port",
            Packet { from: [0xff; 6], destination_port: 22, ..v6() }.octets(),
            SteeringReason::OtherPort,
        ),
        ("link-layer broadcast", Packet { to: [0xff; 6], ..v4() }.octets(), SteeringReason::LinkGroup),
        (
            "link-layer multicast",
            Packet { to: [0x33, 0x33, 0, 0, 0, 1], ..v6() }.octets(),
            SteeringReason::LinkGroup,
        ),
    ]
}

/// A header of `kind` with `units` times 8 bytes behind its first 8.
fn extension(kind: u8, units: u8) -> (u8, Vec<u8>) {
    let mut body = vec![0; 7 + 8 * usize::from(units)];
    body[0] = units;
    (kind, body)
}

/// IPv6 extension headers: what lies behind them decides, and what cannot be told is not for the kernel.
pub(super) fn named_extensions() -> Vec<(&'static str, Vec<u8>, SteeringReason)> {
    let behind = |extensions: Vec<(u8, Vec<u8>)>| Packet { extensions, ..v6() };
    let (hop_by_hop, options) = (extension(0, 0), extension(60, 0));
    // Its length counts 4 bytes, less 2.
    let authentication = (51, [vec![4], vec![0; 22]].concat());
    let tcp = |packet: &Packet| packet.tcp_offset();
    let denied = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xc0);
    let left = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xbf);
    let another = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);
    let (one, long) = (behind(vec![options.clone()]), behind(vec![extension(60, 112)]));
    vec![
        ("hop-by-hop options", behind(vec![hop_by_hop.clone()]).octets(), SteeringReason::ExtensionHeader),
        ("routing header", behind(vec![extension(43, 2)]).octets(), SteeringReason::ExtensionHeader),
        ("destination options", one.octets(), SteeringReason::ExtensionHeader),
        (
            "authentication header",
            behind(vec![authentication.clone()]).octets(),
            SteeringReason::ExtensionHeader,
        ),
        ("mobility header", behind(vec![extension(135, 0)]).octets(), SteeringReason::ExtensionHeader),
        (
            "four headers",
            behind(vec![hop_by_hop.clone(), extension(43, 1), authentication, options.clone()]).octets(),
            SteeringReason::ExtensionHeader,
        ),
        ("five headers", behind(vec![options.clone(); 5]).octets(), SteeringReason::ExtensionHeader),
        ("headers up to where it is looked", long.octets(), SteeringReason::ExtensionHeader),
        ("the same, other port", Packet { destination_port: 22, ..long }.octets(), SteeringReason::OtherPort),
        (
            "headers beyond where it is looked, other port",
            Packet { destination_port: 22, ..behind(vec![extension(60, 113)]) }.octets(),
            SteeringReason::ExtensionHeader,
        ),
        ("header cut off", cut(&one, tcp(&v6()) + 3), SteeringReason::ExtensionHeader),
        ("no port behind it", cut(&one, tcp(&one) + 3), SteeringReason::ExtensionHeader),
        (
            "other address behind a header",
            Packet { destination: another.into(), ..one.clone() }.octets(),
            SteeringReason::OtherAddress,
        ),
        (
            "other address behind five headers",
            Packet { destination: another.into(), ..behind(vec![options.clone(); 5]) }.octets(),
            SteeringReason::OtherAddress,
        ),
        (
            "other port behind a header",
            Packet { destination_port: 22, ..one.clone() }.octets(),
            SteeringReason::OtherPort,
        ),
        ("ICMP behind a header", with(&one, tcp(&v6()), 58), SteeringReason::NotTcp),
        ("encrypted payload behind a header", with(&one, tcp(&v6()), 50), SteeringReason::NotTcp),
        ("UDP to another port behind a header", with(&one, tcp(&v6()), UDP), SteeringReason::NotTcp),
        (
            "UDP to the port of questions behind a header",
            with(&Packet { destination_port: 53, ..one.clone() }, tcp(&v6()), UDP),
            SteeringReason::ExtensionHeader,
        ),
        ("denied client behind a header", from(denied, one.clone()), SteeringReason::Denied),
        ("client that is left, behind a header", from(left, one), SteeringReason::Left),
        (
            "first fragment behind a header",
            behind(vec![options.clone(), fragment_header(0, true)]).octets(),
            SteeringReason::FirstFragment,
        ),
        (
            "header in a first fragment",
            behind(vec![fragment_header(0, true), options.clone()]).octets(),
            SteeringReason::FirstFragment,
        ),
        (
            "later fragment behind a header",
            behind(vec![options, fragment_header(1, true)]).octets(),
            SteeringReason::Fragment,
        ),
        (
            "first fragment of a denied IPv6 client",
            from(denied, behind(vec![fragment_header(0, true)])),
            SteeringReason::Denied,
        ),
        (
            "first fragment of a denied IPv4 client",
            from(Ipv4Addr::new(192, 0, 2, 224), Packet { fragment: 0x2000, ..v4() }),
            SteeringReason::Denied,
        ),
    ]
}

pub(super) fn named_left() -> Vec<(&'static str, Vec<u8>, SteeringReason)> {
    vec![
        ("first client that is left", from(Ipv4Addr::new(192, 0, 2, 128), v4()), SteeringReason::Left),
        (
            "client that is denied within it",
            from(Ipv4Addr::new(192, 0, 2, 224), v4()),
            SteeringReason::Denied,
        ),
        (
            "client that is allowed within that",
            from(Ipv4Addr::new(192, 0, 2, 240), v4()),
            SteeringReason::Served,
        ),
        (
            "IPv6 client that is denied",
            from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xc0), v6()),
            SteeringReason::Denied,
        ),
        (
            "broadcast address within a network that is allowed",
            from(Ipv4Addr::new(192, 0, 2, 255), v4()),
            SteeringReason::ImpossibleSource,
        ),
        ("last client before it", from(Ipv4Addr::new(192, 0, 2, 127), v4()), SteeringReason::Served),
        (
            "IPv6 client that is left",
            from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xbf), v6()),
            SteeringReason::Left,
        ),
        (
            "IPv6 client of the denied prefix, with the same bits as an IPv4 client",
            from(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0xc000, 0x0280), v6()),
            SteeringReason::Denied,
        ),
        (
            "other port of a client that is left",
            from(Ipv4Addr::new(192, 0, 2, 9), Packet { destination_port: 54, ..v4() }),
            SteeringReason::OtherPort,
        ),
        (
            "first fragment of a client that is left",
            from(Ipv4Addr::new(192, 0, 2, 9), Packet { fragment: 0x2000, ..v4() }),
            SteeringReason::Fragment,
        ),
    ]
}

/// A tag, mostly of a VLAN that is served on the outside as on the inside.
fn vlan_tag(random: &mut Random) -> u16 {
    let id = if random.one_in(8) { random.short() } else { random.pick(&[7, 8, 0]) };
    random.short() & 0xe000 | id & 0x1fff
}

/// A frame that mostly makes sense, so that it gets far, then now and then one that something was done to.
pub(super) fn generate(random: &mut Random) -> Vec<u8> {
    let mut packet = if random.one_in(2) { v4() } else { v6() };
    packet.source_port = random.short();
    packet.destination_port = if random.one_in(3) { random.short() } else { random.pick(&PORTS) };
    (packet.seq, packet.ack, packet.flags) = (random.word(), random.word(), random.byte());
    packet.options = vec![random.byte(); 4 * random.below(11)];
    packet.payload = vec![random.byte(); if random.one_in(3) { random.below(1200) } else { 0 }];
    let tags = random.pick(&[0, 0, 0, 1, 1, 2]);
    packet.tags = (0..tags).map(|_| (random.pick(&[0x8100, 0x88a8]), vlan_tag(random))).collect();
    let another = random.byte();
    match &mut packet.destination {
        _ if !random.one_in(10) => {}
        IpAddr::V4(address) => *address = Ipv4Addr::from([192, 0, 2, another]),
        IpAddr::V6(address) => *address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(another)),
    }
    let another = random.byte();
    match &mut packet.source {
        _ if !random.one_in(4) => {}
        IpAddr::V4(address) => *address = Ipv4Addr::from([192, 0, 2, another]),
        IpAddr::V6(address) => *address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(another)),
    }
    if packet.source.is_ipv4() {
        packet.ip_options = vec![1; 4 * if random.one_in(4) { random.below(11) } else { 0 }];
        packet.fragment =
            if random.one_in(8) { random.short() & random.pick(&[0x2000, 0x3fff, 0xffff]) } else { 0 };
    } else if random.one_in(8) {
        packet.extensions = vec![match random.below(3) {
            0 => fragment_header(random.pick(&[0, 0, 0, 1, 0x1fff]), random.one_in(2)),
            1 => extension(random.pick(&[0, 43, 60, 135, 139, 140]), random.pick(&[0, 0, 0, 1, 113])),
            _ => (random.pick(&[51, 50]), vec![0; 7]),
        }];
        while random.one_in(2) {
            packet.extensions.push(extension(random.pick(&[0, 43, 60]), 0));
        }
    }
    let headers = packet.tcp_offset() + 20;
    let mut frame = packet.octets();
    match random.below(16) {
        0 => frame.truncate(SHORTEST + random.below(headers + 1 - SHORTEST)),
        1 => frame[..6].fill(random.byte()),
        6 => frame[6] = random.byte(),
        2 => frame[12..14]
            .copy_from_slice(&random.pick(&[0x0806_u16, 0x0800, 0x86dd, 0x8100, 0x002e]).to_be_bytes()),
        3 => frame[packet.ip_offset()] = random.byte(),
        4 => {
            let protocol = if random.one_in(2) { UDP } else { random.byte() };
            frame[packet.ip_offset() + if packet.source.is_ipv4() { 9 } else { 6 }] = protocol;
        }
        5 => {
            for _ in 0..=random.below(4) {
                let at = random.below(headers);
                frame[at] ^= 1 << random.below(8);
            }
        }
        _ => {}
    }
    frame
}
