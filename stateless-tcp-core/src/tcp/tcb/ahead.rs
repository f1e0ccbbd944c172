//! Answers ahead of the client's echo, from the connection cache.

use super::{AckStatus, MAX_AHEAD, ParsedMessages, Tcb};
use crate::outcome::Outcome;
use crate::tcp::conn_entry::SentCookie;
use crate::tcp::output::{Fin, Reply, Rest};
use crate::tcp::segment::{Flags, Segment};
use crate::tcp::ts_cookie::TsCookie;

impl Tcb {
    /// Answers a payload beyond RCV.NXT in which nothing but `messages.new` bytes of answers was found, which begin at
    /// `snd_nxt` of our stream.
    ///
    /// The segments bring no cookie of their own, and acknowledge no more than the client echoes. Lost, they are asked for
    /// again by the resent head of its send buffer. They do carry the last cookie `sent`, or the one whose bytes the client
    /// is proven to have: an older one would not be taken from behind it (RFC 7323 section 5).
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn reply_ahead(
        &self,
        segment: &Segment,
        snd_nxt: u32,
        messages: &ParsedMessages,
        sent: Option<SentCookie>,
        segment_size: u16,
    ) -> Result<Reply, Outcome> {
        let end = snd_nxt.wrapping_add(messages.new);
        let plain = !messages.last && messages.new > 0 && !segment.flags.contains(Flags::FIN);
        let (accounted, ack_status) = self.as_echoed();
        let near = end.wrapping_sub(ack_status.snd_nxt(segment)) <= MAX_AHEAD;
        if matches!(ack_status, AckStatus::Unacked(1..)) || self.is_closing() || !plain || !near {
            return Err(Outcome::OutOfOrder);
        }
        if end.wrapping_sub(segment.ack) > u32::from(segment.window) {
            return Err(Outcome::WindowTooSmall);
        }
        let later = sent.filter(|sent| self.precedes(sent.pair.rcv_nxt, segment));
        let cookie = later.map_or(self.acked(), |SentCookie { pair, state }| {
            TsCookie::new(pair.rcv_nxt, pair.snd_nxt, state)
        });
        let acknowledgment = self.acknowledge(segment, segment.seq.wrapping_add_signed(accounted));
        let size = u32::from(self.segment_size(segment_size));
        Ok(Reply {
            base: snd_nxt,
            first: acknowledgment,
            others: acknowledgment,
            timestamps: Some(self.timestamps(segment, cookie)),
            size,
            grid: self.grid(size),
            length: messages.new,
            edge: messages.new,
            fin: Fin::None,
            next: 0,
            rest: Rest::Data,
            held: None,
        })
    }
}
