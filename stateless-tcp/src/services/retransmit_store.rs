//! Sent answers, kept for retransmission.
//!
//! An upstream's answer, or one with a TTL that counts down, differs when it is asked for again. A client that has a
//! part of it must get the same bytes nevertheless. So an answer of several segments is kept for as long as a client
//! may ask for the rest. An answer of one segment is kept for a while, so that a duplicate of its request gets the same
//! one.

mod answer_ring;

use self::answer_ring::AnswerRing;
use super::Origin;
use crate::observe::snapshot::Occupancy;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime};

/// The time in which a client may resend its request: its timer gets through several losses in a row.
const RETENTION: Duration = Duration::from_mins(1);

/// Bytes of memory per answer besides its own.
const OVERHEAD: usize = 128;

/// Sent answers by request. The size is bounded; each of the two kinds has half of it.
#[derive(Debug)]
pub struct RetransmitStore {
    hasher: RandomState,
    /// Each for [`RETENTION`], and then until its space is needed.
    multi_segment: PinnedAnswers,
    /// Each until its space is needed.
    single_segment: AnswerRing,
}

/// No space for an answer: clients may still ask for the older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFull;

#[derive(Debug)]
struct PinnedAnswers {
    answers: HashMap<u64, Box<[u8]>, RandomState>,
    /// Keys and times, oldest first.
    order: VecDeque<(u64, SystemTime)>,
    bytes: usize,
    capacity: usize,
}

impl RetransmitStore {
    /// A store of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let (multi_segment, single_segment) = (capacity / 2, capacity / 2);
        let multi_segment = PinnedAnswers {
            answers: HashMap::default(),
            order: VecDeque::new(),
            bytes: 0,
            capacity: multi_segment,
        };
        Self {
            hasher: RandomState::default(),
            multi_segment,
            single_segment: AnswerRing::new(single_segment),
        }
    }

    /// Usage by answers that must be kept. The other half is always full in the end.
    #[must_use]
    pub fn occupancy(&self, name: &'static str) -> Occupancy {
        Occupancy::bytes(name, self.multi_segment.bytes as u64, self.multi_segment.capacity as u64)
    }

    /// The answer that `message` of `origin` got.
    #[must_use]
    pub fn find(&self, origin: &Origin, message: &[u8]) -> Option<&[u8]> {
        let key = self.key(origin, message);
        self.single_segment.find(key).or_else(|| self.multi_segment.answers.get(&key).map(|answer| &**answer))
    }

    /// Keeps the answer of several segments to `message` of `origin`. It replaces expired answers.
    ///
    /// # Errors
    /// [`StoreFull`]: it must not be sent.
    pub fn keep(
        &mut self,
        now: SystemTime,
        origin: &Origin,
        message: &[u8],
        answer: &[u8],
    ) -> Result<(), StoreFull> {
        let key = self.key(origin, message);
        if self.multi_segment.answers.contains_key(&key) {
            return Ok(());
        }
        if !self.multi_segment.make_room(answer.len(), now) {
            return Err(StoreFull);
        }
        self.multi_segment.put(key, now, answer);
        Ok(())
    }

    /// Remembers the answer of one segment to `message` of `origin`. It replaces the oldest.
    pub fn remember(&mut self, origin: &Origin, message: &[u8], answer: &[u8]) {
        let key = self.key(origin, message);
        if self.single_segment.find(key).is_none() {
            self.single_segment.put(key, answer);
        }
    }

    fn key(&self, origin: &Origin, message: &[u8]) -> u64 {
        self.hasher.hash_one((origin, message))
    }
}

impl PinnedAnswers {
    /// Evicts expired answers, oldest first, until this many bytes fit. False if they do not.
    fn make_room(&mut self, bytes: usize, now: SystemTime) -> bool {
        let old = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= RETENTION);
        let needed = bytes + OVERHEAD;
        if needed > self.capacity {
            return false;
        }
        while self.bytes + needed > self.capacity {
            let Some(&(key, _)) = self.order.front().filter(|&&(_, since)| old(since)) else { return false };
            self.order.pop_front();
            if let Some(answer) = self.answers.remove(&key) {
                self.bytes -= answer.len() + OVERHEAD;
            }
        }
        true
    }

    fn put(&mut self, key: u64, now: SystemTime, answer: &[u8]) {
        self.bytes += answer.len() + OVERHEAD;
        self.order.push_back((key, now));
        self.answers.insert(key, answer.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Context;

    const EACH: usize = 1_000 + OVERHEAD;

    fn origin(seq: u32) -> Origin {
        Origin { seq, ..Context::default().origin }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn long_answers_are_kept_for_a_minute_whatever_comes() {
        let mut sent = RetransmitStore::new(2 * 3 * EACH);
        for seq in 0..3 {
            assert_eq!(sent.keep(at(10 + u64::from(seq)), &origin(seq), b"?", &[b'a'; 1_000]), Ok(()));
        }
        assert_eq!(sent.keep(at(69), &origin(3), b"?", b"no room"), Err(StoreFull));
        assert_eq!(sent.keep(at(70), &origin(3), b"?", &[b'b'; 1_000]), Ok(()));
        assert_eq!(sent.keep(at(70), &origin(4), b"?", b"no room"), Err(StoreFull));
        let found = |seq| sent.find(&origin(seq), b"?").map(|answer| answer[0]);
        assert_eq!([0, 1, 2, 3, 4].map(found), [None, Some(b'a'), Some(b'a'), Some(b'b'), None]);
        assert_eq!(sent.find(&origin(1), b"!"), None, "another message");
    }

    #[test]
    fn what_was_sent_first_stays() {
        let mut sent = RetransmitStore::new(8 * EACH);
        assert_eq!(sent.keep(at(0), &origin(1), b"?", b"first"), Ok(()));
        assert_eq!(sent.keep(at(1), &origin(1), b"?", b"second"), Ok(()));
        sent.remember(&origin(2), b"?", b"first");
        sent.remember(&origin(2), b"?", b"second");
        assert_eq!([1, 2].map(|seq| sent.find(&origin(seq), b"?")), [Some(&b"first"[..]); 2]);
    }

    #[test]
    fn short_answers_give_way() {
        let mut sent = RetransmitStore::new(2 * 2 * EACH);
        assert_eq!(sent.keep(at(0), &origin(9), b"?", &[b'l'; 1_000]), Ok(()));
        for seq in 0..3 {
            sent.remember(&origin(seq), b"?", &[b's'; 1_000]);
        }
        sent.remember(&origin(3), b"?", &[0; 10_000]);
        let found = [9, 0, 1, 2, 3].map(|seq| sent.find(&origin(seq), b"?").is_some());
        assert_eq!((found[0], found[1], found[3], found[4]), (true, false, true, false));
    }
}
