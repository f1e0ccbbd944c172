//! Answers that were sent, to be sent again.
//!
//! An answer that somebody else gave, or that counts a time down, is another when it is asked for again. A client that has a
//! part of it has to get the same octets nevertheless. So what is sent in several segments is kept for as long as a client
//! may ask for the rest; what goes out in one segment for a while, so that a copy of its request on the way gets the same.

mod ring;

use self::ring::Ring;
use super::Origin;
use crate::observe::snapshot::Occupancy;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime};

/// How long a client may resend its request: longer than its timer takes through several losses in a row.
const KEEP: Duration = Duration::from_mins(1);

/// Octets that an answer takes besides its own.
const OVERHEAD: usize = 128;

/// Answers by the requests that they went to. Of bounded size: of the two kinds each has half of it.
#[derive(Debug)]
pub struct Sent {
    hasher: RandomState,
    /// Each for [`KEEP`], and then until its place is needed.
    several: Shelf,
    /// Each until its place is needed.
    single: Ring,
}

/// There is no room for an answer as long as those before it may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

#[derive(Debug)]
struct Shelf {
    answers: HashMap<u64, Box<[u8]>, RandomState>,
    /// In the order in which they came, and when.
    order: VecDeque<(u64, SystemTime)>,
    octets: usize,
    capacity: usize,
}

impl Sent {
    /// A store of `capacity` octets.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let (several, single) = (capacity / 2, capacity / 2);
        let several =
            Shelf { answers: HashMap::default(), order: VecDeque::new(), octets: 0, capacity: several };
        Self { hasher: RandomState::default(), several, single: Ring::new(single) }
    }

    /// How full it is by answers that may not be thrown out: the others' half always is, in the end.
    #[must_use]
    pub fn occupancy(&self, name: &'static str) -> Occupancy {
        Occupancy::bytes(name, self.several.octets as u64, self.several.capacity as u64)
    }

    /// What `message` of `origin` was answered.
    #[must_use]
    pub fn find(&self, origin: &Origin, message: &[u8]) -> Option<&[u8]> {
        let key = self.key(origin, message);
        self.single.find(key).or_else(|| self.several.answers.get(&key).map(|answer| &**answer))
    }

    /// Keeps what `message` of `origin` is answered in several segments, in the place of answers that nobody can ask for
    /// any more.
    ///
    /// # Errors
    /// [`NoRoom`]: it must not be sent.
    pub fn keep(
        &mut self,
        now: SystemTime,
        origin: &Origin,
        message: &[u8],
        answer: &[u8],
    ) -> Result<(), NoRoom> {
        let key = self.key(origin, message);
        if self.several.answers.contains_key(&key) {
            return Ok(());
        }
        if !self.several.make_room(answer.len(), now) {
            return Err(NoRoom);
        }
        self.several.put(key, now, answer);
        Ok(())
    }

    /// Remembers what `message` of `origin` is answered in one segment, in the place of the oldest.
    pub fn remember(&mut self, origin: &Origin, message: &[u8], answer: &[u8]) {
        let key = self.key(origin, message);
        if self.single.find(key).is_none() {
            self.single.put(key, answer);
        }
    }

    fn key(&self, origin: &Origin, message: &[u8]) -> u64 {
        self.hasher.hash_one((origin, message))
    }
}

impl Shelf {
    /// Throws out the oldest answers, as far as nobody can ask for them any more, until so many octets find room. False if
    /// they do not.
    fn make_room(&mut self, octets: usize, now: SystemTime) -> bool {
        let old = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= KEEP);
        let needed = octets + OVERHEAD;
        if needed > self.capacity {
            return false;
        }
        while self.octets + needed > self.capacity {
            let Some(&(key, _)) = self.order.front().filter(|&&(_, since)| old(since)) else { return false };
            self.order.pop_front();
            if let Some(answer) = self.answers.remove(&key) {
                self.octets -= answer.len() + OVERHEAD;
            }
        }
        true
    }

    fn put(&mut self, key: u64, now: SystemTime, answer: &[u8]) {
        self.octets += answer.len() + OVERHEAD;
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
        let mut sent = Sent::new(2 * 3 * EACH);
        for seq in 0..3 {
            assert_eq!(sent.keep(at(10 + u64::from(seq)), &origin(seq), b"?", &[b'a'; 1_000]), Ok(()));
        }
        assert_eq!(sent.keep(at(69), &origin(3), b"?", b"no room"), Err(NoRoom));
        assert_eq!(sent.keep(at(70), &origin(3), b"?", &[b'b'; 1_000]), Ok(()));
        assert_eq!(sent.keep(at(70), &origin(4), b"?", b"no room"), Err(NoRoom));
        let found = |seq| sent.find(&origin(seq), b"?").map(|answer| answer[0]);
        assert_eq!([0, 1, 2, 3, 4].map(found), [None, Some(b'a'), Some(b'a'), Some(b'b'), None]);
        assert_eq!(sent.find(&origin(1), b"!"), None, "another message");
    }

    #[test]
    fn what_was_sent_first_stays() {
        let mut sent = Sent::new(8 * EACH);
        assert_eq!(sent.keep(at(0), &origin(1), b"?", b"first"), Ok(()));
        assert_eq!(sent.keep(at(1), &origin(1), b"?", b"second"), Ok(()));
        sent.remember(&origin(2), b"?", b"first");
        sent.remember(&origin(2), b"?", b"second");
        assert_eq!([1, 2].map(|seq| sent.find(&origin(seq), b"?")), [Some(&b"first"[..]); 2]);
    }

    #[test]
    fn short_answers_give_way() {
        let mut sent = Sent::new(2 * 2 * EACH);
        assert_eq!(sent.keep(at(0), &origin(9), b"?", &[b'l'; 1_000]), Ok(()));
        for seq in 0..3 {
            sent.remember(&origin(seq), b"?", &[b's'; 1_000]);
        }
        sent.remember(&origin(3), b"?", &[0; 10_000]);
        let found = [9, 0, 1, 2, 3].map(|seq| sent.find(&origin(seq), b"?").is_some());
        assert_eq!((found[0], found[1], found[3], found[4]), (true, false, true, false));
    }
}
