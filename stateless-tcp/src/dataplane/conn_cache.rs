//! The connection cache of one worker: a [`ConnCache`] of fixed size.
//!
//! Memory does not grow: both tables have one place for a connection, and the newcomer takes it. An entry is sealed by a
//! hash that takes in the connection's secret, so that whatever else stands in the place is no entry.

use crate::observe::snapshot::Occupancy;
use foldhash::fast::RandomState;
use stateless_tcp_core::tcp::conn_cache::{BufferedRange, ConnCache, MAX_BUFFERED};
use stateless_tcp_core::tcp::conn_entry::{ConnEntry, SeqPair};
use stateless_tcp_core::tcp::retry::{RateGate, RetryDetector};
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

/// Entries for each place of buffered bytes.
const ENTRIES_PER_BUFFER: usize = 16;

#[derive(Clone, Copy, Default)]
struct SealedEntry {
    seal: u64,
    entry: ConnEntry,
}

#[derive(Clone, Default)]
struct ReassemblyBuffer {
    seal: u64,
    range: BufferedRange,
    bytes: Vec<u8>,
}

impl ReassemblyBuffer {
    /// Our sequence number before the buffered bytes' answers, and the client's before the bytes.
    fn start(&self) -> SeqPair {
        start(self.range, self.bytes.len())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most MAX_BUFFERED")]
fn start(range: BufferedRange, length: usize) -> SeqPair {
    SeqPair { rcv_nxt: range.end.wrapping_sub(length as u32), snd_nxt: range.snd_nxt }
}

/// The memory of one worker.
pub struct ConnTable {
    entries: Box<[SealedEntry]>,
    /// Entries in use: none is ever given up.
    used: usize,
    buffers: Box<[ReassemblyBuffer]>,
    random: RandomState,
    retries: RetryDetector,
    unproven: RateGate,
}

impl ConnTable {
    /// Room for `entries` connections, 64 bytes each, and for the incomplete messages of a sixteenth of them; 0 remembers
    /// nothing.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self {
            entries: vec![SealedEntry::default(); entries].into(),
            used: 0,
            buffers: vec![ReassemblyBuffer::default(); entries.div_ceil(ENTRIES_PER_BUFFER)].into(),
            random: RandomState::default(),
            retries: RetryDetector::default(),
            unproven: RateGate::default(),
        }
    }

    /// Entries in use.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy::entries("hints", self.used, self.entries.len())
    }

    #[inline]
    fn seal(&self, connection: u64, content: impl Hash) -> u64 {
        self.random.hash_one((connection, content))
    }

    fn buffer_of(&self, connection: u64) -> Option<&ReassemblyBuffer> {
        self.buffers.get(index(connection, self.buffers.len())?)
    }

    /// Writes `noise` over everything: for tests that nothing is believed without proof.
    pub fn poison(&mut self, mut noise: impl FnMut() -> u32) {
        for sealed in &mut self.entries {
            sealed.entry.poison(&mut noise);
        }
        for buffer in &mut self.buffers {
            let at = noise() as usize % (buffer.bytes.len() + 1);
            if let Some(byte) = buffer.bytes.get_mut(at) {
                *byte ^= 1 << (noise() % 8);
            }
        }
    }
}

impl ConnCache for ConnTable {
    #[inline]
    fn entry(&self, connection: u64) -> Option<&ConnEntry> {
        let sealed = &self.entries[index(connection, self.entries.len())?];
        (sealed.seal == self.seal(connection, sealed.entry)).then_some(&sealed.entry)
    }

    #[inline]
    fn store(&mut self, connection: u64, entry: ConnEntry) {
        if let Some(index) = index(connection, self.entries.len()) {
            let seal = self.seal(connection, entry);
            let place = &mut self.entries[index];
            self.used += usize::from(place.seal == 0);
            *place = SealedEntry { seal, entry };
        }
    }

    fn can_buffer(&self, length: usize) -> bool {
        !self.buffers.is_empty() && length <= MAX_BUFFERED
    }

    fn buffer(&mut self, connection: u64, bytes: &[u8], range: BufferedRange) -> bool {
        let Some(index) = index(connection, self.buffers.len()) else { return false };
        if bytes.len() > MAX_BUFFERED {
            return false;
        }
        let seal = self.seal(connection, (bytes, range));
        let buffer = &mut self.buffers[index];
        if buffer.start() == start(range, bytes.len()) && buffer.bytes.starts_with(bytes) {
            // A copy of bytes that were buffered before.
            return true;
        }
        buffer.bytes.clear();
        buffer.bytes.extend_from_slice(bytes);
        (buffer.seal, buffer.range) = (seal, range);
        true
    }

    fn buffered_until(&self, connection: u64, end: u32) -> Option<(&[u8], BufferedRange)> {
        let ReassemblyBuffer { seal, range, ref bytes } = *self.buffer_of(connection)?;
        let whole = range.end == end && seal == self.seal(connection, (bytes.as_slice(), range));
        (!bytes.is_empty() && whole).then_some((bytes.as_slice(), range))
    }

    fn buffered_from(&self, connection: u64, pair: SeqPair) -> Option<&[u8]> {
        let buffer = self.buffer_of(connection).filter(|buffer| buffer.start() == pair)?;
        self.buffered_until(connection, buffer.range.end).map(|(bytes, _)| bytes)
    }

    fn buffered_before(&self, connection: u64, seq: u32) -> Option<&[u8]> {
        let end = self.buffer_of(connection)?.range.end;
        let (bytes, _) = self.buffered_until(connection, end)?;
        let beyond = end.wrapping_sub(seq) as usize;
        bytes.len().checked_sub(beyond).map(|length| &bytes[..length])
    }

    fn drop_buffered(&mut self, connection: u64) {
        if let Some(index) = index(connection, self.buffers.len()) {
            self.buffers[index].bytes.clear();
        }
    }

    fn is_retry_loop(&mut self, fingerprint: u64, patience: u8, now: Duration) -> bool {
        self.retries.is_retry_loop(fingerprint, patience, now)
    }

    fn allow_unproven(&mut self, now: Duration) -> bool {
        self.unproven.allows(now)
    }
}

/// A connection's place among `length`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the remainder fits")]
fn index(connection: u64, length: usize) -> Option<usize> {
    (length > 0).then(|| (connection % length as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateless_tcp_core::tcp::conn_entry::SentCookie;
    use stateless_tcp_core::tcp::ts_cookie::TsState;

    fn pair(rcv_nxt: u32, snd_nxt: u32) -> SeqPair {
        SeqPair { rcv_nxt, snd_nxt }
    }

    fn part(end: u32) -> BufferedRange {
        BufferedRange { end, snd_nxt: 5, part: true }
    }

    #[test]
    fn pairs_are_found_by_position_and_by_bytes_received() {
        let mut cache = ConnTable::new(64);
        for count in 0..40 {
            cache.learn(7, pair(1_000 + 100 * count, 5_000 + 400 * count), None);
        }
        assert!(cache.entry(8).is_none(), "another connection");
        let known = *cache.entry(7).expect("learned");
        assert_eq!(known.at(4_900), Some(pair(4_900, 20_600)), "the last");
        assert_eq!(known.at(4_950), None, "never learned");
        assert_eq!(known.received(20_600), Some(pair(4_900, 20_600)));
        assert!(known.received(20_599).is_some_and(|pair| (3_000..4_900).contains(&pair.rcv_nxt)));
        // All together they span a window.
        assert!(known.received(20_600 - 4 * 2_700).is_some());
        cache.learn(7, pair(2_800, 99), Some(TsState::AckPending));
        let known = *cache.entry(7).expect("learned");
        assert_eq!(known.received(20_600), Some(pair(4_900, 20_600)), "an old one changes nothing");
        assert_eq!(known.sent(), Some(SentCookie { pair: pair(2_800, 99), state: TsState::AckPending }));
        cache.prove(7, pair(4_900, 20_600));
        let known = *cache.entry(7).expect("learned");
        let last = pair(4_900, 20_600);
        assert_eq!(known.proven(), Some(last));
        assert_eq!(known.sent(), Some(SentCookie { pair: last, state: TsState::Acked }));
        cache.prove(9, pair(4_900, 20_600));
        assert!(cache.entry(9).is_none(), "nobody asks");
        cache.learn(7, pair(1 << 31, 5), None);
        assert_eq!(cache.entry(7).expect("learned").at(4_900), None, "another connection from the same port");
    }

    #[test]
    fn no_place_means_no_memory() {
        let mut cache = ConnTable::new(0);
        cache.learn(7, pair(1, 2), None);
        assert!(cache.entry(7).is_none());
        assert!(!cache.buffer(7, b"GET", part(1)));
        assert_eq!(cache.buffered_until(7, 1), None);
    }

    #[test]
    fn beginnings_are_kept_until_another_takes_the_place() {
        let mut cache = ConnTable::new(16);
        assert!(cache.buffer(7, b"GET", part(100)));
        assert_eq!(cache.buffered_until(7, 100), Some((&b"GET"[..], part(100))));
        assert_eq!(cache.buffered_until(7, 101), None);
        let before = [96, 97, 98, 100, 101].map(|position| cache.buffered_before(7, position));
        assert_eq!(before, [None, Some(&b""[..]), Some(b"G"), Some(b"GET"), None]);
        assert_eq!(cache.buffered_until(8, 100), None);
        assert_eq!(cache.buffered_from(7, pair(97, 5)), Some(&b"GET"[..]));
        assert_eq!(cache.buffered_from(7, pair(97, 6)), None);
        assert_eq!(cache.buffered_from(7, pair(98, 5)), None);
        assert!(!cache.buffer(7, &[0; MAX_BUFFERED + 1], part(100)));
        assert!(cache.buffer(9, b"HEAD", part(1)), "one place for all");
        assert_eq!(cache.buffered_until(7, 100), None);
    }

    #[test]
    fn whatever_is_changed_is_forgotten() {
        let mut cache = ConnTable::new(16);
        let mut seed = 1u32;
        for secret in 0..16 {
            cache.learn(secret, pair(1_000, 2_000), None);
        }
        assert!(cache.buffer(3, b"GET", part(100)));
        cache.poison(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        });
        assert!((0..16).all(|secret| cache.entry(secret).is_none()));
    }
}
