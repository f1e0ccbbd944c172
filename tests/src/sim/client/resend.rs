//! Sending again: what is lost, and when it is taken for lost.

use stateless_tcp_core::tcp::segment::Flags;

use super::{ConnectionState, MOST_FRAGMENTS, RTO_MAX, SimClient, TcpStack};
use crate::sim::packet::{Micros, Position, SimSegment};

impl SimClient {
    pub(super) fn time_out(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        self.backoff += 1;
        self.timeouts += 1;
        match self.state {
            ConnectionState::Opening => {
                self.send_syn(now, out);
                self.retransmit_at = Some(now + (self.rto << self.backoff.min(7)));
                return;
            }
            ConnectionState::Open if self.persists => return self.persist(now, out),
            ConnectionState::Open if self.una < self.nxt => {}
            _ => return,
        }
        let resent = self.in_loss && self.profile.kind == TcpStack::Linux;
        self.in_loss = true;
        // Linux doubts also what follows a timeout that nothing came of.
        self.frto = self.profile.frto && (self.recover.is_none() || self.backoff > 1);
        self.recover = Some(self.high);
        self.duplicates = 0;
        self.cwnd = 1;
        // That of the first timeout of several (`retrans_stamp`).
        let clock = self.clock(now);
        self.resent_at = self.resent_at.filter(|_| resent).or(Some(clock));
        match self.profile.kind {
            TcpStack::Linux => {
                // RACK takes nothing for lost that was sent within a round trip (`tcp_timeout_mark_lost`).
                let since = now.saturating_sub(self.round_trip);
                let spared = self.spared.take();
                let sent = self.chunks.iter().filter(|chunk| chunk.sent).count();
                for (index, chunk) in self.chunks.iter_mut().enumerate().filter(|(_, chunk)| chunk.sent) {
                    chunk.lost =
                        index == 0 || spared.map_or(chunk.sent_at <= since, |spared| index + spared < sent);
                }
                self.cwnd = self.flying() + 1;
                self.resend(now, 0, 1, out);
            }
            TcpStack::Bsd => {
                self.nxt = self.una;
                self.push_stream(now, true, true, out);
            }
        }
        self.probe_at = None;
        self.arm(now);
        // BSD resends nothing behind a window that has shrunk.
        self.await_window(now);
    }

    /// Where nothing is out and what waits has no room, nobody else moves (RFC 9293 section 3.8.6.1).
    pub(super) fn await_window(&mut self, now: Micros) {
        if self.retransmit_at.is_none() && self.una == self.nxt && self.nxt < self.end() {
            self.persists = true;
            self.retransmit_at = Some(now + (self.rto << self.backoff.min(10)).min(RTO_MAX));
        }
    }

    /// The window opens.
    pub(super) fn stop_persisting(&mut self) {
        if self.persists {
            (self.persists, self.backoff, self.retransmit_at) = (false, 0, None);
        }
    }

    /// Sends what the window has room for; else something that is answered (`tcp_write_wakeup`).
    fn persist(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        let edge = self.una + self.peer_window;
        match self.profile.kind {
            TcpStack::Linux => match self.chunks.iter().position(|chunk| !chunk.sent) {
                Some(index) if self.chunks[index].from < edge => {
                    self.split(index, (edge - self.chunks[index].from).min(self.mss));
                    self.send_chunk(now, index, out);
                }
                _ => out.push(self.packet(now, Flags::ACK, self.una - 1, 0)),
            },
            // A byte that the window has no room for.
            TcpStack::Bsd => {
                self.transmit(now, self.una, 1.min(self.written - self.una), self.una == self.written, out);
            }
        }
        self.await_window(now);
    }

    /// Sends at most so many segments of a chunk again, or one with as many of those behind it as fit
    /// (`__tcp_retransmit_skb`).
    pub(super) fn resend(&mut self, now: Micros, index: usize, segments: usize, out: &mut Vec<SimSegment>) {
        if index == 0 {
            let una = self.una;
            let head = &mut self.chunks[0];
            head.from = head.from.max(una).min(head.to);
        }
        self.split(index, Position::try_from(segments.max(1)).expect("few") * self.mss);
        while self.profile.collapse && index + 1 < self.chunks.len() {
            let (chunk, next) = (self.chunks[index], self.chunks[index + 1]);
            let pieces = chunk.pieces + next.pieces;
            let whole = !self.fragmented || pieces <= MOST_FRAGMENTS;
            if !next.sent || chunk.fin || !whole || chunk.length() + next.length() > self.mss {
                break;
            }
            self.chunks.remove(index + 1);
            let chunk = &mut self.chunks[index];
            (chunk.to, chunk.fin, chunk.pieces) = (next.to, next.fin, pieces);
        }
        let chunk = &mut self.chunks[index];
        (chunk.lost, chunk.sent_at) = (false, now);
        let chunk = *chunk;
        self.transmit_chunk(now, chunk, out);
    }

    /// After an acknowledgment: lost segments first, as the congestion window opens (`tcp_xmit_retransmit_queue`).
    pub(super) fn recover_lost(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        if self.profile.kind == TcpStack::Bsd {
            return;
        }
        loop {
            let flying = self.flying();
            match self.chunks.iter().position(|chunk| chunk.lost) {
                Some(index) if flying < self.cwnd => self.resend(now, index, self.cwnd - flying, out),
                _ => return,
            }
        }
    }

    /// Fast retransmit, and again after a partial acknowledgment (RFC 6582).
    pub(super) fn resend_head(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        match self.profile.kind {
            TcpStack::Linux if !self.chunks.is_empty() => self.resend(now, 0, 1, out),
            TcpStack::Linux => {}
            TcpStack::Bsd => {
                let nxt = self.nxt;
                self.nxt = self.una;
                self.push_stream(now, true, true, out);
                self.nxt = self.nxt.max(nxt);
            }
        }
    }
}
