//! Reads a directory tree into pages, once, before the first request. Knows nothing of requests.

mod found;
mod report;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use self::found::Found;
use self::report::Report;
use super::coding::Coding;
use super::file::{Content, File};
use super::prepared::Prepared;
use super::{Moved, Page};

/// Most octets of memory that the pages of one root may take: 512 MiB.
pub(super) const MAX_MEMORY: usize = 512 << 20;
/// Most directories inside each other.
const MAX_DEPTH: usize = 64;
const INDEX: &str = "index.html";
/// The one name in the root that begins with a dot and is for everybody (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// From 1970 to 1990. There was no web before: an earlier time of a file is a constant that tools set (0 or 1
/// second for Nix and container images, 1980 for ZIP, 1985 for npm), and stays the same when the content changes.
const FIRST_TIME: Duration = Duration::from_hours(24 * (20 * 365 + 5));

type Pages = HashMap<Box<[u8]>, Page, foldhash::fast::RandomState>;

/// How files are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// What Cache-Control says of every file (RFC 9111 5.2); `None`: there is no such field.
    pub cache_control: Option<String>,
    /// Serve files and directories whose name begins with a dot. `.well-known` in the root is served in any case.
    pub dot_files: bool,
}

impl FileOptions {
    /// The line of a header section, if there is one.
    pub(super) fn cache_control_field(&self) -> String {
        let line = |text| format!("Cache-Control: {text}\r\n");
        self.cache_control.as_ref().map(line).unwrap_or_default()
    }
}

/// Why a directory cannot be served.
#[derive(Debug, Error)]
pub enum HttpRootError {
    /// The root cannot be found or read.
    #[error("cannot read the HTTP root {path}: {source}; it must be a directory this process may read")]
    Root {
        /// The root as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The pages take too much memory.
    #[error(
        "the HTTP root {path} holds more than {limit} bytes of pages: \
         all pages are kept in memory, so serve a smaller tree"
    )]
    TooMuch {
        /// The root as it was given.
        path: PathBuf,
        /// Most octets of pages.
        limit: usize,
    },
}

/// The pages under `root`, in at most `limit` octets, and what is not among them. A file modified after `now` has no
/// modification time.
pub(super) fn pages(
    root: &Path,
    options: &FileOptions,
    now: SystemTime,
    limit: usize,
) -> Result<(Pages, Report), HttpRootError> {
    let failed = |source| HttpRootError::Root { path: root.to_owned(), source };
    let canonical = root.canonicalize().map_err(failed)?;
    // Read it here as well: below, an unreadable directory is only left out.
    fs::read_dir(&canonical).map_err(failed)?;
    let mut loader = Loader {
        root: canonical.clone(),
        dot_files: options.dot_files,
        memory: Memory { root, limit, used: 0 },
        report: Report::default(),
        found: Vec::new(),
        above: Vec::new(),
    };
    loader.directory(&canonical, b"/")?;
    let Loader { found, memory, mut report, .. } = loader;
    let pages = prepare(&found, options, now, memory, &mut report)?;
    Ok((pages, report))
}

/// What the pages take of the memory set aside for them.
struct Memory<'a> {
    root: &'a Path,
    limit: usize,
    used: usize,
}

impl Memory<'_> {
    fn take(&mut self, octets: usize) -> Result<(), HttpRootError> {
        self.used += octets;
        if self.used > self.limit {
            return Err(HttpRootError::TooMuch { path: self.root.to_owned(), limit: self.limit });
        }
        Ok(())
    }
}

struct Loader<'a> {
    /// Canonical.
    root: PathBuf,
    dot_files: bool,
    memory: Memory<'a>,
    report: Report,
    found: Vec<Found>,
    /// The canonical directories being read, outermost first.
    above: Vec<PathBuf>,
}

impl Loader<'_> {
    /// Reads the directory at the canonical path `directory`, served at `url`, which ends in "/".
    fn directory(&mut self, directory: &Path, url: &[u8]) -> Result<(), HttpRootError> {
        if self.above.len() == MAX_DEPTH {
            self.report.skip(directory, &"more than 64 directories inside each other");
            return Ok(());
        }
        if self.above.iter().any(|above| above == directory) {
            self.report.skip(directory, &"a symbolic link leads back into a directory above it");
            return Ok(());
        }
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut paths: Vec<PathBuf> = match entries {
            Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
            Err(error) => {
                self.report.skip(directory, &error);
                return Ok(());
            }
        };
        // The same is named each time.
        paths.sort_unstable();
        self.above.push(directory.to_owned());
        for path in paths {
            self.entry(&path, url)?;
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: &Path, url: &[u8]) -> Result<(), HttpRootError> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let hidden = name.as_bytes().starts_with(b".") && !(url == b"/" && name == WELL_KNOWN);
        if hidden && !self.dot_files {
            self.report.hide(path);
            return Ok(());
        }
        // One way for links and all else: what counts is where the path really leads.
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) => {
                self.report.skip(path, &error);
                return Ok(());
            }
        };
        if !target.starts_with(&self.root) {
            self.report.skip(path, &"a symbolic link leads out of the root");
            return Ok(());
        }
        let url = [url, name.as_bytes()].concat();
        match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => self.directory(&target, &[&url[..], b"/"].concat())?,
            Ok(metadata) if metadata.is_file() => match Found::read(&target, path, url) {
                Ok(found) => {
                    self.memory.take(found.body.len())?;
                    self.found.push(found);
                }
                Err(error) => self.report.skip(path, &error),
            },
            Ok(_) => self.report.skip(path, &"neither a file nor a directory"),
            Err(error) => self.report.skip(path, &error),
        }
        Ok(())
    }
}

/// Makes pages of all that was found.
fn prepare(
    found: &[Found],
    options: &FileOptions,
    now: SystemTime,
    mut memory: Memory<'_>,
    report: &mut Report,
) -> Result<Pages, HttpRootError> {
    let constant = constant_time(found);
    let content = |found: &Found| {
        let modified = found.modified.filter(|time| Some(*time) != constant);
        let modified = modified.and_then(|time| last_modified(time, now));
        Content { body: Arc::clone(&found.body), len: found.len, modified }
    };
    let by_url: HashMap<&[u8], &Found> = found.iter().map(|found| (&*found.url, found)).collect();
    let mut pages = Pages::default();
    let mut add = |url: &[u8], page, octets| {
        pages.insert(url.into(), page);
        memory.take(size_of::<(Box<[u8]>, Page)>() + url.len() + octets)
    };
    for one in found {
        let beside = |coding: Coding| by_url.get(&[&one.url, coding.suffix().as_bytes()].concat()[..]);
        let coded = Coding::ALL.into_iter().filter_map(|coding| Some((coding, content(beside(coding)?))));
        let file = File::new(name(&one.url), content(one), coded.collect(), options);
        if let Some(wanted) = file.too_large() {
            report.too_large(&one.path, wanted, file.is_served());
        }
        let (size, page) = (file.size(), Page::File(Arc::new(file)));
        if let Some(directory) = one.url.strip_suffix(INDEX.as_bytes()).filter(|url| url.ends_with(b"/")) {
            add(directory, page.clone(), 0)?;
            if let Some(bare @ [_, ..]) = directory.strip_suffix(b"/") {
                let moved = moved_to(directory, options);
                let size = size_of::<Moved>() + moved.answer.len();
                add(bare, Page::Moved(Arc::new(moved)), size)?;
            }
        }
        add(&one.url, page, size)?;
    }
    Ok(pages)
}

/// The time that every file of several has, to the second: whoever packed or unpacked them set it, and may set the same
/// again for other content.
fn constant_time(found: &[Found]) -> Option<SystemTime> {
    let [first, others @ ..] = found else { return None };
    let time = first.modified?;
    let whole = time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|time| time.subsec_nanos() == 0);
    let shared = !others.is_empty() && others.iter().all(|other| other.modified == Some(time));
    (whole && shared).then_some(time)
}

/// In whole seconds. None for a time that does not tell versions of a file apart, nor for one in the future, which
/// RFC 9110 8.8.2.1 forbids to send.
fn last_modified(time: SystemTime, now: SystemTime) -> Option<SystemTime> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok().filter(|time| *time >= FIRST_TIME)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
    (time <= now).then_some(time)
}

/// The name of the file at `url`.
fn name(url: &[u8]) -> &Path {
    let name = url.rsplit(|octet| *octet == b'/').next().unwrap_or_default();
    Path::new(OsStr::from_bytes(name))
}

/// Sends who asked for a directory without its final slash to `url`, with the query that came.
fn moved_to(url: &[u8], options: &FileOptions) -> Moved {
    let location: String = url.iter().copied().map(encode).collect();
    let fields = format!("Location: {location}");
    let text = format!("This page is at {location}\n");
    let place_end = fields.len();
    let control = options.cache_control_field();
    Moved {
        answer: Prepared::text("301 Moved Permanently", &format!("{fields}\r\n{control}"), &text),
        place_end,
    }
}

/// An octet of a path as it stands in a URI (RFC 3986 3.3, `pchar`).
fn encode(octet: u8) -> String {
    if octet.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&octet) {
        char::from(octet).to_string()
    } else {
        format!("%{octet:02X}")
    }
}
