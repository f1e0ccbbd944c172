//! What can be wrong with a command line or a configuration file.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The command line cannot be understood, or asks for help.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The values do not go together.
    #[error("{0}")]
    Invalid(String),
    /// The configuration file cannot be understood.
    #[error("{path}:{line}:{column}: {message}")]
    InFile {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong, naming the key.
        message: String,
    },
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ConfigError {
    /// 2 for bad usage, 1 for a failure, 0 where help was asked for.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Arguments(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Self::Invalid(_) | Self::InFile { .. } => 2,
            Self::Read { .. } => 1,
        }
    }

    /// Tells the user: help on standard output, errors on standard error.
    pub fn print(&self) {
        match self {
            // Whom should it be told, if not even this can be printed?
            Self::Arguments(error) => drop(error.print()),
            _ => eprintln!("error: {self}"),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(super) fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or_default();
        let (line, column) = place(text, &span);
        let mut message = error.message().to_owned();
        // The parser's message names an unknown key, but not the key of a bad value.
        if let Some(key) = key_of(text, &span).filter(|key| !message.contains(&format!("`{key}`"))) {
            message = format!("{key}: {message}");
        }
        Self::InFile { path: path.to_owned(), line, column, message }
    }
}

fn place(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The key whose value stands at `span`: what is before the last "=" that a line holds up to there.
fn key_of<'a>(text: &'a str, span: &Range<usize>) -> Option<&'a str> {
    let line_end = text.get(span.start..)?.find('\n').map_or(text.len(), |end| span.start + end);
    let lines = text.get(..line_end)?.lines().rev();
    let key = lines.filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim()).next()?;
    (!key.is_empty() && !key.starts_with('#')).then_some(key)
}
