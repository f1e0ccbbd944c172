//! Strings.

use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use super::present::quote;
use crate::services::dns::presentation::{ParseError, Word, Words};

/// Appends `word` as a string with its length before it.
pub(super) fn push(words: &Words<'_, '_>, word: &Word<'_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    let start = out.len();
    out.push(0);
    words.decode(word, out)?;
    let length = out.len() - start - 1;
    out[start] = u8::try_from(length)
        .map_err(|_| words.refuse_bare(word, format_args!("a string of {length} bytes: at most 255")))?;
    Ok(())
}

/// One string of at most 255 bytes.
pub(super) struct Text(pub(super) &'static str);

impl Field for Text {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.any(self.0)?;
        push(words, &word, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.string(self.0).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        quote(data.string(self.0)?, out);
        Ok(())
    }
}

/// A string that may be left out.
pub(super) struct OptionalText(pub(super) &'static str);

impl Field for OptionalText {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        if words.has_more()? { Text(self.0).parse(words, out) } else { Ok(()) }
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        if data.is_at_end() { Ok(()) } else { Text(self.0).check(data) }
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        if data.is_at_end() { Ok(()) } else { Text(self.0).present(data, out) }
    }
}

/// Strings, one or more, up to the end of the data.
pub(super) struct Texts(pub(super) &'static str);

impl Field for Texts {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let first = words.any(self.0)?;
        push(words, &first, out)?;
        while let Some(word) = words.next()? {
            push(words, &word, out)?;
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.string(self.0)?;
        while !data.is_at_end() {
            data.string(self.0)?;
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        quote(data.string(self.0)?, out);
        while !data.is_at_end() {
            out.push(' ');
            quote(data.string(self.0)?, out);
        }
        Ok(())
    }
}

/// A string that takes the rest of the data, without a length (RFC 7553 section 4.4, RFC 8659 section 4.1).
pub(super) struct LongText {
    pub(super) what: &'static str,
    /// It must stand in quotes.
    pub(super) quoted: bool,
}

impl Field for LongText {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.any(self.what)?;
        if self.quoted && !word.quoted {
            return Err(words.unexpected(&word, format_args!("{} in quotes", self.what)));
        }
        words.decode(&word, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.rest();
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        quote(data.rest(), out);
        Ok(())
    }
}

/// A string of letters and digits, written without quotes: the tag of a CAA (RFC 8659 section 4.1).
pub(super) struct Tag(pub(super) &'static str);

impl Field for Tag {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(self.0)?;
        if !word.raw.iter().all(u8::is_ascii_alphanumeric) {
            return Err(words.unexpected(&word, format_args!("{} of letters and digits", self.0)));
        }
        push(words, &word, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let tag = data.string(self.0)?;
        let is_tag = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
        if is_tag {
            Ok(())
        } else {
            Err(MalformedRdata::new(format!("expected {} of letters and digits", self.0)))
        }
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        out.extend(data.string(self.0)?.iter().map(|&byte| char::from(byte)));
        Ok(())
    }
}
