//! What the protocol asks of an application: where a message ends, and what answers it.

use super::segment::FourTuple;

/// Most bytes that one response, or all the responses to one segment together, may have: the longest DNS message, behind
/// its length (docs/protocol.md, "Limits").
pub const MAX_RESPONSE: u32 = 65_537;

/// Most bytes at the front of a response that may change, unless all of it is one segment.
pub const MAX_NON_REPEATABLE: u32 = 96;

/// An application over a TCP stream. Its answers are a pure function of (message, content, [`RequestContext`]).
///
/// It owns the responses to one segment's messages, which lie one behind the other; the protocol knows their lengths only.
pub trait Application {
    /// Every message is answered elsewhere: no method but [`Application::select`] is ever called. Whatever takes an
    /// application is then [`Deferred`](super::Deferred).
    const DEFERS: bool = false;

    /// Identifies an answer that is being fetched.
    type FetchId: Copy;

    /// Selects the content of `generation` at `port` for the calls that follow. False if it is not served.
    fn select(&mut self, generation: u8, port: u16) -> bool;

    /// Finds the end of the first message of `stream` (never empty).
    fn frame(&self, stream: &[u8]) -> Framing;

    /// Whether a message can begin as `stream` (never empty) does. Where the client's bytes do not tell where a message
    /// begins, this keeps the inside of one from being taken for another.
    fn starts_message(&self, stream: &[u8]) -> bool;

    /// Whether `tail`, which [`Application::frame`] found to be incomplete, is no more than what [`Application::prefix`]
    /// restores.
    fn is_prefix(&self, tail: &[u8]) -> bool;

    /// The bytes before `stream`, if it goes on where a message's length stood and tells that length itself.
    fn prefix(&self, stream: &[u8]) -> Option<[u8; 2]>;

    /// Appends the response to `message`, one whole message as [`Application::frame`] delimited it, to the responses.
    ///
    /// At most `context.room` bytes are appended: where the true response is larger, a short one that says so, which is
    /// [`Answered::last`].
    ///
    /// # Errors
    /// Why there is no answer now; nothing is appended then.
    fn answer(
        &mut self,
        message: &[u8],
        context: &RequestContext,
    ) -> Result<Answered, Unavailable<Self::FetchId>>;

    /// Begins to fetch what the answer to `message` takes, if it is not at hand: it stands behind one that is pending.
    fn prefetch(&mut self, message: &[u8], context: &RequestContext);

    /// Notes that `message` was answered by the bytes from `start` to the end of the responses, none of which were sent
    /// before.
    fn log_query(&mut self, message: &[u8], start: usize);

    /// Bytes of all responses.
    fn response_length(&self) -> usize;

    /// Cuts the responses off behind `length` bytes.
    fn truncate_responses(&mut self, length: usize);

    /// Removes the first `length` bytes of the responses.
    fn drop_responses(&mut self, length: usize);
}

/// What [`Application::frame`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The stream begins with a whole message of so many bytes (at least 1).
    Message(usize),
    /// The message goes on beyond the bytes at hand.
    Incomplete,
}

/// Properties of an answer besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// So many bytes at the front of this response may differ when it is asked for again (HTTP's Date, a DNS cookie): it can
    /// be resumed only beyond them. At most [`MAX_NON_REPEATABLE`], or all of a response of at most
    /// [`RequestContext::whole`] bytes; 0 for one that is always the same.
    pub volatile: usize,
    /// The application is done with the stream: messages after this one are not looked at.
    pub last: bool,
}

/// Reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable<F> {
    /// It is being fetched: the request is to be put again when this is ready.
    Pending(F),
    /// It is not at hand, and [`RequestContext::policy`] does not let it be fetched.
    NotCached,
}

/// Purpose of an answer, and so what may be done to get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchPolicy {
    /// To be given, at once or later: what is not at hand may be fetched.
    MayFetch,
    /// To be given at once: there is no room for requests that wait. Content that is not at hand is refused (DNS: SERVFAIL,
    /// HTTP: 503).
    AnswerNow,
    /// To be given only if it is at hand: the request may be an old one, sent again by anybody (Fast Open).
    CachedOnly,
    /// To be given again: the client may have a part of it, so that nothing but the same bytes will do.
    Repeat,
}

/// Identity of a message: every copy of it has the same, and no other message of the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Its connection.
    pub tuple: FourTuple,
    /// Sequence number of its first byte.
    pub seq: u32,
}

/// Everything that an answer depends on besides the message, the content and the time.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext {
    /// The message's source.
    pub origin: Origin,
    /// The purpose of the answer.
    pub policy: FetchPolicy,
    /// The connection stays open after this answer, unless it is [`Answered::last`].
    pub persistent: bool,
    /// A response of at most so many bytes goes out in one segment, and so is received whole or not at all: all of it may
    /// depend on the time, if [`Answered::volatile`] says so. 0 where another response goes before it and nothing keeps
    /// them apart.
    pub whole: usize,
    /// Most bytes that this response may have: the client's window and [`MAX_RESPONSE`], less what goes before it.
    pub room: usize,
}

impl RequestContext {
    /// The same for the message `offset` bytes behind.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a stream is at most a payload and what is buffered")]
    pub(super) fn behind(&self, offset: usize) -> Self {
        let seq = self.origin.seq.wrapping_add(offset as u32);
        Self { origin: Origin { seq, ..self.origin }, ..*self }
    }
}

/// The application of an XDP program: every message is answered in user space.
#[derive(Clone, Copy, Debug, Default)]
pub struct InUserSpace;

impl Application for InUserSpace {
    const DEFERS: bool = true;

    type FetchId = ();

    #[inline]
    fn select(&mut self, _: u8, _: u16) -> bool {
        true
    }

    fn frame(&self, _: &[u8]) -> Framing {
        Framing::Incomplete
    }

    fn starts_message(&self, _: &[u8]) -> bool {
        false
    }

    fn is_prefix(&self, _: &[u8]) -> bool {
        false
    }

    fn prefix(&self, _: &[u8]) -> Option<[u8; 2]> {
        None
    }

    fn answer(&mut self, _: &[u8], _: &RequestContext) -> Result<Answered, Unavailable<()>> {
        Err(Unavailable::NotCached)
    }

    fn prefetch(&mut self, _: &[u8], _: &RequestContext) {}

    fn log_query(&mut self, _: &[u8], _: usize) {}

    fn response_length(&self) -> usize {
        0
    }

    fn truncate_responses(&mut self, _: usize) {}

    fn drop_responses(&mut self, _: usize) {}
}
