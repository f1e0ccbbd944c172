//! One direction of the network: what becomes of a segment depends on how many went before it, and never on the time.

use std::collections::VecDeque;

use stateless_tcp_core::tcp::segment::Flags;

use crate::{seed::Random, sim::packet::SimSegment};

/// Segments of a direction that something may happen to where only a few are chosen.
const FIRST: usize = 20;

/// The fate of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkVerdict {
    /// It arrives in its turn.
    Deliver,
    /// It does not arrive.
    Lose,
    /// It arrives, and once more behind so many that are sent later.
    Twice(usize),
    /// It arrives behind so many that are sent later.
    Late(usize),
}

/// The way that fates are decided.
#[derive(Clone, Debug)]
enum Rule {
    /// In thousandths of the segments before `until`.
    Rates { lose: usize, twice: usize, late: usize, until: usize },
    /// Those at some ordinals.
    Few(Vec<(usize, LinkVerdict)>),
}

/// A direction.
#[derive(Debug)]
pub(super) struct Path {
    random: Random,
    rule: Rule,
    /// A segment that is late waits for those behind it, even if there never are any.
    patient: bool,
    /// The segments of the handshake all arrive: without timestamps a SYN that was lost leaves a timeout of a second.
    gentle: bool,
    sent: usize,
    ready: VecDeque<SimSegment>,
    held: Vec<(usize, SimSegment)>,
}

impl Path {
    /// One whose fates `random` draws.
    pub(super) fn draw(random: &mut Random, gentle: bool) -> Self {
        let rates = [0, 0, 50, 100, 300];
        let rule = match random.below(6) {
            0 => Rule::Few(Vec::new()),
            1..=3 => Rule::Few((0..=random.below(3)).map(|_| (random.below(FIRST), bad(random))).collect()),
            _ => Rule::Rates {
                lose: random.pick(&rates),
                twice: random.pick(&rates) / 3,
                late: random.pick(&rates),
                until: random.pick(&[10, 40]),
            },
        };
        Self {
            random: Random::from_seed(random.draw()),
            rule,
            patient: random.one_in(3),
            gentle,
            sent: 0,
            ready: VecDeque::new(),
            held: Vec::new(),
        }
    }

    /// Sends a segment, and says what becomes of it.
    pub(super) fn send(&mut self, packet: SimSegment) -> LinkVerdict {
        let fate = if self.gentle && packet.is(Flags::SYN) { LinkVerdict::Deliver } else { self.decide() };
        self.sent += 1;
        if let LinkVerdict::Deliver | LinkVerdict::Twice(_) = fate {
            self.ready.push_back(packet.clone());
        }
        self.advance();
        if let LinkVerdict::Twice(behind) | LinkVerdict::Late(behind) = fate {
            self.held.push((behind, packet));
        }
        fate
    }

    fn advance(&mut self) {
        for (behind, packet) in std::mem::take(&mut self.held) {
            if behind <= 1 {
                self.ready.push_back(packet);
            } else {
                self.held.push((behind - 1, packet));
            }
        }
    }

    fn decide(&mut self) -> LinkVerdict {
        match &self.rule {
            Rule::Few(few) => {
                few.iter().find(|(at, _)| *at == self.sent).map_or(LinkVerdict::Deliver, |&(_, fate)| fate)
            }
            Rule::Rates { until, .. } if self.sent >= *until => LinkVerdict::Deliver,
            &Rule::Rates { lose, twice, late, .. } => match self.random.below(1000) {
                drawn if drawn < lose => LinkVerdict::Lose,
                drawn if drawn < lose + twice => LinkVerdict::Twice(behind(&mut self.random)),
                drawn if drawn < lose + twice + late => LinkVerdict::Late(behind(&mut self.random)),
                _ => LinkVerdict::Deliver,
            },
        }
    }

    /// Whether a segment is ready to arrive.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The segment that arrives next.
    pub(super) fn arrive(&mut self) -> Option<SimSegment> {
        self.ready.pop_front()
    }

    /// Nothing moves any more: what is late arrives, if it does not wait for ever. Whether anything does.
    pub(super) fn settle(&mut self) -> bool {
        if !self.patient {
            self.ready.extend(self.held.drain(..).map(|(_, packet)| packet));
        }
        self.is_ready()
    }

    /// A new connection: what is on its way belongs to the old one.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.held.clear();
    }
}

fn bad(random: &mut Random) -> LinkVerdict {
    match random.below(4) {
        0 | 1 => LinkVerdict::Lose,
        2 => LinkVerdict::Twice(behind(random)),
        _ => LinkVerdict::Late(behind(random)),
    }
}

fn behind(random: &mut Random) -> usize {
    random.pick(&[1, 1, 2, 3, 6])
}
