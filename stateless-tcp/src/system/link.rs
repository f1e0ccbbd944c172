//! The facts of one network interface, from rtnetlink, ethtool, sysfs and BPF.

use super::{Observed, proc};
use crate::af_xdp::netlink::{
    Netlink, attribute, attributes, find, i32_of, nested, text_of, u16_of, u32_of, u64_of,
};
use aya::programs::links::LinkType;
use aya::programs::{loaded_links, loaded_programs};
use nix::sys::socket::SockProtocol;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// `linux/rtnetlink.h`, `linux/if_link.h`.
const RTM_GETLINK: u16 = 18;
const LINK_HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
/// Kinds of interfaces that are on top of the one that `IFLA_LINK` names. A veth names its peer.
const UPPER_KINDS: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];
const IFLA_XDP_PROG_IDS: [(u16, &str); 3] = [(5, "native"), (6, "generic"), (7, "hardware")];
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

/// `linux/ethtool_netlink.h`.
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// `linux/netdev.h`, since Linux 6.3.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// `linux/if_arp.h`.
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// A network interface.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct LinkFacts {
    /// Its frames begin with an Ethernet header.
    pub(crate) ethernet: bool,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) loopback: bool,
    pub(crate) mtu: u32,
    /// The driver, or the kind of a virtual link.
    pub(crate) driver: Option<String>,
    /// The bus; `None` for a virtual interface.
    pub(crate) bus: Option<String>,
    /// The bridge, bond or team that it belongs to.
    pub(crate) master: Option<String>,
    /// VLAN interfaces on top of it.
    pub(crate) vlans: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Receive queues, ascending.
    pub(crate) rx_queues: Observed<Vec<u32>>,
    pub(crate) tx_queues: Observed<usize>,
    /// Active offloads, by their names in `ethtool -k`.
    pub(crate) offloads: Observed<BTreeSet<String>>,
    /// The driver's XDP features (`NETDEV_XDP_ACT_*`).
    pub(crate) xdp_features: Observed<u64>,
    pub(crate) programs: Vec<ProgramFacts>,
    pub(crate) peer: VethPeer,
}

/// The other end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VethPeer {
    /// The interface is not a veth.
    None,
    /// The peer is in another network namespace.
    Elsewhere,
    /// The peer is in this network namespace.
    Here {
        name: String,
        /// It sends partial TCP checksums (TX checksum offload).
        leaves_checksums: bool,
        /// It receives frames that an XDP program on this end sends, as it has a program itself.
        takes_frames: bool,
    },
}

/// An attached XDP program.
#[derive(Clone, Debug)]
pub(crate) struct ProgramFacts {
    pub(crate) id: u32,
    /// `native`, `generic` or `hardware`.
    pub(crate) mode: &'static str,
    pub(crate) name: Observed<String>,
    /// The holder of its BPF link, if there is one.
    pub(crate) holder: Observed<Option<String>>,
}

/// A link in an rtnetlink message.
#[derive(Debug)]
pub(crate) struct RawLink {
    pub(crate) index: u32,
    pub(crate) name: String,
    hardware_type: u16,
    flags: u32,
    attributes: Vec<u8>,
}

impl RawLink {
    fn number(&self, attribute: u16) -> Option<u32> {
        find(&self.attributes, attribute).and_then(u32_of)
    }

    fn kind(&self) -> Option<String> {
        find(find(&self.attributes, IFLA_LINKINFO)?, IFLA_INFO_KIND).map(text_of)
    }

    /// Whether it is set up.
    pub(crate) fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// Whether something is connected, as far as the driver can tell.
    pub(crate) fn has_carrier(&self) -> bool {
        find(&self.attributes, IFLA_CARRIER).and_then(|value| value.first()) != Some(&0)
    }

    /// Its hardware address, if it has one as Ethernet does.
    pub(crate) fn hardware_address(&self) -> Option<[u8; 6]> {
        find(&self.attributes, IFLA_ADDRESS)?.try_into().ok()
    }

    /// The index of the bridge or bond that takes its frames.
    pub(crate) fn master(&self) -> Option<u32> {
        self.number(IFLA_MASTER)
    }

    /// The index of the interface of this network namespace that it is on top of.
    pub(crate) fn lower(&self) -> Option<u32> {
        let is_upper = self.kind().is_some_and(|kind| UPPER_KINDS.contains(&kind.as_str()));
        let elsewhere = find(&self.attributes, IFLA_LINK_NETNSID).is_some();
        self.number(IFLA_LINK).filter(|_| is_upper && !elsewhere)
    }

    /// Its VLAN, if it is the interface of one.
    pub(crate) fn vlan(&self) -> Option<u16> {
        let info = find(&self.attributes, IFLA_LINKINFO)?;
        let is_vlan = find(info, IFLA_INFO_KIND).map(text_of)? == "vlan";
        find(find(info, IFLA_INFO_DATA)?, IFLA_VLAN_ID).and_then(u16_of).filter(|_| is_vlan)
    }
}

/// The interface `name` of this network namespace.
pub(crate) fn link(name: &str) -> Observed<LinkFacts> {
    let links = links().map_err(|error| format!("the interfaces cannot be listed: {error}"))?;
    let link = links.iter().find(|link| link.name == name).ok_or("there is no such interface")?;
    Ok(describe(link, &links))
}

pub(crate) fn links() -> io::Result<Vec<RawLink>> {
    let messages = Netlink::open(SockProtocol::NetlinkRoute)?.dump(RTM_GETLINK, &[0; LINK_HEADER])?;
    let links = messages.into_iter().filter_map(|message| {
        // struct ifinfomsg: family and type, index, flags, change mask.
        let hardware_type = u16_of(message.payload.get(2..)?)?;
        let index = u32_of(message.payload.get(4..)?)?;
        let flags = u32_of(message.payload.get(8..)?)?;
        let attributes = message.payload.get(LINK_HEADER..)?.to_vec();
        let name = text_of(find(&attributes, IFLA_IFNAME)?);
        Some(RawLink { index, name, hardware_type, flags, attributes })
    });
    Ok(links.collect())
}

pub(crate) fn describe(link: &RawLink, links: &[RawLink]) -> LinkFacts {
    let name_of = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    let kind = link.kind();
    let sysfs = Path::new("/sys/class/net").join(&link.name);
    let loopback = link.flags & IFF_LOOPBACK != 0;
    let driver = target_name(&sysfs.join("device/driver"));
    let on_top = links.iter().filter(|other| {
        other.number(IFLA_LINK) == Some(link.index) && other.kind().as_deref() == Some("vlan")
    });
    LinkFacts {
        ethernet: [ARPHRD_ETHER, ARPHRD_LOOPBACK].contains(&link.hardware_type),
        up: link.is_up(),
        carrier: link.has_carrier(),
        loopback,
        mtu: link.number(IFLA_MTU).unwrap_or_default(),
        bus: driver.as_ref().and_then(|_| target_name(&sysfs.join("device/subsystem"))),
        driver: driver.or_else(|| kind.clone()).or_else(|| loopback.then(|| "loopback".to_owned())),
        master: link.number(IFLA_MASTER).and_then(name_of),
        vlans: on_top.map(|other| other.name.clone()).collect(),
        addresses: addresses_of(link.index),
        rx_queues: queues(&sysfs, "rx-"),
        tx_queues: queues(&sysfs, "tx-").map(|queues| queues.len()),
        offloads: offloads(link.index),
        xdp_features: xdp_features(link.index),
        programs: programs(link),
        peer: if kind.as_deref() == Some("veth") { peer(link, links) } else { VethPeer::None },
    }
}

fn addresses_of(index: u32) -> Vec<IpAddr> {
    let all = super::network::addresses().unwrap_or_default();
    all.iter().filter(|entry| entry.index == index).map(|entry| entry.address).collect()
}

/// The file name of a symbolic link's target.
fn target_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned())
}

fn queues(sysfs: &Path, prefix: &str) -> Observed<Vec<u32>> {
    let directory = sysfs.join("queues");
    let entries = fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut queues: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
        .collect();
    queues.sort_unstable();
    Ok(queues)
}

fn offloads(index: u32) -> Observed<BTreeSet<String>> {
    let header = nested(ETHTOOL_A_HEADER, &attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes()));
    let answer = Netlink::open(SockProtocol::NetlinkGeneric)
        .and_then(|mut netlink| netlink.ask_family("ethtool", ETHTOOL_MSG_FEATURES_GET, &header))
        .map_err(|error| format!("ethtool netlink: {error}"))?;
    let active = find(&answer, ETHTOOL_A_FEATURES_ACTIVE).unwrap_or_default();
    let bits = find(active, ETHTOOL_A_BITSET_BITS).unwrap_or_default();
    // A list without a mask contains the set bits only.
    Ok(attributes(bits).filter_map(|(_, bit)| find(bit, ETHTOOL_A_BITSET_BIT_NAME)).map(text_of).collect())
}

fn xdp_features(index: u32) -> Observed<u64> {
    let wanted = attribute(NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
    let answer = Netlink::open(SockProtocol::NetlinkGeneric)
        .and_then(|mut netlink| netlink.ask_family("netdev", NETDEV_CMD_DEV_GET, &wanted))
        .map_err(|error| format!("netdev netlink, since Linux 6.3: {error}"))?;
    find(&answer, NETDEV_A_DEV_XDP_FEATURES)
        .and_then(u64_of)
        .ok_or_else(|| "netdev netlink has no XDP features of it".to_owned())
}

fn programs(link: &RawLink) -> Vec<ProgramFacts> {
    let xdp = find(&link.attributes, IFLA_XDP).unwrap_or_default();
    IFLA_XDP_PROG_IDS
        .into_iter()
        .filter_map(|(attribute, mode)| {
            let id = find(xdp, attribute).and_then(u32_of).filter(|id| *id != 0)?;
            Some(ProgramFacts { id, mode, name: program_name(id), holder: link_holder(id) })
        })
        .collect()
}

fn program_name(id: u32) -> Observed<String> {
    for program in loaded_programs() {
        let program = program.map_err(|_| "its name is visible with CAP_SYS_ADMIN only".to_owned())?;
        if program.id() == id {
            return Ok(program.name_as_str().unwrap_or("unnamed").to_owned());
        }
    }
    Err("it is gone".to_owned())
}

/// The holder of the BPF link of `program`.
fn link_holder(program: u32) -> Observed<Option<String>> {
    if let Some(process) = process_with_link(program) {
        return Ok(Some(process));
    }
    for link in loaded_links() {
        let link = link.map_err(|_| "that is visible with CAP_SYS_ADMIN only".to_owned())?;
        if link.program_id() == program && matches!(link.link_type(), Ok(LinkType::Xdp)) {
            return Ok(Some("a process that is not visible, or a pin in a BPF file system".to_owned()));
        }
    }
    Ok(None)
}

/// The process with a descriptor of the XDP link of `program`, as "name (pid N)", among the visible ones.
fn process_with_link(program: u32) -> Option<String> {
    fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path()).find_map(|process| {
        let pid: u32 = process.file_name()?.to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(process.join("fdinfo")).ok()?.flatten();
        descriptors.find(|descriptor| {
            fs::read_to_string(descriptor.path()).is_ok_and(|text| proc::is_xdp_link(&text, program))
        })?;
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        Some(format!("{} (pid {pid})", name.trim()))
    })
}

fn peer(link: &RawLink, links: &[RawLink]) -> VethPeer {
    let elsewhere = find(&link.attributes, IFLA_LINK_NETNSID).and_then(i32_of).is_some();
    let index = link.number(IFLA_LINK).filter(|_| !elsewhere);
    match links.iter().find(|other| Some(other.index) == index) {
        None => VethPeer::Elsewhere,
        Some(peer) => {
            let offloads = offloads(peer.index).unwrap_or_default();
            VethPeer::Here {
                name: peer.name.clone(),
                leaves_checksums: offloads.iter().any(|name| name.starts_with("tx-checksum-ip")),
                takes_frames: !programs(peer).is_empty(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_interface_is_observed() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        let link = describe(lo, &links);
        assert!(link.loopback);
        assert_eq!((link.driver.as_deref(), link.bus, link.peer), (Some("loopback"), None, VethPeer::None));
        assert_eq!((link.rx_queues, link.tx_queues), (Ok(vec![0]), Ok(1)));
        assert!(link.mtu > 0 && link.programs.is_empty());
        // Fixed for this device, whoever set up the machine.
        let offloads = link.offloads.unwrap();
        assert!(offloads.contains("loopback") && !offloads.contains("rx-lro"), "{offloads:?}");
    }
}
