//! Errors of command lines and configuration files.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Similarity from which on a key is suggested (Jaro), as for flags.
const SIMILAR: f64 = 0.7;

/// The reason why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The command line cannot be parsed, or asks for help.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The values contradict each other.
    #[error("{0}")]
    Invalid(String),
    /// The configuration file cannot be parsed.
    #[error("{path}:{line}:{column}: {message}")]
    InFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// The error, with the key.
        message: String,
    },
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl ConfigError {
    /// The exit status: 2 for bad usage, 1 for a failure, 0 for help.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Arguments(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Self::Invalid(_) | Self::InFile { .. } => 2,
            Self::Read { .. } => 1,
        }
    }

    /// Prints help on standard output, or the error on standard error.
    pub fn print(&self) {
        match self {
            // A failure to print cannot be reported.
            Self::Arguments(error) => drop(error.print()),
            _ => eprintln!("error: {self}"),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(super) fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or_default();
        let (line, column) = position(text, &span);
        let mut message = unknown_key(error.message()).unwrap_or_else(|| error.message().to_owned());
        // The parser's message contains an unknown key, but not the key of an invalid value.
        if let Some(key) = key_of(text, &span).filter(|key| !message.contains(&format!("`{key}`"))) {
            message = format!("{key}: {message}");
        }
        Self::InFile { path: path.to_owned(), line, column, message }
    }
}

/// The message for an unknown key, from the parser's "unknown field `KEY`, expected one of `KEY`, …". The parser lists all keys,
/// among which one would have to look for the right one.
fn unknown_key(message: &str) -> Option<String> {
    let mut words = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = words.next()?;
    let similarity = |key: &str| strsim::jaro(unknown, key);
    let nearest = words.max_by(|one, other| similarity(one).total_cmp(&similarity(other)))?;
    let remedy = if similarity(nearest) > SIMILAR {
        format!("a similar key exists: `{nearest}`")
    } else {
        "`stateless-tcp run --help` lists all".to_owned()
    };
    Some(format!("unknown key `{unknown}`; {remedy}"))
}

fn position(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The key of the value at `span`: the text before the last "=" up to the end of its line.
fn key_of<'a>(text: &'a str, span: &Range<usize>) -> Option<&'a str> {
    let line_end = text.get(span.start..)?.find('\n').map_or(text.len(), |end| span.start + end);
    let lines = text.get(..line_end)?.lines().rev();
    let key = lines.filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim()).next()?;
    (!key.is_empty() && !key.starts_with('#')).then_some(key)
}
