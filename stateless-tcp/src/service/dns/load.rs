//! From zone files to zones: each by itself, several at a time, and what has not changed not at all.
//!
//! A zone that cannot be loaded costs nobody else anything: its last good content is served on, or SERVFAIL.

mod report;
mod source;

pub use report::{Failure, Instead, Report, Summary};
pub use source::{ZoneName, ZoneOptions, ZoneSource};

use super::catalog::{Catalog, Served};
use super::name::Name;
use super::zone::{Builder, Zone};
use super::zonefile::{self, Files, Policy, Reading, Source, ZoneError};
use crate::fingerprint::Fingerprint;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The outcome of reading one zone file: what of it can be served, and the files that say so.
#[derive(Debug)]
struct Attempt {
    /// The name, if anything said it.
    apex: Option<Name>,
    content: Result<Content, Arc<ZoneError>>,
    files: Files,
}

/// What is served of a zone.
#[derive(Clone, Debug)]
struct Content {
    zone: Arc<Zone>,
    fingerprint: Fingerprint,
    warnings: Arc<[String]>,
}

/// What a zone is, and what became of its file.
#[derive(Debug)]
struct Held {
    attempt: Attempt,
    /// Older content, where the file cannot be loaded any more.
    fallback: Option<Content>,
}

/// Zones that have been loaded, by what they are loaded from; for as long as they are wanted.
#[derive(Debug, Default)]
pub struct Library {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<ZoneSource, Arc<Held>>,
    /// Where files could be included from.
    include: Vec<PathBuf>,
    report: Report,
}

/// What a [`Library`] has loaded.
#[derive(Debug)]
pub struct Zones {
    pub(super) catalog: Catalog,
    pub(super) fingerprint: Fingerprint,
    pub(super) report: Report,
}

impl Library {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of loading zones last.
    #[must_use]
    pub fn report(&self) -> Report {
        self.state().report.clone()
    }

    /// Loads zones, which can include anything but `secrets`. What was loaded before from files that have not changed since is not read again.
    ///
    /// # Errors
    /// If there are zones, but none could be loaded, now or before: the first one's error. If one is given twice. If they take
    /// more than this server can number.
    pub fn load(&self, options: &ZoneOptions, secrets: &[&Path]) -> Result<Zones, Arc<ZoneError>> {
        let mut policy = Policy::default();
        options.include.iter().for_each(|directory| policy.allow(directory));
        for file in secrets {
            policy.forbid(file);
        }
        let sources = &options.sources()?;
        let (before, is_same_policy) = {
            let state = self.state();
            (state.held.clone(), state.include == options.include)
        };
        let (held, read) = load_all(sources, &policy, is_same_policy, &before);
        let mut report = Report { read, ..Report::default() };
        let (mut served, mut fingerprints) = (Vec::new(), Vec::new());
        let mut files: HashMap<ZoneName, &Path> = HashMap::new();
        for (source, held) in sources.iter().zip(&held) {
            let content = report.note(held, before.get(source).is_some_and(|known| Arc::ptr_eq(known, held)));
            let Some(apex) = &held.attempt.apex else { continue };
            if let Some(other) = files.insert(ZoneName::new(apex), &source.file) {
                let what =
                    format!("zone {apex} is loaded already, from {}: give each zone once", other.display());
                return Err(Arc::new(ZoneError::File { file: source.file.clone(), what }));
            }
            fingerprints
                .push(content.map_or_else(|| Fingerprint::of(&apex.wire()), |content| content.fingerprint));
            served.push((
                apex.clone(),
                content.map_or(Served::Broken, |content| Served::Zone(Arc::clone(&content.zone))),
            ));
        }
        if let (0, Some(first)) = (report.served, held.first())
            && report.failures.iter().all(|failure| failure.instead != Instead::Older)
            && let Err(error) = &first.attempt.content
        {
            return Err(Arc::clone(error));
        }
        let catalog = Catalog::new(served).ok_or_else(|| Arc::new(ZoneError::File {
            file: sources.last().map_or_else(PathBuf::new, |source| source.file.clone()),
            what: "this and the other zones have more than 4,294,967,295 names, which this server cannot hold".to_owned(),
        }))?;
        let held = sources.iter().cloned().zip(held).collect();
        *self.state() = State { held, include: options.include.clone(), report: report.clone() };
        Ok(Zones { catalog, fingerprint: Fingerprint::of_all(fingerprints), report })
    }
}

/// Loads what has changed, or all if other files may be included now, on as many threads as there are processors, and counts
/// that.
fn load_all(
    sources: &[ZoneSource],
    policy: &Policy,
    is_same_policy: bool,
    before: &HashMap<ZoneSource, Arc<Held>>,
) -> (Vec<Arc<Held>>, usize) {
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
            loaded.push((index, Arc::new(Held { attempt, fallback })));
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

impl Held {
    fn content(&self) -> Option<&Content> {
        self.attempt.content.as_ref().ok().or(self.fallback.as_ref())
    }
}

fn attempt(source: &ZoneSource, policy: &Policy) -> Attempt {
    let mut builder = Builder::new();
    let name = source.name.as_ref().map(ZoneName::name);
    let origin = name.as_ref().map(Name::wire);
    let source = Source { path: &source.file, origin, policy };
    let reading = zonefile::read(&source, &mut |record| builder.add(&record));
    let Reading { files, name: said, result } = reading;
    let mut apex = name.clone().or_else(|| said.and_then(|wire| Name::read(&wire)).map(|(name, _)| name));
    let content = result.and_then(|()| {
        let built = builder.finish(name.as_ref()).map_err(|problem| problem.within(&files))?;
        apex = Some(built.zone.names.name(built.zone.apex));
        Ok(Content {
            zone: Arc::new(built.zone),
            fingerprint: built.fingerprint,
            warnings: built.warnings.into_iter().map(|problem| problem.within(&files).to_string()).collect(),
        })
    });
    Attempt { apex, content: content.map_err(Arc::new), files }
}

/// Loads one zone, to see what would become of it.
///
/// # Errors
/// The first thing wrong with it, by file, line and column.
pub fn check(source: &ZoneSource, include: &[PathBuf]) -> Result<Summary, Arc<ZoneError>> {
    let mut policy = Policy::default();
    for directory in include {
        policy.allow(directory);
    }
    let Attempt { apex, content, .. } = attempt(source, &policy);
    let content = content?;
    Ok(Summary::new(&apex.unwrap_or_else(Name::root), &content))
}

/// A zone given as text, which must be right.
pub(super) fn text(name: &Path, text: &str) -> Result<(Name, Zone, Fingerprint), ZoneError> {
    let mut builder = Builder::new();
    let reading = zonefile::read_text(name, text.as_bytes(), None, &mut |record| builder.add(&record));
    reading.result?;
    let built = builder.finish(None).map_err(|problem| problem.within(&reading.files))?;
    let apex = built.zone.names.name(built.zone.apex);
    Ok((apex, built.zone, built.fingerprint))
}

#[cfg(test)]
mod tests;
