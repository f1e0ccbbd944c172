//! Bytes as hexadecimal digits, base64 and base32.

use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use crate::services::dns::presentation::{ParseError, Word, Words, decimal};
use data_encoding::{BASE32HEX_NOPAD, BASE64, DecodePartial, Encoding, HEXLOWER_PERMISSIVE, HEXUPPER};
use memchr::memchr;
use std::sync::LazyLock;

/// Base64 that may have bits to spare at its end, as Knot DNS and NSD take it.
static BASE64_LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = BASE64.specification();
    specification.check_trailing_bits = false;
    specification.encoding().unwrap_or(BASE64)
});

/// Appends the decoded `text`, if it is valid.
fn decode(encoding: &Encoding, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    // Padding must be at the end: the library would accept several concatenated encodings.
    if memchr(b'=', &text[..text.len().saturating_sub(2)]).is_some() {
        return None;
    }
    let most = encoding.decode_len(text.len()).ok()?;
    out.resize(start + most, 0);
    match encoding.decode_mut(text, &mut out[start..]) {
        Ok(length) => {
            out.truncate(start + length);
            Some(())
        }
        Err(DecodePartial { .. }) => None,
    }
}

/// Appends the bytes that a word of hexadecimal digits stands for.
pub(super) fn hex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(&HEXLOWER_PERMISSIVE, text, out)
}

/// Appends the bytes that a word of base64 stands for.
pub(super) fn base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(&BASE64_LENIENT, text, out)
}

/// Decodes all remaining words as one text.
fn rest(
    encoding: &Encoding,
    words: &mut Words<'_, '_>,
    what: &'static str,
    form: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let first = words.gather(what)?;
    decode(encoding, words.scratch, out)
        .ok_or_else(|| words.unexpected(&first, format_args!("{what}, in {form}")))
}

/// Base64 up to the end of the data.
pub(super) struct Base64(pub(super) &'static str);

impl Field for Base64 {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        rest(&BASE64_LENIENT, words, self.0, "base64", out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.u8(self.0)?;
        data.rest();
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        BASE64.encode_append(data.rest(), out);
        Ok(())
    }
}

/// Base64 up to the end of the data, which may be empty; an optional word stands for empty data.
pub(super) struct OptionalBase64(pub(super) &'static str, pub(super) Option<&'static str>);

impl Field for OptionalBase64 {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        if self.1.is_some_and(|nothing| words.is_next(nothing.as_bytes()).unwrap_or(false)) {
            return words.plain(self.0).map(drop);
        }
        if self.1.is_some() || words.has_more()? { Base64(self.0).parse(words, out) } else { Ok(()) }
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.rest();
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        match (data.rest(), self.1) {
            ([], Some(nothing)) => out.push_str(nothing),
            (rest, _) => BASE64.encode_append(rest, out),
        }
        Ok(())
    }
}

/// Hexadecimal digits up to the end of the data.
pub(super) struct Hex(pub(super) &'static str);

impl Field for Hex {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        rest(&HEXLOWER_PERMISSIVE, words, self.0, "pairs of hexadecimal digits", out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.u8(self.0)?;
        data.rest();
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        HEXUPPER.encode_append(data.rest(), out);
        Ok(())
    }
}

/// Reads one word as bytes with their length before them.
fn prefixed(
    words: &Words<'_, '_>,
    word: &Word<'_>,
    encoding: &Encoding,
    expected: &str,
    out: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let start = out.len();
    out.push(0);
    decode(encoding, word.raw, out).ok_or_else(|| words.unexpected(word, expected))?;
    let length = out.len() - start - 1;
    out[start] = u8::try_from(length).map_err(|_| words.unexpected(word, expected))?;
    Ok(())
}

/// The salt of NSEC3: hexadecimal digits in one word, `-` for none (RFC 5155 section 3.3).
pub(super) struct Salt;

impl Field for Salt {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const EXPECTED: &str = "a salt, in pairs of hexadecimal digits or - for none";
        let word = words.plain(EXPECTED)?;
        if word.raw == b"-" {
            out.push(0);
            return Ok(());
        }
        prefixed(words, &word, &HEXLOWER_PERMISSIVE, EXPECTED, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.string("a salt").map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        match data.string("a salt")? {
            [] => out.push('-'),
            salt => HEXUPPER.encode_append(salt, out),
        }
        Ok(())
    }
}

/// The next hashed owner of NSEC3: base32 in one word (RFC 5155 section 3.3).
pub(super) struct NextHash;

impl Field for NextHash {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const EXPECTED: &str = "a hashed owner name, in base32";
        let word = words.plain(EXPECTED)?;
        words.scratch.clear();
        words.scratch.extend_from_slice(word.raw);
        words.scratch.make_ascii_uppercase();
        let start = out.len();
        out.push(0);
        let decoded = decode(&BASE32HEX_NOPAD, words.scratch, out);
        let length = u8::try_from(out.len() - start - 1).ok().filter(|&length| length > 0);
        let (Some(()), Some(length)) = (decoded, length) else {
            return Err(words.unexpected(&word, EXPECTED));
        };
        out[start] = length;
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        match data.string("a hashed owner name")? {
            [] => Err(MalformedRdata::new("the next hashed owner name is empty")),
            _ => Ok(()),
        }
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        BASE32HEX_NOPAD.encode_append(data.string("a hashed owner name")?, out);
        Ok(())
    }
}

/// Reads the form of RFC 3597 section 5 behind its `\#`: a length, and so many bytes in hexadecimal digits.
pub(in super::super) fn opaque(words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    const LENGTH: &str = "a length, 0 to 65535";
    let word = words.plain(LENGTH)?;
    let length = decimal(word.raw).filter(|&length| length <= u16::MAX.into());
    let length = length.ok_or_else(|| words.unexpected(&word, LENGTH))?;
    let start = out.len();
    if words.has_more()? {
        rest(&HEXLOWER_PERMISSIVE, words, "the data", "pairs of hexadecimal digits", out)?;
    }
    let found = (out.len() - start) as u64;
    if found == length {
        return Ok(());
    }
    Err(words.refuse_bare(&word, format_args!("expected {length} bytes of data behind \\#, found {found}")))
}
