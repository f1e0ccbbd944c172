//! The upstreams and their health, shared by all workers.

use super::rng::Rng;
use crate::observe::histogram::Histogram;
use crate::observe::snapshot;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Unanswered queries in a row after which an upstream counts as dead.
const DEAD: u32 = 2;

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
    /// Queries in a row without an answer.
    silent: AtomicU32,
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
        self.0[number].1.silent.load(Relaxed) < DEAD
    }

    pub(super) fn any_alive(&self) -> bool {
        (0..self.len()).any(|number| self.is_alive(number))
    }

    /// A random dead upstream.
    pub(super) fn pick_dead(&self, rng: &mut Rng) -> Option<usize> {
        self.pick(rng, |number| !self.is_alive(number))
    }

    /// Chooses an upstream at random by weight: an untried one that is alive, else an untried one, else any.
    pub(super) fn choose(&self, rng: &mut Rng, tried: UpstreamSet) -> usize {
        let untried = |number| !tried.contains(number);
        self.pick(rng, |number| untried(number) && self.is_alive(number))
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
        let (upstream, UpstreamHealth { silent, duration }) = &self.0[number];
        duration.record(after, 1);
        // Usually 0 already: no write means no cache miss for other workers.
        if silent.load(Relaxed) > 0 && silent.swap(0, Relaxed) >= DEAD {
            tracing::info!("upstream {} answers again", upstream.address);
        }
    }

    /// Records a missing answer.
    pub(super) fn record_failure(&self, number: usize) {
        let (upstream, UpstreamHealth { silent, .. }) = &self.0[number];
        let before = silent.fetch_update(Relaxed, Relaxed, |before| Some(before.saturating_add(1)));
        if before == Ok(DEAD - 1) {
            tracing::warn!("upstream {} does not answer", upstream.address);
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
        upstreams.record_failure(0);
        assert!(upstreams.is_alive(0), "one may get lost");
        upstreams.record_failure(0);
        assert_eq!(shares(&upstreams, UpstreamSet::default())[0], 0);
        assert!(upstreams.any_alive());
        let mut tried = UpstreamSet::default();
        tried.add(1);
        assert!(!upstreams.has_another(tried));
        assert_eq!(shares(&upstreams, tried)[1], 0, "rather a dead one than the same again");
        tried.add(0);
        assert_eq!(shares(&upstreams, tried).iter().filter(|&&share| share > 300).count(), 2);
        assert_eq!(upstreams.pick_dead(&mut Rng::new().unwrap()), Some(0));
        upstreams.record_failure(1);
        upstreams.record_failure(1);
        assert!(!upstreams.any_alive());
        upstreams.record_answer(0, Duration::ZERO);
        assert_eq!(shares(&upstreams, UpstreamSet::default())[1], 0);
    }
}
