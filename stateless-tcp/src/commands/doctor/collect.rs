//! Collects the facts. Nothing here fails: a fact that cannot be observed is an error with the reason.

use super::facts::{Facts, Firewall, InstanceFacts, SystemFacts};
use crate::af_xdp::netlink::{Netlink, find, text_of};
use crate::config::Config;
use crate::system::link::{describe, links};
use crate::system::proc::{self, SocketFacts};
use crate::system::{Observed, kernel_release};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::socket::SockProtocol;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// `linux/netfilter/nfnetlink.h`, `linux/netfilter/nf_tables.h`.
const NFT_GETRULE: u16 = 10 << 8 | 7;
const NFT_HEADER: usize = 4;
const NFTA_RULE_TABLE: u16 = 1;

/// Collects the facts of the interface in `config`, which `arguments` give, and of the machine.
pub(super) fn collect(config: &Config, arguments: Vec<String>) -> Facts {
    let interface = config.interfaces.first().cloned().unwrap_or_default();
    let links = links().unwrap_or_default();
    let link = links.iter().find(|link| link.name == interface);
    Facts {
        interface,
        arguments,
        ports: config.services.ports(),
        xdp_mode: config.xdp_mode,
        zero_copy: config.zero_copy,
        handshake: config.handshake,
        queues: config.queues.clone(),
        interfaces: links.iter().map(|link| link.name.clone()).collect(),
        link: link.map(|link| describe(link, &links)),
        system: system(),
        sockets: sockets(),
        firewall: firewall(),
    }
}

fn system() -> SystemFacts {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let release = kernel_release();
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let text = status.as_ref().map_err(Clone::clone)?;
        proc::status(text, name).ok_or_else(|| format!("/proc/self/status has no {name}"))
    };
    let cpus = field("Cpus_allowed_list").map(str::to_owned);
    SystemFacts {
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

fn sockets() -> Observed<Vec<SocketFacts>> {
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
        // The module is not loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("{path}: {error}")),
        Ok(text) => Ok(text),
    };
    let iptables = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]
        .into_iter()
        .map(|path| read(path).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()))
        .collect::<Observed<Vec<_>>>();
    Firewall {
        nftables: nftables(),
        iptables: iptables.map(|tables| tables.concat()),
        conntrack: read("/proc/sys/net/netfilter/nf_conntrack_count")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
    }
}

fn nftables() -> Observed<Vec<(String, usize)>> {
    let rules = match Netlink::open(SockProtocol::NetlinkNetFilter)
        .and_then(|mut netlink| netlink.dump(NFT_GETRULE, &[0; NFT_HEADER]))
    {
        Ok(rules) => rules,
        // The kernel lacks nftables.
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

/// The family of a table, by the first byte of its messages (`NFPROTO_*`).
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

/// The instances with a control socket.
fn instances() -> Vec<InstanceFacts> {
    let pids = crate::control::client::pids();
    pids.into_iter()
        .filter_map(|pid| instance(pid, &fs::read_to_string(format!("/proc/{pid}/status")).ok()?))
        .collect()
}

fn instance(pid: u32, status: &str) -> Option<InstanceFacts> {
    let field = |name| proc::status(status, name);
    Some(InstanceFacts {
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
    fn the_machine_is_observed() {
        let system = system();
        assert!(system.version.is_some() && system.cpu_count > 0, "{system:?}");
        assert!(system.capabilities.is_ok() && system.memlock.is_ok(), "{system:?}");
    }
}
