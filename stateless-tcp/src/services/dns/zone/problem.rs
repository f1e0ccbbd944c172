//! Problems of a zone as a whole.

use super::super::zonefile::{Position, ZoneError, ZoneFiles};

/// A problem, and its position in the zone's files if it has one.
#[derive(Debug)]
pub(in super::super) struct Problem {
    place: Option<Position>,
    what: String,
}

impl Problem {
    pub(super) fn at(place: Position, what: impl Into<String>) -> Self {
        Self { place: Some(place), what: what.into() }
    }

    pub(super) fn whole_zone(what: impl Into<String>) -> Self {
        Self { place: None, what: what.into() }
    }

    /// The error for this problem: it names one of `files`, the first of which is the zone file.
    pub(in super::super) fn within(self, files: &ZoneFiles) -> ZoneError {
        match self.place {
            Some(place) => files.error(place, self.what),
            None => ZoneError::File { file: files.path(0).to_owned(), what: self.what },
        }
    }
}
