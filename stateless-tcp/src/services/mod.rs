//! Services: bytes of one request in, bytes of one response out.
//!
//! A [`Service`] knows nothing of TCP: it sees the client's stream from a message boundary on. It first finds the end
//! of the message, then answers it. It reads no clock. A service whose content is compiled beforehand does no I/O and
//! allocates nothing per request. A relay fetches its answers from others ([`Upstream`]) and returns
//! [`Unavailable::Pending`] meanwhile.

pub mod dns;
pub mod http;
pub mod retransmit_store;

pub use stateless_tcp_core::tcp::application::{Answered, FetchPolicy, Framing, Origin};

use crate::fingerprint::Fingerprint;
use crate::observe::transaction::Role;
use stateless_tcp_core::tcp::application;
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Limit in bytes on one response, and on all responses to one segment together (docs/protocol.md).
pub const MAX_RESPONSE: usize = application::MAX_RESPONSE as usize;

/// Limit on the bytes at the front of a response that may change.
pub const MAX_VOLATILE: usize = application::MAX_NON_REPEATABLE as usize;

/// The reason why there is no answer.
pub type Unavailable = application::Unavailable<FetchId>;

/// A protocol over a TCP stream, whose answers are a pure function of (message, content, [`Context`]).
pub trait Service: Send + Sync {
    /// Finds the end of the first message of `stream` (never empty).
    fn frame(&self, stream: &[u8]) -> Framing;

    /// Whether a message can begin as `stream` (never empty) does. This keeps the inside of a message from being taken
    /// for the start of another when the position in the stream is uncertain.
    fn starts_message(&self, stream: &[u8]) -> bool;

    /// Whether `tail`, an incomplete message by [`Service::frame`], is no more than [`Service::prefix`] restores.
    fn is_prefix(&self, tail: &[u8]) -> bool {
        let _ = tail;
        false
    }

    /// The length prefix before `stream`, if `stream` begins behind one and its own content implies that length.
    fn prefix(&self, stream: &[u8]) -> Option<[u8; 2]> {
        let _ = stream;
        None
    }

    /// Appends the response to `message`, one whole message as [`Service::frame`] delimited it, to `response`.
    ///
    /// At most `context.room` bytes are appended. If the true response is larger, a short error takes its place (DNS:
    /// SERVFAIL, HTTP: 503), marked [`Answered::last`]: it is one segment, so the client receives all of it or nothing,
    /// and a resent request may get another answer. If not even that fits, nothing is appended. The capacity of
    /// `response` always covers `context.room`, so appending never allocates.
    /// # Errors
    /// The reason why there is no answer now; nothing is appended then. A service without
    /// [`Service::upstream`] never fails.
    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable>;

    /// Starts to fetch the answer to `message`, which stands behind a pending one, unless it is cached.
    fn prepare(&self, message: &[u8], context: &Context) {
        let _ = (message, context);
    }

    /// Its DNS role, if its messages are DNS messages with a length prefix.
    fn role(&self) -> Option<Role> {
        None
    }

    /// A fingerprint of its answers: services with equal fingerprints give the same answers byte by byte, apart from
    /// DNS cookies. `None` if the answers are not known beforehand.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }

    /// The upstream to poll while answers are pending.
    fn upstream(&self) -> Option<&dyn Upstream> {
        None
    }
}

/// A service's work between frames, which makes pending answers available. Each worker does its own part and never
/// waits for another.
pub trait Upstream: Send + Sync {
    /// File descriptors on which an idle worker waits besides its socket: readable when there is work. They never
    /// change (a changing set of sockets is one epoll instance).
    fn fds(&self, worker: usize) -> Vec<RawFd>;

    /// Sends queries, receives answers and expires old queries; never waits. Appends to `ready` the fetches that have
    /// ended, with an answer or without.
    fn poll(&self, worker: usize, now: SystemTime, ready: &mut Vec<FetchId>);

    /// The longest time that the worker may sleep if nothing arrives. `None`: no limit.
    fn poll_timeout(&self, worker: usize, now: SystemTime) -> Option<Duration>;
}

/// One fetch, for which several requests may wait. Unique within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchId(u64);

/// Generates fetch identifiers.
#[derive(Debug)]
pub struct FetchIds(u64);

impl FetchIds {
    /// Identifiers for each generator.
    const EACH: u64 = 1 << 40;

    /// A generator whose identifiers no other one generates.
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

/// The inputs of an answer besides the message and the content.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The worker, counted from 0.
    pub worker: usize,
    /// The origin of the message.
    pub origin: Origin,
    /// The effort allowed for the answer.
    pub policy: FetchPolicy,
    /// Wall-clock time, for HTTP's Date and DNS cookies.
    pub now: SystemTime,
    /// The connection stays open after this answer, unless it is [`Answered::last`].
    pub persistent: bool,
    /// A response of at most this many bytes goes out in one segment, so the client receives all of it or nothing: all
    /// of it may depend on `now`, if [`Answered::volatile`] says so. 0 if another response goes before it in the same
    /// segment.
    pub whole: usize,
    /// Limit on the response in bytes: the client's window and [`MAX_RESPONSE`], minus the responses before it.
    pub room: usize,
}

impl Default for Context {
    /// An unspecified client in 1970, with all the room there is.
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
            policy: FetchPolicy::MayFetch,
            now: SystemTime::UNIX_EPOCH,
            persistent: false,
            whole: 0,
            room: MAX_RESPONSE,
        }
    }
}
