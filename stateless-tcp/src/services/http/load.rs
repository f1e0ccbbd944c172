//! Reads a directory tree into pages before the first request. Knows nothing of requests.

mod skipped;
mod source_file;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use self::skipped::SkippedFiles;
use self::source_file::SourceFile;
use super::coding::ContentCoding;
use super::file::{FileContent, ServedFile};
use super::options::FileOptions;
use super::page::{Page, Redirect};
use super::static_response::StaticResponse;

/// Limit on the memory of one root's pages: 512 MiB.
pub(super) const MAX_MEMORY: usize = 512 << 20;
/// Limit on nested directories.
const MAX_DEPTH: usize = 64;
const INDEX: &str = "index.html";
/// The only public name in the root that begins with a dot (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// From 1970 to 1990. There was no web before: tools set earlier file times to a constant (0 or 1 second for Nix and
/// container images, 1980 for ZIP, 1985 for npm), which stays the same when the content changes.
const FIRST_TIME: Duration = Duration::from_hours(24 * (20 * 365 + 5));

type Pages = HashMap<Box<[u8]>, Page, foldhash::fast::RandomState>;

/// An error of the HTTP root.
#[derive(Debug, Error)]
pub enum HttpRootError {
    /// The root cannot be found or read.
    #[error("cannot read the HTTP root {path}: {source}; it must be a directory this process may read")]
    Root {
        /// The configured root.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The pages take too much memory.
    #[error(
        "the HTTP root {path} holds more than {limit} bytes of pages: \
         all pages are kept in memory, so serve a smaller tree"
    )]
    TooMuch {
        /// The configured root.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Reads the pages under `root`, in at most `limit` bytes of memory, and lists the skipped files. A file modified after
/// `now` gets no modification time.
pub(super) fn pages(
    root: &Path,
    options: &FileOptions,
    now: SystemTime,
    limit: usize,
) -> Result<(Pages, SkippedFiles), HttpRootError> {
    let failed = |source| HttpRootError::Root { path: root.to_owned(), source };
    let canonical = root.canonicalize().map_err(failed)?;
    // The root is read here as well, because an unreadable directory is only skipped below.
    fs::read_dir(&canonical).map_err(failed)?;
    let mut loader = Loader {
        root: canonical.clone(),
        dot_files: options.dot_files,
        memory: MemoryBudget { root, limit, used: 0 },
        skipped: SkippedFiles::default(),
        source_file: Vec::new(),
        above: Vec::new(),
    };
    loader.directory(&canonical, b"/")?;
    let Loader { source_file, memory, mut skipped, .. } = loader;
    let pages = prepare(&source_file, options, now, memory, &mut skipped)?;
    Ok((pages, skipped))
}

/// The memory used by the pages, and its limit.
struct MemoryBudget<'a> {
    root: &'a Path,
    limit: usize,
    used: usize,
}

impl MemoryBudget<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), HttpRootError> {
        self.used += bytes;
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
    memory: MemoryBudget<'a>,
    skipped: SkippedFiles,
    source_file: Vec<SourceFile>,
    /// The canonical paths of the directories being read, outermost first.
    above: Vec<PathBuf>,
}

impl Loader<'_> {
    /// Reads the directory at the canonical path `directory`, served at `url`, which ends in "/".
    fn directory(&mut self, directory: &Path, url: &[u8]) -> Result<(), HttpRootError> {
        if self.above.len() == MAX_DEPTH {
            self.skipped.skip(directory, &"more than 64 directories inside each other");
            return Ok(());
        }
        if self.above.iter().any(|above| above == directory) {
            self.skipped.skip(directory, &"a symbolic link leads back into a directory above it");
            return Ok(());
        }
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut paths: Vec<PathBuf> = match entries {
            Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
            Err(error) => {
                self.skipped.skip(directory, &error);
                return Ok(());
            }
        };
        // Sorted, so that the report names the same files each time.
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
            self.skipped.hide(path);
            return Ok(());
        }
        // The canonical path decides, for links and all other files.
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) => {
                self.skipped.skip(path, &error);
                return Ok(());
            }
        };
        if !target.starts_with(&self.root) {
            self.skipped.skip(path, &"a symbolic link leads out of the root");
            return Ok(());
        }
        let url = [url, name.as_bytes()].concat();
        match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => self.directory(&target, &[&url[..], b"/"].concat())?,
            Ok(metadata) if metadata.is_file() => match SourceFile::read(&target, path, url) {
                Ok(source_file) => {
                    self.memory.take(source_file.body.len())?;
                    self.source_file.push(source_file);
                }
                Err(error) => self.skipped.skip(path, &error),
            },
            Ok(_) => self.skipped.skip(path, &"neither a file nor a directory"),
            Err(error) => self.skipped.skip(path, &error),
        }
        Ok(())
    }
}

/// Makes pages of all files.
fn prepare(
    source_file: &[SourceFile],
    options: &FileOptions,
    now: SystemTime,
    mut memory: MemoryBudget<'_>,
    skipped: &mut SkippedFiles,
) -> Result<Pages, HttpRootError> {
    let constant = constant_time(source_file);
    let content = |source_file: &SourceFile| {
        let modified = source_file.modified.filter(|time| Some(*time) != constant);
        let modified = modified.and_then(|time| last_modified(time, now));
        FileContent { body: Arc::clone(&source_file.body), len: source_file.len, modified }
    };
    let by_url: HashMap<&[u8], &SourceFile> =
        source_file.iter().map(|source_file| (&*source_file.url, source_file)).collect();
    let mut pages = Pages::default();
    let mut add = |url: &[u8], page, bytes| {
        pages.insert(url.into(), page);
        memory.take(size_of::<(Box<[u8]>, Page)>() + url.len() + bytes)
    };
    for one in source_file {
        let beside = |coding: ContentCoding| by_url.get(&[&one.url, coding.suffix().as_bytes()].concat()[..]);
        let coded =
            ContentCoding::ALL.into_iter().filter_map(|coding| Some((coding, content(beside(coding)?))));
        let file = ServedFile::new(name(&one.url), content(one), coded.collect(), options);
        if let Some(wanted) = file.too_large() {
            skipped.too_large(&one.path, wanted, file.is_served());
        }
        let (size, page) = (file.size(), Page::File(Arc::new(file)));
        if let Some(directory) = one.url.strip_suffix(INDEX.as_bytes()).filter(|url| url.ends_with(b"/")) {
            add(directory, page.clone(), 0)?;
            if let Some(bare @ [_, ..]) = directory.strip_suffix(b"/") {
                let moved = moved_to(directory, options);
                let size = size_of::<Redirect>() + moved.parts.len();
                add(bare, Page::Redirect(Arc::new(moved)), size)?;
            }
        }
        add(&one.url, page, size)?;
    }
    Ok(pages)
}

/// The modification time that all of several files share, in whole seconds. A packing tool set it, and may set the same
/// one for other content.
fn constant_time(source_file: &[SourceFile]) -> Option<SystemTime> {
    let [first, others @ ..] = source_file else { return None };
    let time = first.modified?;
    let whole = time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|time| time.subsec_nanos() == 0);
    let shared = !others.is_empty() && others.iter().all(|other| other.modified == Some(time));
    (whole && shared).then_some(time)
}

/// The Last-Modified time in whole seconds. `None` for a constant that tools set, and for a time in the future, which
/// RFC 9110 8.8.2.1 forbids.
fn last_modified(time: SystemTime, now: SystemTime) -> Option<SystemTime> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok().filter(|time| *time >= FIRST_TIME)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
    (time <= now).then_some(time)
}

/// The name of the file at `url`.
fn name(url: &[u8]) -> &Path {
    let name = url.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    Path::new(OsStr::from_bytes(name))
}

/// A redirect from a directory without its final slash to `url`, which keeps the query.
fn moved_to(url: &[u8], options: &FileOptions) -> Redirect {
    let location: String = url.iter().copied().map(encode).collect();
    let fields = format!("Location: {location}");
    let text = format!("This page is at {location}\n");
    let place_end = fields.len();
    let control = options.cache_control_field();
    Redirect {
        parts: StaticResponse::text("301 Moved Permanently", &format!("{fields}\r\n{control}"), &text),
        place_end,
    }
}

/// An byte of a path as it stands in a URI (RFC 3986 3.3, `pchar`).
fn encode(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
