//! What a segment and a datagram have in common: link and IP header, and the sum that their checksums are made of. As the
//! XDP program reads and writes them: whoever answers has no IP options.

use crate::steering::{Layout, Protocol, Version};
use crate::tcp::segment::{Address, FourTuple};
use crate::wire::bytes::{Frame, FrameMut};
use crate::wire::offset;

/// Sender, receiver, and the octets behind the header. None if there are IP options, or anything is wrong with it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "in BPF the verifier follows its offsets through every check")]
pub(crate) fn read<F: Frame + ?Sized>(frame: &F, layout: &Layout) -> Option<(Address, Address, usize)> {
    match layout.version {
        Version::V4 => ipv4(frame, layout),
        Version::V6 => ipv6(frame, layout),
    }
}

/// Sender, receiver and the octets behind the header.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn ipv4<F: Frame + ?Sized>(frame: &F, layout: &Layout) -> Option<(Address, Address, usize)> {
    let header: [u8; offset::ipv4::HEADER] = frame.read(layout.network)?;
    // The sum of a header without options is right.
    if layout.transport != layout.network + offset::ipv4::HEADER || fold(sum(&header)) != 0xffff {
        return None;
    }
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = header;
    let length = usize::from(short(&header, offset::ipv4::TOTAL_LENGTH)).checked_sub(offset::ipv4::HEADER)?;
    Some((Address::from_ipv4([s0, s1, s2, s3]), Address::from_ipv4([d0, d1, d2, d3]), length))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn ipv6<F: Frame + ?Sized>(frame: &F, layout: &Layout) -> Option<(Address, Address, usize)> {
    let length = u16::from_be_bytes(frame.read(layout.network + offset::ipv6::PAYLOAD_LENGTH)?);
    let client = Address(frame.read(layout.network + offset::ipv6::SOURCE)?);
    let server = Address(frame.read(layout.network + offset::ipv6::DESTINATION)?);
    let mapped = client.ipv4().is_some() || server.ipv4().is_some();
    (!mapped).then_some((client, server, usize::from(length)))
}

/// Makes of the link and IP header of what came, with the headers where `layout` says, those of the answer to it, to the
/// client of `tuple`, with `length` octets behind them. None if the frame is shorter.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
pub(crate) fn write_back<F: FrameMut + ?Sized>(
    frame: &mut F,
    layout: &Layout,
    tuple: &FourTuple,
    length: usize,
) -> Option<()> {
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = frame.read(offset::ethernet::DESTINATION)?;
    frame.write(offset::ethernet::DESTINATION, [s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5])?;
    match layout.version {
        Version::V4 => write_ipv4(frame, layout, tuple, length),
        Version::V6 => write_ipv6(frame, layout, tuple, length),
    }
}

/// Without options, DF clear, identification 0.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
#[expect(clippy::cast_possible_truncation, reason = "headers alone")]
fn write_ipv4<F: FrameMut + ?Sized>(
    frame: &mut F,
    layout: &Layout,
    tuple: &FourTuple,
    length: usize,
) -> Option<()> {
    let ([.., s0, s1, s2, s3], [.., d0, d1, d2, d3]) = (tuple.server.0, tuple.client.0);
    let (source, destination) = ([s0, s1, s2, s3], [d0, d1, d2, d3]);
    let at = layout.network;
    let version_and_length =
        u32::from(offset::ipv4::VERSION_4_IHL_5) << 24 | (offset::ipv4::HEADER + length) as u32;
    let time_and_protocol = u32::from(offset::HOPS) << 24 | u32::from(layout.protocol.number()) << 16;
    let addresses = u64::from(u32::from_be_bytes(source)) + u64::from(u32::from_be_bytes(destination));
    let checksum = !fold(u64::from(version_and_length) + u64::from(time_and_protocol) + addresses);
    frame.write(at, version_and_length.to_be_bytes())?;
    frame.write(at + offset::ipv4::IDENTIFICATION, [0; 4])?;
    frame.write(at + offset::ipv4::TIME_TO_LIVE, (time_and_protocol | u32::from(checksum)).to_be_bytes())?;
    frame.write(at + offset::ipv4::SOURCE, source)?;
    frame.write(at + offset::ipv4::DESTINATION, destination)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
#[expect(clippy::cast_possible_truncation, reason = "headers alone")]
fn write_ipv6<F: FrameMut + ?Sized>(
    frame: &mut F,
    layout: &Layout,
    tuple: &FourTuple,
    length: usize,
) -> Option<()> {
    let [high, low] = (length as u16).to_be_bytes();
    let at = layout.network;
    frame.write(at, [offset::ipv6::VERSION_6, 0, 0, 0, high, low, layout.protocol.number(), offset::HOPS])?;
    frame.write(at + offset::ipv6::SOURCE, tuple.server.0)?;
    frame.write(at + offset::ipv6::DESTINATION, tuple.client.0)
}

/// The sum of what the checksum covers besides a segment or datagram of `length`
/// octets (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1).
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
pub(crate) fn pseudo_header(client: Address, server: Address, protocol: Protocol, length: usize) -> u64 {
    let addresses = match (client.ipv4(), server.ipv4()) {
        (Some(client), Some(server)) => sum(&client) + sum(&server),
        _ => sum(&client.0) + sum(&server.0),
    };
    addresses + u64::from(protocol.number()) + length as u64
}

/// The words of 32 bits together: folded, they give the Internet checksum's sum (RFC 1071 section 2(C)).
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
pub(crate) fn sum<const N: usize>(octets: &[u8; N]) -> u64 {
    let (words, _) = octets.as_chunks();
    words.iter().map(|&word| u64::from(u32::from_be_bytes(word))).sum()
}

/// The ones' complement sum of 16-bit words in fewer than 2^16 words of 32 bits.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
#[expect(clippy::cast_possible_truncation, reason = "folded below 2^16")]
pub(crate) fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
pub(crate) fn short<const N: usize>(octets: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
pub(crate) fn long<const N: usize>(octets: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}
