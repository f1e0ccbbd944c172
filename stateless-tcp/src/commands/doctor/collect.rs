//! Asks the kernel. Nothing here fails: what cannot be seen is noted as such.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use aya::programs::links::LinkType;
use aya::programs::{loaded_links, loaded_programs};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::socket::SockProtocol;

use super::facts::{Facts, Firewall, Instance, Link, Peer, Program, Seen, Socket, System};
use super::proc;
use crate::af_xdp::netlink::{Netlink, attribute, attributes, find, i32_of, nested, text_of, u32_of, u64_of};
use crate::commands::cli::DoctorOptions;

/// `linux/rtnetlink.h`, `linux/if_link.h`.
const RTM_GETLINK: u16 = 18;
const LINK_HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
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

/// `linux/netfilter/nfnetlink.h`, `linux/netfilter/nf_tables.h`.
const NFT_GETRULE: u16 = 10 << 8 | 7;
const NFT_HEADER: usize = 4;
const NFTA_RULE_TABLE: u16 = 1;

/// Sees all there is to see of the interface that `options` name.
pub(super) fn collect(options: &DoctorOptions) -> Facts {
    let links = links().unwrap_or_default();
    let link = links.iter().find(|link| link.name == options.interface);
    Facts {
        interface: options.interface.clone(),
        ports: [options.dns_port.get(), options.http_port.get()],
        queues: options.queues.as_ref().map(|queues| queues.get().to_vec()),
        interfaces: links.iter().map(|link| link.name.clone()).collect(),
        link: link.map(|link| describe(link, &links)),
        system: system(),
        sockets: sockets(),
        firewall: firewall(),
    }
}

/// A link as rtnetlink describes it.
struct RawLink {
    index: u32,
    name: String,
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
}

/// One interface of this namespace.
pub(super) fn link(name: &str) -> Seen<Link> {
    let links = links().map_err(|error| format!("the links cannot be listed: {error}"))?;
    let link = links.iter().find(|link| link.name == name).ok_or("there is no such link")?;
    Ok(describe(link, &links))
}

fn links() -> io::Result<Vec<RawLink>> {
    let messages = Netlink::open(SockProtocol::NetlinkRoute)?.dump(RTM_GETLINK, &[0; LINK_HEADER])?;
    let links = messages.into_iter().filter_map(|message| {
        // struct ifinfomsg: family and type, index, flags, change mask.
        let index = u32_of(message.payload.get(4..)?)?;
        let flags = u32_of(message.payload.get(8..)?)?;
        let attributes = message.payload.get(LINK_HEADER..)?.to_vec();
        let name = text_of(find(&attributes, IFLA_IFNAME)?);
        Some(RawLink { index, name, flags, attributes })
    });
    Ok(links.collect())
}

fn describe(link: &RawLink, links: &[RawLink]) -> Link {
    let name_of = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    let kind = link.kind();
    let sysfs = Path::new("/sys/class/net").join(&link.name);
    let loopback = link.flags & IFF_LOOPBACK != 0;
    let driver = last_of_link(&sysfs.join("device/driver"));
    let on_top = links.iter().filter(|other| {
        other.number(IFLA_LINK) == Some(link.index) && other.kind().as_deref() == Some("vlan")
    });
    Link {
        up: link.flags & IFF_UP != 0,
        carrier: find(&link.attributes, IFLA_CARRIER).and_then(|value| value.first()) != Some(&0),
        loopback,
        mtu: link.number(IFLA_MTU).unwrap_or_default(),
        bus: driver.as_ref().and_then(|_| last_of_link(&sysfs.join("device/subsystem"))),
        driver: driver.or_else(|| kind.clone()).or_else(|| loopback.then(|| "loopback".to_owned())),
        master: link.number(IFLA_MASTER).and_then(name_of),
        vlans: on_top.map(|other| other.name.clone()).collect(),
        addresses: addresses(&link.name),
        rx_queues: queues(&sysfs, "rx-"),
        tx_queues: queues(&sysfs, "tx-").map(|queues| queues.len()),
        offloads: offloads(link.index),
        xdp_features: xdp_features(link.index),
        programs: programs(link),
        peer: if kind.as_deref() == Some("veth") { peer(link, links) } else { Peer::None },
    }
}

/// The last part of where a symbolic link leads.
fn last_of_link(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned())
}

fn addresses(interface: &str) -> Vec<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let of_interface =
        all.filter(|entry| entry.interface_name == interface).filter_map(|entry| entry.address);
    of_interface
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect()
}

fn queues(sysfs: &Path, prefix: &str) -> Seen<Vec<u32>> {
    let directory = sysfs.join("queues");
    let entries = fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut queues: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
        .collect();
    queues.sort_unstable();
    Ok(queues)
}

fn offloads(index: u32) -> Seen<BTreeSet<String>> {
    let header = nested(ETHTOOL_A_HEADER, &attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes()));
    let answer = Netlink::open(SockProtocol::NetlinkGeneric)
        .and_then(|mut netlink| netlink.ask_family("ethtool", ETHTOOL_MSG_FEATURES_GET, &header))
        .map_err(|error| format!("ethtool netlink: {error}"))?;
    let active = find(&answer, ETHTOOL_A_FEATURES_ACTIVE).unwrap_or_default();
    let bits = find(active, ETHTOOL_A_BITSET_BITS).unwrap_or_default();
    // A list without a mask: the bits that stand in it are set.
    Ok(attributes(bits).filter_map(|(_, bit)| find(bit, ETHTOOL_A_BITSET_BIT_NAME)).map(text_of).collect())
}

fn xdp_features(index: u32) -> Seen<u64> {
    let wanted = attribute(NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
    let answer = Netlink::open(SockProtocol::NetlinkGeneric)
        .and_then(|mut netlink| netlink.ask_family("netdev", NETDEV_CMD_DEV_GET, &wanted))
        .map_err(|error| format!("netdev netlink, since Linux 6.3: {error}"))?;
    find(&answer, NETDEV_A_DEV_XDP_FEATURES)
        .and_then(u64_of)
        .ok_or_else(|| "netdev netlink does not tell".to_owned())
}

fn programs(link: &RawLink) -> Vec<Program> {
    let xdp = find(&link.attributes, IFLA_XDP).unwrap_or_default();
    IFLA_XDP_PROG_IDS
        .into_iter()
        .filter_map(|(attribute, mode)| {
            let id = find(xdp, attribute).and_then(u32_of).filter(|id| *id != 0)?;
            Some(Program { id, mode, name: program_name(id), holder: link_holder(id) })
        })
        .collect()
}

fn program_name(id: u32) -> Seen<String> {
    for program in loaded_programs() {
        let program = program.map_err(|_| "its name can be seen with CAP_SYS_ADMIN only".to_owned())?;
        if program.id() == id {
            return Ok(program.name_as_str().unwrap_or("unnamed").to_owned());
        }
    }
    Err("it is gone".to_owned())
}

/// Who holds `program` by a BPF link.
fn link_holder(program: u32) -> Seen<Option<String>> {
    if let Some(process) = process_with_link(program) {
        return Ok(Some(process));
    }
    for link in loaded_links() {
        let link = link.map_err(|_| "that can be seen with CAP_SYS_ADMIN only".to_owned())?;
        if link.program_id() == program && matches!(link.link_type(), Ok(LinkType::Xdp)) {
            return Ok(Some("a process that cannot be seen, or is pinned in a BPF file system".to_owned()));
        }
    }
    Ok(None)
}

/// The process with a descriptor of `program`'s XDP link, "name (pid)", among those that may be looked at.
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

fn peer(link: &RawLink, links: &[RawLink]) -> Peer {
    let elsewhere = find(&link.attributes, IFLA_LINK_NETNSID).and_then(i32_of).is_some();
    let index = link.number(IFLA_LINK).filter(|_| !elsewhere);
    match links.iter().find(|other| Some(other.index) == index) {
        None => Peer::Elsewhere,
        Some(peer) => {
            let offloads = offloads(peer.index).unwrap_or_default();
            Peer::Here {
                name: peer.name.clone(),
                leaves_checksums: offloads.iter().any(|name| name.starts_with("tx-checksum-ip")),
                takes_frames: !programs(peer).is_empty(),
            }
        }
    }
}

/// The kernel's version, if it can be understood.
pub(super) fn kernel() -> Option<(u32, u32)> {
    proc::version(&release())
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn system() -> System {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let release = release();
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let text = status.as_ref().map_err(Clone::clone)?;
        proc::status(text, name).ok_or_else(|| format!("/proc/self/status has no {name}"))
    };
    let cpus = field("Cpus_allowed_list").map(str::to_owned);
    System {
        landlock: crate::confine::has_landlock(),
        seccomp: Path::new("/proc/sys/kernel/seccomp").exists(),
        instances: instances(),
        version: proc::version(&release),
        release,
        xdp_sockets: read("/proc/net/protocols").map(|text| proc::has_protocol(&text, "XDP")),
        jit: fs::read_to_string("/proc/sys/net/core/bpf_jit_enable")
            .map(|text| text.trim() != "0")
            .map_err(|error| format!("{error}; only the initial network namespace has the setting")),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        capabilities: field("CapEff")
            .and_then(|digits| u64::from_str_radix(digits, 16).map_err(|error| error.to_string())),
        memlock: getrlimit(Resource::RLIMIT_MEMLOCK)
            .map(|(soft, _)| (soft != RLIM_INFINITY).then_some(soft))
            .map_err(|error| error.to_string()),
        cpu_count: cpus.as_deref().map_or(0, proc::cpu_count),
        cpus,
    }
}

fn sockets() -> Seen<Vec<Socket>> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let mut sockets = proc::sockets(&read("/proc/net/tcp")?);
    // Without IPv6 there is no such file.
    if let Ok(text) = read("/proc/net/tcp6") {
        sockets.extend(proc::sockets(&text));
    }
    Ok(sockets)
}

fn firewall() -> Firewall {
    let read = |path: &str| match fs::read_to_string(path) {
        // The module is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("{path}: {error}")),
        Ok(text) => Ok(text),
    };
    let iptables = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]
        .into_iter()
        .map(|path| read(path).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()))
        .collect::<Seen<Vec<_>>>();
    Firewall {
        nftables: nftables(),
        iptables: iptables.map(|tables| tables.concat()),
        conntrack: read("/proc/sys/net/netfilter/nf_conntrack_count")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
    }
}

fn nftables() -> Seen<Vec<(String, usize)>> {
    let rules = match Netlink::open(SockProtocol::NetlinkNetFilter)
        .and_then(|mut netlink| netlink.dump(NFT_GETRULE, &[0; NFT_HEADER]))
    {
        Ok(rules) => rules,
        // A kernel without nftables.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => return Ok(Vec::new()),
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTONOSUPPORT) => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let mut tables: BTreeMap<String, usize> = BTreeMap::new();
    for rule in &rules {
        let table = rule.payload.get(NFT_HEADER..).and_then(|attributes| find(attributes, NFTA_RULE_TABLE));
        let name = format!("{} {}", family(&rule.payload), table.map(text_of).unwrap_or_default());
        *tables.entry(name).or_default() += 1;
    }
    Ok(tables.into_iter().collect())
}

/// The family of a table, by the first octet of its messages (`NFPROTO_*`).
fn family(message: &[u8]) -> &'static str {
    match message.first() {
        Some(1) => "inet",
        Some(2) => "ip",
        Some(3) => "arp",
        Some(5) => "netdev",
        Some(7) => "bridge",
        Some(10) => "ip6",
        _ => "?",
    }
}

/// Instances that have a control socket.
fn instances() -> Vec<Instance> {
    let pids = crate::control::pids();
    pids.into_iter()
        .filter_map(|pid| instance(pid, &fs::read_to_string(format!("/proc/{pid}/status")).ok()?))
        .collect()
}

fn instance(pid: u32, status: &str) -> Option<Instance> {
    let field = |name| proc::status(status, name);
    Some(Instance {
        pid,
        user: field("Uid")?.split_whitespace().next()?.to_owned(),
        capabilities: field("CapPrm")?.to_owned(),
        no_new_privs: field("NoNewPrivs") == Some("1"),
        seccomp: field("Seccomp") == Some("2"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_interface_is_seen() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        let link = describe(lo, &links);
        assert!(link.loopback);
        assert_eq!((link.driver.as_deref(), link.bus, link.peer), (Some("loopback"), None, Peer::None));
        assert_eq!((link.rx_queues, link.tx_queues), (Ok(vec![0]), Ok(1)));
        assert!(link.mtu > 0 && link.programs.is_empty());
        // Fixed for this device, whoever set up the machine.
        let offloads = link.offloads.unwrap();
        assert!(offloads.contains("loopback") && !offloads.contains("rx-lro"), "{offloads:?}");
    }

    #[test]
    fn machine_is_seen() {
        let system = system();
        assert!(system.version.is_some() && system.cpu_count > 0, "{system:?}");
        assert!(system.capabilities.is_ok() && system.memlock.is_ok(), "{system:?}");
    }
}
