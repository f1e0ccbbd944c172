//! Reads a directory tree into pages, once, before the first request. Knows nothing of requests.

mod found;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tracing::warn;

use self::found::Found;
use super::file::File;
use super::prepared::Prepared;
use super::{MAX_RESPONSE, Page};

/// Most octets of memory that the pages of one root may take: 512 MiB.
pub(super) const MAX_MEMORY: usize = 512 << 20;
/// Most directories inside each other.
const MAX_DEPTH: usize = 64;
const INDEX: &str = "index.html";

/// From 1970 to 1990. There was no web before: an earlier time of a file is a constant that tools set (0 or 1
/// second for Nix and container images, 1980 for ZIP, 1985 for npm), and stays the same when the content changes.
const FIRST_TIME: Duration = Duration::from_hours(24 * (20 * 365 + 5));

type Pages = HashMap<Box<[u8]>, Page, foldhash::fast::RandomState>;

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

/// The pages under `root`, in at most `limit` octets. A file modified after `now` has no modification time.
pub(super) fn pages(root: &Path, now: SystemTime, limit: usize) -> Result<Pages, HttpRootError> {
    let failed = |source| HttpRootError::Root { path: root.to_owned(), source };
    let canonical = root.canonicalize().map_err(failed)?;
    // Read it here as well: below, an unreadable directory is only left out.
    fs::read_dir(&canonical).map_err(failed)?;
    let mut loader = Loader {
        root: canonical.clone(),
        memory: Memory { root, limit, used: 0 },
        found: Vec::new(),
        above: Vec::new(),
    };
    loader.directory(&canonical, b"/")?;
    let Loader { found, memory, .. } = loader;
    prepare(found, now, memory)
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
    memory: Memory<'a>,
    found: Vec<Found>,
    /// The canonical directories being read, outermost first.
    above: Vec<PathBuf>,
}

impl Loader<'_> {
    /// Reads the directory at the canonical path `directory`, served at `url`, which ends in "/".
    fn directory(&mut self, directory: &Path, url: &[u8]) -> Result<(), HttpRootError> {
        if self.above.len() == MAX_DEPTH {
            skip(directory, "more than 64 directories inside each other");
            return Ok(());
        }
        if self.above.iter().any(|above| above == directory) {
            skip(directory, "a symbolic link leads back into a directory above it");
            return Ok(());
        }
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                skip(directory, &error.to_string());
                return Ok(());
            }
        };
        self.above.push(directory.to_owned());
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry.path(), url)?,
                Err(error) => skip(directory, &error.to_string()),
            }
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: &Path, url: &[u8]) -> Result<(), HttpRootError> {
        let Some(name) = path.file_name() else { return Ok(()) };
        // One way for links and all else: what counts is where the path really leads.
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) => {
                skip(path, &error.to_string());
                return Ok(());
            }
        };
        if !target.starts_with(&self.root) {
            skip(path, "a symbolic link leads out of the root");
            return Ok(());
        }
        let url = [url, name.as_bytes()].concat();
        match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => self.directory(&target, &[&url[..], b"/"].concat())?,
            Ok(metadata) if metadata.is_file() => match Found::read(&target, url) {
                Ok(found) => {
                    self.memory.take(found.body.len())?;
                    self.found.push(found);
                }
                Err(error) => skip(path, &error.to_string()),
            },
            Ok(_) => skip(path, "neither a file nor a directory"),
            Err(error) => skip(path, &error.to_string()),
        }
        Ok(())
    }
}

/// Makes pages of all that was found.
fn prepare(found: Vec<Found>, now: SystemTime, mut memory: Memory<'_>) -> Result<Pages, HttpRootError> {
    let constant = constant_time(&found);
    let mut pages = Pages::default();
    let mut add = |url: &[u8], page, octets| {
        pages.insert(url.into(), page);
        memory.take(size_of::<(Box<[u8]>, Page)>() + url.len() + octets)
    };
    for Found { url, body, len, modified } in found {
        let modified =
            modified.filter(|time| Some(*time) != constant).and_then(|time| last_modified(time, now));
        let read = body.len() as u64;
        let file = File::new(name(&url), modified, body);
        let wanted = file.len() as u64 - read + len;
        let (page, size) = if wanted > MAX_RESPONSE as u64 {
            (Page::TooLarge(wanted), 0)
        } else {
            let size = file.size();
            (Page::File(Arc::new(file)), size)
        };
        if let Some(directory) = url.strip_suffix(INDEX.as_bytes()).filter(|url| url.ends_with(b"/")) {
            add(directory, page.clone(), 0)?;
            if let Some(bare @ [_, ..]) = directory.strip_suffix(b"/") {
                let moved = moved_to(directory);
                let size = moved.len();
                add(bare, Page::Moved(Arc::new(moved)), size)?;
            }
        }
        add(&url, page, size)?;
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
    Path::new(std::ffi::OsStr::from_bytes(name))
}

/// Sends who asked for a directory without its final slash to `url`.
fn moved_to(url: &[u8]) -> Prepared {
    let location: String = url.iter().copied().map(encode).collect();
    let fields = format!("Location: {location}\r\n");
    let text = format!("This page is at {location}\n");
    Prepared::text("301 Moved Permanently", &fields, &text)
}

/// An octet of a path as it stands in a URI (RFC 3986 3.3, `pchar`).
fn encode(octet: u8) -> String {
    if octet.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&octet) {
        char::from(octet).to_string()
    } else {
        format!("%{octet:02X}")
    }
}

fn skip(path: &Path, reason: &str) {
    warn!("not served: {}: {reason}", path.display());
}
