//! Loads zone files into zones, in parallel; unchanged files are not read again.
//!
//! A zone that cannot be loaded does not affect the others: its last good content stays, or its queries get SERVFAIL.

mod report;
mod source;

pub use report::{Fallback, ZoneFailure, ZoneReport, ZoneSummary};
pub use source::{ZoneName, ZoneOptions, ZoneSource};

use super::catalog::{Catalog, CatalogZone};
use super::name::DomainName;
use super::zone::Zone;
use super::zone::build::ZoneBuilder;
use super::zonefile::{self, IncludePolicy, ReadOutcome, ZoneError, ZoneFiles, ZoneInput};
use crate::fingerprint::Fingerprint;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The result of reading one zone file.
#[derive(Debug)]
struct LoadAttempt {
    /// The apex, if the file or the configuration states it.
    apex: Option<DomainName>,
    content: Result<ZoneContent, Arc<ZoneError>>,
    files: ZoneFiles,
}

/// The content of a zone.
#[derive(Clone, Debug)]
struct ZoneContent {
    zone: Arc<Zone>,
    fingerprint: Fingerprint,
    warnings: Arc<[String]>,
}

/// A configured zone: the last attempt to load it, and its previous content.
#[derive(Debug)]
struct ZoneEntry {
    attempt: LoadAttempt,
    /// Previous content, if the file can no longer be loaded.
    fallback: Option<ZoneContent>,
}

/// Loaded zones by their sources, from one reload to the next.
#[derive(Debug, Default)]
pub struct Library {
    state: Mutex<LibraryState>,
    /// Loaded zones that are not served yet.
    loaded: Mutex<Option<LibraryState>>,
}

#[derive(Debug, Default)]
struct LibraryState {
    held: HashMap<ZoneSource, Arc<ZoneEntry>>,
    /// The files that were allowed.
    policy: IncludePolicy,
    report: ZoneReport,
}

/// The zones of one load.
#[derive(Debug)]
pub struct LoadedZones {
    pub(super) catalog: Catalog,
    pub(super) fingerprint: Fingerprint,
    pub(super) report: ZoneReport,
}

impl Library {
    fn state(&self) -> MutexGuard<'_, LibraryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded(&self) -> MutexGuard<'_, Option<LibraryState>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The report on the zones that are served.
    #[must_use]
    pub fn report(&self) -> ZoneReport {
        self.state().report.clone()
    }

    /// The report on the zones that are loaded but not served yet.
    #[must_use]
    pub fn pending_report(&self) -> ZoneReport {
        self.loaded().as_ref().map(|state| state.report.clone()).unwrap_or_default()
    }

    /// Marks the loaded zones as served.
    pub fn commit(&self) {
        if let Some(state) = self.loaded().take() {
            *self.state() = state;
        }
    }

    /// Loads zones, which can include anything but `secrets`. A served zone whose files have not changed is not read
    /// again. Without configured zones the result is empty.
    ///
    /// # Errors
    /// The first zone's error, if zones are configured but none can be loaded, now or before. An error if a
    /// directory cannot be read, or if the zones have more names than this server can number.
    pub fn load(&self, options: &ZoneOptions, secrets: &[&Path]) -> Result<LoadedZones, Arc<ZoneError>> {
        let mut policy = IncludePolicy::default();
        options.include.iter().for_each(|directory| policy.allow(directory));
        for file in secrets {
            policy.forbid(file);
        }
        let (sources, ignored) = options.sources()?;
        let (before, is_same_policy) = {
            let state = self.state();
            (state.held.clone(), state.policy == policy)
        };
        let (held, read) = load_all(&sources, &policy, is_same_policy, &before);
        let mut report = ZoneReport { read, warnings: ignored, ..ZoneReport::default() };
        let claims = Claims::new(&sources, &held);
        let (mut served, mut fingerprints) = (Vec::new(), Vec::new());
        for (index, (source, held)) in sources.iter().zip(&held).enumerate() {
            let is_known = before.get(source).is_some_and(|known| Arc::ptr_eq(known, held));
            let other = claims.other(index, held).map(|other| &*sources[other].file);
            let content = report.note(held, is_known, &source.file, other);
            let Some(apex) = held.attempt.apex.as_ref().filter(|_| other.is_none()) else { continue };
            fingerprints
                .push(content.map_or_else(|| Fingerprint::new(&apex.wire()), |content| content.fingerprint));
            served.push((
                apex.clone(),
                content.map_or(CatalogZone::Broken, |content| CatalogZone::Zone(Arc::clone(&content.zone))),
            ));
        }
        if report.served == 0
            && report.failures.iter().all(|failure| failure.fallback != Fallback::Previous)
            && let Some(first) = report.failures.first()
        {
            return Err(Arc::clone(&first.error));
        }
        let catalog = Catalog::new(served).ok_or_else(|| Arc::new(ZoneError::File {
            file: sources.last().map_or_else(PathBuf::new, |source| source.file.clone()),
            what: "this and the other zones have more than 4,294,967,295 names, which this server cannot hold".to_owned(),
        }))?;
        let held = sources.into_iter().zip(held).collect();
        *self.loaded() = Some(LibraryState { held, policy, report: report.clone() });
        Ok(LoadedZones { catalog, fingerprint: Fingerprint::of_set(fingerprints), report })
    }
}

/// The source of each zone, if several files claim the same zone.
struct Claims(HashMap<ZoneName, usize>);

impl Claims {
    /// A loaded file takes precedence over one with previous content only, and that over a broken one; among equals the
    /// first wins.
    fn new(sources: &[ZoneSource], held: &[Arc<ZoneEntry>]) -> Self {
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|&index| (held[index].attempt.content.is_err(), held[index].fallback.is_none()));
        let mut claims = HashMap::new();
        for index in order {
            if let Some(apex) = &held[index].attempt.apex {
                claims.entry(ZoneName::new(apex)).or_insert(index);
            }
        }
        Self(claims)
    }

    /// The source that serves this zone, if it is another one.
    fn other(&self, index: usize, held: &ZoneEntry) -> Option<usize> {
        let apex = held.attempt.apex.as_ref()?;
        self.0.get(&ZoneName::new(apex)).copied().filter(|&other| other != index)
    }
}

/// Loads the changed zones, or all if the include policy has changed, on one thread per processor; and counts them.
fn load_all(
    sources: &[ZoneSource],
    policy: &IncludePolicy,
    is_same_policy: bool,
    before: &HashMap<ZoneSource, Arc<ZoneEntry>>,
) -> (Vec<Arc<ZoneEntry>>, usize) {
    let (next, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut loaded = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = sources.get(index) else { return loaded };
            let known = before.get(source);
            if let Some(known) = known.filter(|known| is_same_policy && !known.attempt.files.have_changed()) {
                loaded.push((index, Arc::clone(known)));
                continue;
            }
            read.fetch_add(1, Ordering::Relaxed);
            let mut attempt = attempt(source, policy);
            let fallback = match &attempt.content {
                Ok(_) => None,
                Err(_) => known.and_then(|known| known.content().cloned()),
            };
            if fallback.is_some() {
                attempt.apex = known.and_then(|known| known.attempt.apex.clone());
            }
            loaded.push((index, Arc::new(ZoneEntry { attempt, fallback })));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(sources.len());
    let mut loaded: Vec<_> = if threads <= 1 {
        work()
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a panic ends the process")).collect()
        })
    };
    loaded.sort_unstable_by_key(|&(index, _)| index);
    (loaded.into_iter().map(|(_, held)| held).collect(), read.into_inner())
}

impl ZoneReport {
    /// Adds a zone to the report, and returns its content. `other` is the file that serves the zone instead of `file`.
    fn note<'a>(
        &mut self,
        held: &'a ZoneEntry,
        is_known: bool,
        file: &Path,
        other: Option<&Path>,
    ) -> Option<&'a ZoneContent> {
        let content = match (&held.attempt.content, other) {
            (Ok(_), Some(other)) => {
                let apex = held.attempt.apex.clone().unwrap_or_else(DomainName::root);
                let what = format!("zone {apex} is already served from {}", other.display());
                let error = Arc::new(ZoneError::File { file: file.to_owned(), what });
                self.failures.push(ZoneFailure { error, fallback: Fallback::Duplicate });
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
                let fallback = match (other, &held.fallback, &held.attempt.apex) {
                    (Some(_), _, _) => Fallback::Duplicate,
                    (None, Some(_), _) => Fallback::Previous,
                    (None, None, Some(_)) => Fallback::ServFail,
                    (None, None, None) => Fallback::NotServed,
                };
                self.failures.push(ZoneFailure { error: Arc::clone(error), fallback });
                held.fallback.as_ref().filter(|_| other.is_none())
            }
        };
        if let Some(ZoneContent { zone, .. }) = content {
            self.names += zone.names.len();
            self.memory += zone.memory();
        }
        content
    }
}

impl ZoneEntry {
    fn content(&self) -> Option<&ZoneContent> {
        self.attempt.content.as_ref().ok().or(self.fallback.as_ref())
    }
}

fn attempt(source: &ZoneSource, policy: &IncludePolicy) -> LoadAttempt {
    let mut builder = ZoneBuilder::new();
    let name = source.name.as_ref().map(ZoneName::name);
    let origin = name.as_ref().map(DomainName::wire);
    let source = ZoneInput { path: &source.file, origin, policy };
    let reading = zonefile::read(&source, &mut |record| builder.add(&record));
    let ReadOutcome { files, name: said, result } = reading;
    let mut apex =
        name.clone().or_else(|| said.and_then(|wire| DomainName::read(&wire)).map(|(name, _)| name));
    let content = result.and_then(|()| {
        let built = builder.finish(name.as_ref()).map_err(|problem| problem.within(&files))?;
        apex = Some(built.zone.names.name(built.zone.apex));
        Ok(ZoneContent {
            zone: Arc::new(built.zone),
            fingerprint: built.fingerprint,
            warnings: built.warnings.into_iter().map(|problem| problem.within(&files).to_string()).collect(),
        })
    });
    LoadAttempt { apex, content: content.map_err(Arc::new), files }
}

/// Loads one zone to check it.
///
/// # Errors
/// The first thing wrong with it, by file, line and column.
pub fn check(source: &ZoneSource, include: &[PathBuf]) -> Result<ZoneSummary, Arc<ZoneError>> {
    let mut policy = IncludePolicy::default();
    for directory in include {
        policy.allow(directory);
    }
    let LoadAttempt { apex, content, .. } = attempt(source, &policy);
    let content = content?;
    Ok(ZoneSummary::new(&apex.unwrap_or_else(DomainName::root), &content.zone, &content.warnings))
}

/// Compiles a zone given as text.
pub(super) fn text(name: &Path, text: &str) -> Result<(DomainName, Zone, Fingerprint), ZoneError> {
    let mut builder = ZoneBuilder::new();
    let reading = zonefile::read_text(name, text.as_bytes(), None, &mut |record| builder.add(&record));
    reading.result?;
    let built = builder.finish(None).map_err(|problem| problem.within(&reading.files))?;
    let apex = built.zone.names.name(built.zone.apex);
    Ok((apex, built.zone, built.fingerprint))
}

#[cfg(test)]
mod tests;
