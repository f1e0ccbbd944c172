//! Whether two contents are the same, told by 64 bits: on any server, in any process.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;
use std::hash::{Hash, Hasher as _};

/// What contents that give the same answers have in common. With others it is the same by chance only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of one thing.
    #[must_use]
    pub fn of(thing: &impl Hash) -> Self {
        let mut fingerprinter = Fingerprinter::default();
        fingerprinter.add(thing);
        fingerprinter.finish()
    }

    /// Of these things, in whatever order.
    #[must_use]
    pub fn of_all(things: impl IntoIterator<Item = Self>) -> Self {
        Self(things.into_iter().fold(0, |sum, Self(one)| sum.wrapping_add(one)))
    }

    /// Eight of its bits.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

/// Takes the fingerprint of things that come one by one; their order counts.
#[derive(Debug, Default)]
pub struct Fingerprinter(SipHasher24);

impl Fingerprinter {
    /// Takes in the next.
    pub fn add(&mut self, thing: &impl Hash) {
        thing.hash(&mut self.0);
    }

    /// Of all so far.
    #[must_use]
    pub fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_counts_in_a_thing_and_not_among_things() {
        let [one, two] = [1, 2].map(|number| Fingerprint::of(&number));
        assert_eq!(Fingerprint::of_all([one, two]), Fingerprint::of_all([two, one]));
        assert_ne!(Fingerprint::of(&(1, 2)), Fingerprint::of(&(2, 1)));
        assert_ne!(Fingerprint::of_all([one, one]), Fingerprint::of_all([two, two]));
    }
}
