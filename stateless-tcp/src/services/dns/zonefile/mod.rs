//! Zone files (RFC 1035 section 5, RFC 2308 section 4, and `$GENERATE` as BIND has it) to records, each with the place where
//! it stands.
//!
//! A text is read once from its start to its end; every record goes to a sink as soon as it is read, out of buffers
//! that are used again for the next. What this room does not know: which zone it is, whether records go together, and
//! what becomes of them; and of record types only what the [table](super::rdata) says.
//!
//! Where the texts leave a choice, it is that of most of BIND, Knot DNS and NSD:
//! - A record without TTL has that of `$TTL`, else the last one that was stated, else, if it is an SOA, its own minimum.
//! - An included file begins with the origin, the owner and the TTLs of the one that includes it, which has its own again
//!   behind it.
//! - A TTL of more than 2^31 - 1 seconds counts as 0 (RFC 2181 section 8).

mod directive;
mod error;
mod files;
mod generate;
mod reader;
mod scanner;
mod text;
mod words;

pub use error::ZoneError;
pub(super) use files::{IncludePolicy, ZoneFiles};
pub(super) use scanner::{ParseError, Word};
pub(super) use text::{decimal, name, seconds};
pub(super) use words::Words;

use super::rdata;
use reader::ZoneReader;
use std::fmt::Write as _;
use std::path::Path;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Index in [`ZoneFiles`].
    pub(super) file: u16,
    /// From 1.
    pub(super) line: u32,
    /// From 1, in bytes; the last stands for all behind it.
    pub(super) column: u16,
}

/// One record, names uncompressed and in the file's case.
#[derive(Debug)]
pub(super) struct ZoneRecord<'a> {
    /// Wire form.
    pub(super) owner: &'a [u8],
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    /// Wire form, which [`Type::check`](super::rdata::Type::check) accepts.
    pub(super) rdata: &'a [u8],
    pub(super) place: Position,
}

impl ZoneRecord<'_> {
    /// Appends the record as a line of a zone file.
    fn present(&self, out: &mut String) {
        rdata::escape_name(self.owner, out);
        // A String takes all that is written to it.
        let _ = write!(out, " {} IN {} ", self.ttl, rdata::mnemonic(self.rtype));
        rdata::record_type(self.rtype).present(self.rdata, out);
        out.push('\n');
    }
}

/// Why a sink does not take a record.
#[derive(Debug)]
pub(super) struct RecordRejected(pub(super) String);

/// What takes records.
pub(super) type RecordSink<'s> = &'s mut dyn FnMut(ZoneRecord<'_>) -> Result<(), RecordRejected>;

/// A zone file to read.
pub(super) struct ZoneInput<'a> {
    pub(super) path: &'a Path,
    /// What relative names are relative to before any `$ORIGIN`: the zone's configured name, in wire form.
    pub(super) origin: Option<&'a [u8]>,
    pub(super) policy: &'a IncludePolicy,
}

/// What has been read, however it went.
#[derive(Debug)]
pub(super) struct ReadOutcome {
    /// All files that were read or tried.
    pub(super) files: ZoneFiles,
    /// The owner of the first SOA, else the configured origin, in wire form: `$ORIGIN` may be anything.
    pub(super) name: Option<Vec<u8>>,
    /// The first thing that is wrong.
    pub(super) result: Result<(), ZoneError>,
}

/// Reads the records of a zone file and of those that it includes.
pub(super) fn read(source: &ZoneInput<'_>, sink: RecordSink<'_>) -> ReadOutcome {
    ZoneReader::new(source.policy, source.origin, sink).read(source.path)
}

/// Reads the records of a text, which can include nothing; `name` stands for its path in errors.
pub(super) fn read_text(
    name: &Path,
    text: &[u8],
    origin: Option<&[u8]>,
    sink: RecordSink<'_>,
) -> ReadOutcome {
    ZoneReader::new(&IncludePolicy::default(), origin, sink).read_text(name, text)
}

/// Reads a zone file given as text, and writes its records again: one a line, names absolute, TTL, class and type stated.
/// What is written reads to the same records.
///
/// # Errors
/// The first thing that is wrong.
pub fn zonefile_text(text: &[u8]) -> Result<String, ZoneError> {
    let mut out = String::new();
    let reading = read_text(Path::new("text"), text, None, &mut |record| {
        record.present(&mut out);
        Ok(())
    });
    reading.result.map(|()| out)
}

/// Reads a zone file given as text, and counts its records: what reading alone costs can be measured by it.
///
/// # Errors
/// The first thing that is wrong.
pub fn count_records(text: &[u8]) -> Result<u64, ZoneError> {
    let mut count = 0;
    let reading = read_text(Path::new("text"), text, None, &mut |_| {
        count += 1;
        Ok(())
    });
    reading.result.map(|()| count)
}

#[cfg(test)]
mod tests;
