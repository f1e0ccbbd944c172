//! Reading files that the operator names: without blocking, and up to a limit.
//!
//! A FIFO would block its reader, a terminal may become the controlling terminal, and /dev/zero never ends. So only regular
//! files are read. The check is of the open file, as its name may refer to another a moment later.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

/// Opens the regular file at `path`, of at most `limit` bytes.
///
/// # Errors
/// The system's error, or the file is not regular or too large.
pub(crate) fn open_regular(path: &Path, limit: u64) -> io::Result<File> {
    // The standard library adds O_CLOEXEC.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_fifo() => "a FIFO",
            () if kind.is_char_device() || kind.is_block_device() => "a device",
            () => "something else",
        };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{what}, not a regular file")));
    }
    if metadata.len() > limit {
        return Err(too_large(limit));
    }
    Ok(file)
}

/// Reads all of a file that [`open_regular`] opened with the same limit. The file may have grown since.
///
/// # Errors
/// The system's error, or the file is too large.
pub(crate) fn read_all(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len().min(limit);
    let mut bytes = Vec::new();
    let room = usize::try_from(size).map_err(|_| too_large(limit))?;
    // One byte more shows the end of the file without another allocation.
    bytes.try_reserve_exact(room + 1).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large(limit)) } else { Ok(bytes) }
}

/// Reads the regular file at `path`, of at most `limit` bytes, as text.
///
/// # Errors
/// As [`open_regular`], or the file is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    read_open_text(&open_regular(path, limit)?, limit)
}

/// Reads all of an open file as text.
///
/// # Errors
/// As [`read_all`], or the file is not UTF-8.
pub(crate) fn read_open_text(file: &File, limit: u64) -> io::Result<String> {
    let invalid = |error: std::string::FromUtf8Error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8: {}", error.utf8_error()))
    };
    String::from_utf8(read_all(file, limit)?).map_err(invalid)
}

fn too_large(limit: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("larger than {limit} bytes, the most that is read of it"),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use rstest::rstest;
    use std::fs;
    use std::path::PathBuf;

    /// Creates a FIFO without a writer.
    pub(crate) fn fifo(directory: &Path) -> PathBuf {
        let path = directory.join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        path
    }

    #[rstest]
    #[case::directory("/", "a directory, not a regular file")]
    #[case::endless("/dev/zero", "a device, not a regular file")]
    #[case::missing("/nonexistent/file", "No such file or directory (os error 2)")]
    fn refuses(#[case] path: &str, #[case] says: &str) {
        assert_eq!(read_text(Path::new(path), 1).unwrap_err().to_string(), says);
    }

    #[test]
    fn a_fifo_does_not_make_it_wait() {
        let directory = tempfile::tempdir().unwrap();
        let error = read_text(&fifo(directory.path()), 1).unwrap_err();
        assert_eq!(error.to_string(), "a FIFO, not a regular file");
    }

    #[test]
    fn reads_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "1234").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "1234");
        let says = "larger than 3 bytes, the most that is read of it";
        assert_eq!(read_text(&path, 3).unwrap_err().to_string(), says);
        // The file grows between the two steps.
        let file = open_regular(&path, 4).unwrap();
        fs::write(&path, "12345").unwrap();
        assert_eq!(
            read_all(&file, 4).unwrap_err().to_string(),
            "larger than 4 bytes, the most that is read of it"
        );
        // A file of /proc has no size to show beforehand.
        assert!(read_text(Path::new("/proc/self/status"), 1 << 20).unwrap().contains("VmRSS"));
    }

    #[test]
    fn text_is_utf_8() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"a\xff").unwrap();
        assert!(read_text(&path, 4).unwrap_err().to_string().starts_with("not UTF-8: invalid"));
    }
}
