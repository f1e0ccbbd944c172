//! A record type: the list of its data's fields, and the operations that follow from them.

use super::cursor::{Cursor, MalformedRdata};
use super::field::{Field, NameCase};
use super::present;
use crate::services::dns::presentation::{ParseError, Words};

/// A record type.
pub(in super::super) struct RecordType {
    pub(super) number: u16,
    pub(super) mnemonic: &'static str,
    pub(super) fields: RdataForm,
    /// A rule on several fields together.
    pub(super) rule: Option<Rule>,
}

/// Checks data whose fields have their forms.
pub(super) type Rule = fn(&[u8]) -> Result<(), MalformedRdata>;

/// The form of a type's data.
pub(super) enum RdataForm {
    /// These fields in sequence.
    Known(&'static [&'static dyn Field]),
    /// Bytes whose only presentation is that of RFC 3597 section 5.
    Opaque,
    /// No data type: for messages or questions only (RFC 6895 section 3.1).
    Meta,
}

impl RecordType {
    /// The bytes before the compressible names of the data, and their number; (0, 0) if there are none. Only names in
    /// types of RFC 1035 are compressible (RFC 3597 section 4).
    pub(in super::super) fn compressible(&self) -> (usize, usize) {
        let RdataForm::Known(fields) = self.fields else { return (0, 0) };
        let is_compressible = |field: &&&dyn Field| field.case() == NameCase::Compressed;
        let names = fields.iter().filter(is_compressible).count();
        let before = fields.iter().take_while(|field| !is_compressible(field)).map(|field| field.width());
        if names == 0 { (0, 0) } else { (before.sum(), names) }
    }

    /// Whether it is a meta-type, which never occurs in a zone, such as OPT, TSIG, ANY and 0.
    pub(in super::super) fn is_meta(&self) -> bool {
        matches!(self.fields, RdataForm::Meta)
    }

    /// Checks that `rdata` is the complete, uncompressed wire form of data of this type.
    pub(in super::super) fn check(&self, rdata: &[u8]) -> Result<(), MalformedRdata> {
        let RdataForm::Known(fields) = self.fields else { return Ok(()) };
        let mut cursor = Cursor::new(rdata);
        for field in fields {
            field.check(&mut cursor)?;
        }
        cursor.end()?;
        self.rule.map_or(Ok(()), |rule| rule(rdata))
    }

    /// Lower-cases the case-insensitive names in checked data (RFC 4034 section 6.2, RFC 6840 section 5.1).
    pub(in super::super) fn fold_names(&self, rdata: &mut [u8]) {
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

    /// Appends the data in presentation form, or in that of RFC 3597 section 5 if it has no other.
    pub(in super::super) fn present(&self, rdata: &[u8], out: &mut String) {
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

    /// Parses the data's presentation form at the front of `words`, and appends its wire form.
    pub(in super::super) fn parse(
        &self,
        words: &mut Words<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        let RdataForm::Known(fields) = self.fields else {
            return Err(words.unknown_form());
        };
        let start = out.len();
        for field in fields {
            field.parse(words, out)?;
        }
        self.rule.map_or(Ok(()), |rule| rule(&out[start..])).map_err(|malformed| words.malformed(&malformed))
    }

    /// The prefix of errors about data of this type.
    pub(in super::super) fn subject(&self) -> &'static str {
        if self.mnemonic.is_empty() { "record data" } else { self.mnemonic }
    }
}
