//! Records read from a zone file, and their sinks.

use super::error::ZoneError;
use super::files::{IncludePolicy, Position, ZoneFiles};
use crate::services::dns::rdata;
use std::fmt::Write as _;
use std::path::Path;

/// One record, names uncompressed and in the file's case.
#[derive(Debug)]
pub(in super::super) struct ZoneRecord<'a> {
    /// Wire form.
    pub(in super::super) owner: &'a [u8],
    pub(in super::super) rtype: u16,
    pub(in super::super) ttl: u32,
    /// Wire form that [`RecordType::check`](super::super::rdata::RecordType::check) accepts.
    pub(in super::super) rdata: &'a [u8],
    pub(in super::super) place: Position,
}

impl ZoneRecord<'_> {
    /// Appends the record as a line of a zone file.
    pub(super) fn present(&self, out: &mut String) {
        rdata::escape_name(self.owner, out);
        // A String takes all that is written to it.
        let _ = write!(out, " {} IN {} ", self.ttl, rdata::mnemonic(self.rtype));
        rdata::record_type(self.rtype).present(self.rdata, out);
        out.push('\n');
    }
}

/// The reason why a sink rejects a record.
#[derive(Debug)]
pub(in super::super) struct RecordRejected(pub(in super::super) String);

/// A sink for records.
pub(in super::super) type RecordSink<'s> = &'s mut dyn FnMut(ZoneRecord<'_>) -> Result<(), RecordRejected>;

/// A zone file to read.
pub(in super::super) struct ZoneInput<'a> {
    pub(in super::super) path: &'a Path,
    /// The origin before any `$ORIGIN`: the zone's configured name in wire form.
    pub(in super::super) origin: Option<&'a [u8]>,
    pub(in super::super) policy: &'a IncludePolicy,
}

/// The result of reading a zone file.
#[derive(Debug)]
pub(in super::super) struct ReadOutcome {
    /// All files that were read or tried.
    pub(in super::super) files: ZoneFiles,
    /// The owner of the first SOA, else the configured origin, in wire form: `$ORIGIN` may be anything.
    pub(in super::super) name: Option<Vec<u8>>,
    /// The first error.
    pub(in super::super) result: Result<(), ZoneError>,
}
