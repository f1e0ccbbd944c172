//! Errors of zones.

use std::path::PathBuf;

/// An error of a zone.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", file.display())]
    Unreadable {
        /// The zone file.
        file: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// An error at one position.
    #[error("{}:{line}:{column}: {what}", file.display())]
    Entry {
        /// The zone file, or the one that it includes.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The problem and the expected form.
        what: String,
    },
    /// An error of the file as a whole.
    #[error("{}: {what}", file.display())]
    File {
        /// The zone file.
        file: PathBuf,
        /// The problem and the expected form.
        what: String,
    },
}
