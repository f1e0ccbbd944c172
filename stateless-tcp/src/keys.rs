//! Where the cookie keys come from: a file that servers can share, or the kernel's randomness.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use stateless_tcp_ebpf::cookie::{Key, Keys};
use thiserror::Error;

/// Hexadecimal digits of a key.
const DIGITS: usize = 32;
/// More than two keys with their line ends and some space can ever need.
const MAX_FILE: u64 = 4_096;
/// The mode bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("the key file {path} is open to others (mode {mode:04o}): chmod 600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is no key.
    #[error("{path}:{line}: {what}; a key is 32 hexadecimal digits, as `openssl rand -hex 16` prints them")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong. Says nothing of what the line holds, for that may be most of a key.
        what: &'static str,
    },
    /// The kernel has no randomness to give.
    #[error("the kernel gave no random key: {0}; give --key-file")]
    Random(getrandom::Error),
}

/// Reads the keys in the file at `path`: the current one and, on a second line, the previous one.
///
/// # Errors
/// See [`KeyError`].
pub fn load(path: &Path) -> Result<Keys, KeyError> {
    let failed = |source| KeyError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the opened file: what is checked is what is read.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    parse(&text).map_err(|(line, what)| KeyError::Line { path: path.to_owned(), line, what })
}

/// The keys of `path`, or without one a random key, which is said in the log.
///
/// # Errors
/// See [`KeyError`].
pub fn load_or_create(path: Option<&Path>) -> Result<Keys, KeyError> {
    if let Some(path) = path {
        return load(path);
    }
    tracing::info!("no --key-file: the cookie key is random, and forgotten when the process ends");
    random()
}

/// A key of the kernel's randomness; it is forgotten when the process ends.
///
/// # Errors
/// Where the kernel has none.
pub fn random() -> Result<Keys, KeyError> {
    let mut current = [0; 16];
    getrandom::fill(&mut current).map_err(KeyError::Random)?;
    Ok(Keys { current: Key(current), previous: None })
}

fn parse(text: &str) -> Result<Keys, (usize, &'static str)> {
    let mut lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
    let (number, line) = lines.next().ok_or((1, "the file is empty"))?;
    let current = key(line).map_err(|what| (number, what))?;
    let previous = match lines.next() {
        None | Some((_, "")) => None,
        Some((number, line)) => Some(key(line).map_err(|what| (number, what))?),
    };
    if let Some((number, _)) = lines.find(|(_, line)| !line.is_empty()) {
        return Err((number, "there are at most two keys, the current and the previous"));
    }
    if previous == Some(current) {
        return Err((2, "the previous key is the current one"));
    }
    Ok(Keys { current, previous })
}

fn key(line: &str) -> Result<Key, &'static str> {
    if line.len() != DIGITS {
        return Err("the line has not 32 digits");
    }
    let mut key = [0; 16];
    for (octet, digits) in key.iter_mut().zip(line.as_bytes().chunks_exact(2)) {
        let value =
            |digit: u8| char::from(digit).to_digit(16).ok_or("the line has something else than digits");
        // Two digits of four bits each.
        *octet = u8::try_from(value(digits[0])? << 4 | value(digits[1])?).unwrap_or_default();
    }
    Ok(Key(key))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use rstest::rstest;

    use super::*;

    const ONE: &str = "000102030405060708090a0b0c0d0e0f";
    const TWO: &str = "F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF";

    fn load_text(text: &str, mode: u32) -> Result<Keys, KeyError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        load(&path)
    }

    #[rstest]
    #[case::one_key(format!("{ONE}\n"), false)]
    #[case::no_line_end(ONE.to_owned(), false)]
    #[case::two_keys(format!("{ONE}\n{TWO}\n"), true)]
    #[case::carriage_returns(format!("{ONE}\r\n{TWO}\r\n\r\n"), true)]
    fn keys_are_read(#[case] text: String, #[case] has_previous: bool) {
        let keys = load_text(&text, 0o600).unwrap();
        assert_eq!(keys.current.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let previous = keys.previous.map(|key| (key.0[0], key.0[15]));
        assert_eq!(previous, has_previous.then_some((0xf0, 0xff)));
    }

    #[rstest]
    #[case::empty(String::new(), ":1: the file is empty")]
    #[case::short(ONE[1..].to_owned(), ":1: the line has not 32 digits")]
    #[case::other_letters(ONE.replace('a', "g"), ":1: the line has something else")]
    #[case::second_line(format!("{ONE}\n0"), ":2: the line has not 32 digits")]
    #[case::three(format!("{ONE}\n{TWO}\n{ONE}"), ":3: there are at most two")]
    #[case::same(format!("{ONE}\n{ONE}"), ":2: the previous key is the current one")]
    fn bad_line_is_named(#[case] text: String, #[case] says: &str) {
        let error = load_text(&text, 0o600).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
        assert!(text.len() < 8 || !error.contains(&text[..8]), "a key shows in {error}");
    }

    #[rstest]
    #[case::owner_reads(0o400, true)]
    #[case::group_reads(0o640, false)]
    #[case::others_read(0o604, false)]
    #[case::others_write(0o602, false)]
    fn file_must_be_the_owners_alone(#[case] mode: u32, #[case] good: bool) {
        match load_text(ONE, mode) {
            Ok(_) => assert!(good),
            Err(error) => assert!(!good && error.to_string().contains("chmod 600"), "{error}"),
        }
    }

    #[test]
    fn missing_file_is_named() {
        let error = load(Path::new("/nonexistent/keys")).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/keys: No such file"), "{error}");
    }

    #[test]
    fn random_keys_differ() {
        assert_ne!(random().unwrap().current, random().unwrap().current);
    }
}
