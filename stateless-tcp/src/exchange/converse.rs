//! Segments of connections with timestamps: what the core must be told of messages and answers, and of what is
//! remembered.

use super::limit::{Limit, ONCE_MORE, PATIENCE};
use super::walk::{Answers, Bounds};
use super::{Answer, Exchange, WHOLE};
use crate::counters::{Counter, Counters};
use crate::hints::{Fact, Hints, Keep, Known, Promised};
use crate::offer::Offer;
use crate::service::{Context, MAX_RESPONSE, Service};
use stateless_tcp_ebpf::converse::{self, Decision, Echo, Place, Walk};
use stateless_tcp_ebpf::cookie::Key;
use stateless_tcp_ebpf::promise::State;
use stateless_tcp_ebpf::rule::{self, Reason};
use stateless_tcp_ebpf::segment::{Flags, Segment};
use std::time::SystemTime;

impl Exchange {
    /// What is to be sent in answer to a segment of a connection with timestamps.
    ///
    /// Both keys are tried whole: one that fits the numbers and fails the messages has not fitted.
    #[inline]
    pub(super) fn converse(
        &mut self,
        now: SystemTime,
        segment: &Segment,
        payload: &[u8],
        counters: &Counters,
    ) -> Answer {
        let keys = self.offer.policy.keys;
        let mut failed = Reason::BadCookie;
        for key in std::iter::once(keys.current).chain(keys.previous) {
            let Some(echo) = converse::read(&key, segment) else { break };
            let arrival = Arrival { now, segment, payload, again: false, counters };
            match self.attempt(arrival, echo, &key) {
                Ok(answer) => return answer,
                Err(reason) if failed == Reason::BadCookie => {
                    failed =
                        if self.leads_nowhere(now, segment, &echo, reason) { Reason::Stuck } else { reason };
                }
                Err(_) => {}
            }
        }
        counters.add(failed.into(), 1);
        match failed {
            // Silence would keep the client trying for a quarter of an hour.
            Reason::GenerationGone | Reason::Volatile | Reason::Forgotten | Reason::Stuck => {
                counters.add(Counter::ResetSent, 1);
                Answer::One(rule::reset(segment))
            }
            _ => Answer::Silence,
        }
    }

    /// Whether a client sends the same again and again that cannot be answered.
    #[inline]
    fn leads_nowhere(&mut self, now: SystemTime, segment: &Segment, echo: &Echo, reason: Reason) -> bool {
        matches!(reason, Reason::Ahead | Reason::Misaligned)
            && (segment.length > 0 || segment.flags.contains(Flags::FIN))
            && self.stuck.is(identify(echo, segment), PATIENCE, now)
            && self.doubtful.allows(now)
    }

    #[inline]
    fn attempt(&mut self, arrival: Arrival<'_>, echo: Echo, key: &Key) -> Result<Answer, Reason> {
        let Arrival { now, segment, .. } = arrival;
        let Self { offer, answers, joined, hints, doubtful, stuck } = self;
        let Some(service) = service(offer, &echo, segment) else {
            // Nothing can be walked any more. A client that begins anew knows both its numbers and its promise; whoever else
            // is no forger comes again.
            let asks = segment.length > 0 || segment.flags.contains(Flags::FIN);
            let certain = segment.length > 0 && echo.is_idle();
            let told =
                certain || asks && stuck.is(identify(&echo, segment), ONCE_MORE, now) && doubtful.allows(now);
            return Err(if told { Reason::GenerationGone } else { Reason::BadCookie });
        };
        let size = offer.policy.segment_size;
        let echo = advance(hints, &echo, segment).unwrap_or(echo);
        let single = echo.segment_size(size);
        let walker = Walker { service, now, segment, single, answers };
        let Arrival { payload, again, counters, .. } = arrival;
        let mut turn = Turn { segment, payload, again, echo, size, walker, joined, hints, counters };
        let decision = match echo.place(segment) {
            Place::Beyond => return turn.hint(),
            Place::MidMessage => return turn.resume(),
            Place::Walk(position) => match turn.walk(position) {
                Some(walk) => return turn.settle(&walk, doubtful),
                None => echo.unreadable(segment)?,
            },
            Place::Decided(decision) => decision?,
        };
        let Some(segment) = turn.kept(&decision) else { return turn.decide(decision, doubtful) };
        let echo = converse::read(key, &segment).ok_or(Reason::BadCookie)?;
        let kept = std::mem::take(&mut self.joined);
        let again = Arrival { segment: &segment, payload: &kept, again: true, ..arrival };
        let answer = self.attempt(again, echo, key);
        self.joined = kept;
        answer
    }
}

/// A segment that came, or comes again from what is kept.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    now: SystemTime,
    segment: &'a Segment,
    payload: &'a [u8],
    again: bool,
    counters: &'a Counters,
}

/// and who has heard anything new is not stuck.
#[inline]
fn identify(echo: &Echo, segment: &Segment) -> u64 {
    let heard = segment.options.timestamps.map_or(0, |timestamps| u64::from(timestamps.echo));
    echo.secret() ^ heard.rotate_right(16) ^ (u64::from(segment.seq) << 32 | u64::from(segment.ack))
}

/// One segment's turn.
struct Turn<'a> {
    segment: &'a Segment,
    payload: &'a [u8],
    /// It did not come, but was kept.
    again: bool,
    /// The echo, or what is known to be more.
    echo: Echo,
    /// Most octets of payload, as configured.
    size: u16,
    walker: Walker<'a>,
    joined: &'a mut Vec<u8>,
    hints: &'a mut Hints,
    counters: &'a Counters,
}

impl Turn<'_> {
    fn decide(&mut self, decision: Decision, doubtful: &mut Limit) -> Result<Answer, Reason> {
        if decision.doubtful && !doubtful.allows(self.walker.now) {
            return Err(Reason::Misaligned);
        }
        self.prove();
        self.counters.add(Counter::Confirmed, 1);
        Ok(Answer::One(decision.outgoing))
    }

    /// Octets behind P that are kept, where an ACK alone says that the client has the answers to all before it. They are
    /// as good as sent again, and put into `joined`.
    fn kept(&mut self, decision: &Decision) -> Option<Segment> {
        let Self { segment, ref echo, .. } = *self;
        let alone = segment.length == 0 && !segment.flags.contains(Flags::FIN);
        if decision.doubtful || !alone || echo.closing() || echo.is_mid_message() {
            return None;
        }
        let (seq, boundary) = (echo.position(segment), echo.boundary(segment));
        let kept = self.hints.kept_from(echo.secret(), Fact { position: seq, boundary })?;
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
    fn walk(&mut self, position: usize) -> Option<Walk> {
        let begins = position == 0 || self.walker.service.begins(self.payload);
        if begins {
            return self.walker.walk(self.payload, 0, position, &self.echo);
        }
        let lead = self.recall()?;
        self.walker.walk(self.joined, lead, lead + position, &self.echo)
    }

    /// Puts the payload, behind the octets of its message that went before it, into `joined`, and says how many these are.
    fn recall(&mut self) -> Option<usize> {
        self.joined.clear();
        let kept = self.hints.kept(self.echo.secret(), self.segment.seq);
        if let Some((octets, _)) = kept.filter(|(_, kept)| kept.part) {
            self.joined.extend_from_slice(octets);
        } else {
            self.joined.extend_from_slice(&self.walker.service.prefix(self.payload)?);
        }
        let lead = self.joined.len();
        self.joined.extend_from_slice(self.payload);
        Some(lead)
    }

    /// The payload holds what lies around P.
    #[inline]
    fn settle(&mut self, walk: &Walk, doubtful: &mut Limit) -> Result<Answer, Reason> {
        let boundary = self.echo.boundary(self.segment);
        if self.stands_at_head(walk) && (self.keep(walk, self.payload, boundary) || walk.prefix) {
            return Ok(self.acknowledge_part());
        }
        if self.echo.is_doubtful(walk) && !doubtful.allows(self.walker.now) {
            return Err(Reason::Misaligned);
        }
        let walk = Walk { kept: walk.incomplete && self.can_keep(walk), ..*walk };
        let answer = match self.answer(&walk) {
            Err(Reason::Ahead) if self.echo.position(self.segment) == self.segment.seq => {
                // It is answered when the client has what comes before it.
                let nothing = Walk { rest: self.payload.len(), ..Walk::default() };
                if !self.keep(&nothing, self.payload, boundary) {
                    return Err(Reason::Ahead);
                }
                self.counters.add(Counter::Kept, 1);
                return Ok(Answer::Silence);
            }
            answer => answer?,
        };
        if !self.keep(&walk, self.payload, boundary.wrapping_add(walk.new)) && self.again {
            self.hints.forget(self.echo.secret());
        }
        Ok(answer)
    }

    /// The payload goes on inside a message.
    fn resume(&mut self) -> Result<Answer, Reason> {
        if let Some(outgoing) = self.echo.end(self.segment) {
            self.counters.add(Counter::Confirmed, 1);
            return Ok(Answer::One(outgoing));
        }
        let Some(lead) = self.recall() else { return self.forgotten() };
        let walk = self.walker.walk(self.joined, lead, 0, &self.echo).ok_or(Reason::Misaligned)?;
        let walk = Walk { prefix: false, kept: walk.incomplete && self.can_keep(&walk), ..walk };
        let answer = match walk.incomplete && walk.end == 0 {
            true if walk.kept && self.stands_at_head(&walk) => self.acknowledge_part(),
            true => return self.forgotten(),
            false => self.answer(&walk)?,
        };
        let joined = std::mem::take(self.joined);
        self.keep(&walk, &joined, self.echo.boundary(self.segment).wrapping_add(walk.new));
        *self.joined = joined;
        Ok(answer)
    }

    /// The payload goes on inside a message whose beginning, or this part, is not kept.
    fn forgotten(&self) -> Result<Answer, Reason> {
        self.counters.add(Counter::Incomplete, 1);
        self.echo.forgotten(self.segment, self.size).map(Answer::One)
    }

    #[inline]
    fn answer(&mut self, walk: &Walk) -> Result<Answer, Reason> {
        let Self { segment, echo, size, counters, .. } = *self;
        let reply = echo.settle(segment, walk, &self.walker.answers.parts, size)?;
        if walk.new > 0 && !walk.last {
            let end = segment.seq.wrapping_add(u32::from(walk.end));
            let confirmed = reply.acknowledged().wrapping_sub(end).cast_signed() >= 0;
            let state = if confirmed { State::Confirmed } else { State::Withheld };
            let promised = (confirmed || !echo.is_mid_message()).then_some(state);
            self.learn(walk, reply.boundary(), promised);
            let acknowledged = reply.acknowledged();
            if acknowledged.wrapping_sub(end).cast_signed() > 0 {
                // And the beginning of the next message.
                let fact = Fact { position: acknowledged, boundary: reply.boundary() };
                self.hints.promise_part(echo.secret(), fact);
            }
            if promised.is_none() {
                let (position, boundary) = (echo.position(segment), echo.boundary(segment));
                self.hints.promise_part(echo.secret(), Fact { position, boundary });
            }
        }
        if walk.incomplete {
            counters.add(Counter::Incomplete, 1);
        }
        counters.add(if walk.new > 0 { Counter::Answered } else { Counter::Resumed }, 1);
        counters.add(Counter::Messages, self.walker.answers.parts.len() as u64);
        Ok(Answer::Response(reply))
    }

    /// The payload lies beyond P: answered, if it is remembered where the answers to what comes before it end.
    fn hint(&mut self) -> Result<Answer, Reason> {
        let Self { segment, ref mut echo, size, counters, .. } = *self;
        let known = self.hints.known(echo.secret());
        let promised = known.and_then(Known::promised);
        let proven = known.and_then(Known::proven).filter(|proven| echo.precedes(proven.position, segment));
        if let Some(Fact { position, boundary }) = proven {
            *echo = echo.advanced_to(position, boundary, segment);
        }
        self.joined.clear();
        let (boundary, part) = if let Some(fact) = known.and_then(|known| known.at(segment.seq)) {
            (fact.boundary, true)
        } else {
            // Or it goes on behind what is kept.
            let (octets, kept) = self.hints.kept(echo.secret(), segment.seq).ok_or(Reason::Ahead)?;
            if kept.part && segment.ack.wrapping_sub(kept.boundary).cast_signed() >= 0 {
                *echo = echo.advanced_into(segment.seq, kept.boundary, segment);
                return self.resume();
            }
            self.joined.extend_from_slice(octets);
            (kept.boundary, kept.part)
        };
        let lead = self.joined.len();
        self.joined.extend_from_slice(self.payload);
        let walk = if part { self.walker.walk_at(boundary, self.joined, lead, echo) } else { None };
        let walk = walk.unwrap_or_default();
        let promised =
            promised.map(|Promised { fact: Fact { position, boundary }, state }| (position, boundary, state));
        let joined = std::mem::take(self.joined);
        let answer = if let Ok(reply) = echo.hint(segment, boundary, &walk, promised, size) {
            self.learn(&walk, reply.boundary(), None);
            self.prove();
            self.keep(&walk, &joined, reply.boundary());
            counters.add(Counter::Hinted, 1);
            counters.add(Counter::Messages, self.walker.answers.parts.len() as u64);
            Ok(Answer::Response(reply))
        } else {
            // It is answered when the client has what comes before it.
            let only_a_part = part && walk.incomplete && self.walker.answers.parts.is_empty();
            let nothing = Walk { rest: joined.len(), incomplete: only_a_part, ..Walk::default() };
            if self.keep(&nothing, &joined, boundary) {
                counters.add(Counter::Kept, 1);
                Ok(Answer::Silence)
            } else {
                Err(Reason::Ahead)
            }
        };
        *self.joined = joined;
        answer
    }

    /// Whether the payload ends in a message that stands at the head of the client's stream, and whose rest it will send
    /// only when this is acknowledged: a client resends as it sent.
    #[inline]
    fn stands_at_head(&self, walk: &Walk) -> bool {
        let fin = self.segment.flags.contains(Flags::FIN);
        walk.incomplete && walk.end == 0 && !fin && self.echo.is_idle()
    }

    /// Whether what was not answered of the payload can be kept.
    #[inline]
    fn can_keep(&self, walk: &Walk) -> bool {
        let fin = self.segment.flags.contains(Flags::FIN);
        walk.rest > 0 && !walk.last && !fin && !self.echo.closing() && self.hints.can_keep(walk.rest)
    }

    /// Keeps what was not answered of `stream`, where the answers to what came before it end at `boundary`.
    #[inline]
    fn keep(&mut self, walk: &Walk, stream: &[u8], boundary: u32) -> bool {
        // Not in the place of what an answer began with that the window has no room for: it will be asked for again.
        let edge = self.segment.ack.wrapping_add(self.segment.window.into());
        let needed = self.echo.is_mid_message() && boundary.wrapping_sub(edge).cast_signed() > 0;
        if needed || !self.can_keep(walk) {
            return false;
        }
        let rest = &stream[stream.len() - walk.rest..];
        let kept = Keep { position: self.segment.next(), boundary, part: walk.incomplete };
        self.hints.keep(self.echo.secret(), rest, kept)
    }

    fn acknowledge_part(&mut self) -> Answer {
        let (secret, boundary) = (self.echo.secret(), self.echo.boundary(self.segment));
        if !self.echo.is_mid_message() {
            self.hints.learn(secret, Fact { position: self.segment.seq, boundary }, None);
        }
        self.hints.promise_part(secret, Fact { position: self.segment.next(), boundary });
        self.counters.add(Counter::Kept, 1);
        Answer::One(self.echo.acknowledge_part(self.segment))
    }

    /// Remembers where the answers end to what was walked, and whether it was promised, and confirmed.
    #[inline]
    fn learn(&mut self, walk: &Walk, boundary: u32, promised: Option<State>) {
        let position = self.segment.seq.wrapping_add(u32::from(walk.end));
        self.hints.learn(self.echo.secret(), Fact { position, boundary }, promised);
    }

    /// Remembers that the client has what it was promised, but not where a message goes on as if one began there.
    #[inline]
    fn prove(&mut self) {
        if self.echo.is_mid_message() {
            return;
        }
        let (position, boundary) = (self.echo.position(self.segment), self.echo.boundary(self.segment));
        self.hints.prove(self.echo.secret(), Fact { position, boundary });
    }
}

/// What answers the segment, of the generation that its connection began with.
#[inline]
fn service<'a>(offer: &'a Offer, echo: &Echo, segment: &Segment) -> Option<&'a dyn Service> {
    let generation = offer.generations().ending_in(echo.generation())?;
    offer.content(generation)?.service(segment.tuple.server_port)
}

/// What the client would echo if it echoed all that it has, where that is more than it does.
#[inline]
fn advance(hints: &Hints, echo: &Echo, segment: &Segment) -> Option<Echo> {
    if !echo.is_behind() {
        return None;
    }
    let known = hints.known(echo.secret())?;
    let Fact { position, boundary } = known.received(segment.ack)?;
    echo.precedes(position, segment).then(|| {
        let advanced = echo.advanced_to(position, boundary, segment);
        if known.newest().boundary == segment.ack { advanced.at_rest() } else { advanced }
    })
}

/// What every walk of one segment has in common.
pub(super) struct Walker<'a> {
    pub(super) service: &'a dyn Service,
    pub(super) now: SystemTime,
    pub(super) segment: &'a Segment,
    /// Octets of one segment.
    pub(super) single: u16,
    pub(super) answers: &'a mut Answers,
}

impl Walker<'_> {
    #[inline]
    fn bounded(
        &mut self,
        stream: &[u8],
        lead: usize,
        position: usize,
        echo: &Echo,
        drift: i32,
    ) -> Option<Walk> {
        let single = usize::from(self.single);
        let context = Context {
            now: self.now,
            client: self.segment.tuple.client,
            persistent: true,
            whole: single.min(WHOLE.into()),
            room: MAX_RESPONSE,
        };
        let bounds = Bounds {
            lead,
            position,
            closing: echo.closing(),
            missing: echo.missing() as usize,
            drift,
            size: single,
            window: usize::from(self.segment.window),
        };
        self.answers.walk(self.service, &context, stream, &bounds)
    }

    /// A payload behind the `lead` octets that went before it, of all of which `position` octets are promised.
    #[inline]
    pub(super) fn walk(&mut self, stream: &[u8], lead: usize, position: usize, echo: &Echo) -> Option<Walk> {
        self.bounded(stream, lead, position, echo, echo.drift())
    }

    /// A payload beyond P, whose answers begin at `boundary`, behind the `lead` octets that went before it.
    fn walk_at(&mut self, boundary: u32, stream: &[u8], lead: usize, echo: &Echo) -> Option<Walk> {
        let walk = self.bounded(stream, lead, 0, echo, echo.drift_at(boundary, self.segment))?;
        // Octets that change stay in one segment.
        let changes = self.answers.parts.iter().any(|part| part.volatile > 0);
        (!changes || walk.new <= u32::from(self.single)).then_some(walk)
    }
}
