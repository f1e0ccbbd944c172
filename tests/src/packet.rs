//! Frames built and read independently of the code under test: Ethernet, VLAN tags, IPv4 with options, IPv6 with
//! extension headers, TCP with options.
//!
//! [`Packet::octets`] fills in every length and checksum. A test that wants a wrong one patches the bytes afterwards,
//! at the offsets that [`Packet::ip_offset`] and [`Packet::tcp_offset`] give.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::topology::{CLIENT_MAC, SERVER_MAC};

/// Flag bits of RFC 9293 3.1.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;
}

/// The option by which a client of the transcripts offers its MSS (RFC 9293 3.7.1).
pub const MSS_1460: [u8; 4] = [2, 4, 0x05, 0xb4];

const TCP: u8 = 6;
const VLAN_TAGS: [u16; 2] = [0x8100, 0x88a8];
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Hop-by-hop, routing, fragment, destination options (RFC 8200 4.1).
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];

/// One TCP packet in its Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// VLAN tags, outermost first: (TPID, TCI).
    pub tags: Vec<(u16, u16)>,
    /// IP source.
    pub source: IpAddr,
    /// IP destination, of the same family.
    pub destination: IpAddr,
    /// IPv4 options, a multiple of 4 bytes.
    pub ip_options: Vec<u8>,
    /// IPv6 extension headers in order: (type, the header after its next-header byte).
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// IPv4 identification.
    pub identification: u16,
    /// IPv4 flags and fragment offset.
    pub fragment: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// TCP source port.
    pub source_port: u16,
    /// TCP destination port.
    pub destination_port: u16,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK.
    pub ack: u32,
    /// See [`flags`].
    pub flags: u8,
    /// SEG.WND.
    pub window: u16,
    /// TCP options, a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// Payload.
    pub payload: Vec<u8>,
    /// In a packet that was read: whether the IPv4 header's and the TCP checksum are right.
    pub intact: bool,
}

impl Packet {
    /// A packet from the client's hardware address to the server's, all else empty.
    pub fn new(source: IpAddr, source_port: u16, destination: IpAddr, destination_port: u16) -> Self {
        Self {
            to: SERVER_MAC,
            from: CLIENT_MAC,
            tags: Vec::new(),
            source,
            destination,
            ip_options: Vec::new(),
            extensions: Vec::new(),
            identification: 0x1234,
            fragment: 0x4000,
            ttl: 64,
            source_port,
            destination_port,
            seq: 0,
            ack: 0,
            flags: 0,
            window: 65_535,
            options: Vec::new(),
            payload: Vec::new(),
            intact: true,
        }
    }

    /// Whether exactly these flags are set.
    pub fn is(&self, flags: u8) -> bool {
        self.flags == flags
    }

    /// SEG.LEN: payload, and one each for SYN and FIN (RFC 9293 3.4).
    pub fn sequence_length(&self) -> u32 {
        let controls = u32::from(self.flags & flags::SYN != 0) + u32::from(self.flags & flags::FIN != 0);
        u32::try_from(self.payload.len()).expect("a payload fits") + controls
    }

    /// TSval and TSecr (RFC 7323 section 3.2).
    pub fn timestamps(&self) -> Option<(u32, u32)> {
        let mut rest = &self.options[..];
        loop {
            match rest {
                [1, after @ ..] => rest = after,
                [8, 10, fields @ ..] => {
                    let word = |at| array(fields, at).map(u32::from_be_bytes);
                    return Some((word(0)?, word(4)?));
                }
                [_, length, ..] => rest = rest.get(usize::from(*length).max(2)..)?,
                _ => return None,
            }
        }
    }

    /// Offset of the IP header in the frame.
    pub fn ip_offset(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Offset of the TCP header in the frame.
    pub fn tcp_offset(&self) -> usize {
        let extensions: usize = self.extensions.iter().map(|(_, body)| 1 + body.len()).sum();
        self.ip_offset() + if self.source.is_ipv4() { 20 + self.ip_options.len() } else { 40 + extensions }
    }

    /// The frame, padded to Ethernet's 60 bytes.
    pub fn octets(&self) -> Vec<u8> {
        let mut frame = self.unpadded();
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// The frame as it is, which may be shorter than Ethernet allows.
    pub fn unpadded(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut frame = [self.to, self.from].concat();
        for (tpid, tci) in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ETHERTYPE_IPV4.to_be_bytes());
                frame.extend(self.ipv4(source, destination, segment.len()));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(ETHERTYPE_IPV6.to_be_bytes());
                frame.extend(self.ipv6(source, destination, segment.len()));
            }
            mixed => panic!("addresses of two families: {mixed:?}"),
        }
        frame.extend(segment);
        frame
    }

    /// Reads a frame; `None` if it holds no whole TCP packet (or only a later fragment of one).
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mut packet =
            Self::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        packet.to = array(frame, 0)?;
        packet.from = array(frame, 6)?;
        let mut at = 12;
        while VLAN_TAGS.contains(&short(frame, at)?) {
            packet.tags.push((short(frame, at)?, short(frame, at + 2)?));
            at += 4;
        }
        let ip = frame.get(at + 2..)?;
        let segment = match short(frame, at)? {
            ETHERTYPE_IPV4 => packet.read_ipv4(ip)?,
            ETHERTYPE_IPV6 => packet.read_ipv6(ip)?,
            _ => return None,
        };
        packet.read_tcp(segment)?;
        Some(packet)
    }

    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr, segment: usize) -> Vec<u8> {
        assert_eq!(self.ip_options.len() % 4, 0, "IPv4 options come in words of 4 octets");
        let length = 20 + self.ip_options.len();
        let mut header = vec![0x40 | u8::try_from(length / 4).expect("at most 60 octets"), 0];
        header.extend(u16::try_from(length + segment).expect("a packet fits").to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, TCP, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(&self.ip_options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn ipv6(&self, source: Ipv6Addr, destination: Ipv6Addr, segment: usize) -> Vec<u8> {
        let first = self.extensions.first().map_or(TCP, |(kind, _)| *kind);
        let mut chain = Vec::new();
        for (index, (_, body)) in self.extensions.iter().enumerate() {
            chain.push(self.extensions.get(index + 1).map_or(TCP, |(kind, _)| *kind));
            chain.extend(body);
        }
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(u16::try_from(chain.len() + segment).expect("a packet fits").to_be_bytes());
        header.extend([first, self.ttl]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(chain);
        header
    }

    fn segment(&self) -> Vec<u8> {
        assert_eq!(self.options.len() % 4, 0, "TCP options come in words of 4 octets");
        let words = u8::try_from(5 + self.options.len() / 4).expect("at most 60 octets");
        let mut segment = Vec::with_capacity(20 + self.options.len() + self.payload.len());
        segment.extend(self.source_port.to_be_bytes());
        segment.extend(self.destination_port.to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([words << 4, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(&self.options);
        segment.extend(&self.payload);
        let sum = checksum(&[&self.pseudo_header(segment.len()), &segment]);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        segment
    }

    /// The pseudo-header of the checksum of a segment of `length` bytes (RFC 9293 3.1, RFC 8200 8.1).
    pub fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let mut header = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => [source.octets(), destination.octets()].concat(),
            (IpAddr::V6(source), IpAddr::V6(destination)) => [source.octets(), destination.octets()].concat(),
            mixed => panic!("addresses of two families: {mixed:?}"),
        };
        header.extend(u32::try_from(length).expect("a segment fits").to_be_bytes());
        header.extend([0, 0, 0, TCP]);
        header
    }

    fn read_ipv4<'frame>(&mut self, ip: &'frame [u8]) -> Option<&'frame [u8]> {
        let header = ip.get(..usize::from(ip.first()? & 0x0f) * 4).filter(|header| header.len() >= 20)?;
        self.identification = short(ip, 4)?;
        self.fragment = short(ip, 6)?;
        (self.ttl, self.ip_options) = (ip[8], header[20..].to_vec());
        self.source = IpAddr::from(array::<4>(ip, 12)?);
        self.destination = IpAddr::from(array::<4>(ip, 16)?);
        self.intact = checksum(&[header]) == 0;
        if ip[9] != TCP || self.fragment & 0x1fff != 0 {
            return None;
        }
        ip.get(header.len()..usize::from(short(ip, 2)?))
    }

    fn read_ipv6<'frame>(&mut self, ip: &'frame [u8]) -> Option<&'frame [u8]> {
        self.ttl = *ip.get(7)?;
        self.source = IpAddr::from(array::<16>(ip, 8)?);
        self.destination = IpAddr::from(array::<16>(ip, 24)?);
        self.fragment = 0;
        let mut rest = ip.get(40..40 + usize::from(short(ip, 4)?))?;
        let mut kind = ip[6];
        while EXTENSIONS.contains(&kind) {
            let length = if kind == 44 { 8 } else { 8 + 8 * usize::from(*rest.get(1)?) };
            self.extensions.push((kind, rest.get(1..length)?.to_vec()));
            if kind == 44 && short(rest, 2)? & 0xfff8 != 0 {
                return None;
            }
            kind = rest[0];
            rest = &rest[length..];
        }
        (kind == TCP).then_some(rest)
    }

    fn read_tcp(&mut self, segment: &[u8]) -> Option<()> {
        self.source_port = short(segment, 0)?;
        self.destination_port = short(segment, 2)?;
        self.seq = u32::from_be_bytes(array(segment, 4)?);
        self.ack = u32::from_be_bytes(array(segment, 8)?);
        let length = usize::from(*segment.get(12)? >> 4) * 4;
        self.flags = *segment.get(13)?;
        self.window = short(segment, 14)?;
        self.options = segment.get(20..length)?.to_vec();
        self.payload = segment.get(length..)?.to_vec();
        self.intact &= checksum(&[&self.pseudo_header(segment.len()), segment]) == 0;
        Some(())
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (flags::SYN, "SYN"),
            (flags::FIN, "FIN"),
            (flags::RST, "RST"),
            (flags::PSH, "PSH"),
            (flags::ACK, "ACK"),
        ];
        let names: Vec<_> =
            names.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name).collect();
        let (from, to) = ((self.source, self.source_port), (self.destination, self.destination_port));
        write!(
            f,
            "{}#{} > {}#{} {} seq {} ack {} len {} win {}",
            from.0,
            from.1,
            to.0,
            to.1,
            names.join(","),
            self.seq,
            self.ack,
            self.payload.len(),
            self.window
        )
    }
}

/// The Internet checksum (RFC 1071) of parts that each begin at an even byte.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}
