//! Who is asked, and whether they answer: shared by all workers.

use super::unpredictable::Unpredictable;
use crate::observe::histogram::Histogram;
use crate::observe::snapshot;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Queries in a row that a back end may leave unanswered until it is taken for dead.
const DEAD: u32 = 2;

/// A server that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackEnd {
    /// Where it listens, on UDP and TCP.
    pub address: SocketAddr,
    /// Its share of the questions, relative to the others'; not 0.
    pub weight: u32,
    /// Most octets of an answer that the path from it carries in one datagram.
    pub payload: u16,
}

impl BackEnd {
    /// Most back ends.
    pub const MOST: usize = 64;
}

/// All of them, by number.
#[derive(Debug)]
pub(super) struct BackEnds(Vec<(BackEnd, Health)>);

/// How one does.
#[derive(Debug, Default)]
struct Health {
    /// Queries in a row without an answer.
    silent: AtomicU32,
    /// From a query to its answer.
    duration: Histogram,
}

/// Some back ends: a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Several(u64);

impl Several {
    pub(super) fn add(&mut self, number: usize) {
        self.0 |= 1 << number;
    }

    fn contains(self, number: usize) -> bool {
        self.0 >> number & 1 == 1
    }
}

impl BackEnds {
    pub(super) fn new(back_ends: Vec<BackEnd>) -> Self {
        debug_assert!((1..=BackEnd::MOST).contains(&back_ends.len()));
        Self(back_ends.into_iter().map(|back_end| (back_end, Health::default())).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, number: usize) -> &BackEnd {
        &self.0[number].0
    }

    pub(super) fn is_alive(&self, number: usize) -> bool {
        self.0[number].1.silent.load(Relaxed) < DEAD
    }

    pub(super) fn any_alive(&self) -> bool {
        (0..self.len()).any(|number| self.is_alive(number))
    }

    /// One that is taken for dead.
    pub(super) fn dead(&self, random: &mut Unpredictable) -> Option<usize> {
        self.pick(random, |number| !self.is_alive(number))
    }

    /// Whom to ask next: by weight, among those alive that have not been `tried`, else among all of these, else among all.
    pub(super) fn choose(&self, random: &mut Unpredictable, tried: Several) -> usize {
        let untried = |number| !tried.contains(number);
        self.pick(random, |number| untried(number) && self.is_alive(number))
            .or_else(|| self.pick(random, untried))
            .or_else(|| self.pick(random, |_| true))
            .unwrap_or_default()
    }

    /// Whether somebody alive has not been `tried`.
    pub(super) fn has_another(&self, tried: Several) -> bool {
        (0..self.len()).any(|number| !tried.contains(number) && self.is_alive(number))
    }

    fn pick(&self, random: &mut Unpredictable, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let weight = |number: usize| if eligible(number) { self.get(number).weight } else { 0 };
        let total = (0..self.len()).map(weight).sum();
        if total == 0 {
            return None;
        }
        let mut left = random.below(total);
        (0..self.len()).find(|&number| {
            let found = left < weight(number);
            left = left.saturating_sub(weight(number));
            found
        })
    }

    /// How they all do.
    pub(super) fn report(&self) -> Vec<snapshot::UpstreamSnapshot> {
        let report = |number: usize| {
            let (BackEnd { address, .. }, Health { duration, .. }) = &self.0[number];
            snapshot::UpstreamSnapshot {
                address: address.to_string(),
                up: self.is_alive(number),
                duration: duration.read(),
            }
        };
        (0..self.len()).map(report).collect()
    }

    /// Takes note of an answer that took so long.
    pub(super) fn answered(&self, number: usize, after: Duration) {
        let (back_end, Health { silent, duration }) = &self.0[number];
        duration.record(after, 1);
        // Mostly 0 already: nothing that other workers would have to fetch anew.
        if silent.load(Relaxed) > 0 && silent.swap(0, Relaxed) >= DEAD {
            tracing::info!("back end {} answers again", back_end.address);
        }
    }

    /// Takes note of an answer that did not come.
    pub(super) fn failed(&self, number: usize) {
        let (back_end, Health { silent, .. }) = &self.0[number];
        let before = silent.fetch_update(Relaxed, Relaxed, |before| Some(before.saturating_add(1)));
        if before == Ok(DEAD - 1) {
            tracing::warn!("back end {} does not answer", back_end.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_ends(weights: &[u32]) -> BackEnds {
        let address = "192.0.2.1:53".parse().unwrap();
        BackEnds::new(weights.iter().map(|&weight| BackEnd { address, weight, payload: 1232 }).collect())
    }

    fn shares(back_ends: &BackEnds, tried: Several) -> Vec<usize> {
        let mut random = Unpredictable::new().unwrap();
        let mut shares = vec![0; back_ends.len()];
        (0..1_000).for_each(|_| shares[back_ends.choose(&mut random, tried)] += 1);
        shares
    }

    #[test]
    fn each_gets_its_share() {
        let shares = shares(&back_ends(&[1, 3, 6]), Several::default());
        for (share, expected) in shares.into_iter().zip([100, 300, 600]) {
            assert!(share.abs_diff(expected) < 80, "{share} of 1000, {expected} expected");
        }
    }

    #[test]
    fn the_dead_are_not_asked_until_all_are() {
        let back_ends = back_ends(&[1, 1]);
        back_ends.failed(0);
        assert!(back_ends.is_alive(0), "one may get lost");
        back_ends.failed(0);
        assert_eq!(shares(&back_ends, Several::default())[0], 0);
        assert!(back_ends.any_alive());
        let mut tried = Several::default();
        tried.add(1);
        assert!(!back_ends.has_another(tried));
        assert_eq!(shares(&back_ends, tried)[1], 0, "rather a dead one than the same again");
        tried.add(0);
        assert_eq!(shares(&back_ends, tried).iter().filter(|&&share| share > 300).count(), 2);
        assert_eq!(back_ends.dead(&mut Unpredictable::new().unwrap()), Some(0));
        back_ends.failed(1);
        back_ends.failed(1);
        assert!(!back_ends.any_alive());
        back_ends.answered(0, Duration::ZERO);
        assert_eq!(shares(&back_ends, Several::default())[1], 0);
    }
}
