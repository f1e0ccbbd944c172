//! Sets of record types.

use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use super::present::put;
use crate::services::dns::presentation::{ParseError, Words};

/// Most bytes of the bits of one window.
const WINDOW: usize = 32;

/// Record types up to the end of the data, in windows of 256 (RFC 4034 section 4.1.2). There may be none, for which NSEC
/// has no use; but Knot DNS and NSD take it.
pub(super) struct Types;

impl Field for Types {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let start = out.len();
        while let Some(word) = words.next()? {
            let rtype = (!word.quoted).then(|| super::by_name(word.raw)).flatten();
            add(rtype.ok_or_else(|| words.unexpected(&word, "a record type"))?, start, out);
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let mut last = None;
        while !data.is_at_end() {
            let window = data.u8("a window of record types")?;
            let bits = data.string("the bits of record types")?;
            if last.is_some_and(|last| last >= window) {
                return Err(MalformedRdata::new("the windows of record types are not in ascending order"));
            }
            if bits.is_empty() || bits.len() > WINDOW || bits.last() == Some(&0) {
                return Err(MalformedRdata::new(
                    "a window of record types is empty, longer than 32 bytes or ends with 0",
                ));
            }
            last = Some(window);
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let mut separator = "";
        while !data.is_at_end() {
            let window = data.u8("a window of record types")?;
            for (index, bits) in data.string("the bits of record types")?.iter().enumerate() {
                for bit in (0..8_u16).filter(|bit| bits & (0x80 >> bit) != 0) {
                    #[expect(clippy::cast_possible_truncation, reason = "a string has at most 255 bytes")]
                    let rtype = (u16::from(window) << 8) + 8 * index as u16 + bit;
                    put!(out, "{separator}{}", super::mnemonic(rtype));
                    separator = " ";
                }
            }
        }
        Ok(())
    }
}

/// Adds a type to the windows that begin at `start`.
fn add(rtype: u16, start: usize, out: &mut Vec<u8>) {
    let [window, low] = rtype.to_be_bytes();
    let (byte, bit) = (usize::from(low / 8), 0x80 >> (low % 8));
    let mut at = start;
    while at < out.len() && out[at] < window {
        at += 2 + usize::from(out[at + 1]);
    }
    if at == out.len() || out[at] != window {
        out.splice(at..at, [window, 0]);
    }
    let length = usize::from(out[at + 1]);
    if byte >= length {
        let end = at + 2 + length;
        out.splice(end..end, std::iter::repeat_n(0, byte + 1 - length));
        #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
        {
            out[at + 1] = (byte + 1) as u8;
        }
    }
    out[at + 2 + byte] |= bit;
}

/// The bits of types below 128 up to the end of the data, as NXT has them (RFC 2535 section 5.2).
pub(super) struct NxtTypes;

impl Field for NxtTypes {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const EXPECTED: &str = "a record type below 128";
        let start = out.len();
        while words.has_more()? {
            let word = words.plain(EXPECTED)?;
            let rtype = super::by_name(word.raw).filter(|rtype| (1..128).contains(rtype));
            let rtype = usize::from(rtype.ok_or_else(|| words.unexpected(&word, EXPECTED))?);
            let length = (out.len() - start).max(rtype / 8 + 1);
            out.resize(start + length, 0);
            out[start + rtype / 8] |= 0x80 >> (rtype % 8);
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let bits = data.rest();
        // The highest bit would mark another form.
        let is_bitmap = bits.last().is_none_or(|&last| last != 0)
            && bits.len() <= 16
            && bits.first().is_none_or(|first| first & 0x80 == 0);
        if is_bitmap {
            Ok(())
        } else {
            Err(MalformedRdata::new("the record types are not in the form of RFC 2535"))
        }
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let mut separator = "";
        for (index, bits) in (0_u16..).zip(data.rest()) {
            for bit in (0..8).filter(|bit| bits & (0x80 >> bit) != 0) {
                put!(out, "{separator}{}", super::mnemonic(8 * index + bit));
                separator = " ";
            }
        }
        Ok(())
    }
}
