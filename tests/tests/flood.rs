//! The load generator: a true TCP client towards this server and towards the kernel's TCP, that tells right answers from
//! wrong ones; forged SYNs beside honest clients; and manners.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use rstest::rstest;
use stateless_tcp_tests::faulty_server::{FaultyServer, ServerFault};
use stateless_tcp_tests::flooder::{attempt, command, flood};
use stateless_tcp_tests::load;
use stateless_tcp_tests::nameserver::Nsd;
use stateless_tcp_tests::netns::text;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{CLIENT_V4, CLIENT_V6, INTERFACE, SERVER_V4, SERVERS, Topology};
use stateless_tcp_tests::veth_xdp_peer::VethXdpPeer;
use tempfile::TempDir;

/// The clients', and the forged senders' prefixes, and by which address of the client's host the server reaches them.
const CLIENTS: &str = "198.51.100.0/24";
const FORGED: &str = "198.18.0.0/15";

/// Limit of the server's additional memory after a flood, in KiB.
const TOLERANCE: u64 = 256;

/// A link on whose server end both prefixes have a route to the client's host.
fn topology() -> Topology {
    let mut topology = Topology::new(1);
    // The generator's own program does what a VethXdpPeer does.
    topology.xdp_peer = None;
    for prefix in [CLIENTS, FORGED] {
        topology.server.run(&format!("ip route add {prefix} via {CLIENT_V4}"));
    }
    topology.server.run(&format!("ip route add 2001:db8:1::/64 via {CLIENT_V6}"));
    topology
}

/// A file of questions about [`load::zone`], and that zone's.
fn load_zone(directory: &TempDir, largest: usize) -> (PathBuf, String) {
    let zone = directory.path().join("load.example.zone");
    fs::write(&zone, load::zone(largest)).expect("write the zone");
    let questions = directory.path().join("questions");
    let mut lines: Vec<_> = (1..=largest).map(|segments| format!("s{segments}.load.example TXT")).collect();
    lines.push("none.load.example A".to_owned());
    fs::write(&questions, lines.join("\n")).expect("write the questions");
    (zone, questions.to_str().expect("a path in UTF-8").to_owned())
}

#[rstest]
#[case::plain(&[])]
#[case::timestamps(&["--timestamps"])]
#[case::as_the_kernel(&["--timestamps", "--bare-ack"])]
fn this_server_answers_all(#[case] more: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let (zone, questions) = load_zone(&directory, 5);
    let topology = topology();
    let zone = zone.to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--zone", zone, "--handshake", "ring"]);
    let mut asked = 0;
    for (server, prefix) in SERVERS.into_iter().zip([CLIENTS, "2001:db8:1::/64"]) {
        for own in [&[][..], &["--clients", prefix]] {
            let server = server.to_string();
            let arguments = [
                "--server",
                &server,
                "--questions",
                &questions,
                "--rate",
                "500",
                "--seconds",
                "1",
                "--timeout",
                "60",
            ];
            let report = flood(&topology.client, INTERFACE, &[&arguments[..], more, own].concat());
            asked += report.assert_all_answered();
            assert!(report.number("/codes/0") > report.number("/codes/3"), "{:#}", report.0);
            for none in ["/stray", "/damaged", "/unclosed", "/resent"] {
                assert_eq!(report.number(none), 0, "{none}: {:#}", report.0);
            }
        }
    }
    let counters = responder.stop();
    assert_eq!((counters.get("answered"), counters.get("syn_ack")), (asked, asked), "{counters:?}");
}

/// Answers of up to 24 segments: more than the kernel sends without an acknowledgment.
#[rstest]
#[case::plain(&[])]
#[case::timestamps(&["--timestamps"])]
#[case::as_the_kernel(&["--timestamps", "--bare-ack"])]
fn nsd_on_the_kernels_tcp_answers_all(#[case] more: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let (zone, questions) = load_zone(&directory, 24);
    let topology = topology();
    let server = SocketAddr::new(IpAddr::V4(SERVER_V4), 53);
    let _nsd = Nsd::start(&[zone], server, Some(topology.server.name())).expect("NSD");
    let server = server.to_string();
    let arguments = ["--server", &server, "--questions", &questions, "--rate", "200", "--clients", CLIENTS];
    let arguments = [&arguments[..], &["--seconds", "2", "--timeout", "60"], more].concat();
    let report = flood(&topology.client, INTERFACE, &arguments);
    let asked = report.assert_all_answered();
    for none in ["/stray", "/damaged", "/unclosed"] {
        assert_eq!(report.number(none), 0, "{none}: {:#}", report.0);
    }
    // Nothing is left of them: the kernel took each for a client that opened, asked and closed.
    let open = topology.server.run("ss -Htn state connected exclude syn-recv");
    assert_eq!(open, "", "connections left");
    let counts =
        topology.server.run("nstat -az TcpPassiveOpens TcpEstabResets TcpInErrs TcpExtTCPAbortOnData");
    let count = |name: &str| -> u64 {
        let line = counts.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    };
    assert_eq!(count("TcpPassiveOpens"), asked, "{counts}");
    for none in ["TcpEstabResets", "TcpInErrs", "TcpExtTCPAbortOnData"] {
        assert_eq!(count(none), 0, "{counts}");
    }
}

#[test]
fn wrong_answers_are_failures_by_their_reason() {
    let topology = topology();
    let server = SocketAddr::new(IpAddr::V4(SERVER_V4), 53);
    let faulty = FaultyServer::start(&topology.server, server);
    let server = server.to_string();
    let arguments =
        ["--server", &server, "--rate", "200", "--seconds", "2", "--timeout", "60", "www.example.com"];
    let report = flood(&topology.client, INTERFACE, &arguments);
    assert_eq!(
        report.number("/answered"),
        faulty.count(ServerFault::None) + faulty.count(ServerFault::Slow),
        "{:#}",
        report.0
    );
    for (reason, fault) in [
        ("wrong_id", ServerFault::WrongId),
        ("wrong_code", ServerFault::WrongCode),
        ("malformed", ServerFault::Malformed),
        ("closed", ServerFault::Closed),
        ("reset", ServerFault::Reset),
    ] {
        assert!(faulty.count(fault) > 0, "no question was met with {fault:?}");
        assert_eq!(report.failures(reason), faulty.count(fault), "{reason}: {:#}", report.0);
    }
}

#[test]
fn no_answer_is_a_failure_by_its_reason() {
    let topology = topology();
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    // A second is enough only for what does not come.
    let failures = |server: &str, reason: &str| {
        let timeout = if reason.starts_with("no_") { "1" } else { "60" };
        let arguments =
            ["--server", server, "--rate", "50", "--seconds", "1", "--timeout", timeout, "example.net"];
        let report = flood(&topology.client, INTERFACE, &arguments);
        assert_eq!(report.failures(reason), report.number("/offered"), "{reason}: {:#}", report.0);
        assert!(report.number("/offered") > 0 && report.number("/answered") == 0, "{:#}", report.0);
        report
    };
    let report = failures("192.0.2.1", "wrong_code");
    assert_eq!(report.number("/codes/5"), report.number("/offered"), "REFUSED: {:#}", report.0);
    // The kernel has no listener there.
    failures("192.0.2.1:54", "refused");
    topology.server.run("nft add table ip silent");
    topology.server.run("nft add chain ip silent input { type filter hook input priority 0 ; }");
    topology.server.run("nft add rule ip silent input tcp dport 54 drop");
    failures("192.0.2.1:54", "no_syn_ack");
    topology.server.run("nft flush chain ip silent input");
    // A listener of the kernel's that nobody accepts from.
    let listener = topology.server.enter(|| std::net::TcpListener::bind((SERVER_V4, 54)));
    let report = failures("192.0.2.1:54", "no_answer");
    drop(listener);
    assert_eq!(report.number("/stray"), 0, "{:#}", report.0);
    responder.stop();
}

/// Ten forged SYNs for each packet of an honest client, of which there are three a question.
#[rstest]
#[case::ring("ring")]
#[case::driver("driver")]
fn honest_clients_are_served_beside_forged_ones(#[case] handshake: &str) {
    const RATE: u64 = 100;
    let topology = topology();
    let xdp_peer = VethXdpPeer::attach(&topology.client, INTERFACE);
    let responder = Responder::start(&topology, &["--handshake", handshake]);
    drop(xdp_peer);
    let (rate, syns) = (RATE.to_string(), (30 * RATE).to_string());
    let before = responder.resident();
    let arguments =
        ["--server", "192.0.2.1", "--clients", CLIENTS, "--rate", &rate, "--retries", "2", "--timeout", "60"];
    let forged = ["--forge", FORGED, "--syn-rate", &syns, "--seconds", "3", "www.example.com"];
    let report = flood(&topology.client, INTERFACE, &[&arguments[..], &forged].concat());
    let after = responder.resident();
    println!("{:#}\nresident before {before} KiB, after {after} KiB", report.0);
    let [offered, answered, forged, replies] =
        ["/offered", "/answered", "/forged/sent", "/forged/answered"].map(|path| report.number(path));
    assert!(answered * 1_000 >= offered * 999 && offered > 0, "{answered} of {offered}: {:#}", report.0);
    assert!(forged >= 20 * offered, "{forged} forged for {offered} honest: no flood");
    assert!(replies * 2 > forged, "{replies} of {forged} were answered: the flood did not arrive");
    assert!(after.abs_diff(before) <= TOLERANCE, "{before} KiB before, {after} KiB after");
    let counters = responder.stop();
    let by_driver = counters.by_driver.get("driver_answered").copied().unwrap_or(0);
    assert_eq!(by_driver > 0, handshake == "driver", "{counters:?}");
}

/// Traffic that is not for the played clients reaches the kernel as before, and when the generator ends, its program is gone.
#[test]
fn the_kernel_keeps_its_own() {
    let topology = topology();
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    let arguments =
        ["--server", "192.0.2.1", "--clients", CLIENTS, "--seconds", "6000", "--json", "www.example.com"];
    let mut generator = command(&topology.client, INTERFACE, &arguments)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("start the generator");
    while !topology.client.run(&format!("ip link show dev {INTERFACE}")).contains("prog/xdp") {
        assert!(generator.try_wait().expect("wait").is_none(), "it ended");
    }
    let dig = "dig @192.0.2.1 +tcp +short +tries=1 +time=60 www.example.com A";
    assert!(!topology.client.run(dig).is_empty());
    let id = nix::unistd::Pid::from_raw(i32::try_from(generator.id()).expect("a process id"));
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("interrupt it");
    let output = generator.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report all the same");
    assert!(report["seconds"].as_f64().expect("a number") < 6000.0, "{report:#}");
    assert!(!topology.client.run(&format!("ip link show dev {INTERFACE}")).contains("prog/xdp"));
    responder.stop();
}

#[test]
fn networks_that_may_be_somebody_elses_are_refused() {
    let topology = topology();
    let client = &topology.client;
    client.run("ip route add 203.0.113.0/24 via 192.0.2.1");
    let refused = |arguments: &[&str], said: &str| {
        let output = attempt(client, INTERFACE, &[arguments, &["--seconds", "1", "example.com"]].concat());
        let errors = text(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains(said), "{arguments:?}: {errors}");
    };
    let forge = ["--forge", FORGED, "--syn-rate", "10"];
    refused(&[&["--server", "203.0.113.1"], &forge[..]].concat(), "through the router 192.0.2.1");
    refused(&["--server", "127.0.0.1", "--clients", CLIENTS], "127.0.0.1 is not reached by eth0");
    refused(&["--server", "192.0.2.77"], "192.0.2.77 does not say its hardware address");
    refused(&["--server", "192.0.2.1", "--clients", "192.0.2.0/24"], "the server 192.0.2.1 is itself in");
    client.run("ip route add default via 192.0.2.1");
    refused(
        &["--server", "192.0.2.1"],
        "eth0 has a default route: it may lead to the internet; if this network is",
    );
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    let arguments = [
        "--server",
        "192.0.2.1",
        "--yes-on-this-network",
        "--rate",
        "500",
        "--seconds",
        "1",
        "--timeout",
        "60",
        "www.example.com",
    ];
    flood(client, INTERFACE, &arguments).assert_all_answered();
    responder.stop();
}
