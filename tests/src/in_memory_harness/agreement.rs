//! Comparison: the code under test reads frames and options as an independent reader does.

use std::net::IpAddr;

use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::steering::{ClientPolicy, Steering, steer};
use stateless_tcp_core::tcp::segment::{Address, FastOpen, Options, Timestamps};
use stateless_tcp_core::wire;

use super::{DNS_PORT, HTTP_PORT};
use crate::{
    packet::{Packet, checksum},
    topology::SERVERS,
};

/// The addresses and ports that the harness serves.
#[derive(Debug)]
pub struct HarnessSteering;

impl Steering for HarnessSteering {
    fn address(&self, address: &Address) -> bool {
        SERVERS.contains(&IpAddr::from(*address))
    }

    fn port(&self, port: u16) -> bool {
        [DNS_PORT, HTTP_PORT].contains(&port)
    }

    fn datagrams(&self) -> Option<u16> {
        None
    }

    fn treatment(&self, _: &Address) -> ClientPolicy {
        ClientPolicy::Serve
    }

    fn limits_segments(&self) -> bool {
        false
    }

    fn affords(&self, _: &Address, _: PacketKind) -> bool {
        true
    }
}

/// The segment in `frame` if its checksums are right, and whether its TCP checksum is a partial one: the sum of the
/// pseudo-header, the rest left to hardware.
pub fn intact(frame: &[u8]) -> Option<(Packet, bool)> {
    let packet = Packet::parse(frame)?;
    if packet.intact {
        return Some((packet, false));
    }
    let field = packet.tcp_offset() + 16..packet.tcp_offset() + 18;
    let length = 20 + packet.options.len() + packet.payload.len();
    let pseudo_header = packet.pseudo_header(length);
    if frame[field.clone()] != (!checksum(&[&pseudo_header])).to_be_bytes() {
        return None;
    }
    let mut completed = frame.to_vec();
    completed[field.clone()].fill(0);
    let whole = checksum(&[&pseudo_header, &completed[packet.tcp_offset()..][..length]]);
    completed[field].copy_from_slice(&whole.to_be_bytes());
    Packet::parse(&completed).filter(|packet| packet.intact).map(|packet| (packet, true))
}

/// Makes the checksums right, as far as there is a segment.
pub fn repair(frame: &mut [u8]) {
    let Some(packet) = Packet::parse(frame) else { return };
    if packet.source.is_ipv4() {
        let header = packet.ip_offset()..packet.ip_offset() + 20 + packet.ip_options.len();
        let field = header.start + 10..header.start + 12;
        frame[field.clone()].fill(0);
        let sum = checksum(&[&frame[header]]);
        frame[field].copy_from_slice(&sum.to_be_bytes());
    }
    let segment = packet.tcp_offset()..packet.tcp_offset() + 20 + packet.options.len() + packet.payload.len();
    let field = segment.start + 16..segment.start + 18;
    frame[field.clone()].fill(0);
    let sum = checksum(&[&packet.pseudo_header(segment.len()), &frame[segment]]);
    frame[field].copy_from_slice(&sum.to_be_bytes());
}

/// Asserts that a frame is read alike by the code under test and by [`Packet::parse`].
pub fn assert_segment(frame: &[u8]) {
    let expected = intact(frame);
    let parsed = steer(frame, &HarnessSteering).ok().map(|layout| (layout, wire::parse(frame, &layout)));
    match (&parsed, &expected) {
        (Some((layout, Ok(received))), Some((packet, partial))) => {
            let segment = &received.segment;
            assert_eq!((layout.network, layout.transport), (packet.ip_offset(), packet.tcp_offset()));
            assert_eq!(received.partial_checksum, *partial);
            assert_eq!(IpAddr::from(segment.tuple.client), packet.source);
            assert_eq!(IpAddr::from(segment.tuple.server), packet.destination);
            assert_eq!(segment.tuple.client_port, packet.source_port);
            assert_eq!(segment.tuple.server_port, packet.destination_port);
            assert_eq!((segment.seq, segment.ack, segment.window), (packet.seq, packet.ack, packet.window));
            assert_eq!(segment.flags.0 & 0x3f, packet.flags & 0x3f);
            assert_eq!(Some(segment.options), options(&packet.options));
            assert_eq!(frame[received.payload()], packet.payload);
            assert_eq!(usize::from(segment.length), packet.payload.len());
        }
        (Some((_, Ok(received))), None) => panic!("{received:?} of no whole segment: {frame:02x?}"),
        (None | Some((_, Err(_))), Some((packet, _))) => {
            assert!(!is_served(frame, packet), "refused ({parsed:?}): {packet}");
        }
        (None | Some((_, Err(_))), None) => {}
    }
}

/// Asserts that the options are read as written down here once more.
pub fn assert_options(bytes: &[u8]) {
    assert_eq!(Options::parse(bytes).ok(), options(bytes), "{bytes:02x?}");
}

/// Whether nothing is wrong with a segment that was read.
fn is_served(frame: &[u8], packet: &Packet) -> bool {
    let version = frame[packet.ip_offset()] >> 4;
    SERVERS.contains(&packet.destination)
        && [DNS_PORT, HTTP_PORT].contains(&packet.destination_port)
        && version == if packet.source.is_ipv4() { 4 } else { 6 }
        && packet.tags.len() <= 2
        && packet.extensions.is_empty()
        && !is_fragment(packet)
        && !is_mapped(packet.source)
        && [packet.to, packet.from].iter().all(|link_address| link_address[0] & 1 == 0)
        && options(&packet.options).is_some()
}

/// Whether an IPv6 address is for use within a host only (RFC 4291 2.5.5.2).
fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// Whether more fragments follow, or this one is not the first (RFC 791 3.1).
pub fn is_fragment(packet: &Packet) -> bool {
    packet.fragment & 0x3fff != 0
}

/// RFC 9293 3.2: kind 0 ends, kind 1 stands alone, all others have a length that counts kind and length too.
fn options(bytes: &[u8]) -> Option<Options> {
    let mut options = Options::default();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != 0 {
        if bytes[at] == 1 {
            at += 1;
            continue;
        }
        let length = usize::from(*bytes.get(at + 1)?);
        if length < 2 || at + length > bytes.len() {
            return None;
        }
        let word =
            |offset: usize| u32::from_be_bytes(bytes[at + offset..][..4].try_into().expect("4 octets"));
        match (bytes[at], length) {
            (2, 4) => options.mss = Some(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])),
            (8, 10) => options.timestamps = Some(Timestamps { value: word(2), echo: word(6) }),
            (2 | 8, _) => return None,
            (34, 2) => options.fast_open = Some(FastOpen::Request),
            (34, 10) => {
                let cookie = bytes[at + 2..][..8].try_into().expect("8 octets");
                options.fast_open = Some(FastOpen::Cookie(cookie));
            }
            // RFC 7413 2, 4.1.1: others are ignored.
            (34, 6 | 8 | 12 | 14 | 16 | 18) => options.fast_open = Some(FastOpen::Foreign),
            _ => {}
        }
        at += length;
    }
    Some(options)
}
