//! One worker's forwarder: its queries in flight, and the way from a query to its answer.

use super::cache::AnswerCache;
use super::cached_answer::{AnswerError, CachedAnswer};
use super::counters::{DnsCounter, DnsCounters};
use super::in_flight::{InFlightTable, QueryState};
use super::options::DnsRelayOptions;
use super::proxy_protocol;
use super::rng::Rng;
use super::tcp_fallback::{TcpAnswer, TcpFallback};
use super::upstream_query::{ClientInfo, QueryTooLong, UpstreamQuery};
use super::upstream_sockets::{ReceiveBuffers, UpstreamSockets};
use super::upstreams::DnsUpstreams;
use crate::observe::snapshot::Occupancy;
use crate::services::dns::extended_error::ExtendedError;
use crate::services::dns::query::{DirectAnswer, DnsQuestion, ParsedQuery};
use crate::services::dns::wire::Rcode;
use crate::services::retransmit_store::RetransmitStore;
use crate::services::{Context, FetchId, FetchIds};
use nix::errno::Errno;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// The interval between searches for timed-out queries.
const SWEEP: Duration = Duration::from_millis(10);

/// The interval between probes of upstreams whose health is in question.
const PROBE: Duration = Duration::from_millis(500);

/// The interval between reads of idle sockets: datagrams that arrive then are late and are dropped.
const IDLE: Duration = Duration::from_millis(1);

/// Random IDs tried until one is free. More are practically never needed.
const DRAWS: u32 = 64;

/// One worker's queries in flight, sockets and TCP fallback.
pub(super) struct DnsForwarder {
    /// The current query.
    pub(super) query: UpstreamQuery,
    probe: UpstreamQuery,
    /// Sent answers that clients may lack a part of.
    pub(super) retransmit_store: RetransmitStore,
    pub(super) counts: DnsCounters,
    client_info: ClientInfo,
    in_flight: InFlightTable,
    sockets: UpstreamSockets,
    tcp_fallback: TcpFallback,
    upstreams: Arc<DnsUpstreams>,
    fetch_ids: FetchIds,
    rng: Rng,
    clock: MonotonicClock,
    timeout: Duration,
    total_timeout: Duration,
    next_sweep: Duration,
    next_probe: Duration,
    next_idle: Duration,
    /// Ended queries, whose slots become free at the next poll.
    ended: Vec<usize>,
    readable: Vec<u16>,
    buffers: ReceiveBuffers,
}

/// The state of the current query.
pub(super) enum InFlightLookup {
    InFlight(FetchId),
    /// It has ended, with this answer or for this reason.
    Ended(Result<Arc<CachedAnswer>, ExtendedError>),
}

/// The context of a poll besides the forwarder.
pub(super) struct PollContext<'a> {
    pub(super) cache: &'a AnswerCache,
    /// Seconds since 1970.
    pub(super) seconds: u64,
    pub(super) ready: &'a mut Vec<FetchId>,
}

impl DnsForwarder {
    /// Opens a forwarder with its sockets.
    pub(super) fn open(
        options: &DnsRelayOptions,
        upstreams: Arc<DnsUpstreams>,
        runtime: Handle,
    ) -> io::Result<Self> {
        let tcp_fallback = TcpFallback::new(runtime, options.timeout)?;
        let buffers = ReceiveBuffers::new(&upstreams);
        Ok(Self {
            query: UpstreamQuery::default(),
            probe: UpstreamQuery::probe(),
            retransmit_store: RetransmitStore::new(options.retransmit_store),
            counts: DnsCounters::default(),
            client_info: ClientInfo { subnet: options.client_subnet, addresses: options.proxy_protocol },
            in_flight: InFlightTable::new(options.in_flight),
            sockets: UpstreamSockets::open(&upstreams, tcp_fallback.fd())?,
            tcp_fallback,
            upstreams,
            fetch_ids: FetchIds::new(),
            rng: Rng::new()?,
            clock: MonotonicClock::default(),
            timeout: options.timeout,
            total_timeout: options.total_timeout,
            next_sweep: Duration::ZERO,
            next_probe: Duration::ZERO,
            next_idle: Duration::ZERO,
            ended: Vec::new(),
            readable: Vec::new(),
            buffers,
        })
    }

    /// Readable when there is work.
    pub(super) fn fd(&self) -> RawFd {
        self.sockets.fd()
    }

    /// The usage of its tables.
    pub(super) fn occupancies(&self) -> Vec<Occupancy> {
        vec![self.in_flight.occupancy(), self.retransmit_store.occupancy("dns_sent")]
    }

    /// Makes a query the current one, or returns the code that refuses it.
    pub(super) fn read(
        &mut self,
        query: &ParsedQuery<'_>,
        question: &Result<DnsQuestion, Rcode>,
        context: &Context,
    ) -> Result<(), DirectAnswer<'static>> {
        let question = question.as_ref().map_err(|&rcode| DirectAnswer::from(rcode))?.check_relayable()?;
        // A signature (TSIG, SIG(0)) would not match the forwarded query.
        if query.others {
            return Err(DirectAnswer::error(Rcode::Refused, ExtendedError::NotSupported));
        }
        let composed = self.query.compose(query, question, &context.origin.tuple, self.client_info);
        composed.map_err(|QueryTooLong| DirectAnswer::error(Rcode::Refused, ExtendedError::NotSupported))
    }

    /// The state of the current query.
    pub(super) fn find(&mut self) -> Option<InFlightLookup> {
        let slot = self.in_flight.find(&self.query)?;
        let entry = self.in_flight.get(slot);
        match (&entry.state, entry.fetch_id) {
            (QueryState::Ended(outcome), _) => {
                let reason = if entry.network_error {
                    ExtendedError::NetworkError
                } else {
                    ExtendedError::NoReachableAuthority
                };
                Some(InFlightLookup::Ended(outcome.clone().ok_or(reason)))
            }
            (_, Some(fetch_id)) => Some(InFlightLookup::InFlight(fetch_id)),
            (_, None) => None,
        }
    }

    /// Sends the current query. `None` if the table of queries in flight is full.
    pub(super) fn fetch(&mut self, context: &Context) -> Option<FetchId> {
        let now = self.clock.tell(context.now);
        let fetch_id = self.fetch_ids.draw();
        let Some(slot) = self.in_flight.insert_query(&self.query, Some(fetch_id), context.origin.tuple, now)
        else {
            self.counts.add(DnsCounter::TableFull);
            return None;
        };
        self.try_next(slot, now);
        Some(fetch_id)
    }

    /// Probes the upstreams whose health is in question, if that is due.
    fn probe(&mut self, now: Duration) {
        if now < self.next_probe || !self.upstreams.any_in_question() {
            return;
        }
        self.next_probe = now + PROBE;
        let tuple = Context::default().origin.tuple;
        for upstream in 0..self.upstreams.len() {
            if self.upstreams.is_in_question(upstream)
                && let Some(slot) = self.in_flight.insert_query(&self.probe, None, tuple, now)
            {
                self.send(slot, upstream, now);
            }
        }
    }

    /// Sends, receives and expires; never waits.
    pub(super) fn poll(&mut self, now: SystemTime, cx: &mut PollContext<'_>) {
        let now = self.clock.tell(now);
        for slot in self.ended.drain(..) {
            self.in_flight.release(slot);
        }
        self.flush(now);
        if self.in_flight.any_active() || now >= self.next_idle {
            self.next_idle = now + IDLE;
            self.receive_all(now, cx);
        }
        if now >= self.next_sweep && self.in_flight.any_active() {
            self.next_sweep = now + SWEEP;
            self.expire(now, cx);
        }
        self.probe(now);
        self.flush(now);
    }

    /// Receives all answers that have arrived.
    fn receive_all(&mut self, now: Duration, cx: &mut PollContext<'_>) {
        let mut ready = std::mem::take(&mut self.readable);
        let mail = self.sockets.poll(&mut ready);
        for socket in ready.drain(..) {
            self.receive(socket, now, cx);
        }
        self.readable = ready;
        if mail {
            for tcp_answer in self.tcp_fallback.take_answers() {
                self.on_tcp_answer(tcp_answer, now, cx);
            }
        }
    }

    /// The longest time that the worker may sleep.
    pub(super) fn poll_timeout(&mut self, now: SystemTime) -> Option<Duration> {
        let now = self.clock.tell(now);
        if self.sockets.any_queued() {
            return Some(Duration::ZERO);
        }
        let sweep = self.in_flight.any_active().then_some(self.next_sweep);
        let probe = self.upstreams.any_in_question().then_some(self.next_probe);
        sweep.into_iter().chain(probe).min().map(|due| due.saturating_sub(now))
    }

    fn flush(&mut self, now: Duration) {
        if !self.sockets.any_queued() {
            return;
        }
        let mut on_refused = Vec::new();
        self.sockets.flush(|upstream| on_refused.push(upstream));
        for upstream in on_refused {
            self.on_refused(upstream, now);
        }
    }

    fn receive(&mut self, socket: u16, now: Duration, cx: &mut PollContext<'_>) {
        let mut buffers = std::mem::take(&mut self.buffers);
        match self.sockets.receive(socket, &mut buffers) {
            Ok(()) => buffers.iter().for_each(|datagram| self.on_datagram(socket, datagram, now, cx)),
            Err(Errno::ECONNREFUSED) => {
                if let Some(upstream) = self.sockets.upstream(socket) {
                    self.on_refused(upstream, now);
                }
            }
            Err(_) => {}
        }
        self.buffers = buffers;
    }

    /// Handles a datagram from an upstream, or from somebody who forges its address.
    fn on_datagram(&mut self, socket: u16, datagram: &[u8], now: Duration, cx: &mut PollContext<'_>) {
        let Some(&id) = datagram.first_chunk() else { return self.counts.add(DnsCounter::Malformed) };
        let id = u16::from_be_bytes(id);
        let Some(slot) = self.in_flight.find_by_id(socket, id) else {
            return self.counts.add(DnsCounter::Late);
        };
        let entry = self.in_flight.get(slot);
        let parsed = CachedAnswer::parse(datagram, entry.query.question(), cx.seconds);
        let is_probe = entry.fetch_id.is_none();
        let is_over_tcp = matches!(entry.state, QueryState::OverTcp);
        let after = now.saturating_sub(entry.sent_at);
        match parsed {
            Err(AnswerError::Mismatched) => return self.counts.add(DnsCounter::Forged),
            Err(AnswerError::Malformed) => return self.counts.add(DnsCounter::Malformed),
            Err(AnswerError::Truncated) | Ok(_) => {}
        }
        let Some(upstream) = self.sockets.upstream(socket) else { return };
        self.upstreams.record_answer(upstream, after);
        self.counts.add(DnsCounter::Answers);
        match parsed {
            Ok(cached) => self.end(slot, Some(Arc::new(cached)), cx),
            Err(_) if is_probe => self.end(slot, None, cx),
            Err(_) if is_over_tcp => {}
            Err(_) => self.retry_over_tcp(slot, upstream, now),
        }
    }

    fn retry_over_tcp(&mut self, slot: usize, upstream: usize, now: Duration) {
        self.counts.add(DnsCounter::OverTcp);
        let [high, low, ..] = self.rng.draw().to_be_bytes();
        let entry = self.in_flight.get(slot);
        entry.state = QueryState::OverTcp;
        entry.deadline = (now + self.timeout).min(entry.started + self.total_timeout);
        let client = self.client_info.addresses.then_some(&entry.tuple);
        let id = u16::from_be_bytes([high, low]);
        self.tcp_fallback.send((slot, entry.serial), self.upstreams.get(upstream), &entry.query, id, client);
    }

    fn on_tcp_answer(&mut self, tcp_answer: TcpAnswer, now: Duration, cx: &mut PollContext<'_>) {
        let (slot, serial) = tcp_answer.entry;
        let entry = self.in_flight.get(slot);
        if entry.serial != serial || matches!(entry.state, QueryState::Ended(_) | QueryState::Free) {
            return self.counts.add(DnsCounter::Late);
        }
        let parsed = tcp_answer
            .outcome
            .ok()
            .map(|message| CachedAnswer::parse(&message, entry.query.question(), cx.seconds));
        if let Some(Ok(cached)) = parsed {
            self.counts.add(DnsCounter::Answers);
            return self.end(slot, Some(Arc::new(cached)), cx);
        }
        self.counts.add(DnsCounter::TcpFailed);
        entry.network_error = true;
        if matches!(entry.state, QueryState::OverTcp) {
            self.retry_or_fail(slot, now, cx);
        }
    }

    /// Nobody listens at an upstream: its queries go to another one at once, if one is alive.
    fn on_refused(&mut self, upstream: usize, now: Duration) {
        self.counts.add(DnsCounter::Unreachable);
        self.upstreams.record_failed_probe(upstream);
        let mut from = 0;
        while let Some(slot) = self.in_flight.next_waiting_for(from, upstream) {
            from = slot + 1;
            let entry = self.in_flight.get(slot);
            entry.network_error = true;
            if entry.fetch_id.is_some() && self.upstreams.has_another(entry.tried) {
                self.try_next(slot, now);
            }
        }
    }

    fn expire(&mut self, now: Duration, cx: &mut PollContext<'_>) {
        let mut from = 0;
        while let Some(slot) = self.in_flight.next_overdue(from, now) {
            from = slot + 1;
            let entry = self.in_flight.get(slot);
            if matches!(entry.state, QueryState::Waiting) {
                self.counts.add(DnsCounter::TimedOut);
                if entry.fetch_id.is_some() {
                    self.upstreams.record_missing(entry.upstream);
                } else {
                    self.upstreams.record_failed_probe(entry.upstream);
                }
            }
            self.retry_or_fail(slot, now, cx);
        }
    }

    /// Handles a failed try: asks the next upstream or ends the query.
    fn retry_or_fail(&mut self, slot: usize, now: Duration, cx: &mut PollContext<'_>) {
        let entry = self.in_flight.get(slot);
        let in_time = now < entry.started + self.total_timeout;
        // Where no upstream is left to ask, a stale answer from the cache is better than none, and the client should get it
        // soon (RFC 8767 section 5).
        let kept = || {
            let cached = cx.cache.get(entry.query.key());
            !self.upstreams.has_another(entry.tried)
                && cached.is_some_and(|cached| cached.stale(cx.seconds).is_some())
        };
        if entry.fetch_id.is_none() {
            self.end(slot, None, cx);
        } else if in_time && !kept() {
            self.try_next(slot, now);
        } else {
            self.counts.add(DnsCounter::Failed);
            self.end(slot, None, cx);
        }
    }

    /// Asks the next upstream.
    fn try_next(&mut self, slot: usize, now: Duration) {
        let tried = self.in_flight.get(slot).tried;
        let upstream = self.upstreams.choose(&mut self.rng, tried);
        self.send(slot, upstream, now);
    }

    fn send(&mut self, slot: usize, upstream: usize, now: Duration) {
        let entry = self.in_flight.get(slot);
        entry.state = QueryState::Waiting;
        entry.upstream = upstream;
        entry.sent_at = now;
        entry.tried.add(upstream);
        entry.deadline = (now + self.timeout).min(entry.started + self.total_timeout);
        let socket = self.sockets.choose(upstream, now, &mut self.rng);
        // Without a free ID, the try counts as lost.
        let mut ids = (0..DRAWS)
            .map(|_| self.rng.draw().to_be_bytes())
            .map(|[high, low, ..]| u16::from_be_bytes([high, low]));
        let Some(id) = ids.find(|&id| self.in_flight.register_id(slot, socket, id)) else { return };
        let entry = self.in_flight.get(slot);
        let payload = self.upstreams.get(upstream).payload;
        let told = self.client_info.addresses;
        self.sockets.queue(socket, |out| {
            match entry.fetch_id {
                Some(_) if told => proxy_protocol::push(&entry.tuple, out),
                None if told => proxy_protocol::push_local(out),
                _ => {}
            }
            entry.query.write(id, payload, out);
        });
        self.counts.add(DnsCounter::Queries);
    }

    /// Ends a query, and reports its fetch as ready.
    fn end(&mut self, slot: usize, outcome: Option<Arc<CachedAnswer>>, cx: &mut PollContext<'_>) {
        if let Some(cached) = &outcome {
            cx.cache.put(self.in_flight.get(slot).query.key(), cached);
        }
        let fetch_id = self.in_flight.end(slot, outcome, |socket| self.sockets.end_query(socket));
        self.ended.push(slot);
        cx.ready.extend(fetch_id);
    }
}

/// Monotonic time from a wall clock: backward steps do not count.
#[derive(Debug, Default)]
struct MonotonicClock {
    last: Option<SystemTime>,
    passed: Duration,
}

impl MonotonicClock {
    /// The time passed since the first call.
    fn tell(&mut self, now: SystemTime) -> Duration {
        let step = self.last.and_then(|last| now.duration_since(last).ok());
        self.passed += step.unwrap_or_default();
        self.last = Some(now);
        self.passed
    }
}
