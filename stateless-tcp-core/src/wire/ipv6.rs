//! The IPv6 header (RFC 8200 section 3), with nothing between it and TCP.

use super::offset::HOPS;
use super::offset::ipv6 as field;
use super::{Addresses, array, put};
use crate::outcome::Outcome;
use crate::steering::Layout;
use crate::tcp::segment::Address;

/// Octets of the header.
pub const HEADER: usize = field::HEADER;

const NEXT_HEADER_TCP: u8 = 6;

/// Checks the header that `layout` found, and returns its addresses and the end of its segment in the frame.
#[inline]
pub(super) fn parse(frame: &[u8], layout: &Layout) -> Result<(Addresses, usize), Outcome> {
    // Steering has read the ports behind it, so the header is all there.
    let header = &frame[layout.network..layout.transport];
    let Some(header) = header.first_chunk::<HEADER>() else { return Err(Outcome::IpLength) };
    let payload = usize::from(u16::from_be_bytes(array(header, field::PAYLOAD_LENGTH)));
    let end = layout.transport + payload;
    if end > frame.len() {
        return Err(Outcome::IpLength);
    }
    let source = Address(array(header, field::SOURCE));
    let destination = Address(array(header, field::DESTINATION));
    // Taken for an IPv4 address, it would make an IPv4 datagram of the reply, behind a link header that says IPv6.
    if source.ipv4().is_some() || destination.ipv4().is_some() {
        return Err(Outcome::Martian);
    }
    Ok((Addresses { source, destination }, end))
}

/// The header of a datagram that carries `length` octets of TCP.
#[inline]
pub(super) fn emit(source: &Address, destination: &Address, length: usize) -> [u8; HEADER] {
    #[expect(clippy::cast_possible_truncation, reason = "a segment is at most an MSS and its header")]
    let payload = length as u16;
    let mut header = [0; HEADER];
    header[field::VERSION] = field::VERSION_6;
    put(&mut header, field::PAYLOAD_LENGTH, payload.to_be_bytes());
    header[field::NEXT_HEADER] = NEXT_HEADER_TCP;
    header[field::HOP_LIMIT] = HOPS;
    put(&mut header, field::SOURCE, source.0);
    put(&mut header, field::DESTINATION, destination.0);
    header
}
