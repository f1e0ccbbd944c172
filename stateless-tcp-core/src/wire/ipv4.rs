//! The IPv4 header (RFC 791 section 3.1).

use super::Network;
use super::checksum::Sum;
use crate::outcome::Outcome;
use crate::steering::Layout;
use core::ops::Range;

mod field {
    use core::ops::Range;
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOTAL_LENGTH: Range<usize> = 2..4;
    pub(super) const TIME_TO_LIVE: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: Range<usize> = 10..12;
    pub(super) const SOURCE: Range<usize> = 12..16;
    pub(super) const DESTINATION: Range<usize> = 16..20;
}

/// Octets of the header that we send: no options.
pub const HEADER: usize = 20;

const VERSION_4_IHL_5: u8 = 0x45;
const TIME_TO_LIVE: u8 = 64;
const PROTOCOL_TCP: u8 = 6;

/// Checks the header that `layout` found, and says whose segment stands where in the frame.
#[inline]
pub(super) fn parse(frame: &[u8], layout: &Layout) -> Result<(Network, Range<usize>), Outcome> {
    // Steering has read the ports behind it, so the header is all there.
    let header = &frame[layout.network..layout.transport];
    let total = usize::from(u16::from_be_bytes(array(&header[field::TOTAL_LENGTH])));
    let end = layout.network + total;
    if total < header.len() || end > frame.len() {
        return Err(Outcome::IpLength);
    }
    if Sum::default().over(header).fold() != 0xffff {
        return Err(Outcome::IpChecksum);
    }
    let source = array(&header[field::SOURCE]);
    let destination = array(&header[field::DESTINATION]);
    Ok((Network::V4 { source, destination }, layout.transport..end))
}

/// Writes the header of a datagram that carries `length` octets of TCP. It may be fragmented (DF clear), which at our
/// segment sizes no path does; identification 0.
#[inline]
pub(super) fn emit(header: &mut [u8], source: [u8; 4], destination: [u8; 4], length: usize) {
    #[expect(clippy::cast_possible_truncation, reason = "a segment is at most an MSS and its header")]
    let total = (HEADER + length) as u16;
    header.fill(0);
    header[field::VERSION_IHL] = VERSION_4_IHL_5;
    header[field::TOTAL_LENGTH].copy_from_slice(&total.to_be_bytes());
    header[field::TIME_TO_LIVE] = TIME_TO_LIVE;
    header[field::PROTOCOL] = PROTOCOL_TCP;
    header[field::SOURCE].copy_from_slice(&source);
    header[field::DESTINATION].copy_from_slice(&destination);
    let checksum = Sum::default().over(header).complement();
    header[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
}

/// A field of fixed length.
#[inline]
pub(super) fn array<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(octets);
    array
}
