//! Receiving: what is acceptable, what is acknowledged when, and which timestamp is echoed.

use stateless_tcp_core::tcp::segment::{Flags, Timestamps};

use super::{ConnectionState, Piece, SimClient, TcpStack};
use crate::sim::packet::{Micros, Position, SimSegment, position};

/// The treatment of the rest of a segment after its acknowledgment field.
#[derive(PartialEq, Eq)]
enum Acknowledged {
    Go,
    Discard,
}

impl SimClient {
    /// A segment arrives.
    pub fn receive(&mut self, now: Micros, packet: &SimSegment, out: &mut Vec<SimSegment>) {
        match self.state {
            ConnectionState::Opening => self.receive_opening(now, packet, out),
            ConnectionState::Open => {
                self.probes = 0;
                self.keep_alive_at = self.idle_until(now);
                self.receive_open(now, packet, out);
            }
            ConnectionState::Reset | ConnectionState::Closed if self.gone => self.refuse(now, packet, out),
            ConnectionState::Reset | ConnectionState::Closed => self.receive_late(now, packet, out),
        }
        self.settle();
    }

    fn receive_opening(&mut self, now: Micros, packet: &SimSegment, out: &mut Vec<SimSegment>) {
        let acknowledges = packet.is(Flags::ACK) && position(packet.ack, self.isn) == 1;
        if packet.is(Flags::RST) {
            if acknowledges {
                self.stop(ConnectionState::Reset);
            }
            return;
        }
        if !packet.is(Flags::SYN) || !acknowledges || self.echo_is_foreign(now, packet) {
            return;
        }
        self.state = ConnectionState::Open;
        self.generation = packet.generation;
        self.irs = packet.seq;
        (self.una, self.peer_window) = (1, packet.window.into());
        if self.profile.timestamps {
            self.timestamps = packet.timestamps.map(|timestamps| timestamps.value);
        }
        let options = if self.timestamps.is_some() { 12 } else { 0 };
        self.mss = Position::from(packet.mss.unwrap_or(536).min(self.profile.mss)) - options;
        self.cut_anew();
        if self.backoff > 1 {
            // RFC 5681 section 3.1: the SYN was lost, and more than once (`tcp_init_cwnd`).
            self.cwnd = 1;
        }
        self.measure(now);
        self.retransmit_at = None;
        self.keep_alive_at = self.idle_until(now);
        let before = out.len();
        self.push(now, self.fin, out);
        if out.len() == before {
            if self.profile.defer_ack {
                self.ack_at = Some(now + self.profile.ack_delay);
            } else {
                self.send_ack(now, out);
            }
        }
    }

    /// An echo of something that was never sent (Linux; RFC 7323 section 3.2 says only that it is of no use).
    fn echo_is_foreign(&self, now: Micros, packet: &SimSegment) -> bool {
        let Some(Timestamps { echo, .. }) = packet.timestamps.filter(|_| self.profile.timestamps) else {
            return false;
        };
        // A tick to spare, for clocks that tick at different times.
        let (since, age) = (self.clock(self.opened_at).wrapping_sub(1), self.clock(now).wrapping_add(1));
        echo != 0 && echo.wrapping_sub(since) > age.wrapping_sub(since)
    }

    fn measure(&mut self, now: Micros) {
        if self.backoff == 0 {
            self.round_trip = now - self.sent_at;
            self.rto = self.profile.rto_min + self.round_trip;
        } else if self.rto < self.profile.rto_min {
            self.rto = self.profile.rto_min;
        }
        self.backoff = 0;
    }

    fn receive_open(&mut self, now: Micros, packet: &SimSegment, out: &mut Vec<SimSegment>) {
        let seq = self.place(packet.seq);
        let fin = packet.is(Flags::FIN);
        let end = seq + Position::from(packet.length) + Position::from(fin);
        let reset = packet.is(Flags::RST);
        // Linux forgives one tick (`TCP_PAWS_WINDOW`).
        let forgiven = i32::from(self.profile.kind == TcpStack::Linux);
        if let (Some(recent), Some(Timestamps { value, .. })) = (self.timestamps, packet.timestamps)
            && recent != 0
            && value.wrapping_sub(recent).cast_signed() < -forgiven
            && !reset
        {
            self.refused_by_paws += 1;
            self.needed_by_paws += u32::from(seq <= self.rcv_nxt && self.rcv_nxt < end);
            // An old pure ACK says nothing (Linux since 6.14, `tcp_disordered_ack_check`).
            let old_ack = end == seq && end < self.rcv_nxt && !packet.is(Flags::SYN);
            if !(self.profile.kind == TcpStack::Linux && old_ack) {
                self.send_ack(now, out);
            }
            return;
        }
        // Linux looks from what it has acknowledged on; BSD cuts off what it knows and looks at the rest.
        let old = self.profile.kind == TcpStack::Linux && end < self.acked;
        if old || seq > self.edge {
            if !reset {
                self.send_ack(now, out);
            }
            return;
        }
        if reset {
            if seq == self.rcv_nxt {
                self.stop(ConnectionState::Reset);
            } else {
                self.send_ack(now, out);
            }
            return;
        }
        if packet.is(Flags::SYN) {
            return self.send_ack(now, out);
        }
        if !packet.is(Flags::ACK) {
            return;
        }
        let known = end <= self.rcv_nxt;
        let plain =
            self.profile.predicts && seq == self.rcv_nxt && !fin && self.pieces.is_empty() && !self.fin;
        if plain && packet.length > 0 && !self.deaf {
            // Header prediction: data first, then the acknowledgment field.
            if self.rcv_nxt == self.acked {
                self.note_timestamp(packet);
            }
            self.accept(packet, seq);
            if self.acknowledge(now, packet, seq, end, out) == Acknowledged::Discard {
                return;
            }
        } else {
            // Whatever the acknowledgment field sets free is sent with the old RCV.NXT and the new echo.
            if self.acknowledge(now, packet, seq, end, out) == Acknowledged::Discard {
                return;
            }
            if self.passive && !self.waits() {
                // LAST-ACK ends with the acknowledgment of FIN, whatever comes with it (RFC 9293 section 3.10.7.4).
                return;
            }
            if packet.length == 0 && !fin {
                return self.push(now, false, out);
            }
            if self.fin_received && seq >= self.rcv_nxt {
                // Bytes behind the server's FIN.
                return self.push(now, false, out);
            }
            if (self.deaf || self.fin_received) && end - Position::from(fin) > self.rcv_nxt {
                // Bytes for nobody.
                self.stop(ConnectionState::Closed);
                self.gone = true;
                return self.refuse(now, packet, out);
            }
            let open = !self.fin_received;
            self.accept(packet, seq);
            if open && self.fin_received && self.fin && self.profile.kind == TcpStack::Linux {
                // Both have closed: at once, and by itself (`tcp_fin`).
                self.send_ack(now, out);
                return self.push(now, false, out);
            }
        }
        let before = out.len();
        self.push(now, false, out);
        if out.len() == before {
            self.acknowledge_arrival(now, known, end, fin, out);
        }
    }

    /// A segment for a connection that is no more (RFC 9293 section 3.5.2, first group).
    fn refuse(&self, now: Micros, packet: &SimSegment, out: &mut Vec<SimSegment>) {
        if !packet.is(Flags::RST) {
            let reset = self.packet(now, Flags::RST, position(packet.ack, self.isn), 0);
            out.push(SimSegment { ack: 0, window: 0, timestamps: None, ..reset });
        }
    }

    /// TIME-WAIT: nothing new can come, so whatever takes room has come before (RFC 9293 section 3.10.7.4).
    fn receive_late(&mut self, now: Micros, packet: &SimSegment, out: &mut Vec<SimSegment>) {
        let bare = packet.length == 0 && !packet.is(Flags::FIN);
        if !(packet.is(Flags::RST) || bare && self.place(packet.seq) == self.rcv_nxt) {
            self.send_ack(now, out);
        }
    }

    fn note_timestamp(&mut self, packet: &SimSegment) {
        if let (Some(recent), Some(Timestamps { value, .. })) = (&mut self.timestamps, packet.timestamps)
            && (*recent == 0 || value.wrapping_sub(*recent).cast_signed() >= 0)
        {
            *recent = value;
        }
    }

    /// The acknowledgment field (`tcp_ack`).
    fn acknowledge(
        &mut self,
        now: Micros,
        packet: &SimSegment,
        seq: Position,
        end: Position,
        out: &mut Vec<SimSegment>,
    ) -> Acknowledged {
        let ack = position(packet.ack, self.isn);
        let bsd = self.profile.kind == TcpStack::Bsd;
        if bsd && seq <= self.acked && self.acked <= end {
            self.note_timestamp(packet);
        }
        if ack < self.una {
            return Acknowledged::Go;
        }
        if ack > self.high {
            return Acknowledged::Discard;
        }
        if !bsd && seq <= self.acked {
            self.note_timestamp(packet);
        }
        let same_window = self.peer_window == Position::from(packet.window);
        if Position::from(packet.window) > self.peer_window {
            self.stop_persisting();
        }
        self.peer_window = packet.window.into();
        if ack > self.una {
            self.advance(now, packet, ack, out);
        } else if packet.length == 0 && same_window && !packet.is(Flags::FIN) && self.una < self.nxt {
            self.duplicate(now, out);
        }
        Acknowledged::Go
    }

    /// An acknowledgment that acknowledges nothing new (`tcp_add_reno_sack`).
    fn duplicate(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        if self.profile.kind == TcpStack::Linux && self.in_loss {
            // The timeout was none too soon (RFC 5682 section 2.1, step 3a).
            self.frto = false;
            return self.recover_lost(now, out);
        }
        self.duplicates += 1;
        // Linux: each stands for a segment that arrived behind the hole, and more than there are mean disorder.
        let flying = u32::try_from(self.flying()).expect("few");
        if self.profile.kind == TcpStack::Linux && self.duplicates >= flying {
            self.duplicates = flying.saturating_sub(1);
            self.disorder = self.disorder.max(flying + 1);
        }
        if self.duplicates == self.disorder && self.recover.is_none() {
            self.recover = Some(self.high);
            self.resend_head(now, out);
        }
    }

    fn advance(&mut self, now: Micros, packet: &SimSegment, ack: Position, out: &mut Vec<SimSegment>) {
        if self.backoff == 0 && self.recover.is_none() {
            self.round_trip = now - self.sent_at;
            self.rto = self.profile.rto_min + self.round_trip.min(1_000_000);
        }
        self.backoff = 0;
        self.duplicates = 0;
        let flown = self.outstanding();
        self.drop_acknowledged(ack);
        // Linux counts segments, and one of which a part is acknowledged is still out.
        self.cwnd += if self.profile.kind == TcpStack::Bsd {
            1
        } else {
            flown.saturating_sub(self.outstanding()).min(1)
        };
        let early = match (packet.timestamps, self.resent_at) {
            _ if self.spurious.is_some() => self.spurious == Some(true),
            (Some(timestamps), Some(resent)) => timestamps.echo.wrapping_sub(resent).cast_signed() < 0,
            _ => false,
        };
        match self.recover {
            Some(recover) if ack >= recover || (early && self.in_loss) => self.nothing_lost(),
            Some(_) if self.frto && self.in_loss => {
                self.frto = false;
                if self.has_new() {
                    self.cwnd += 1;
                    self.push(now, true, out);
                    self.arm(now);
                    return;
                }
                self.recover_lost(now, out);
            }
            Some(_) if self.in_loss => self.recover_lost(now, out),
            Some(_) => self.resend_head(now, out),
            None => {}
        }
        self.arm(now);
    }

    /// Payload and FIN; what is known already stays as it came first.
    fn accept(&mut self, packet: &SimSegment, seq: Position) {
        let fin = packet.is(Flags::FIN);
        if seq > self.rcv_nxt {
            let new = Piece { at: seq, bytes: packet.bytes.clone(), fin };
            // What adjoins is one, FIN and all; what another covers is forgotten, its FIN too (`tcp_data_queue_ofo`).
            if let Some(piece) = self.pieces.iter_mut().find(|piece| !piece.fin && piece.end() == seq) {
                piece.bytes.extend(&new.bytes);
                piece.fin = fin;
            } else if !self.pieces.iter().any(|piece| piece.covers(&new)) {
                self.pieces.retain(|piece| !new.covers(piece));
                let place = self.pieces.partition_point(|piece| piece.at <= seq);
                self.pieces.insert(place, new);
            }
            return;
        }
        self.take(seq, &packet.bytes, fin);
        while self.pieces.first().is_some_and(|piece| piece.at <= self.rcv_nxt) {
            let Piece { at, bytes, fin } = self.pieces.remove(0);
            self.take(at, &bytes, fin);
        }
    }

    fn take(&mut self, at: Position, bytes: &[u8], fin: bool) {
        let known = usize::try_from(self.rcv_nxt - at).expect("begins before RCV.NXT");
        if known > bytes.len() || self.fin_received {
            return;
        }
        let new = &bytes[known..];
        self.inbox.extend(new);
        self.rcv_nxt += Position::try_from(new.len()).expect("short");
        if fin {
            self.rcv_nxt += 1;
            self.fin_received = true;
            self.pieces.clear();
        }
    }

    /// When an arrival is acknowledged (`__tcp_ack_snd_check`).
    fn acknowledge_arrival(
        &mut self,
        now: Micros,
        known: bool,
        end: Position,
        fin: bool,
        out: &mut Vec<SimSegment>,
    ) {
        let known = known && !self.profile.reader;
        let out_of_order = known || end > self.rcv_nxt || !self.pieces.is_empty();
        let two = self.rcv_nxt - self.acked > self.mss && !self.profile.reader;
        let quick = self.quick > 0 && !self.interactive;
        if out_of_order || two || quick {
            self.quick = self.quick.saturating_sub(1);
            self.send_ack(now, out);
        } else {
            // FIN too waits while the application is to answer: its own FIN may go with the acknowledgment.
            let delay = if fin { self.profile.ack_delay / 4 } else { self.profile.ack_delay };
            self.ack_at.get_or_insert(now + delay);
        }
    }

    /// Sends an acknowledgment, whatever it waits for.
    pub fn send_ack(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        out.push(self.packet(now, Flags::ACK, self.high, 0));
        self.acknowledgment_sent();
    }

    pub(super) fn acknowledgment_sent(&mut self) {
        self.acked = self.rcv_nxt;
        self.ack_at = None;
    }

    /// The bytes that arrived in order and were not read.
    pub fn unread(&self) -> usize {
        self.inbox.len()
    }

    /// The application reads at most so many bytes into `into`.
    pub fn read(&mut self, now: Micros, most: usize, into: &mut Vec<u8>, out: &mut Vec<SimSegment>) {
        if self.take_bytes(most, into) {
            self.send_ack(now, out);
        }
        self.settle();
    }

    /// As [`SimClient::read`]; returns whether the window has opened by so much that the server is told.
    pub fn take_bytes(&mut self, most: usize, into: &mut Vec<u8>) -> bool {
        let length = most.min(self.inbox.len());
        into.extend(self.inbox.drain(..length));
        // tcp_cleanup_rbuf
        let awaited = self.profile.reader && length > 0 && self.ack_at.is_some();
        let unread = Position::try_from(self.inbox.len()).expect("short");
        let before = self.edge - self.rcv_nxt;
        let room = (self.profile.buffer - unread).min(65_535);
        // Windows do not grow by drops (RFC 9293 section 3.8.6.2.2), and never shrink.
        if room - before < self.mss.min(self.profile.buffer / 2) {
            return awaited;
        }
        self.edge = self.rcv_nxt + room;
        awaited
            || room >= 2 * before.max(1)
                && self.state == ConnectionState::Open
                && before < self.profile.buffer / 2
    }
}
