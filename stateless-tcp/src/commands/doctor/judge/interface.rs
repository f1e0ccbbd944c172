//! The interface: link, driver, XDP, queues, offloads, and what stands on it.

use super::super::Transmits;
use super::super::facts::{Facts, Link, Peer, Program};
use super::{Check, HEADERS, NATIVE_MTU, Native, Plan, SEGMENT, Verdict, list};
use stateless_tcp_ebpf::abi::MAX_QUEUES;

/// `linux/netdev.h`: the driver takes XDP programs, can redirect to sockets, and can do so without a copy.
const BASIC: u64 = 1;
const REDIRECT: u64 = 2;
const ZERO_COPY: u64 = 8;

/// Drivers with native XDP, for kernels that do not tell.
const NATIVE_DRIVERS: &[&str] = &[
    "bnxt_en",
    "dpaa2-eth",
    "ena",
    "enetc",
    "fec",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "netsec",
    "nfp",
    "qede",
    "sfc",
    "stmmac",
    "thunder_nicvf",
    "tun",
    "veth",
    "virtio_net",
];

/// Drivers that hand over frames without a copy since long, for kernels that do not tell.
const ZERO_COPY_DRIVERS: &[&str] = &["i40e", "ice", "igc", "ixgbe", "mlx5_core", "stmmac"];

pub(super) fn checks(facts: &Facts, link: &Link, plan: &Plan) -> Vec<Check> {
    let mut checks = vec![
        state(facts, link),
        driver(link),
        xdp(facts, link, plan),
        zero_copy(link, plan),
        handshake(facts, link, plan),
        queues(facts, link, plan),
        mtu(link, plan),
        receive_offloads(facts, link, plan),
    ];
    checks.extend(peer(link));
    checks.extend(vlans(facts, link));
    checks.extend(link.master.as_ref().map(|master| {
        Check::new("master", Verdict::Note, format!("{master} takes this interface's frames"))
            .remedy(format!("name this interface, not {master}; give --address with the addresses to serve"))
    }));
    checks.extend(link.programs.iter().map(attached));
    if link.programs.is_empty() {
        checks.push(Check::new("XDP programs", Verdict::Ok, "none attached"));
    }
    checks
}

fn state(facts: &Facts, link: &Link) -> Check {
    let name = &facts.interface;
    if link.loopback {
        return Check::new(
            "interface",
            Verdict::Fail,
            format!("{name} carries what this machine sends to itself"),
        )
        .remedy(
            "choose another: clients with a loopback address, or with the server's own, are never answered",
        );
    }
    if !link.up {
        return Check::new("interface", Verdict::Fail, format!("{name} is down"))
            .remedy(format!("ip link set {name} up"));
    }
    if !link.carrier {
        return Check::new("interface", Verdict::Warn, format!("{name} is up, without carrier"))
            .remedy("nothing arrives before the cable or the other end is up");
    }
    let addresses: Vec<_> = link.addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() {
        return Check::new("interface", Verdict::Warn, format!("{name} is up, and has no address"))
            .remedy("give --address with the addresses to serve");
    }
    Check::new("interface", Verdict::Ok, format!("{name} is up, with {}", addresses.join(", ")))
}

fn driver(link: &Link) -> Check {
    let driver = link.driver.as_deref().unwrap_or("unknown");
    match &link.bus {
        Some(bus) => Check::new("driver", Verdict::Ok, format!("{driver}, on {bus}")),
        None => Check::new("driver", Verdict::Ok, format!("{driver}, virtual")),
    }
}

/// Whether the driver runs XDP programs and redirects to sockets, and how that is known.
pub(super) fn native(facts: &Facts, link: &Link) -> (bool, String) {
    match &link.xdp_features {
        Ok(features) => (
            features & (BASIC | REDIRECT) == BASIC | REDIRECT,
            "the kernel says so (netdev netlink)".to_owned(),
        ),
        Err(reason) => {
            let known = link.driver.as_deref().is_some_and(|driver| NATIVE_DRIVERS.contains(&driver));
            let release = &facts.system.release;
            (known, format!("by what is known of the driver; kernel {release} does not tell ({reason})"))
        }
    }
}

fn xdp(facts: &Facts, link: &Link, plan: &Plan) -> Check {
    let (_, source) = native(facts, link);
    match plan.native {
        Native::Yes => Check::new("native XDP", Verdict::Ok, format!("supported: {source}")),
        Native::TooLarge => {
            Check::new("native XDP", Verdict::Note, format!("supported, but not with this MTU: {source}"))
                .remedy("see MTU below")
        }
        Native::No => Check::new("native XDP", Verdict::Warn, format!("not supported: {source}"))
            .remedy("--xdp-mode generic works with every driver, at a fraction of the rate"),
    }
}

/// Whether the driver has zero-copy, and how that is known.
fn has_zero_copy(link: &Link) -> (bool, &'static str) {
    let by_driver = || link.driver.as_deref().is_some_and(|driver| ZERO_COPY_DRIVERS.contains(&driver));
    link.xdp_features.as_ref().map_or_else(
        |_| (by_driver(), "by what is known of the driver"),
        |features| (features & ZERO_COPY != 0, "the kernel says so (netdev netlink)"),
    )
}

fn zero_copy(link: &Link, plan: &Plan) -> Check {
    let (can, known) = has_zero_copy(link);
    let name = "zero-copy";
    match (can, plan.native) {
        (true, Native::Yes) => Check::new(name, Verdict::Ok, format!("supported: {known}")),
        (true, _) => {
            Check::new(name, Verdict::Note, "supported by the driver, but native XDP is needed for it")
        }
        (false, _) => Check::new(name, Verdict::Note, format!("not supported: {known}; frames are copied")),
    }
}

/// The oldest kernel whose verifier is known to follow the program that answers the handshake; that of 6.1 gives up.
const FOLLOWS: (u32, u32) = (6, 12);

/// Drivers that drop what an XDP program sends from a zero-copy queue: the kernel copies it, without the room before it
/// that their own header takes (Linux 7.2; `ethtool -S` has it as `tx_xdp_tx_drops`).
const DROP_FROM_ZERO_COPY: &[&str] = &["virtio_net"];

/// Whether the handshake can be answered in the driver, with zero-copy or without: the kernel has to take a program that
/// does, and what it sends has to arrive.
pub(in super::super) fn answers(link: &Link, kernel: Option<(u32, u32)>, zero_copy: bool) -> Transmits {
    match (transmits(link), &link.driver) {
        (Transmits::Yes, Some(driver)) if zero_copy && DROP_FROM_ZERO_COPY.contains(&driver.as_str()) => {
            Transmits::No(format!(
                "with zero-copy {driver} drops what an XDP program sends: --handshake ring, or --zero-copy never"
            ))
        }
        (Transmits::Yes, _) if kernel.is_some_and(|kernel| kernel < FOLLOWS) => {
            let (major, minor) = FOLLOWS;
            Transmits::Unknown(format!(
                "the program that answers in the driver is known to pass the verifier since Linux {major}.{minor}"
            ))
        }
        (transmits, _) => transmits,
    }
}

/// Whether what an XDP program in the driver sends back arrives. A veth hands it to its other end, which does not look
/// for it unless it has a program itself (with GRO alone it lies there until something else comes).
fn transmits(link: &Link) -> Transmits {
    match (&link.peer, &link.xdp_features) {
        (Peer::Here { takes_frames: true, .. }, _) => Transmits::Yes,
        (Peer::Here { name, .. }, _) => Transmits::No(format!(
            "{name}, the other end of this veth, does not take what an XDP program sends, having none itself"
        )),
        (Peer::Elsewhere, _) => Transmits::Unknown(
            "the other end of this veth takes what an XDP program sends only if it has one itself, which cannot be \
             seen from here"
                .to_owned(),
        ),
        (Peer::None, Ok(features)) if features & BASIC == 0 => {
            Transmits::No("the driver cannot send for XDP programs (XDP_TX): --handshake ring".to_owned())
        }
        (Peer::None, _) => Transmits::Yes,
    }
}

fn handshake(facts: &Facts, link: &Link, plan: &Plan) -> Check {
    let name = "handshake";
    let zero_copy = plan.native == Native::Yes && has_zero_copy(link).0;
    match (answers(link, facts.system.version, zero_copy), plan.native) {
        (Transmits::Yes, Native::Yes) => Check::new(name, Verdict::Ok, "answered in the driver"),
        (Transmits::Yes, _) => {
            Check::new(name, Verdict::Note, "answered through the ring: for the driver, native XDP is needed")
        }
        (Transmits::Unknown(reason), _) => {
            Check::new(name, Verdict::Note, format!("answered through the ring: {reason}"))
                .remedy("--handshake driver, once that is so")
        }
        (Transmits::No(reason), _) => {
            Check::new(name, Verdict::Note, format!("answered through the ring: {reason}"))
        }
    }
}

fn queues(facts: &Facts, link: &Link, plan: &Plan) -> Check {
    let name = "queues";
    let interface = &facts.interface;
    let there = match &link.rx_queues {
        Ok(there) => there,
        Err(reason) => {
            return Check::new(name, Verdict::Warn, format!("cannot be counted: {reason}"))
                .remedy("in another network namespace, mount its sysfs (`ip netns exec` does)");
        }
    };
    let sending = link.tx_queues.as_ref().map_or_else(|_| "?".to_owned(), ToString::to_string);
    let cpus = facts.system.cpus.as_deref().unwrap_or("unknown");
    let finding = format!(
        "{} to receive, {sending} to send; one worker for each served queue, on CPUs {cpus}",
        there.len()
    );
    if !plan.missing.is_empty() {
        return Check::new(
            name,
            Verdict::Fail,
            format!("{finding}; there is no queue {}", list(&plan.missing)),
        )
        .remedy(format!("--queues {} at most, or `ethtool -L {interface}`", list(there)));
    }
    if there.iter().any(|queue| *queue >= MAX_QUEUES) {
        return Check::new(name, Verdict::Fail, format!("{finding}; at most {MAX_QUEUES} can be served"))
            .remedy(format!("ethtool -L {interface} combined {MAX_QUEUES}"));
    }
    if !plan.uncovered.is_empty() {
        let uncovered = list(&plan.uncovered);
        return Check::new(
            name,
            Verdict::Warn,
            format!("{finding}; --queues leaves out {uncovered}, where the kernel would answer served ports"),
        )
        .remedy(
            "leave out --queues, or steer served traffic away from the others \
             (`ethtool -X`, `ethtool -N`) and say --uncovered-queues",
        );
    }
    if plan.served.len() > facts.system.cpu_count && facts.system.cpu_count > 0 {
        let count = facts.system.cpu_count;
        return Check::new(name, Verdict::Note, format!("{finding}: workers share CPUs"))
            .remedy(format!("ethtool -L {interface} combined {count}, where the driver can"));
    }
    Check::new(name, Verdict::Ok, finding)
}

fn mtu(link: &Link, plan: &Plan) -> Check {
    let mtu = link.mtu;
    if plan.native == Native::TooLarge {
        return Check::new(
            "MTU",
            Verdict::Warn,
            format!(
                "{mtu}: native XDP takes frames of one page, most drivers up to MTU {NATIVE_MTU}, some less"
            ),
        )
        .remedy(format!("an MTU of {NATIVE_MTU} or less for native mode; generic mode works as it is"));
    }
    if mtu >= SEGMENT + HEADERS {
        return Check::new("MTU", Verdict::Ok, format!("{mtu} (limit for native XDP: about {NATIVE_MTU})"));
    }
    match plan.segment_size {
        Some(size) => Check::new("MTU", Verdict::Warn, format!("{mtu}: full segments do not fit"))
            .remedy(format!("--segment-size {size}")),
        None => Check::new("MTU", Verdict::Fail, format!("{mtu} is too small for TCP"))
            .remedy("an MTU of 1280 or more"),
    }
}

fn receive_offloads(facts: &Facts, link: &Link, plan: &Plan) -> Check {
    let name = "receive offloads";
    let interface = &facts.interface;
    let offloads = match &link.offloads {
        Ok(offloads) => offloads,
        Err(reason) => return Check::new(name, Verdict::Note, format!("cannot be seen: {reason}")),
    };
    let is_native = plan.native == Native::Yes;
    if is_native && offloads.contains("rx-lro") {
        return Check::new(name, Verdict::Warn, "LRO is on: most drivers refuse native XDP then")
            .remedy(format!("ethtool -K {interface} lro off"));
    }
    // Loopback merges nothing: its frames never pass GRO.
    if !is_native && !link.loopback && offloads.contains("rx-gro") {
        let finding = "GRO is on: in generic mode it may merge segments into frames larger than a chunk \
            (4096 octets), which are dropped";
        return Check::new(name, Verdict::Warn, finding).remedy(format!("ethtool -K {interface} gro off"));
    }
    Check::new(name, Verdict::Ok, "none that stands in the way")
}

fn peer(link: &Link) -> Option<Check> {
    let name = "veth peer";
    match &link.peer {
        Peer::None => None,
        Peer::Elsewhere => Some(
            Check::new(name, Verdict::Note, "in another network namespace: its offloads cannot be seen").remedy(
                "its partial checksums are accepted; captures show them as wrong: `ethtool -K PEER tx off` there",
            ),
        ),
        Peer::Here { name: peer, leaves_checksums: true, .. } => Some(
            Check::new(name, Verdict::Note, format!("{peer} leaves TCP checksums partial; they are accepted"))
                .remedy(format!("for captures with right checksums: ethtool -K {peer} tx off")),
        ),
        Peer::Here { name: peer, .. } => {
            Some(Check::new(name, Verdict::Ok, format!("{peer} completes its checksums")))
        }
    }
}

fn vlans(facts: &Facts, link: &Link) -> Option<Check> {
    if link.vlans.is_empty() {
        return None;
    }
    let vlans = link.vlans.join(", ");
    let interface = &facts.interface;
    let strips = link.offloads.as_ref().is_ok_and(|offloads| offloads.contains("rx-vlan-hw-parse"));
    let check = if strips {
        let finding =
            format!("{vlans}: the card takes tags off before XDP sees them, so answers would lack them");
        Check::new("VLANs", Verdict::Warn, finding).remedy(format!("ethtool -K {interface} rxvlan off"))
    } else {
        let finding = format!("{vlans}: frames arrive with their tags, and answers carry the same");
        Check::new("VLANs", Verdict::Note, finding)
            .remedy("give --address with the VLANs' addresses, to serve them too")
    };
    Some(check)
}

fn attached(program: &Program) -> Check {
    let Program { id, mode, name, holder } = program;
    let named = match name {
        Ok(name) => name.clone(),
        Err(reason) => format!("({reason})"),
    };
    let finding = format!("{named}, id {id}, is attached in {mode} mode");
    let check = |finding: String| Check::new("XDP programs", Verdict::Fail, finding);
    match holder {
        Ok(Some(holder)) => check(format!("{finding}, held by a BPF link of {holder}"))
            .remedy("stop that process: nobody else can take its program off, --replace neither"),
        Ok(None) => check(finding).remedy("stop what attached it, or take its place by --replace"),
        Err(reason) => check(format!("{finding}; whether a BPF link holds it is unknown: {reason}")).remedy(
            "stop what attached it, or take its place by --replace (not possible if a BPF link holds it)",
        ),
    }
}
