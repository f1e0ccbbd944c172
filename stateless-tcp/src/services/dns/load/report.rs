//! What came of loading zones, for the log, the metrics and whoever asked for it.

use super::super::name::Name;
use super::{Content, Held, ZoneError, ZoneName};
use crate::observe::snapshot;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Most warnings that are written out.
const MAX_WARNINGS: usize = 20;

/// What came of loading zones.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Zones that are served as their files have them.
    pub served: usize,
    /// Of these, how many were read anew.
    pub read: usize,
    /// Zones that could not be loaded, in the order in which they are configured.
    pub failures: Vec<Failure>,
    /// What is ignored in zones, or cannot be answered, by file, line and column; of those read anew.
    pub warnings: Vec<String>,
    /// Names in all zones, and the bytes of memory that the zones take.
    pub names: usize,
    /// Bytes of memory.
    pub memory: usize,
}

/// A zone that could not be loaded.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub error: Arc<ZoneError>,
    /// What is served in its place.
    pub instead: Instead,
}

/// What is served in place of a zone that cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Its last good content.
    Older,
    /// SERVFAIL.
    ServFail,
    /// Nothing: nobody has said its name.
    Nothing,
    /// Another file, which says that it is the same zone.
    Another,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instead = match self.instead {
            Instead::Older => "the content loaded before is served on",
            Instead::ServFail => "questions for this zone get SERVFAIL",
            Instead::Nothing => "its name is not known, so nothing is served for it; give it as NAME=FILE",
            Instead::Another => "that one is served; give each zone once",
        };
        write!(formatter, "{} ({instead})", self.error)
    }
}

impl Report {
    /// How many zones are configured.
    #[must_use]
    pub fn count(&self) -> usize {
        self.served + self.failures.len()
    }

    /// What is to be said of zones that are served, a line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let more = self.warnings.len().saturating_sub(MAX_WARNINGS);
        let more = (more > 0)
            .then(|| format!("{more} more such warnings; `stateless-tcp check-zone` lists all of a zone"));
        self.warnings.iter().take(MAX_WARNINGS).cloned().chain(more)
    }

    /// What is to be said of zones that could not be loaded, a line each.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(Failure::to_string)
    }

    /// The numbers alone; none where no zones are configured.
    #[must_use]
    pub fn numbers(&self) -> Option<snapshot::ZonesSnapshot> {
        let failed =
            |instead| self.failures.iter().filter(|failure| failure.instead == instead).count() as u64;
        (self.count() > 0).then(|| snapshot::ZonesSnapshot {
            current: self.served as u64,
            older: failed(Instead::Older),
            broken: failed(Instead::ServFail),
            unknown: failed(Instead::Nothing) + failed(Instead::Another),
            names: self.names as u64,
            memory: self.memory as u64,
        })
    }

    /// Takes note of a zone, and returns what is served of it. The zone of `file` can be served from an `other` one.
    pub(super) fn note<'a>(
        &mut self,
        held: &'a Held,
        is_known: bool,
        file: &Path,
        other: Option<&Path>,
    ) -> Option<&'a Content> {
        let content = match (&held.attempt.content, other) {
            (Ok(_), Some(other)) => {
                let apex = held.attempt.apex.clone().unwrap_or_else(Name::root);
                let what = format!("zone {apex} is that of {} already", other.display());
                let error = Arc::new(ZoneError::File { file: file.to_owned(), what });
                self.failures.push(Failure { error, instead: Instead::Another });
                None
            }
            (Ok(content), None) => {
                self.served += 1;
                if !is_known {
                    self.warnings.extend(content.warnings.iter().cloned());
                }
                Some(content)
            }
            (Err(error), other) => {
                let instead = match (other, &held.fallback, &held.attempt.apex) {
                    (Some(_), _, _) => Instead::Another,
                    (None, Some(_), _) => Instead::Older,
                    (None, None, Some(_)) => Instead::ServFail,
                    (None, None, None) => Instead::Nothing,
                };
                self.failures.push(Failure { error: Arc::clone(error), instead });
                held.fallback.as_ref().filter(|_| other.is_none())
            }
        };
        if let Some(Content { zone, .. }) = content {
            self.names += zone.names.len();
            self.memory += zone.memory();
        }
        content
    }
}

/// What serving a zone comes to.
#[derive(Clone, Debug)]
pub struct Summary {
    zone: ZoneName,
    names: usize,
    records: usize,
    denial: &'static str,
    memory: usize,
    /// What would be ignored, or could not be answered, by file, line and column.
    pub warnings: Vec<String>,
}

impl Summary {
    pub(super) fn new(apex: &Name, content: &Content) -> Self {
        let zone = &content.zone;
        Self {
            zone: ZoneName::new(apex),
            names: zone.owners(),
            records: zone.record_count(),
            denial: zone.denial.kind(),
            memory: zone.memory(),
            warnings: content.warnings.to_vec(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zone, names, records, denial, memory, warnings: _ } = self;
        write!(
            formatter,
            "zone {zone}: {records} records at {names} names, {denial}, {memory} bytes of memory"
        )
    }
}
