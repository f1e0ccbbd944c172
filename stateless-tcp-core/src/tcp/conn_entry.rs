//! An entry of the connection cache: facts about one connection besides what its segments say.

use super::ts_cookie::TsState;

/// Two sequence numbers of one connection: the client's stream up to `rcv_nxt` is answered by ours up to `snd_nxt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqPair {
    /// A sequence number of the client's.
    pub rcv_nxt: u32,
    /// A sequence number of ours.
    pub snd_nxt: u32,
}

/// The last timestamp cookie that a segment with payload carried, or a segment that acknowledged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SentCookie {
    /// RCV.NXT and SND.NXT in it.
    pub pair: SeqPair,
    /// Its state.
    pub state: TsState,
}

/// Facts about one connection.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct ConnEntry {
    /// The last pair that the client is known to have received everything of.
    proven: Option<SeqPair>,
    sent: Option<SentCookie>,
    /// Ascending.
    pairs: [SeqPair; PAIRS],
}

const PAIRS: usize = 4;

/// Bytes of requests between two pairs that stay: all together span most of a window of 4,095.
const SPACING: u32 = 1_365;

impl SeqPair {
    /// Whether this lies beyond `other`, of the same connection.
    #[inline]
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        self.rcv_nxt.wrapping_sub(other.rcv_nxt).cast_signed() > 0
    }

    #[inline]
    fn or_later(self, other: Option<Self>) -> Self {
        other.filter(|other| other.is_after(self)).unwrap_or(self)
    }
}

impl ConnEntry {
    /// An entry that holds `pair` alone.
    #[inline]
    #[must_use]
    pub fn new(pair: SeqPair) -> Self {
        Self { proven: None, sent: None, pairs: [pair; PAIRS] }
    }

    /// Adds `pair`, if it lies beyond all others.
    #[inline]
    pub fn add(&mut self, pair: SeqPair) {
        let [.., before, last] = self.pairs;
        if pair.is_after(last) {
            if last.rcv_nxt.wrapping_sub(before.rcv_nxt) >= SPACING {
                self.pairs.rotate_left(1);
            }
            self.pairs[PAIRS - 1] = pair;
        }
    }

    /// Notes that a cookie was sent.
    #[inline]
    pub fn note_sent(&mut self, cookie: SentCookie) {
        let more = |before: SentCookie| {
            cookie.pair.is_after(before.pair) || cookie.pair == before.pair && cookie.state > before.state
        };
        if self.sent.is_none_or(more) {
            self.sent = Some(cookie);
        }
    }

    /// Notes that the client is known to have received everything of `pair`, and was told so. False if that is not new.
    #[inline]
    pub fn prove(&mut self, pair: SeqPair) -> bool {
        let new = self.is_near(pair) && self.proven.is_none_or(|proven| pair.is_after(proven));
        if new {
            self.proven = Some(pair);
            self.note_sent(SentCookie { pair, state: TsState::Acked });
        }
        new
    }

    /// Whether `pair` can be of the same connection: a client may use a port again.
    #[inline]
    #[must_use]
    pub fn is_near(&self, pair: SeqPair) -> bool {
        let [.., last] = self.pairs;
        pair.rcv_nxt.wrapping_sub(last.rcv_nxt).wrapping_add(1 << 16) <= 1 << 17
    }

    /// The pair at `rcv_nxt`.
    #[inline]
    #[must_use]
    pub fn at(&self, rcv_nxt: u32) -> Option<SeqPair> {
        self.pairs.iter().rev().find(|pair| pair.rcv_nxt == rcv_nxt).copied()
    }

    /// The last pair.
    #[inline]
    #[must_use]
    pub fn newest(&self) -> SeqPair {
        let [.., newest] = self.pairs;
        newest
    }

    /// The last pair of which a client has received everything that acknowledges `ack`.
    #[inline]
    #[must_use]
    pub fn received(&self, ack: u32) -> Option<SeqPair> {
        let received = |pair: &&SeqPair| ack.wrapping_sub(pair.snd_nxt).cast_signed() >= 0;
        let last = self.pairs.iter().rev().find(received).copied();
        match (last, self.proven.filter(|pair| received(&pair))) {
            (Some(pair), proven) => Some(pair.or_later(proven)),
            (None, proven) => proven,
        }
    }

    /// The last pair that the client is known to have received everything of.
    #[inline]
    #[must_use]
    pub fn proven(&self) -> Option<SeqPair> {
        self.proven
    }

    /// The last cookie sent.
    #[inline]
    #[must_use]
    pub fn sent(&self) -> Option<SentCookie> {
        self.sent
    }

    /// Writes `noise` over one of its pairs: for tests that nothing is believed without proof.
    pub fn poison(&mut self, noise: &mut impl FnMut() -> u32) {
        let pair = &mut self.pairs[noise() as usize % PAIRS];
        pair.snd_nxt = noise();
    }
}
