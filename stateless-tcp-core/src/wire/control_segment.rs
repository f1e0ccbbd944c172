//! Segments without payload, as the XDP program reads and writes them: headers only, in loops that the verifier can
//! follow. What is out of the ordinary is none of its business; the `wire` module of user space reads everything.

use crate::steering::{Layout, Protocol};
use crate::tcp::output::TxSegment;
use crate::tcp::segment::{Flags, FourTuple, Options, Segment, Timestamps};
use crate::wire::bytes::{Frame, FrameMut};
use crate::wire::headers::{self, fold, long, short, sum};
use crate::wire::offset::tcp;

/// Most options, paddings included, that are looked at. Nobody's SYN has more than ten.
const MOST_OPTIONS: usize = 10;

/// A segment without payload, and with right checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSegment {
    /// Its header fields.
    pub segment: Segment,
    /// The checksum field holds the sum of the pseudo-header alone (see `wire::Received`).
    pub partial_checksum: bool,
}

/// Words of four octets that the options of a header may have.
const OPTION_WORDS: usize = 10;
/// Words of the longest header that is sent, and where the checksum is in it.
const WORDS: usize = 9;
const CHECKSUM_WORD: usize = 4;

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
) -> Option<ControlSegment> {
    let (client, server, length) = headers::read(frame, layout)?;
    let header: [u8; tcp::HEADER] = frame.read(layout.transport)?;
    let words = header[tcp::DATA_OFFSET] >> 4;
    if length < tcp::HEADER || usize::from(words) * 4 != length {
        return None;
    }
    let pseudo_header = headers::pseudo_header(client, server, Protocol::Tcp, length);
    let mut sum = pseudo_header + sum(&header);
    for word in 0..OPTION_WORDS {
        let offset = tcp::HEADER + 4 * word;
        if offset < length {
            let octets = frame.read(layout.transport + offset)?;
            sum += u64::from(u32::from_be_bytes(octets));
            room.write(4 * word, octets)?;
        }
    }
    let partial_checksum = fold(sum) != 0xffff;
    if partial_checksum && short(&header, tcp::CHECKSUM) != fold(pseudo_header) {
        return None;
    }
    let segment = Segment {
        tuple: FourTuple {
            server,
            client,
            server_port: short(&header, tcp::DESTINATION),
            client_port: short(&header, tcp::SOURCE),
        },
        seq: long(&header, tcp::SEQ),
        ack: long(&header, tcp::ACK),
        flags: Flags(header[tcp::FLAGS]),
        window: short(&header, tcp::WINDOW),
        options: Options::read(room, length - tcp::HEADER, MOST_OPTIONS)?,
        length: 0,
    };
    Some(ControlSegment { segment, partial_checksum })
}

/// The tcp::HEADER header of an answer, in words of 32 bits, checksum included.
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
    pub fn new(tuple: &FourTuple, outgoing: &TxSegment) -> Self {
        let mss = outgoing.mss.map(|mss| MSS | u32::from(mss));
        let (options, length) = match (mss, outgoing.timestamps) {
            (None, None) => ([0; 4], tcp::HEADER),
            (Some(mss), None) => ([mss, 0, 0, 0], tcp::HEADER + 4),
            (None, Some(Timestamps { value, echo })) => ([TIMESTAMPS, value, echo, 0], tcp::HEADER + 12),
            (Some(mss), Some(Timestamps { value, echo })) => {
                ([mss, TIMESTAMPS, value, echo], tcp::HEADER + 16)
            }
        };
        let ports = u32::from(tuple.server_port) << 16 | u32::from(tuple.client_port);
        let offset = (length as u32 / 4) << 28;
        let control = offset | u32::from(outgoing.flags.0) << 16 | u32::from(outgoing.window);
        let [first, second, third, fourth] = options;
        let mut words = [ports, outgoing.seq, outgoing.ack, control, 0, first, second, third, fourth];
        let sum: u64 = words.iter().map(|&word| u64::from(word)).sum();
        let pseudo_header = headers::pseudo_header(tuple.client, tuple.server, Protocol::Tcp, length);
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
        headers::write_back(frame, layout, tuple, self.length)?;
        for (index, word) in self.words.iter().enumerate() {
            if 4 * index < self.length {
                frame.write(layout.transport + 4 * index, word.to_be_bytes())?;
            }
        }
        Some(())
    }
}
