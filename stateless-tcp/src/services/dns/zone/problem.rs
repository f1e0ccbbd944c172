//! What is wrong with a zone's records, taken together.

use super::super::zonefile::{Files, Place, ZoneError};

/// A problem, at a place of the zone's files, if it is one place's fault.
#[derive(Debug)]
pub(in super::super) struct Problem {
    place: Option<Place>,
    what: String,
}

impl Problem {
    pub(super) fn at(place: Place, what: impl Into<String>) -> Self {
        Self { place: Some(place), what: what.into() }
    }

    pub(super) fn of_zone(what: impl Into<String>) -> Self {
        Self { place: None, what: what.into() }
    }

    /// The problem by the name of its file: one of `files`, of which the first is the zone's.
    pub(in super::super) fn within(self, files: &Files) -> ZoneError {
        match self.place {
            Some(place) => files.error(place, self.what),
            None => ZoneError::File { file: files.path(0).to_owned(), what: self.what },
        }
    }
}
