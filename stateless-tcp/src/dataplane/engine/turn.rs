//! One segment's turn in a connection with timestamps: walk, settle, remember.

use super::limit::RateGate;
use super::walk::{Answers, ParseLimits};
use super::{DeferredSegment, RxSegment, Source, Transmit};
use crate::dataplane::conn_cache::{BufferedRange, ConnCache, ConnEntry, Promised, SeqPair};
use crate::observe::counters::Counter;
use crate::services::{Context, Origin, Service};
use stateless_tcp_core::tcp::input::Reason;
use stateless_tcp_core::tcp::segment::{Flags, Segment};
use stateless_tcp_core::tcp::tcb::{Decision, MAX_PROMISED, ParsedMessages, Tcb};
use stateless_tcp_core::tcp::ts_cookie::TsState;

/// One segment's turn.
pub(super) struct SegmentHandler<'a> {
    pub(super) arrival: RxSegment<'a>,
    /// The echo, or what is known to be more.
    pub(super) echo: Tcb,
    /// Most octets of payload, as configured.
    pub(super) size: u16,
    pub(super) walker: MessageParser<'a>,
    pub(super) joined: &'a mut Vec<u8>,
    pub(super) hints: &'a mut ConnCache,
    pub(super) waiting: &'a mut Option<DeferredSegment>,
}

impl SegmentHandler<'_> {
    pub(super) fn decide(&mut self, decision: Decision, doubtful: &mut RateGate) -> Result<Transmit, Reason> {
        if decision.doubtful && !doubtful.allows(self.arrival.now) {
            return Err(Reason::Misaligned);
        }
        self.prove();
        self.arrival.counters.add(Counter::Confirmed, 1);
        Ok(Transmit::One(decision.outgoing))
    }

    /// Octets behind P that are kept, where an ACK alone says that the client has the answers to all before it. They are
    /// as good as sent again, and put into `joined`.
    pub(super) fn kept(&mut self, decision: &Decision) -> Option<Segment> {
        let Self { arrival: RxSegment { segment, .. }, ref echo, .. } = *self;
        let alone = segment.length == 0 && !segment.flags.contains(Flags::FIN);
        if decision.doubtful || !alone || echo.closing() || echo.is_mid_message() {
            return None;
        }
        let (seq, boundary) = (echo.position(segment), echo.boundary(segment));
        let kept = self.hints.kept_from(echo.secret(), SeqPair { position: seq, boundary })?;
        let length = u16::try_from(kept.len()).ok()?;
        let sent = segment.seq.wrapping_sub(seq.wrapping_add(u32::from(length))).cast_signed() >= 0;
        sent.then(|| {
            self.joined.clear();
            self.joined.extend_from_slice(kept);
            Segment { seq, length, ..*segment }
        })
    }

    /// What the payload holds around P. If it begins inside a message, its beginning may be known.
    #[inline]
    pub(super) fn walk(&mut self, position: usize) -> Option<ParsedMessages> {
        let begins = position == 0 || self.walker.service.starts_message(self.arrival.payload);
        if begins {
            return self.walker.walk(self.arrival.payload, 0, position, &self.echo);
        }
        let lead = self.recall()?;
        self.walker.walk(self.joined, lead, lead + position, &self.echo)
    }

    /// Puts the payload, behind the octets of its message that went before it, into `joined`, and says how many these are.
    fn recall(&mut self) -> Option<usize> {
        self.joined.clear();
        let kept = self.hints.kept(self.echo.secret(), self.arrival.segment.seq);
        if let Some((octets, _)) = kept.filter(|(_, kept)| kept.part) {
            self.joined.extend_from_slice(octets);
        } else {
            self.joined.extend_from_slice(&self.walker.service.prefix(self.arrival.payload)?);
        }
        let lead = self.joined.len();
        self.joined.extend_from_slice(self.arrival.payload);
        Some(lead)
    }

    /// The payload holds what lies around P.
    #[inline]
    pub(super) fn settle(
        &mut self,
        walk: &ParsedMessages,
        doubtful: &mut RateGate,
    ) -> Result<Transmit, Reason> {
        let boundary = self.echo.boundary(self.arrival.segment);
        if self.stands_at_head(walk) && (self.keep(walk, self.arrival.payload, boundary) || walk.prefix) {
            return Ok(self.acknowledge_part());
        }
        if self.echo.is_doubtful(walk) && !doubtful.allows(self.arrival.now) {
            return Err(Reason::Misaligned);
        }
        let walk = ParsedMessages { kept: walk.incomplete && self.can_keep(walk), ..*walk };
        let answer = match self.answer(&walk) {
            Err(Reason::OutOfOrder)
                if self.echo.position(self.arrival.segment) == self.arrival.segment.seq =>
            {
                // It is answered when the client has what comes before it.
                let nothing =
                    ParsedMessages { rest: self.arrival.payload.len(), ..ParsedMessages::default() };
                if !self.keep(&nothing, self.arrival.payload, boundary) {
                    return Err(Reason::OutOfOrder);
                }
                self.arrival.counters.add(Counter::Buffered, 1);
                return Ok(Transmit::Silence);
            }
            answer => answer?,
        };
        self.wait(self.arrival.payload, walk.end.into());
        if !self.keep(&walk, self.arrival.payload, boundary.wrapping_add(walk.new))
            && self.arrival.source == Source::Reassembled
        {
            self.hints.forget(self.echo.secret());
        }
        Ok(answer)
    }

    /// The payload goes on inside a message.
    pub(super) fn resume(&mut self) -> Result<Transmit, Reason> {
        if let Some(outgoing) = self.echo.end(self.arrival.segment) {
            self.arrival.counters.add(Counter::Confirmed, 1);
            return Ok(Transmit::One(outgoing));
        }
        let Some(lead) = self.recall() else { return self.forgotten() };
        let walk = self.walker.walk(self.joined, lead, 0, &self.echo).ok_or(Reason::Misaligned)?;
        let walk = ParsedMessages { prefix: false, kept: walk.incomplete && self.can_keep(&walk), ..walk };
        let answer = match walk.incomplete && walk.end == 0 {
            true if walk.kept && self.stands_at_head(&walk) => self.acknowledge_part(),
            true => return self.forgotten(),
            false => self.answer(&walk)?,
        };
        self.wait(self.arrival.payload, walk.end.into());
        if walk.end == 0 && self.waiting.is_some() {
            // Its beginning is still needed.
            return Ok(answer);
        }
        let joined = std::mem::take(self.joined);
        self.keep(&walk, &joined, self.echo.boundary(self.arrival.segment).wrapping_add(walk.new));
        *self.joined = joined;
        Ok(answer)
    }

    /// The payload goes on inside a message whose beginning, or this part, is not kept.
    fn forgotten(&self) -> Result<Transmit, Reason> {
        let outgoing = self.echo.forgotten(self.arrival.segment, self.size)?;
        self.arrival.counters.add(Counter::ReassemblyLost, 1);
        Ok(Transmit::One(outgoing))
    }

    #[inline]
    fn answer(&mut self, walk: &ParsedMessages) -> Result<Transmit, Reason> {
        let Self { arrival: RxSegment { segment, counters, .. }, echo, size, .. } = *self;
        if self.walker.answers.gone {
            return Err(Reason::NonRepeatable);
        }
        let nothing_new = segment.seq.wrapping_add(walk.end.into()) == echo.position(segment);
        if self.walker.answers.pending.is_some() && nothing_new && echo.missing() == 0 {
            self.prove();
            counters.add(Counter::Pending, 1);
            return Ok(Transmit::Silence);
        }
        let reply = echo.settle(segment, walk, &self.walker.answers.parts, size)?;
        let lacking = reply.lacking();
        if walk.new > 0 && !walk.last {
            let end = segment.seq.wrapping_add(u32::from(walk.end));
            let confirmed = reply.acknowledged().wrapping_sub(end).cast_signed() >= 0;
            let state = if confirmed { TsState::Acked } else { TsState::AckPending };
            let covered = !echo.is_mid_message() && lacking <= MAX_PROMISED;
            let promised = (confirmed || covered).then_some(state);
            self.learn(walk, reply.boundary(), promised);
            let acknowledged = reply.acknowledged();
            if acknowledged.wrapping_sub(end).cast_signed() > 0 {
                // And the beginning of the next message.
                let fact = SeqPair { position: acknowledged, boundary: reply.boundary() };
                self.hints.promise_part(echo.secret(), fact);
            }
            if promised.is_none() && echo.is_mid_message() {
                let (position, boundary) = (echo.position(segment), echo.boundary(segment));
                self.hints.promise_part(echo.secret(), SeqPair { position, boundary });
            }
        }
        if walk.incomplete {
            counters.add(Counter::Incomplete, 1);
        }
        counters.add(if walk.new > 0 { Counter::Answered } else { Counter::Resumed }, 1);
        counters.add(Counter::Messages, self.walker.answers.parts.len() as u64);
        Ok(Transmit::Response(reply))
    }

    /// The payload lies beyond P: answered, if it is remembered where the answers to what comes before it end.
    pub(super) fn hint(&mut self) -> Result<Transmit, Reason> {
        let Self { arrival: RxSegment { segment, counters, .. }, ref mut echo, size, .. } = *self;
        let known = self.hints.known(echo.secret());
        let promised = known.and_then(ConnEntry::promised);
        let proven =
            known.and_then(ConnEntry::proven).filter(|proven| echo.precedes(proven.position, segment));
        if let Some(SeqPair { position, boundary }) = proven {
            *echo = echo.advanced_to(position, boundary, segment);
        }
        self.joined.clear();
        let (boundary, part) = if let Some(fact) = known.and_then(|known| known.at(segment.seq)) {
            (fact.boundary, true)
        } else {
            // Or it goes on behind what is kept.
            let (octets, kept) = self.hints.kept(echo.secret(), segment.seq).ok_or(Reason::OutOfOrder)?;
            if kept.part && segment.ack.wrapping_sub(kept.boundary).cast_signed() >= 0 {
                *echo = echo.advanced_into(segment.seq, kept.boundary, segment);
                return self.resume();
            }
            self.joined.extend_from_slice(octets);
            (kept.boundary, kept.part)
        };
        let lead = self.joined.len();
        self.joined.extend_from_slice(self.arrival.payload);
        let walk = if part { self.walker.walk_at(boundary, self.joined, lead, echo) } else { None };
        let walk = walk.unwrap_or_else(|| {
            self.walker.answers.clear();
            ParsedMessages::default()
        });
        let promised = promised
            .map(|Promised { fact: SeqPair { position, boundary }, state }| (position, boundary, state));
        let joined = std::mem::take(self.joined);
        let answer = if let Ok(reply) = echo.hint(segment, boundary, &walk, promised, size) {
            self.learn(&walk, reply.boundary(), None);
            self.prove();
            self.keep(&walk, &joined, reply.boundary());
            counters.add(Counter::AnsweredAhead, 1);
            counters.add(Counter::Messages, self.walker.answers.parts.len() as u64);
            self.wait(&joined, self.walker.answers.reached);
            Ok(Transmit::Response(reply))
        } else {
            if self.walker.answers.parts.is_empty() {
                self.wait(&joined, 0);
            }
            // It is answered when the client has what comes before it.
            let only_a_part = part && walk.incomplete && self.walker.answers.parts.is_empty();
            let nothing =
                ParsedMessages { rest: joined.len(), incomplete: only_a_part, ..ParsedMessages::default() };
            if self.keep(&nothing, &joined, boundary) {
                counters.add(Counter::Buffered, 1);
                Ok(Transmit::Silence)
            } else {
                Err(Reason::OutOfOrder)
            }
        };
        *self.joined = joined;
        answer
    }

    /// What begins `offset` octets into `stream`, which ends with the payload, waits if it is pending. It is as if the
    /// client had sent no more than that: what goes before it is answered.
    fn wait(&mut self, stream: &[u8], offset: usize) {
        let Some(ticket) = self.walker.answers.pending else { return };
        let payload = stream[offset..].to_vec();
        let Ok(length) = u16::try_from(payload.len()) else { return };
        let end = self.arrival.segment.seq.wrapping_add(self.arrival.segment.length.into());
        let segment = Segment { seq: end.wrapping_sub(length.into()), length, ..*self.arrival.segment };
        *self.waiting = Some(DeferredSegment { ticket, segment, payload });
    }

    /// Whether the payload ends in a message that stands at the head of the client's stream, and whose rest it will send
    /// only when this is acknowledged: a client resends as it sent.
    #[inline]
    fn stands_at_head(&self, walk: &ParsedMessages) -> bool {
        let fin = self.arrival.segment.flags.contains(Flags::FIN);
        walk.incomplete && walk.end == 0 && !fin && self.echo.is_idle()
    }

    /// Whether what was not answered of the payload can be kept. FIN behind it is not: the client sends it again. But nothing
    /// comes before it that would go on with a part of a message.
    #[inline]
    fn can_keep(&self, walk: &ParsedMessages) -> bool {
        let ends_inside = walk.incomplete && self.arrival.segment.flags.contains(Flags::FIN);
        let goes_on = !walk.last && !ends_inside && !self.echo.closing();
        walk.rest > 0 && goes_on && self.hints.can_keep(walk.rest)
    }

    /// Keeps what was not answered of `stream`, where the answers to what came before it end at `boundary`.
    #[inline]
    fn keep(&mut self, walk: &ParsedMessages, stream: &[u8], boundary: u32) -> bool {
        // Not in the place of what an answer began with that the window has no room for: it will be asked for again.
        let edge = self.arrival.segment.ack.wrapping_add(self.arrival.segment.window.into());
        let needed = self.echo.is_mid_message() && boundary.wrapping_sub(edge).cast_signed() > 0;
        if needed || !self.can_keep(walk) {
            return false;
        }
        let rest = &stream[stream.len() - walk.rest..];
        let position = self.arrival.segment.seq.wrapping_add(u32::from(self.arrival.segment.length));
        let kept = BufferedRange { position, boundary, part: walk.incomplete };
        self.hints.keep(self.echo.secret(), rest, kept)
    }

    fn acknowledge_part(&mut self) -> Transmit {
        let (secret, boundary) = (self.echo.secret(), self.echo.boundary(self.arrival.segment));
        if !self.echo.is_mid_message() {
            self.hints.learn(secret, SeqPair { position: self.arrival.segment.seq, boundary }, None);
        }
        self.hints.promise_part(secret, SeqPair { position: self.arrival.segment.next(), boundary });
        self.arrival.counters.add(Counter::Buffered, 1);
        Transmit::One(self.echo.acknowledge_part(self.arrival.segment))
    }

    /// Remembers where the answers end to what was walked, and whether it was promised, and confirmed.
    #[inline]
    fn learn(&mut self, walk: &ParsedMessages, boundary: u32, promised: Option<TsState>) {
        let position = self.arrival.segment.seq.wrapping_add(u32::from(walk.end));
        self.hints.learn(self.echo.secret(), SeqPair { position, boundary }, promised);
    }

    /// Remembers that the client has what it was promised, but not where a message goes on as if one began there.
    #[inline]
    fn prove(&mut self) {
        if self.echo.is_mid_message() {
            return;
        }
        let (position, boundary) =
            (self.echo.position(self.arrival.segment), self.echo.boundary(self.arrival.segment));
        self.hints.prove(self.echo.secret(), SeqPair { position, boundary });
    }
}

/// What is known of the place where the new answers begin.
#[derive(Clone, Copy)]
struct AheadState {
    /// Octets sent less octets received.
    drift: i32,
    /// Octets that the client has of them.
    ahead: u32,
}

/// What every walk of one segment has in common.
pub(super) struct MessageParser<'a> {
    pub(super) service: &'a dyn Service,
    /// Of the first message of the payload.
    pub(super) context: Context,
    pub(super) segment: &'a Segment,
    /// Octets of one segment.
    pub(super) single: u16,
    pub(super) answers: &'a mut Answers,
}

impl MessageParser<'_> {
    #[inline]
    fn bounded(
        &mut self,
        stream: &[u8],
        lead: usize,
        position: usize,
        echo: &Tcb,
        beyond: AheadState,
    ) -> Option<ParsedMessages> {
        #[expect(clippy::cast_possible_truncation, reason = "what is kept is short")]
        let seq = self.segment.seq.wrapping_sub(lead as u32);
        let context = Context { origin: Origin { seq, ..self.context.origin }, ..self.context };
        let bounds = ParseLimits {
            lead,
            position,
            closing: echo.closing(),
            missing: echo.missing() as usize,
            ahead: beyond.ahead as usize,
            drift: beyond.drift,
            size: usize::from(self.single),
            window: usize::from(self.segment.window),
        };
        self.answers.walk(self.service, &context, stream, &bounds)
    }

    /// A payload behind the `lead` octets that went before it, of all of which `position` octets are promised.
    #[inline]
    pub(super) fn walk(
        &mut self,
        stream: &[u8],
        lead: usize,
        position: usize,
        echo: &Tcb,
    ) -> Option<ParsedMessages> {
        self.bounded(stream, lead, position, echo, AheadState { drift: echo.drift(), ahead: echo.ahead() })
    }

    /// A payload beyond P, whose answers begin at `boundary`, behind the `lead` octets that went before it.
    fn walk_at(&mut self, boundary: u32, stream: &[u8], lead: usize, echo: &Tcb) -> Option<ParsedMessages> {
        let ahead = self.segment.ack.wrapping_sub(boundary).cast_signed().max(0).cast_unsigned();
        let beyond = AheadState { drift: echo.drift_at(boundary, self.segment), ahead };
        let walk = self.bounded(stream, lead, 0, echo, beyond)?;
        // Octets that change stay in one segment.
        let changes = self.answers.parts.iter().any(|part| part.volatile > 0);
        (!changes || walk.new <= u32::from(self.single)).then_some(walk)
    }
}
