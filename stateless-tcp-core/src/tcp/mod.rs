//! TCP without state: each segment is answered from what it carries itself (docs/protocol.md).
//!
//! [`Engine::handle`] is the one way in: a segment, an [`Application`] and a [`ConnCache`] go down, segments come up. User
//! space and XDP programs call the same; the latter with an application and a cache that are [`InUserSpace`].
//!
//! | arrives | handled by | sent |
//! |---|---|---|
//! | SYN | [`Engine::handle`], [`fast_open`] | SYN,ACK with the cookie as its sequence number |
//! | segment with timestamps | [`persistent`] | answers from what the client lacks on; the connection stays open |
//! | first segment without timestamps | [`single_request`] | the answer, then FIN |
//! | FIN without payload and timestamps | [`single_request`] | ACK; with our FIN if the client has asked for nothing |
//! | anything else | [`Engine::handle`] | nothing |
//!
//! | module | task |
//! |---|---|
//! | [`segment`] | a TCP header as values |
//! | [`epoch`] | time slots, after which proofs expire |
//! | [`isn`] | initial sequence numbers that prove a connection |
//! | [`ts_cookie`] | timestamps that carry RCV.NXT and SND.NXT |
//! | [`tcb`] | a connection as one segment tells it |
//! | [`parser`] | the messages of a payload, and their answers |
//! | [`output`] | how a response is cut into segments |
//! | [`application`], [`conn_cache`], [`conn_entry`] | the two traits, and an entry of the cache |
//! | [`retry`] | clients that send the same in vain |
//!
pub mod application;
pub mod conn_cache;
pub mod conn_entry;
pub mod epoch;
pub mod fast_open;
pub mod isn;
pub mod output;
pub mod parser;
pub mod persistent;
pub mod retry;
pub mod segment;
pub mod single_request;
mod siphash;
pub mod tcb;
#[cfg(test)]
mod testing;
pub mod ts_cookie;

use self::application::{Application, FetchPolicy, InUserSpace};
use self::conn_cache::ConnCache;
use self::epoch::Epochs;
use self::isn::{CookieFields, Generations, Keys, MssClass};
use self::output::{Reply, TxSegment};
use self::segment::{Flags, Segment, Timestamps};
use self::ts_cookie::{TsCookie, TsState};
use crate::outcome::{Outcome, XdpAction};
use core::ops::Range;
use core::time::Duration;

/// Bytes of payload that every client takes in one segment: the least MSS (536), less options.
const WHOLE: u16 = 512;

/// Moment at which a request is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckPolicy {
    /// At once, and FIN has a segment of its own. An answer that the network loses stays lost.
    Classic,
    /// Only together with its answer, so that the client resends it until it has that.
    #[default]
    Reliable,
}

impl AckPolicy {
    /// The receive window that we advertise. We hold no buffer: it bounds the bytes that the client has in flight.
    #[inline]
    #[must_use]
    pub const fn window(self) -> u16 {
        match self {
            Self::Classic => 65_535,
            Self::Reliable => 4_095,
        }
    }

    /// The payload of our segments unless configured, in bytes.
    #[inline]
    #[must_use]
    pub const fn segment_size(self) -> u16 {
        match self {
            Self::Classic => 512,
            Self::Reliable => MssClass::Standard.bytes(),
        }
    }
}

/// Everything but the content that answers are made from. It changes with a reload or a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// When requests are acknowledged.
    pub ack_policy: AckPolicy,
    /// Cookie keys.
    pub keys: Keys,
    /// Generations of the content that is served.
    pub generations: Generations,
    /// Largest payload sent, in bytes. The same on all servers that share a key: a client acknowledges where segments end.
    pub segment_size: u16,
    /// Requests that come with the SYN are answered (RFC 7413).
    pub fast_open: bool,
}

/// A segment to be handled.
#[derive(Clone, Copy, Debug)]
pub struct RxSegment<'a> {
    /// Wall-clock time since the epoch.
    pub now: Duration,
    /// The time slots at `now`.
    pub epochs: Epochs,
    /// Its header.
    pub segment: &'a Segment,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its source.
    pub source: Source,
    /// There is no room for more requests that wait.
    pub crowded: bool,
}

/// Sender of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client.
    Client,
    /// Our buffer: the client sent an ACK that proves the bytes before it.
    Reassembled,
    /// Our list of requests that wait: an answer was fetched.
    Resumed,
}

impl RxSegment<'_> {
    #[inline]
    fn policy(&self) -> FetchPolicy {
        if self.crowded { FetchPolicy::AnswerNow } else { FetchPolicy::MayFetch }
    }
}

/// Result of handling a segment.
#[derive(Clone, Debug)]
pub struct Handled<F> {
    /// Its outcome.
    pub outcome: Outcome,
    /// Counted besides.
    pub notes: [Option<Outcome>; 2],
    /// Messages answered.
    pub messages: u32,
    /// The segments to send. The application has their payload.
    pub transmit: Transmit,
    /// The request that is left to wait.
    pub pending: Option<Pending<F>>,
}

/// A request that waits for an answer that is being fetched: the rest of its segment, to be handled again as if the client
/// had sent it again.
#[derive(Clone, Debug)]
pub struct Pending<F> {
    /// The answer that it waits for.
    pub fetch: F,
    /// Its header.
    pub segment: Segment,
    /// Its payload, a range of the payload handled, or of [`Assembly`].
    pub range: Range<usize>,
    /// The range is one of the assembly.
    pub assembled: bool,
}

/// Handling the segment takes an application or a connection cache, which are in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred;

/// The segments that answer one segment, in order.
#[derive(Clone, Debug)]
pub enum Transmit {
    /// None.
    Nothing,
    /// One: without payload, unless it is SYN,ACK.
    One(TxSegment),
    /// SYN,ACK, and behind it the response to the request that came with the SYN.
    SynAckAndResponse(TxSegment, Reply),
    /// A response.
    Response(Reply),
}

impl Iterator for Transmit {
    type Item = TxSegment;

    #[inline]
    fn next(&mut self) -> Option<TxSegment> {
        match self {
            Self::Nothing => None,
            Self::One(segment) => {
                let segment = *segment;
                *self = Self::Nothing;
                Some(segment)
            }
            Self::SynAckAndResponse(syn_ack, reply) => {
                let syn_ack = *syn_ack;
                *self = Self::Response(reply.clone());
                Some(syn_ack)
            }
            Self::Response(reply) => reply.next(),
        }
    }
}

/// Early end of handling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Nothing is sent.
    Refuse(Outcome),
    /// See [`Deferred`].
    Defer,
}

impl From<Outcome> for Stop {
    #[inline]
    fn from(outcome: Outcome) -> Self {
        Self::Refuse(outcome)
    }
}

impl<F> Handled<F> {
    #[inline]
    fn new(outcome: Outcome, transmit: Transmit) -> Self {
        Self { outcome, notes: [None; 2], messages: 0, transmit, pending: None }
    }

    #[inline]
    fn one(outcome: Outcome, segment: TxSegment) -> Self {
        Self::new(outcome, Transmit::One(segment))
    }

    /// RST, for a segment whose sender knows our sequence numbers and cannot be helped otherwise (RFC 9293 section 3.5.2).
    #[inline]
    fn reset(outcome: Outcome, segment: &Segment) -> Self {
        let reset = TxSegment::bare(segment.ack, 0, Flags::RST, 0);
        Self { notes: [Some(Outcome::ResetSent), None], ..Self::one(outcome, reset) }
    }
}

/// Memory for a message that is put together from several segments.
#[derive(Debug)]
pub struct Assembly<'a> {
    memory: &'a mut [u8],
    length: usize,
}

impl<'a> Assembly<'a> {
    /// Bytes of memory that every message finds room in.
    pub const CAPACITY: usize = conn_cache::MAX_BUFFERED + u16::MAX as usize;

    /// An empty one in `memory`, of [`Assembly::CAPACITY`] bytes unless the application is in user space.
    #[inline]
    #[must_use]
    pub fn new(memory: &'a mut [u8]) -> Self {
        Self { memory, length: 0 }
    }

    #[inline]
    fn clear(&mut self) {
        self.length = 0;
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.memory[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

/// Handles one segment.
#[derive(Debug)]
pub struct Engine<'a, A, C> {
    /// The rules by which segments are answered.
    pub config: &'a TcpConfig,
    /// Answers messages.
    pub application: &'a mut A,
    /// Remembers connections.
    pub cache: &'a mut C,
    /// For messages of several segments.
    pub assembly: Assembly<'a>,
}

impl<A: Application, C: ConnCache> Engine<'_, A, C> {
    /// Handles a segment.
    ///
    /// # Errors
    /// [`Deferred`], if it takes an application or a connection cache that is in user space.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in BPF a function that is not inlined may not return such values"
    )]
    pub fn handle(mut self, rx: &RxSegment<'_>) -> Result<Handled<A::FetchId>, Deferred> {
        match self.dispatch(rx) {
            Ok(handled) => Ok(handled),
            Err(Stop::Refuse(outcome)) => Ok(Handled::new(outcome, Transmit::Nothing)),
            Err(Stop::Defer) => Err(Deferred),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see handle")]
    fn dispatch(&mut self, rx: &RxSegment<'_>) -> Result<Handled<A::FetchId>, Stop> {
        let segment = rx.segment;
        if segment.tuple.is_martian() {
            return Err(Outcome::Martian.into());
        }
        if segment.flags.contains(Flags::RST) {
            return Err(Outcome::Reset.into());
        }
        let [syn, ack, fin] = [Flags::SYN, Flags::ACK, Flags::FIN].map(|flag| segment.flags.contains(flag));
        // Whoever negotiated timestamps sends them in every segment (RFC 7323 section 3.2).
        let persistent =
            self.config.ack_policy == AckPolicy::Reliable && segment.options.timestamps.is_some();
        match (syn, ack, fin) {
            (false, true, _) if persistent => persistent::on_segment(self, rx),
            (true, false, false) => self.on_syn(rx),
            (true, true, false) => Err(Outcome::SynAckReceived.into()),
            (false, true, _) if segment.length > 0 => {
                if A::DEFERS {
                    return Err(Stop::Defer);
                }
                single_request::on_data(self, rx)
            }
            (false, true, true) => Ok(Handled::one(
                Outcome::FinAcknowledged,
                single_request::on_fin(self.config, &rx.epochs, segment),
            )),
            (false, true, false) => Err(Outcome::BareAck.into()),
            (true, _, true) | (false, false, _) => Err(Outcome::UnusualFlags.into()),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see handle")]
    fn on_syn(&mut self, rx: &RxSegment<'_>) -> Result<Handled<A::FetchId>, Stop> {
        let syn_ack = syn_ack(self.config, &rx.epochs, rx.segment)?;
        if !self.config.fast_open || rx.segment.options.fast_open.is_none() {
            return Ok(Handled::one(Outcome::SynAck, syn_ack));
        }
        if A::DEFERS {
            return Err(Stop::Defer);
        }
        Ok(fast_open::on_syn(self, rx, syn_ack))
    }
}

/// Handles a segment without payload as an XDP program does: application and cache are in user space.
///
/// Returns the outcome and the answer, if there is one; none if user space has to handle the segment.
#[inline(always)]
#[must_use]
#[expect(clippy::inline_always, reason = "see Engine::handle")]
pub fn handle_in_driver(
    config: &TcpConfig,
    epochs: Epochs,
    segment: &Segment,
) -> Option<(Outcome, Option<TxSegment>)> {
    let (mut application, mut cache) = (InUserSpace, InUserSpace);
    let assembly = Assembly::new(&mut []);
    let engine = Engine { config, application: &mut application, cache: &mut cache, assembly };
    let (now, source) = (Duration::ZERO, Source::Client);
    let rx = RxSegment { now, epochs, segment, payload: &[], source, crowded: false };
    let handled = engine.handle(&rx).ok()?;
    match (handled.outcome.xdp_action(), handled.transmit) {
        (XdpAction::Transmit, Transmit::One(answer)) => Some((handled.outcome, Some(answer))),
        (XdpAction::Drop, Transmit::Nothing) => Some((handled.outcome, None)),
        _ => None,
    }
}

/// Answers SYN. Its payload, if any, is not acknowledged and comes again (RFC 9293 section 3.10.7.2).
///
/// # Errors
/// [`Outcome::MssTooSmall`].
#[inline]
pub fn syn_ack(config: &TcpConfig, epochs: &Epochs, segment: &Segment) -> Result<TxSegment, Outcome> {
    let TcpConfig { ack_policy, ref keys, ref generations, .. } = *config;
    let ipv4 = segment.tuple.server.ipv4().is_some();
    let class = MssClass::offered(segment.options.mss, ipv4).ok_or(Outcome::MssTooSmall)?;
    let fields = CookieFields { class, generation: generations.current() };
    let ack = segment.seq.wrapping_add(1);
    let (seq, timestamps) = match segment.options.timestamps {
        Some(offered) if ack_policy == AckPolicy::Reliable => {
            let slot = epochs.persistent.current;
            let (iss, mask) =
                isn::iss_with_timestamps(&keys.current, &segment.tuple, segment.seq, slot, fields);
            let cookie = TsCookie::new(ack, iss.wrapping_add(1), TsState::Acked);
            (iss, Some(Timestamps { value: cookie.encode(mask), echo: offered.value }))
        }
        _ => {
            let slot = epochs.single_request.current;
            (isn::iss(&keys.current, &segment.tuple, segment.seq, slot, fields), None)
        }
    };
    Ok(TxSegment {
        mss: Some(MssClass::Standard.bytes()),
        timestamps,
        ..TxSegment::bare(seq, ack, Flags::SYN | Flags::ACK, ack_policy.window())
    })
}

#[cfg(test)]
mod tests;
