//! Questions over UDP, answered by "ask over TCP" (`--udp truncate`): TC is set, and there is nothing else in the answer
//! (RFC 1035 section 4.1.1, RFC 7766 section 5).
//!
//! The answer is written over its question, and is never longer: so nobody gets more from here than whoever forges his
//! address has sent. It holds the question, and where that has an OPT record, one without options in its place (RFC 6891
//! section 6.1.1). An OPT record is looked for where everybody puts it, right behind the question.

use crate::outcome::Outcome;
use crate::steering::{Layout, Protocol};
use crate::tcp::segment::FourTuple;
use crate::wire::bytes::{Frame, FrameMut};
use crate::wire::headers::{self, fold, short};
use crate::wire::offset::udp;

/// Octets of the longest message that is looked at, as RFC 1035 section 2.3.4 has it.
pub const MAX_MESSAGE: usize = 512;

/// A question that gets an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// From whom to whom.
    pub tuple: FourTuple,
    /// The checksum field holds the sum of the pseudo-header alone (see `wire::Received`).
    pub partial_checksum: bool,
    /// Octets of the message up to the end of the question.
    end: usize,
    /// Behind which an OPT record stands.
    has_opt: bool,
}

mod field {
    //! Offsets, in bytes from the beginning of the message (RFC 1035 section 4.1.1) or of a record (section 4.1.3).
    pub(super) const FLAGS: usize = 2;
    pub(super) const QUESTIONS: usize = 4;
    pub(super) const ANSWERS: usize = 6;
    pub(super) const AUTHORITIES: usize = 8;
    pub(super) const ADDITIONALS: usize = 10;
    pub(super) const OPT_FLAGS: usize = 7;
}

const UDP: usize = udp::HEADER;
const HEADER: usize = 12;
/// Type and class behind the name.
const TYPE_AND_CLASS: usize = 4;
/// Root, type, class, TTL and length of data.
const OPT: usize = 11;
const OPT_TYPE: u16 = 41;
/// Root, type OPT, and the datagrams that we take (1232 octets), where a record has its class.
const OPT_BEGINNING: [u8; 5] = [0, 0, 41, 0x04, 0xd0];
const DNSSEC_OK: u8 = 0x80;

const QR: u8 = 0x80;
const OPCODE_AND_RD: u8 = 0x79;
const TC: u8 = 0x02;
const CD: u8 = 0x10;

const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;
/// A name has no more, the root included.
const LABELS: usize = 128;

/// Reads the datagram whose headers begin where `layout` says.
///
/// # Errors
/// Why it gets no answer.
#[inline(always)]
#[expect(clippy::inline_always, reason = "in BPF the verifier follows its offsets through every check")]
pub fn read<F: Frame + ?Sized>(frame: &F, layout: &Layout) -> Result<Question, Outcome> {
    let (client, server, length) = headers::read(frame, layout).ok_or(Outcome::UdpNoQuestion)?;
    let header: [u8; UDP] = frame.read(layout.transport).ok_or(Outcome::UdpNoQuestion)?;
    let whole = usize::from(short(&header, udp::LENGTH)) == length;
    if !whole || !(UDP + HEADER..=UDP + MAX_MESSAGE).contains(&length) {
        return Err(Outcome::UdpNoQuestion);
    }
    // Where there is no checksum nothing else may look so far.
    let _: [u8; 4] = frame.read(layout.transport + length - 4).ok_or(Outcome::UdpNoQuestion)?;
    let tuple = FourTuple {
        server,
        client,
        server_port: short(&header, udp::DESTINATION),
        client_port: short(&header, udp::SOURCE),
    };
    if tuple.is_martian() {
        return Err(Outcome::Martian);
    }
    let pseudo_header = headers::pseudo_header(client, server, Protocol::Udp, length);
    let partial_checksum = match short(&header, udp::CHECKSUM) {
        // None was made, which only IPv4 allows (RFC 8200 section 8.1).
        0 if client.ipv4().is_some() => false,
        checksum => {
            let sum = sum(frame, layout.transport, length).ok_or(Outcome::UdpNoQuestion)?;
            let whole = fold(pseudo_header + sum) == 0xffff;
            if !whole && checksum != fold(pseudo_header) {
                return Err(Outcome::UdpNoQuestion);
            }
            !whole
        }
    };
    let (end, has_opt) =
        question(frame, layout.transport + UDP, length - UDP).ok_or(Outcome::UdpNoQuestion)?;
    Ok(Question { tuple, partial_checksum, end, has_opt })
}

/// Where the question ends in the message of `length` octets that begins at `at`, and whether an OPT record follows.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn question<F: Frame + ?Sized>(frame: &F, at: usize, length: usize) -> Option<(usize, bool)> {
    let header: [u8; HEADER] = frame.read(at)?;
    if header[field::FLAGS] & QR != 0 || short(&header, field::QUESTIONS) != 1 {
        return None;
    }
    let end = frame.forget(name(frame, at)? + TYPE_AND_CLASS);
    if end > length {
        return None;
    }
    let counts = [field::ANSWERS, field::AUTHORITIES].map(|at| short(&header, at));
    let has_opt = counts == [0, 0]
        && short(&header, field::ADDITIONALS) != 0
        && end + OPT <= length
        && is_opt(frame.read(at + end)?);
    Some((end, has_opt))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn is_opt([root, high, low]: [u8; 3]) -> bool {
    root == 0 && u16::from_be_bytes([high, low]) == OPT_TYPE
}

/// Where the name ends that follows the header of the message at `at`, counted from there. None if it is too long, or
/// compressed: there is nothing before it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn name<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<usize> {
    let mut end = HEADER;
    for _ in 0..LABELS {
        end = frame.forget(end);
        // There is a type behind it. A single octet the verifier does not see to be within the packet.
        let [label, _] = frame.read(at + end)?;
        let label = usize::from(label);
        if label == 0 {
            return (end < HEADER + MAX_NAME).then_some(end + 1);
        }
        if label > MAX_LABEL {
            return None;
        }
        end += 1 + label;
    }
    None
}

impl Question {
    /// Octets of the frame that it is answered by, where the headers of the one that came lie as `layout` says.
    #[inline]
    #[must_use]
    pub const fn frame_length(&self, layout: &Layout) -> usize {
        layout.transport + self.length()
    }

    /// Of the answer: UDP header and message.
    #[inline]
    const fn length(&self) -> usize {
        UDP + self.end + if self.has_opt { OPT } else { 0 }
    }

    /// Makes of its frame, which is as long as [`Question::frame_length`] says, or longer, the answer. None if it is shorter.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see read")]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "never more than the question, which a datagram holds"
    )]
    pub fn write<F: FrameMut + ?Sized>(&self, frame: &mut F, layout: &Layout) -> Option<()> {
        let Self { ref tuple, end, has_opt, .. } = *self;
        let length = self.length();
        headers::write_back(frame, layout, tuple, length)?;
        let message = layout.transport + UDP;
        let [first, second] = frame.read(message + field::FLAGS)?;
        frame.write(message + field::FLAGS, [first & OPCODE_AND_RD | QR | TC, second & CD])?;
        frame.write(message + field::ANSWERS, [0, 0, 0, 0, 0, u8::from(has_opt)])?;
        if has_opt {
            let opt = message + end;
            let [flags, _] = frame.read(opt + field::OPT_FLAGS)?;
            frame.write(opt, OPT_BEGINNING)?;
            frame.write(opt + OPT_BEGINNING.len(), [0, 0, flags & DNSSEC_OK, 0, 0, 0])?;
        }
        frame.write(layout.transport + udp::SOURCE, tuple.server_port.to_be_bytes())?;
        frame.write(layout.transport + udp::DESTINATION, tuple.client_port.to_be_bytes())?;
        frame.write(layout.transport + udp::LENGTH, (length as u32 * 0x1_0000).to_be_bytes())?;
        let sum = sum(frame, layout.transport, length)?;
        let checksum = !fold(sum + headers::pseudo_header(tuple.client, tuple.server, Protocol::Udp, length));
        // 0 would say that there is none (RFC 768).
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        frame.write(layout.transport + udp::CHECKSUM, checksum.to_be_bytes())
    }
}

/// The sum of the words in `length` octets of `frame` from `from` on, the last one filled up with zeros.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see read")]
fn sum<F: Frame + ?Sized>(frame: &F, from: usize, length: usize) -> Option<u64> {
    let mut sum = 0;
    for word in 0..(UDP + MAX_MESSAGE) / 4 {
        let (at, length) = (4 * word, frame.forget(length));
        if at + 4 > length {
            // The last four octets, of which those that were counted go out at the top; there are more than four.
            let last: [u8; 4] = frame.read(from + length.wrapping_sub(4))?;
            let counted = (8 * (at + 4 - length)) & 63;
            return Some(sum + (u64::from(u32::from_be_bytes(last)) << counted & 0xffff_ffff));
        }
        sum += u64::from(u32::from_be_bytes(frame.read(from + at)?));
    }
    Some(sum)
}
