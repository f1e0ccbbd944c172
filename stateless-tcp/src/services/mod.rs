//! What is answered: octets of one request in, octets of one response out.
//!
//! A [`Service`] knows nothing of TCP: it sees the client's stream from a message boundary on, and is asked first where
//! the message ends, then for its answer. It reads no clock. One whose content is prepared beforehand does no I/O, so
//! that a request costs no allocation; one that asks others ([`Upstream`]) says that its answer is [`Unavailable::Pending`].

pub mod dns;
pub mod http;
mod retransmit_store;

pub use retransmit_store::{NoRoom, Sent};
pub use stateless_tcp_core::tcp::application::{Answered, FetchPolicy, Framing, Origin};

use crate::fingerprint::Fingerprint;
use crate::observe::transaction::Role;
use stateless_tcp_core::tcp::application;
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Most octets that one response, or all the responses to one segment together, may have (docs/protocol.md).
pub const MAX_RESPONSE: usize = application::MAX_RESPONSE as usize;

/// Most octets at the front of a response that may change.
pub const MAX_VOLATILE: usize = application::MAX_NON_REPEATABLE as usize;

/// Reason why there is no answer now.
pub type Unavailable = application::Unavailable<FetchId>;

/// A protocol over a TCP stream, whose answers are a pure function of (message, content, [`Context`]).
pub trait Service: Send + Sync {
    /// Where the first message of `stream` (never empty) ends.
    fn frame(&self, stream: &[u8]) -> Framing;

    /// Whether a message can begin as `stream` (never empty) does. Where the client's octets do not tell where a message
    /// begins, this keeps the inside of one from being taken for another.
    fn begins(&self, stream: &[u8]) -> bool;

    /// Whether `tail`, which [`Service::frame`] found to be incomplete, is no more than what [`Service::prefix`] restores.
    fn is_prefix(&self, tail: &[u8]) -> bool {
        let _ = tail;
        false
    }

    /// The octets before `stream`, if it goes on where a message's length stood and tells that length itself.
    fn prefix(&self, stream: &[u8]) -> Option<[u8; 2]> {
        let _ = stream;
        None
    }

    /// Appends the response to `message`, one whole message as [`Service::frame`] delimited it, to `response`.
    ///
    /// At most `context.room` octets are appended: where the true response is larger, a short one that says so (DNS:
    /// SERVFAIL, HTTP: 503), which is [`Answered::last`]: being one segment, it is received whole or not at all, and may
    /// be another when the request comes again. Where not even that fits, nothing is appended. The capacity of `response` always covers
    /// `context.room`, so that appending never allocates.
    /// # Errors
    /// Why there is no answer now; nothing is appended then. Never from a service without [`Service::errands`].
    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable>;

    /// Fetches what the answer to `message` takes, if it is not at hand: it stands behind one that is pending.
    fn prepare(&self, message: &[u8], context: &Context) {
        let _ = (message, context);
    }

    /// What it is to those who ask it, if its messages are DNS messages, each behind its length.
    fn role(&self) -> Option<Role> {
        None
    }

    /// What it has in common with a service that gives the same answers octet by octet, wherever that is; the octets of
    /// DNS cookies aside. `None`: that cannot be told.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }

    /// What is to be done for answers that are pending.
    fn errands(&self) -> Option<&dyn Upstream> {
        None
    }
}

/// What a service does between one frame and the next, so that answers that are pending can be given. Each worker does its
/// own part: what concerns one never waits for another.
pub trait Upstream: Send + Sync {
    /// The files on which an idle worker is to wait besides its socket: readable when there is something to be done. Always
    /// the same (a changing set of sockets is one epoll instance).
    fn descriptors(&self, worker: usize) -> Vec<RawFd>;

    /// Sends what is to be sent, takes in what has come, gives up what takes too long; never waits. The tickets of
    /// answers that can now be given, or refused, are appended to `ready`.
    fn turn(&self, worker: usize, now: SystemTime, ready: &mut Vec<FetchId>);

    /// How long the worker may wait if nothing comes. None: as long as it likes.
    fn due(&self, worker: usize, now: SystemTime) -> Option<Duration>;
}

/// What several requests may wait for. No two errands of a process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchId(u64);

/// Hands out tickets.
#[derive(Debug)]
pub struct FetchIds(u64);

impl FetchIds {
    /// Of each so many.
    const EACH: u64 = 1 << 40;

    /// Tickets that nobody else hands out.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(Self::EACH, Ordering::Relaxed))
    }

    /// The next.
    pub fn draw(&mut self) -> FetchId {
        self.0 += 1;
        FetchId(self.0)
    }
}

/// What an answer depends on besides the message and the content.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The worker that asks, counted from 0.
    pub worker: usize,
    /// Where the message comes from.
    pub origin: Origin,
    /// What the answer is for.
    pub purpose: FetchPolicy,
    /// Wall-clock time, for HTTP's Date and DNS cookies.
    pub now: SystemTime,
    /// The connection stays open after this answer, unless it is [`Answered::last`].
    pub persistent: bool,
    /// A response of at most so many octets goes out in one segment, and so is received whole or not at all: all of it
    /// may depend on `now`, if [`Answered::volatile`] says so. 0 where another response goes before it and nothing keeps
    /// them apart.
    pub whole: usize,
    /// Most octets this response may have: the client's window and [`MAX_RESPONSE`], less what goes before it.
    pub room: usize,
}

impl Default for Context {
    /// The least that can be said: nobody in particular, in 1970, once, and all the room that there ever is.
    fn default() -> Self {
        Self {
            worker: 0,
            origin: Origin {
                tuple: FourTuple {
                    server: Address([0; 16]),
                    client: Address([0; 16]),
                    server_port: 0,
                    client_port: 0,
                },
                seq: 0,
            },
            purpose: FetchPolicy::Answer,
            now: SystemTime::UNIX_EPOCH,
            persistent: false,
            whole: 0,
            room: MAX_RESPONSE,
        }
    }
}
