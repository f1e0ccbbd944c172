//! The HTTP/1.x relay: requests go to an upstream server over ordinary TCP, and its responses become answers.
//!
//! ```text
//! worker:         frame -> HttpForwarder (answered? in flight? ready?) -> rewrite     response -> RetransmitStore -> bytes
//! control plane:                                                         -> upstream ->
//! ```
//!
//! A response is read whole before it becomes an answer, so the client always gets one whole answer: the response, or
//! an error. No two clients share a response, which may be private. This module knows nothing of TCP towards the
//! client; see [`Service`].

mod counters;
mod fields;
mod forwarder;
mod relayed_request;
mod response;
mod rewrite;
#[cfg(test)]
mod tests;
mod upstream;

use super::error_pages::{ErrorPages, HttpError};
use super::request::{self, RequestError};
use super::static_response::{self, Persistence, ResponseForm};
use crate::observe::snapshot::{self, Label};
use crate::services::{Answered, Context, FetchId, FetchPolicy, Framing, Service, Unavailable, Upstream};
use counters::HttpCounter;
use forwarder::{HttpForwarder, RequestState};
use relayed_request::RelayedRequest;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use upstream::HttpUpstream;

/// Options of the HTTP relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRelayOptions {
    /// The server.
    pub upstream: SocketAddr,
    /// Also relay bodies, and methods that may do harm when a request runs twice.
    pub unsafe_methods: bool,
    /// The time that the server has for a response.
    pub timeout: Duration,
    /// Limit on the requests in flight of each worker.
    pub in_flight: usize,
    /// Size of each worker's retransmission store in bytes.
    pub retransmit_store: usize,
}

/// The HTTP service that asks an upstream.
pub struct HttpRelay {
    unsafe_methods: bool,
    error_pages: ErrorPages,
    forwarders: Vec<Mutex<HttpForwarder>>,
    upstream: Arc<HttpUpstream>,
    runtime: Handle,
}

impl HttpRelay {
    /// A relay for this many workers, whose connections to the server live on `runtime`.
    ///
    /// # Errors
    /// When the system has no file descriptors left.
    pub fn new(options: &HttpRelayOptions, workers: usize, runtime: Handle) -> io::Result<Self> {
        let forwarder = |_| HttpForwarder::new(options.in_flight, options.retransmit_store).map(Mutex::new);
        Ok(Self {
            unsafe_methods: options.unsafe_methods,
            error_pages: ErrorPages::new(),
            forwarders: (0..workers).map(forwarder).collect::<io::Result<_>>()?,
            upstream: Arc::new(HttpUpstream::new(options.upstream, options.timeout)),
            runtime,
        })
    }

    /// Counters and state, for snapshots.
    #[must_use]
    pub fn report(&self) -> snapshot::RelaySnapshot {
        let name = |name: &'static str| Label::Borrowed(name.trim_start_matches("http_relay_"));
        snapshot::RelaySnapshot {
            service: Label::Borrowed("http"),
            counts: self.counts().map(|(of, count)| (name(of), count)).collect(),
            by_queue: Vec::new(),
            tables: Vec::new(),
            tables_by_queue: (0..self.forwarders.len())
                .map(|worker| self.forwarder(worker).occupancies())
                .collect(),
            upstreams: vec![self.upstream.report()],
        }
    }

    /// Its counters by name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.upstream.counts().all()
    }

    fn forwarder(&self, worker: usize) -> MutexGuard<'_, HttpForwarder> {
        self.forwarders[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stream: &[u8]) -> Result<RelayedRequest, RequestError> {
        relayed_request::read(stream, self.unsafe_methods)
    }

    /// Starts the request to the upstream, if the limit on requests in flight allows it.
    fn start(
        &self,
        relayed_request: &RelayedRequest,
        message: &[u8],
        context: &Context,
        forwarder: &mut HttpForwarder,
    ) -> Result<FetchId, RequestError> {
        let tuple = &context.origin.tuple;
        let server = SocketAddr::new(tuple.server.into(), tuple.server_port);
        let request = rewrite::rewrite(message, relayed_request.head, tuple.client.into(), server)?;
        let key = forwarder.key(message, context);
        let (fetch_id, mailbox) = forwarder.start(key, context.now).ok_or(HttpError::TooManyInFlight)?;
        let upstream = Arc::clone(&self.upstream);
        self.runtime
            .spawn(async move { upstream.fetch(request, |response| mailbox.post(key, response)).await });
        Ok(fetch_id)
    }

    /// Keeps the answer, which is in `response` from `start` on, for retransmission.
    fn finish(
        &self,
        forwarder: &mut HttpForwarder,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
        start: usize,
    ) -> Result<Answered, Unavailable> {
        let Context { origin, now, whole, .. } = context;
        let answer = &response[start..];
        if answer.len() > *whole {
            if forwarder.retransmit_store.keep(*now, origin, message, answer).is_ok() {
                return Ok(Answered { volatile: 0, last: response::closes(answer) });
            }
            response.truncate(start);
            self.upstream.counts().add(HttpCounter::StoreFull);
            self.refuse(HttpError::RetransmitStoreFull, message, context, response);
        }
        let answer = &response[start..];
        if answer.len() > *whole {
            response.truncate(start);
            return Err(Unavailable::NotCached);
        }
        forwarder.retransmit_store.remember(origin, message, answer);
        Ok(Answered { volatile: answer.len(), last: answer.is_empty() || response::closes(answer) })
    }

    /// Appends the error for a request that is not relayed.
    fn refuse(
        &self,
        error: HttpError,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Answered {
        let static_response = self.error_pages.get(error);
        if static_response.len() > context.room {
            return Answered { volatile: 0, last: true };
        }
        let form = ResponseForm { head_only: request::is_head(message), persistence: Persistence::Close };
        Answered { volatile: static_response.write(form, context.now, response), last: true }
    }
}

impl Service for HttpRelay {
    fn frame(&self, stream: &[u8]) -> Framing {
        match self.read(stream) {
            Ok(relayed_request) => Framing::Message(relayed_request.len),
            Err(RequestError::Incomplete) => Framing::Incomplete,
            // The end of such a message is unknown, so the connection ends with its answer.
            Err(RequestError::Invalid(_)) => Framing::Message(stream.len()),
        }
    }

    fn starts_message(&self, stream: &[u8]) -> bool {
        request::starts_message(stream)
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let relayed_request = match self.read(message) {
            Ok(relayed_request) => relayed_request,
            Err(refusal) => return Ok(self.refuse(refusal.error(), message, context, response)),
        };
        let forwarder = &mut *self.forwarder(context.worker);
        let start = response.len();
        if let Some(answer) = forwarder.retransmit_store.find(&context.origin, message) {
            if answer.len() > context.room {
                return Err(Unavailable::NotCached);
            }
            response.extend_from_slice(answer);
            return self.finish(forwarder, message, context, response, start);
        }
        if context.policy == FetchPolicy::Repeat {
            return Err(Unavailable::NotCached);
        }
        let key = forwarder.key(message, context);
        let fetch_id = match forwarder.find(&key) {
            Some(RequestState::Ready(relayed, _)) => {
                if relayed.len() > context.room {
                    let (wanted, head_only) = (relayed.len() as u64, request::is_head(message));
                    static_response::write_too_large(wanted, context.room, head_only, context.now, response);
                } else {
                    let persistence =
                        if context.persistent { relayed_request.persistence } else { Persistence::Close };
                    relayed.write(persistence, response);
                }
                forwarder.remove_request(&key);
                return self.finish(forwarder, message, context, response, start);
            }
            _ if context.policy == FetchPolicy::CachedOnly => return Err(Unavailable::NotCached),
            Some(RequestState::InFlight(fetch_id)) => Ok(*fetch_id),
            None if context.policy == FetchPolicy::AnswerNow => Err(HttpError::TooManyInFlight.into()),
            None => self.start(&relayed_request, message, context, forwarder),
        };
        match fetch_id {
            Ok(fetch_id) => Err(Unavailable::Pending(fetch_id)),
            Err(RequestError::Invalid(HttpError::TooManyInFlight)) => {
                self.upstream.counts().add(HttpCounter::TableFull);
                self.refuse(HttpError::TooManyInFlight, message, context, response);
                self.finish(forwarder, message, context, response, start)
            }
            Err(refusal) => Ok(self.refuse(refusal.error(), message, context, response)),
        }
    }

    fn prepare(&self, message: &[u8], context: &Context) {
        // RFC 9112 9.3.2: only safe requests may run in parallel with those before them.
        if self.unsafe_methods {
            return;
        }
        let Ok(relayed_request) = self.read(message) else { return };
        let forwarder = &mut *self.forwarder(context.worker);
        let known = forwarder.find(&forwarder.key(message, context)).is_some()
            || forwarder.retransmit_store.find(&context.origin, message).is_some();
        if !known {
            // A refusal is repeated when its turn comes.
            let _ = self.start(&relayed_request, message, context, forwarder);
        }
    }

    fn upstream(&self) -> Option<&dyn Upstream> {
        Some(self)
    }
}

impl Upstream for HttpRelay {
    fn fds(&self, worker: usize) -> Vec<RawFd> {
        vec![self.forwarder(worker).event().as_raw_fd()]
    }

    fn poll(&self, worker: usize, now: SystemTime, ready: &mut Vec<FetchId>) {
        self.forwarder(worker).collect(now, ready);
    }

    fn poll_timeout(&self, _worker: usize, _now: SystemTime) -> Option<Duration> {
        None
    }
}
