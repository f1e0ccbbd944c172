//! The report on loading zones, for the log, the metrics and `check-zone`.

use super::super::name::DomainName;
use super::super::zone::Zone;
use super::super::zonefile::ZoneError;
use super::source::ZoneName;
use crate::observe::snapshot;
use std::fmt;
use std::sync::Arc;

/// Limit on the warnings that are written out.
const MAX_WARNINGS: usize = 20;

/// The report on loading zones.
#[derive(Clone, Debug, Default)]
pub struct ZoneReport {
    /// Zones that are served with their files' content.
    pub served: usize,
    /// Zones of these that were read anew.
    pub read: usize,
    /// Zones that could not be loaded, in the order in which they are configured.
    pub failures: Vec<ZoneFailure>,
    /// Ignored or unanswerable records of the zones read anew, by file, line and column.
    pub warnings: Vec<String>,
    /// Names in all zones.
    pub names: usize,
    /// Bytes of memory.
    pub memory: usize,
}

/// A zone that could not be loaded.
#[derive(Clone, Debug)]
pub struct ZoneFailure {
    /// Why.
    pub error: Arc<ZoneError>,
    /// The substitute that is served.
    pub fallback: Fallback,
}

/// The substitute for a zone that cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Its last good content.
    Previous,
    /// SERVFAIL.
    ServFail,
    /// Nothing: its name is unknown.
    NotServed,
    /// Another file with the same zone.
    Duplicate,
}

impl fmt::Display for ZoneFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fallback = match self.fallback {
            Fallback::Previous => "its previous content is still served",
            Fallback::ServFail => "queries for this zone get SERVFAIL",
            Fallback::NotServed => "its name is unknown, so it is not served; give it as NAME=FILE",
            Fallback::Duplicate => "that one is served; give each zone once",
        };
        write!(formatter, "{} ({fallback})", self.error)
    }
}

impl ZoneReport {
    /// The number of configured zones.
    #[must_use]
    pub fn count(&self) -> usize {
        self.served + self.failures.len()
    }

    /// Warnings about served zones, a line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let more = self.warnings.len().saturating_sub(MAX_WARNINGS);
        let more = (more > 0)
            .then(|| format!("{more} more such warnings; `stateless-tcp check-zone` lists all of a zone"));
        self.warnings.iter().take(MAX_WARNINGS).cloned().chain(more)
    }

    /// Errors of zones that could not be loaded, a line each.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(ZoneFailure::to_string)
    }

    /// The counts for metrics; `None` if no zones are configured.
    #[must_use]
    pub fn numbers(&self) -> Option<snapshot::ZonesSnapshot> {
        let failed =
            |fallback| self.failures.iter().filter(|failure| failure.fallback == fallback).count() as u64;
        (self.count() > 0).then(|| snapshot::ZonesSnapshot {
            current: self.served as u64,
            older: failed(Fallback::Previous),
            broken: failed(Fallback::ServFail),
            unknown: failed(Fallback::NotServed) + failed(Fallback::Duplicate),
            names: self.names as u64,
            memory: self.memory as u64,
        })
    }
}

/// The result of checking a zone.
#[derive(Clone, Debug)]
pub struct ZoneSummary {
    zone: ZoneName,
    names: usize,
    records: usize,
    denial: &'static str,
    memory: usize,
    /// Ignored or unanswerable records, by file, line and column.
    pub warnings: Vec<String>,
}

impl ZoneSummary {
    pub(super) fn new(apex: &DomainName, zone: &Zone, warnings: &[String]) -> Self {
        Self {
            zone: ZoneName::new(apex),
            names: zone.owners(),
            records: zone.record_count(),
            denial: zone.denial.kind(),
            memory: zone.memory(),
            warnings: warnings.to_vec(),
        }
    }
}

impl fmt::Display for ZoneSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zone, names, records, denial, memory, warnings: _ } = self;
        write!(
            formatter,
            "zone {zone}: {records} records at {names} names, {denial}, {memory} bytes of memory"
        )
    }
}
