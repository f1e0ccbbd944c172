//! What is answered: octets of one request in, octets of one response out.
//!
//! A [`Service`] knows nothing of TCP: it sees the client's stream from a message boundary on, and is asked first where
//! the message ends, then for its answer. It does no I/O and reads no clock; all its content is prepared beforehand, so
//! that a request costs no allocation.

pub mod dns;
pub mod http;

use std::time::SystemTime;

use stateless_tcp_ebpf::segment::Address;

/// Most octets that one response, or all the responses to one segment together, may have (docs/protocol.md).
pub const MAX_RESPONSE: usize = stateless_tcp_ebpf::rule::MAX_RESPONSE as usize;

/// Most octets at the front of a response that may change.
pub const MAX_VOLATILE: usize = stateless_tcp_ebpf::reply::MAX_VOLATILE as usize;

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
    fn answer(&self, message: &[u8], context: &Context, response: &mut Vec<u8>) -> Answered;
}

/// What [`Service::frame`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The stream begins with a whole message of so many octets (at least 1).
    Message(usize),
    /// The message goes on beyond the octets at hand.
    Incomplete,
}

/// What an answer depends on besides the message and the content.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Wall-clock time, for HTTP's Date and DNS cookies.
    pub now: SystemTime,
    /// Who asks.
    pub client: Address,
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
            now: SystemTime::UNIX_EPOCH,
            client: Address([0; 16]),
            persistent: false,
            whole: 0,
            room: MAX_RESPONSE,
        }
    }
}

/// What the responder must know of an answer besides its octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// So many octets at the front of this response may differ when it is asked for again (HTTP's Date, a DNS cookie):
    /// it can be resumed only beyond them. At most [`MAX_VOLATILE`], or all of a response of at most [`Context::whole`]
    /// octets; 0 for one that is always the same.
    pub volatile: usize,
    /// The service is done with the stream: messages after this one are not looked at.
    pub last: bool,
}
