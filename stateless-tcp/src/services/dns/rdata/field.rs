//! The operations of a field of record data, and the fields that are names.

use super::cursor::{Cursor, MalformedRdata};
use super::present::escape_name;
use crate::services::dns::presentation::{ParseError, Words};

/// One field of a type's data. Errors name the field.
pub(super) trait Field: Sync {
    /// Reads the presentation form, and appends the wire form.
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError>;

    /// Takes the field from the data, and checks it.
    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata>;

    /// Takes the field from checked data, and appends its presentation form.
    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata>;

    /// The case rule of its names.
    fn case(&self) -> NameCase {
        NameCase::Kept
    }

    /// Lower-cases the names in the field's wire form.
    fn fold(&self, _field: &mut [u8]) {}

    /// Its length in bytes if that is fixed, else 0.
    fn width(&self) -> usize {
        0
    }
}

/// The rule for the case and compression of a name in record data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NameCase {
    /// Its case counts.
    Kept,
    /// It is lower-cased to compare records (RFC 4034 section 6.2).
    Folded,
    /// The same, and it is compressed in messages (RFC 3597 section 4).
    Compressed,
}

/// A name.
pub(super) struct NameField(pub(super) &'static str, pub(super) NameCase);

impl Field for NameField {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        words.name(self.0, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.name(self.0).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        escape_name(data.name(self.0)?, out);
        Ok(())
    }

    fn case(&self) -> NameCase {
        self.1
    }

    fn fold(&self, field: &mut [u8]) {
        if self.1 != NameCase::Kept {
            // Length bytes are below 64, hence no letters.
            field.make_ascii_lowercase();
        }
    }
}

/// Names up to the end of the data.
pub(super) struct NameListField(pub(super) &'static str);

impl Field for NameListField {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        while words.has_more()? {
            words.name(self.0, out)?;
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        while !data.is_at_end() {
            data.name(self.0)?;
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let mut separator = "";
        while !data.is_at_end() {
            out.push_str(separator);
            separator = " ";
            escape_name(data.name(self.0)?, out);
        }
        Ok(())
    }
}
