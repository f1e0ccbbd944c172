//! A ring of short answers: the newest replaces the oldest, with a copy and no allocation.

/// Bytes of answers per index entry: the size of a short answer.
const SHORT: usize = 128;

/// Answers back to back, and an index of their positions.
#[derive(Debug)]
pub(super) struct AnswerRing {
    bytes: Box<[u8]>,
    /// Bytes written so far, including those skipped so that no answer wraps around.
    written: u64,
    /// By the low bits of the key; its length is a power of two.
    index: Box<[IndexEntry]>,
}

/// Key, position (bytes written before it) and length of an answer. Plain numbers, so an index of zeroes takes no
/// memory until it is used.
type IndexEntry = (u64, u64, usize);

impl AnswerRing {
    /// A ring for this many bytes of answers.
    pub(super) fn new(capacity: usize) -> Self {
        let places = (capacity / SHORT).next_power_of_two();
        let index = vec![(0, 0, 0); places].into();
        // The system allocates this memory at the first write.
        Self { bytes: vec![0; capacity].into(), written: 0, index }
    }

    /// The answer with this key, unless another has overwritten it.
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
        /// A found answer is the last one with that key, and the newest answer is always found.
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
