//! A frame in, frames out: the path that every packet takes, without a NIC, a clock or randomness.
//!
//! ```text
//! steer -> parse -> handle -> emit
//! ```
//!
//! The frame that carried the request carries the reply; only a response of several segments takes further frames. A request
//! whose answer is still to be fetched is parked, and considered again in [`Responder::turn`].

use crate::dataplane::engine::{Arrival, Source, TcpEngine};
use crate::dataplane::pending::{PendingRequest, PendingRequests};
use crate::observe::counters::Counters;
use crate::observe::snapshot::Occupancy;
use crate::observe::tap::{Direction, Tap, Taps};
use crate::observe::transaction::Transaction;
use crate::services::FetchId;
use crate::serving::{AnswerPolicy, Content, ServingState};
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::{self, Layout, Protocol};
use stateless_tcp_core::tcp::Transmit;
use stateless_tcp_core::udp;
use stateless_tcp_core::wire::{self, Reply};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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

/// Requests that can wait at each worker. With the queries that other workers began, and several requests for one query,
/// more can wait than are in flight.
const WAITING: usize = 1 << 16;

/// Answers frames, one at a time. Each worker has its own.
pub struct Responder {
    worker: usize,
    engine: TcpEngine,
    parking: PendingRequests<Reply>,
    ready: Vec<FetchId>,
    taps: Taps,
}

/// Who gets an answer.
struct Asker {
    reply: Reply,
    /// When the question came.
    since: SystemTime,
}

impl Responder {
    /// A responder for `content`.
    #[must_use]
    pub fn new(content: Content, policy: AnswerPolicy) -> Self {
        Self::of(0, Arc::new(ServingState::new(content, policy)))
    }

    /// A responder for what is on offer, of the worker with this number.
    #[must_use]
    pub fn of(worker: usize, offer: Arc<ServingState>) -> Self {
        let engine = TcpEngine::new(worker, offer);
        Self {
            worker,
            engine,
            parking: PendingRequests::new(WAITING),
            ready: Vec::new(),
            taps: Taps::default(),
        }
    }

    /// Answers from `offer` from now on.
    pub fn switch(&mut self, offer: Arc<ServingState>) {
        self.engine.switch(offer);
    }

    /// How full its tables are.
    #[must_use]
    pub fn occupancies(&self) -> [Occupancy; 2] {
        [self.engine.occupancy(), self.parking.occupancy()]
    }

    /// Copies what passes for these, too, from now on.
    pub fn tap(&mut self, taps: Vec<Tap>) {
        self.taps.add(taps);
        self.engine.log_queries(self.taps.want_transactions());
    }

    /// The files on which an idle worker is to wait.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.engine.upstreams().flat_map(|upstream| upstream.fds(self.worker)).collect()
    }

    /// How long an idle worker may wait.
    #[must_use]
    pub fn due(&self, now: SystemTime) -> Option<Duration> {
        self.engine.upstreams().filter_map(|upstream| upstream.poll_timeout(self.worker, now)).min()
    }

    /// Polls the upstreams of the services, and answers what waited for them.
    #[inline]
    pub fn turn<F: Frames>(&mut self, now: SystemTime, frames: &mut F, counters: &Counters) {
        for upstream in self.engine.upstreams() {
            upstream.poll(self.worker, now, &mut self.ready);
        }
        let mut ready = std::mem::take(&mut self.ready);
        for ticket in ready.drain(..) {
            for PendingRequest { waiting, since, with: reply } in self.parking.call(ticket) {
                let arrival = Arrival::new(now, &waiting.segment, &waiting.payload);
                let answer = self.engine.handle(Arrival { source: Source::Resumed, ..arrival }, counters);
                self.send(now, frames, None, answer, Asker { reply, since }, counters);
            }
        }
        self.ready = ready;
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
        counters.add(Outcome::Received, 1);
        let octets = frames.octets(&mut frame);
        let received = match steering::steer(&octets[..length], self.engine.content()) {
            Ok(layout) if layout.protocol == Protocol::Udp => {
                return truncate(frames, frame, length, &layout, counters);
            }
            Ok(layout) => wire::parse(&octets[..length], &layout),
            Err(_) => Err(Outcome::NotServed),
        };
        if !self.taps.is_empty() {
            let tuple = received.as_ref().ok().map(|received| received.segment.tuple);
            self.taps.frame(now, tuple.as_ref(), Direction::Received, &octets[..length]);
        }
        let received = match received {
            Ok(received) => received,
            Err(counter) => {
                counters.add(counter, 1);
                return frames.release(frame);
            }
        };
        if received.partial_checksum {
            counters.add(Outcome::PartialChecksum, 1);
        }
        let reply = received.reply(octets);
        let payload = &octets[received.payload()];
        let arrival = Arrival::new(now, &received.segment, payload);
        let arrival = Arrival { crowded: self.parking.is_full(), ..arrival };
        let answer = self.engine.handle(arrival, counters);
        let asker = Asker { reply, since: now };
        if let Some(unused) = self.send(now, frames, Some(frame), answer, asker, counters) {
            frames.release(unused);
        }
    }

    /// Sends the segments of `answer`, the first one in the frame at hand, and parks what waits. Returns that frame if there is
    /// no segment.
    #[inline]
    fn send<F: Frames>(
        &mut self,
        now: SystemTime,
        frames: &mut F,
        mut first: Option<F::Frame>,
        mut answer: Transmit,
        asker: Asker,
        counters: &Counters,
    ) -> Option<F::Frame> {
        let reply = &asker.reply;
        // How far into the answers it goes, if somebody listens.
        let mut reached = 0;
        while let Some(outgoing) = answer.next() {
            let Some(mut frame) = first.take().or_else(|| frames.take()) else {
                counters.add(Outcome::NoFrame, 1 + answer.count() as u64);
                break;
            };
            let octets = frames.octets(&mut frame);
            let length = reply.emit(octets, &outgoing, self.engine.payload(&outgoing));
            if !self.taps.is_empty() {
                self.taps.frame(now, Some(reply.tuple()), Direction::Sent, &octets[..length]);
                reached = reached.max(outgoing.payload().end);
            }
            counters.add(Outcome::Sent, 1);
            frames.send(frame, length);
        }
        if reached > 0 {
            self.tell(now, &asker, reached);
        }
        if let Some(waiting) = self.engine.take_waiting() {
            self.parking.park(waiting, asker.since, asker.reply);
        }
        first
    }

    /// Tells who listens of the questions that were answered anew, as far as the answers went out.
    #[cold]
    fn tell(&mut self, now: SystemTime, asker: &Asker, reached: usize) {
        for (role, question, answer) in self.engine.logged_queries(reached) {
            let tuple = *asker.reply.tuple();
            let framed = Transaction {
                role,
                tuple,
                asked: asker.since,
                answered: now,
                query: question,
                response: answer,
            };
            if let Some(transaction) = framed.unframed() {
                self.taps.transaction(&transaction);
            }
        }
        self.engine.log_queries(self.taps.want_transactions());
    }
}

/// Answers the question in the `length` octets of `frame` by the one thing that is said over UDP, in the same frame, as the
/// XDP program does where it answers by itself.
fn truncate<F: Frames>(
    frames: &mut F,
    mut frame: F::Frame,
    length: usize,
    layout: &Layout,
    counters: &Counters,
) {
    let octets = &mut frames.octets(&mut frame)[..length];
    let answered = udp::read(octets, layout).and_then(|question| {
        question.write(octets, layout).ok_or(Outcome::UdpNoQuestion)?;
        Ok(question)
    });
    match answered {
        Ok(question) => {
            counters.add(Outcome::PartialChecksum, u64::from(question.partial_checksum));
            counters.add(Outcome::UdpTruncated, 1);
            counters.add(Outcome::Sent, 1);
            frames.send(frame, question.frame_length(layout));
        }
        Err(outcome) => {
            counters.add(outcome, 1);
            frames.release(frame);
        }
    }
}
