//! What can be wrong with zones.

use std::path::PathBuf;

/// Why zones cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", file.display())]
    Unreadable {
        /// The zone file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Something is wrong at one place of the file.
    #[error("{}:{line}:{column}: {what}", file.display())]
    Entry {
        /// The zone file, or the one that it includes.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// Something is wrong with the file as a whole.
    #[error("{}: {what}", file.display())]
    File {
        /// The zone file.
        file: PathBuf,
        /// What is wrong, and what is expected.
        what: String,
    },
}
