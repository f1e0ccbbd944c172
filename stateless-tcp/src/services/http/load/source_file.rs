//! A file of the HTTP root.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::services::MAX_RESPONSE;

/// The name, content and times of a file.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// The decoded URL path.
    pub(super) url: Vec<u8>,
    /// The path in the file system.
    pub(super) path: PathBuf,
    /// The content; empty if the file is too large.
    pub(super) body: Arc<[u8]>,
    /// Bytes of the file.
    pub(super) len: u64,
    /// The file system's modification time.
    pub(super) modified: Option<SystemTime>,
}

impl SourceFile {
    /// Reads the file at `path`, whose canonical path is `target`, to serve it at `url`.
    pub(super) fn read(target: &Path, path: &Path, url: Vec<u8>) -> io::Result<Self> {
        // A FIFO may have replaced the file: opening it must not wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(target)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no longer a file"));
        }
        let mut body = read_at_most(&file, MAX_RESPONSE)?;
        let mut len = body.len() as u64;
        if body.len() > MAX_RESPONSE {
            body.clear();
            len = metadata.len().max(len);
        }
        Ok(Self { url, path: path.to_owned(), body: body.into(), len, modified: metadata.modified().ok() })
    }
}

/// The bytes of `file`, but at most one more than `most`.
fn read_at_most(file: &File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
