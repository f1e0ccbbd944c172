//! The DNS relay: a query goes to an upstream in a datagram, and its answer to the client over TCP.
//!
//! ```text
//! answer() ─▶ RetransmitStore ─▶ AnswerCache ─▶ DnsForwarder: in flight? ─▶ UpstreamSockets ─▶ upstream   (never waits)
//! poll()   ◀─ fetch ids ◀─ AnswerCache, DnsForwarder ◀─ UpstreamSockets, or TcpFallback after a truncated answer
//! ```
//!
//! Each worker has a `DnsForwarder` of its own; workers share the cache and the health of the upstreams. This module
//! knows neither zones nor TCP beyond the length prefix of messages.
//!
//! Choices that the RFCs leave open:
//! - A query goes out with its name in lowercase, and only an answer with exactly the same question is accepted. The
//!   client gets its own question back.
//! - EDNS options of the client and of the upstream are passed on, except hop-by-hop options: NSID (RFC 5001), cookies (RFC
//!   7873), keepalive (RFC 7828) and padding (RFC 7830). The first three are answered as by the authoritative service.
//! - Records behind an answer's OPT record are left out.
//! - A query with records besides the OPT is REFUSED: a signature by TSIG or SIG(0) would no longer match.
//! - A question is in flight once per worker, so no worker waits for another.
//! - An upstream's SERVFAIL is an answer: it is passed on, and cached for a second or two (RFC 9520 section 3.2).

mod cache;
mod cached_answer;
mod counters;
mod forwarder;
mod in_flight;
mod options;
mod proxy_protocol;
mod rng;
mod tcp_fallback;
mod upstream_query;
mod upstream_sockets;
mod upstreams;

pub use self::options::DnsRelayOptions;
pub use self::upstream_query::ClientSubnet;
pub use self::upstreams::DnsUpstream;

use self::cache::AnswerCache;
use self::cached_answer::{AnswerAge, CachedAnswer};
use self::counters::{DnsCounter, DnsCounters};
use self::forwarder::{DnsForwarder, InFlightLookup, PollContext};
use self::upstreams::DnsUpstreams;
use super::edns::{self, Opt};
use super::extended_error::ExtendedError;
use super::query::{self, DirectAnswer, DnsQuestion, ParsedQuery};
use super::response_writer::Overflow;
use super::wire::{PREFIX, Rcode};
use super::{Dns, DnsOptions};
use crate::observe::snapshot::{self, Label};
use crate::observe::transaction::Role;
use crate::services::{Answered, Context, FetchId, FetchPolicy, Framing, Service, Unavailable, Upstream};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// The state that outlives a reload: upstreams, queries in flight and answers.
pub struct DnsForwarders {
    cache: AnswerCache,
    client_subnet: ClientSubnet,
    upstreams: Arc<DnsUpstreams>,
    all: Vec<Mutex<DnsForwarder>>,
}

impl DnsForwarders {
    /// One forwarder for each worker. Queries over TCP run on `runtime`.
    ///
    /// # Errors
    /// The system refuses sockets or random numbers.
    pub fn open(options: &DnsRelayOptions, workers: usize, runtime: &Handle) -> io::Result<Self> {
        let upstreams = Arc::new(DnsUpstreams::new(options.upstreams.clone()));
        let forwarder =
            |_| DnsForwarder::open(options, Arc::clone(&upstreams), runtime.clone()).map(Mutex::new);
        let all = (0..workers.max(1)).map(forwarder).collect::<io::Result<_>>()?;
        Ok(Self {
            cache: AnswerCache::new(options.cache),
            client_subnet: options.client_subnet,
            upstreams,
            all,
        })
    }

    /// Counters and state, for snapshots.
    #[must_use]
    pub fn report(&self) -> snapshot::RelaySnapshot {
        let mut report = snapshot::RelaySnapshot {
            service: Label::Borrowed("dns"),
            counts: Vec::new(),
            by_queue: Vec::new(),
            tables: self.cache.occupancy().into_iter().collect(),
            tables_by_queue: Vec::new(),
            upstreams: self.upstreams.report(),
        };
        let name = |name: &'static str| {
            Label::Borrowed(name.trim_start_matches("dns_").trim_start_matches("relay_"))
        };
        for worker in 0..self.all.len() {
            let forwarder = self.forwarder(worker);
            report.by_queue.push(forwarder.counts.all().map(|(of, count)| (name(of), count)).collect());
            report.tables_by_queue.push(forwarder.occupancies());
        }
        report
    }

    /// Counters by name, summed over workers.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut sum = DnsCounters::default();
        (0..self.all.len()).for_each(|worker| sum.merge(&self.forwarder(worker).counts));
        sum.all().collect()
    }

    /// The worker's own forwarder, so the lock is never contended.
    fn forwarder(&self, worker: usize) -> MutexGuard<'_, DnsForwarder> {
        self.all[worker % self.all.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the answer to the current query: in flight, in the cache, or from an upstream.
    fn find(&self, forwarder: &mut DnsForwarder, context: &Context) -> Result<FoundAnswer, Unavailable> {
        let (fetch, failed) = match forwarder.find() {
            Some(InFlightLookup::Ended(Ok(cached))) => return Ok(Ok((cached, AnswerAge::Fresh(0)))),
            Some(InFlightLookup::Ended(Err(reason))) => (None, Some(reason)),
            Some(InFlightLookup::InFlight(fetch_id)) => (Some(fetch_id), None),
            None => (None, None),
        };
        let now = seconds(context.now);
        let cached = self.cache.get(forwarder.query.key());
        if let Some(cached) = &cached
            && let Some(age) = cached.fresh(now)
        {
            forwarder.counts.add(DnsCounter::CacheHits);
            return Ok(Ok((Arc::clone(cached), age)));
        }
        if matches!(context.policy, FetchPolicy::CachedOnly | FetchPolicy::Repeat) {
            return Err(Unavailable::NotCached);
        }
        // Not before it was tried to refresh it, unless nobody is there to ask (RFC 8767 section 5).
        if (failed.is_some() || !self.upstreams.any_alive())
            && let Some(cached) = cached
            && let Some(age) = cached.stale(now)
        {
            forwarder.counts.add(DnsCounter::CacheStale);
            return Ok(Ok((cached, age)));
        }
        if let Some(reason) = failed {
            return Ok(Err(reason));
        }
        if context.policy == FetchPolicy::AnswerNow {
            return Ok(Err(ExtendedError::NotReady));
        }
        let fetch = fetch.or_else(|| {
            forwarder.counts.add(DnsCounter::CacheMisses);
            forwarder.fetch(context)
        });
        fetch.map_or(Ok(Err(ExtendedError::NotReady)), |fetch_id| Err(Unavailable::Pending(fetch_id)))
    }
}

/// A cached answer and its age, or the reason why there is none.
type FoundAnswer = Result<(Arc<CachedAnswer>, AnswerAge), ExtendedError>;

/// The DNS service that asks upstreams.
pub struct DnsRelay {
    /// Frames messages, writes refusals, and answers cookies and keepalive.
    local: Dns,
    forwarders: Arc<DnsForwarders>,
}

impl DnsRelay {
    /// A service that uses these forwarders.
    #[must_use]
    pub fn new(local: DnsOptions, forwarders: Arc<DnsForwarders>) -> Self {
        Self { local: Dns::empty(local), forwarders }
    }

    /// The text that tells who is answering, if the client asks for it, and this server tells it.
    fn own_text(&self, query: &ParsedQuery<'_>, question: &Result<DnsQuestion, Rcode>) -> Option<&[u8]> {
        let question = question.as_ref().ok().filter(|_| !query.others)?;
        self.local.own_text(question)
    }

    /// Appends an upstream's answer with its length prefix.
    fn write_answer(
        &self,
        (cached, age): &(Arc<CachedAnswer>, AnswerAge),
        query: &ParsedQuery<'_>,
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<(), Overflow> {
        let mut length = PREFIX + cached.len();
        let mut opt = None;
        if let Some(edns) = &query.edns {
            let mut own = Opt::new(edns.dnssec_ok);
            // A client gets the option back only if it sent one (RFC 7871 section 7.2.2).
            let told = self.forwarders.client_subnet.forwards_client_subnet(edns);
            let options =
                cached.options().filter(move |&(code, _)| told || code != upstream_query::CLIENT_SUBNET);
            let further: usize = options.clone().map(|(_, bytes)| bytes.len()).sum();
            if *age == AnswerAge::Stale {
                // The answer comes first.
                let left = context.room.saturating_sub(length + further + Opt::MAX);
                own.option_within(left, edns::EXTENDED_ERROR, &cached.stale_error().data());
            }
            self.local.options(edns, context, length + further, &mut own);
            length += own.len() + further;
            opt = Some((own, options, further));
        }
        let message = u16::try_from(length - PREFIX).map_err(|_| Overflow)?;
        if length > context.room {
            return Err(Overflow);
        }
        response.extend_from_slice(&message.to_be_bytes());
        cached.write(*age, query, u16::from(opt.is_some()), response);
        if let Some((mut own, options, further)) = opt {
            response.extend_from_slice(own.finish(cached.rcode, further));
            options.for_each(|(_, bytes)| response.extend_from_slice(bytes));
        }
        Ok(())
    }

    /// Appends a SERVFAIL as the last answer of the connection, because a repeated query may get another answer.
    fn write_servfail(&self, query: &ParsedQuery<'_>, context: &Context, response: &mut Vec<u8>) -> Answered {
        let closing = Context { persistent: false, ..*context };
        let answered = self.local.respond(query, Err(Rcode::ServFail.into()), &closing, response);
        Answered { last: true, ..answered }
    }
}

impl Service for DnsRelay {
    fn frame(&self, stream: &[u8]) -> Framing {
        self.local.frame(stream)
    }

    fn starts_message(&self, stream: &[u8]) -> bool {
        self.local.starts_message(stream)
    }

    fn is_prefix(&self, tail: &[u8]) -> bool {
        self.local.is_prefix(tail)
    }

    fn prefix(&self, stream: &[u8]) -> Option<[u8; PREFIX]> {
        self.local.prefix(stream)
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let Some((query, question)) = query::parse_framed(message) else {
            return Ok(Answered { last: true, ..Answered::default() });
        };
        if let Some(text) = self.own_text(&query, &question) {
            return Ok(self.local.respond(&query, Err(DirectAnswer::text(text)), context, response));
        }
        let mut forwarder = self.forwarders.forwarder(context.worker);
        let forwarder = &mut *forwarder;
        if let Err(direct) = forwarder.read(&query, &question, context) {
            return Ok(self.local.respond(&query, Err(direct), context, response));
        }
        if let Some(sent) = forwarder.retransmit_store.find(&context.origin, message) {
            if sent.len() > context.room {
                return Err(Unavailable::NotCached);
            }
            response.extend_from_slice(sent);
            return Ok(Answered::default());
        }
        if context.policy == FetchPolicy::Repeat {
            // Even a cached answer would differ: its TTLs count down.
            return Err(Unavailable::NotCached);
        }
        let found = self.forwarders.find(forwarder, context)?;
        let start = response.len();
        match &found {
            Ok(found) => {
                if let Err(Overflow) = self.write_answer(found, &query, context, response) {
                    return Ok(self.write_servfail(&query, context, response));
                }
            }
            Err(error) => {
                let direct = DirectAnswer::error(Rcode::ServFail, *error);
                let refused = self.local.respond(&query, Err(direct), context, response);
                if refused.last {
                    return Ok(refused);
                }
            }
        }
        let answer = &response[start..];
        let whole = answer.len();
        if whole <= context.whole {
            // A duplicate of the request that is still on its way must not get an answer of another length.
            forwarder.retransmit_store.remember(&context.origin, message, answer);
            return Ok(Answered { volatile: whole, last: false });
        }
        if forwarder.retransmit_store.keep(context.now, &context.origin, message, answer).is_err() {
            forwarder.counts.add(DnsCounter::StoreFull);
            response.truncate(start);
            return Ok(self.write_servfail(&query, context, response));
        }
        Ok(Answered::default())
    }

    fn prepare(&self, message: &[u8], context: &Context) {
        let Some((query, question)) = query::parse_framed(message) else { return };
        if self.own_text(&query, &question).is_some() {
            return;
        }
        let mut forwarder = self.forwarders.forwarder(context.worker);
        let context = Context { policy: FetchPolicy::MayFetch, ..*context };
        if forwarder.read(&query, &question, &context).is_ok()
            && forwarder.retransmit_store.find(&context.origin, message).is_none()
        {
            // Usually pending; otherwise there is nothing to prepare.
            let _ = self.forwarders.find(&mut forwarder, &context);
        }
    }

    fn role(&self) -> Option<Role> {
        Some(Role::Forwarder)
    }

    fn upstream(&self) -> Option<&dyn Upstream> {
        Some(&*self.forwarders)
    }
}

impl Upstream for DnsForwarders {
    fn fds(&self, worker: usize) -> Vec<RawFd> {
        vec![self.forwarder(worker).fd()]
    }

    fn poll(&self, worker: usize, now: SystemTime, ready: &mut Vec<FetchId>) {
        let mut cx = PollContext { cache: &self.cache, seconds: seconds(now), ready };
        self.forwarder(worker).poll(now, &mut cx);
    }

    fn poll_timeout(&self, worker: usize, now: SystemTime) -> Option<Duration> {
        self.forwarder(worker).poll_timeout(now)
    }
}

/// Seconds since 1970.
fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
