//! Which frames the load generator takes off its interface: the whole decision of its XDP program (`main.rs`).
//!
//! It plays TCP clients, so what is meant for them comes *from* the server's address and port. Everything else is the
//! kernel's, as it would be without the program.

#![cfg_attr(not(test), no_std)]

use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::steering::{ClientPolicy, Layout, Steering, Version, steer};
use stateless_tcp_core::tcp::segment::{Address, Flags};
use stateless_tcp_core::wire::bytes::Frame;
use stateless_tcp_core::wire::offset::{ipv4, ipv6, tcp};

/// Name of the XDP program.
pub const PROGRAM: &str = "flood";

/// Global: a [`Plan`], as [`Plan::words`] gives it.
pub const PLAN: &str = "PLAN";

/// `XSKMAP`: RX queue to AF_XDP socket.
pub const SOCKETS: &str = "SOCKETS";

/// Per-CPU array: frames (u64) by [`FlowClass`].
pub const COUNTS: &str = "COUNTS";

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    network: [u64; 2],
    mask: [u64; 2],
}

impl Range {
    /// No address.
    pub const NONE: Self = Self { network: [1, 0], mask: [0, 0] };

    /// Those whose first `bits`, of 128, are those of `address`.
    #[must_use]
    pub const fn new(address: Address, bits: u8) -> Self {
        let host = match u128::MAX.checked_shr(bits as u32) {
            Some(host) => host,
            None => 0,
        };
        let (network, mask) = (halves(u128::from_be_bytes(address.0) & !host), halves(!host));
        Self { network, mask }
    }

    /// Whether `address` is one of them.
    #[inline]
    #[must_use]
    pub const fn contains(&self, address: &Address) -> bool {
        let [high, low] = halves(u128::from_be_bytes(address.0));
        high & self.mask[0] == self.network[0] && low & self.mask[1] == self.network[1]
    }
}

/// In halves: BPF compares 64 bits at a time.
#[inline]
const fn halves(bits: u128) -> [u64; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    [(bits >> 64) as u64, bits as u64]
}

/// Whose frames are whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The server's address.
    pub server: Address,
    /// Its TCP port.
    pub port: u16,
    /// The clients that are played.
    pub clients: Range,
    /// The senders that are forged.
    pub forged: Range,
}

impl Plan {
    /// Words that a plan takes.
    pub const WORDS: usize = 11;

    /// The plan as it stands in the program's global.
    #[must_use]
    pub const fn words(&self) -> [u64; Self::WORDS] {
        let [s0, s1] = halves(u128::from_be_bytes(self.server.0));
        let ([c0, c1], [d0, d1]) = (self.clients.network, self.clients.mask);
        let ([f0, f1], [g0, g1]) = (self.forged.network, self.forged.mask);
        [s0, s1, c0, c1, d0, d1, f0, f1, g0, g1, self.port as u64]
    }

    /// The plan that such words stand for.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::inline_always, reason = "in BPF the stack is small")]
    #[expect(clippy::cast_possible_truncation, reason = "it was a port")]
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [s0, s1, c0, c1, d0, d1, f0, f1, g0, g1, port] = words;
        Self {
            server: Address(((s0 as u128) << 64 | s1 as u128).to_be_bytes()),
            port: port as u16,
            clients: Range { network: [c0, c1], mask: [d0, d1] },
            forged: Range { network: [f0, f1], mask: [g0, g1] },
        }
    }
}

impl Steering for Plan {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see classify")]
    fn address(&self, address: &Address) -> bool {
        self.clients.contains(address) || self.forged.contains(address)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see classify")]
    fn port(&self, _: u16) -> bool {
        true
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see classify")]
    fn datagrams(&self) -> Option<u16> {
        None
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see classify")]
    fn treatment(&self, sender: &Address) -> ClientPolicy {
        if *sender == self.server { ClientPolicy::Allow } else { ClientPolicy::PassToKernel }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see classify")]
    fn limits_segments(&self) -> bool {
        false
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see classify")]
    fn affords(&self, _: &Address, _: PacketKind) -> bool {
        true
    }
}

/// The class of a frame; each has a count, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FlowClass {
    /// None of ours: to the kernel.
    Passed,
    /// For a client that has something to say to it: to the socket.
    Redirected,
    /// For a client, which would say nothing to it, an acknowledgment and no more, not even a timestamp: dropped.
    Acknowledged,
    /// For a forged sender, who is not there: dropped.
    Forged,
    /// For a client, on a queue that has no socket: dropped, since the kernel would reset the connection.
    NoSocket,
}

impl FlowClass {
    /// All, by their index.
    pub const ALL: [Self; 5] =
        [Self::Passed, Self::Redirected, Self::Acknowledged, Self::Forged, Self::NoSocket];
}

/// Words of a TCP header without options.
const WORDS: u8 = 5;

/// Decides what becomes of `frame`, an Ethernet frame; never [`FlowClass::NoSocket`].
#[inline(always)]
#[must_use]
#[expect(clippy::inline_always, reason = "in BPF the verifier follows its offsets through every check")]
pub fn classify<F: Frame + ?Sized>(frame: &F, plan: &Plan) -> FlowClass {
    // What is cut short is as good as not ours.
    classify_complete(frame, plan).unwrap_or(FlowClass::Passed)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see classify")]
fn classify_complete<F: Frame + ?Sized>(frame: &F, plan: &Plan) -> Option<FlowClass> {
    let layout = steer(frame, plan).ok()?;
    let port = u16::from_be_bytes(frame.read(layout.transport + tcp::SOURCE)?);
    if port != plan.port {
        return Some(FlowClass::Passed);
    }
    let receiver = match layout.version {
        Version::V4 => Address::from_ipv4(frame.read(layout.network + ipv4::DESTINATION)?),
        Version::V6 => Address(frame.read(layout.network + ipv6::DESTINATION)?),
    };
    if !plan.clients.contains(&receiver) {
        return Some(FlowClass::Forged);
    }
    Some(if is_bare_ack(frame, &layout)? { FlowClass::Acknowledged } else { FlowClass::Redirected })
}

/// Whether the segment has neither payload nor options (a timestamp is to be echoed), nor a flag that opens, closes or
/// resets.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see classify")]
fn is_bare_ack<F: Frame + ?Sized>(frame: &F, layout: &Layout) -> Option<bool> {
    let end = match layout.version {
        Version::V4 => {
            layout.network + usize::from(u16::from_be_bytes(frame.read(layout.network + ipv4::TOTAL_LENGTH)?))
        }
        Version::V6 => {
            layout.transport
                + usize::from(u16::from_be_bytes(frame.read(layout.network + ipv6::PAYLOAD_LENGTH)?))
        }
    };
    let [data_offset] = frame.read(layout.transport + tcp::DATA_OFFSET)?;
    let [flags] = frame.read(layout.transport + tcp::FLAGS)?;
    let bare = data_offset >> 4 == WORDS && layout.transport + usize::from(WORDS) * 4 == end;
    Some(bare && flags & (Flags::SYN | Flags::FIN | Flags::RST).0 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use rstest::rstest;

    const SYN_ACK: u8 = 0x12;
    const ACK: u8 = 0x10;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn plan(server: &str, clients: &str, bits: u8, forged: &str) -> Plan {
        let clients = Range::new(address(clients), bits);
        Plan { server: address(server), port: 53, clients, forged: Range::new(address(forged), bits) }
    }

    /// A segment without options, with checksums that nobody looks at.
    fn frame(source: &str, port: u16, destination: &str, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        let length = u8::try_from(20 + payload).unwrap();
        match (source.parse().unwrap(), destination.parse().unwrap()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0, 0x45, 0, 0, 20 + length, 0, 0, 0, 0, 64, 6, 0, 0]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, 6, 64]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            _ => panic!("two families"),
        }
        frame.extend(port.to_be_bytes());
        frame.extend([4, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        // Padded, as short frames are.
        frame.resize((frame.len() + payload).max(60), 0);
        frame
    }

    #[rstest]
    #[case::syn_ack("192.0.2.1", 53, "198.51.100.7", SYN_ACK, 0, FlowClass::Redirected)]
    #[case::answer("192.0.2.1", 53, "198.51.100.7", ACK, 100, FlowClass::Redirected)]
    #[case::fin("192.0.2.1", 53, "198.51.100.7", 0x11, 0, FlowClass::Redirected)]
    #[case::reset("192.0.2.1", 53, "198.51.100.7", 0x04, 0, FlowClass::Redirected)]
    #[case::acknowledgment("192.0.2.1", 53, "198.51.100.7", ACK, 0, FlowClass::Acknowledged)]
    #[case::for_a_forged_sender("192.0.2.1", 53, "198.51.101.7", SYN_ACK, 0, FlowClass::Forged)]
    #[case::from_another_port("192.0.2.1", 54, "198.51.100.7", SYN_ACK, 0, FlowClass::Passed)]
    #[case::from_another_host("192.0.2.2", 53, "198.51.100.7", SYN_ACK, 0, FlowClass::Passed)]
    #[case::for_another_host("192.0.2.1", 53, "198.51.102.7", SYN_ACK, 0, FlowClass::Passed)]
    fn over_ipv4(
        #[case] source: &str,
        #[case] port: u16,
        #[case] destination: &str,
        #[case] flags: u8,
        #[case] payload: usize,
        #[case] expected: FlowClass,
    ) {
        let plan = plan("192.0.2.1", "198.51.100.0", 120, "198.51.101.0");
        let frame = frame(source, port, destination, flags, payload);
        assert_eq!(classify(&frame[..], &plan), expected);
        assert_eq!(classify(&frame[..33], &plan), FlowClass::Passed, "cut short");
    }

    #[rstest]
    #[case::syn_ack("2001:db8:1::7", SYN_ACK, FlowClass::Redirected)]
    #[case::acknowledgment("2001:db8:1::7", ACK, FlowClass::Acknowledged)]
    #[case::for_a_forged_sender("2001:db8:2::7", SYN_ACK, FlowClass::Forged)]
    #[case::for_another_host("2001:db8:3::7", SYN_ACK, FlowClass::Passed)]
    fn over_ipv6(#[case] destination: &str, #[case] flags: u8, #[case] expected: FlowClass) {
        let plan = plan("2001:db8::1", "2001:db8:1::", 64, "2001:db8:2::");
        assert_eq!(classify(&frame("2001:db8::1", 53, destination, flags, 0)[..], &plan), expected);
    }

    #[rstest]
    #[case::none(Range::NONE, "::", false)]
    #[case::all(Range::new(Address([0; 16]), 0), "2001:db8::1", true)]
    #[case::one(Range::new(Address::from_ipv4([192, 0, 2, 1]), 128), "192.0.2.1", true)]
    #[case::not_its_neighbour(Range::new(Address::from_ipv4([192, 0, 2, 1]), 128), "192.0.2.0", false)]
    fn ranges(#[case] range: Range, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(range.contains(&address(text)), expected);
    }

    #[test]
    fn a_plan_goes_through_its_words() {
        let plan = plan("192.0.2.1", "198.51.100.0", 120, "198.51.101.0");
        assert_eq!(Plan::from_words(plan.words()), plan);
    }
}
