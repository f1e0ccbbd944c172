//! Answers ahead of what the client echoes, from what is remembered of its connection.

use super::{AckStatus, MAX_HINTED, ParsedMessages, Tcb};
use crate::tcp::input::Reason;
use crate::tcp::output::{Fin, Reply, Rest};
use crate::tcp::segment::{Flags, Segment};
use crate::tcp::ts_cookie::{TsCookie, TsState};

impl Tcb {
    /// The segments that answer a payload beyond P, in which `walk` found `new` octets of answers and nothing else of
    /// note, at `boundary` of our stream.
    ///
    /// They make no promise of their own, and acknowledge no more than what the client echoes. Lost, they are asked for
    /// again by the resent head of its send buffer. What they do carry is the last promise made, `promised`, or what the
    /// client is proven to have: an older one would not be taken from behind it (RFC 7323 section 5).
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn hint(
        &self,
        segment: &Segment,
        boundary: u32,
        walk: &ParsedMessages,
        promised: Option<(u32, u32, TsState)>,
        size: u16,
    ) -> Result<Reply, Reason> {
        let end = boundary.wrapping_add(walk.new);
        let plain = !walk.last && walk.new > 0 && !segment.flags.contains(Flags::FIN);
        let (gap, standing) = self.echoed();
        let near = end.wrapping_sub(standing.boundary(segment)) <= MAX_HINTED;
        if matches!(standing, AckStatus::Unacked(1..)) || self.closing() || !plain || !near {
            return Err(Reason::OutOfOrder);
        }
        if end.wrapping_sub(segment.ack) > u32::from(segment.window) {
            return Err(Reason::WindowTooSmall);
        }
        let later = promised.filter(|&(position, ..)| self.precedes(position, segment));
        let promise = later
            .map_or(self.confirmed(), |(position, boundary, state)| TsCookie::new(position, boundary, state));
        let acknowledgment = self.acknowledge(segment, segment.seq.wrapping_add_signed(gap));
        let size = u32::from(self.segment_size(size));
        Ok(Reply {
            base: boundary,
            first: acknowledgment,
            others: acknowledgment,
            timestamps: Some(self.timestamps(segment, promise)),
            size,
            grid: self.grid(size),
            length: walk.new,
            edge: walk.new,
            fin: Fin::None,
            next: 0,
            rest: Rest::Data,
            held: None,
        })
    }
}
