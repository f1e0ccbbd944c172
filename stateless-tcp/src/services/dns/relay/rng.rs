//! Unpredictable numbers: SipHash of a counter under a random key.

use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;
use std::io;

/// A generator of unpredictable numbers.
#[derive(Clone, Debug)]
pub(super) struct Rng {
    key: [u8; 16],
    drawn: u64,
}

impl Rng {
    /// A generator with a key of its own.
    pub(super) fn new() -> io::Result<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        Ok(Self { key, drawn: 0 })
    }

    /// The next 64 bits.
    pub(super) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.drawn);
        hasher.finish()
    }

    /// A number below `bound`, which is not 0; the bias is below 2^-32.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (((self.draw() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_bound_comes_and_no_other() {
        let mut rng = Rng::new().unwrap();
        let mut seen = [0_u32; 5];
        for _ in 0..1_000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
        assert_ne!(rng.draw(), rng.draw());
        assert_ne!(rng.draw(), Rng::new().unwrap().draw());
    }
}
