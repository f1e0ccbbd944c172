//! The client's TCP, as real ones behave: what the server relies on for its memory.
//!
//! All numbers are places relative to the two initial sequence numbers: nothing in here wraps; the server sees them wrap.

mod buffers;
mod receive;
mod resend;
mod send;
mod steer;
mod timer;

use buffers::{Chunk, Piece};
pub use steer::Delay;
pub use timer::Timer;

use stateless_tcp_core::tcp::segment::{Flags, Timestamps};
use std::collections::VecDeque;

use super::packet::{Micros, Position, SimSegment, number, position};

/// Largest retransmission timeout (Linux's `TCP_RTO_MAX`).
const RTO_MAX: Micros = 120_000_000;
/// In one buffer of Linux (`MAX_SKB_FRAGS`).
const MOST_FRAGMENTS: usize = 17;
/// Of a SYN.
const RTO_INITIAL: Micros = 1_000_000;

/// Whose TCP this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpStack {
    /// Resends what it sent as it was cut, the oldest first; TS.Recent by `tcp_replace_ts_recent`.
    Linux,
    /// Goes back to SND.UNA and cuts anew; TS.Recent by RFC 7323 section 4.3.
    Bsd,
}

/// The kind of client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own that real clients have")]
pub struct Profile {
    /// Whose TCP.
    pub kind: TcpStack,
    /// Offers timestamps.
    pub timestamps: bool,
    /// The options of its SYN.
    pub mss: u16,
    /// Bytes of its receive buffer.
    pub buffer: Position,
    /// Holds back small segments while one is out (RFC 9293 section 3.7.4).
    pub nagle: bool,
    /// Holds back small writes until the device has sent what it has (Linux).
    pub autocork: bool,
    /// Merges what it resends with what follows (Linux's `tcp_retrans_try_collapse`).
    pub collapse: bool,
    /// Sends new data after the first acknowledgment that follows a timeout (RFC 5682).
    pub frto: bool,
    /// Resends the last segment when nothing came back for two round trips (RFC 8985 section 7).
    pub probe: bool,
    /// Acknowledges so many arrivals at once before it begins to delay.
    pub quick: u32,
    /// Full segments are acknowledged when the application reads them (Linux, where the window would shrink), and what
    /// waits for a timer then too.
    pub reader: bool,
    /// Takes data in before it looks at the acknowledgment field, where nothing is unusual (Linux's header prediction).
    pub predicts: bool,
    /// The handshake's ACK waits for data to go with (Linux with data written before).
    pub defer_ack: bool,
    /// Least retransmission timeout.
    pub rto_min: Micros,
    /// The delay of an acknowledgment.
    pub ack_delay: Micros,
    /// Probes a connection that is idle so long (RFC 9293 section 3.8.4).
    pub keep_alive: Option<Micros>,
    /// The timestamp clock when the world begins.
    pub clock: u32,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// SYN-SENT.
    Opening,
    /// Anything between, as [`SimClient::fin_sent`] and its like say.
    Open,
    /// Reset by the server.
    Reset,
    /// Closed, aborted or in TIME-WAIT.
    Closed,
}

/// One connection's client side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "TCP's flags are independent of each other")]
pub struct SimClient {
    profile: Profile,
    port: u16,
    isn: u32,
    irs: u32,
    /// Offset of this connection's beginning in all that the application writes.
    base: usize,
    /// Its state.
    pub state: ConnectionState,
    /// The content that the connection began with.
    pub generation: u8,
    /// TS.Recent, if timestamps were negotiated.
    pub timestamps: Option<u32>,
    /// Segments that PAWS refused.
    pub refused_by_paws: u32,
    /// Of those, such as would have been of use.
    pub needed_by_paws: u32,
    /// Timeouts.
    pub timeouts: u32,
    /// Keep-alive probes since the server was last heard.
    pub probes: u32,
    // Sending.
    una: Position,
    nxt: Position,
    high: Position,
    written: Position,
    fin: bool,
    chunks: VecDeque<Chunk>,
    peer_window: Position,
    mss: Position,
    small_end: Position,
    cwnd: usize,
    /// Segments that leave as one, to be cut by the device (`tcp_tso_segs`).
    burst: usize,
    /// Each write is a fragment of its own.
    fragmented: bool,
    recover: Option<Position>,
    in_loss: bool,
    /// Number of the newest that the next timeout does not take for lost, if not the clock decides.
    spared: Option<usize>,
    frto: bool,
    /// The timeout is taken for spurious, if timestamps do not decide (RFC 3522).
    spurious: Option<bool>,
    duplicates: u32,
    /// Duplicate acknowledgments that mean loss.
    disorder: u32,
    resent_at: Option<u32>,
    // Receiving.
    rcv_nxt: Position,
    acked: Position,
    edge: Position,
    inbox: VecDeque<u8>,
    pieces: Vec<Piece>,
    /// The server's FIN has arrived, and all before it.
    pub fin_received: bool,
    quick: u32,
    interactive: bool,
    deaf: bool,
    /// The server closed first: there will be no TIME-WAIT.
    passive: bool,
    /// Nothing is remembered of the connection.
    gone: bool,
    // Timers.
    rto: Micros,
    /// The newest measurement.
    round_trip: Micros,
    backoff: u32,
    /// The retransmission timer runs for a window that opens.
    persists: bool,
    opened_at: Micros,
    sent_at: Micros,
    retransmit_at: Option<Micros>,
    probe_at: Option<Micros>,
    ack_at: Option<Micros>,
    push_at: Option<Micros>,
    keep_alive_at: Option<Micros>,
}

impl SimClient {
    /// A connection from `port`, whose first byte is the byte `base` of all that is ever written; sends SYN.
    pub fn open(
        profile: Profile,
        port: u16,
        isn: u32,
        base: usize,
        now: Micros,
        out: &mut Vec<SimSegment>,
    ) -> Self {
        let edge = profile.buffer.min(65_535);
        let mut client = Self {
            port,
            isn,
            irs: 0,
            base,
            state: ConnectionState::Opening,
            generation: 0,
            timestamps: None,
            refused_by_paws: 0,
            needed_by_paws: 0,
            timeouts: 0,
            probes: 0,
            una: 0,
            nxt: 1,
            high: 1,
            written: 1,
            fin: false,
            chunks: VecDeque::new(),
            peer_window: 0,
            mss: 536,
            small_end: 0,
            cwnd: 10,
            burst: 4,
            fragmented: false,
            recover: None,
            in_loss: false,
            spared: None,
            round_trip: 0,
            frto: false,
            spurious: None,
            duplicates: 0,
            disorder: 3,
            resent_at: None,
            rcv_nxt: 1,
            acked: 1,
            edge,
            inbox: VecDeque::new(),
            pieces: Vec::new(),
            fin_received: false,
            quick: profile.quick,
            interactive: false,
            deaf: false,
            passive: false,
            gone: false,
            rto: RTO_INITIAL,
            backoff: 0,
            persists: false,
            opened_at: now,
            sent_at: now,
            retransmit_at: Some(now + RTO_INITIAL),
            probe_at: None,
            ack_at: None,
            push_at: None,
            keep_alive_at: None,
            profile,
        };
        client.send_syn(now, out);
        client
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its initial sequence number and the server's.
    pub fn initial(&self) -> (u32, u32) {
        (self.isn, self.irs)
    }

    /// Behind all that was ever sent.
    pub fn high(&self) -> Position {
        self.high
    }

    /// Bytes written that are acknowledged.
    pub fn acknowledged(&self) -> Position {
        self.una.min(self.written) - 1
    }

    /// Bytes that the application has written.
    pub fn written(&self) -> Position {
        self.written - 1
    }

    /// Whether the application has closed its direction.
    pub fn fin_sent(&self) -> bool {
        self.fin
    }

    /// Whether the application has closed both directions.
    pub fn deaf(&self) -> bool {
        self.deaf
    }

    /// Something the application wrote is not yet acknowledged.
    pub fn waits(&self) -> bool {
        self.una < self.end()
    }

    fn end(&self) -> Position {
        self.written + Position::from(self.fin)
    }

    fn send_syn(&mut self, now: Micros, out: &mut Vec<SimSegment>) {
        let timestamps = self.profile.timestamps.then(|| Timestamps { value: self.clock(now), echo: 0 });
        out.push(SimSegment {
            mss: Some(self.profile.mss),
            timestamps,
            ack: 0,
            ..self.packet(now, Flags::SYN, 0, 0)
        });
    }

    /// A segment of ours as things stand.
    fn packet(&self, now: Micros, flags: Flags, from: Position, length: Position) -> SimSegment {
        let window = (self.edge - self.rcv_nxt).clamp(0, 65_535);
        SimSegment {
            to_server: true,
            port: self.port,
            seq: number(from, self.isn),
            ack: number(self.rcv_nxt, self.irs),
            flags,
            window: u16::try_from(window).expect("clamped"),
            mss: None,
            timestamps: self.timestamps.map(|echo| Timestamps { value: self.clock(now), echo }),
            from: self.base + usize::try_from((from - 1).max(0)).expect("not negative"),
            length: u16::try_from(length).expect("at most a segment"),
            bytes: Vec::new(),
            generation: 0,
        }
    }

    /// Milliseconds.
    #[expect(clippy::cast_possible_truncation, reason = "the clock wraps")]
    fn clock(&self, now: Micros) -> u32 {
        self.profile.clock.wrapping_add((now / 1000) as u32)
    }

    /// Gives up: everything is forgotten, and the server told if `tell` says so.
    pub fn abort(&mut self, now: Micros, tell: bool, out: &mut Vec<SimSegment>) {
        if tell && self.state == ConnectionState::Open {
            out.push(self.packet(now, Flags::RST | Flags::ACK, self.high, 0));
        }
        self.stop(ConnectionState::Closed);
        self.gone = true;
    }

    fn stop(&mut self, state: ConnectionState) {
        self.state = state;
        self.gone = state == ConnectionState::Reset;
        (self.retransmit_at, self.probe_at, self.ack_at) = (None, None, None);
        (self.push_at, self.keep_alive_at) = (None, None);
    }

    /// Whether both directions are closed and acknowledged.
    fn settle(&mut self) {
        if self.state == ConnectionState::Open
            && self.fin
            && !self.waits()
            && self.fin_received
            && self.ack_at.is_none()
        {
            self.stop(ConnectionState::Closed);
            self.gone = self.passive;
        }
    }

    fn place(&self, sequence_number: u32) -> Position {
        position(sequence_number, self.irs)
    }
}
