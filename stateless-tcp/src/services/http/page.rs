//! A page: the entry of one path.

use super::file::ServedFile;
use super::static_response::StaticResponse;
use std::sync::Arc;

/// The page of one path.
#[derive(Clone)]
pub(super) enum Page {
    File(Arc<ServedFile>),
    /// The redirect of a directory's path without its final slash.
    Redirect(Arc<Redirect>),
}

/// A redirect to another path.
#[derive(Debug, Hash)]
pub(super) struct Redirect {
    pub(super) parts: StaticResponse,
    /// The end of the Location value in the fields, where the query is inserted.
    pub(super) place_end: usize,
}
