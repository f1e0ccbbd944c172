//! The IPv6 header (RFC 8200 section 3), with nothing between it and TCP.

use super::Network;
use super::ipv4::{array, put};
use super::offset::HOPS;
use super::offset::ipv6 as field;
use crate::outcome::Outcome;
use crate::steering::Layout;
use crate::tcp::segment::Address;
use core::ops::Range;

/// Octets of the header.
pub const HEADER: usize = field::HEADER;

const NEXT_HEADER_TCP: u8 = 6;

/// Checks the header that `layout` found, and says whose segment stands where in the frame.
#[inline]
pub(super) fn parse(frame: &[u8], layout: &Layout) -> Result<(Network, Range<usize>), Outcome> {
    // Steering has read the ports behind it, so the header is all there.
    let header = &frame[layout.network..layout.transport];
    let payload = usize::from(u16::from_be_bytes(array(header, field::PAYLOAD_LENGTH)));
    let end = layout.transport + payload;
    if end > frame.len() {
        return Err(Outcome::IpLength);
    }
    let source = array(header, field::SOURCE);
    let destination = array(header, field::DESTINATION);
    // Taken for an IPv4 address, it would make an IPv4 datagram of the reply, behind a link header that says IPv6.
    if Address(source).ipv4().is_some() || Address(destination).ipv4().is_some() {
        return Err(Outcome::Martian);
    }
    Ok((Network::V6 { source, destination }, layout.transport..end))
}

/// Writes the header of a datagram that carries `length` octets of TCP.
#[inline]
pub(super) fn emit(header: &mut [u8], source: [u8; 16], destination: [u8; 16], length: usize) {
    #[expect(clippy::cast_possible_truncation, reason = "a segment is at most an MSS and its header")]
    let payload = length as u16;
    header.fill(0);
    header[field::VERSION] = field::VERSION_6;
    put(header, field::PAYLOAD_LENGTH, payload.to_be_bytes());
    header[field::NEXT_HEADER] = NEXT_HEADER_TCP;
    header[field::HOP_LIMIT] = HOPS;
    put(header, field::SOURCE, source);
    put(header, field::DESTINATION, destination);
}
