//! Segments as IPv4 packets.

use std::net::{IpAddr, Ipv4Addr};

use stateless_tcp_core::tcp::segment::{Flags, Timestamps};

use crate::{packet::Packet as Frame, sim::packet::SimSegment};

/// The client's address.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The servers'.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Theirs, whatever the servers think it is: so each client's port is one connection's.
pub(super) const SERVER_PORT: u16 = 53;

/// Bytes of an Ethernet header, which a TUN device's packets lack.
const ETHERNET: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// Option kinds (RFC 9293 section 3.2, RFC 7323 section 3.2).
const END: u8 = 0;
const NOTHING: u8 = 1;
const MSS: u8 = 2;
const TIMESTAMPS: u8 = 8;

/// A client's segment; none if the bytes are no TCP packet (the kernel sends router solicitations and the like).
pub(super) fn read(bytes: &[u8]) -> Option<SimSegment> {
    let mut frame = vec![0; ETHERNET - ETHERTYPE_IPV4.len()];
    frame.extend(ETHERTYPE_IPV4);
    frame.extend(bytes);
    let frame = Frame::parse(&frame)?;
    let (mss, timestamps) = options(&frame.options);
    let none = SimSegment::syn(frame.source_port, frame.seq, 0, timestamps);
    Some(SimSegment {
        ack: frame.ack,
        flags: Flags(frame.flags),
        window: frame.window,
        mss,
        length: u16::try_from(frame.payload.len()).expect("an IPv4 packet's"),
        bytes: frame.payload,
        ..none
    })
}

fn options(mut bytes: &[u8]) -> (Option<u16>, Option<Timestamps>) {
    let (mut mss, mut timestamps) = (None, None);
    while let Some((&kind, rest)) = bytes.split_first() {
        bytes = match kind {
            END => return (mss, timestamps),
            NOTHING => rest,
            _ => {
                let (option, behind) = bytes.split_at(usize::from(rest[0]));
                match (kind, &option[2..]) {
                    (MSS, &[a, b]) => mss = Some(u16::from_be_bytes([a, b])),
                    (TIMESTAMPS, words) if words.len() == 8 => {
                        let word = |at| u32::from_be_bytes(std::array::from_fn(|index| words[at + index]));
                        timestamps = Some(Timestamps { value: word(0), echo: word(4) });
                    }
                    _ => {}
                }
                behind
            }
        };
    }
    (mss, timestamps)
}

/// A server's segment as a packet.
pub(super) fn write(packet: &SimSegment) -> Vec<u8> {
    let mut frame = Frame::new(IpAddr::V4(SERVER), SERVER_PORT, IpAddr::V4(CLIENT), packet.port);
    frame.seq = packet.seq;
    frame.ack = packet.ack;
    frame.window = packet.window;
    frame.flags = packet.flags.0;
    if let Some(mss) = packet.mss {
        frame.options.extend([MSS, 4]);
        frame.options.extend(mss.to_be_bytes());
    }
    if let Some(Timestamps { value, echo }) = packet.timestamps {
        frame.options.extend([NOTHING, NOTHING, TIMESTAMPS, 10]);
        frame.options.extend(value.to_be_bytes());
        frame.options.extend(echo.to_be_bytes());
    }
    frame.payload.clone_from(&packet.bytes);
    frame.unpadded().split_off(ETHERNET)
}
