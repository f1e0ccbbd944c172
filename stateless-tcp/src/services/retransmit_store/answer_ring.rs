//! Short answers, the newest in the place of the oldest: to remember one takes a copy of it, and no allocation.

/// Octets of answers for each place in the index: what a short one has.
const SHORT: usize = 128;

/// Answers one behind the other, and where each begins.
#[derive(Debug)]
pub(super) struct AnswerRing {
    bytes: Box<[u8]>,
    /// Octets written since the beginning, and skipped so that no answer goes over the end.
    written: u64,
    /// By the low bits of the key; a power of two.
    index: Box<[IndexEntry]>,
}

/// Where an answer is: its key, what was written before it, its length. Plain numbers, so that an index of zeroes takes no
/// memory until it is used.
type IndexEntry = (u64, u64, usize);

impl AnswerRing {
    /// Room for so many octets of answers.
    pub(super) fn new(capacity: usize) -> Self {
        let places = (capacity / SHORT).next_power_of_two();
        let index = vec![(0, 0, 0); places].into();
        // Memory that the system hands out when it is first written to.
        Self { bytes: vec![0; capacity].into(), written: 0, index }
    }

    /// The answer of this key, unless another has taken its place.
    pub(super) fn find(&self, key: u64) -> Option<&[u8]> {
        let (found, begin, length) = self.index[self.place(key)];
        let is_whole = begin + self.bytes.len() as u64 >= self.written;
        (found == key && length > 0 && is_whole).then(|| &self.bytes[self.offset(begin)..][..length])
    }

    /// Remembers an answer.
    pub(super) fn put(&mut self, key: u64, answer: &[u8]) {
        let (capacity, length) = (self.bytes.len(), answer.len());
        if length > capacity {
            return;
        }
        let left = capacity - self.offset(self.written);
        if left < length {
            self.written += left as u64;
        }
        let begin = self.written;
        let offset = self.offset(begin);
        self.bytes[offset..][..length].copy_from_slice(answer);
        self.written += length as u64;
        let place = self.place(key);
        self.index[place] = (key, begin, length);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn place(&self, key: u64) -> usize {
        key as usize & (self.index.len() - 1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than what there is")]
    fn offset(&self, written: u64) -> usize {
        (written % self.bytes.len().max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_ring_remembers_nothing() {
        let mut answer_ring = AnswerRing::new(0);
        answer_ring.put(1, b"x");
        assert_eq!(answer_ring.find(1), None);
        assert_eq!(AnswerRing::new(10).find(0), None);
    }

    proptest! {
        /// What is found is what was put last under that key; and the last put is found.
        #[test]
        fn what_is_found_is_what_was_put(
            capacity in 1_usize..600,
            answers in proptest::collection::vec((0_u64..12, 1_usize..200, any::<u8>()), 1..60),
        ) {
            let mut answer_ring = AnswerRing::new(capacity);
            let mut put = std::collections::HashMap::new();
            for (key, length, byte) in answers {
                let answer = vec![byte; length];
                answer_ring.put(key, &answer);
                if length <= capacity {
                    put.insert(key, answer);
                    prop_assert_eq!(answer_ring.find(key), put.get(&key).map(|answer| &answer[..]));
                }
                for key in 0..12 {
                    if let Some(found) = answer_ring.find(key) {
                        prop_assert_eq!(Some(found), put.get(&key).map(|answer| &answer[..]));
                    }
                }
            }
        }
    }
}
