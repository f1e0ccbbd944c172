//! The outcomes of a frame: one table, from which counters, their names and the XDP action follow.
//!
//! A new outcome is one line here and its use at the branch that decides it; docs/operations.md explains each counter.

/// The group that an outcome is reported in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Counts what passes, beside the one outcome that each frame has.
    Traffic,
    /// The segment was answered, or taken in.
    Answer,
    /// The segment was not answered, or an answer was not sent.
    Refusal,
}

/// Action of an XDP program that has decided an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpAction {
    /// `XDP_TX`: the frame now holds the answer.
    Transmit,
    /// `XDP_DROP`.
    Drop,
    /// None: only user space decides this outcome.
    UserSpace,
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal ($kind:ident, $action:ident),)*) => {
        /// The outcome of a frame. Each has a counter, in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Outcome { $($(#[$doc])* $variant,)* }

        impl Outcome {
            /// Every outcome, by its index.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name of its counter, in metrics, log and documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The group that it is reported in.
            #[must_use]
            pub const fn kind(self) -> OutcomeKind {
                match self { $(Self::$variant => OutcomeKind::$kind,)* }
            }

            /// The action of an XDP program that has decided it.
            #[inline]
            #[must_use]
            pub const fn xdp_action(self) -> XdpAction {
                match self { $(Self::$variant => XdpAction::$action,)* }
            }
        }
    };
}

impl Outcome {
    /// Number of outcomes.
    pub const COUNT: usize = Self::ALL.len();

    /// The outcomes that an XDP program decides.
    pub fn in_driver() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|outcome| outcome.xdp_action() != XdpAction::UserSpace)
    }
}

outcomes! {
    /// A frame was taken from the RX ring.
    Received = "received" (Traffic, UserSpace),
    /// The checksum was that of the pseudo-header alone, and accepted: a local sender over a virtual link.
    PartialChecksum = "partial_checksum" (Traffic, UserSpace),
    /// SYN,ACK sent.
    SynAck = "syn_ack" (Answer, Transmit),
    /// The request on a SYN was answered with the SYN,ACK (TCP Fast Open).
    FastOpen = "fast_open" (Answer, UserSpace),
    /// The request on a SYN was not answered, although its cookie is right: the answer is too long, cut off, or refused.
    /// The client sends the request again at once.
    FastOpenLater = "fast_open_later" (Refusal, UserSpace),
    /// The Fast Open cookie is not its sender's; likewise.
    FastOpenBadCookie = "fast_open_bad_cookie" (Refusal, UserSpace),
    /// A Fast Open cookie was handed out.
    FastOpenCookie = "fast_open_cookie" (Answer, UserSpace),
    /// ACK, or FIN,ACK, sent for a FIN.
    FinAcknowledged = "fin_acknowledged" (Answer, Transmit),
    /// A request was answered (a segment may hold several messages).
    Answered = "answered" (Answer, UserSpace),
    /// A message was answered.
    Messages = "messages" (Traffic, UserSpace),
    /// A request was asked for again, and resumed or acknowledged.
    Resumed = "resumed" (Answer, UserSpace),
    /// A request ended in an incomplete message, and so with FIN: the client asks again.
    Incomplete = "incomplete" (Answer, UserSpace),
    /// ACK without payload sent: for answers that the client has, a probe, or its FIN.
    Confirmed = "confirmed" (Answer, Transmit),
    /// A request was answered ahead of what the client says it has, from the connection cache.
    AnsweredAhead = "hinted" (Answer, UserSpace),
    /// The beginning of a message was buffered until the rest comes.
    Buffered = "kept" (Answer, UserSpace),
    /// The request waits for an answer that is being fetched; its outcome is counted when it is there.
    Pending = "pending" (Answer, UserSpace),
    /// RST sent.
    ResetSent = "reset_sent" (Answer, UserSpace),
    /// A query over UDP was answered by a truncated response.
    UdpTruncated = "udp_truncated" (Answer, Transmit),
    /// The datagram is no whole query; nothing is sent.
    UdpNoQuestion = "udp_no_question" (Refusal, Drop),
    /// A segment or datagram was sent.
    Sent = "sent" (Traffic, UserSpace),
    /// No served address and port fits; such a frame reaches the ring only while the configuration changes.
    NotServed = "not_served" (Refusal, UserSpace),
    /// The IP header states a length that is not there, or too small for a TCP header.
    IpLength = "ip_length" (Refusal, UserSpace),
    /// The IPv4 header checksum is wrong.
    IpChecksum = "ip_checksum" (Refusal, UserSpace),
    /// The TCP data offset is below 5 or beyond the end.
    TcpHeader = "tcp_header" (Refusal, UserSpace),
    /// The TCP checksum is wrong.
    TcpChecksum = "tcp_checksum" (Refusal, UserSpace),
    /// A TCP option has an impossible length.
    TcpOption = "tcp_option" (Refusal, UserSpace),
    /// No single other host can have the sender's address or port.
    Martian = "martian" (Refusal, Drop),
    /// RST received: never answered (RFC 9293 section 3.10.7).
    Reset = "reset" (Refusal, Drop),
    /// SYN,ACK received: we open no connections.
    SynAckReceived = "syn_ack_received" (Refusal, Drop),
    /// No conversation holds these control bits: none, FIN without ACK, SYN with FIN, ...
    UnusualFlags = "unusual_flags" (Refusal, Drop),
    /// The client's MSS is below 536 bytes.
    MssTooSmall = "mss_too_small" (Refusal, Drop),
    /// ACK alone: the client has what it acknowledges, and no account is kept of it.
    BareAck = "bare_ack" (Refusal, Drop),
    /// Sequence and acknowledgment numbers do not fit our cookie: forged, or not the first segment.
    BadCookie = "bad_cookie" (Refusal, Drop),
    /// The content that the connection began with is not served any more.
    GenerationGone = "generation_gone" (Refusal, UserSpace),
    /// The connection began longer ago than connections live; FIN or RST.
    Expired = "expired" (Refusal, UserSpace),
    /// Acknowledges more than the response holds.
    BeyondResponse = "beyond_response" (Refusal, UserSpace),
    /// Asks to resume inside bytes that were not the same the first time.
    NonRepeatable = "volatile" (Refusal, UserSpace),
    /// The client's window cannot take the response.
    WindowTooSmall = "window_too_small" (Refusal, Drop),
    /// The beginning of the message was acknowledged and buffered, and is lost: crowded out, or at another server.
    ReassemblyLost = "forgotten" (Refusal, UserSpace),
    /// Sent again and again, and cannot be answered.
    RetryLimit = "stuck" (Refusal, UserSpace),
    /// Behind bytes of the client's whose answers it has not received: the client sends this again.
    OutOfOrder = "ahead" (Refusal, UserSpace),
    /// Acknowledges what no segment of ours ended at, or echoes a timestamp that does not fit the messages at hand.
    Misaligned = "misaligned" (Refusal, UserSpace),
    /// No frame was free for a segment; the client asks again.
    NoFrame = "no_frame" (Refusal, UserSpace),
    /// The TX ring was full; the client asks again.
    TxRingFull = "tx_ring_full" (Refusal, UserSpace),
}
