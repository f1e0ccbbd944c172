//! One counter for each outcome of a steered frame.
//!
//! A new refusal is one line in the table here, and its reason in the core. Metrics, log and `top` take all counters from
//! this table.

use stateless_tcp_core::fast_path::FastPathEvent;
use stateless_tcp_core::tcp::input::Reason;
use stateless_tcp_core::wire::Malformed;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The kind of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterKind {
    /// Frames and messages, whatever their outcome.
    Traffic,
    /// The rule that answered or accepted a segment.
    Rule,
    /// The reason why a segment was not answered, or an answer was not sent.
    Reason,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal ($kind:ident),)*) => {
        /// A counter. Its name is that in the log, the metrics and the documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// Every counter, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its kind.
            #[must_use]
            pub const fn kind(self) -> CounterKind {
                match self { $(Self::$variant => CounterKind::$kind,)* }
            }
        }
    };
}

counters! {
    /// Frames taken from the RX ring.
    Received = "received" (Traffic),
    /// Accepted segments with a partial checksum, that of the pseudo-header: from a local sender over a virtual link.
    PartialChecksum = "partial_checksum" (Traffic),
    /// SYN,ACK sent.
    SynAck = "syn_ack" (Rule),
    /// SYN with a request that was answered with the SYN,ACK (TCP Fast Open).
    FastOpen = "fast_open" (Rule),
    /// SYN with a request and a valid cookie, whose request is not answered yet: it is too large, incomplete, or refused.
    /// The client sends it again at once.
    FastOpenLater = "fast_open_later" (Reason),
    /// SYN with a request and a Fast Open cookie of another client. The client sends the request again, too.
    FastOpenBadCookie = "fast_open_bad_cookie" (Reason),
    /// Fast Open cookies sent.
    FastOpenCookie = "fast_open_cookie" (Rule),
    /// ACK, or FIN,ACK, sent for a FIN.
    FinAcknowledged = "fin_acknowledged" (Rule),
    /// Requests answered. A request may hold several messages.
    Answered = "answered" (Rule),
    /// Messages answered.
    Messages = "messages" (Traffic),
    /// Repeated requests whose response was resumed, or that were acknowledged.
    Resumed = "resumed" (Rule),
    /// Requests that ended in an incomplete message, and so were answered with FIN: the client asks again.
    Incomplete = "incomplete" (Rule),
    /// Segments without payload that acknowledge an answered request, a probe, or a FIN.
    Confirmed = "confirmed" (Rule),
    /// Requests answered ahead of the client's acknowledgments, by the connection cache.
    AnsweredAhead = "hinted" (Rule),
    /// Beginnings of messages that were buffered until the rest comes.
    Buffered = "kept" (Rule),
    /// Requests that wait for an upstream's answer. The outcome of each is counted later.
    Pending = "pending" (Rule),
    /// RST sent.
    ResetSent = "reset_sent" (Rule),
    /// Queries over UDP that were answered with TC.
    UdpTruncated = "udp_truncated" (Rule),
    /// Datagrams without a whole query, which get no response.
    UdpNoQuestion = "udp_no_question" (Reason),
    /// Segments and datagrams sent.
    Sent = "sent" (Traffic),
    /// Frames for an address or port that is not served. They reach the ring only while the configuration changes.
    NotServed = "not_served" (Reason),
    /// IP length wrong.
    IpLength = "ip_length" (Reason),
    /// IPv4 header checksum wrong.
    IpChecksum = "ip_checksum" (Reason),
    /// TCP data offset wrong.
    TcpHeader = "tcp_header" (Reason),
    /// TCP checksum wrong.
    TcpChecksum = "tcp_checksum" (Reason),
    /// TCP option of impossible length.
    TcpOption = "tcp_option" (Reason),
    /// Source address that no other single host can have.
    Martian = "martian" (Reason),
    /// RST received.
    Reset = "reset" (Reason),
    /// SYN,ACK received.
    SynAckReceived = "syn_ack_received" (Reason),
    /// Control bits that no connection uses.
    UnusualFlags = "unusual_flags" (Reason),
    /// SYN with an MSS below 536.
    MssTooSmall = "mss_too_small" (Reason),
    /// ACK without payload.
    BareAck = "bare_ack" (Reason),
    /// Payload whose acknowledgment number does not match a cookie.
    BadCookie = "bad_cookie" (Reason),
    /// Connection of content that has expired.
    GenerationGone = "generation_gone" (Reason),
    /// Acknowledges more than the response.
    BeyondResponse = "beyond_response" (Reason),
    /// Resumes within bytes that change (NonRepeatable).
    NonRepeatable = "volatile" (Reason),
    /// The client's window is too small for the response.
    WindowTooSmall = "window_too_small" (Reason),
    /// The buffered beginning of the message is lost: evicted, or buffered by another server.
    ReassemblyLost = "forgotten" (Reason),
    /// Retransmitted again and again, and unanswerable: the client gets RST.
    RetryLimit = "stuck" (Reason),
    /// Out of order: the client keeps the segment and sends it again.
    OutOfOrder = "ahead" (Reason),
    /// Sequence and acknowledgment numbers do not fit the messages.
    Misaligned = "misaligned" (Reason),
    /// Segments that were not sent, as no frame was free. The client asks again.
    NoFrame = "no_frame" (Reason),
    /// Segments that were not sent, as the TX ring was full. The client asks again.
    TxRingFull = "tx_ring_full" (Reason),
}

impl From<Malformed> for Counter {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::IpLength => Self::IpLength,
            Malformed::IpChecksum => Self::IpChecksum,
            Malformed::MappedAddress => Self::Martian,
            Malformed::TcpHeader => Self::TcpHeader,
            Malformed::TcpChecksum => Self::TcpChecksum,
            Malformed::TcpOption => Self::TcpOption,
        }
    }
}

impl From<Reason> for Counter {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Martian => Self::Martian,
            Reason::Reset => Self::Reset,
            Reason::SynAck => Self::SynAckReceived,
            Reason::UnusualFlags => Self::UnusualFlags,
            Reason::MssTooSmall => Self::MssTooSmall,
            Reason::BareAck => Self::BareAck,
            Reason::BadCookie => Self::BadCookie,
            Reason::GenerationGone => Self::GenerationGone,
            Reason::BeyondResponse => Self::BeyondResponse,
            Reason::NonRepeatable => Self::NonRepeatable,
            Reason::WindowTooSmall => Self::WindowTooSmall,
            Reason::ReassemblyLost => Self::ReassemblyLost,
            Reason::RetryLimit => Self::RetryLimit,
            Reason::OutOfOrder => Self::OutOfOrder,
            Reason::Misaligned => Self::Misaligned,
        }
    }
}

impl From<FastPathEvent> for Counter {
    fn from(event: FastPathEvent) -> Self {
        match event {
            FastPathEvent::SynAck => Self::SynAck,
            FastPathEvent::FinAcknowledged => Self::FinAcknowledged,
            FastPathEvent::Confirmed => Self::Confirmed,
            FastPathEvent::Martian => Self::Martian,
            FastPathEvent::Reset => Self::Reset,
            FastPathEvent::SynAckReceived => Self::SynAckReceived,
            FastPathEvent::UnusualFlags => Self::UnusualFlags,
            FastPathEvent::MssTooSmall => Self::MssTooSmall,
            FastPathEvent::BareAck => Self::BareAck,
            FastPathEvent::BadCookie => Self::BadCookie,
            FastPathEvent::WindowTooSmall => Self::WindowTooSmall,
            FastPathEvent::Truncated => Self::UdpTruncated,
            FastPathEvent::NoQuestion => Self::UdpNoQuestion,
        }
    }
}

/// The counters of one worker. Only the worker adds; every thread may read.
#[derive(Debug)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Counter::ALL.len()])
    }
}

impl Counters {
    /// Adds `amount`. There is one writer, so a load and a store suffice.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The present value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Relaxed)
    }
}
