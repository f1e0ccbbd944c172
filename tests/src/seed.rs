//! Repeatable runs: one seed, one size, both from the environment.

use std::{
    io::Write as _,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// The seed of this run: `STATELESS_TCP_SEED` (decimal), or another one in each run. It is printed once, past what a test
/// that passes is kept from printing, so that a run can be repeated.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = match std::env::var("STATELESS_TCP_SEED") {
            Ok(text) => {
                text.parse().unwrap_or_else(|_| panic!("STATELESS_TCP_SEED is not a number: {text:?}"))
            }
            Err(_) => fresh(),
        };
        // Without standard error nobody would read it.
        let _ = writeln!(std::io::stderr(), "STATELESS_TCP_SEED={seed}");
        seed
    })
}

/// From the clock, mixed, so that runs that begin one after another have no schedules in common.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    Random::from_seed(since.as_secs() << 30 ^ u64::from(since.subsec_nanos())).draw()
}

/// `sample`, or `full` if `STATELESS_TCP_FULL=1` asks for the whole size.
pub fn size(sample: usize, full: usize) -> usize {
    if std::env::var("STATELESS_TCP_FULL").is_ok_and(|value| value == "1") { full } else { sample }
}

/// `SplitMix64`: all the randomness that frames need, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for each `purpose`, so that one test's draws never shift another's.
    pub fn new(purpose: &str) -> Self {
        Self(purpose.bytes().fold(seed(), |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
        }))
    }

    /// The stream that one number gives.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 fresh bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("usize fits 64 bits");
        usize::try_from(self.draw() % bound).expect("below a usize")
    }

    /// True once in `n` draws.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// 8 fresh bits.
    pub fn byte(&mut self) -> u8 {
        self.draw().to_le_bytes()[0]
    }

    /// 16 fresh bits.
    pub fn short(&mut self) -> u16 {
        let [a, b, ..] = self.draw().to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// 32 fresh bits.
    pub fn word(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.draw().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}
