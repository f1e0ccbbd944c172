//! A frame in, frames out: the path that every packet takes, without a NIC, a clock or randomness.
//!
//! ```text
//! steer -> parse -> decide -> (answer) -> emit
//! ```
//!
//! The frame that carried the request carries the reply; only a response of several segments takes further frames.

use crate::counters::{Counter, Counters};
use crate::service::{Context, Framing, MAX_RESPONSE, Service};
use crate::wire::{self, Received, Reply};
use foldhash::fast::RandomState;
use stateless_tcp_ebpf::cookie::Keys;
use stateless_tcp_ebpf::rule::{self, Request, Rules, Verdict};
use stateless_tcp_ebpf::segment::Address;
use stateless_tcp_ebpf::steer::{self, Layout, Served};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

/// Where frames come from and go to: a UMEM and its rings, or plain memory.
///
/// A frame is a value that cannot be copied: whoever takes one must send or release it.
pub trait Frames {
    /// One frame.
    type Frame;

    /// All octets that can be written in `frame`, from where the received ones began; at least
    /// [`wire::MAX_HEADERS`] and the largest payload.
    fn octets<'a>(&'a mut self, frame: &'a mut Self::Frame) -> &'a mut [u8];

    /// A free frame, if there is one.
    fn take(&mut self) -> Option<Self::Frame>;

    /// Sends the first `length` octets of `frame`.
    fn send(&mut self, frame: Self::Frame, length: usize);

    /// Gives back a frame that is not sent.
    fn release(&mut self, frame: Self::Frame);
}

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
    /// Largest payload sent, in octets.
    pub segment_size: u16,
}

/// The generation of the content: one until content can be replaced.
const GENERATION: bool = false;

/// Answers frames, one at a time. Each worker has its own.
pub struct Responder {
    content: Content,
    policy: Policy,
    /// The response being sent. Never grows: [`Service::answer`] is given less room than it has.
    response: Vec<u8>,
}

impl Responder {
    /// A responder for `content`.
    #[must_use]
    pub fn new(content: Content, policy: Policy) -> Self {
        Self { content, policy, response: Vec::with_capacity(2 * MAX_RESPONSE) }
    }

    /// Answers the frame whose `length` received octets stand at the beginning of `frame`, or releases it; either way
    /// counts why.
    #[inline]
    pub fn respond<F: Frames>(
        &mut self,
        now: SystemTime,
        frames: &mut F,
        mut frame: F::Frame,
        length: usize,
        counters: &Counters,
    ) {
        counters.add(Counter::Received, 1);
        let octets = frames.octets(&mut frame);
        let (received, layout, verdict) = match self.judge(&octets[..length]) {
            Ok(judged) => judged,
            Err(counter) => {
                counters.add(counter, 1);
                return frames.release(frame);
            }
        };
        if received.partial_checksum {
            counters.add(Counter::PartialChecksum, 1);
        }
        let reply = Reply::to(octets, &layout, received.segment.tuple);
        match verdict {
            Verdict::Ignore(reason) => {
                counters.add(reason.into(), 1);
                frames.release(frame);
            }
            Verdict::Send(outgoing) => {
                counters
                    .add(if outgoing.mss.is_some() { Counter::SynAck } else { Counter::FinAcknowledged }, 1);
                counters.add(Counter::Sent, 1);
                let length = reply.emit(octets, &outgoing, &[]);
                frames.send(frame, length);
            }
            Verdict::Answer(request) => {
                let volatile = self.answer(now, &octets[received.payload()], &received, request, counters);
                self.transmit(&reply, &received, request, volatile, frames, frame, counters);
            }
        }
    }

    /// What is to be done about a frame, from its headers alone.
    #[inline]
    fn judge(&self, octets: &[u8]) -> Result<(Received, Layout, Verdict), Counter> {
        let layout = steer::steer(octets, &self.content).map_err(|_| Counter::NotServed)?;
        let received = wire::parse(octets, &layout)?;
        let verdict = rule::decide(self.policy.rules, &self.policy.keys, GENERATION, &received.segment);
        Ok((received, layout, verdict))
    }

    /// Puts the responses to all whole messages of `stream` into `self.response`, as far as the client's window goes,
    /// and says how many octets at their front are volatile.
    #[inline]
    fn answer(
        &mut self,
        now: SystemTime,
        mut stream: &[u8],
        received: &Received,
        request: Request,
        counters: &Counters,
    ) -> usize {
        self.response.clear();
        let Some(service) = self.content.service(received.segment.tuple.server_port) else { return 0 };
        let room = request.room(&received.segment) as usize;
        let mut volatile = 0;
        let mut messages = 0;
        while !stream.is_empty() {
            let Framing::Message(end) = service.frame(stream) else {
                counters.add(Counter::Incomplete, 1);
                break;
            };
            let (message, rest) = stream.split_at(end);
            let before = self.response.len();
            let answered = service.answer(message, &Context { now, room }, &mut self.response);
            if self.response.len() > room && messages > 0 {
                // No room for this one behind the others: the connection closes, and the client asks again for what it
                // has no answer to (RFC 7766 section 6.2.4).
                self.response.truncate(before);
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
        volatile
    }

    /// Sends `self.response`, or what the client still lacks of it.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "all of them differ from frame to frame")]
    #[expect(clippy::cast_possible_truncation, reason = "a response is at most MAX_RESPONSE octets")]
    fn transmit<F: Frames>(
        &self,
        reply: &Reply,
        received: &Received,
        request: Request,
        volatile: usize,
        frames: &mut F,
        first: F::Frame,
        counters: &Counters,
    ) {
        let Policy { rules, segment_size, .. } = self.policy;
        let length = self.response.len() as u32;
        let mut segments =
            match request.reply(rules, &received.segment, length, volatile as u32, segment_size) {
                Ok(segments) => segments,
                Err(reason) => {
                    counters.add(reason.into(), 1);
                    return frames.release(first);
                }
            };
        counters.add(if request.received == 0 { Counter::Answered } else { Counter::Resumed }, 1);
        let mut first = Some(first);
        while let Some(outgoing) = segments.next() {
            let Some(mut frame) = first.take().or_else(|| frames.take()) else {
                counters.add(Counter::NoFrame, 1 + segments.count() as u64);
                return;
            };
            let length = reply.emit(frames.octets(&mut frame), &outgoing, &self.response[outgoing.payload()]);
            counters.add(Counter::Sent, 1);
            frames.send(frame, length);
        }
    }
}

#[cfg(test)]
mod tests;
