//! Counters of the HTTP relay, one for each reason.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter; the log and the documentation use its name.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(super) enum HttpCounter {
    /// Requests that went to the upstream.
    Requests,
    /// Connections opened for them.
    Connections,
    /// Whole responses.
    Responses,
    /// Requests without a connection: 502.
    Unreachable,
    /// Requests without a whole response in time: 504.
    TimedOut,
    /// Requests with a response that cannot be read to its end: 502.
    Broken,
    /// Responses that are too large: 503.
    TooLarge,
    /// Requests beyond the limit on requests in flight: 503.
    TableFull,
    /// Answers of several segments that the retransmission store has no space for: 503.
    StoreFull,
}

/// The names, in order.
const NAMES: [&str; 9] = [
    "http_relay_requests",
    "http_relay_connections",
    "http_relay_responses",
    "http_relay_unreachable",
    "http_relay_timed_out",
    "http_relay_broken",
    "http_relay_too_large",
    "http_relay_table_full",
    "http_relay_store_full",
];

/// The counters of a relay: of all its workers and of the control plane.
#[derive(Debug, Default)]
pub(super) struct HttpCounters([AtomicU64; NAMES.len()]);

impl HttpCounters {
    /// Adds one.
    pub(super) fn add(&self, count: HttpCounter) {
        self.0[count as usize].fetch_add(1, Relaxed);
    }

    /// Names and values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0.iter().map(|count| count.load(Relaxed)))
    }
}
