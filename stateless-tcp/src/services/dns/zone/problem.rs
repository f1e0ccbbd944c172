//! What is wrong with a zone's records, taken together.

use super::super::zonefile::{Position, ZoneError, ZoneFiles};

/// A problem, at a place of the zone's files, if it is one place's fault.
#[derive(Debug)]
pub(in super::super) struct ZoneProblem {
    place: Option<Position>,
    what: String,
}

impl ZoneProblem {
    pub(super) fn at(place: Position, what: impl Into<String>) -> Self {
        Self { place: Some(place), what: what.into() }
    }

    pub(super) fn whole_zone(what: impl Into<String>) -> Self {
        Self { place: None, what: what.into() }
    }

    /// The problem by the name of its file: one of `files`, of which the first is the zone's.
    pub(in super::super) fn within(self, files: &ZoneFiles) -> ZoneError {
        match self.place {
            Some(place) => files.error(place, self.what),
            None => ZoneError::File { file: files.path(0).to_owned(), what: self.what },
        }
    }
}
