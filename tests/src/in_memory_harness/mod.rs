//! The whole responder in memory: a frame in, every frame out, and what must hold of them asserted at each.
//!
//! Property tests and fuzz targets share it: they differ in where the bytes come from that [`script::Script`] is made of.

pub mod agreement;
pub mod content;
mod invariants;
pub mod pool;
pub mod script;

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use stateless_tcp::dataplane::responder::Responder;
use stateless_tcp::observe::counters::Counters;
use stateless_tcp::services::{
    Service,
    dns::{Cookies, Dns, DnsOptions},
    http::Http,
};
use stateless_tcp::serving::{AnswerPolicy, Content};
use stateless_tcp_core::outcome::{Outcome, OutcomeKind};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::CONNECTION_LIFETIME;
use stateless_tcp_core::tcp::isn::{Key, Keys};

use crate::{packet::Packet, topology::SERVERS};
use pool::Pool;

/// Served by [`dns`].
pub const DNS_PORT: u16 = 53;
/// Served by [`http`].
pub const HTTP_PORT: u16 = 80;
/// More frames than any response takes.
pub const PLENTY: usize = 1 << 16;

/// Counted beside the one outcome of a frame.
const NOTES: [Outcome; 7] = [
    Outcome::FastOpen,
    Outcome::FastOpenLater,
    Outcome::FastOpenBadCookie,
    Outcome::FastOpenCookie,
    Outcome::Incomplete,
    Outcome::ResetSent,
    Outcome::NoFrame,
];

/// Whether a frame ends in this, and in nothing else.
fn ends(outcome: Outcome) -> bool {
    outcome.kind() != OutcomeKind::Traffic && !NOTES.contains(&outcome)
}

/// The built-in zone, compiled once.
pub fn dns() -> Arc<dyn Service> {
    static DNS: LazyLock<Arc<Dns>> = LazyLock::new(|| {
        let cookies = Some(Cookies::new(Key(*b"another 16 octet"), UNIX_EPOCH));
        Arc::new(Dns::builtin(DnsOptions { keepalive: 1_200, cookies, ..DnsOptions::default() }))
    });
    DNS.clone()
}

/// The built-in pages.
pub fn http() -> Arc<dyn Service> {
    static HTTP: LazyLock<Arc<Http>> = LazyLock::new(|| Arc::new(Http::builtin()));
    HTTP.clone()
}

/// A responder for the built-in content at [`SERVERS`].
pub struct Harness {
    responder: Responder,
    counters: Counters,
    /// Rule set.
    pub rules: AckPolicy,
    /// Largest payload as configured.
    pub segment_size: u16,
    /// The clock's time.
    pub now: SystemTime,
}

/// The result of one frame.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Why.
    pub outcome: Outcome,
    /// The frames sent, in order.
    pub sent: Vec<Packet>,
    /// The growth of each counter.
    grown: Vec<u64>,
}

impl Exchange {
    /// How much `counter` grew.
    pub fn grown(&self, counter: Outcome) -> u64 {
        self.grown[counter as usize]
    }

    /// The bytes of all segments sent.
    pub fn stream(&self) -> Vec<u8> {
        self.sent.iter().flat_map(|packet| packet.payload.clone()).collect()
    }
}

impl Harness {
    /// A responder with a fixed key.
    pub fn new(rules: AckPolicy, segment_size: u16) -> Self {
        Self::with(rules, segment_size, false)
    }

    /// The same, that answers requests on the SYN.
    pub fn with_fast_open(rules: AckPolicy, segment_size: u16) -> Self {
        Self::with(rules, segment_size, true)
    }

    fn with(rules: AckPolicy, segment_size: u16, fast_open: bool) -> Self {
        let services = vec![(DNS_PORT, dns()), (HTTP_PORT, http())];
        let keys = Keys { current: Key(*b"sixteen octets !"), previous: None };
        Self {
            responder: Responder::new(
                Content::new(SERVERS.map(Into::into), services),
                AnswerPolicy {
                    rules,
                    keys,
                    segment_size,
                    hints: 0,
                    fast_open,
                    connection_lifetime: CONNECTION_LIFETIME,
                },
            ),
            counters: Counters::default(),
            rules,
            segment_size,
            now: UNIX_EPOCH + Duration::from_hours(500_000),
        }
    }

    /// Gives the responder a frame, with `free` further ones to take, and asserts everything that must hold of every
    /// exchange whatever the frame is.
    pub fn exchange(&mut self, frame: &[u8], free: usize) -> Exchange {
        let (exchange, bytes) = self.ask(frame, free);
        invariants::assert_exchange(self, frame, &exchange, &bytes);
        exchange
    }

    /// Number of segments that answer a frame, with no other check: for frames by the million.
    pub fn segments_for(&mut self, frame: &[u8]) -> usize {
        let mut pool = Pool::new(PLENTY);
        let received = pool.receive(frame);
        self.responder.respond(self.now, &mut pool, received, frame.len(), &self.counters);
        pool.sent.len()
    }

    /// The segments that answer a frame, likewise.
    pub fn answers_to(&mut self, frame: &[u8]) -> Vec<Packet> {
        let mut pool = Pool::new(PLENTY);
        let received = pool.receive(frame);
        self.responder.respond(self.now, &mut pool, received, frame.len(), &self.counters);
        pool.sent.iter().map(|frame| Packet::parse(frame).expect("TCP")).collect()
    }

    /// All that was counted so far.
    pub fn counted(&self) -> Vec<(Outcome, u64)> {
        Outcome::ALL.iter().copied().zip(self.counts()).filter(|(_, count)| *count > 0).collect()
    }

    /// An exchange in which only frames and counters are looked at; also the bytes sent.
    fn ask(&mut self, frame: &[u8], free: usize) -> (Exchange, Vec<Vec<u8>>) {
        let before = self.counts();
        let mut pool = Pool::new(free);
        let received = pool.receive(frame);
        self.responder.respond(self.now, &mut pool, received, frame.len(), &self.counters);
        pool.assert_conserved();
        let grown: Vec<u64> =
            self.counts().iter().zip(before).map(|(after, before)| after - before).collect();
        let count = |counter: Outcome| grown[counter as usize];
        assert_eq!(count(Outcome::Received), 1);
        let outcomes: Vec<_> =
            Outcome::ALL.iter().copied().filter(|&outcome| ends(outcome) && count(outcome) > 0).collect();
        let [outcome] = outcomes[..] else { panic!("not one outcome but {outcomes:?}") };
        assert_eq!(count(outcome), 1, "{outcome:?}");
        assert_eq!(count(Outcome::Sent), pool.sent.len() as u64, "frames sent");
        let sent = pool.sent.iter().map(|bytes| invariants::read(bytes)).collect();
        (Exchange { outcome, sent, grown }, pool.sent)
    }

    fn counts(&self) -> Vec<u64> {
        Outcome::ALL.iter().map(|&counter| self.counters.get(counter)).collect()
    }
}
