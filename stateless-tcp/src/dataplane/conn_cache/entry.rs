//! What is known of one connection.

use stateless_tcp_core::tcp::ts_cookie::TsState;

/// What came before `position` of the client's stream is answered by what ends at `boundary` of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqPair {
    /// A sequence number of the client's.
    pub position: u32,
    /// A sequence number of ours.
    pub boundary: u32,
}

/// The last promise that a segment with payload carried, or a segment that confirmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Promised {
    /// What was promised.
    pub fact: SeqPair,
    /// How far it went.
    pub state: TsState,
}

/// What is known of one connection.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct ConnEntry {
    /// The last fact that the client is known to have received all of.
    proven: Option<SeqPair>,
    promised: Option<Promised>,
    /// Facts, ascending.
    facts: [SeqPair; FACTS],
}

const FACTS: usize = 4;

/// Octets of requests between two facts that are kept: all together span most of a window of 4,095.
const SPACING: u32 = 1_365;

impl SeqPair {
    /// Whether this says more than `other`, of the same connection.
    #[inline]
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        self.position.wrapping_sub(other.position).cast_signed() > 0
    }
}

impl ConnEntry {
    /// Nothing but `fact`.
    #[inline]
    pub(super) fn new(fact: SeqPair) -> Self {
        Self { proven: None, promised: None, facts: [fact; FACTS] }
    }

    /// And that the client is known to have received all of `fact`.
    #[inline]
    pub(super) fn proving(self, fact: SeqPair) -> Self {
        let mut known = Self { proven: Some(fact), ..self };
        known.promise(Promised { fact, state: TsState::Acked });
        known
    }

    /// And `fact`, if it is new.
    #[inline]
    pub(super) fn add(&mut self, fact: SeqPair) {
        let [.., before, last] = self.facts;
        if fact.is_after(last) {
            if last.position.wrapping_sub(before.position) >= SPACING {
                self.facts.rotate_left(1);
            }
            self.facts[FACTS - 1] = fact;
        }
    }

    /// Writes `noise` over one of its facts.
    pub(super) fn poison(&mut self, noise: &mut impl FnMut() -> u32) {
        let fact = &mut self.facts[noise() as usize % FACTS];
        fact.boundary = noise();
    }

    /// Whether `fact` can be of the same connection: a client may use a port again.
    #[inline]
    pub(super) fn is_near(&self, fact: SeqPair) -> bool {
        let [.., last] = self.facts;
        fact.position.wrapping_sub(last.position).wrapping_add(1 << 16) <= 1 << 17
    }

    #[inline]
    pub(super) fn promise(&mut self, promised: Promised) {
        let more = |before: Promised| {
            promised.fact.is_after(before.fact)
                || promised.fact == before.fact && promised.state > before.state
        };
        if self.promised.is_none_or(more) {
            self.promised = Some(promised);
        }
    }

    /// Where the answers end to what came before `position`.
    #[inline]
    #[must_use]
    pub fn at(&self, position: u32) -> Option<SeqPair> {
        self.facts.iter().rev().find(|fact| fact.position == position).copied()
    }

    /// The last fact.
    #[inline]
    #[must_use]
    pub fn newest(&self) -> SeqPair {
        let [.., newest] = self.facts;
        newest
    }

    /// The last fact of which a client has received all that acknowledges `ack`.
    #[inline]
    #[must_use]
    pub fn received(&self, ack: u32) -> Option<SeqPair> {
        let received = |fact: &&SeqPair| ack.wrapping_sub(fact.boundary).cast_signed() >= 0;
        let last = self.facts.iter().rev().find(received).copied();
        match (last, self.proven.filter(|fact| received(&fact))) {
            (Some(fact), proven) => Some(fact.or_later(proven)),
            (None, proven) => proven,
        }
    }

    /// The last fact that the client is known to have received all of.
    #[inline]
    #[must_use]
    pub fn proven(&self) -> Option<SeqPair> {
        self.proven
    }

    /// The last promise made.
    #[inline]
    #[must_use]
    pub fn promised(&self) -> Option<Promised> {
        self.promised
    }
}

impl SeqPair {
    #[inline]
    fn or_later(self, other: Option<Self>) -> Self {
        other.filter(|other| other.is_after(self)).unwrap_or(self)
    }
}
