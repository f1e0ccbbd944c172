//! The files of a zone, and the policy for `$INCLUDE`.

use super::error::ZoneError;
use crate::files::{open_regular, read_all};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of one file: lines are counted in 32 bits.
pub(super) const MAX_FILE: u64 = u32::MAX as u64;

/// The files that `$INCLUDE` may read besides those in the zone file's own directory and below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct IncludePolicy {
    /// Other directories, including their subdirectories.
    directories: Vec<PathBuf>,
    /// Files that are never read, by device and inode, because their content is secret.
    forbidden: Vec<(u64, u64)>,
}

impl IncludePolicy {
    /// Allows the files below `directory` too, if it exists.
    pub(in super::super) fn allow(&mut self, directory: &Path) {
        self.directories.extend(directory.canonicalize());
    }

    /// Forbids the file at `path`, whatever other names it has, if there is one.
    pub(in super::super) fn forbid(&mut self, path: &Path) {
        self.forbidden.extend(fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())));
    }
}

impl IncludePolicy {
    /// Fails for a forbidden file.
    fn check(&self, metadata: &Metadata) -> io::Result<()> {
        if self.forbidden.contains(&(metadata.dev(), metadata.ino())) {
            let what = "it holds a key or other configuration";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        Ok(())
    }
}

/// The identity of a file's content when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileIdentity {
    fn new(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files of a zone in the order of opening; a file that was opened twice is listed twice.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct ZoneFiles {
    list: Vec<(PathBuf, Option<FileIdentity>)>,
}

impl ZoneFiles {
    /// Paths and identities; `None` for a file that could not be opened.
    #[cfg(test)]
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (&Path, Option<FileIdentity>)> {
        self.list.iter().map(|(path, identity)| (&**path, *identity))
    }

    /// Whether any file has changed since it was read.
    pub(in super::super) fn have_changed(&self) -> bool {
        let now = |path: &Path| fs::metadata(path).ok().map(|metadata| FileIdentity::new(&metadata));
        self.list.iter().any(|(path, then)| now(path) != *then)
    }

    /// The path of the file with this index.
    pub(in super::super) fn path(&self, file: u16) -> &Path {
        self.list.get(usize::from(file)).map_or(Path::new(""), |(path, _)| path)
    }

    /// The error of the entry at `place`.
    pub(in super::super) fn error(&self, place: Position, what: impl Into<String>) -> ZoneError {
        ZoneError::Entry {
            file: self.path(place.file).to_path_buf(),
            line: place.line as usize,
            column: place.column.into(),
            what: what.into(),
        }
    }

    /// Adds a file; its index.
    pub(super) fn add(&mut self, path: &Path) -> Option<u16> {
        let index = u16::try_from(self.list.len()).ok()?;
        self.list.push((path.to_path_buf(), None));
        Some(index)
    }

    /// Reads the file that was added with this index.
    pub(super) fn read(&mut self, index: u16, policy: &IncludePolicy) -> io::Result<Vec<u8>> {
        let file = open_regular(self.path(index), MAX_FILE)?;
        policy.check(&file.metadata()?)?;
        self.read_open(index, &file)
    }

    fn read_open(&mut self, index: u16, file: &File) -> io::Result<Vec<u8>> {
        self.list[usize::from(index)].1 = Some(FileIdentity::new(&file.metadata()?));
        read_all(file, MAX_FILE)
    }

    /// Reads the file with this index to include it in the zone file, the first one.
    pub(super) fn include(
        &mut self,
        index: u16,
        policy: &IncludePolicy,
        within: &[u16],
    ) -> io::Result<Vec<u8>> {
        let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        let path = self.path(index);
        // Links are resolved first, so that the checked path is the opened one; the check comes before opening.
        let canonical = path.canonicalize()?;
        let zone = self.path(0);
        let own = [
            directory(zone).canonicalize().ok(),
            zone.canonicalize().ok().map(|zone| directory(&zone).into()),
        ];
        let mut allowed = own.iter().flatten().chain(&policy.directories);
        if !allowed.any(|directory| canonical.starts_with(directory)) {
            return refuse("outside the directory of the zone file: move it there, or allow its directory");
        }
        let file = open_regular(&canonical, MAX_FILE)?;
        let metadata = file.metadata()?;
        policy.check(&metadata)?;
        let identity = (metadata.dev(), metadata.ino());
        let includes = |&within: &u16| {
            let other = self.list[usize::from(within)].1;
            other.is_some_and(|other| (other.device, other.inode) == identity)
        };
        if within.iter().any(includes) {
            return Err(io::Error::other("it would include itself"));
        }
        self.read_open(index, &file)
    }
}

/// The position of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Position {
    /// Index in [`ZoneFiles`].
    pub(in super::super) file: u16,
    /// From 1.
    pub(in super::super) line: u32,
    /// From 1, in bytes; the last one stands for all beyond it.
    pub(in super::super) column: u16,
}

/// The directory that a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
