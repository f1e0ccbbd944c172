//! UDP datagrams built and read independently of the code under test, in frames as [`crate::packet`] has them.

use std::net::IpAddr;

use crate::packet::checksum;
use crate::topology::{CLIENT_MAC, SERVER_MAC};

const UDP: u8 = 17;

/// The content of the checksum field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The right one.
    Whole,
    /// The sum of the pseudo-header, as a local sender leaves it to a card.
    Partial,
    /// 0: none was made.
    None,
    /// This, added to the right one.
    Wrong(u16),
}

/// One datagram in its Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// VLAN tags, outermost first: (TPID, TCI).
    pub tags: Vec<(u16, u16)>,
    /// IP source.
    pub source: IpAddr,
    /// UDP source port.
    pub source_port: u16,
    /// IP destination, of the same family.
    pub destination: IpAddr,
    /// UDP destination port.
    pub destination_port: u16,
    /// Payload.
    pub payload: Vec<u8>,
    /// The checksum; in a datagram that was read, `Wrong` by an unsaid number.
    pub checksum: Checksum,
}

impl Datagram {
    /// From the client's hardware address to the server's.
    pub fn new(
        source: IpAddr,
        source_port: u16,
        destination: IpAddr,
        destination_port: u16,
        payload: Vec<u8>,
    ) -> Self {
        let (to, from, tags, checksum) = (SERVER_MAC, CLIENT_MAC, Vec::new(), Checksum::Whole);
        Self { to, from, tags, source, source_port, destination, destination_port, payload, checksum }
    }

    /// Offset of the IP header.
    pub fn ip_offset(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Offset of the UDP header.
    pub fn udp_offset(&self) -> usize {
        self.ip_offset() + if self.source.is_ipv4() { 20 } else { 40 }
    }

    /// The frame.
    pub fn octets(&self) -> Vec<u8> {
        let mut frame = [self.to, self.from].concat();
        for (kind, tag) in &self.tags {
            frame.extend([kind.to_be_bytes(), tag.to_be_bytes()].concat());
        }
        let length = short(8 + self.payload.len());
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0]);
                let mut header = vec![0x45, 0];
                header.extend(short(28 + self.payload.len()));
                header.extend([0x12, 0x34, 0x40, 0, 64, UDP, 0, 0]);
                header.extend([source.octets(), destination.octets()].concat());
                let sum = checksum(&[&header]).to_be_bytes();
                header[10..12].copy_from_slice(&sum);
                frame.extend(header);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(length);
                frame.extend([UDP, 64]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            _ => panic!("{} and {} are of two families", self.source, self.destination),
        }
        let mut datagram = [self.source_port.to_be_bytes(), self.destination_port.to_be_bytes()].concat();
        datagram.extend(length);
        datagram.extend([0, 0]);
        datagram.extend(&self.payload);
        let pseudo_header = self.pseudo_header();
        let whole = match checksum(&[&pseudo_header, &datagram]) {
            0 => 0xffff,
            sum => sum,
        };
        let sum = match self.checksum {
            Checksum::Whole => whole,
            Checksum::Partial => !checksum(&[&pseudo_header]),
            Checksum::None => 0,
            Checksum::Wrong(by) => whole.wrapping_add(by),
        };
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        frame.extend(datagram);
        frame
    }

    /// Reads a frame without IP options or extension headers; none if it holds no datagram, lengths that do not fit, or an
    /// IPv4 header whose checksum is wrong.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mut tags = Vec::new();
        let mut at = 12;
        while [0x8100, 0x88a8].contains(&word(frame, at)?) {
            tags.push((word(frame, at)?, word(frame, at + 2)?));
            at += 4;
        }
        let ip = frame.get(at + 2..)?;
        let (source, destination, protocol, udp): (IpAddr, IpAddr, u8, &[u8]) = match word(frame, at)? {
            0x0800 if ip.first() == Some(&0x45) && checksum(&[ip.get(..20)?]) == 0 => {
                let address = |at| Some(ip.get(at..at + 4)?.first_chunk::<4>().copied()?.into());
                (address(12)?, address(16)?, ip[9], ip.get(20..usize::from(word(ip, 2)?))?)
            }
            0x86dd if ip.first()? >> 4 == 6 => {
                let address = |at| Some(ip.get(at..at + 16)?.first_chunk::<16>().copied()?.into());
                (address(8)?, address(24)?, ip[6], ip.get(40..40 + usize::from(word(ip, 4)?))?)
            }
            _ => return None,
        };
        if protocol != UDP || usize::from(word(udp, 4)?) != udp.len() {
            return None;
        }
        let mut datagram = Self {
            tags,
            source_port: word(udp, 0)?,
            destination_port: word(udp, 2)?,
            ..Self::new(source, 0, destination, 0, udp.get(8..)?.to_vec())
        };
        datagram.to.copy_from_slice(&frame[..6]);
        datagram.from.copy_from_slice(&frame[6..12]);
        let pseudo_header = datagram.pseudo_header();
        datagram.checksum = match word(udp, 6)? {
            0 => Checksum::None,
            _ if checksum(&[&pseudo_header, udp]) == 0 => Checksum::Whole,
            sum if sum == !checksum(&[&pseudo_header]) => Checksum::Partial,
            _ => Checksum::Wrong(0),
        };
        Some(datagram)
    }

    /// RFC 768, RFC 8200 section 8.1.
    fn pseudo_header(&self) -> Vec<u8> {
        let mut bytes = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => [source.octets(), destination.octets()].concat(),
            (IpAddr::V6(source), IpAddr::V6(destination)) => [source.octets(), destination.octets()].concat(),
            _ => panic!("{} and {} are of two families", self.source, self.destination),
        };
        bytes.extend([0, UDP]);
        bytes.extend(short(8 + self.payload.len()));
        bytes
    }
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("a short datagram").to_be_bytes()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.first_chunk().copied().map(u16::from_be_bytes)
}
