//! The way to the server: whose hardware address stands on a frame for it. And manners: which ways are not taken unasked.

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::SockProtocol;
use stateless_tcp::af_xdp::interface::Interface;
use stateless_tcp::af_xdp::netlink::{Netlink, attribute, find, u32_of};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

// `linux/rtnetlink.h`, `linux/neighbour.h`.
const RTM_GETROUTE: u16 = 26;
const ROUTE_HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTM_GETNEIGH: u16 = 30;
const NEIGHBOUR_HEADER: usize = 12;
const NEIGHBOUR_INDEX: usize = 4;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Time limit for the kernel to find a neighbour.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);
/// Port of the empty datagram that makes the kernel look for a neighbour: the discard service (RFC 863).
const DISCARD: u16 = 9;

/// Bytes of an IPv4 and of an IPv6 header with the TCP header.
const HEADERS: [u16; 2] = [40, 60];

/// The route of frames to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The link header of a frame that comes from there.
    pub link: [u8; 14],
    /// The router that is next, if the server is not on the link.
    pub gateway: Option<IpAddr>,
    /// Bytes of payload that a segment may have.
    pub mss: u16,
}

impl Route {
    /// Finds the way to `server` by the kernel's tables.
    ///
    /// # Errors
    /// If it is not by `interface`, or no neighbour is there.
    pub fn find(interface: &Interface, server: IpAddr) -> Result<Self> {
        let route = kernel_route(server).with_context(|| format!("the kernel knows no way to {server}"))?;
        if route.interface != interface.index {
            bail!(
                "{server} is not reached by {}: `ip route get {server}` shows by which interface; name that one",
                interface.name
            );
        }
        let next = route.gateway.unwrap_or(server);
        let theirs = neighbour(interface, next)?;
        let own = hardware_address(interface)?;
        let ethertype = if server.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
        let mut link = [0; 14];
        for (room, byte) in link.iter_mut().zip([&own[..], &theirs, &ethertype].concat()) {
            *room = byte;
        }
        let mtu: u16 = sysfs(interface, "mtu")?.trim().parse().unwrap_or(1500);
        let mss = mtu.saturating_sub(HEADERS[usize::from(server.is_ipv6())]);
        Ok(Self { link, gateway: route.gateway, mss })
    }
}

/// Refuses what may reach strangers: an interface with a default route, and forged senders through a router.
///
/// # Errors
/// If it is unsafe; the message names the option that allows it.
pub fn check_safety(interface: &Interface, route: &Route, forging: bool) -> Result<()> {
    let meant = "if this network is yours to load, say --yes-on-this-network";
    let name = &interface.name;
    if has_default_route(interface).context("asking the kernel for its default routes")? {
        bail!("{name} has a default route: it may lead to the internet; {meant}");
    }
    if let (true, Some(gateway)) = (forging, route.gateway) {
        bail!("forged senders would go through the router {gateway} of {name}; {meant}");
    }
    Ok(())
}

struct KernelRoute {
    interface: u32,
    gateway: Option<IpAddr>,
}

fn kernel_route(to: IpAddr) -> Result<KernelRoute> {
    let address = octets(to);
    let bits = u8::try_from(address.len() * 8)?;
    let header = [family(to), bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let question = [&header[..], &attribute(RTA_DST, &address)].concat();
    let messages = Netlink::open(SockProtocol::NetlinkRoute)?.ask(RTM_GETROUTE, &question)?;
    let attributes = messages.first().and_then(|message| message.payload.get(ROUTE_HEADER..));
    let attributes = attributes.context("the kernel's answer is empty")?;
    let interface = find(attributes, RTA_OIF).and_then(u32_of).context("the route has no interface")?;
    Ok(KernelRoute { interface, gateway: find(attributes, RTA_GATEWAY).and_then(address_of) })
}

fn has_default_route(interface: &Interface) -> Result<bool> {
    // Which of the families is served does not matter: it tells what kind of network this is.
    let messages = Netlink::open(SockProtocol::NetlinkRoute)?.dump(RTM_GETROUTE, &[0; ROUTE_HEADER])?;
    Ok(messages.iter().any(|message| {
        let [_, bits, ..] = message.payload[..] else { return false };
        let attributes = message.payload.get(ROUTE_HEADER..).unwrap_or_default();
        bits == 0 && find(attributes, RTA_OIF).and_then(u32_of) == Some(interface.index)
    }))
}

/// The hardware address of a neighbour, for which the kernel is made to look.
fn neighbour(interface: &Interface, address: IpAddr) -> Result<[u8; 6]> {
    let began = Instant::now();
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).context("cannot open a UDP socket")?;
    loop {
        if let Some(found) = known_neighbour(interface, address)? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!(
                "{address} does not say its hardware address on {}: is it up? `ip neighbour show dev {}` shows what \
                 the kernel knows",
                interface.name,
                interface.name
            );
        }
        // Refused or not: the kernel has to know where to send it.
        let _ = socket.send_to(&[], SocketAddr::new(address, DISCARD));
        std::thread::sleep(PAUSE);
    }
}

fn known_neighbour(interface: &Interface, address: IpAddr) -> Result<Option<[u8; 6]>> {
    let mut header = [0; NEIGHBOUR_HEADER];
    header[0] = family(address);
    let messages = Netlink::open(SockProtocol::NetlinkRoute)?.dump(RTM_GETNEIGH, &header)?;
    Ok(messages.iter().find_map(|message| {
        let index = u32_of(message.payload.get(NEIGHBOUR_INDEX..)?)?;
        let attributes = message.payload.get(NEIGHBOUR_HEADER..)?;
        let is_it =
            index == interface.index && find(attributes, NDA_DST).and_then(address_of) == Some(address);
        find(attributes, NDA_LLADDR).filter(|_| is_it)?.try_into().ok()
    }))
}

fn hardware_address(interface: &Interface) -> Result<[u8; 6]> {
    let text = sysfs(interface, "address")?;
    let bytes: Vec<u8> =
        text.trim().split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().ok().with_context(|| format!("{} has no Ethernet address", interface.name))
}

fn sysfs(interface: &Interface, file: &str) -> Result<String> {
    let path = format!("/sys/class/net/{}/{file}", interface.name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

const fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_this_machine_is_not_by_a_network() {
        let loopback = Interface::find("lo").unwrap();
        assert_eq!(kernel_route(Ipv4Addr::LOCALHOST.into()).unwrap().interface, loopback.index);
        assert!(!has_default_route(&loopback).unwrap());
    }
}
