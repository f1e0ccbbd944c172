//! Reads a directory tree into pages, once, before the first request. Knows nothing of requests.

use std::collections::HashMap;
use std::fs::{self, File as OpenFile, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tracing::warn;

use super::prepared::Prepared;
use super::{File, MAX_RESPONSE, Page};

/// Most octets of memory that the pages of one root may take: 512 MiB.
pub(super) const MAX_MEMORY: usize = 512 << 20;
/// Most directories inside each other.
const MAX_DEPTH: usize = 64;
const INDEX: &str = "index.html";

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
        "the HTTP root {path} holds more than {limit} octets of pages: \
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
        given: root,
        now,
        limit,
        used: 0,
        pages: Pages::default(),
        above: Vec::new(),
    };
    loader.directory(&canonical, b"/")?;
    Ok(loader.pages)
}

struct Loader<'a> {
    /// Canonical.
    root: PathBuf,
    given: &'a Path,
    now: SystemTime,
    limit: usize,
    used: usize,
    pages: Pages,
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
            Ok(metadata) if metadata.is_dir() => {
                let inside = [&url[..], b"/"].concat();
                self.directory(&target, &inside)?;
                if self.pages.contains_key(&inside[..]) {
                    self.add(url, moved_to(&inside))?;
                }
            }
            Ok(metadata) if metadata.is_file() => match self.file(&target, Path::new(name)) {
                Ok(page) => {
                    if name == INDEX {
                        self.add(url[..url.len() - INDEX.len()].to_vec(), page.clone())?;
                    }
                    self.add(url, page)?;
                }
                Err(error) => skip(path, &error.to_string()),
            },
            Ok(_) => skip(path, "neither a file nor a directory"),
            Err(error) => skip(path, &error.to_string()),
        }
        Ok(())
    }

    fn file(&self, path: &Path, name: &Path) -> io::Result<Page> {
        // Should a FIFO have taken the file's place meanwhile, opening it must not wait for a writer.
        let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let metadata = opened.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no longer a file"));
        }
        let modified = metadata.modified().ok().and_then(|time| self.last_modified(time));
        let body = read_at_most(&opened, MAX_RESPONSE)?;
        let file = File::new(name, modified, &body);
        if file.found.len() > MAX_RESPONSE {
            let unread = metadata.len().saturating_sub(body.len() as u64);
            return Ok(Page::TooLarge(file.found.len() as u64 + unread));
        }
        Ok(Page::File(Arc::new(file)))
    }

    /// In whole seconds; none for a time in the future, which RFC 9110 8.8.2.1 forbids to send.
    fn last_modified(&self, time: SystemTime) -> Option<SystemTime> {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        (time <= self.now).then_some(time)
    }

    fn add(&mut self, url: Vec<u8>, page: Page) -> Result<(), HttpRootError> {
        let size = match &page {
            Page::File(file) => file.size(),
            Page::Moved(moved) => moved.len(),
            Page::TooLarge(_) => 0,
        };
        self.used += size_of::<(Box<[u8]>, Page)>() + url.len() + size;
        if self.used > self.limit {
            return Err(HttpRootError::TooMuch { path: self.given.to_owned(), limit: self.limit });
        }
        self.pages.insert(url.into_boxed_slice(), page);
        Ok(())
    }
}

/// The octets of `file`, or one more than `most` of them.
fn read_at_most(file: &OpenFile, most: usize) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Sends who asked for a directory without its final slash to `url`.
fn moved_to(url: &[u8]) -> Page {
    let location: String = url.iter().copied().map(encode).collect();
    let fields = format!("Location: {location}\r\n");
    let text = format!("This page is at {location}\n");
    Page::Moved(Arc::new(Prepared::text("301 Moved Permanently", &fields, &text)))
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
