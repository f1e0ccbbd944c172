//! What is remembered of connections so that they go faster: never needed, and never believed without proof.
//!
//! A client that sends several requests at once echoes an old promise in all but the first. Where the answers to those
//! before end cannot be read from its segments; whoever answered them can remember it. Such a fact never becomes wrong:
//! answers are a pure function of the messages, so "what came before this octet of the client's is answered by what ends
//! at that octet of ours" holds for the whole connection. A fact that is lost (crowded out, or known to another server
//! only) costs a retransmission timeout.
//!
//! Memory does not grow: both tables are of fixed size, one place a connection, the newcomer taking it. An entry is
//! sealed by a hash that takes in the connection's secret, so that whatever else stands in the place is no entry.

mod entry;

pub use entry::{ConnEntry, Promised, SeqPair};

use crate::observe::snapshot::Occupancy;
use foldhash::fast::RandomState;
use stateless_tcp_core::tcp::ts_cookie::TsState;
use std::hash::BuildHasher;

/// Most octets of an incomplete message: an HTTP head (RFC 9112 section 3 recommends 8,000 for its first line).
pub const MAX_KEPT: usize = 8_192;

/// As many connections to one that may have an incomplete message kept.
const PLACES_A_KEPT: usize = 16;

#[derive(Clone, Copy, Default)]
struct Place {
    seal: u64,
    known: ConnEntry,
}

/// What is known of octets that are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BufferedRange {
    /// The client's sequence number behind them.
    pub position: u32,
    /// Our sequence number behind the answers to what came before them.
    pub boundary: u32,
    /// They are the beginning of one message, and no more.
    pub part: bool,
}

#[derive(Clone, Default)]
struct ReassemblyBuffer {
    seal: u64,
    what: BufferedRange,
    octets: Vec<u8>,
}

/// The memory of one worker.
pub struct ConnCache {
    places: Box<[Place]>,
    /// Places in use: none is ever given up.
    used: usize,
    kept: Box<[ReassemblyBuffer]>,
    random: RandomState,
}

impl ConnCache {
    /// Room for `places` connections, 64 octets each, and for the incomplete messages of a sixteenth of them; 0 remembers
    /// nothing.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let kept = places.div_ceil(PLACES_A_KEPT);
        Self {
            places: vec![Place::default(); places].into(),
            used: 0,
            kept: vec![ReassemblyBuffer::default(); kept].into(),
            random: RandomState::default(),
        }
    }

    /// What is known of the connection with `secret`.
    #[inline]
    #[must_use]
    pub fn known(&self, secret: u64) -> Option<&ConnEntry> {
        let place = &self.places[index(secret, self.places.len())?];
        (place.seal == self.seal(secret, place.known)).then_some(&place.known)
    }

    /// Remembers `fact`, and how it was promised, if it was.
    #[inline]
    pub fn learn(&mut self, secret: u64, fact: SeqPair, promised: Option<TsState>) {
        let known = self.known(secret).copied().filter(|known| known.is_near(fact));
        let mut known = known.unwrap_or_else(|| ConnEntry::new(fact));
        if let Some(state) = promised {
            known.promise(Promised { fact, state });
        }
        known.add(fact);
        self.put(secret, known);
    }

    /// Remembers that the client is known to have received all of `fact`, and was told so in a promise; if anything is
    /// known about it.
    #[inline]
    pub fn prove(&mut self, secret: u64, fact: SeqPair) {
        let Some(&known) = self.known(secret) else { return };
        if known.is_near(fact) && known.proven().is_none_or(|proven| fact.is_after(proven)) {
            self.put(secret, known.proving(fact));
        }
    }

    /// Remembers that `fact` was promised, which lies inside a message; if anything is known about the connection.
    pub fn promise_part(&mut self, secret: u64, fact: SeqPair) {
        let Some(mut known) = self.known(secret).copied().filter(|known| known.is_near(fact)) else { return };
        known.promise(Promised { fact, state: TsState::MidMessage });
        self.put(secret, known);
    }

    /// How many of its places are in use.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy::entries("hints", self.used, self.places.len())
    }

    #[inline]
    fn put(&mut self, secret: u64, known: ConnEntry) {
        if let Some(index) = index(secret, self.places.len()) {
            let seal = self.seal(secret, known);
            let place = &mut self.places[index];
            self.used += usize::from(place.seal == 0);
            *place = Place { seal, known };
        }
    }

    #[inline]
    fn seal(&self, secret: u64, what: impl std::hash::Hash) -> u64 {
        self.random.hash_one((secret, what))
    }

    /// Keeps `octets` of the client's stream, which end at `position` and begin with a message, where what came before
    /// them is answered by what ends at `boundary`. False if there is no room.
    pub fn keep(&mut self, secret: u64, octets: &[u8], kept: BufferedRange) -> bool {
        let Some(index) = index(secret, self.kept.len()) else { return false };
        if octets.len() > MAX_KEPT {
            return false;
        }
        let seal = self.seal(secret, (octets, kept));
        let place = &mut self.kept[index];
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_KEPT")]
        let from =
            |what: BufferedRange, length: usize| (what.position.wrapping_sub(length as u32), what.boundary);
        if from(place.what, place.octets.len()) == from(kept, octets.len())
            && place.octets.starts_with(octets)
        {
            // A copy of what was kept before.
            return true;
        }
        place.octets.clear();
        place.octets.extend_from_slice(octets);
        (place.seal, place.what) = (seal, kept);
        true
    }

    /// Whether so many octets can be kept.
    #[must_use]
    pub fn can_keep(&self, octets: usize) -> bool {
        !self.kept.is_empty() && octets <= MAX_KEPT
    }

    /// The octets that are kept from `start` on.
    #[must_use]
    pub fn kept_from(&self, secret: u64, start: SeqPair) -> Option<&[u8]> {
        let ReassemblyBuffer { what: BufferedRange { position, boundary, .. }, ref octets, .. } =
            self.kept[index(secret, self.kept.len())?];
        let length = u32::try_from(octets.len()).ok()?;
        let fits = position.wrapping_sub(length) == start.position && boundary == start.boundary;
        self.kept(secret, position).filter(|_| fits).map(|(octets, _)| octets)
    }

    /// Keeps nothing of the connection with `secret` any more.
    pub fn forget(&mut self, secret: u64) {
        if let Some(index) = index(secret, self.kept.len()) {
            self.kept[index].octets.clear();
        }
    }

    /// The octets that are kept before `position`, and what is known of them.
    #[must_use]
    pub fn kept(&self, secret: u64, position: u32) -> Option<(&[u8], BufferedRange)> {
        let ReassemblyBuffer { seal, what: kept, ref octets } = self.kept[index(secret, self.kept.len())?];
        let whole = kept.position == position && seal == self.seal(secret, (octets.as_slice(), kept));
        (!octets.is_empty() && whole).then_some((octets.as_slice(), kept))
    }

    /// Of the octets that are kept, those before `position`, which lies inside or right behind them.
    #[must_use]
    pub fn before(&self, secret: u64, position: u32) -> Option<&[u8]> {
        let end = self.kept[index(secret, self.kept.len())?].what.position;
        let (octets, _) = self.kept(secret, end)?;
        let beyond = end.wrapping_sub(position) as usize;
        octets.len().checked_sub(beyond).map(|length| &octets[..length])
    }

    /// Writes `noise` over everything: for tests that nothing is believed without proof.
    pub fn poison(&mut self, mut noise: impl FnMut() -> u32) {
        for place in &mut self.places {
            place.known.poison(&mut noise);
        }
        for kept in &mut self.kept {
            let at = noise() as usize % (kept.octets.len() + 1);
            if let Some(octet) = kept.octets.get_mut(at) {
                *octet ^= 1 << (noise() % 8);
            }
        }
    }
}

/// A connection's place among `length`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the remainder fits")]
fn index(secret: u64, length: usize) -> Option<usize> {
    (length > 0).then(|| (secret % length as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(position: u32, boundary: u32) -> SeqPair {
        SeqPair { position, boundary }
    }

    fn part(position: u32) -> BufferedRange {
        BufferedRange { position, boundary: 5, part: true }
    }

    #[test]
    fn facts_are_found_by_position_and_by_what_is_received() {
        let mut hints = ConnCache::new(64);
        for count in 0..40 {
            hints.learn(7, fact(1_000 + 100 * count, 5_000 + 400 * count), None);
        }
        assert!(hints.known(8).is_none(), "another connection");
        let known = *hints.known(7).expect("learned");
        assert_eq!(known.at(4_900), Some(fact(4_900, 20_600)), "the last");
        assert_eq!(known.at(4_950), None, "never learned");
        assert_eq!(known.received(20_600), Some(fact(4_900, 20_600)));
        assert!(known.received(20_599).is_some_and(|fact| (3_000..4_900).contains(&fact.position)));
        // All together they span a window.
        assert!(known.received(20_600 - 4 * 2_700).is_some());
        hints.learn(7, fact(2_800, 99), Some(TsState::AckPending));
        let known = *hints.known(7).expect("learned");
        assert_eq!(known.received(20_600), Some(fact(4_900, 20_600)), "an old one changes nothing");
        assert_eq!(known.promised(), Some(Promised { fact: fact(2_800, 99), state: TsState::AckPending }));
        hints.prove(7, fact(4_900, 20_600));
        let known = *hints.known(7).expect("learned");
        let last = fact(4_900, 20_600);
        assert_eq!(known.proven(), Some(last));
        assert_eq!(known.promised(), Some(Promised { fact: last, state: TsState::Acked }));
        hints.prove(9, fact(4_900, 20_600));
        assert!(hints.known(9).is_none(), "nobody asks");
        hints.learn(7, fact(1 << 31, 5), None);
        assert_eq!(hints.known(7).expect("learned").at(4_900), None, "another connection from the same port");
    }

    #[test]
    fn no_place_means_no_memory() {
        let mut hints = ConnCache::new(0);
        hints.learn(7, fact(1, 2), None);
        assert!(hints.known(7).is_none());
        assert!(!hints.keep(7, b"GET", part(1)));
        assert_eq!(hints.kept(7, 1), None);
    }

    #[test]
    fn beginnings_are_kept_until_another_takes_the_place() {
        let mut hints = ConnCache::new(16);
        assert!(hints.keep(7, b"GET", part(100)));
        assert_eq!(hints.kept(7, 100), Some((&b"GET"[..], part(100))));
        assert_eq!(hints.kept(7, 101), None);
        let before = [96, 97, 98, 100, 101].map(|position| hints.before(7, position));
        assert_eq!(before, [None, Some(&b""[..]), Some(b"G"), Some(b"GET"), None]);
        assert_eq!(hints.kept(8, 100), None);
        assert_eq!(hints.kept_from(7, fact(97, 5)), Some(&b"GET"[..]));
        assert_eq!(hints.kept_from(7, fact(97, 6)), None);
        assert_eq!(hints.kept_from(7, fact(98, 5)), None);
        assert!(!hints.keep(7, &[0; MAX_KEPT + 1], part(100)));
        assert!(hints.keep(9, b"HEAD", part(1)), "one place for all");
        assert_eq!(hints.kept(7, 100), None);
    }

    #[test]
    fn whatever_is_changed_is_forgotten() {
        let mut hints = ConnCache::new(16);
        let mut seed = 1u32;
        for secret in 0..16 {
            hints.learn(secret, fact(1_000, 2_000), None);
        }
        assert!(hints.keep(3, b"GET", part(100)));
        hints.poison(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        });
        assert!((0..16).all(|secret| hints.known(secret).is_none()));
    }
}
