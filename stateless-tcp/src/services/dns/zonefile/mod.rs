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
mod record;
mod ttl;

pub use error::ZoneError;
pub(super) use files::{IncludePolicy, Position, ZoneFiles};
pub(super) use record::{ReadOutcome, RecordRejected, RecordSink, ZoneInput, ZoneRecord};

use reader::ZoneReader;
use std::path::Path;

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
