//! The report on files that are not served.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::services::MAX_RESPONSE;

/// Limit on the files that are named; the others are counted.
const NAMED: usize = 20;

/// The files that are not served, and the reasons.
#[derive(Debug, Default)]
pub(in crate::services::http) struct SkippedFiles {
    named: Vec<String>,
    unnamed: usize,
    hidden: Option<(PathBuf, usize)>,
}

impl SkippedFiles {
    /// Logs the report.
    pub(in crate::services::http) fn log(&self) {
        for line in self.lines() {
            tracing::warn!("{line}");
        }
        if let Some(line) = self.hidden() {
            tracing::info!("{line}");
        }
    }

    /// Files that cannot be served, a line each.
    pub(in crate::services::http) fn lines(&self) -> impl Iterator<Item = String> {
        let more = format!("not served: {} more files or directories", self.unnamed);
        self.named.iter().cloned().chain((self.unnamed > 0).then_some(more))
    }

    /// A line about hidden files.
    pub(in crate::services::http) fn hidden(&self) -> Option<String> {
        let (first, count) = self.hidden.as_ref()?;
        Some(format!(
            "not served: names that begin with a dot, {count} of them, as {}: --http-dot-files serves them",
            first.display()
        ))
    }

    /// Reports that the file at `path` cannot be served.
    pub(super) fn skip(&mut self, path: &Path, reason: &dyn Display) {
        self.name(|| format!("not served: {}: {reason}", path.display()));
    }

    /// Reports a response of `bytes` bytes for the file at `path`, which is too large.
    pub(super) fn too_large(&mut self, path: &Path, bytes: u64, coded: bool) {
        let but = if coded { " but compressed, to clients that take it so" } else { "" };
        let path = path.display();
        self.name(|| {
            format!(
                "not served{but}: {path}: the response would have {bytes} bytes, and at most {MAX_RESPONSE} can be sent"
            )
        });
    }

    /// Counts a file whose name begins with a dot.
    pub(super) fn hide(&mut self, path: &Path) {
        self.hidden.get_or_insert_with(|| (path.to_owned(), 0)).1 += 1;
    }

    fn name(&mut self, line: impl FnOnce() -> String) {
        if self.named.len() < NAMED {
            self.named.push(line());
        } else {
            self.unnamed += 1;
        }
    }
}
