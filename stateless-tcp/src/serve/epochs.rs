//! The passing of time, for the XDP programs: they have no clock of their own that could be set.

use crate::serving::AnswerPolicy;
use stateless_tcp_core::tcp::epoch::Epochs;
use std::time::{Duration, SystemTime};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Time after which a clock that was set is noticed. Between two epochs there is no such gap: both are accepted for longer.
const TICK: Duration = Duration::from_millis(250);

/// Tells when the programs have to be told of other epochs.
#[derive(Debug)]
pub(super) struct EpochTicker {
    policy: AnswerPolicy,
    /// The epochs that the programs were told. None if nobody knows whether they have changed since.
    epochs: Option<Epochs>,
    ticks: Interval,
}

impl EpochTicker {
    pub(super) fn new(policy: &AnswerPolicy) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { policy: policy.clone(), epochs: None, ticks }
    }

    /// Returns when the epochs have changed; never if no program answers anything. Cancel safe.
    pub(super) async fn change(&mut self, answers: bool) {
        if !answers {
            return std::future::pending().await;
        }
        loop {
            self.ticks.tick().await;
            let epochs = Some(self.policy.epochs(SystemTime::now()));
            if epochs != self.epochs {
                self.epochs = epochs;
                return;
            }
        }
    }
}
