//! What a field of record data can do, and the fields that are names.

use super::cursor::{Cursor, Malformed};
use super::present::escape_name;
use crate::services::dns::zonefile::{Fault, Words};

/// One field of a type's data, in its three forms: what it is called, to whom it matters, stands in the errors.
pub(super) trait Field: Sync {
    /// Reads the presentation form, and appends the wire form.
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Takes the field out of the data, if it has its form.
    fn check(&self, data: &mut Cursor<'_>) -> Result<(), Malformed>;

    /// Appends the presentation form of the field, which is taken out of checked data.
    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), Malformed>;

    /// What may be done to the names in it.
    fn case(&self) -> Case {
        Case::Kept
    }

    /// Lower-cases the names in the field's wire form.
    fn fold(&self, _field: &mut [u8]) {}

    /// How many bytes it takes, where that is fixed.
    fn width(&self) -> usize {
        0
    }
}

/// What may be done to a name in record data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Nothing: its case counts.
    Kept,
    /// Lower-case it to compare records (RFC 4034 section 6.2).
    Folded,
    /// That, and compress it in messages (RFC 3597 section 4).
    Compressed,
}

/// A name.
pub(super) struct Name(pub(super) &'static str, pub(super) Case);

impl Field for Name {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        words.name(self.0, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), Malformed> {
        data.name(self.0).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), Malformed> {
        escape_name(data.name(self.0)?, out);
        Ok(())
    }

    fn case(&self) -> Case {
        self.1
    }

    fn fold(&self, field: &mut [u8]) {
        if self.1 != Case::Kept {
            // Length bytes are below 64, hence no letters.
            field.make_ascii_lowercase();
        }
    }
}

/// Names up to the end of the data.
pub(super) struct Names(pub(super) &'static str);

impl Field for Names {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        while words.has_more()? {
            words.name(self.0, out)?;
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), Malformed> {
        while !data.is_at_end() {
            data.name(self.0)?;
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), Malformed> {
        let mut first = true;
        while !data.is_at_end() {
            if !first {
                out.push(' ');
            }
            first = false;
            escape_name(data.name(self.0)?, out);
        }
        Ok(())
    }
}
