//! The TCP header (RFC 9293 section 3.1).

use super::checksum::{self, Sum};
use super::offset::tcp as field;
use super::{Addresses, Received, array, first, put};
use crate::outcome::Outcome;
use crate::steering::Layout;
use crate::tcp::output::TxSegment;
use crate::tcp::segment::{Flags, FourTuple, Options, Segment};

/// Octets of the header without options.
pub const HEADER: usize = field::HEADER;

/// Octets of the MSS option (RFC 9293 section 3.2).
pub const MSS_OPTION: usize = 4;

/// Octets of the timestamps option, aligned as RFC 7323 appendix A recommends.
pub const TIMESTAMPS_OPTION: usize = 12;

/// Octets of the Fast Open option (RFC 7413 section 2) with a cookie of 8, aligned likewise.
pub const FAST_OPEN_OPTION: usize = 12;

/// Octets of all options together.
pub const MAX_OPTIONS: usize = MSS_OPTION + TIMESTAMPS_OPTION + FAST_OPEN_OPTION;

/// Kind and length of the MSS option.
const MSS: [u8; 2] = [2, 4];

/// Two of no operation, kind and length of the timestamps option.
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];

/// Two of no operation, kind and length of the Fast Open option.
const FAST_OPEN: [u8; 4] = [1, 1, 34, 10];

/// Checks and reads the segment of `frame` that ends at `end`.
#[inline]
pub(super) fn parse(
    frame: &[u8],
    layout: &Layout,
    addresses: &Addresses,
    end: usize,
) -> Result<Received, Outcome> {
    let octets = &frame[layout.transport..end];
    let Some(fixed) = octets.first_chunk::<HEADER>() else { return Err(Outcome::IpLength) };
    let header = usize::from(fixed[field::DATA_OFFSET] >> 4) * 4;
    if header < HEADER || header > octets.len() {
        return Err(Outcome::TcpHeader);
    }
    let tuple = FourTuple {
        server: addresses.destination,
        client: addresses.source,
        server_port: u16::from_be_bytes(array(fixed, field::DESTINATION)),
        client_port: u16::from_be_bytes(array(fixed, field::SOURCE)),
    };
    let pseudo_header = checksum::pseudo_header(&tuple, octets.len());
    let whole = pseudo_header.over(octets).fold() == 0xffff;
    let partial_checksum = !whole && array(fixed, field::CHECKSUM) == pseudo_header.fold().to_be_bytes();
    if !whole && !partial_checksum {
        return Err(Outcome::TcpChecksum);
    }
    let options = Options::parse(&octets[HEADER..header]).map_err(|_| Outcome::TcpOption)?;
    #[expect(clippy::cast_possible_truncation, reason = "the IP header bounds it by 16 bits")]
    let length = (octets.len() - header) as u16;
    let segment = Segment {
        tuple,
        seq: u32::from_be_bytes(array(fixed, field::SEQ)),
        ack: u32::from_be_bytes(array(fixed, field::ACK)),
        flags: Flags(fixed[field::FLAGS]),
        window: u16::from_be_bytes(array(fixed, field::WINDOW)),
        options,
        length,
    };
    Ok(Received { segment, link: layout.network, payload: layout.transport + header, partial_checksum })
}

/// Octets of the header of `outgoing`, options included.
#[inline]
pub(super) fn header(outgoing: &TxSegment) -> usize {
    let mss = outgoing.mss.map_or(0, |_| MSS_OPTION);
    let timestamps = outgoing.timestamps.map_or(0, |_| TIMESTAMPS_OPTION);
    let fast_open = outgoing.fast_open.map_or(0, |_| FAST_OPEN_OPTION);
    HEADER + mss + timestamps + fast_open
}

/// Writes one of our segments; `octets` is exactly as long as it. Each part is written whole, at a length that the compiler
/// knows.
#[inline]
pub(super) fn emit(octets: &mut [u8], tuple: &FourTuple, outgoing: &TxSegment, payload: &[u8]) {
    let pseudo_header = checksum::pseudo_header(tuple, octets.len());
    let mut fixed = [0; HEADER];
    put(&mut fixed, field::SOURCE, tuple.server_port.to_be_bytes());
    put(&mut fixed, field::DESTINATION, tuple.client_port.to_be_bytes());
    put(&mut fixed, field::SEQ, outgoing.seq.to_be_bytes());
    put(&mut fixed, field::ACK, outgoing.ack.to_be_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "a header is at most 60 octets")]
    let words = ((octets.len() - payload.len()) / 4) as u8;
    fixed[field::DATA_OFFSET] = words << 4;
    fixed[field::FLAGS] = outgoing.flags.0;
    put(&mut fixed, field::WINDOW, outgoing.window.to_be_bytes());
    let mut sum = pseudo_header.over(&fixed);
    let (header, mut rest) = first(octets);
    if let Some(mss) = outgoing.mss {
        let [high, low] = mss.to_be_bytes();
        let option: [u8; MSS_OPTION] = [MSS[0], MSS[1], high, low];
        (sum, rest) = append(sum, rest, option);
    }
    if let Some(timestamps) = outgoing.timestamps {
        let mut option = [0; TIMESTAMPS_OPTION];
        put(&mut option, 0, TIMESTAMPS);
        put(&mut option, 4, timestamps.value.to_be_bytes());
        put(&mut option, 8, timestamps.echo.to_be_bytes());
        (sum, rest) = append(sum, rest, option);
    }
    if let Some(cookie) = outgoing.fast_open {
        let mut option = [0; FAST_OPEN_OPTION];
        put(&mut option, 0, FAST_OPEN);
        put(&mut option, 4, cookie);
        (sum, rest) = append(sum, rest, option);
    }
    if !payload.is_empty() {
        rest.copy_from_slice(payload);
        sum = sum.over(payload);
    }
    put(&mut fixed, field::CHECKSUM, sum.complement().to_be_bytes());
    *header = fixed;
}

/// Writes an option at the beginning of `rest`; returns the sum with it, and what is left.
#[inline]
fn append<const N: usize>(sum: Sum, rest: &mut [u8], option: [u8; N]) -> (Sum, &mut [u8]) {
    let (place, rest) = first(rest);
    *place = option;
    (sum.over(&option), rest)
}
