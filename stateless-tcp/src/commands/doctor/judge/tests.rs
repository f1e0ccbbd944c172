//! Each case spoils one fact of an interface that serves well.

use rstest::rstest;

use super::super::facts::{Facts, Firewall, SystemFacts};
use super::{Check, Diagnosis, Severity, judge, list};
use crate::config::{HandshakeMode, ServicePort, XdpMode, ZeroCopy};
use crate::system::link::{LinkFacts, ProgramFacts, VethPeer};
use crate::system::proc::SocketFacts;

/// The facts of an interface and a machine without any remark.
fn good() -> Facts {
    Facts {
        interface: "eth0".to_owned(),
        arguments: vec!["-i".to_owned(), "eth0".to_owned()],
        ports: ports(53, 80),
        xdp_mode: XdpMode::Auto,
        zero_copy: ZeroCopy::Auto,
        handshake: HandshakeMode::Auto,
        queues: None,
        interfaces: vec!["lo".to_owned(), "eth0".to_owned()],
        link: Some(LinkFacts {
            ethernet: true,
            up: true,
            carrier: true,
            loopback: false,
            mtu: 1500,
            driver: Some("ice".to_owned()),
            bus: Some("pci".to_owned()),
            master: None,
            vlans: vec![],
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            rx_queues: Ok(vec![0, 1, 2, 3]),
            tx_queues: Ok(4),
            offloads: Ok(["rx-gro", "tx-checksum-ipv4"].map(str::to_owned).into()),
            xdp_features: Ok(0b1011),
            programs: vec![],
            peer: VethPeer::None,
        }),
        system: SystemFacts {
            release: "6.12.0".to_owned(),
            version: Some((6, 12)),
            xdp_sockets: Ok(true),
            jit: Ok(true),
            btf: true,
            capabilities: Ok(u64::MAX),
            landlock: true,
            seccomp: true,
            instances: vec![],
            memlock: Ok(Some(8 << 20)),
            cpus: Ok("0-7".to_owned()),
            cpu_count: 8,
        },
        sockets: Ok(vec![]),
        firewall: Firewall { nftables: Ok(vec![]), iptables: Ok(vec![]), conntrack: None },
    }
}

fn ports(dns: u16, http: u16) -> Vec<ServicePort> {
    let port = |name, flag, port| ServicePort { name, flag, port };
    vec![port("DNS", "--dns-port", dns), port("HTTP", "--http-port", http)]
}

fn link(facts: &mut Facts) -> &mut LinkFacts {
    facts.link.as_mut().unwrap()
}

fn find<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a Check {
    diagnosis.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"))
}

fn without_capability(number: u32) -> u64 {
    !(1 << number)
}

fn program(holder: Result<Option<String>, String>) -> ProgramFacts {
    ProgramFacts { id: 7, mode: "native", name: Ok("other".to_owned()), holder }
}

fn socket(local: &str, listening: bool) -> SocketFacts {
    SocketFacts { local: local.parse().unwrap(), listening }
}

#[test]
fn good_interface_serves() {
    let diagnosis = judge(&good());
    for check in &diagnosis.checks {
        assert_eq!((check.severity, check.remedy.as_str()), (Severity::Ok, ""), "{check:?}");
    }
    assert!(diagnosis.works());
    assert_eq!(diagnosis.command.as_deref(), Some("stateless-tcp run -i eth0"));
}

#[test]
fn missing_interface_has_no_command() {
    let diagnosis = judge(&Facts { link: None, ..good() });
    assert!(!diagnosis.works());
    assert_eq!(diagnosis.command, None);
    assert!(find(&diagnosis, "interface").remedy.contains("lo, eth0"));
}

/// The spoilt fact, the check that reports it, its severity and text, and the options of the command.
#[rstest]
#[case::down(|f: &mut Facts| link(f).up = false, "interface", Severity::Fail, "is down", "")]
#[case::no_carrier(|f: &mut Facts| link(f).carrier = false, "interface", Severity::Warn, "without carrier", "")]
#[case::no_address(|f: &mut Facts| link(f).addresses.clear(), "interface", Severity::Fail, "no address", "")]
#[case::no_native(|f: &mut Facts| link(f).xdp_features = Ok(0), "native XDP", Severity::Warn, "the kernel reports it",
    " --xdp-mode generic")]
#[case::no_redirect(|f: &mut Facts| link(f).xdp_features = Ok(1), "native XDP", Severity::Warn, "not supported",
    " --xdp-mode generic")]
#[case::old_kernel_known_driver(|f: &mut Facts| link(f).xdp_features = Err("no netdev".to_owned()), "native XDP",
    Severity::Ok, "list of known drivers", "")]
#[case::old_kernel_unknown_driver(|f: &mut Facts| {
    link(f).xdp_features = Err("no netdev".to_owned());
    link(f).driver = Some("e100".to_owned());
}, "native XDP", Severity::Warn, "list of known drivers", " --xdp-mode generic")]
#[case::copies(|f: &mut Facts| link(f).xdp_features = Ok(3), "zero-copy", Severity::Note, "copied", "")]
#[case::jumbo(|f: &mut Facts| link(f).mtu = 9000, "MTU", Severity::Warn, "3498", " --xdp-mode generic")]
#[case::largest_mtu(|f: &mut Facts| link(f).mtu = 3498, "MTU", Severity::Ok, "3498", "")]
#[case::small_mtu(|f: &mut Facts| link(f).mtu = 1279, "MTU", Severity::Warn, "do not fit", " --segment-size 1219")]
#[case::smallest_mtu(|f: &mut Facts| link(f).mtu = 1280, "MTU", Severity::Ok, "1280", "")]
#[case::tiny_mtu(|f: &mut Facts| link(f).mtu = 123, "MTU", Severity::Fail, "too small", "")]
#[case::uncovered(|f: &mut Facts| f.queues = Some(vec![0, 2]), "queues", Severity::Warn, "leaves out 1,3",
    " --queues 0,2 --uncovered-queues")]
#[case::covered(|f: &mut Facts| f.queues = Some(vec![0, 1, 2, 3]), "queues", Severity::Ok, "4 to receive",
    " --queues 0-3")]
#[case::no_such_queue(|f: &mut Facts| f.queues = Some(vec![0, 1, 2, 3, 4]), "queues", Severity::Fail, "no queue 4",
    " --queues 0-3")]
#[case::too_many_queues(|f: &mut Facts| link(f).rx_queues = Ok((0..257).collect()), "queues", Severity::Fail,
    "at most 256", "")]
#[case::few_cpus(|f: &mut Facts| f.system.cpu_count = 2, "queues", Severity::Note, "share CPUs", "")]
#[case::queues_unseen(|f: &mut Facts| link(f).rx_queues = Err("no sysfs".to_owned()), "queues", Severity::Warn,
    "no sysfs", "")]
#[case::gro_in_generic_mode(|f: &mut Facts| link(f).xdp_features = Ok(0), "receive offloads", Severity::Warn,
    "GRO is on", " --xdp-mode generic")]
#[case::lro(|f: &mut Facts| { link(f).offloads = Ok(["rx-lro".to_owned()].into()); }, "receive offloads",
    Severity::Warn, "LRO is on", "")]
#[case::peer_elsewhere(|f: &mut Facts| link(f).peer = VethPeer::Elsewhere, "veth peer", Severity::Note, "another", "")]
#[case::partial_checksums(|f: &mut Facts| {
    link(f).peer = VethPeer::Here { name: "p".to_owned(), leaves_checksums: true, takes_frames: false };
}, "veth peer", Severity::Note, "partial", "")]
#[case::vlans(|f: &mut Facts| link(f).vlans = vec!["eth0.7".to_owned()], "VLANs", Severity::Note, "eth0.7", "")]
#[case::vlans_stripped(|f: &mut Facts| {
    link(f).vlans = vec!["eth0.7".to_owned()];
    link(f).offloads = Ok(["rx-vlan-hw-parse".to_owned()].into());
}, "VLANs", Severity::Warn, "strips tags", "")]
#[case::bridged(|f: &mut Facts| link(f).master = Some("br0".to_owned()), "master", Severity::Note, "br0", "")]
#[case::program(|f: &mut Facts| link(f).programs = vec![program(Ok(None))], "XDP programs", Severity::Fail,
    "other, id 7, is attached in native mode", " --replace")]
#[case::program_of_unknown_holder(|f: &mut Facts| link(f).programs = vec![program(Err("hidden".to_owned()))],
    "XDP programs", Severity::Fail, "holds it: hidden", " --replace")]
#[case::program_held(|f: &mut Facts| link(f).programs = vec![program(Ok(Some("p (pid 9)".to_owned())))],
    "XDP programs", Severity::Fail, "BPF link of p (pid 9)", "")]
#[case::no_xdp_sockets(|f: &mut Facts| f.system.xdp_sockets = Ok(false), "kernel", Severity::Fail,
    "no XDP sockets", "")]
#[case::old_kernel(|f: &mut Facts| f.system.version = Some((5, 8)), "kernel", Severity::Fail, "BPF links", "")]
#[case::oldest_kernel(|f: &mut Facts| f.system.version = Some((5, 9)), "kernel", Severity::Ok, "BTF", "")]
#[case::kernel_that_gives_up(|f: &mut Facts| {
    f.system.version = Some((6, 11));
    link(f).xdp_features = Ok(3);
}, "handshake", Severity::Note,
    "through the ring: the program that answers in the driver is known to pass the verifier since Linux 6.12", "")]
#[case::kernel_that_follows(|f: &mut Facts| {
    f.system.version = Some((6, 12));
    link(f).xdp_features = Ok(3);
}, "handshake", Severity::Ok, "answered in the driver: that costs less where frames are copied", "")]
#[case::cheaper_by_the_ring(|f: &mut Facts| f.system.version = Some((6, 12)), "handshake", Severity::Ok,
    "answered through the ring: that costs less with zero-copy", "")]
#[case::copies_asked_for(|f: &mut Facts| {
    f.system.version = Some((6, 12));
    f.zero_copy = ZeroCopy::Never;
}, "handshake", Severity::Ok, "answered in the driver: that costs less where frames are copied", "")]
#[case::generic_asked_for(|f: &mut Facts| f.xdp_mode = XdpMode::Generic, "handshake", Severity::Note,
    "answered through the ring: the driver runs no program in generic mode", "")]
#[case::place_asked_for(|f: &mut Facts| f.handshake = HandshakeMode::Driver, "handshake", Severity::Ok,
    "answered in the driver: --handshake says so", "")]
#[case::impossible_place(|f: &mut Facts| {
    link(f).driver = Some("virtio_net".to_owned());
    f.handshake = HandshakeMode::Driver;
}, "handshake", Severity::Fail, "with zero-copy, virtio_net drops frames that an XDP program sends", " --handshake auto")]
#[case::drops_from_zero_copy(|f: &mut Facts| link(f).driver = Some("virtio_net".to_owned()), "handshake",
    Severity::Note, "through the ring: with zero-copy, virtio_net drops frames that an XDP program sends", "")]
#[case::sends_copies(|f: &mut Facts| {
    link(f).driver = Some("virtio_net".to_owned());
    link(f).xdp_features = Ok(3);
}, "handshake", Severity::Ok, "answered in the driver", "")]
#[case::no_jit(|f: &mut Facts| f.system.jit = Ok(false), "BPF JIT", Severity::Warn, "interpreted", "")]
#[case::listener(|f: &mut Facts| f.sockets = Ok(vec![socket("192.0.2.1:53", true)]), "listeners", Severity::Warn,
    "192.0.2.1:53", "")]
#[case::listener_on_all(|f: &mut Facts| f.sockets = Ok(vec![socket("[::]:80", true)]), "listeners", Severity::Warn,
    "[::]:80", "")]
#[case::listener_elsewhere(|f: &mut Facts| f.sockets = Ok(vec![socket("192.0.2.9:53", true)]), "listeners",
    Severity::Ok, "no kernel TCP service", "")]
#[case::listener_on_another_port(|f: &mut Facts| f.sockets = Ok(vec![socket("0.0.0.0:22", true)]), "listeners",
    Severity::Ok, "no kernel TCP service", "")]
#[case::connections(|f: &mut Facts| f.sockets = Ok(vec![socket("[2001:db8::1]:80", false); 3]), "connections",
    Severity::Warn, "3 open kernel TCP connections on [2001:db8::1]:80 will become black holes", "")]
#[case::nftables(|f: &mut Facts| f.firewall.nftables = Ok(vec![("inet f".to_owned(), 2)]), "firewall",
    Severity::Warn, "table inet f (2 rules)", "")]
#[case::iptables(|f: &mut Facts| f.firewall.iptables = Ok(vec!["nat".to_owned()]), "firewall", Severity::Warn,
    "iptables tables nat", "")]
#[case::conntrack_alone(|f: &mut Facts| f.firewall.conntrack = Some(0), "firewall", Severity::Ok, "no rules", "")]
#[case::firewall_unseen(|f: &mut Facts| f.firewall.nftables = Err("not permitted".to_owned()), "firewall",
    Severity::Note, "unknown: nftables (not permitted)", "")]
#[case::locked_memory(|f: &mut Facts| f.system.capabilities = Ok(without_capability(14)), "locked memory",
    Severity::Fail, "64 MiB are needed", "")]
#[case::memory_unlimited(|f: &mut Facts| {
    f.system.capabilities = Ok(without_capability(14));
    f.system.memlock = Ok(None);
}, "locked memory", Severity::Ok, "unlimited", "")]
#[case::other_ports(|f: &mut Facts| f.ports = ports(5353, 8080), "listeners", Severity::Ok, "ports 5353 and 8080", "")]
#[case::one_service(|f: &mut Facts| {
    f.ports.truncate(1);
    f.arguments.extend(["--zone", "a.zone"].map(str::to_owned));
    f.sockets = Ok(vec![socket("192.0.2.1:80", true)]);
}, "listeners", Severity::Ok, "on port 53 here", " --zone a.zone")]
fn a_spoilt_fact_is_reported(
    #[case] spoil: fn(&mut Facts),
    #[case] name: &str,
    #[case] severity: Severity,
    #[case] text: &str,
    #[case] options: &str,
) {
    let mut facts = good();
    spoil(&mut facts);
    let diagnosis = judge(&facts);
    let check = find(&diagnosis, name);
    assert_eq!(check.severity, severity, "{check:?}");
    assert!(check.finding.contains(text), "{check:?}");
    assert_eq!(diagnosis.works(), severity != Severity::Fail);
    assert!(severity < Severity::Warn || diagnosis.summary.contains(name), "{}", diagnosis.summary);
    assert_eq!(diagnosis.command, Some(format!("stateless-tcp run -i eth0{options}")));
}

#[rstest]
#[case::loopback(|f: &mut Facts| link(f).loopback = true, "to itself")]
#[case::layer_3(|f: &mut Facts| link(f).ethernet = false, "without an Ethernet header")]
fn an_interface_that_can_never_serve_gets_no_command(#[case] spoil: fn(&mut Facts), #[case] text: &str) {
    let mut facts = good();
    spoil(&mut facts);
    let diagnosis = judge(&facts);
    let check = find(&diagnosis, "interface");
    assert!(check.severity == Severity::Fail && check.finding.contains(text), "{check:?}");
    assert_eq!((diagnosis.summary.as_str(), diagnosis.command), ("eth0 cannot serve.", None));
}

#[rstest]
#[case::net_admin(12, "CAP_NET_ADMIN")]
#[case::net_raw(13, "CAP_NET_RAW")]
fn missing_capability_takes_sudo(#[case] number: u32, #[case] capability: &str) {
    let mut facts = good();
    facts.system.capabilities = Ok(without_capability(number));
    let diagnosis = judge(&facts);
    assert!(find(&diagnosis, "capabilities").finding.ends_with(capability));
    assert_eq!(diagnosis.command.as_deref(), Some("sudo stateless-tcp run -i eth0"));
    assert!(diagnosis.works());
}

#[rstest]
#[case::sys_admin_does_for_both(without_capability(38) & without_capability(39), Severity::Ok)]
#[case::both_do_without_it(without_capability(21), Severity::Ok)]
#[case::neither(without_capability(21) & without_capability(39), Severity::Warn)]
fn sys_admin_is_bpf_and_perfmon(#[case] set: u64, #[case] severity: Severity) {
    let mut facts = good();
    facts.system.capabilities = Ok(set);
    assert_eq!(find(&judge(&facts), "capabilities").severity, severity);
}

#[rstest]
#[case(&[], "")]
#[case(&[3], "3")]
#[case(&[0, 2, 3, 4, 7], "0,2-4,7")]
fn list_is_what_queues_takes(#[case] numbers: &[u32], #[case] text: &str) {
    assert_eq!(list(numbers), text);
}
