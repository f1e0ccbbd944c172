//! A page: the entry of one path.

use super::file::ServedFile;
use super::static_response::StaticResponse;
use std::sync::Arc;

/// What a path leads to.
#[derive(Clone)]
pub(super) enum Page {
    File(Arc<ServedFile>),
    /// A directory asked for without its final slash.
    Redirect(Arc<Redirect>),
}

/// What sends the client elsewhere.
#[derive(Debug, Hash)]
pub(super) struct Redirect {
    pub(super) parts: StaticResponse,
    /// Where in the fields the new place ends, which a query follows.
    pub(super) place_end: usize,
}
