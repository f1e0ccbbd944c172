//! One counter for each thing that can become of a steered frame.

use stateless_tcp_core::fast_path::FastPathEvent;
use stateless_tcp_core::tcp::input::Reason;
use stateless_tcp_core::wire::Malformed;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What kind of thing a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What passes, whatever is made of it.
    Traffic,
    /// The rule by which a segment was answered, or taken in.
    Rule,
    /// The reason why a segment was not answered, or an answer not sent.
    Reason,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal ($kind:ident),)*) => {
        /// What is counted; each has a name, in the log and in the documentation.
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

            /// What kind of thing is counted.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }
        }
    };
}

counters! {
    /// Frames taken from the RX ring.
    Received = "received" (Traffic),
    /// Segments whose checksum was that of the pseudo-header alone, accepted: a local sender over a virtual link.
    PartialChecksum = "partial_checksum" (Traffic),
    /// SYN,ACK sent.
    SynAck = "syn_ack" (Rule),
    /// SYN whose request was answered with the SYN,ACK (TCP Fast Open).
    FastOpen = "fast_open" (Rule),
    /// SYN whose request was not, although its cookie is right: more than a SYN should bring about, cut off, or refused.
    /// The client sends it again at once.
    FastOpenLater = "fast_open_later" (Reason),
    /// SYN with a request and a Fast Open cookie that is not its sender's; likewise.
    FastOpenBadCookie = "fast_open_bad_cookie" (Reason),
    /// Fast Open cookies handed out.
    FastOpenCookie = "fast_open_cookie" (Rule),
    /// ACK, or FIN,ACK, sent for a FIN.
    FinAcknowledged = "fin_acknowledged" (Rule),
    /// Requests answered (a segment may hold several messages).
    Answered = "answered" (Rule),
    /// Messages answered.
    Messages = "messages" (Traffic),
    /// Requests asked for again and resumed or acknowledged.
    Resumed = "resumed" (Rule),
    /// Requests that ended in an incomplete message, and so with FIN: the client asks again.
    Incomplete = "incomplete" (Rule),
    /// Segments that acknowledge what the client has the answers to, or a probe, or its FIN; without payload.
    Confirmed = "confirmed" (Rule),
    /// Requests answered ahead of what the client says it has, from what is remembered of its connection.
    AnsweredAhead = "hinted" (Rule),
    /// Beginnings of messages kept until the rest comes.
    Buffered = "kept" (Rule),
    /// Requests that wait for an answer that is being fetched; what becomes of each is counted when it is there.
    Pending = "pending" (Rule),
    /// RST sent.
    ResetSent = "reset_sent" (Rule),
    /// Questions over UDP answered by "ask over TCP".
    UdpTruncated = "udp_truncated" (Rule),
    /// Datagrams that are no whole question; nothing is said to them.
    UdpNoQuestion = "udp_no_question" (Reason),
    /// Segments and datagrams sent.
    Sent = "sent" (Traffic),
    /// Frames that no served address and port fits; they reach the ring only when the configuration changes under way.
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
    /// Sender that no single other host can be.
    Martian = "martian" (Reason),
    /// RST received.
    Reset = "reset" (Reason),
    /// SYN,ACK received.
    SynAckReceived = "syn_ack_received" (Reason),
    /// Control bits that no conversation holds.
    UnusualFlags = "unusual_flags" (Reason),
    /// SYN with an MSS below 536.
    MssTooSmall = "mss_too_small" (Reason),
    /// ACK without payload.
    BareAck = "bare_ack" (Reason),
    /// Payload that does not prove our cookie.
    BadCookie = "bad_cookie" (Reason),
    /// Connection of content that is gone.
    GenerationGone = "generation_gone" (Reason),
    /// Acknowledges more than there is.
    BeyondResponse = "beyond_response" (Reason),
    /// Resumes within octets that change.
    NonRepeatable = "volatile" (Reason),
    /// The client's window is too small for the response.
    WindowTooSmall = "window_too_small" (Reason),
    /// The beginning of the message was kept and is lost: crowded out, or kept by another server.
    ReassemblyLost = "forgotten" (Reason),
    /// Sent again and again, and cannot be answered: the client is told so.
    RetryLimit = "stuck" (Reason),
    /// Behind what the client has the answers to; it keeps this and sends it again.
    OutOfOrder = "ahead" (Reason),
    /// Acknowledges, or was promised, what does not fit the messages at hand.
    Misaligned = "misaligned" (Reason),
    /// Segments not sent because no frame was free; the client asks again.
    NoFrame = "no_frame" (Reason),
    /// Segments not sent because the TX ring was full; the client asks again.
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

/// The counters of one worker. Only it adds; anyone may read.
#[derive(Debug)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Counter::ALL.len()])
    }
}

impl Counters {
    /// Adds `amount`. A load and a store, not a locked addition: there is one writer.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Relaxed)
    }
}
