//! However the process ends, the kernel has the ports back; and what keeps it from starting it says, with the remedy.

use std::{
    fs,
    net::IpAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp_tests::{
    client::{Client, port},
    packet::{Packet, flags},
    raw::Port,
    responder::{Ended, Responder},
    topology::{INTERFACE, SERVERS, Topology},
};

/// Pause and time limit, while a test looks for something that is due at once.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
enum Termination {
    Terminated,
    Interrupted,
    Killed,
    Panicked,
}

#[rstest]
fn the_kernel_has_the_ports_back(
    #[values(Termination::Terminated, Termination::Interrupted, Termination::Killed, Termination::Panicked)]
    end: Termination,
    #[values("native", "generic")] mode: &str,
) {
    let topology = Topology::new(2);
    let panic =
        if matches!(end, Termination::Panicked) { &["--test-panic-after-frames", "8"][..] } else { &[] };
    let mut responder = Responder::start(&topology, &[&["--xdp-mode", mode], panic].concat());
    let port = port(&topology);
    assert!(answers(&port, 53), "it serves");
    assert!(has_program(&topology), "the program is on the interface");

    match end {
        Termination::Terminated => drop(responder.stop()),
        Termination::Interrupted => {
            responder.signal(Signal::SIGINT);
            let ended = responder.wait();
            assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        }
        Termination::Killed => {
            responder.signal(Signal::SIGKILL);
            assert_eq!(responder.wait().status.code(), None);
        }
        Termination::Panicked => {
            let client = Client::new(&port, 41_000, SERVERS[0], 53, 1);
            for source_port in 41_000..41_100 {
                // With payload, so that no driver answers it.
                client.send(&Packet { source_port, payload: vec![0], ..client.syn() });
            }
            let ended = responder.wait();
            assert!(!ended.status.success(), "{}", ended.status);
            assert!(ended.log.contains("panicked"), "{}", ended.log);
        }
    }
    until("no program is left", || !has_program(&topology));
    for served in [53, 80] {
        until("the kernel answers", || !answers(&port, served));
    }
    // And the interface can be had again.
    Responder::start(&topology, &["--xdp-mode", mode]).stop();
}

/// Sends a SYN over each family: true if it is answered by SYN,ACK, false if by RST.
fn answers(port: &Port, served: u16) -> bool {
    let [v4, v6] = SERVERS.map(|server| answer(port, server, served));
    assert_eq!(v4, v6, "the families differ at port {served}");
    match v4 {
        flags if flags == flags::SYN | flags::ACK => true,
        flags if flags == flags::RST | flags::ACK => false,
        flags => panic!("flags {flags:#04x} in answer to a SYN for port {served}"),
    }
}

/// The flags of what answers a SYN; sent again while nothing does, as between two owners of the port.
fn answer(port: &Port, address: IpAddr, served: u16) -> u8 {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let client = Client::new(port, 45_000, address, served, 1);
        client.send(&client.syn());
        if let Some(answer) = client.receive(10 * PAUSE) {
            return answer.flags;
        }
    }
    panic!("nobody answers a SYN for {address} port {served}");
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        sleep(PAUSE);
    }
}

/// As two tools see it.
fn has_program(topology: &Topology) -> bool {
    let link = topology.server.run(&format!("ip -details link show {INTERFACE}"));
    let bpf = topology.server.run("bpftool net show");
    let (by_ip, by_bpftool) = (link.contains("prog/xdp"), bpf.contains(&format!("{INTERFACE}(")));
    assert_eq!(by_ip, by_bpftool, "{link}\n{bpf}");
    by_ip
}

/// Runs it with arguments that cannot work; its words are to name each of `words`.
fn refused(topology: &Topology, wrapper: &[&str], arguments: &[&str], status: i32, words: &[&str]) -> Ended {
    let ended = match Responder::spawn(&topology.server, topology.queues, wrapper, arguments) {
        Ok(responder) => panic!("it runs:\n{}", responder.log()),
        Err(ended) => ended,
    };
    assert_eq!(ended.status.code(), Some(status), "{}", ended.log);
    for word in words {
        assert!(ended.log.contains(word), "{word:?} is not in:\n{}", ended.log);
    }
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
    ended
}

#[test]
fn a_second_instance_is_refused() {
    let topology = Topology::new(1);
    let first = Responder::start(&topology, &[]);
    let run = ["run", "-i", INTERFACE];
    refused(&topology, &[], &run, 1, &[INTERFACE, "stateless_tcp", "53", "80", "stop"]);
    // One that serves other ports meets the same program.
    let other = ["run", "-i", INTERFACE, "--dns-port", "5353", "--http-port", "8080"];
    refused(&topology, &[], &other, 1, &[INTERFACE, "stateless_tcp", "stop"]);
    // And a BPF link of another process cannot be taken away.
    refused(&topology, &[], &[&run[..], &["--replace"]].concat(), 1, &[INTERFACE, "link", "stop"]);
    assert!(answers(&port(&topology), 53), "the first is not disturbed");
    first.stop();
}

#[rstest]
#[case::missing_interface(&["run", "-i", "nowhere0"], 1, &["nowhere0", "ip link"])]
#[case::two_services_on_a_port(&["run", "-i", INTERFACE, "--dns-port", "80"], 2, &["80", "--http-port"])]
#[case::no_interface(&["run"], 2, &["-i IFACE"])]
#[case::unknown_option(&["run", "-i", INTERFACE, "--no-such-option"], 2, &["--no-such-option"])]
#[case::missing_zone(&["run", "-i", INTERFACE, "--zone", "/nowhere/x.zone"], 1, &["/nowhere/x.zone", "No such file"])]
#[case::missing_root(&["run", "-i", INTERFACE, "--http-root", "/nowhere/pages"], 1, &["/nowhere/pages", "No such file"])]
#[case::missing_key(&["run", "-i", INTERFACE, "--key-file", "/nowhere/key"], 1, &["/nowhere/key", "No such file"])]
#[case::zero_copy(
    &["run", "-i", INTERFACE, "--xdp-mode", "native", "--zero-copy", "always"], 1,
    &[INTERFACE, "queue 0", "zero-copy", "os error", "--zero-copy"]
)]
#[case::uncovered_queues(
    &["run", "-i", INTERFACE, "--queues", "0,2"], 1,
    &["--queues", "1,3", INTERFACE, "--uncovered-queues"]
)]
#[case::queue_too_many(&["run", "-i", INTERFACE, "--queues", "0-4"], 1, &["queue 4", INTERFACE, "0,1,2,3"])]
fn what_cannot_work_is_named(#[case] arguments: &[&str], #[case] status: i32, #[case] words: &[&str]) {
    let topology = Topology::new(4);
    refused(&topology, &[], arguments, status, words);
    assert!(!has_program(&topology));
}

#[test]
fn privileges_are_asked_for_by_name() {
    let topology = Topology::new(1);
    let powerless = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"];
    let words = ["not permitted", "root", "CAP_NET_ADMIN", "CAP_BPF"];
    refused(&topology, &powerless, &["run", "-i", INTERFACE], 1, &words);
}

#[test]
fn a_zone_with_an_error_is_named_by_file_line_and_column() {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let zone = directory.path().join("example.org.zone");
    let good = "$ORIGIN example.org.\n$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";
    fs::write(&zone, format!("{good}www NOSUCHTYPE 192.0.2.2\n")).expect("write the zone");
    let path = zone.to_str().expect("a path");
    let arguments = ["run", "-i", INTERFACE, "--zone", path];
    refused(&topology, &[], &arguments, 1, &[&format!("{path}:6:5: "), "NOSUCHTYPE"]);
    // Without that line it is served.
    fs::write(&zone, good).expect("write the zone");
    let responder = Responder::start(&topology, &["--zone", path]);
    let [v4, _] = SERVERS;
    let answer = topology.client.run(&format!("dig @{v4} +tcp +short +tries=1 +time=60 ns.example.org A"));
    assert_eq!(answer, "192.0.2.1\n");
    responder.stop();
}

/// Some of the queues, if that is said to be meant: the others are the kernel's.
#[test]
fn uncovered_queues_are_left_to_the_kernel_if_asked() {
    let topology = Topology::new(4);
    let topology = Topology { queues: 1, ..topology };
    let responder = Responder::start(&topology, &["--queues", "0", "--uncovered-queues"]);
    let port = port(&topology);
    let [server, _] = SERVERS;
    let mut seen = [0, 0];
    for source_port in 30_000..30_064 {
        let client = Client::new(&port, source_port, server, 53, 1);
        client.send(&client.syn());
        let answer = client.receive(PATIENCE).expect("an answer by one or the other");
        seen[usize::from(answer.flags & flags::RST != 0)] += 1;
    }
    let counters = responder.stop();
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    assert_eq!([counters.get("syn_ack"), counters.get("xdp_no_socket")], seen);
}
