//! Offsets, flags and codes of DNS messages on the wire (RFC 1035 section 4), for every module here that reads or writes one.

use std::ops::Range;

/// Bytes of the length before a message over TCP (RFC 1035 section 4.2.2).
pub(crate) use crate::dns_framing::LENGTH_PREFIX as PREFIX;
/// Bytes of the header.
pub(super) const HEADER: usize = 12;
/// Offsets of the header's count fields (RFC 1035 section 4.1.1).
pub(super) const QUESTIONS: usize = 4;
pub(super) const ANSWERS: usize = 6;
pub(super) const AUTHORITIES: usize = 8;
pub(super) const ADDITIONALS: usize = 10;
/// Bytes of type and class at the end of a question.
pub(super) const TYPE_CLASS: usize = 4;
/// Bytes of a record between its owner and its data: type, class, TTL and data length.
pub(super) const FIXED: usize = 10;
/// Ranges of the TTL and the data length in these bytes.
pub(super) const TTL: Range<usize> = 4..8;
pub(super) const DATA_LENGTH: Range<usize> = 8..10;
/// Classes IN, CH and ANY (RFC 1035 section 3.2.4).
pub(super) const CLASS_IN: u16 = 1;
pub(super) const CLASS_CH: u16 = 3;
pub(super) const CLASS_ANY: u16 = 255;

/// Bits of the header's second 16-bit word.
pub(super) mod flag {
    pub(in super::super) const QR: u16 = 0x8000;
    pub(in super::super) const OPCODE: u16 = 0x7800;
    pub(in super::super) const AA: u16 = 0x0400;
    pub(in super::super) const TC: u16 = 0x0200;
    pub(in super::super) const RD: u16 = 0x0100;
    pub(in super::super) const AD: u16 = 0x0020;
    pub(in super::super) const CD: u16 = 0x0010;
}

/// Response codes (RFC 1035 section 4.1.1, RFC 6672 section 2.2, RFC 6891 section 9, RFC 7873 section 8, RFC 8945
/// section 3). The OPT record holds the high 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    YxDomain = 6,
    NotAuth = 9,
    BadVers = 16,
    BadCookie = 23,
}

/// The end of the name at `at`. A pointer ends the name; its target is not checked.
pub(super) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            label @ 1..=63 => at += 1 + usize::from(label),
            0xc0..=0xff => return (at + 1 < message.len()).then_some(at + 2),
            _ => return None,
        }
    }
}

/// The 16-bit word at `at`.
pub(super) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
