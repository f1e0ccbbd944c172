//! Segments without payload, as the XDP program reads and writes them: headers only, in loops that the verifier can
//! follow. What is out of the ordinary is none of its business; the `wire` module of user space reads everything.

use crate::frame::{Frame, FrameMut};
use crate::reply::Outgoing;
use crate::segment::{Address, Flags, FourTuple, Options, Segment, Timestamps};
use crate::steer::{Layout, Version};

/// Most options, paddings included, that are looked at. Nobody's SYN has more than ten.
const MOST_OPTIONS: usize = 10;

/// A segment without payload, and with right checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bare {
    /// Its header fields.
    pub segment: Segment,
    /// The checksum field holds the sum of the pseudo-header alone (see `wire::Received`).
    pub partial_checksum: bool,
}

mod field {
    //! Offsets, in octets from the beginning of their header.
    pub(super) const ETHERNET_DESTINATION: usize = 0;
    pub(super) const IPV4_TOTAL_LENGTH: usize = 2;
    pub(super) const IPV4_IDENTIFICATION: usize = 4;
    pub(super) const IPV4_TIME_TO_LIVE: usize = 8;
    pub(super) const IPV4_SOURCE: usize = 12;
    pub(super) const IPV4_DESTINATION: usize = 16;
    pub(super) const IPV6_PAYLOAD_LENGTH: usize = 4;
    pub(super) const IPV6_SOURCE: usize = 8;
    pub(super) const IPV6_DESTINATION: usize = 24;
    pub(super) const TCP_SOURCE: usize = 0;
    pub(super) const TCP_DESTINATION: usize = 2;
    pub(super) const TCP_SEQUENCE: usize = 4;
    pub(super) const TCP_ACKNOWLEDGMENT: usize = 8;
    pub(super) const TCP_DATA_OFFSET: usize = 12;
    pub(super) const TCP_FLAGS: usize = 13;
    pub(super) const TCP_WINDOW: usize = 14;
    pub(super) const TCP_CHECKSUM: usize = 16;
}

const IPV4: usize = 20;
const TCP: usize = 20;
/// Words of four octets that the options of a header may have.
const OPTION_WORDS: usize = 10;
/// Words of the longest header that is sent, and where the checksum is in it.
const WORDS: usize = 9;
const CHECKSUM_WORD: usize = 4;

const VERSION_4_IHL_5: u32 = 0x45;
const VERSION_6: u8 = 0x60;
const PROTOCOL_TCP: u8 = 6;
/// Time to live, or hop limit.
const HOPS: u8 = 64;
/// Kind and length of the MSS option (RFC 9293 section 3.2).
const MSS: u32 = 0x0204_0000;
/// Two of no operation, kind and length of the timestamps option (RFC 7323 appendix A).
const TIMESTAMPS: u32 = 0x0101_080a;

/// Octets of room that [`read`] needs.
pub const ROOM: usize = 4 * OPTION_WORDS;

/// Reads the segment whose headers begin where `layout` says. None if it has payload, IP options, more TCP
/// options than are looked at, or if anything is wrong with it. `room` is for the options, of [`ROOM`] octets.
#[inline(always)]
#[expect(clippy::inline_always, reason = "in BPF the verifier follows its offsets through every check")]
pub fn read<F: Frame + ?Sized, R: FrameMut + ?Sized>(
    frame: &F,
    layout: &Layout,
    room: &mut R,
) -> Option<Bare> {
    let (client, server, length) = match layout.version {
        Version::V4 => ipv4(frame, layout)?,
        Version::V6 => ipv6(frame, layout)?,
    };
    let header: [u8; TCP] = frame.read(layout.transport)?;
    let words = header[field::TCP_DATA_OFFSET] >> 4;
    if length < TCP || usize::from(words) * 4 != length {
        return None;
    }
    let pseudo_header = pseudo_header(client, server, length);
    let mut sum = pseudo_header + sum(&header);
    for word in 0..OPTION_WORDS {
        let offset = TCP + 4 * word;
        if offset < length {
            let octets = frame.read(layout.transport + offset)?;
            sum += u64::from(u32::from_be_bytes(octets));
            room.write(4 * word, octets)?;
        }
    }
    let partial_checksum = fold(sum) != 0xffff;
    if partial_checksum && short(&header, field::TCP_CHECKSUM) != fold(pseudo_header) {
        return None;
    }
    let segment = Segment {
        tuple: FourTuple {
            server,
            client,
            server_port: short(&header, field::TCP_DESTINATION),
            client_port: short(&header, field::TCP_SOURCE),
        },
        seq: long(&header, field::TCP_SEQUENCE),
        ack: long(&header, field::TCP_ACKNOWLEDGMENT),
        flags: Flags(header[field::TCP_FLAGS]),
        window: short(&header, field::TCP_WINDOW),
        options: Options::read(room, length - TCP, MOST_OPTIONS)?,
        length: 0,
    };
    Some(Bare { segment, partial_checksum })
}

/// Sender, receiver and the octets behind the header.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn ipv4<F: Frame + ?Sized>(frame: &F, layout: &Layout) -> Option<(Address, Address, usize)> {
    let header: [u8; IPV4] = frame.read(layout.network)?;
    // The sum of a header without options is right.
    if layout.transport != layout.network + IPV4 || fold(sum(&header)) != 0xffff {
        return None;
    }
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = header;
    let length = usize::from(short(&header, field::IPV4_TOTAL_LENGTH)).checked_sub(IPV4)?;
    Some((Address::from_ipv4([s0, s1, s2, s3]), Address::from_ipv4([d0, d1, d2, d3]), length))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn ipv6<F: Frame + ?Sized>(frame: &F, layout: &Layout) -> Option<(Address, Address, usize)> {
    let length = u16::from_be_bytes(frame.read(layout.network + field::IPV6_PAYLOAD_LENGTH)?);
    let client = Address(frame.read(layout.network + field::IPV6_SOURCE)?);
    let server = Address(frame.read(layout.network + field::IPV6_DESTINATION)?);
    let mapped = client.ipv4().is_some() || server.ipv4().is_some();
    (!mapped).then_some((client, server, usize::from(length)))
}

/// The TCP header of an answer, in words of 32 bits, checksum included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    words: [u32; WORDS],
    length: usize,
}

impl Header {
    /// The header of `outgoing`, which has no payload and no Fast Open cookie, to the client of `tuple`.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::inline_always, reason = "see read")]
    #[expect(clippy::cast_possible_truncation, reason = "headers alone")]
    pub fn new(tuple: &FourTuple, outgoing: &Outgoing) -> Self {
        let mss = outgoing.mss.map(|mss| MSS | u32::from(mss));
        let (options, length) = match (mss, outgoing.timestamps) {
            (None, None) => ([0; 4], TCP),
            (Some(mss), None) => ([mss, 0, 0, 0], TCP + 4),
            (None, Some(Timestamps { value, echo })) => ([TIMESTAMPS, value, echo, 0], TCP + 12),
            (Some(mss), Some(Timestamps { value, echo })) => ([mss, TIMESTAMPS, value, echo], TCP + 16),
        };
        let ports = u32::from(tuple.server_port) << 16 | u32::from(tuple.client_port);
        let offset = (length as u32 / 4) << 28;
        let control = offset | u32::from(outgoing.flags.0) << 16 | u32::from(outgoing.window);
        let [first, second, third, fourth] = options;
        let mut words = [ports, outgoing.seq, outgoing.ack, control, 0, first, second, third, fourth];
        let sum: u64 = words.iter().map(|&word| u64::from(word)).sum();
        let pseudo_header = pseudo_header(tuple.client, tuple.server, length);
        words[CHECKSUM_WORD] = u32::from(!fold(sum + pseudo_header)) << 16;
        Self { words, length }
    }

    /// Octets of the frame that it answers with, where the headers of the one that came lie as `layout` says.
    #[inline]
    #[must_use]
    pub fn frame_length(&self, layout: &Layout) -> usize {
        layout.transport + self.length
    }

    /// Makes of a frame, which is as long as [`Header::frame_length`] says, but otherwise as it came, the answer to where
    /// it came from. None if it is shorter.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see read")]
    pub fn write<F: FrameMut + ?Sized>(
        &self,
        frame: &mut F,
        layout: &Layout,
        tuple: &FourTuple,
    ) -> Option<()> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = frame.read(field::ETHERNET_DESTINATION)?;
        frame.write(field::ETHERNET_DESTINATION, [s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5])?;
        match layout.version {
            Version::V4 => write_ipv4(frame, layout.network, tuple, self.length)?,
            Version::V6 => write_ipv6(frame, layout.network, tuple, self.length)?,
        }
        for (index, word) in self.words.iter().enumerate() {
            if 4 * index < self.length {
                frame.write(layout.transport + 4 * index, word.to_be_bytes())?;
            }
        }
        Some(())
    }
}

/// Without options, DF clear, identification 0.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
#[expect(clippy::cast_possible_truncation, reason = "headers alone")]
fn write_ipv4<F: FrameMut + ?Sized>(
    frame: &mut F,
    at: usize,
    tuple: &FourTuple,
    length: usize,
) -> Option<()> {
    let ([.., s0, s1, s2, s3], [.., d0, d1, d2, d3]) = (tuple.server.0, tuple.client.0);
    let (source, destination) = ([s0, s1, s2, s3], [d0, d1, d2, d3]);
    let version_and_length = VERSION_4_IHL_5 << 24 | (IPV4 + length) as u32;
    let time_and_protocol = u32::from(HOPS) << 24 | u32::from(PROTOCOL_TCP) << 16;
    let addresses = u64::from(u32::from_be_bytes(source)) + u64::from(u32::from_be_bytes(destination));
    let checksum = !fold(u64::from(version_and_length) + u64::from(time_and_protocol) + addresses);
    frame.write(at, version_and_length.to_be_bytes())?;
    frame.write(at + field::IPV4_IDENTIFICATION, [0; 4])?;
    frame.write(at + field::IPV4_TIME_TO_LIVE, (time_and_protocol | u32::from(checksum)).to_be_bytes())?;
    frame.write(at + field::IPV4_SOURCE, source)?;
    frame.write(at + field::IPV4_DESTINATION, destination)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
#[expect(clippy::cast_possible_truncation, reason = "headers alone")]
fn write_ipv6<F: FrameMut + ?Sized>(
    frame: &mut F,
    at: usize,
    tuple: &FourTuple,
    length: usize,
) -> Option<()> {
    let [high, low] = (length as u16).to_be_bytes();
    frame.write(at, [VERSION_6, 0, 0, 0, high, low, PROTOCOL_TCP, HOPS])?;
    frame.write(at + field::IPV6_SOURCE, tuple.server.0)?;
    frame.write(at + field::IPV6_DESTINATION, tuple.client.0)
}

/// The sum of what the checksum covers besides a segment of `length` octets (RFC 9293 section 3.1, RFC 8200 section 8.1).
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn pseudo_header(client: Address, server: Address, length: usize) -> u64 {
    let addresses = match (client.ipv4(), server.ipv4()) {
        (Some(client), Some(server)) => sum(&client) + sum(&server),
        _ => sum(&client.0) + sum(&server.0),
    };
    addresses + u64::from(PROTOCOL_TCP) + length as u64
}

/// The words of 32 bits together: folded, they give the Internet checksum's sum (RFC 1071 section 2(C)).
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn sum<const N: usize>(octets: &[u8; N]) -> u64 {
    let (words, _) = octets.as_chunks();
    words.iter().map(|&word| u64::from(u32::from_be_bytes(word))).sum()
}

/// The ones' complement sum of 16-bit words in fewer than 2^16 words of 32 bits.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
#[expect(clippy::cast_possible_truncation, reason = "folded below 2^16")]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn short<const N: usize>(octets: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn long<const N: usize>(octets: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}
