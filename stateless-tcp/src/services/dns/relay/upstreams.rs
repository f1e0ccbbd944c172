//! The upstreams and their health, shared by all workers.
//!
//! Queries of clients cannot tell whether an upstream is dead: it may have to ask a server that is. So missing answers to them only
//! raise the suspicion, which probes of our own confirm or end.

use super::rng::Rng;
use crate::observe::histogram::Histogram;
use crate::observe::snapshot;
use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Unanswered queries of clients in a row after which an upstream is probed.
const SUSPECT: u32 = 2;

/// Unanswered probes in a row after which it counts as dead.
const DEAD: u32 = 2;

/// Changes of an upstream's health that are logged in [`LOG_WINDOW`].
const LOGGED: u32 = 6;
const LOG_WINDOW: Duration = Duration::from_mins(1);

/// An upstream server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsUpstream {
    /// Its address on UDP and TCP.
    pub address: SocketAddr,
    /// Its share of the queries relative to the others'; not 0.
    pub weight: u32,
    /// Largest answer in bytes that its path carries in one datagram.
    pub payload: u16,
}

impl DnsUpstream {
    /// Limit on the number of upstreams.
    pub const MAX: usize = 64;
}

/// All upstreams by number.
#[derive(Debug)]
pub(super) struct DnsUpstreams(Vec<(DnsUpstream, UpstreamHealth)>);

/// The health of an upstream.
#[derive(Debug, Default)]
struct UpstreamHealth {
    /// Queries of clients since the last answer of any kind.
    silent: AtomicU32,
    /// Probes without an answer since then.
    failed_probes: AtomicU32,
    /// Beginning of a window, and the changes that were logged in it.
    logged: Mutex<Option<(Instant, u32)>>,
    /// Time from a query to its answer.
    duration: Histogram,
}

/// A set of upstreams, one bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UpstreamSet(u64);

impl UpstreamSet {
    pub(super) fn add(&mut self, number: usize) {
        self.0 |= 1 << number;
    }

    fn contains(self, number: usize) -> bool {
        self.0 >> number & 1 == 1
    }
}

impl DnsUpstreams {
    pub(super) fn new(upstreams: Vec<DnsUpstream>) -> Self {
        debug_assert!((1..=DnsUpstream::MAX).contains(&upstreams.len()));
        Self(upstreams.into_iter().map(|upstream| (upstream, UpstreamHealth::default())).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, number: usize) -> &DnsUpstream {
        &self.0[number].0
    }

    pub(super) fn is_alive(&self, number: usize) -> bool {
        self.0[number].1.failed_probes.load(Relaxed) < DEAD
    }

    /// Whether probes have to find out if it is alive.
    pub(super) fn is_in_question(&self, number: usize) -> bool {
        let UpstreamHealth { silent, failed_probes, .. } = &self.0[number].1;
        silent.load(Relaxed) >= SUSPECT || failed_probes.load(Relaxed) > 0
    }

    pub(super) fn any_in_question(&self) -> bool {
        (0..self.len()).any(|number| self.is_in_question(number))
    }

    pub(super) fn any_alive(&self) -> bool {
        (0..self.len()).any(|number| self.is_alive(number))
    }

    /// Chooses an upstream at random by weight: an untried one that is not in question, else an untried one that is alive, else
    /// an untried one, else any.
    pub(super) fn choose(&self, rng: &mut Rng, tried: UpstreamSet) -> usize {
        let untried = |number| !tried.contains(number);
        self.pick(rng, |number| untried(number) && !self.is_in_question(number))
            .or_else(|| self.pick(rng, |number| untried(number) && self.is_alive(number)))
            .or_else(|| self.pick(rng, untried))
            .or_else(|| self.pick(rng, |_| true))
            .unwrap_or_default()
    }

    /// Whether an untried upstream is alive.
    pub(super) fn has_another(&self, tried: UpstreamSet) -> bool {
        (0..self.len()).any(|number| !tried.contains(number) && self.is_alive(number))
    }

    fn pick(&self, rng: &mut Rng, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let weight = |number: usize| if eligible(number) { self.get(number).weight } else { 0 };
        let total_weight = (0..self.len()).map(weight).sum();
        if total_weight == 0 {
            return None;
        }
        let mut left = rng.below(total_weight);
        (0..self.len()).find(|&number| {
            let found = left < weight(number);
            left = left.saturating_sub(weight(number));
            found
        })
    }

    /// The state of all upstreams, for snapshots.
    pub(super) fn report(&self) -> Vec<snapshot::UpstreamSnapshot> {
        let report = |number: usize| {
            let (DnsUpstream { address, .. }, UpstreamHealth { duration, .. }) = &self.0[number];
            snapshot::UpstreamSnapshot {
                address: address.to_string(),
                up: self.is_alive(number),
                duration: duration.read(),
            }
        };
        (0..self.len()).map(report).collect()
    }

    /// Records an answer after this time.
    pub(super) fn record_answer(&self, number: usize, after: Duration) {
        let (upstream, health) = &self.0[number];
        health.duration.record(after, 1);
        // Usually 0 already: no write means no cache miss for other workers.
        if health.silent.load(Relaxed) > 0 {
            health.silent.store(0, Relaxed);
        }
        if health.failed_probes.load(Relaxed) > 0
            && health.failed_probes.swap(0, Relaxed) >= DEAD
            && let Some(note) = health.may_log()
        {
            tracing::info!("upstream {} answers again{note}", upstream.address);
        }
    }

    /// Records a missing answer to a client's query.
    pub(super) fn record_missing(&self, number: usize) {
        let silent = &self.0[number].1.silent;
        if silent.load(Relaxed) < SUSPECT {
            silent.fetch_add(1, Relaxed);
        }
    }

    /// Records a missing answer to a probe, or the word of the upstream's host that nobody listens.
    pub(super) fn record_failed_probe(&self, number: usize) {
        let (upstream, health) = &self.0[number];
        let failed = &health.failed_probes;
        let before = failed.fetch_update(Relaxed, Relaxed, |before| Some(before.saturating_add(1)));
        if before == Ok(DEAD - 1)
            && let Some(note) = health.may_log()
        {
            tracing::warn!("upstream {} does not answer{note}", upstream.address);
        }
    }
}

impl UpstreamHealth {
    /// What to add to a line about a change, if it may be logged.
    fn may_log(&self) -> Option<&'static str> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = logged.get_or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() > LOG_WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        match (*count).cmp(&LOGGED) {
            Ordering::Less => Some(""),
            Ordering::Equal => Some("; more of this is not logged for up to a minute"),
            Ordering::Greater => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(weights: &[u32]) -> DnsUpstreams {
        let address = "192.0.2.1:53".parse().unwrap();
        DnsUpstreams::new(
            weights.iter().map(|&weight| DnsUpstream { address, weight, payload: 1232 }).collect(),
        )
    }

    fn shares(upstreams: &DnsUpstreams, tried: UpstreamSet) -> Vec<usize> {
        let mut rng = Rng::new().unwrap();
        let mut shares = vec![0; upstreams.len()];
        (0..1_000).for_each(|_| shares[upstreams.choose(&mut rng, tried)] += 1);
        shares
    }

    #[test]
    fn each_gets_its_share() {
        let shares = shares(&upstreams(&[1, 3, 6]), UpstreamSet::default());
        for (share, expected) in shares.into_iter().zip([100, 300, 600]) {
            assert!(share.abs_diff(expected) < 80, "{share} of 1000, {expected} expected");
        }
    }

    #[test]
    fn the_dead_are_not_asked_until_all_are() {
        let upstreams = upstreams(&[1, 1]);
        upstreams.record_failed_probe(0);
        assert!(upstreams.is_alive(0), "one may get lost");
        upstreams.record_failed_probe(0);
        assert_eq!(shares(&upstreams, UpstreamSet::default())[0], 0);
        assert!(upstreams.any_alive());
        let mut tried = UpstreamSet::default();
        tried.add(1);
        assert!(!upstreams.has_another(tried));
        assert_eq!(shares(&upstreams, tried)[1], 0, "rather a dead one than the same again");
        tried.add(0);
        assert_eq!(shares(&upstreams, tried).iter().filter(|&&share| share > 300).count(), 2);
        upstreams.record_failed_probe(1);
        upstreams.record_failed_probe(1);
        assert!(!upstreams.any_alive());
        upstreams.record_answer(0, Duration::ZERO);
        assert_eq!(shares(&upstreams, UpstreamSet::default())[1], 0);
    }

    #[test]
    fn queries_of_clients_raise_a_suspicion_and_no_more() {
        let upstreams = upstreams(&[1, 1]);
        (0..100).for_each(|_| upstreams.record_missing(0));
        assert!(upstreams.is_alive(0) && upstreams.is_in_question(0) && !upstreams.is_in_question(1));
        assert_eq!(shares(&upstreams, UpstreamSet::default())[0], 0, "others are asked meanwhile");
        upstreams.record_answer(0, Duration::ZERO);
        assert!(!upstreams.any_in_question());
    }

    #[test]
    fn an_upstream_that_comes_and_goes_fills_no_log() {
        let health = UpstreamHealth::default();
        let logged: Vec<_> = (0..100).filter_map(|_| health.may_log()).collect();
        assert_eq!(logged.len(), LOGGED as usize);
        assert!(logged[LOGGED as usize - 1].contains("not logged"));
    }
}
