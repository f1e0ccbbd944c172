//! Why frames go where they go.

/// The reason of a frame's verdict: each has a counter, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SteeringReason {
    /// To a served address and port: to the socket of its queue.
    Served,
    /// As [`SteeringReason::Served`], but no socket is bound to the queue.
    NoSocket,
    /// As [`SteeringReason::NoSocket`], while the interface passes from one process to another (the map `HELD`).
    Held,
    /// First fragment of a segment for a served port. Were it passed on, the kernel would put the segment together.
    FirstFragment,
    /// Ends within the link or network header, or before the ports.
    Truncated,
    /// Addressed to a group at the link layer, where TCP has no business.
    LinkGroup,
    /// ARP and everything else that is neither IPv4 nor IPv6, or stands behind more than two VLAN tags.
    NotIp,
    /// IP version or header length that contradict the Ethernet type.
    Malformed,
    /// UDP, unless it is answered; ICMP, ...
    NotTcp,
    /// Served traffic behind IPv6 extension headers, or what may be that: more headers than are looked behind.
    ExtensionHeader,
    /// Fragment that is not the first, or not of a served port.
    Fragment,
    /// TCP to an address that is not served.
    OtherAddress,
    /// TCP to a port that is not served.
    OtherPort,
    /// To a served address and port, from a client that is left to the kernel, or with extension headers that are.
    Left,
    /// To a served address and port, from a client that is denied.
    Denied,
    /// To a served address and port, from a network that has no token left.
    Limited,
    /// To a served address and port, at the link layer to another host or VLAN.
    OtherHost,
    /// To a served address and port, from where no single other host sends: a group at the link layer, an address of this
    /// host, a broadcast address.
    ImpossibleSource,
}

/// The XDP program's verdict on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To the AF_XDP socket.
    Redirect,
    /// To nobody.
    Drop,
    /// To the kernel.
    Pass,
}

impl SteeringReason {
    /// Every reason, by its index.
    pub const ALL: [Self; 18] = [
        Self::Served,
        Self::NoSocket,
        Self::Held,
        Self::FirstFragment,
        Self::Truncated,
        Self::LinkGroup,
        Self::NotIp,
        Self::Malformed,
        Self::NotTcp,
        Self::ExtensionHeader,
        Self::Fragment,
        Self::OtherAddress,
        Self::OtherPort,
        Self::Left,
        Self::Denied,
        Self::Limited,
        Self::OtherHost,
        Self::ImpossibleSource,
    ];

    /// The verdict that follows from the reason.
    #[inline]
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Served => Action::Redirect,
            Self::Held
            | Self::FirstFragment
            | Self::ExtensionHeader
            | Self::Denied
            | Self::Limited
            | Self::ImpossibleSource => Action::Drop,
            Self::NoSocket
            | Self::Truncated
            | Self::LinkGroup
            | Self::NotIp
            | Self::Malformed
            | Self::NotTcp
            | Self::Fragment
            | Self::OtherAddress
            | Self::OtherPort
            | Self::OtherHost
            | Self::Left => Action::Pass,
        }
    }

    /// Name of its counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Served => "xdp_served",
            Self::NoSocket => "xdp_no_socket",
            Self::Held => "xdp_held",
            Self::FirstFragment => "xdp_first_fragment",
            Self::Truncated => "xdp_truncated",
            Self::LinkGroup => "xdp_link_group",
            Self::NotIp => "xdp_not_ip",
            Self::Malformed => "xdp_malformed",
            Self::NotTcp => "xdp_not_tcp",
            Self::ExtensionHeader => "xdp_extension_header",
            Self::Fragment => "xdp_fragment",
            Self::OtherAddress => "xdp_other_address",
            Self::OtherPort => "xdp_other_port",
            Self::Left => "xdp_left",
            Self::Denied => "xdp_denied",
            Self::Limited => "xdp_limited",
            Self::OtherHost => "xdp_other_host",
            Self::ImpossibleSource => "xdp_impossible_source",
        }
    }
}
