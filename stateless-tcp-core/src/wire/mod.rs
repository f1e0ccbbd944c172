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
use crate::tcp::segment::{Address, FourTuple, Segment};
use core::ops::Range;

/// Octets of headers that a reply can have at the most: Ethernet with two tags, IPv6, TCP with its options.
pub const MAX_HEADERS: usize = ethernet::MAX_HEADER + ipv6::HEADER + tcp::HEADER + tcp::MAX_OPTIONS;

/// The same connection from the other side.
#[must_use]
pub const fn swapped(tuple: FourTuple) -> FourTuple {
    let FourTuple { server, client, server_port, client_port } = tuple;
    FourTuple { server: client, client: server, server_port: client_port, client_port: server_port }
}

/// Sender and receiver of a datagram.
struct Addresses {
    source: Address,
    destination: Address,
}

/// A whole segment with right checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its header fields.
    pub segment: Segment,
    /// Octets of its link header.
    link: usize,
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

    /// The way back to where `frame` came from.
    #[inline]
    #[must_use]
    pub fn reply(&self, frame: &[u8]) -> Reply {
        Reply { link: ethernet::Header::reply(frame, self.link), tuple: self.segment.tuple }
    }
}

/// Reads the frame whose headers begin where `layout` says.
///
/// # Errors
/// The outcome that names the first field that is not right.
#[inline]
pub fn parse(frame: &[u8], layout: &Layout) -> Result<Received, Outcome> {
    // Two calls, since where addresses of two kinds meet the compiler takes them apart octet by octet.
    match layout.version {
        Version::V4 => {
            let (addresses, end) = ipv4::parse(frame, layout)?;
            tcp::parse(frame, layout, &addresses, end)
        }
        Version::V6 => {
            let (addresses, end) = ipv6::parse(frame, layout)?;
            tcp::parse(frame, layout, &addresses, end)
        }
    }
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
        Self { link: ethernet::Header::reply(frame, layout.network), tuple }
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
        let segment = tcp::header(outgoing) + payload.len();
        let datagram = self.link.emit(frame);
        let addresses = (self.tuple.server.ipv4(), self.tuple.client.ipv4());
        let (network, transport) = if let (Some(source), Some(destination)) = addresses {
            let (header, transport) = first(datagram);
            *header = ipv4::emit(source, destination, segment);
            (ipv4::HEADER, transport)
        } else {
            let (header, transport) = first(datagram);
            *header = ipv6::emit(&self.tuple.server, &self.tuple.client, segment);
            (ipv6::HEADER, transport)
        };
        tcp::emit(&mut transport[..segment], &self.tuple, outgoing, payload);
        self.link.length() + network + segment
    }
}

/// The `N` bytes of a field of a header, whose length the compiler knows: it removes the checks.
#[inline]
fn array<const N: usize, const HEADER: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&header[at..at + N]);
    array
}

/// Writes the bytes of a field, likewise.
#[inline]
fn put<const N: usize, const HEADER: usize>(header: &mut [u8; HEADER], at: usize, value: [u8; N]) {
    header[at..at + N].copy_from_slice(&value);
}

/// The first `N` bytes of a frame, and the rest.
///
/// # Panics
/// There are fewer.
#[inline]
fn first<const N: usize>(octets: &mut [u8]) -> (&mut [u8; N], &mut [u8]) {
    octets.split_first_chunk_mut().expect("a frame has room for all headers")
}
