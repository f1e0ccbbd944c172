//! A client's timers and their actions.

use super::SimClient;
use crate::sim::packet::{Micros, SimSegment};

/// A client's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Sends what it held back for the device.
    Push,
    /// Sends the acknowledgment that it delayed.
    Acknowledge,
    /// Tail loss probe.
    Probe,
    /// Keep-alive probe.
    KeepAlive,
    /// Retransmission timeout.
    Retransmit,
}

impl Timer {
    /// In the order in which they go off where several are due.
    pub const ALL: [Self; 5] =
        [Self::Push, Self::Acknowledge, Self::Probe, Self::KeepAlive, Self::Retransmit];
}

impl SimClient {
    /// When it wants to be woken.
    pub fn next(&self) -> Option<Micros> {
        Timer::ALL.into_iter().filter_map(|timer| self.due(timer)).min()
    }

    /// When a timer goes off, if it runs.
    pub fn due(&self, timer: Timer) -> Option<Micros> {
        match timer {
            Timer::Push => self.push_at,
            Timer::Acknowledge => self.ack_at,
            Timer::Probe => self.probe_at,
            Timer::KeepAlive => self.keep_alive_at,
            Timer::Retransmit => self.retransmit_at,
        }
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        for timer in Timer::ALL {
            if self.due(timer).is_some_and(|at| at <= now) {
                self.fire(timer, now, out);
            }
        }
        self.settle();
    }

    /// A timer goes off, whatever the time.
    pub fn fire(&mut self, timer: Timer, now: Micros, out: &mut Vec<SimSegment>) {
        match timer {
            Timer::Push => {
                self.push_at = None;
                self.push(now, false, out);
            }
            Timer::Acknowledge => {
                self.interactive = false;
                self.send_ack(now, out);
            }
            Timer::Probe => {
                self.probe_at = None;
                self.probe(now, out);
            }
            Timer::KeepAlive => self.probe_idle(now, out),
            Timer::Retransmit => {
                self.retransmit_at = None;
                self.time_out(now, out);
            }
        }
        self.settle();
    }
}
