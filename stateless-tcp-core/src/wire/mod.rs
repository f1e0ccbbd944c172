//! Frames as octets: a received frame is checked once and read into a [`Segment`]; a reply is written octet by octet.
//!
//! One table of offsets ([`offset`]) serves every reader. [`ethernet`], [`ipv4`], [`ipv6`] and [`tcp`] read and write slices;
//! [`headers`] and [`control_segment`] do the same in loops that the verifier can follow. This module knows nothing of rules,
//! rings or services.

pub mod bytes;
pub mod checksum;
pub mod control_segment;
pub mod ethernet;
pub mod headers;
pub mod ipv4;
pub mod ipv6;
pub mod offset;
pub mod tcp;

use crate::outcome::Outcome;
use crate::steering::{Layout, Version};
use crate::tcp::output::TxSegment;
use crate::tcp::segment::{FourTuple, Segment};
use core::ops::Range;

/// Octets of headers that a reply can have at the most: Ethernet with two tags, IPv6, TCP with its options.
pub const MAX_HEADERS: usize = ethernet::MAX_HEADER + ipv6::HEADER + tcp::HEADER + tcp::MAX_OPTIONS;

/// The addresses of a datagram as its header holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// RFC 791.
    V4 {
        /// Sender.
        source: [u8; 4],
        /// Receiver.
        destination: [u8; 4],
    },
    /// RFC 8200.
    V6 {
        /// Sender.
        source: [u8; 16],
        /// Receiver.
        destination: [u8; 16],
    },
}

/// The same connection from the other side.
#[must_use]
pub const fn swapped(tuple: FourTuple) -> FourTuple {
    let FourTuple { server, client, server_port, client_port } = tuple;
    FourTuple { server: client, client: server, server_port: client_port, client_port: server_port }
}

impl Network {
    /// From the server to the client, and how long that header is.
    #[inline]
    fn back(tuple: &FourTuple) -> (Self, usize) {
        if let (Some(source), Some(destination)) = (tuple.server.ipv4(), tuple.client.ipv4()) {
            return (Self::V4 { source, destination }, ipv4::HEADER);
        }
        (Self::V6 { source: tuple.server.0, destination: tuple.client.0 }, ipv6::HEADER)
    }
}

/// A whole segment with right checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its header fields.
    pub segment: Segment,
    /// Offset of its payload in the frame.
    payload: usize,
    /// The checksum field holds the sum of the pseudo-header alone: sent by a local kernel that left the rest to
    /// hardware which, on a virtual link, does not exist.
    pub partial_checksum: bool,
}

impl Received {
    /// Range of the payload in the frame.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        self.payload..self.payload + usize::from(self.segment.length)
    }
}

/// Reads the frame whose headers begin where `layout` says.
///
/// # Errors
/// The outcome that names the first field that is not right.
#[inline]
pub fn parse(frame: &[u8], layout: &Layout) -> Result<Received, Outcome> {
    let (network, transport) = match layout.version {
        Version::V4 => ipv4::parse(frame, layout)?,
        Version::V6 => ipv6::parse(frame, layout)?,
    };
    tcp::parse(frame, network, transport)
}

/// What all replies to one frame have in common: link header and addresses, swapped.
#[derive(Clone, Debug)]
pub struct Reply {
    link: ethernet::Header,
    tuple: FourTuple,
}

impl Reply {
    /// The way back to where `frame` came from, over the same VLAN.
    #[inline]
    #[must_use]
    pub fn to(frame: &[u8], layout: &Layout, tuple: FourTuple) -> Self {
        Self { link: ethernet::Header::reply(&frame[..layout.network]), tuple }
    }

    /// The way from `tuple`'s client to its server, which the interface with this hardware address is to take for a frame
    /// that came to it: for a client that is not there.
    #[must_use]
    pub fn towards(tuple: &FourTuple, address: [u8; 6]) -> Self {
        let version = if tuple.server.ipv4().is_some() { Version::V4 } else { Version::V6 };
        Self { link: ethernet::Header::within(address, version), tuple: swapped(*tuple) }
    }

    /// The connection.
    #[must_use]
    pub fn tuple(&self) -> &FourTuple {
        &self.tuple
    }

    /// Writes one segment, headers and checksums complete, at the beginning of `frame`, and says how long it is.
    ///
    /// `frame` has room for [`MAX_HEADERS`] and the payload.
    #[inline]
    pub fn emit(&self, frame: &mut [u8], outgoing: &TxSegment, payload: &[u8]) -> usize {
        let link = self.link.as_slice();
        let segment = tcp::header(outgoing) + payload.len();
        let (network, header) = Network::back(&self.tuple);
        let length = link.len() + header + segment;
        let (front, transport) = frame[..length].split_at_mut(link.len() + header);
        front[..link.len()].copy_from_slice(link);
        let datagram = &mut front[link.len()..];
        match network {
            Network::V4 { source, destination } => ipv4::emit(datagram, source, destination, segment),
            Network::V6 { source, destination } => ipv6::emit(datagram, source, destination, segment),
        }
        tcp::emit(transport, &self.tuple, outgoing, payload, checksum::pseudo_header(&network, segment));
        length
    }
}
