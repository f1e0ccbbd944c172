//! The connection cache, as the protocol sees it: never needed, and never believed without proof.
//!
//! A client that sends several requests at once echoes an old timestamp cookie in all but the first. Its segments do not
//! tell where the answers to those before end; whoever answered them can remember it. Such a fact never becomes wrong:
//! answers are a pure function of the messages, so a [`SeqPair`] holds for the whole connection. A fact that is lost
//! (crowded out, or known to another server only) costs a retransmission timeout, never a byte.

use super::conn_entry::{ConnEntry, SentCookie, SeqPair};
use super::ts_cookie::TsState;
use core::time::Duration;

/// Most bytes of an incomplete message that are buffered: an HTTP head (RFC 9112 section 3 recommends 8,000 for its first
/// line).
pub const MAX_BUFFERED: usize = 8_192;

/// Place of buffered bytes in their connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BufferedRange {
    /// The client's sequence number behind them.
    pub end: u32,
    /// Our sequence number behind the answers to what came before them.
    pub snd_nxt: u32,
    /// They are the beginning of one message, and no more.
    pub part: bool,
}

/// Memory of connections. Each is known by the secret that its sequence numbers were made with.
pub trait ConnCache {
    /// The cache is in another place: no method is ever called but those that learn. Whatever takes an entry is then
    /// [`Deferred`](super::Deferred).
    const ELSEWHERE: bool = false;

    /// The entry of `connection`.
    fn entry(&self, connection: u64) -> Option<&ConnEntry>;

    /// Stores `entry` in the place of any other.
    fn store(&mut self, connection: u64, entry: ConnEntry);

    /// Whether so many bytes can be buffered.
    fn can_buffer(&self, length: usize) -> bool;

    /// Buffers `bytes` of the client's stream, which begin with a message. False if there is no room.
    fn buffer(&mut self, connection: u64, bytes: &[u8], range: BufferedRange) -> bool;

    /// The buffered bytes that end at `end`, and their place.
    fn buffered_until(&self, connection: u64, end: u32) -> Option<(&[u8], BufferedRange)>;

    /// The buffered bytes that begin at `start`.
    fn buffered_from(&self, connection: u64, start: SeqPair) -> Option<&[u8]>;

    /// Of the buffered bytes those before `seq`, which lies inside or right behind them.
    fn buffered_before(&self, connection: u64, seq: u32) -> Option<&[u8]>;

    /// Drops the buffered bytes of `connection`.
    fn drop_buffered(&mut self, connection: u64);

    /// Whether the segment with this fingerprint has now come `patience` times in vain.
    fn is_retry_loop(&mut self, fingerprint: u64, patience: u8, now: Duration) -> bool;

    /// Whether one segment may be sent now for little proof.
    fn allow_unproven(&mut self, now: Duration) -> bool;

    /// Learns `pair`, and the state of the cookie that it was sent in, if it was.
    #[inline]
    fn learn(&mut self, connection: u64, pair: SeqPair, sent: Option<TsState>) {
        let known = self.entry(connection).copied().filter(|entry| entry.is_near(pair));
        let mut entry = known.unwrap_or_else(|| ConnEntry::new(pair));
        if let Some(state) = sent {
            entry.note_sent(SentCookie { pair, state });
        }
        entry.add(pair);
        self.store(connection, entry);
    }

    /// Learns that the client has received everything of `pair`, and was told so; if there is an entry.
    #[inline]
    fn prove(&mut self, connection: u64, pair: SeqPair) {
        let Some(mut entry) = self.entry(connection).copied() else { return };
        if entry.prove(pair) {
            self.store(connection, entry);
        }
    }

    /// Learns that `pair`, which lies inside a message, was sent in a cookie; if there is an entry.
    fn note_mid_message(&mut self, connection: u64, pair: SeqPair) {
        let Some(mut entry) = self.entry(connection).copied().filter(|entry| entry.is_near(pair)) else {
            return;
        };
        entry.note_sent(SentCookie { pair, state: TsState::MidMessage });
        self.store(connection, entry);
    }
}

impl ConnCache for super::application::InUserSpace {
    const ELSEWHERE: bool = true;

    #[inline]
    fn entry(&self, _: u64) -> Option<&ConnEntry> {
        None
    }

    #[inline]
    fn store(&mut self, _: u64, _: ConnEntry) {}

    fn can_buffer(&self, _: usize) -> bool {
        false
    }

    fn buffer(&mut self, _: u64, _: &[u8], _: BufferedRange) -> bool {
        false
    }

    fn buffered_until(&self, _: u64, _: u32) -> Option<(&[u8], BufferedRange)> {
        None
    }

    fn buffered_from(&self, _: u64, _: SeqPair) -> Option<&[u8]> {
        None
    }

    fn buffered_before(&self, _: u64, _: u32) -> Option<&[u8]> {
        None
    }

    fn drop_buffered(&mut self, _: u64) {}

    fn is_retry_loop(&mut self, _: u64, _: u8, _: Duration) -> bool {
        false
    }

    fn allow_unproven(&mut self, _: Duration) -> bool {
        false
    }
}
