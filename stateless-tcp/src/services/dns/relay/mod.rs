//! DNS from other servers: a query goes to a back end in a datagram, its answer to the client in the stream.
//!
//! ```text
//! answer() ─▶ Sent ─▶ Cache ─▶ Desk: in flight? ─▶ Channel ─▶ back end      (nothing waits here)
//! turn()   ◀─ tickets ◀─ Cache, Desk ◀─ Channel, or TCP by the control plane where the datagram was too short
//! ```
//!
//! Each worker has a `Desk` of its own, which nobody else enters; workers share the cache and what is known of the back
//! ends' health. What this room does not know: zones, and TCP beyond the length that frames a message.
//!
//! Choices where the texts leave one:
//! - A query goes out with its name in lowercase, and an answer whose question is not the same to the octet is no answer.
//!   The client gets its own question back.
//! - The client's EDNS options travel on, and the back end's come back, but for those that are spoken between neighbours:
//!   cookies (RFC 7873), keepalive (RFC 7828) and padding (RFC 7830). These two speak with us, as if we had zones.
//! - What stands in an answer behind its OPT record is left out.
//! - A query with records besides the OPT (a signature, by TSIG or SIG(0), that would not fit any more) is REFUSED.
//! - A question is in flight once a worker, so that none ever waits for another.
//! - A SERVFAIL of a back end is an answer: it is given, and kept for a second or two (RFC 9520 section 3.2).

mod ask;
mod backends;
mod cache;
mod channel;
mod counts;
mod desk;
mod flights;
mod proxy;
mod stored;
mod stream;
mod unpredictable;

pub use self::ask::ClientSubnet;
pub use self::backends::BackEnd;

use self::backends::BackEnds;
use self::cache::Cache;
use self::counts::{Count, Counts};
use self::desk::{Desk, Found, Surroundings};
use self::stored::{Age, Stored};
use super::edns::Opt;
use super::message::Full;
use super::query::{self, Envelope, Rcode};
use super::{Dns, DnsOptions, PREFIX};
use crate::observe::snapshot::{self, Label};
use crate::observe::transaction::Role;
use crate::services::{Answered, Context, FetchId, FetchPolicy, Framing, Service, Unavailable, Upstream};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// How questions are relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// Who is asked; at least one, at most [`BackEnd::MOST`].
    pub back_ends: Vec<BackEnd>,
    /// How long a back end may take until the next is asked, too.
    pub patience: Duration,
    /// How long a client waits at most.
    pub total: Duration,
    /// Most queries in flight at each worker.
    pub in_flight: usize,
    /// Octets of answers that are kept for the next who asks; 0: none.
    pub cache: u64,
    /// Octets of answers sent that each worker keeps, for clients that have a part of them.
    pub sent: usize,
    /// What servers are told of the client's network (RFC 7871).
    pub client_subnet: ClientSubnet,
    /// Tell back ends the client's address and port (PROXY protocol, version 2).
    pub proxy: bool,
}

impl RelayOptions {
    /// In a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        let names: Vec<String> = self.back_ends.iter().map(|back_end| back_end.address.to_string()).collect();
        format!("{}, relayed,", names.join(" and "))
    }
}

/// What outlives a reload: whom to ask, what is asked, and what was answered.
pub struct Desks {
    cache: Cache,
    client_subnet: ClientSubnet,
    back_ends: Arc<BackEnds>,
    all: Vec<Mutex<Desk>>,
}

impl Desks {
    /// One for each of so many workers. What does not fit a datagram is asked for on `runtime`.
    ///
    /// # Errors
    /// The system refuses sockets, or random numbers.
    pub fn open(options: &RelayOptions, workers: usize, runtime: &Handle) -> io::Result<Self> {
        let back_ends = Arc::new(BackEnds::new(options.back_ends.clone()));
        let desk = |_| Desk::open(options, Arc::clone(&back_ends), runtime.clone()).map(Mutex::new);
        let all = (0..workers.max(1)).map(desk).collect::<io::Result<_>>()?;
        Ok(Self { cache: Cache::new(options.cache), client_subnet: options.client_subnet, back_ends, all })
    }

    /// What it did, and how it is.
    #[must_use]
    pub fn report(&self) -> snapshot::RelaySnapshot {
        let mut report = snapshot::RelaySnapshot {
            service: Label::Borrowed("dns"),
            counts: Vec::new(),
            by_queue: Vec::new(),
            tables: self.cache.occupancy().into_iter().collect(),
            tables_by_queue: Vec::new(),
            upstreams: self.back_ends.report(),
        };
        let name = |name: &'static str| {
            Label::Borrowed(name.trim_start_matches("dns_").trim_start_matches("relay_"))
        };
        for worker in 0..self.all.len() {
            let desk = self.desk(worker);
            report.by_queue.push(desk.counts.all().map(|(of, count)| (name(of), count)).collect());
            report.tables_by_queue.push(desk.occupancies());
        }
        report
    }

    /// What was counted, summed over workers, by name.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut sum = Counts::default();
        (0..self.all.len()).for_each(|worker| sum.include(&self.desk(worker).counts));
        sum.all().collect()
    }

    /// The worker's own, so that nobody waits here.
    fn desk(&self, worker: usize) -> MutexGuard<'_, Desk> {
        self.all[worker % self.all.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the answer to the query at hand, from the nearest place to the farthest.
    fn find(&self, desk: &mut Desk, context: &Context) -> Result<Given, Unavailable> {
        let found = desk.find();
        if let Some(Found::Ended(Some(stored))) = found {
            return Ok(Some((stored, Age::Fresh(0))));
        }
        let now = seconds(context.now);
        let cached = self.cache.get(desk.ask.key());
        if let Some(stored) = &cached
            && let Some(age) = stored.fresh(now)
        {
            desk.counts.add(Count::CacheHits);
            return Ok(Some((Arc::clone(stored), age)));
        }
        let stale = cached.and_then(|stored| stored.stale(now).map(|age| (stored, age)));
        let stale = stale.filter(|_| !self.back_ends.any_alive());
        match (context.purpose, found) {
            (FetchPolicy::AtHand | FetchPolicy::Again, _) => Err(Unavailable::Gone),
            _ if stale.is_some() => {
                desk.counts.add(Count::CacheStale);
                desk.probe(context);
                Ok(stale)
            }
            (FetchPolicy::AtOnce, _) | (_, Some(Found::Ended(_))) => Ok(None),
            (FetchPolicy::Answer, Some(Found::InFlight(ticket))) => Err(Unavailable::Pending(ticket)),
            (FetchPolicy::Answer, None) => {
                desk.counts.add(Count::CacheMisses);
                desk.fetch(context).map_or(Ok(None), |ticket| Err(Unavailable::Pending(ticket)))
            }
        }
    }
}

/// A back end's answer, or none.
type Given = Option<(Arc<Stored>, Age)>;

/// The DNS service that asks others.
pub struct Relay {
    /// Frames messages, refuses what is to be refused, and speaks with the client about cookies and keepalive.
    front: Dns,
    desks: Arc<Desks>,
}

impl Relay {
    /// A service that asks by way of `desks`.
    #[must_use]
    pub fn new(front: DnsOptions, desks: Arc<Desks>) -> Self {
        Self { front: Dns::empty(front), desks }
    }

    /// Appends a back end's answer, with its length before it.
    fn give(
        &self,
        (stored, age): &(Arc<Stored>, Age),
        envelope: &Envelope<'_>,
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<(), Full> {
        let mut length = PREFIX + stored.len();
        let mut opt = None;
        if let Some(edns) = &envelope.edns {
            let mut own = Opt::new(edns.signed);
            self.front.options(edns, context, length, &mut own);
            // A client is told of no other network than the one it told of (RFC 7871 section 7.2.2).
            let told = self.desks.client_subnet.is_client_s(edns);
            let options = stored.options().filter(move |&(code, _)| told || code != ask::CLIENT_SUBNET);
            let further = options.clone().map(|(_, octets)| octets.len()).sum();
            length += own.len() + further;
            opt = Some((own, options, further));
        }
        let message = u16::try_from(length - PREFIX).map_err(|_| Full)?;
        if length > context.room {
            return Err(Full);
        }
        response.extend_from_slice(&message.to_be_bytes());
        stored.write(*age, envelope, u16::from(opt.is_some()), response);
        if let Some((mut own, options, further)) = opt {
            response.extend_from_slice(own.finish(stored.rcode, further));
            options.for_each(|(_, octets)| response.extend_from_slice(octets));
        }
        Ok(())
    }

    /// Appends a SERVFAIL, which is the last answer of the connection: it may be another when it is asked for again.
    fn fail(&self, envelope: &Envelope<'_>, context: &Context, response: &mut Vec<u8>) -> Answered {
        let closing = Context { persistent: false, ..*context };
        let answered = self.front.respond(envelope, Err(Rcode::ServFail), &closing, response);
        Answered { last: true, ..answered }
    }
}

impl Service for Relay {
    fn frame(&self, stream: &[u8]) -> Framing {
        self.front.frame(stream)
    }

    fn begins(&self, stream: &[u8]) -> bool {
        self.front.begins(stream)
    }

    fn is_prefix(&self, tail: &[u8]) -> bool {
        self.front.is_prefix(tail)
    }

    fn prefix(&self, stream: &[u8]) -> Option<[u8; PREFIX]> {
        self.front.prefix(stream)
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let Some(query) = message.get(PREFIX..).filter(|query| query::is_query(query)) else {
            return Ok(Answered::default());
        };
        let (envelope, question) = query::parse(query);
        let mut desk = self.desks.desk(context.worker);
        let desk = &mut *desk;
        if let Err(rcode) = desk.read(&envelope, &question, context) {
            return Ok(self.front.respond(&envelope, Err(rcode), context, response));
        }
        if let Some(sent) = desk.sent.find(&context.origin, message) {
            if sent.len() > context.room {
                return Err(Unavailable::Gone);
            }
            response.extend_from_slice(sent);
            return Ok(Answered::default());
        }
        if context.purpose == FetchPolicy::Again {
            // Even from the cache it would be another: its times to live are.
            return Err(Unavailable::Gone);
        }
        let given = self.desks.find(desk, context)?;
        let start = response.len();
        if let Some(given) = &given {
            if let Err(Full) = self.give(given, &envelope, context, response) {
                return Ok(self.fail(&envelope, context, response));
            }
        } else {
            let refused = self.front.respond(&envelope, Err(Rcode::ServFail), context, response);
            if refused.last {
                return Ok(refused);
            }
        }
        let answer = &response[start..];
        let whole = answer.len();
        if whole <= context.whole {
            // A copy of the request that is still on its way must not be answered at another length.
            desk.sent.remember(&context.origin, message, answer);
            return Ok(Answered { volatile: whole, last: false });
        }
        if desk.sent.keep(context.now, &context.origin, message, answer).is_err() {
            desk.counts.add(Count::StoreFull);
            response.truncate(start);
            return Ok(self.fail(&envelope, context, response));
        }
        Ok(Answered::default())
    }

    fn prepare(&self, message: &[u8], context: &Context) {
        let Some(query) = message.get(PREFIX..).filter(|query| query::is_query(query)) else { return };
        let (envelope, question) = query::parse(query);
        let mut desk = self.desks.desk(context.worker);
        let context = Context { purpose: FetchPolicy::Answer, ..*context };
        if desk.read(&envelope, &question, &context).is_ok()
            && desk.sent.find(&context.origin, message).is_none()
        {
            // Pending, as it should be; or there is nothing to be prepared.
            let _ = self.desks.find(&mut desk, &context);
        }
    }

    fn role(&self) -> Option<Role> {
        Some(Role::Forwarder)
    }

    fn errands(&self) -> Option<&dyn Upstream> {
        Some(&*self.desks)
    }
}

impl Upstream for Desks {
    fn descriptors(&self, worker: usize) -> Vec<RawFd> {
        vec![self.desk(worker).descriptor()]
    }

    fn turn(&self, worker: usize, now: SystemTime, ready: &mut Vec<FetchId>) {
        let mut around = Surroundings { cache: &self.cache, seconds: seconds(now), ready };
        self.desk(worker).turn(now, &mut around);
    }

    fn due(&self, worker: usize, now: SystemTime) -> Option<Duration> {
        self.desk(worker).due(now)
    }
}

/// Seconds since 1970.
fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
