//! The IPv4 header (RFC 791 section 3.1).

use super::checksum::Sum;
use super::offset::HOPS;
use super::offset::ipv4 as field;
use super::{Addresses, array, put};
use crate::outcome::Outcome;
use crate::steering::Layout;
use crate::tcp::segment::Address;

/// Octets of the header that we send: no options.
pub const HEADER: usize = field::HEADER;

const PROTOCOL_TCP: u8 = 6;

/// Checks the header that `layout` found, and returns its addresses and the end of its segment in the frame.
#[inline]
pub(super) fn parse(frame: &[u8], layout: &Layout) -> Result<(Addresses, usize), Outcome> {
    // Steering has read the ports behind it, so the header is all there.
    let header = &frame[layout.network..layout.transport];
    let Some((fixed, options)) = header.split_first_chunk::<HEADER>() else { return Err(Outcome::IpLength) };
    let total = usize::from(u16::from_be_bytes(array(fixed, field::TOTAL_LENGTH)));
    let end = layout.network + total;
    if total < header.len() || end > frame.len() {
        return Err(Outcome::IpLength);
    }
    if Sum::default().over(fixed).over(options).fold() != 0xffff {
        return Err(Outcome::IpChecksum);
    }
    let source = Address::from_ipv4(array(fixed, field::SOURCE));
    let destination = Address::from_ipv4(array(fixed, field::DESTINATION));
    Ok((Addresses { source, destination }, end))
}

/// The header of a datagram that carries `length` octets of TCP. It may be fragmented (DF clear), which at our
/// segment sizes no path does; identification 0.
#[inline]
pub(super) fn emit(source: [u8; 4], destination: [u8; 4], length: usize) -> [u8; HEADER] {
    #[expect(clippy::cast_possible_truncation, reason = "a segment is at most an MSS and its header")]
    let total = (HEADER + length) as u16;
    let mut header = [0; HEADER];
    header[field::VERSION_IHL] = field::VERSION_4_IHL_5;
    put(&mut header, field::TOTAL_LENGTH, total.to_be_bytes());
    header[field::TIME_TO_LIVE] = HOPS;
    header[field::PROTOCOL] = PROTOCOL_TCP;
    put(&mut header, field::SOURCE, source);
    put(&mut header, field::DESTINATION, destination);
    let checksum = Sum::default().over(&header).complement();
    put(&mut header, field::CHECKSUM, checksum.to_be_bytes());
    header
}
