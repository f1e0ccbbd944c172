//! The TCP header (RFC 9293 section 3.1).

use super::checksum::{self, Sum};
use super::ipv4::{array, put};
use super::offset::tcp as field;
use super::{Network, Received};
use crate::outcome::Outcome;
use crate::tcp::output::TxSegment;
use crate::tcp::segment::{Address, Flags, FourTuple, Options, Segment};
use core::ops::Range;

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

/// Checks and reads the segment that stands at `transport` in `frame`.
#[inline]
pub(super) fn parse(frame: &[u8], network: Network, transport: Range<usize>) -> Result<Received, Outcome> {
    let octets = &frame[transport.clone()];
    if octets.len() < HEADER {
        return Err(Outcome::IpLength);
    }
    let header = usize::from(octets[field::DATA_OFFSET] >> 4) * 4;
    if header < HEADER || header > octets.len() {
        return Err(Outcome::TcpHeader);
    }
    let pseudo_header = checksum::pseudo_header(&network, octets.len());
    let whole = pseudo_header.over(octets).fold() == 0xffff;
    let partial_checksum = !whole && array(octets, field::CHECKSUM) == pseudo_header.fold().to_be_bytes();
    if !whole && !partial_checksum {
        return Err(Outcome::TcpChecksum);
    }
    let options = Options::parse(&octets[HEADER..header]).map_err(|_| Outcome::TcpOption)?;
    let (client, server) = match network {
        Network::V4 { source, destination } => (Address::from_ipv4(source), Address::from_ipv4(destination)),
        Network::V6 { source, destination } => (Address(source), Address(destination)),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the IP header bounds it by 16 bits")]
    let length = (octets.len() - header) as u16;
    let segment = Segment {
        tuple: FourTuple {
            server,
            client,
            server_port: u16::from_be_bytes(array(octets, field::DESTINATION)),
            client_port: u16::from_be_bytes(array(octets, field::SOURCE)),
        },
        seq: u32::from_be_bytes(array(octets, field::SEQ)),
        ack: u32::from_be_bytes(array(octets, field::ACK)),
        flags: Flags(octets[field::FLAGS]),
        window: u16::from_be_bytes(array(octets, field::WINDOW)),
        options,
        length,
    };
    Ok(Received { segment, payload: transport.start + header, partial_checksum })
}

/// Octets of the header of `outgoing`, options included.
#[inline]
pub(super) fn header(outgoing: &TxSegment) -> usize {
    let mss = outgoing.mss.map_or(0, |_| MSS_OPTION);
    let timestamps = outgoing.timestamps.map_or(0, |_| TIMESTAMPS_OPTION);
    let fast_open = outgoing.fast_open.map_or(0, |_| FAST_OPEN_OPTION);
    HEADER + mss + timestamps + fast_open
}

/// Writes one of our segments; `octets` is exactly as long as it.
#[inline]
pub(super) fn emit(
    octets: &mut [u8],
    tuple: &FourTuple,
    outgoing: &TxSegment,
    payload: &[u8],
    pseudo_header: Sum,
) {
    let header = octets.len() - payload.len();
    put(octets, field::SOURCE, tuple.server_port.to_be_bytes());
    put(octets, field::DESTINATION, tuple.client_port.to_be_bytes());
    put(octets, field::SEQ, outgoing.seq.to_be_bytes());
    put(octets, field::ACK, outgoing.ack.to_be_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "a header is at most 60 octets")]
    let words = (header / 4) as u8;
    octets[field::DATA_OFFSET] = words << 4;
    octets[field::FLAGS] = outgoing.flags.0;
    put(octets, field::WINDOW, outgoing.window.to_be_bytes());
    put(octets, field::CHECKSUM, [0; 2]);
    put(octets, field::URGENT, [0; 2]);
    let mut at = HEADER;
    if let Some(mss) = outgoing.mss {
        octets[at..at + 2].copy_from_slice(&MSS);
        octets[at + 2..at + MSS_OPTION].copy_from_slice(&mss.to_be_bytes());
        at += MSS_OPTION;
    }
    if let Some(timestamps) = outgoing.timestamps {
        octets[at..at + 4].copy_from_slice(&TIMESTAMPS);
        octets[at + 4..at + 8].copy_from_slice(&timestamps.value.to_be_bytes());
        octets[at + 8..at + TIMESTAMPS_OPTION].copy_from_slice(&timestamps.echo.to_be_bytes());
        at += TIMESTAMPS_OPTION;
    }
    if let Some(cookie) = outgoing.fast_open {
        octets[at..at + 4].copy_from_slice(&FAST_OPEN);
        octets[at + 4..at + FAST_OPEN_OPTION].copy_from_slice(&cookie);
    }
    octets[header..].copy_from_slice(payload);
    let checksum = pseudo_header.over(octets).complement();
    put(octets, field::CHECKSUM, checksum.to_be_bytes());
}
