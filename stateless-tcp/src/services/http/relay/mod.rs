//! The HTTP/1.x relay: requests go to a server that speaks ordinary TCP, its responses come back as answers.
//!
//! ```text
//! worker:         frame -> ask -> desk (sent? in flight? here?) -> forward          reply -> sent -> octets
//! control plane:                                                          -> back end ->
//! ```
//!
//! A response is read whole before it is an answer, so whatever a back end does, the client gets one whole answer: the
//! response, or one that says what went wrong. Each request is the client's own: no two clients share a response, which
//! may be private. Knows nothing of TCP towards the client; see [`Service`].

mod ask;
mod backend;
mod counts;
mod desk;
mod fields;
mod forward;
mod reply;
#[cfg(test)]
mod tests;

use super::faults::{Fault, Faults};
use super::prepared::{self, Connection, Form};
use super::request::{self, Refusal};
use crate::observe::snapshot::{self, Label};
use crate::services::{Answered, Context, FetchId, FetchPolicy, Framing, Service, Unavailable, Upstream};
use ask::Ask;
use backend::BackEnd;
use counts::Count;
use desk::{Desk, Place};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// What is relayed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// The server.
    pub back_end: SocketAddr,
    /// Relay methods that may do harm when a request runs twice, and bodies.
    pub unsafe_methods: bool,
    /// How long the server has for a response.
    pub timeout: Duration,
    /// Most requests in flight, for each worker.
    pub in_flight: usize,
    /// Octets of answers kept because a client may lack a part of them, for each worker.
    pub store: usize,
}

/// Requests relayed to a server.
pub struct Relay {
    unsafe_methods: bool,
    faults: Faults,
    desks: Vec<Mutex<Desk>>,
    back_end: Arc<BackEnd>,
    runtime: Handle,
}

impl Relay {
    /// A relay for so many workers, whose connections to the server live on `runtime`.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new(options: &RelayOptions, workers: usize, runtime: Handle) -> io::Result<Self> {
        let desk = |_| Desk::new(options.in_flight, options.store).map(Mutex::new);
        Ok(Self {
            unsafe_methods: options.unsafe_methods,
            faults: Faults::new(),
            desks: (0..workers).map(desk).collect::<io::Result<_>>()?,
            back_end: Arc::new(BackEnd::new(options.back_end, options.timeout)),
            runtime,
        })
    }

    /// What it did, and how it is.
    #[must_use]
    pub fn report(&self) -> snapshot::RelaySnapshot {
        let name = |name: &'static str| Label::Borrowed(name.trim_start_matches("http_relay_"));
        snapshot::RelaySnapshot {
            service: Label::Borrowed("http"),
            counts: self.counts().map(|(of, count)| (name(of), count)).collect(),
            by_queue: Vec::new(),
            tables: Vec::new(),
            tables_by_queue: (0..self.desks.len()).map(|worker| self.desk(worker).occupancies()).collect(),
            upstreams: vec![self.back_end.look()],
        }
    }

    /// What it has counted, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.back_end.counts().all()
    }

    fn desk(&self, worker: usize) -> MutexGuard<'_, Desk> {
        self.desks[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stream: &[u8]) -> Result<Ask, Refusal> {
        ask::read(stream, self.unsafe_methods)
    }

    /// Sends the request on its way to the back end, if there is a place for it.
    fn begin(
        &self,
        ask: &Ask,
        message: &[u8],
        context: &Context,
        desk: &mut Desk,
    ) -> Result<FetchId, Refusal> {
        let tuple = &context.origin.tuple;
        let server = SocketAddr::new(tuple.server.into(), tuple.server_port);
        let request = forward::rewrite(message, ask.head, tuple.client.into(), server)?;
        let key = desk.key(message, context);
        let (ticket, mailbox) = desk.begin(key, context.now).ok_or(Fault::Busy)?;
        let back_end = Arc::clone(&self.back_end);
        self.runtime.spawn(async move { back_end.fetch(request, |reply| mailbox.post(key, reply)).await });
        Ok(ticket)
    }

    /// What stands in `response` from `start` on is the answer: it is kept, in case it is asked for again.
    fn give(
        &self,
        desk: &mut Desk,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
        start: usize,
    ) -> Result<Answered, Unavailable> {
        let Context { origin, now, whole, .. } = context;
        let answer = &response[start..];
        if answer.len() > *whole {
            if desk.sent.keep(*now, origin, message, answer).is_ok() {
                return Ok(Answered { volatile: 0, last: reply::closes(answer) });
            }
            response.truncate(start);
            self.back_end.counts().add(Count::StoreFull);
            self.refuse(Fault::NoRoom, message, context, response);
        }
        let answer = &response[start..];
        if answer.len() > *whole {
            response.truncate(start);
            return Err(Unavailable::Gone);
        }
        desk.sent.remember(origin, message, answer);
        Ok(Answered { volatile: answer.len(), last: answer.is_empty() || reply::closes(answer) })
    }

    /// Appends the answer to a request that is not relayed.
    fn refuse(&self, fault: Fault, message: &[u8], context: &Context, response: &mut Vec<u8>) -> Answered {
        let prepared = self.faults.of(fault);
        if prepared.len() > context.room {
            return Answered { volatile: 0, last: true };
        }
        let form = Form { head_only: request::is_head(message), connection: Connection::Close };
        Answered { volatile: prepared.write(form, context.now, response), last: true }
    }
}

impl Service for Relay {
    fn frame(&self, stream: &[u8]) -> Framing {
        match self.read(stream) {
            Ok(ask) => Framing::Message(ask.len),
            Err(Refusal::Incomplete) => Framing::Incomplete,
            // Where such a message would end nobody can tell; the connection ends with its answer.
            Err(Refusal::Fault(_)) => Framing::Message(stream.len()),
        }
    }

    fn begins(&self, stream: &[u8]) -> bool {
        request::begins(stream)
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let ask = match self.read(message) {
            Ok(ask) => ask,
            Err(refusal) => return Ok(self.refuse(refusal.fault(), message, context, response)),
        };
        let desk = &mut *self.desk(context.worker);
        let start = response.len();
        if let Some(answer) = desk.sent.find(&context.origin, message) {
            if answer.len() > context.room {
                return Err(Unavailable::Gone);
            }
            response.extend_from_slice(answer);
            return self.give(desk, message, context, response, start);
        }
        if context.purpose == FetchPolicy::Again {
            return Err(Unavailable::Gone);
        }
        let key = desk.key(message, context);
        let ticket = match desk.find(&key) {
            Some(Place::Here(reply, _)) => {
                if reply.len() > context.room {
                    let (wanted, head_only) = (reply.len() as u64, request::is_head(message));
                    prepared::write_too_large(wanted, context.room, head_only, context.now, response);
                } else {
                    let connection = if context.persistent { ask.connection } else { Connection::Close };
                    reply.write(connection, response);
                }
                desk.clear(&key);
                return self.give(desk, message, context, response, start);
            }
            _ if context.purpose == FetchPolicy::AtHand => return Err(Unavailable::Gone),
            Some(Place::InFlight(ticket)) => Ok(*ticket),
            None if context.purpose == FetchPolicy::AtOnce => Err(Fault::Busy.into()),
            None => self.begin(&ask, message, context, desk),
        };
        match ticket {
            Ok(ticket) => Err(Unavailable::Pending(ticket)),
            Err(Refusal::Fault(Fault::Busy)) => {
                self.back_end.counts().add(Count::TableFull);
                self.refuse(Fault::Busy, message, context, response);
                self.give(desk, message, context, response, start)
            }
            Err(refusal) => Ok(self.refuse(refusal.fault(), message, context, response)),
        }
    }

    fn prepare(&self, message: &[u8], context: &Context) {
        // RFC 9112 9.3.2: only what is safe may run beside what goes before it.
        if self.unsafe_methods {
            return;
        }
        let Ok(ask) = self.read(message) else { return };
        let desk = &mut *self.desk(context.worker);
        let known = desk.find(&desk.key(message, context)).is_some()
            || desk.sent.find(&context.origin, message).is_some();
        if !known {
            // Refused, it is so when its turn comes.
            let _ = self.begin(&ask, message, context, desk);
        }
    }

    fn errands(&self) -> Option<&dyn Upstream> {
        Some(self)
    }
}

impl Upstream for Relay {
    fn descriptors(&self, worker: usize) -> Vec<RawFd> {
        vec![self.desk(worker).event().as_raw_fd()]
    }

    fn turn(&self, worker: usize, now: SystemTime, ready: &mut Vec<FetchId>) {
        self.desk(worker).collect(now, ready);
    }

    fn due(&self, _worker: usize, _now: SystemTime) -> Option<Duration> {
        None
    }
}
