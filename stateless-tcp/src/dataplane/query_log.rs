//! Queries that the last segment asked anew, and their responses: for dnstap and other taps.

use crate::observe::transaction::Role;
use crate::services::Service;
use std::ops::Range;

/// The queries of one segment, where it is enabled; else none.
#[derive(Default)]
pub(super) struct QueryLog {
    enabled: bool,
    queries: Vec<u8>,
    entries: Vec<LoggedQuery>,
}

/// A query, and the place of its response among the responses.
struct LoggedQuery {
    role: Role,
    /// Its place in [`QueryLog::queries`].
    query: Range<usize>,
    response: Range<usize>,
}

impl QueryLog {
    /// Logs from the next segment on, or not.
    pub(super) fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.clear();
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.queries.clear();
        self.entries.clear();
    }

    /// Adds `query`, which `service` answered by `response`, a range of the responses, none of which the client has yet.
    #[inline]
    pub(super) fn add(&mut self, service: &dyn Service, query: &[u8], response: Range<usize>) {
        if self.enabled {
            self.copy(service, query, response);
        }
    }

    #[cold]
    fn copy(&mut self, service: &dyn Service, query: &[u8], response: Range<usize>) {
        let Some(role) = service.role() else { return };
        let start = self.queries.len();
        self.queries.extend_from_slice(query);
        self.entries.push(LoggedQuery { role, query: start..self.queries.len(), response });
    }

    /// Queries whose responses begin within the first `reached` bytes of `responses`.
    pub(super) fn up_to<'a>(
        &'a self,
        responses: &'a [u8],
        reached: usize,
    ) -> impl Iterator<Item = (Role, &'a [u8], &'a [u8])> {
        let begun = self.entries.iter().filter(move |entry| entry.response.start < reached);
        begun.map(|LoggedQuery { role, query, response }| {
            (*role, &self.queries[query.clone()], &responses[response.clone()])
        })
    }
}
