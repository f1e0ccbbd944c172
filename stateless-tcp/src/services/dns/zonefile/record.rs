//! Records on their way from a zone file to a sink.

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
    /// Wire form, which [`RecordType::check`](super::super::rdata::RecordType::check) accepts.
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

/// Why a sink does not take a record.
#[derive(Debug)]
pub(in super::super) struct RecordRejected(pub(in super::super) String);

/// What takes records.
pub(in super::super) type RecordSink<'s> = &'s mut dyn FnMut(ZoneRecord<'_>) -> Result<(), RecordRejected>;

/// A zone file to read.
pub(in super::super) struct ZoneInput<'a> {
    pub(in super::super) path: &'a Path,
    /// What relative names are relative to before any `$ORIGIN`: the zone's configured name, in wire form.
    pub(in super::super) origin: Option<&'a [u8]>,
    pub(in super::super) policy: &'a IncludePolicy,
}

/// What has been read, however it went.
#[derive(Debug)]
pub(in super::super) struct ReadOutcome {
    /// All files that were read or tried.
    pub(in super::super) files: ZoneFiles,
    /// The owner of the first SOA, else the configured origin, in wire form: `$ORIGIN` may be anything.
    pub(in super::super) name: Option<Vec<u8>>,
    /// The first thing that is wrong.
    pub(in super::super) result: Result<(), ZoneError>,
}
