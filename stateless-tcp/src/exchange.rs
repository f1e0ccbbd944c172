//! A segment in, segments out: the rules and the services together, knowing nothing of frames.

mod converse;
mod limit;
mod walk;

use crate::counters::{Counter, Counters};
use crate::hints::{Hints, MAX_KEPT};
use crate::offer::Offer;
use crate::service::{Context, Framing, MAX_RESPONSE, Service};
use foldhash::fast::RandomState;
use limit::{Limit, PATIENCE, Stuck};
use stateless_tcp_ebpf::cookie::Keys;
use stateless_tcp_ebpf::rule::{self, Outgoing, Reason, Reply, Response, Rules, Verdict};
use stateless_tcp_ebpf::segment::{Address, Segment};
use stateless_tcp_ebpf::steer::Served;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;
use walk::Answers;

/// Octets of payload that every client takes in one segment: the least MSS (536), less options.
const WHOLE: u16 = 512;

/// What is served where. Shared by all workers.
#[derive(Clone)]
pub struct Content {
    addresses: HashSet<Address, RandomState>,
    services: Vec<(u16, Arc<dyn Service>)>,
}

impl Content {
    /// Serves each service at its TCP port on all of `addresses`.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = Address>, services: Vec<(u16, Arc<dyn Service>)>) -> Self {
        Self { addresses: addresses.into_iter().collect(), services }
    }

    /// The served addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter()
    }

    /// The served ports.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.services.iter().map(|&(port, _)| port)
    }

    #[inline]
    fn service(&self, port: u16) -> Option<&dyn Service> {
        self.services.iter().find(|&&(served, _)| served == port).map(|(_, service)| &**service)
    }
}

impl Served for Content {
    #[inline]
    fn address(&self, address: &Address) -> bool {
        self.addresses.contains(address)
    }

    #[inline]
    fn port(&self, port: u16) -> bool {
        self.service(port).is_some()
    }
}

/// How segments are answered.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Rule set.
    pub rules: Rules,
    /// Cookie keys.
    pub keys: Keys,
    /// Largest payload sent, in octets. The same on all servers that share a key: a client acknowledges where segments
    /// end.
    pub segment_size: u16,
    /// Connections that each worker remembers something of ([`Hints`]).
    pub hints: usize,
}

/// Answers segments, one at a time.
pub struct Exchange {
    offer: Arc<Offer>,
    /// The response being sent. Never grows: [`Service::answer`] is given less room than it has.
    answers: Answers,
    /// A message put together from several segments.
    joined: Vec<u8>,
    hints: Hints,
    doubtful: Limit,
    stuck: Stuck,
}

/// The segments that answer one segment, in order. Their payload is [`Exchange::payload`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// None.
    Silence,
    /// One without payload.
    One(Outgoing),
    /// A response.
    Response(Reply),
}

impl Iterator for Answer {
    type Item = Outgoing;

    #[inline]
    fn next(&mut self) -> Option<Outgoing> {
        match self {
            Self::Silence => None,
            Self::One(outgoing) => {
                let outgoing = *outgoing;
                *self = Self::Silence;
                Some(outgoing)
            }
            Self::Response(reply) => reply.next(),
        }
    }
}

impl Exchange {
    /// Answers from `offer`.
    #[must_use]
    pub fn new(offer: Arc<Offer>) -> Self {
        let hints = Hints::new(offer.policy.hints);
        let joined = Vec::with_capacity(MAX_KEPT + usize::from(u16::MAX));
        Self {
            offer,
            answers: Answers::new(),
            joined,
            hints,
            doubtful: Limit::default(),
            stuck: Stuck::default(),
        }
    }

    /// Answers from `offer` from now on.
    pub fn switch(&mut self, offer: Arc<Offer>) {
        self.offer = offer;
    }

    /// What is remembered of connections.
    pub fn hints(&mut self) -> &mut Hints {
        &mut self.hints
    }

    /// What new connections are served.
    #[inline]
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.offer.current.content
    }

    /// What is to be sent in answer to `segment`, whose payload is `payload`; counts why.
    #[inline]
    pub fn consider(
        &mut self,
        now: SystemTime,
        segment: &Segment,
        payload: &[u8],
        counters: &Counters,
    ) -> Answer {
        let Policy { rules, ref keys, segment_size, .. } = self.offer.policy;
        let reply = match rule::decide(rules, keys, self.offer.generations(), segment) {
            Verdict::Send(outgoing) => {
                let syn = outgoing.mss.is_some();
                counters.add(if syn { Counter::SynAck } else { Counter::FinAcknowledged }, 1);
                return Answer::One(outgoing);
            }
            Verdict::Ignore(reason) => Err(reason),
            Verdict::Converse => return self.converse(now, segment, payload, counters),
            Verdict::Answer(request) => {
                self.answers.clear();
                let edition = self.offer.content(request.generation);
                let service = edition.and_then(|content| content.service(segment.tuple.server_port));
                let context = Context {
                    now,
                    client: segment.tuple.client,
                    persistent: false,
                    whole: request.segment_size(segment_size).min(WHOLE).into(),
                    room: request.room(segment) as usize,
                };
                let nothing = Response { length: 0, volatile: 0, complete: true };
                let response = service.map_or(nothing, |service| {
                    answer(service, payload, &context, &mut self.answers.octets, counters)
                });
                let reply = request.reply(rules, segment, response, segment_size);
                if reply.is_ok() {
                    counters.add(if request.received == 0 { Counter::Answered } else { Counter::Resumed }, 1);
                }
                reply
            }
        };
        match reply {
            Ok(reply) => Answer::Response(reply),
            Err(Reason::BeyondResponse | Reason::Volatile | Reason::GenerationGone)
                if rules == Rules::Reliable && self.comes_in_vain(now, segment) =>
            {
                counters.add(Reason::Stuck.into(), 1);
                counters.add(Counter::ResetSent, 1);
                Answer::One(rule::reset(segment))
            }
            Err(reason) => {
                counters.add(reason.into(), 1);
                Answer::Silence
            }
        }
    }

    /// Whether a client that asks to resume where no answer of ours can be resumed has done so again and again: somebody on
    /// the way merged what it sends in parts, or it resends in other cuts. Silence would keep it trying for a quarter of
    /// an hour.
    fn comes_in_vain(&mut self, now: SystemTime, segment: &Segment) -> bool {
        self.stuck.is(u64::from(segment.seq) << 32 | u64::from(segment.ack), PATIENCE)
            && self.doubtful.allows(now)
    }

    /// The payload of a segment of the last answer.
    #[inline]
    #[must_use]
    pub fn payload(&self, outgoing: &Outgoing) -> &[u8] {
        &self.answers.octets[outgoing.payload()]
    }
}

/// Puts the responses to all whole messages of `stream` into `response`, as far as there is room.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a response is at most MAX_RESPONSE octets")]
fn answer(
    service: &dyn Service,
    mut stream: &[u8],
    context: &Context,
    response: &mut Vec<u8>,
    counters: &Counters,
) -> Response {
    let mut volatile = 0;
    let mut messages = 0;
    let mut complete = true;
    while !stream.is_empty() {
        let Framing::Message(end) = service.frame(stream) else {
            counters.add(Counter::Incomplete, 1);
            complete = false;
            break;
        };
        let (message, rest) = stream.split_at(end);
        let before = response.len();
        // Only the first answer may be refused for want of room. A refusal behind others would be taken back when the
        // request comes again with a larger window, while the client has octets of what followed it.
        let room = if messages == 0 { context.room } else { MAX_RESPONSE };
        // What follows another response may be cut anywhere.
        let whole = if messages == 0 { context.whole } else { 0 };
        let answered = service.answer(message, &Context { whole, room, ..*context }, response);
        if response.len() > context.room && messages > 0 {
            // No room for this one behind the others: the connection closes, and the client asks again for what it
            // has no answer to (RFC 7766 section 6.2.4).
            response.truncate(before);
            complete = false;
            break;
        }
        messages += 1;
        if answered.volatile > 0 {
            volatile = before + answered.volatile;
        }
        if answered.last {
            break;
        }
        stream = rest;
    }
    counters.add(Counter::Messages, messages);
    Response { length: response.len() as u32, volatile: volatile as u32, complete }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Answered;

    /// Messages of one octet; the answer is how much of it goes out in one segment.
    struct Telling;

    impl Service for Telling {
        fn frame(&self, _: &[u8]) -> Framing {
            Framing::Message(1)
        }

        fn begins(&self, _: &[u8]) -> bool {
            true
        }

        fn answer(&self, _: &[u8], context: &Context, response: &mut Vec<u8>) -> Answered {
            response.extend_from_slice(&context.whole.to_be_bytes());
            Answered { volatile: context.whole.min(3), last: false }
        }
    }

    /// What stands behind another response may be cut by a segment's end: it must not depend on the time.
    #[test]
    fn only_the_first_response_is_sent_whole() {
        let mut response = Vec::new();
        let context = Context { whole: 512, ..Context::default() };
        let answered = answer(&Telling, b"???", &context, &mut response, &Counters::default());
        assert_eq!(response, [512_usize, 0, 0].map(usize::to_be_bytes).concat());
        assert_eq!(answered.volatile, 3);
    }
}
