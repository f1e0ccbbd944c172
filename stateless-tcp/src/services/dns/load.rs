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
    /// What has been loaded, and is not served yet.
    loaded: Mutex<Option<State>>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<ZoneSource, Arc<Held>>,
    /// Which files could be read.
    policy: Policy,
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

    fn loaded(&self) -> MutexGuard<'_, Option<State>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of loading the zones that are served.
    #[must_use]
    pub fn report(&self) -> Report {
        self.state().report.clone()
    }

    /// What came of loading those that are not served yet.
    #[must_use]
    pub fn news(&self) -> Report {
        self.loaded().as_ref().map(|state| state.report.clone()).unwrap_or_default()
    }

    /// What has been loaded is served now.
    pub fn commit(&self) {
        if let Some(state) = self.loaded().take() {
            *self.state() = state;
        }
    }

    /// Loads zones, which can include anything but `secrets`. What is served, and was loaded from files that have not changed
    /// since, is not read again. No zones at all is what is served without any.
    ///
    /// # Errors
    /// If there are zones, but none could be loaded, now or before: the first one's error. If a directory cannot be read. If
    /// they take more than this server can number.
    pub fn load(&self, options: &ZoneOptions, secrets: &[&Path]) -> Result<Zones, Arc<ZoneError>> {
        let mut policy = Policy::default();
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
        let mut report = Report { read, warnings: ignored, ..Report::default() };
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
                content.map_or(Served::Broken, |content| Served::Zone(Arc::clone(&content.zone))),
            ));
        }
        if report.served == 0
            && report.failures.iter().all(|failure| failure.instead != Instead::Older)
            && let Some(first) = report.failures.first()
        {
            return Err(Arc::clone(&first.error));
        }
        let catalog = Catalog::new(served).ok_or_else(|| Arc::new(ZoneError::File {
            file: sources.last().map_or_else(PathBuf::new, |source| source.file.clone()),
            what: "this and the other zones have more than 4,294,967,295 names, which this server cannot hold".to_owned(),
        }))?;
        let held = sources.into_iter().zip(held).collect();
        *self.loaded() = Some(State { held, policy, report: report.clone() });
        Ok(Zones { catalog, fingerprint: Fingerprint::of_set(fingerprints), report })
    }
}

/// Whose each zone is where several files say that they are it.
struct Claims(HashMap<ZoneName, usize>);

impl Claims {
    /// A file that can be loaded goes before one that could be once, and that before one that cannot; else the first.
    fn new(sources: &[ZoneSource], held: &[Arc<Held>]) -> Self {
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

    /// The source that the zone of this one is served from, if it is another.
    fn other(&self, index: usize, held: &Held) -> Option<usize> {
        let apex = held.attempt.apex.as_ref()?;
        self.0.get(&ZoneName::new(apex)).copied().filter(|&other| other != index)
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
