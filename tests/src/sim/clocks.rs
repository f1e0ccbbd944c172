//! The servers' clocks, by which proofs expire: they differ, and may be set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stateless_tcp_core::tcp::epoch::CONNECTION_LIFETIME;

use super::packet::Micros;
use crate::seed::Random;

/// What the servers' clocks say.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// Most time that a connection with timestamps lives.
    pub lifetime: Duration,
    /// The first clock at the beginning of a run.
    beginning: Duration,
    /// How far each clock is ahead of the first.
    ahead: Vec<Duration>,
    /// When all clocks are set, and by how many seconds.
    step: Option<(Micros, i64)>,
}

/// Shortest time that a proof without timestamps is good for, on clocks that differ as much as they may.
const SINGLE_REQUEST: Micros = 90_000_000;

impl Clocks {
    /// Clocks that agree, and leave every connection its time.
    pub fn agreeing() -> Self {
        let beginning = Duration::from_hours(1);
        Self { lifetime: CONNECTION_LIFETIME, beginning, ahead: vec![Duration::ZERO; 3], step: None }
    }

    /// Most draws leave every connection its time; in the others connections are short, or clocks are set. A relay's is not:
    /// it would wait for hours.
    pub fn draw(random: &mut Random, relayed: bool) -> Self {
        let mut up_to = |bound: u64| Duration::from_millis(u64::from(random.word()) % bound);
        let beginning = Duration::from_hours(10_000) + up_to(7_200_000);
        let mut ahead = vec![Duration::ZERO, up_to(14_000), up_to(14_000)];
        let mut lifetime = CONNECTION_LIFETIME;
        if random.one_in(5) {
            lifetime = Duration::from_secs(random.pick(&[32, 32, 60]));
            ahead = vec![Duration::ZERO, Duration::from_millis(900), Duration::from_millis(400)];
        }
        let step = (!relayed && random.one_in(8)).then(|| {
            let at = u64::from(random.word()) % random.pick(&[10_000, 1_000_000, 20_000_000]);
            (at, random.pick(&[-100_000, -7_200, -3_600, -100, 30, 100, 1_800, 3_600, 20_000, 90_000]))
        });
        Self { lifetime, beginning, ahead, step }
    }

    /// Whether no connection comes to its end before it is half an hour old.
    pub fn are_steady(&self) -> bool {
        self.lifetime == CONNECTION_LIFETIME && self.step.is_none()
    }

    /// The clock of server `which` at `now`.
    pub fn at(&self, which: usize, now: Micros) -> SystemTime {
        let time = self.beginning + self.ahead[which] + Duration::from_micros(now);
        let set = self.step.filter(|&(at, _)| now >= at).map_or(0, |(_, seconds)| seconds);
        UNIX_EPOCH
            + Duration::from_secs(time.as_secs().strict_add_signed(set))
            + Duration::from_nanos(time.subsec_nanos().into())
    }

    /// Whether the proof of a connection that was opened at `opened` may be none at `now`.
    pub fn may_have_expired(&self, opened: Micros, now: Micros, timestamps: bool) -> bool {
        let slot = Micros::try_from(self.lifetime.as_micros() / 2).expect("64 bits");
        let life = if timestamps { slot / 4 * 3 } else { SINGLE_REQUEST };
        now - opened >= life || self.step.is_some_and(|(at, _)| now >= at)
    }
}
