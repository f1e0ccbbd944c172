//! 64-bit fingerprints of content: equal content has equal fingerprints in every process on every server.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;
use std::hash::{Hash, Hasher as _};

/// Equal for content that gives the same answers. Other content has the same fingerprint by chance only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of one value.
    #[must_use]
    pub fn new(value: &impl Hash) -> Self {
        let mut fingerprinter = Fingerprinter::default();
        fingerprinter.add(value);
        fingerprinter.finish()
    }

    /// The fingerprint of a set, whose order does not matter.
    #[must_use]
    pub fn of_set(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(parts.into_iter().fold(0, |sum, Self(one)| sum.wrapping_add(one)))
    }

    /// The first of its eight bytes.
    #[must_use]
    pub const fn first_byte(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

/// Builds the fingerprint of a sequence, whose order matters.
#[derive(Debug, Default)]
pub struct Fingerprinter(SipHasher24);

impl Fingerprinter {
    /// Adds the next value.
    pub fn add(&mut self, value: &impl Hash) {
        value.hash(&mut self.0);
    }

    /// The fingerprint of all values so far.
    #[must_use]
    pub fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_matters_in_a_sequence_but_not_in_a_set() {
        let [one, two] = [1, 2].map(|number| Fingerprint::new(&number));
        assert_eq!(Fingerprint::of_set([one, two]), Fingerprint::of_set([two, one]));
        assert_ne!(Fingerprint::new(&(1, 2)), Fingerprint::new(&(2, 1)));
        assert_ne!(Fingerprint::of_set([one, one]), Fingerprint::of_set([two, two]));
    }
}
