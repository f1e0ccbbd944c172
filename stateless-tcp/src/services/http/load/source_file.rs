//! A file as it was found.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::services::MAX_RESPONSE;

/// What there is to know of a file.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// The path that it is served at, decoded.
    pub(super) url: Vec<u8>,
    /// Where it stands in the tree.
    pub(super) path: PathBuf,
    /// The content; nothing of a file that is too large.
    pub(super) body: Arc<[u8]>,
    /// Bytes of the file.
    pub(super) len: u64,
    /// As the file system has it.
    pub(super) modified: Option<SystemTime>,
}

impl SourceFile {
    /// Reads the file that stands at `path`, and whose canonical path is `target`, to be served at `url`.
    pub(super) fn read(target: &Path, path: &Path, url: Vec<u8>) -> io::Result<Self> {
        // Should a FIFO have taken the file's place meanwhile, opening it must not wait for a writer.
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

/// The octets of `file`, or one more than `most` of them.
fn read_at_most(file: &File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
