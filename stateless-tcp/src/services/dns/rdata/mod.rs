//! Record types: of each the fields of its data, in one [table](table::TABLE). What is read from a zone file, checked in
//! wire form, lower-cased, compressed and written as text follows from the fields; nothing else here knows a type.
//!
//! What this room does not know: zones, messages, and what a server does with a type.

mod address;
mod apl;
mod bitmap;
mod cursor;
mod encoded;
mod field;
mod gateway;
mod hip;
mod legacy;
mod loc;
mod mnemonic;
mod number;
mod params;
mod present;
mod rules;
mod string;
mod svcb;
mod table;

pub(super) use cursor::MalformedRdata;
pub(super) use encoded::opaque;
pub(super) use present::escape_name;

use super::zonefile::{ParseError, Words};
use cursor::Cursor;
use field::{Field, NameCase};
use std::fmt;

/// A record type.
pub(super) struct RecordType {
    number: u16,
    mnemonic: &'static str,
    fields: RdataForm,
    /// What holds of several fields together.
    rule: Option<Rule>,
}

/// Checks data whose fields have their forms.
type Rule = fn(&[u8]) -> Result<(), MalformedRdata>;

/// What data of a type consists of.
enum RdataForm {
    /// These, one behind the other.
    Known(&'static [&'static dyn Field]),
    /// Bytes that have no form but that of RFC 3597 section 5.
    Opaque,
    /// It is no type of data: for messages or questions only (RFC 6895 section 3.1).
    Meta,
}

/// The type of this number; of one that is not known, a type of opaque data.
pub(super) fn record_type(number: u16) -> &'static RecordType {
    table::find(number)
}

/// The number of the type that `word` names, by its mnemonic in any case or as `TYPE123` (RFC 3597 section 5).
pub(super) fn by_name(word: &[u8]) -> Option<u16> {
    table::by_name(word).or_else(|| generic_name(word))
}

fn generic_name(word: &[u8]) -> Option<u16> {
    let (prefix, digits) = word.split_at_checked(4)?;
    if !prefix.eq_ignore_ascii_case(b"TYPE") || digits.len() > 5 {
        return None;
    }
    super::zonefile::decimal(digits).and_then(|number| number.try_into().ok())
}

/// The type's mnemonic, or `TYPE123` where it has none.
pub(super) fn mnemonic(number: u16) -> impl fmt::Display {
    fmt::from_fn(move |f| match record_type(number).mnemonic {
        "" => write!(f, "TYPE{number}"),
        mnemonic => f.write_str(mnemonic),
    })
}

impl RecordType {
    /// How many bytes of the data precede the names that may be compressed, and how many such names there are; (0, 0)
    /// where none may: only those of the types of RFC 1035 may (RFC 3597 section 4).
    pub(super) fn compressible(&self) -> (usize, usize) {
        let RdataForm::Known(fields) = self.fields else { return (0, 0) };
        let is_compressible = |field: &&&dyn Field| field.case() == NameCase::Compressed;
        let names = fields.iter().filter(is_compressible).count();
        let before = fields.iter().take_while(|field| !is_compressible(field)).map(|field| field.width());
        if names == 0 { (0, 0) } else { (before.sum(), names) }
    }

    /// Whether it is no type of data, and so never one of a zone: OPT, TSIG, ANY, 0 and the like.
    pub(super) fn is_meta(&self) -> bool {
        matches!(self.fields, RdataForm::Meta)
    }

    /// Checks that `rdata` is the uncompressed wire form of data of this type, complete and with nothing behind it.
    pub(super) fn check(&self, rdata: &[u8]) -> Result<(), MalformedRdata> {
        let RdataForm::Known(fields) = self.fields else { return Ok(()) };
        let mut cursor = Cursor::new(rdata);
        for field in fields {
            field.check(&mut cursor)?;
        }
        cursor.end()?;
        self.rule.map_or(Ok(()), |rule| rule(rdata))
    }

    /// Lower-cases the names in checked data whose case does not count (RFC 4034 section 6.2, RFC 6840 section 5.1).
    pub(super) fn fold_names(&self, rdata: &mut [u8]) {
        let RdataForm::Known(fields) = self.fields else { return };
        if fields.iter().all(|field| field.case() == NameCase::Kept) {
            return;
        }
        let mut start = 0;
        for field in fields {
            let mut cursor = Cursor::new(&rdata[start..]);
            if field.check(&mut cursor).is_err() {
                return;
            }
            let end = start + cursor.taken();
            field.fold(&mut rdata[start..end]);
            start = end;
        }
    }

    /// Appends the data in presentation form; in that of RFC 3597 section 5 where it has no other.
    pub(super) fn present(&self, rdata: &[u8], out: &mut String) {
        let start = out.len();
        if self.check(rdata).is_ok() && self.present_fields(rdata, out).is_ok() && out.len() > start {
            return;
        }
        out.truncate(start);
        present::opaque(rdata, out);
    }

    fn present_fields(&self, rdata: &[u8], out: &mut String) -> Result<(), MalformedRdata> {
        let RdataForm::Known(fields) = self.fields else { return Ok(()) };
        let mut cursor = Cursor::new(rdata);
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            let before = out.len();
            field.present(&mut cursor, out)?;
            if index > 0 && out.len() == before {
                out.pop();
            }
        }
        Ok(())
    }

    /// Reads the data's presentation form, which `words` begin with, and appends its wire form.
    pub(super) fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let RdataForm::Known(fields) = self.fields else {
            return Err(words.unknown_form());
        };
        let start = out.len();
        for field in fields {
            field.parse(words, out)?;
        }
        self.rule.map_or(Ok(()), |rule| rule(&out[start..])).map_err(|malformed| words.malformed(&malformed))
    }

    /// What errors about data of this type begin with.
    pub(super) fn subject(&self) -> &'static str {
        if self.mnemonic.is_empty() { "record data" } else { self.mnemonic }
    }
}

#[cfg(test)]
mod tests;
