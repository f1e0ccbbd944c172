//! The IPv4 header (RFC 791 section 3.1).

use super::Network;
use super::checksum::Sum;
use super::offset::HOPS;
use super::offset::ipv4 as field;
use crate::outcome::Outcome;
use crate::steering::Layout;
use core::ops::Range;

/// Octets of the header that we send: no options.
pub const HEADER: usize = field::HEADER;

const PROTOCOL_TCP: u8 = 6;

/// Checks the header that `layout` found, and says whose segment stands where in the frame.
#[inline]
pub(super) fn parse(frame: &[u8], layout: &Layout) -> Result<(Network, Range<usize>), Outcome> {
    // Steering has read the ports behind it, so the header is all there.
    let header = &frame[layout.network..layout.transport];
    let total = usize::from(u16::from_be_bytes(array(header, field::TOTAL_LENGTH)));
    let end = layout.network + total;
    if total < header.len() || end > frame.len() {
        return Err(Outcome::IpLength);
    }
    if Sum::default().over(header).fold() != 0xffff {
        return Err(Outcome::IpChecksum);
    }
    let source = array(header, field::SOURCE);
    let destination = array(header, field::DESTINATION);
    Ok((Network::V4 { source, destination }, layout.transport..end))
}

/// Writes the header of a datagram that carries `length` octets of TCP. It may be fragmented (DF clear), which at our
/// segment sizes no path does; identification 0.
#[inline]
pub(super) fn emit(header: &mut [u8], source: [u8; 4], destination: [u8; 4], length: usize) {
    #[expect(clippy::cast_possible_truncation, reason = "a segment is at most an MSS and its header")]
    let total = (HEADER + length) as u16;
    header.fill(0);
    header[field::VERSION_IHL] = field::VERSION_4_IHL_5;
    put(header, field::TOTAL_LENGTH, total.to_be_bytes());
    header[field::TIME_TO_LIVE] = HOPS;
    header[field::PROTOCOL] = PROTOCOL_TCP;
    put(header, field::SOURCE, source);
    put(header, field::DESTINATION, destination);
    let checksum = Sum::default().over(header).complement();
    put(header, field::CHECKSUM, checksum.to_be_bytes());
}

/// The `N` bytes of a field.
#[inline]
pub(super) fn array<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&octets[at..at + N]);
    array
}

/// Writes the bytes of a field.
#[inline]
pub(super) fn put<const N: usize>(octets: &mut [u8], at: usize, value: [u8; N]) {
    octets[at..at + N].copy_from_slice(&value);
}
