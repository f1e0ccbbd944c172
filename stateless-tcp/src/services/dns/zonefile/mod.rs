//! Reads zone files (RFC 1035 section 5, RFC 2308 section 4, and `$GENERATE` as in BIND) into records with their
//! positions.
//!
//! A text is read once from start to end. Every record goes to a sink as soon as it is read, in buffers that the next
//! record reuses. This module does not know which zone it reads, whether records fit together and how they are used; it
//! knows record types from the [table](super::rdata) alone.
//!
//! Choices that the RFCs leave open follow the majority of BIND, Knot DNS and NSD:
//! - A record without TTL has the one of `$TTL`, else the last stated TTL, else, for an SOA, its own minimum.
//! - An included file starts with the origin, the owner and the TTLs of the including file, whose origin and owner
//!   apply again behind it.
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

/// Reads the records of a text, which cannot include files; errors show `name` as its path.
pub(super) fn read_text(
    name: &Path,
    text: &[u8],
    origin: Option<&[u8]>,
    sink: RecordSink<'_>,
) -> ReadOutcome {
    ZoneReader::new(&IncludePolicy::default(), origin, sink).read_text(name, text)
}

/// Reads a zone file given as text, and writes its records one a line, with absolute names, TTL, class and type. The
/// output reads as the same records.
///
/// # Errors
/// The first error.
pub fn zonefile_text(text: &[u8]) -> Result<String, ZoneError> {
    let mut out = String::new();
    let reading = read_text(Path::new("text"), text, None, &mut |record| {
        record.present(&mut out);
        Ok(())
    });
    reading.result.map(|()| out)
}

/// Reads a zone file given as text, and counts its records, to measure the cost of reading alone.
///
/// # Errors
/// The first error.
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
