//! The cookie keys: from a file that servers can share, or random.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::{open_regular, read_open_text, read_text};
use stateless_tcp_core::tcp::isn::{Key, Keys};
use thiserror::Error;

/// Hexadecimal digits of a key.
const DIGITS: usize = 32;
/// Largest key file in bytes: much more than two keys.
const MAX_FILE: u64 = 64 << 10;
/// The mode bits of group and others.
const OTHERS: u32 = 0o077;

/// The reason why there are no keys.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the key file {path}: {source}")]
    Write {
        /// The file, or the one that replaces it.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Group or others may read or write the file.
    #[error("the key file {path} is open to others (mode {mode:04o}): chmod 600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is not a key.
    #[error("{path}:{line}: {what}; a key is 32 hexadecimal digits, as `openssl rand -hex 16` prints them")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The error. It does not quote the line, which may be most of a key.
        what: &'static str,
    },
    /// There is no second key.
    #[error("{path} has one key: `rotate-key --accept` adds the one to be used next")]
    Alone {
        /// The file.
        path: PathBuf,
    },
    /// The kernel has no random numbers.
    #[error("the kernel gave no random key: {0}; give --key-file")]
    Random(getrandom::Error),
}

/// Reads the keys in the file at `path`: the current one and, on a second line, the previous one.
///
/// # Errors
/// See [`KeyError`].
pub fn load(path: &Path) -> Result<Keys, KeyError> {
    let failed = |source| KeyError::Read { path: path.to_owned(), source };
    let file = open_regular(path, MAX_FILE).map_err(failed)?;
    // The check is of the open file, which is then read.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let text = read_open_text(&file, MAX_FILE).map_err(failed)?;
    parse(&text).map_err(|(line, what)| KeyError::Line { path: path.to_owned(), line, what })
}

/// Whether the file at `path` holds keys. Other files may be quoted in errors.
#[must_use]
pub fn are_in(path: &Path) -> bool {
    read_text(path, MAX_FILE).is_ok_and(|text| parse(&text).is_ok())
}

/// The keys of the file at `path`, which is created with a random key if it does not exist; without a path a random key.
/// The log mentions a random key.
///
/// # Errors
/// See [`KeyError`].
pub fn load_or_create(path: Option<&Path>) -> Result<Keys, KeyError> {
    let Some(path) = path else {
        tracing::info!("no --key-file: the cookie key is random, and lost when the process ends");
        return random();
    };
    match load(path) {
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let keys = random()?;
    write(path, &keys, None)?;
    tracing::info!("made the key file {} with a random key", path.display());
    Ok(keys)
}

/// The time when the file at `path` was written.
///
/// # Errors
/// See [`KeyError`].
pub fn written(path: &Path) -> Result<SystemTime, KeyError> {
    let time = fs::metadata(path).and_then(|metadata| metadata.modified());
    time.map_err(|source| KeyError::Read { path: path.to_owned(), source })
}

/// A kind of key rotation. Of the two keys in a file, the first is in use, and the second is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// A new key is used, and the one used until now is accepted: for a single server.
    AtOnce,
    /// A new key is accepted, in place of the accepted one: the first step for servers that share a file.
    Accept,
    /// Both keys are exchanged: the second step, after all servers have taken the first.
    Use,
}

/// Rotates the keys in the file at `path`. The change is atomic for readers.
///
/// # Errors
/// See [`KeyError`]. The file is unchanged then.
pub fn rotate(path: &Path, rotation: Rotation) -> Result<(), KeyError> {
    let failed = |source| KeyError::Read { path: path.to_owned(), source };
    // The target of a link gets the new keys, not the link.
    let path = path.canonicalize().map_err(failed)?;
    let keys = load(&path)?;
    let owner = fs::metadata(&path).map_err(failed)?;
    let new = match rotation {
        Rotation::AtOnce => Keys { previous: Some(keys.current), ..random()? },
        Rotation::Accept => Keys { previous: Some(random()?.current), ..keys },
        Rotation::Use => match keys.previous {
            Some(accepted) => Keys { current: accepted, previous: Some(keys.current) },
            None => return Err(KeyError::Alone { path }),
        },
    };
    write(&path, &new, Some((owner.uid(), owner.gid())))
}

/// Writes `keys` to a file beside `path`, for `owner`, and renames it. That file is also a lock, as two writers at a time
/// would lose a key.
fn write(path: &Path, keys: &Keys, owner: Option<(u32, u32)>) -> Result<(), KeyError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let failed = |source| KeyError::Write { path: beside.clone(), source };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    let written = (|| {
        if let Some((user, group)) = owner {
            fchown(&file, Some(user), Some(group))?;
        }
        file.write_all(compose(keys).as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    written.map_err(|error| {
        // If removal fails, too, the next writer reports the file.
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

/// The lines that [`load`] reads.
fn compose(keys: &Keys) -> String {
    let mut text = String::new();
    for key in std::iter::once(&keys.current).chain(&keys.previous) {
        text.extend(key.0.iter().map(|byte| format!("{byte:02x}")));
        text.push('\n');
    }
    text
}

/// A random key.
///
/// # Errors
/// The kernel has no random numbers.
pub fn random() -> Result<Keys, KeyError> {
    let mut current = [0; 16];
    getrandom::fill(&mut current).map_err(KeyError::Random)?;
    Ok(Keys { current: Key(current), previous: None })
}

/// A warning if connections of the key in use cannot continue with the keys of a file.
#[must_use]
pub fn dropped_key_warning(in_use: &Keys, file: &Keys) -> Option<String> {
    let kept = file.current == in_use.current || file.previous == Some(in_use.current);
    (!kept).then(|| {
        "the key used until now is not in the key file: connections under way are lost (`stateless-tcp rotate-key` \
         keeps it as the previous one)"
            .to_owned()
    })
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
        return Err("the line does not have 32 digits");
    }
    let mut key = [0; 16];
    for (byte, digits) in key.iter_mut().zip(line.as_bytes().chunks_exact(2)) {
        let value =
            |digit: u8| char::from(digit).to_digit(16).ok_or("the line has other characters than digits");
        // Two digits of four bits each.
        *byte = u8::try_from(value(digits[0])? << 4 | value(digits[1])?).unwrap_or_default();
    }
    Ok(Key(key))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use rstest::rstest;

    use super::*;
    use crate::files::tests::fifo;

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
    #[case::short(ONE[1..].to_owned(), ":1: the line does not have 32 digits")]
    #[case::other_letters(ONE.replace('a', "g"), ":1: the line has other characters")]
    #[case::second_line(format!("{ONE}\n0"), ":2: the line does not have 32 digits")]
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
    fn file_must_be_regular_and_small() {
        let directory = tempfile::tempdir().unwrap();
        let error = load(&fifo(directory.path())).unwrap_err().to_string();
        assert!(error.ends_with("fifo: a FIFO, not a regular file"), "{error}");
        let error = load_text(&" ".repeat((64 << 10) + 1), 0o600).unwrap_err().to_string();
        assert!(error.ends_with("larger than 65536 bytes, the most that is read of it"), "{error}");
    }

    #[test]
    fn a_missing_file_is_made_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let made = load_or_create(Some(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(load_or_create(Some(&path)).unwrap(), made, "it is not made twice");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        // Whatever else is wrong with a file is no reason to make one.
        fs::write(&path, "").unwrap();
        assert!(load_or_create(Some(&path)).is_err());
    }

    #[test]
    fn rotation_keeps_the_current_key_as_the_previous() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let first = load_or_create(Some(&path)).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        rotate(&link, Rotation::AtOnce).unwrap();
        let second = load(&path).unwrap();
        assert_eq!(second.previous, Some(first.current));
        assert_ne!(second.current, first.current);
        rotate(&path, Rotation::AtOnce).unwrap();
        assert_eq!(load(&path).unwrap().previous, Some(second.current));
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.permissions().mode() & 0o7777, link.is_symlink()), (0o600, true));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_key_is_accepted_before_it_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let first = load_or_create(Some(&path)).unwrap();
        let error = rotate(&path, Rotation::Use).unwrap_err().to_string();
        assert!(error.contains("--accept"), "{error}");
        rotate(&path, Rotation::Accept).unwrap();
        let second = load(&path).unwrap();
        assert!(second.current == first.current && second.previous.is_some());
        rotate(&path, Rotation::Use).unwrap();
        let third = load(&path).unwrap();
        assert_eq!((Some(third.current), third.previous), (second.previous, Some(first.current)));
        rotate(&path, Rotation::Accept).unwrap();
        let fourth = load(&path).unwrap();
        assert!(fourth.current == third.current && fourth.previous != third.previous);
    }

    #[test]
    fn two_writers_do_not_lose_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let keys = load_or_create(Some(&path)).unwrap();
        fs::write(directory.path().join("keys.new"), "").unwrap();
        let error = rotate(&path, Rotation::AtOnce).err().unwrap().to_string();
        assert!(error.contains("keys.new: File exists"), "{error}");
        assert_eq!(load(&path).unwrap(), keys);
    }

    #[test]
    fn random_keys_differ() {
        assert_ne!(random().unwrap().current, random().unwrap().current);
    }

    #[test]
    fn a_dropped_key_is_a_warning() {
        let [one, two, three] = [1, 2, 3].map(|byte| Key([byte; 16]));
        let keys = |current, previous| Keys { current, previous };
        for (in_use, file, dropped) in [
            (keys(one, None), keys(one, None), false),
            (keys(one, None), keys(two, Some(one)), false),
            (keys(two, Some(one)), keys(three, Some(two)), false),
            (keys(two, Some(one)), keys(two, None), false),
            (keys(one, None), keys(two, None), true),
            (keys(one, None), keys(three, Some(two)), true),
        ] {
            assert_eq!(dropped_key_warning(&in_use, &file).is_some(), dropped, "{in_use:?} {file:?}");
        }
    }
}
