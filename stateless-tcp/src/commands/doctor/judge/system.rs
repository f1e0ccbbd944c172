//! Checks of the machine, this process, and the kernel's TCP services that attaching affects.

use super::super::facts::{Facts, InstanceFacts, SystemFacts};
use super::{Check, Plan, Severity};
use crate::af_xdp::umem::{CHUNK, FRAMES};
use crate::system::link::LinkFacts;
use crate::system::proc::SocketFacts;

/// `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The first kernel with BPF links for XDP.
const OLDEST_KERNEL: (u32, u32) = (5, 9);
/// The first kernel that charges maps and programs to the control group, not to the limit of locked memory.
const CHARGES_CGROUP: (u32, u32) = (5, 11);

/// Bytes of packet memory for each queue.
const UMEM: u64 = CHUNK as u64 * FRAMES as u64;

pub(super) fn checks(facts: &Facts, link: &LinkFacts, plan: &Plan) -> Vec<Check> {
    let system = &facts.system;
    let mut checks = vec![kernel(system), jit(system), capabilities(system), memory(system, plan)];
    checks.push(confinement(system));
    checks.extend(system.instances.iter().map(instance));
    checks.extend(sockets(facts, link));
    checks.push(firewall(facts));
    checks
}

fn kernel(system: &SystemFacts) -> Check {
    let SystemFacts { release, version, btf, .. } = system;
    let btf = if *btf { "with BTF" } else { "without BTF, which is not needed" };
    if system.xdp_sockets == Ok(false) {
        return Check::new("kernel", Severity::Fail, format!("{release} has no XDP sockets"))
            .remedy("a kernel built with CONFIG_XDP_SOCKETS=y");
    }
    match version {
        Some(version) if *version < OLDEST_KERNEL => {
            Check::new("kernel", Severity::Fail, format!("{release} has no BPF links for XDP"))
                .remedy("Linux 5.9 or later")
        }
        Some(_) => Check::new("kernel", Severity::Ok, format!("{release}, {btf}")),
        None => Check::new("kernel", Severity::Note, format!("{release:?} has no version number, {btf}")),
    }
}

fn jit(system: &SystemFacts) -> Check {
    match &system.jit {
        Ok(true) => Check::new("BPF JIT", Severity::Ok, "on"),
        Ok(false) => Check::new("BPF JIT", Severity::Warn, "off: the XDP program is interpreted")
            .remedy("sysctl net.core.bpf_jit_enable=1"),
        Err(reason) => Check::new("BPF JIT", Severity::Note, format!("unknown: {reason}")),
    }
}

/// The capabilities that attaching needs and this process lacks.
pub(super) fn missing_capabilities(system: &SystemFacts) -> Vec<&'static str> {
    let Ok(set) = system.capabilities else { return Vec::new() };
    let has = |capability: u32| set & (1 << capability) != 0;
    let needed = [
        ("CAP_NET_ADMIN", has(CAP_NET_ADMIN)),
        ("CAP_NET_RAW", has(CAP_NET_RAW)),
        ("CAP_BPF", has(CAP_BPF) || has(CAP_SYS_ADMIN)),
        ("CAP_PERFMON", has(CAP_PERFMON) || has(CAP_SYS_ADMIN)),
    ];
    needed.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
}

fn capabilities(system: &SystemFacts) -> Check {
    let name = "capabilities";
    if let Err(reason) = &system.capabilities {
        return Check::new(name, Severity::Note, format!("unknown: {reason}"));
    }
    let missing = missing_capabilities(system);
    if missing.is_empty() {
        return Check::new(name, Severity::Ok, "sufficient");
    }
    Check::new(name, Severity::Warn, format!("this process lacks {}", missing.join(", ")))
        .remedy("run it as root (XDP always needs privileges, even if unprivileged BPF is enabled)")
}

fn confinement(system: &SystemFacts) -> Check {
    let name = "confinement";
    let lacks: Vec<&str> = [(system.landlock, "Landlock"), (system.seccomp, "seccomp")]
        .into_iter()
        .filter_map(|(has, what)| (!has).then_some(what))
        .collect();
    if lacks.is_empty() {
        let finding = "no capabilities, no_new_privs, seccomp and Landlock once it runs";
        return Check::new(name, Severity::Ok, finding);
    }
    Check::new(name, Severity::Warn, format!("this kernel lacks {}", lacks.join(" and ")))
        .remedy("a kernel built with CONFIG_SECURITY_LANDLOCK and CONFIG_SECCOMP_FILTER")
}

/// The confinement of a running instance. Landlock is not visible from outside.
fn instance(instance: &InstanceFacts) -> Check {
    let InstanceFacts { pid, user, capabilities, no_new_privs, seccomp } = instance;
    let is_confined = *no_new_privs && *seccomp && u64::from_str_radix(capabilities, 16) == Ok(0);
    let with = |present: bool, name: &str| if present { name.to_owned() } else { format!("no {name}") };
    let finding = format!(
        "process {pid}: user id {user}, capabilities {capabilities}, {}, {}",
        with(*no_new_privs, "no_new_privs"),
        with(*seccomp, "seccomp filter"),
    );
    let severity = if is_confined { Severity::Ok } else { Severity::Note };
    Check::new("running instance", severity, finding)
}

fn memory(system: &SystemFacts, plan: &Plan) -> Check {
    let name = "locked memory";
    let wanted = UMEM * plan.served.len().max(1) as u64;
    let mebibytes = |bytes: u64| bytes >> 20;
    let may_lock =
        plan.needs_root || system.capabilities.as_ref().is_ok_and(|set| set & (1 << CAP_IPC_LOCK) != 0);
    let needs = format!("{} MiB are needed, {} a queue", mebibytes(wanted), mebibytes(UMEM));
    if may_lock && system.version.is_none_or(|version| version >= CHARGES_CGROUP) {
        return Check::new(
            name,
            Severity::Ok,
            format!("{needs}; the limit does not apply with CAP_IPC_LOCK, as root has"),
        );
    }
    let remedy =
        format!("ulimit -l unlimited (systemd: LimitMEMLOCK=infinity), or at least {} KiB", wanted >> 10);
    match &system.memlock {
        Ok(None) => Check::new(name, Severity::Ok, format!("{needs}; unlimited")),
        Ok(Some(limit)) if may_lock || *limit >= wanted => {
            // Before Linux 5.11 the maps count, too. The loader raises the limit for them if it may.
            Check::new(name, Severity::Ok, format!("{needs}; the limit is {} MiB", mebibytes(*limit)))
        }
        Ok(Some(limit)) => Check::new(
            name,
            Severity::Fail,
            format!("{needs}; without CAP_IPC_LOCK the limit of {} KiB applies", limit >> 10),
        )
        .remedy(remedy),
        Err(reason) => Check::new(name, Severity::Note, format!("{needs}; the limit is unknown: {reason}")),
    }
}

/// The kernel's sockets on the served ports. No segment will reach them through this interface.
fn sockets(facts: &Facts, link: &LinkFacts) -> Vec<Check> {
    let (listeners, connections) = ("listeners", "connections");
    let sockets = match &facts.sockets {
        Ok(sockets) => sockets,
        Err(reason) => {
            return vec![Check::new(listeners, Severity::Note, format!("unknown: {reason}"))];
        }
    };
    let concerned = |socket: &&SocketFacts| {
        let address = socket.local.ip();
        facts.ports.iter().any(|service| service.port == socket.local.port())
            && (address.is_unspecified() || link.addresses.contains(&address))
    };
    let names = |listening: bool| {
        let mut names: Vec<_> = sockets
            .iter()
            .filter(concerned)
            .filter(|socket| socket.listening == listening)
            .map(|socket| socket.local.to_string())
            .collect();
        names.sort();
        names
    };
    let mut checks = Vec::new();
    let listening = names(true);
    checks.push(if listening.is_empty() {
        Check::new(listeners, Severity::Ok, format!("no kernel TCP service on {} here", ports(facts)))
    } else {
        let finding =
            format!("{}: TCP clients of this interface will no longer reach them", listening.join(", "));
        Check::new(listeners, Severity::Warn, finding).remedy(format!(
            "give other ports ({}), or --address without theirs; UDP is not affected",
            flags(facts)
        ))
    });
    let mut open = names(false);
    let count = open.len();
    open.dedup();
    checks.push(if open.is_empty() {
        Check::new(connections, Severity::Ok, "no open kernel TCP connection will be cut off")
    } else {
        let finding = format!(
            "{count} open kernel TCP connections on {} will become black holes: no data, no RST, only timeouts",
            open.join(", ")
        );
        Check::new(connections, Severity::Warn, finding)
            .remedy("stop their service first, and wait until they have ended")
    });
    checks
}

fn firewall(facts: &Facts) -> Check {
    let name = "firewall";
    let mut found = Vec::new();
    let mut unseen = Vec::new();
    match &facts.firewall.nftables {
        Ok(tables) => found
            .extend(tables.iter().map(|(table, rules)| format!("nftables table {table} ({rules} rules)"))),
        Err(reason) => unseen.push(format!("nftables ({reason})")),
    }
    match &facts.firewall.iptables {
        Ok(tables) if !tables.is_empty() => found.push(format!("iptables tables {}", tables.join(", "))),
        Ok(_) => {}
        Err(reason) => unseen.push(format!("iptables ({reason})")),
    }
    let unseen =
        if unseen.is_empty() { String::new() } else { format!("; unknown: {}", unseen.join(" and ")) };
    if found.is_empty() {
        let severity = if unseen.is_empty() { Severity::Ok } else { Severity::Note };
        return Check::new(name, severity, format!("no rules found{unseen}"));
    }
    if facts.firewall.conntrack.is_some() {
        found.push("connection tracking".to_owned());
    }
    let finding = format!("{} will no longer see TCP to {}{unseen}", found.join(", "), ports(facts));
    Check::new(name, Severity::Warn, finding)
        .remedy("rules for these ports (limits, blocks, DNAT) lose their effect: filter before this machine")
}

/// The served ports, in words.
fn ports(facts: &Facts) -> String {
    let ports: Vec<_> = facts.ports.iter().map(|service| service.port.to_string()).collect();
    format!("port{} {}", if ports.len() == 1 { "" } else { "s" }, ports.join(" and "))
}

/// The flags of the served ports, in words.
fn flags(facts: &Facts) -> String {
    facts.ports.iter().map(|service| service.flag).collect::<Vec<_>>().join(", ")
}
