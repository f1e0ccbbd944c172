//! Checks of the interface: link, driver, XDP, queues, offloads, and interfaces on top of it.

use super::super::facts::Facts;
use super::{Check, HEADERS, NATIVE_MTU, Native, Plan, SEGMENT, Severity, list};
use crate::system::driver::{self, native_xdp};
use crate::system::handshake::{HandshakeChoice, HandshakeReason};
use crate::system::link::{LinkFacts, ProgramFacts, VethPeer};
use crate::system::reception::{self, Reception, Verdict};
use stateless_tcp_ebpf::abi::MAX_QUEUES;

pub(super) fn checks(facts: &Facts, link: &LinkFacts, plan: &Plan) -> Vec<Check> {
    let mut checks = vec![
        state(facts, link),
        driver(link),
        xdp(facts, link, plan),
        zero_copy(link, plan),
        handshake(plan),
        queues(facts, link, plan),
        mtu(link, plan),
        receive_offloads(facts, link, plan),
    ];
    checks.extend(peer(link));
    checks.extend(vlans(facts, link));
    checks.extend(link.master.as_ref().map(|master| {
        Check::new("master", Severity::Note, format!("{master} takes this interface's frames"))
            .remedy(format!("name this interface, not {master}; give --address with the addresses to serve"))
    }));
    checks.extend(link.programs.iter().map(attached));
    if link.programs.is_empty() {
        checks.push(Check::new("XDP programs", Severity::Ok, "none attached"));
    }
    checks
}

fn state(facts: &Facts, link: &LinkFacts) -> Check {
    let Reception { verdict, finding, remedy } = reception::judge(&facts.interface, link);
    let severity = match verdict {
        Verdict::Ready if link.addresses.is_empty() => {
            let name = &facts.interface;
            let finding = format!("{name} is up, and has no address");
            return Check::new("interface", Severity::Fail, finding)
                .remedy(format!("add one (ip address add 192.0.2.53/24 dev {name}), or give --address"));
        }
        Verdict::Ready => Severity::Ok,
        // The other end may come up by itself.
        Verdict::NotYet if link.up => Severity::Warn,
        Verdict::NotYet | Verdict::Never => Severity::Fail,
    };
    Check::new("interface", severity, finding).remedy(remedy)
}

fn driver(link: &LinkFacts) -> Check {
    let driver = link.driver.as_deref().unwrap_or("unknown");
    match &link.bus {
        Some(bus) => Check::new("driver", Severity::Ok, format!("{driver}, on {bus}")),
        None => Check::new("driver", Severity::Ok, format!("{driver}, virtual")),
    }
}

fn xdp(facts: &Facts, link: &LinkFacts, plan: &Plan) -> Check {
    let (_, source) = native_xdp(link, &facts.system.release);
    match plan.native {
        Native::Yes => Check::new("native XDP", Severity::Ok, format!("supported: {source}")),
        Native::TooLarge => {
            Check::new("native XDP", Severity::Note, format!("supported, but not with this MTU: {source}"))
                .remedy("see MTU below")
        }
        Native::No => Check::new("native XDP", Severity::Warn, format!("not supported: {source}"))
            .remedy("--xdp-mode generic works with every driver, at a fraction of the rate"),
    }
}

fn zero_copy(link: &LinkFacts, plan: &Plan) -> Check {
    let (can, source) = driver::zero_copy(link);
    let name = "zero-copy";
    match (can, plan.native) {
        (true, Native::Yes) => Check::new(name, Severity::Ok, format!("supported: {source}")),
        (true, _) => Check::new(name, Severity::Note, "supported by the driver, but it needs native XDP"),
        (false, _) => Check::new(name, Severity::Note, format!("not supported: {source}; frames are copied")),
    }
}

fn handshake(plan: &Plan) -> Check {
    let name = "handshake";
    let HandshakeChoice { place, reason } = match &plan.handshake {
        Ok(choice) => choice,
        Err(reason) => return Check::new(name, Severity::Fail, reason).remedy("--handshake auto"),
    };
    let severity = match reason {
        HandshakeReason::Configured
        | HandshakeReason::CheaperWithZeroCopy
        | HandshakeReason::CheaperWithCopies => Severity::Ok,
        HandshakeReason::Generic | HandshakeReason::Unknown(_) | HandshakeReason::Impossible(_) => {
            Severity::Note
        }
    };
    let check = Check::new(name, severity, format!("answered {place}: {reason}"));
    match reason {
        HandshakeReason::Unknown(_) => check.remedy("--handshake driver, once that has changed"),
        _ => check,
    }
}

fn queues(facts: &Facts, link: &LinkFacts, plan: &Plan) -> Check {
    let name = "queues";
    let interface = &facts.interface;
    let there = match &link.rx_queues {
        Ok(there) => there,
        Err(reason) => {
            return Check::new(name, Severity::Warn, format!("cannot be counted: {reason}"))
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
            Severity::Fail,
            format!("{finding}; there is no queue {}", list(&plan.missing)),
        )
        .remedy(format!("--queues {} at most, or `ethtool -L {interface}`", list(there)));
    }
    if there.iter().any(|queue| *queue >= MAX_QUEUES) {
        return Check::new(name, Severity::Fail, format!("{finding}; at most {MAX_QUEUES} can be served"))
            .remedy(format!("ethtool -L {interface} combined {MAX_QUEUES}"));
    }
    if !plan.uncovered.is_empty() {
        let uncovered = list(&plan.uncovered);
        return Check::new(
            name,
            Severity::Warn,
            format!(
                "{finding}; --queues leaves out {uncovered}, where the kernel would answer at served ports"
            ),
        )
        .remedy(
            "leave out --queues, or steer served traffic away from the others \
             (`ethtool -X`, `ethtool -N`) and give --uncovered-queues",
        );
    }
    if plan.served.len() > facts.system.cpu_count && facts.system.cpu_count > 0 {
        let count = facts.system.cpu_count;
        return Check::new(name, Severity::Note, format!("{finding}: workers share CPUs"))
            .remedy(format!("ethtool -L {interface} combined {count}, where the driver can"));
    }
    Check::new(name, Severity::Ok, finding)
}

fn mtu(link: &LinkFacts, plan: &Plan) -> Check {
    let mtu = link.mtu;
    if plan.native == Native::TooLarge {
        return Check::new(
            "MTU",
            Severity::Warn,
            format!(
                "{mtu}: native XDP takes frames of one page, most drivers up to MTU {NATIVE_MTU}, some less"
            ),
        )
        .remedy(format!("an MTU of {NATIVE_MTU} or less for native mode; generic mode works as it is"));
    }
    if mtu >= SEGMENT + HEADERS {
        return Check::new("MTU", Severity::Ok, format!("{mtu} (limit for native XDP: about {NATIVE_MTU})"));
    }
    match plan.segment_size {
        Some(size) => Check::new("MTU", Severity::Warn, format!("{mtu}: full segments do not fit"))
            .remedy(format!("--segment-size {size}")),
        None => Check::new("MTU", Severity::Fail, format!("{mtu} is too small for TCP"))
            .remedy("an MTU of 1280 or more"),
    }
}

fn receive_offloads(facts: &Facts, link: &LinkFacts, plan: &Plan) -> Check {
    let name = "receive offloads";
    let interface = &facts.interface;
    let offloads = match &link.offloads {
        Ok(offloads) => offloads,
        Err(reason) => return Check::new(name, Severity::Note, format!("unknown: {reason}")),
    };
    let is_native = plan.native == Native::Yes;
    if is_native && offloads.contains("rx-lro") {
        return Check::new(name, Severity::Warn, "LRO is on: most drivers refuse native XDP then")
            .remedy(format!("ethtool -K {interface} lro off"));
    }
    // Loopback merges nothing: its frames never pass GRO.
    if !is_native && !link.loopback && offloads.contains("rx-gro") {
        let finding = "GRO is on: in generic mode it may merge segments into frames larger than a chunk \
            (4096 bytes), which are dropped";
        return Check::new(name, Severity::Warn, finding).remedy(format!("ethtool -K {interface} gro off"));
    }
    Check::new(name, Severity::Ok, "none that interferes")
}

fn peer(link: &LinkFacts) -> Option<Check> {
    let name = "veth peer";
    match &link.peer {
        VethPeer::None => None,
        VethPeer::Elsewhere => Some(
            Check::new(name, Severity::Note, "in another network namespace: its offloads are unknown").remedy(
                "its partial checksums are accepted, but captures show them as wrong: `ethtool -K PEER tx off` there",
            ),
        ),
        VethPeer::Here { name: peer, leaves_checksums: true, .. } => Some(
            Check::new(name, Severity::Note, format!("{peer} leaves TCP checksums partial; they are accepted"))
                .remedy(format!("for captures with right checksums: ethtool -K {peer} tx off")),
        ),
        VethPeer::Here { name: peer, .. } => {
            Some(Check::new(name, Severity::Ok, format!("{peer} completes its checksums")))
        }
    }
}

fn vlans(facts: &Facts, link: &LinkFacts) -> Option<Check> {
    if link.vlans.is_empty() {
        return None;
    }
    let vlans = link.vlans.join(", ");
    let interface = &facts.interface;
    let strips = link.offloads.as_ref().is_ok_and(|offloads| offloads.contains("rx-vlan-hw-parse"));
    let check = if strips {
        let finding =
            format!("{vlans}: the card strips tags before XDP sees the frames, so answers would lack them");
        Check::new("VLANs", Severity::Warn, finding).remedy(format!("ethtool -K {interface} rxvlan off"))
    } else {
        let finding = format!("{vlans}: frames arrive with their tags, and answers carry the same");
        Check::new("VLANs", Severity::Note, finding)
            .remedy("give --address with the VLANs' addresses, to serve them too")
    };
    Some(check)
}

fn attached(program: &ProgramFacts) -> Check {
    let ProgramFacts { id, mode, name, holder } = program;
    let named = match name {
        Ok(name) => name.clone(),
        Err(reason) => format!("({reason})"),
    };
    let finding = format!("{named}, id {id}, is attached in {mode} mode");
    let check = |finding: String| Check::new("XDP programs", Severity::Fail, finding);
    match holder {
        Ok(Some(holder)) => check(format!("{finding}, held by a BPF link of {holder}"))
            .remedy("stop that process: nothing else can detach its program, not even --replace"),
        Ok(None) => check(finding).remedy("stop the process that attached it, or replace it by --replace"),
        Err(reason) => check(format!("{finding}; it is unknown if a BPF link holds it: {reason}")).remedy(
            "stop the process that attached it, or replace it by --replace (not possible if a BPF link holds it)",
        ),
    }
}
