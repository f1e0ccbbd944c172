//! Sending: writes into segments, and what becomes of them.

use stateless_tcp_core::tcp::segment::Flags;

use super::{Chunk, ConnectionState, RTO_MAX, SimClient, TcpStack};
use crate::sim::packet::{Micros, Position, SimSegment};

/// Until the device has sent what autocorking waits for.
const DEVICE: Micros = 30;

impl SimClient {
    /// The application writes so many bytes more.
    pub fn write(&mut self, now: Micros, length: usize, out: &mut Vec<SimSegment>) {
        let end = self.written + Position::try_from(length).expect("short");
        if self.rcv_nxt > 1 {
            self.interactive = true;
        }
        if self.profile.kind == TcpStack::Linux {
            while self.written < end {
                self.append(end);
                let alone = self.chunks.iter().filter(|chunk| !chunk.sent).count() == 1;
                if alone && self.written < end {
                    // A full segment does not wait for the rest of the write (`tcp_push_one`).
                    self.push(now, false, out);
                }
            }
        }
        self.written = end;
        if self.state != ConnectionState::Open {
            return;
        }
        let small = self.chunks.back().is_some_and(|chunk| !chunk.sent && chunk.length() < self.mss);
        if self.profile.autocork && small && self.una < self.nxt {
            self.push_at.get_or_insert(now + DEVICE);
        } else {
            self.push(now, false, out);
        }
    }

    /// Puts bytes into the last chunk that is not sent, or a new one (`tcp_sendmsg`).
    fn append(&mut self, end: Position) {
        let (mss, written) = (self.mss, self.written);
        let open = self.chunks.back_mut().filter(|last| !last.sent && !last.full && last.length() < mss);
        if let Some(last) = open {
            last.to = end.min(last.from + mss);
            last.pieces += 1;
            self.written = last.to;
        } else {
            let to = end.min(written + mss);
            self.chunks.push_back(Chunk { to, pieces: 1, ..Chunk::empty(written) });
            self.written = to;
        }
    }

    /// Bytes written before the connection was open were cut for a guess of the segment size.
    pub(super) fn cut_anew(&mut self) {
        if self.profile.kind == TcpStack::Linux && self.written > 1 {
            let end = self.written;
            let fin = self.fin;
            self.chunks.clear();
            self.written = 1;
            while self.written < end {
                self.append(end);
            }
            if fin {
                self.fin = false;
                self.append_fin();
            }
        }
    }

    /// The application closes its direction; with `deaf` also the other, so that data is answered by RST.
    pub fn shut(&mut self, now: Micros, deaf: bool, out: &mut Vec<SimSegment>) {
        self.deaf |= deaf;
        if deaf && !self.inbox.is_empty() {
            // Bytes that nobody will read (RFC 2525 section 2.17).
            return self.abort(now, true, out);
        }
        if self.fin {
            return;
        }
        if self.state == ConnectionState::Opening && self.written == 1 && deaf {
            return self.abort(now, false, out);
        }
        self.append_fin();
        if self.state == ConnectionState::Open {
            self.push(now, true, out);
        }
    }

    fn append_fin(&mut self) {
        self.fin = true;
        self.passive = self.fin_received;
        if self.profile.kind == TcpStack::Bsd {
            return;
        }
        let at = self.written;
        match self.chunks.back_mut().filter(|last| !last.sent) {
            Some(last) => last.fin = true,
            None => self.chunks.push_back(Chunk { fin: true, ..Chunk::empty(at) }),
        }
    }

    /// Sends what may be sent (`tcp_write_xmit`).
    pub(super) fn push(&mut self, now: Micros, hurry: bool, out: &mut Vec<SimSegment>) {
        if self.state != ConnectionState::Open {
            return;
        }
        match self.profile.kind {
            TcpStack::Linux => {
                while let Some(index) = self.sendable(hurry) {
                    self.split_at_window(index, hurry);
                    self.send_chunk(now, index, out);
                }
            }
            TcpStack::Bsd => while self.push_stream(now, hurry, false, out) {},
        }
        self.await_window(now);
    }

    /// Sends a chunk for the first time.
    pub(super) fn send_chunk(&mut self, now: Micros, index: usize, out: &mut Vec<SimSegment>) {
        let chunk = &mut self.chunks[index];
        (chunk.sent, chunk.sent_at) = (true, now);
        let chunk = *chunk;
        if chunk.length() % self.mss > 0 || chunk.length() == 0 {
            self.small_end = chunk.end();
        }
        self.nxt = chunk.end();
        self.transmit_chunk(now, chunk, out);
    }

    /// Segments that are out and not known to be lost.
    pub(super) fn flying(&self) -> usize {
        self.count(|chunk| chunk.sent && !chunk.lost)
    }

    pub(super) fn count(&self, counts: impl Fn(&Chunk) -> bool) -> usize {
        self.chunks.iter().filter(|chunk| counts(chunk)).map(|chunk| chunk.segments(self.mss)).sum()
    }

    /// The chunk to be sent next, if it may be.
    fn sendable(&mut self, hurry: bool) -> Option<usize> {
        let index = self.chunks.iter().position(|chunk| !chunk.sent)?;
        let quota = self.quota();
        if quota == 0 {
            return None;
        }
        self.grow(index, quota);
        let chunk = &self.chunks[index];
        let first = if chunk.length() > self.mss { chunk.from + self.mss } else { chunk.end() };
        let held = chunk.length() < self.mss
            && !chunk.fin
            && index + 1 == self.chunks.len()
            && self.waits_for_small(index, hurry);
        (first <= self.una + self.peer_window && !held).then_some(index)
    }

    /// Segments that the congestion window lets go at once (`tcp_cwnd_test`, `tcp_tso_segs`).
    fn quota(&self) -> usize {
        self.cwnd.saturating_sub(self.flying()).min((self.cwnd / 2).max(1)).min(self.burst)
    }

    /// Nagle's algorithm as Minshall mended it.
    fn waits_for_small(&self, index: usize, hurry: bool) -> bool {
        self.profile.nagle && !hurry && self.small_end > self.una && index > 0
    }

    /// A waiting segment is put together from those behind it (`tcp_grow_skb`): where several segments wait,
    /// Linux keeps no boundaries but that of the last.
    fn grow(&mut self, index: usize, quota: usize) {
        let most = Position::try_from(quota).expect("few") * self.mss;
        let missing = most - self.chunks[index].length();
        let complete = self.chunks[index].fin || self.chunks[index].full;
        if missing <= 0 || complete || index + 1 == self.chunks.len() {
            return;
        }
        let next = &mut self.chunks[index + 1];
        let taken = missing.min(next.length());
        next.from += taken;
        let emptied = (next.length() == 0).then_some(next.fin);
        if taken == 0 {
            return;
        }
        self.chunks[index].to += taken;
        if let Some(fin) = emptied {
            self.chunks[index].fin = fin;
            self.chunks.remove(index + 1);
        }
    }

    /// Of several segments in one chunk those go that the window has room for, and a part of one
    /// (`tcp_mss_split_point`).
    fn split_at_window(&mut self, index: usize, hurry: bool) {
        let chunk = self.chunks[index];
        if chunk.length() <= self.mss {
            return;
        }
        let most = Position::try_from(self.quota().max(1)).expect("few") * self.mss;
        let needed = chunk.length().min(self.una + self.peer_window - chunk.from);
        let part = needed % self.mss;
        let limit = if most <= needed {
            most
        } else if part > 0 && self.waits_for_small(index, hurry) {
            needed - part
        } else {
            needed
        };
        self.split(index, limit);
    }

    /// Cuts a chunk behind so many bytes, if it has more.
    pub(super) fn split(&mut self, index: usize, length: Position) {
        let chunk = &mut self.chunks[index];
        if chunk.length() <= length {
            return;
        }
        let rest = Chunk { from: chunk.from + length, ..*chunk };
        (chunk.to, chunk.fin) = (rest.from, false);
        self.chunks.insert(index + 1, rest);
    }

    pub(super) fn transmit_chunk(&mut self, now: Micros, chunk: Chunk, out: &mut Vec<SimSegment>) {
        let mut from = chunk.from;
        while chunk.to - from > self.mss {
            self.transmit(now, from, self.mss, false, out);
            from += self.mss;
        }
        self.transmit(now, from, chunk.to - from, chunk.fin, out);
    }

    /// One segment from SND.NXT on (BSD's `tcp_output`); `force` sends whatever there is.
    pub(super) fn push_stream(
        &mut self,
        now: Micros,
        hurry: bool,
        force: bool,
        out: &mut Vec<SimSegment>,
    ) -> bool {
        let most = (self.una + self.peer_window)
            .min(self.una + Position::try_from(self.cwnd).expect("small") * self.mss);
        let length = (self.written - self.nxt).min(self.mss).min(most - self.nxt);
        let fin = self.fin && self.nxt + length.max(0) == self.written && self.nxt <= self.written;
        if length <= 0 && !(fin && length == 0) {
            return false;
        }
        let idle = self.nxt == self.una;
        let resent = self.nxt < self.high;
        let go = force || hurry || length == self.mss || idle || !self.profile.nagle || fin || resent;
        if !go {
            return false;
        }
        let at = self.nxt;
        self.nxt += length + Position::from(fin);
        self.transmit(now, at, length, fin, out);
        true
    }

    pub(super) fn transmit(
        &mut self,
        now: Micros,
        from: Position,
        length: Position,
        fin: bool,
        out: &mut Vec<SimSegment>,
    ) {
        let mut flags = Flags::ACK;
        if length > 0 {
            flags = flags | Flags::PSH;
        }
        if fin {
            flags = flags | Flags::FIN;
        }
        out.push(self.packet(now, flags, from, length));
        self.high = self.high.max(from + length + Position::from(fin));
        self.acknowledgment_sent();
        self.sent_at = now;
        if self.retransmit_at.is_none() || self.persists {
            self.arm(now);
        }
        if self.profile.probe {
            self.probe_at = Some(now + 2 * self.rto.saturating_sub(self.profile.rto_min).max(1000));
        }
    }

    pub(super) fn arm(&mut self, now: Micros) {
        let wait = (self.rto << self.backoff.min(10)).min(RTO_MAX);
        self.persists = false;
        self.retransmit_at = (self.una < self.nxt).then_some(now + wait);
        if self.una == self.nxt {
            self.probe_at = None;
        }
    }

    /// Tail loss probe.
    pub(super) fn probe(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        if self.in_loss || self.una == self.nxt || self.state != ConnectionState::Open {
            return;
        }
        if let Some(index) = self.chunks.iter().rposition(|chunk| chunk.sent) {
            self.resend(now, index, 1, out);
            self.probe_at = None;
        }
    }

    /// Keep-alive: a byte that is long acknowledged, without the byte.
    pub(super) fn probe_idle(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        if self.una == self.high && !self.fin {
            out.push(self.packet(now, Flags::ACK, self.high - 1, 0));
            self.probes += 1;
        }
        self.keep_alive_at = self.idle_until(now);
    }

    /// When a probe is due. Without timestamps nobody answers it: such a connection has one request and does not idle.
    pub(super) fn idle_until(&self, now: Micros) -> Option<Micros> {
        self.profile.keep_alive.filter(|_| self.timestamps.is_some()).map(|idle| now + idle)
    }

    /// Everything up to `place` has been acknowledged.
    pub(super) fn drop_acknowledged(&mut self, place: Position) {
        self.una = place;
        self.nxt = self.nxt.max(place);
        while self.chunks.front().is_some_and(|chunk| chunk.sent && chunk.end() <= place) {
            self.chunks.pop_front();
        }
        let mss = self.mss;
        if let Some(head) = self.chunks.front_mut().filter(|head| head.sent && head.segments(mss) > 1) {
            // One of several segments forgets at once what is acknowledged (`tcp_tso_acked`), and is cut anew from there.
            head.from = head.from.max(place).min(head.to);
        }
    }

    pub(super) fn nothing_lost(&mut self) {
        self.in_loss = false;
        self.recover = None;
        for chunk in &mut self.chunks {
            chunk.lost = false;
        }
    }

    /// Whether there is something that was never sent.
    pub(super) fn has_new(&mut self) -> bool {
        self.nxt < self.end() && self.sendable(true).is_some()
    }
}
