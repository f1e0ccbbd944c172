//! A frame in, frames out: the path that every packet takes, without a NIC, a clock or randomness.
//!
//! ```text
//! steer -> parse -> consider (decide, answer) -> emit
//! ```
//!
//! The frame that carried the request carries the reply; only a response of several segments takes further frames.

use crate::counters::{Counter, Counters};
use crate::exchange::{Content, Exchange, Policy};
use crate::offer::Offer;
use crate::wire::{self, Received, Reply};
use stateless_tcp_ebpf::steer::{self, Layout};
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

/// Answers frames, one at a time. Each worker has its own.
pub struct Responder {
    exchange: Exchange,
}

impl Responder {
    /// A responder for `content`.
    #[must_use]
    pub fn new(content: Content, policy: Policy) -> Self {
        Self::of(Arc::new(Offer::first(content, policy)))
    }

    /// A responder for what is on offer.
    #[must_use]
    pub fn of(offer: Arc<Offer>) -> Self {
        Self { exchange: Exchange::new(offer) }
    }

    /// Answers from `offer` from now on.
    pub fn switch(&mut self, offer: Arc<Offer>) {
        self.exchange.switch(offer);
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
        let (received, layout) = match self.read(&octets[..length]) {
            Ok(read) => read,
            Err(counter) => {
                counters.add(counter, 1);
                return frames.release(frame);
            }
        };
        if received.partial_checksum {
            counters.add(Counter::PartialChecksum, 1);
        }
        let reply = Reply::to(octets, &layout, received.segment.tuple);
        let mut answer =
            self.exchange.consider(now, &received.segment, &octets[received.payload()], counters);
        let mut first = Some(frame);
        while let Some(outgoing) = answer.next() {
            let Some(mut frame) = first.take().or_else(|| frames.take()) else {
                counters.add(Counter::NoFrame, 1 + answer.count() as u64);
                return;
            };
            let length = reply.emit(frames.octets(&mut frame), &outgoing, self.exchange.payload(&outgoing));
            counters.add(Counter::Sent, 1);
            frames.send(frame, length);
        }
        if let Some(unused) = first {
            frames.release(unused);
        }
    }

    /// The segment in a frame, if it is for us and whole.
    #[inline]
    fn read(&self, octets: &[u8]) -> Result<(Received, Layout), Counter> {
        let layout = steer::steer(octets, self.exchange.content()).map_err(|_| Counter::NotServed)?;
        Ok((wire::parse(octets, &layout)?, layout))
    }
}
