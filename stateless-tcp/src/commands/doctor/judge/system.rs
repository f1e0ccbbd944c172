//! The machine, this process, and what attaching takes away from the kernel's TCP.

use super::super::facts::{Facts, Instance, Link, Socket, System};
use super::{Check, Plan, Verdict};
use crate::af_xdp::umem::{CHUNK, FRAMES};

/// `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The first kernel with BPF links for XDP.
const OLDEST: (u32, u32) = (5, 9);
/// The first that charges maps and programs to the control group, not to the limit of locked memory.
const CHARGES_GROUP: (u32, u32) = (5, 11);

/// Octets of memory shared with the kernel, for each queue.
const UMEM: u64 = CHUNK as u64 * FRAMES as u64;

pub(super) fn checks(facts: &Facts, link: &Link, plan: &Plan) -> Vec<Check> {
    let system = &facts.system;
    let mut checks = vec![kernel(system), jit(system), capabilities(system), memory(system, plan)];
    checks.push(confinement(system));
    checks.extend(system.instances.iter().map(instance));
    checks.extend(sockets(facts, link));
    checks.push(firewall(facts));
    checks
}

fn kernel(system: &System) -> Check {
    let System { release, version, btf, .. } = system;
    let btf = if *btf { "with BTF" } else { "without BTF, which is not needed" };
    if system.xdp_sockets == Ok(false) {
        return Check::new("kernel", Verdict::Fail, format!("{release} has no XDP sockets"))
            .remedy("a kernel built with CONFIG_XDP_SOCKETS=y");
    }
    match version {
        Some(version) if *version < OLDEST => {
            Check::new("kernel", Verdict::Fail, format!("{release} has no BPF links for XDP"))
                .remedy("Linux 5.9 or later")
        }
        Some(_) => Check::new("kernel", Verdict::Ok, format!("{release}, {btf}")),
        None => Check::new("kernel", Verdict::Note, format!("{release:?} is no version known here, {btf}")),
    }
}

fn jit(system: &System) -> Check {
    match &system.jit {
        Ok(true) => Check::new("BPF JIT", Verdict::Ok, "on"),
        Ok(false) => Check::new("BPF JIT", Verdict::Warn, "off: the XDP program is interpreted")
            .remedy("sysctl net.core.bpf_jit_enable=1"),
        Err(reason) => Check::new("BPF JIT", Verdict::Note, format!("cannot be seen: {reason}")),
    }
}

/// The capabilities that attaching takes and this process has not.
pub(super) fn missing_capabilities(system: &System) -> Vec<&'static str> {
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

fn capabilities(system: &System) -> Check {
    let name = "capabilities";
    if let Err(reason) = &system.capabilities {
        return Check::new(name, Verdict::Note, format!("cannot be seen: {reason}"));
    }
    let missing = missing_capabilities(system);
    if missing.is_empty() {
        return Check::new(name, Verdict::Ok, "all that is needed");
    }
    Check::new(name, Verdict::Warn, format!("this process lacks {}", missing.join(", "))).remedy(
        "run it as root (whether unprivileged BPF is enabled does not matter: XDP takes privileges always)",
    )
}

fn confinement(system: &System) -> Check {
    let name = "confinement";
    let lacks: Vec<&str> = [(system.landlock, "Landlock"), (system.seccomp, "seccomp")]
        .into_iter()
        .filter_map(|(has, what)| (!has).then_some(what))
        .collect();
    if lacks.is_empty() {
        let finding = "no capabilities, no_new_privs, seccomp, Landlock once it runs";
        return Check::new(name, Verdict::Ok, finding);
    }
    Check::new(name, Verdict::Warn, format!("this kernel lacks {}", lacks.join(" and ")))
        .remedy("a kernel built with CONFIG_SECURITY_LANDLOCK and CONFIG_SECCOMP_FILTER")
}

/// What an instance has given up, as far as that can be seen from outside: of Landlock it cannot.
fn instance(instance: &Instance) -> Check {
    let Instance { pid, user, capabilities, no_new_privs, seccomp } = instance;
    let is_confined = *no_new_privs && *seccomp && u64::from_str_radix(capabilities, 16) == Ok(0);
    let with = |has: bool, what: &str| if has { what.to_owned() } else { format!("no {what}") };
    let finding = format!(
        "process {pid}: user id {user}, capabilities {capabilities}, {}, {}",
        with(*no_new_privs, "no_new_privs"),
        with(*seccomp, "seccomp filter"),
    );
    let verdict = if is_confined { Verdict::Ok } else { Verdict::Note };
    Check::new("running instance", verdict, finding)
}

fn memory(system: &System, plan: &Plan) -> Check {
    let name = "locked memory";
    let wanted = UMEM * plan.served.len().max(1) as u64;
    let mebibytes = |octets: u64| octets >> 20;
    let may_lock =
        plan.needs_root || system.capabilities.as_ref().is_ok_and(|set| set & (1 << CAP_IPC_LOCK) != 0);
    let needs = format!("{} MiB are needed, {} a queue", mebibytes(wanted), mebibytes(UMEM));
    if may_lock && system.version.is_none_or(|version| version >= CHARGES_GROUP) {
        return Check::new(
            name,
            Verdict::Ok,
            format!("{needs}; the limit does not matter with CAP_IPC_LOCK, as root has"),
        );
    }
    let remedy =
        format!("ulimit -l unlimited (systemd: LimitMEMLOCK=infinity), or at least {} KiB", wanted >> 10);
    match &system.memlock {
        Ok(None) => Check::new(name, Verdict::Ok, format!("{needs}; unlimited")),
        Ok(Some(limit)) if may_lock || *limit >= wanted => {
            // Before Linux 5.11 the maps count too; the loader raises the limit for them if it may.
            Check::new(name, Verdict::Ok, format!("{needs}; the limit is {} MiB", mebibytes(*limit)))
        }
        Ok(Some(limit)) => Check::new(
            name,
            Verdict::Fail,
            format!("{needs}; without CAP_IPC_LOCK the limit of {} KiB holds for them", limit >> 10),
        )
        .remedy(remedy),
        Err(reason) => {
            Check::new(name, Verdict::Note, format!("{needs}; the limit cannot be seen: {reason}"))
        }
    }
}

/// The kernel's own sockets on the served ports: nothing will reach them through this interface.
fn sockets(facts: &Facts, link: &Link) -> Vec<Check> {
    let (listeners, connections) = ("listeners", "connections");
    let sockets = match &facts.sockets {
        Ok(sockets) => sockets,
        Err(reason) => {
            return vec![Check::new(listeners, Verdict::Note, format!("cannot be seen: {reason}"))];
        }
    };
    let concerned = |socket: &&Socket| {
        let address = socket.local.ip();
        facts.ports.contains(&socket.local.port())
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
    let [dns, http] = facts.ports;
    let mut checks = Vec::new();
    let listening = names(true);
    checks.push(if listening.is_empty() {
        Check::new(listeners, Verdict::Ok, format!("no kernel TCP service on ports {dns} and {http} here"))
    } else {
        let finding =
            format!("{}: TCP clients of this interface will not reach them any more", listening.join(", "));
        Check::new(listeners, Verdict::Warn, finding)
            .remedy("give other --dns-port and --http-port, or --address without theirs; UDP is not touched")
    });
    let mut open = names(false);
    let count = open.len();
    open.dedup();
    checks.push(if open.is_empty() {
        Check::new(connections, Verdict::Ok, "no open kernel TCP connection will be cut off")
    } else {
        let finding = format!(
            "{count} open kernel TCP connections on {} will become black holes: no data, no RST, only timeouts",
            open.join(", ")
        );
        Check::new(connections, Verdict::Warn, finding)
            .remedy("stop the service that has them first, and let them end")
    });
    checks
}

fn firewall(facts: &Facts) -> Check {
    let name = "firewall";
    let [dns, http] = facts.ports;
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
        if unseen.is_empty() { String::new() } else { format!("; could not see {}", unseen.join(" and ")) };
    if found.is_empty() {
        let verdict = if unseen.is_empty() { Verdict::Ok } else { Verdict::Note };
        return Check::new(name, verdict, format!("no rules found{unseen}"));
    }
    if facts.firewall.conntrack.is_some() {
        found.push("connection tracking".to_owned());
    }
    let finding = format!("{} will no longer see TCP to ports {dns} and {http}{unseen}", found.join(", "));
    Check::new(name, Verdict::Warn, finding)
        .remedy("rules for these ports (limits, blocks, DNAT) lose their effect: filter before this machine")
}
