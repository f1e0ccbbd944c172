//! The interfaces and addresses of this network namespace at one moment, as rtnetlink lists them: which frames the kernel
//! takes for its own on an interface, and which source addresses no other host can have.

use super::link::{RawLink, links};
use crate::af_xdp::netlink::{Netlink, find, u32_of};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use stateless_tcp_core::steering::VlanTags;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::time::Instant;

/// `linux/rtnetlink.h`, `linux/if_addr.h`.
const RTM_GETADDR: u16 = 22;
const ADDRESS_HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `linux/rtnetlink.h`: notifications about links, and about addresses of both families.
const RTMGRP: u32 = 0x1 | 0x10 | 0x100;

/// Time for which changes are taken together: an interface that goes away loses its addresses one by one.
const SETTLE: Duration = Duration::from_millis(50);
/// Longest time between two observations. The kernel reports no change of the number of queues here.
const REGULAR: Duration = Duration::from_secs(5);

/// The longest IPv4 prefix with a broadcast address (RFC 3021).
const LONGEST_BROADCAST: u8 = 30;
/// Interfaces on top of each other that are followed: VLANs within VLANs on a bridge.
const MAX_DEPTH: usize = 8;

/// The interfaces and addresses of a network namespace.
#[derive(Debug)]
pub(crate) struct Network {
    links: Vec<RawLink>,
    addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    prefix_len: u8,
    /// The broadcast address that somebody gave it.
    broadcast: Option<IpAddr>,
}

/// The frames on an interface that the kernel takes for this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkScope {
    /// Hardware addresses: the interface's own first, then those of interfaces on top of it.
    pub(crate) addresses: Vec<[u8; 6]>,
    /// VLANs.
    pub(crate) vlans: BTreeSet<VlanTags>,
}

impl Network {
    /// Observes it.
    pub(crate) fn observe() -> io::Result<Self> {
        Ok(Self { links: links()?, addresses: addresses()? })
    }

    /// The interface with this index.
    pub(crate) fn link(&self, index: u32) -> Option<&RawLink> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The addresses of the interface with this index.
    pub(crate) fn addresses_of(&self, index: u32) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(move |entry| entry.index == index).map(|entry| entry.address)
    }

    /// Addresses that no other host sends from: this host's, and the broadcast addresses of its networks.
    pub(crate) fn impossible_sources(&self) -> BTreeSet<IpAddr> {
        let own = self.addresses.iter().map(|entry| entry.address);
        let broadcast = self.addresses.iter().flat_map(InterfaceAddress::broadcasts);
        own.chain(broadcast).collect()
    }

    /// The frames that the kernel takes for this host on the interface with this index, and on the interfaces on top of it.
    pub(crate) fn scope(&self, index: u32) -> LinkScope {
        let mut scope = LinkScope::default();
        self.extend_scope(&mut scope, index, VlanTags::NONE, MAX_DEPTH);
        scope
    }

    fn extend_scope(&self, scope: &mut LinkScope, index: u32, tags: VlanTags, depth: usize) {
        let Some(link) = self.link(index) else { return };
        if let Some(address) = link.hardware_address()
            && !scope.addresses.contains(&address)
        {
            scope.addresses.push(address);
        }
        if depth == 0 {
            return;
        }
        if let Some(master) = link.master() {
            self.extend_scope(scope, master, tags, depth - 1);
        }
        for upper in self.links.iter().filter(|upper| upper.lower() == Some(index)) {
            let tags = match upper.vlan() {
                Some(id) => tags.within(id),
                None => Some(tags),
            };
            // Frames with three tags go to the kernel.
            let Some(tags) = tags else { continue };
            if tags != VlanTags::NONE {
                scope.vlans.insert(tags);
            }
            self.extend_scope(scope, upper.index, tags, depth - 1);
        }
    }
}

/// The addresses of all interfaces.
pub(crate) fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let messages = Netlink::open(SockProtocol::NetlinkRoute)?.dump(RTM_GETADDR, &[0; ADDRESS_HEADER])?;
    Ok(messages.iter().filter_map(|message| InterfaceAddress::parse(&message.payload)).collect())
}

/// Tells when to observe the network again.
#[derive(Debug)]
pub(crate) struct NetworkWatch {
    /// A netlink socket: what it takes to receive from it is the same.
    socket: UnixDatagram,
    /// Time of the next observation.
    due: Instant,
}

impl NetworkWatch {
    /// Watches this network namespace, within a runtime.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP))?;
        Ok(Self { socket: UnixDatagram::from_std(socket.into())?, due: Instant::now() + REGULAR })
    }

    /// Returns some time after a change, and regularly. Cancel safe.
    pub(crate) async fn due(&mut self) {
        // The network is observed as a whole, so it does not matter what the notifications say, or how many were lost.
        let mut notification = [0; 1 << 12];
        tokio::select! {
            () = tokio::time::sleep_until(self.due) => {}
            _ = self.socket.recv(&mut notification) => {
                self.due = self.due.min(Instant::now() + SETTLE);
                tokio::time::sleep_until(self.due).await;
                // Those that came meanwhile, or a few of them: the next observation covers the rest.
                while self.socket.try_recv(&mut notification).is_ok() {}
            }
        }
        self.due = Instant::now() + REGULAR;
    }
}

impl InterfaceAddress {
    /// Parses an address message.
    fn parse(message: &[u8]) -> Option<Self> {
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let &[family, prefix_len, ..] = message else { return None };
        let index = u32_of(message.get(4..)?)?;
        let attributes = message.get(ADDRESS_HEADER..)?;
        let ip = |kind| address(family, find(attributes, kind)?);
        // On a point-to-point link the other attribute is the peer's address.
        let address = ip(IFA_LOCAL).or_else(|| ip(IFA_ADDRESS))?;
        Some(Self { index, address, prefix_len, broadcast: ip(IFA_BROADCAST) })
    }

    /// The broadcast addresses of its network.
    fn broadcasts(&self) -> impl Iterator<Item = IpAddr> {
        let directed = match self.address {
            IpAddr::V4(address) if self.prefix_len <= LONGEST_BROADCAST => {
                let host = u32::MAX.checked_shr(self.prefix_len.into()).unwrap_or(0);
                Some(IpAddr::from(Ipv4Addr::from(u32::from(address) | host)))
            }
            _ => None,
        };
        self.broadcast.into_iter().chain(directed)
    }
}

fn address(family: u8, octets: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => octets.first_chunk().map(|&octets: &[u8; 4]| Ipv4Addr::from(octets).into()),
        AF_INET6 => octets.first_chunk().map(|&octets: &[u8; 16]| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}
