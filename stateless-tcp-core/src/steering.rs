//! Whether a frame is ours to answer, the kernel's, or nobody's: the whole decision of the XDP program.
//!
//! It looks at link, network and port fields only. That a steered frame makes sense (lengths, checksums, options) is
//! seen to by who answers it: a damaged segment for a served port is not for the kernel either, which might reset.

mod reason;
mod vlan;

pub use self::reason::{Action, SteeringReason};
pub use self::vlan::VlanTags;
use crate::admission::PacketKind;
use crate::tcp::segment::{Address, Flags};
pub use crate::wire::bytes::Frame;
use crate::wire::offset;

/// The served addresses and ports, as configured.
pub trait Steering {
    /// Whether `address` is one of ours.
    fn address(&self, address: &Address) -> bool;
    /// Whether TCP port `port` is served.
    fn port(&self, port: u16) -> bool;
    /// The UDP port where questions are answered ([`crate::udp`]); none if UDP is the kernel's.
    fn datagrams(&self) -> Option<u16>;
    /// The operator's policy for `client`.
    fn treatment(&self, client: &Address) -> ClientPolicy;
    /// Whether segments take tokens.
    fn limits_segments(&self) -> bool;
    /// Takes a token of `client`'s network for a packet of this kind. False if there is none.
    fn affords(&self, client: &Address, kind: PacketKind) -> bool;
    /// Whether frames to this hardware address are for this host.
    fn link_address(&self, _address: &[u8; 6]) -> bool {
        true
    }
    /// Whether frames with these VLAN tags are for this host.
    fn vlan(&self, _tags: VlanTags) -> bool {
        true
    }
    /// Whether the kernel gets served traffic that has IPv6 extension headers. Nobody gets it otherwise.
    fn passes_extension_headers(&self) -> bool {
        false
    }
}

/// The treatment of a client's frames for a served address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ClientPolicy {
    /// They are served, as far as its network has tokens.
    #[default]
    Serve = 0,
    /// They are left to the kernel.
    PassToKernel = 1,
    /// They are dropped.
    Deny = 2,
    /// They are served, whatever others of its network do.
    Allow = 3,
    /// They are dropped: the address is this host's own, or a broadcast address.
    Impossible = 4,
}

impl ClientPolicy {
    /// That of this number.
    #[inline]
    #[must_use]
    pub const fn numbered(number: u8) -> Self {
        match number {
            1 => Self::PassToKernel,
            2 => Self::Deny,
            3 => Self::Allow,
            4 => Self::Impossible,
            _ => Self::Serve,
        }
    }
}

/// The header offsets of a steered frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of the IP header: 14, and 4 for each VLAN tag.
    pub network: usize,
    /// Offset of the TCP or UDP header.
    pub transport: usize,
    /// IPv4 or IPv6.
    pub version: Version,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// The transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768: a question, to be answered by [`crate::udp`].
    Udp,
}

impl Protocol {
    /// As it stands in the IP header.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    #[inline]
    const fn numbered(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The network protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Most IPv6 extension headers that are looked behind. Senders have reason for one or two.
const MAX_EXTENSIONS: usize = 4;
/// Farthest offset of a transport header that is looked at. An XDP program reads no further than 1023.
const MAX_TRANSPORT: usize = 960;

/// Decides where `frame`, an Ethernet frame, goes: where its headers are if it is ours, else why it is not.
///
/// # Errors
/// Any [`SteeringReason`] but [`SteeringReason::Served`], [`SteeringReason::NoSocket`] and [`SteeringReason::Held`].
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "one function in BPF: the verifier follows its offsets through every check"
)]
pub fn steer<F: Frame + ?Sized, S: Steering>(frame: &F, served: &S) -> Result<Layout, SteeringReason> {
    // More than one byte: the verifier does not follow the comparison that one byte at the beginning comes to.
    let [first, ..]: [u8; 6] = frame.read(offset::ethernet::DESTINATION).ok_or(SteeringReason::Truncated)?;
    let (ethertype, network) = network(frame)?;
    if first & offset::ethernet::GROUP != 0 {
        return Err(SteeringReason::LinkGroup);
    }
    match ethertype {
        offset::ethernet::IPV4 => steer_ipv4(frame, served, network),
        offset::ethernet::IPV6 => steer_ipv6(frame, served, network),
        _ => Err(SteeringReason::NotIp),
    }
}

/// Refuses a frame that is not for this host at the link layer. The kernel gets it, and forwards or ignores it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn check_link<F: Frame + ?Sized, S: Steering>(
    frame: &F,
    served: &S,
    network: usize,
) -> Result<(), SteeringReason> {
    let [destination @ .., source]: [u8; offset::ethernet::SOURCE + 1] =
        frame.read(offset::ethernet::DESTINATION).ok_or(SteeringReason::Truncated)?;
    if !served.link_address(&destination) {
        return Err(SteeringReason::OtherHost);
    }
    if network > offset::ethernet::HEADER {
        let tags = VlanTags::read(frame, network).ok_or(SteeringReason::Truncated)?;
        if tags != VlanTags::NONE && !served.vlan(tags) {
            return Err(SteeringReason::OtherHost);
        }
    }
    if source & offset::ethernet::GROUP != 0 { Err(SteeringReason::ImpossibleSource) } else { Ok(()) }
}

/// Ethernet type and offset of what stands behind at most two VLAN tags.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn network<F: Frame + ?Sized>(frame: &F) -> Result<(u16, usize), SteeringReason> {
    let mut at = offset::ethernet::TYPE;
    let mut ethertype = u16::from_be_bytes(frame.read(at).ok_or(SteeringReason::Truncated)?);
    for _ in 0..2 {
        if !offset::ethernet::is_vlan_tag(ethertype) {
            break;
        }
        at += offset::ethernet::TAG;
        ethertype = u16::from_be_bytes(frame.read(at).ok_or(SteeringReason::Truncated)?);
    }
    Ok((ethertype, at + 2))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn steer_ipv4<F: Frame + ?Sized, S: Steering>(
    frame: &F,
    served: &S,
    network: usize,
) -> Result<Layout, SteeringReason> {
    let destination = frame.read(network + offset::ipv4::DESTINATION).ok_or(SteeringReason::Truncated)?;
    let [version_ihl] = frame.read(network + offset::ipv4::VERSION_IHL).ok_or(SteeringReason::Truncated)?;
    let [protocol] = frame.read(network + offset::ipv4::PROTOCOL).ok_or(SteeringReason::Truncated)?;
    let fragment =
        u16::from_be_bytes(frame.read(network + offset::ipv4::FRAGMENT).ok_or(SteeringReason::Truncated)?);
    let header = usize::from(version_ihl & 0x0f) * 4;
    if version_ihl >> 4 != 4 || header < 20 {
        return Err(SteeringReason::Malformed);
    }
    let protocol = Protocol::numbered(protocol).ok_or(SteeringReason::NotTcp)?;
    let layout = Layout { network, transport: network + header, version: Version::V4, protocol };
    if fragment & FRAGMENT_OFFSET != 0 {
        return Err(SteeringReason::Fragment);
    }
    let ours = serve(frame, served, &Address::from_ipv4(destination), layout);
    if fragment & MORE_FRAGMENTS != 0 { Err(first_fragment(ours)) } else { ours }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn steer_ipv6<F: Frame + ?Sized, S: Steering>(
    frame: &F,
    served: &S,
    network: usize,
) -> Result<Layout, SteeringReason> {
    let destination =
        Address(frame.read(network + offset::ipv6::DESTINATION).ok_or(SteeringReason::Truncated)?);
    let [version] = frame.read(network + offset::ipv6::VERSION).ok_or(SteeringReason::Truncated)?;
    let [next_header] = frame.read(network + offset::ipv6::NEXT_HEADER).ok_or(SteeringReason::Truncated)?;
    if version >> 4 != 6 {
        return Err(SteeringReason::Malformed);
    }
    let (transport, version, protocol) = (network + offset::ipv6::HEADER, Version::V6, Protocol::Tcp);
    let layout = Layout { network, transport, version, protocol };
    if let Some(protocol) = Protocol::numbered(next_header) {
        return serve(frame, served, &destination, Layout { protocol, ..layout });
    }
    Err(behind_extensions(frame, served, &destination, layout, next_header))
}

/// The reason for a frame whose IPv6 header is followed by `next_header`, which is neither TCP nor UDP.
///
/// Extension headers do not get a client past the operator's policy: the kernel would look behind them and hand the segment to
/// who listens there. So of the traffic of a served address the kernel gets only what is certainly not ours.
#[inline(always)]
fn behind_extensions<F: Frame + ?Sized, S: Steering>(
    frame: &F,
    served: &S,
    destination: &Address,
    layout: Layout,
    mut next_header: u8,
) -> SteeringReason {
    use offset::ipv6::extension;

    let (mut transport, mut is_fragment) = (layout.transport, false);
    for _ in 0..MAX_EXTENSIONS {
        let units = match next_header {
            extension::FRAGMENT => 0,
            extension::AUTHENTICATION => 4,
            other if extension::OTHERS.contains(&other) => 8,
            _ => return SteeringReason::NotTcp,
        };
        let Some([next, length, high, low]) = frame.read(transport) else {
            return unclear(served, destination);
        };
        transport += match units {
            0 if u16::from_be_bytes([high, low]) >> 3 != 0 => return SteeringReason::Fragment,
            0 => offset::ipv6::FRAGMENT_HEADER,
            4 => (usize::from(length) + 2) * units,
            _ => (usize::from(length) + 1) * units,
        };
        is_fragment |= units == 0;
        next_header = next;
        if transport > MAX_TRANSPORT {
            return unclear(served, destination);
        }
        if let Some(protocol) = Protocol::numbered(next_header) {
            let ours = serve(frame, served, destination, Layout { transport, protocol, ..layout });
            return match ours {
                Err(SteeringReason::Truncated) => unclear(served, destination),
                _ if is_fragment => first_fragment(ours),
                Err(reason) => reason,
                Ok(_) => unclear(served, destination),
            };
        }
    }
    unclear(served, destination)
}

/// The reason for a frame with extension headers that is ours, or may be ours if it is for a served address.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn unclear<S: Steering>(served: &S, destination: &Address) -> SteeringReason {
    if !served.address(destination) {
        SteeringReason::OtherAddress
    } else if served.passes_extension_headers() {
        SteeringReason::Left
    } else {
        SteeringReason::ExtensionHeader
    }
}

/// The reason for a first fragment, of which this would be the verdict if it were whole. What would have been served or
/// dropped is dropped, so that the kernel has nothing to put together.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn first_fragment(whole: Result<Layout, SteeringReason>) -> SteeringReason {
    match whole {
        Ok(_) => SteeringReason::FirstFragment,
        Err(reason) if matches!(reason.action(), Action::Drop) => reason,
        Err(_) => SteeringReason::Fragment,
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn serve<F: Frame + ?Sized, S: Steering>(
    frame: &F,
    served: &S,
    destination: &Address,
    layout: Layout,
) -> Result<Layout, SteeringReason> {
    // Read where it is compared: in BPF a check that is far from its use does not hold for every verifier.
    let port = || frame.read(layout.transport + offset::tcp::DESTINATION).map(u16::from_be_bytes);
    if layout.protocol == Protocol::Udp {
        let Some(udp_port) = served.datagrams() else { return Err(SteeringReason::NotTcp) };
        let ours = port().is_some_and(|port| port == udp_port) && served.address(destination);
        return if ours { admit(frame, served, layout) } else { Err(SteeringReason::NotTcp) };
    }
    if !served.address(destination) {
        return Err(SteeringReason::OtherAddress);
    }
    if !served.port(port().ok_or(SteeringReason::Truncated)?) {
        return Err(SteeringReason::OtherPort);
    }
    admit(frame, served, layout)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn admit<F: Frame + ?Sized, S: Steering>(
    frame: &F,
    served: &S,
    layout: Layout,
) -> Result<Layout, SteeringReason> {
    check_link(frame, served, layout.network)?;
    let client = match layout.version {
        Version::V4 => frame.read(layout.network + offset::ipv4::SOURCE).map(Address::from_ipv4),
        Version::V6 => frame.read(layout.network + offset::ipv6::SOURCE).map(Address),
    };
    let client = client.ok_or(SteeringReason::Truncated)?;
    match served.treatment(&client) {
        ClientPolicy::PassToKernel => Err(SteeringReason::Left),
        ClientPolicy::Deny => Err(SteeringReason::Denied),
        ClientPolicy::Impossible => Err(SteeringReason::ImpossibleSource),
        ClientPolicy::Allow => Ok(layout),
        ClientPolicy::Serve => match kind(frame, served, &layout) {
            Some(kind) if !served.affords(&client, kind) => Err(SteeringReason::Limited),
            _ => Ok(layout),
        },
    }
}

/// The kind of token that the frame takes. Nothing for what is neither SYN nor has payload: it costs us next to nothing, and
/// ends connections.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see steer")]
fn kind<F: Frame + ?Sized, S: Steering>(frame: &F, served: &S, layout: &Layout) -> Option<PacketKind> {
    if layout.protocol == Protocol::Udp {
        return Some(PacketKind::Datagram);
    }
    if !served.limits_segments() {
        return None;
    }
    let [data_offset, flags] = frame.read(layout.transport + offset::tcp::DATA_OFFSET)?;
    if Flags(flags).contains(Flags::SYN) {
        return Some(PacketKind::Syn);
    }
    let (at, header) = match layout.version {
        Version::V4 => (offset::ipv4::TOTAL_LENGTH, 0),
        Version::V6 => (offset::ipv6::PAYLOAD_LENGTH, offset::ipv6::HEADER),
    };
    let length = header + usize::from(u16::from_be_bytes(frame.read(layout.network + at)?));
    let headers = layout.transport - layout.network + usize::from(data_offset >> 4) * 4;
    (length > headers).then_some(PacketKind::Data)
}
