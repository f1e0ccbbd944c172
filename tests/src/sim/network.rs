//! The network between client and servers: what it does to each segment, and when it delivers it.

use std::{cmp::Reverse, collections::BinaryHeap};

use stateless_tcp_core::tcp::segment::Flags;

use super::packet::{Micros, SimSegment};
use crate::seed::Random;

/// The fate of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives in its turn.
    Deliver,
    /// It does not arrive.
    Lose,
    /// It arrives, and once more so much later.
    Duplicate(Micros),
    /// It arrives so much later.
    Delay(Micros),
}

/// The way that fates are decided.
#[derive(Clone, Debug)]
pub enum Faults {
    /// In thousandths of all segments, until a time from which on everything is delivered.
    Random {
        /// Lost.
        lose: usize,
        /// Duplicated.
        duplicate: usize,
        /// Delayed.
        delay: usize,
        /// When it ends.
        until: Micros,
    },
    /// The fates of the first segments in order of sending, the lowest digit first: base 4, in the order of [`Delivery`].
    Script {
        /// The digits.
        digits: u64,
        /// Delay of a segment that is delayed or duplicated.
        late: Micros,
    },
}

impl Faults {
    /// One to four segments of the first thirty meet with something.
    pub fn few(random: &mut Random) -> Self {
        let mut digits = 0;
        for _ in 0..=random.below(4) {
            digits |= (1 + random.draw() % 3) << (2 * (random.draw() % 30));
        }
        Self::Script { digits, late: random.pick(&[300, 3_000, 50_000, 210_000, 900_000]) }
    }
}

/// The network.
pub struct Network {
    faults: Faults,
    latency: Micros,
    jitter: Micros,
    coalesce: bool,
    random: Random,
    queue: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    slots: Vec<Option<SimSegment>>,
    free: Vec<usize>,
    sent: u64,
    queued: u64,
    /// The segment to the server that another may be merged into.
    newest: Option<usize>,
}

impl Network {
    /// A network whose segments take `latency` and at most `jitter` more, and are merged on their way to the server if
    /// `coalesce` says so.
    pub fn new(faults: Faults, latency: Micros, jitter: Micros, coalesce: bool, random: Random) -> Self {
        Self {
            faults,
            latency,
            jitter,
            coalesce,
            random,
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sent: 0,
            queued: 0,
            newest: None,
        }
    }

    /// Segments sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// When the next segment arrives.
    pub fn next(&self) -> Option<Micros> {
        self.queue.peek().map(|&Reverse((at, ..))| at)
    }

    /// Takes the segment that arrives next.
    pub fn receive(&mut self) -> Option<SimSegment> {
        let Reverse((_, _, slot)) = self.queue.pop()?;
        self.free.push(slot);
        if self.newest == Some(slot) {
            self.newest = None;
        }
        self.slots[slot].take()
    }

    /// Sends a segment, and says what becomes of it; none if it went into the one before it.
    pub fn send(&mut self, now: Micros, packet: SimSegment) -> Option<Delivery> {
        if self.merge(&packet) {
            return None;
        }
        let fate = self.decide(now);
        let jitter = if self.jitter == 0 { 0 } else { self.random.draw() % self.jitter };
        let at = now + self.latency + jitter;
        match fate {
            Delivery::Deliver => self.push(at, packet),
            Delivery::Lose => {}
            Delivery::Duplicate(late) => {
                self.push(at + late, packet.clone());
                self.push(at, packet);
            }
            Delivery::Delay(late) => self.push(at + late, packet),
        }
        Some(fate)
    }

    fn decide(&mut self, now: Micros) -> Delivery {
        let index = self.sent;
        self.sent += 1;
        match self.faults {
            Faults::Random { until, .. } if now >= until => Delivery::Deliver,
            Faults::Random { lose, duplicate, delay, .. } => {
                let drawn = self.random.below(1000);
                if drawn < lose {
                    Delivery::Lose
                } else if drawn < lose + duplicate {
                    Delivery::Duplicate(self.late())
                } else if drawn < lose + duplicate + delay {
                    Delivery::Delay(self.late())
                } else {
                    Delivery::Deliver
                }
            }
            Faults::Script { digits, late } => match (index < 32).then(|| digits >> (2 * index) & 3) {
                Some(1) => Delivery::Lose,
                Some(2) => Delivery::Duplicate(late),
                Some(3) => Delivery::Delay(late),
                _ => Delivery::Deliver,
            },
        }
    }

    fn late(&mut self) -> Micros {
        let most = self.random.pick(&[self.latency, 3 * self.latency, 50_000, 250_000, 1_000_000, 4_000_000]);
        self.random.draw() % (most + 1)
    }

    fn push(&mut self, at: Micros, packet: SimSegment) {
        let to_server = packet.to_server;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(packet);
        // Of two that arrive at one time the first sent is the first.
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, slot)));
        if to_server {
            self.newest = Some(slot);
        }
    }

    /// Merges neighbours of one acknowledgment and one timestamp, as offloads and middleboxes do.
    fn merge(&mut self, packet: &SimSegment) -> bool {
        if !self.coalesce || !packet.to_server || packet.length == 0 || self.random.one_in(2) {
            return false;
        }
        let Some(before) = self.newest.and_then(|slot| self.slots[slot].as_mut()) else { return false };
        let plain = before.length > 0 && !before.is(Flags::FIN) && !before.is(Flags::SYN);
        let adjacent = before.seq.wrapping_add(u32::from(before.length)) == packet.seq;
        if !plain
            || !adjacent
            || before.port != packet.port
            || before.ack != packet.ack
            || before.timestamps != packet.timestamps
        {
            return false;
        }
        before.length += packet.length;
        before.flags = before.flags | packet.flags;
        true
    }
}
