//! Random and timed choices of a simulated client, made from outside: by what a real one does.

use stateless_tcp_core::tcp::segment::{Flags, Timestamps};

use super::{MOST_FRAGMENTS, SimClient, TcpStack, Timer};
use crate::sim::packet::{Micros, Position, SimSegment, position};

/// The delay of the acknowledgment of an arrival in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Not at all.
    None,
    /// For a second full segment.
    Second,
    /// For the application to read.
    Reader,
}

impl SimClient {
    /// Takes over what a real client draws from its memory and its clock: the window and the timestamp of a segment that it sent
    /// at `now` where this one would send the same.
    pub fn follow(&mut self, now: Micros, sent: &SimSegment) {
        if !sent.is(Flags::SYN) {
            self.edge = position(sent.ack, self.irs) + Position::from(sent.window);
        }
        if let Some(Timestamps { value, .. }) = sent.timestamps {
            let clock = self.clock(now);
            if self.resent_at == Some(clock) {
                self.resent_at = Some(value);
            }
            // Both count milliseconds, but not from the same instant.
            let ahead = value.wrapping_sub(clock);
            if ahead.cast_signed().unsigned_abs() > 1 {
                self.profile.clock = self.profile.clock.wrapping_add(ahead);
            }
        }
    }

    /// Switches header prediction: Linux turns it off while memory is short, and for a while after disorder.
    pub fn predict(&mut self, predicts: bool) {
        self.profile.predicts = predicts && self.profile.kind == TcpStack::Linux;
    }

    /// Sets the delay of acknowledgments from now on.
    pub fn delay(&mut self, delay: Delay) {
        self.quick = if delay == Delay::None { u32::MAX } else { 0 };
        self.interactive = false;
        self.profile.reader = delay == Delay::Reader;
    }

    /// Whether what waits to be sent may have no room for another write: Linux's buffers have so many fragments
    /// (`MAX_SKB_FRAGS`), and each write is one, if nobody else has written meanwhile to the same page.
    pub fn may_be_full(&self) -> bool {
        self.chunks.back().is_some_and(|last| !last.sent && last.pieces >= MOST_FRAGMENTS)
    }

    /// Whether what was sent may be in too many fragments to be sent again as one.
    pub fn may_be_fragmented(&self) -> bool {
        self.chunks.iter().map(|chunk| chunk.pieces).sum::<usize>() > MOST_FRAGMENTS
    }

    /// True if segments in so many fragments are not put together.
    pub fn set_fragmented(&mut self, fragmented: bool) {
        self.fragmented = fragmented;
    }

    /// The next write begins another segment.
    pub fn fill(&mut self) {
        if let Some(last) = self.chunks.back_mut() {
            last.full = true;
        }
    }

    /// Segments that are out.
    pub fn outstanding(&self) -> usize {
        self.count(|chunk| chunk.sent)
    }

    /// Sets the congestion window and how many leave as one, in segments.
    pub fn set_congestion_window(&mut self, segments: usize, burst: usize) {
        (self.cwnd, self.burst) = (segments, burst);
    }

    /// Whether a timeout is taken for spurious when the next segment arrives.
    pub fn take_for_spurious(&mut self, spurious: Option<bool>) {
        self.spurious = spurious;
    }

    /// Whether it has had a timeout, and is not over it.
    pub fn in_loss(&self) -> bool {
        self.in_loss
    }

    /// A timeout that takes the newest so many segments for not lost, and with `frto` is doubted (RFC 5682).
    pub fn time_out_sparing(&mut self, spared: usize, frto: bool, now: Micros, out: &mut Vec<SimSegment>) {
        self.spared = Some(spared);
        self.profile.frto = frto;
        self.fire(Timer::Retransmit, now, out);
        self.spared = None;
    }
}
