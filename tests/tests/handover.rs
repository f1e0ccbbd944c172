//! A process takes over from another (`run --take-over`), and no client loses more than a segment.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp::af_xdp::interface::Interface;
use stateless_tcp_tests::{
    client::{Client, port},
    interrupts::deferral,
    packet::flags,
    raw::Port,
    responder::{Ended, Responder},
    steady,
    topology::{INTERFACE, SERVERS, Topology},
    veth_xdp_peer::VethXdpPeer,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A link whose client's end takes what the driver answers.
fn topology(queues: usize, handshake: &str) -> Topology {
    let mut topology = Topology::new(queues);
    if handshake == "driver" && topology.xdp_peer.is_none() {
        topology.xdp_peer = Some(VethXdpPeer::attach(&topology.client, INTERFACE));
    }
    topology
}

/// The XDP program on the server's interface, by the kernel's number.
fn program(topology: &Topology) -> Option<u32> {
    topology.server.enter(|| {
        let interface = Interface::find(INTERFACE).expect("the interface");
        interface.attached().expect("the kernel tells").map(|attached| attached.id)
    })
}

/// Starts the next process, which takes over from `former`; that ends by itself.
fn take_over(topology: &Topology, former: Responder, arguments: &[&str]) -> Responder {
    let next = Responder::start(topology, arguments);
    assert_ended(former);
    let says = |line: &String| line.contains("took over from process");
    let log = next.log_until(|lines| lines.iter().any(says));
    println!("{}", log.iter().find(|line| says(line)).expect("it is there"));
    next
}

fn assert_ended(mut former: Responder) {
    let ended = former.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("another process has taken over"), "{}", ended.log);
}

/// Runs one that must fail, and says how it did.
fn fails(topology: &Topology, arguments: &[&str]) -> Ended {
    let arguments = [&["run", "-i", INTERFACE, "--take-over"], arguments].concat();
    match Responder::try_start(&topology.server, topology.queues, &arguments) {
        Ok(responder) => panic!("it runs:\n{}", responder.log()),
        Err(ended) => ended,
    }
}

/// The answer to a SYN to the DNS port.
fn answer(port: &Port, source_port: u16) -> u8 {
    let client = Client::new(port, source_port, SERVERS[0], 53, 1);
    client.send(&client.syn());
    client.receive(PATIENCE).expect("an answer").flags
}

/// The programs that an interface has while `work` is done, asked for all the time.
fn programs_during<T>(topology: &Topology, work: impl FnOnce() -> T) -> (T, BTreeSet<Option<u32>>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            topology.server.enter(|| {
                let interface = Interface::find(INTERFACE).expect("the interface");
                let mut seen = BTreeSet::new();
                while !done.load(Relaxed) {
                    let attached = interface.attached().expect("the kernel tells");
                    seen.insert(attached.map(|attached| attached.id));
                    thread::sleep(Duration::from_micros(200));
                }
                seen
            })
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Relaxed);
        let seen = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), seen)
    })
}

/// SYNs, and segments of no connection, from somebody who hears nothing, until `done`.
fn interfere(topology: &Topology, done: &AtomicBool) {
    let port = port(topology);
    let ports = (20_000..30_000).cycle();
    for (source_port, server) in ports.zip(SERVERS.into_iter().cycle()) {
        if done.load(Relaxed) {
            return;
        }
        let client = Client::new(&port, source_port, server, 53, 7);
        client.send(&client.syn());
        client.send(&client.segment(flags::ACK, 1, 1, b""));
        client.send(&client.segment(flags::ACK | flags::PSH, 1, 1, b"\0\x01?"));
        thread::sleep(Duration::from_millis(1));
    }
}

/// Several times in a row.
#[rstest]
#[case::ring("ring", 1)]
#[case::driver("driver", 2)]
fn no_client_loses_more_than_a_segment(#[case] handshake: &str, #[case] queues: usize) {
    const TIMES: usize = 4;
    let topology = topology(queues, handshake);
    let arguments = ["--take-over", "--handshake", handshake, "--metrics", "127.0.0.1:9953"];
    let mut responder = Responder::start(&topology, &arguments);
    let done = AtomicBool::new(false);
    let (((responder, held), seen), programs) = programs_during(&topology, || {
        thread::scope(|scope| {
            scope.spawn(|| interfere(&topology, &done));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                steady::during(&topology, 53, |progress| {
                    let mut held = 0;
                    for _ in 0..TIMES {
                        responder = take_over(&topology, responder, &arguments);
                        progress.wait();
                        held += responder.counters().get("xdp_held");
                    }
                    (responder, held)
                })
            }));
            done.store(true, Relaxed);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    });
    let resent = seen.resent();
    println!(
        "{handshake}, {queues} queue(s): {TIMES} times, {} exchanges, {held} frames held, {} segments sent again",
        seen.answered,
        resent.len()
    );
    assert!(seen.resets().is_empty(), "{:?}", seen.resets());
    let more: Vec<_> = resent.iter().filter(|(_, times)| *times > 1).collect();
    assert!(more.is_empty(), "{more:?}");
    let syns = resent.iter().filter(|(packet, _)| packet.flags & flags::SYN != 0).count();
    assert!(handshake == "ring" || syns == 0, "the driver answers SYN all the time: {syns} were sent again");
    assert!(!programs.contains(&None), "the interface was without a program: {programs:?}");
    assert_eq!(programs.len(), TIMES + 1, "{programs:?}");
    // The listener went from hand to hand.
    let metrics =
        topology.server.run("curl --silent --max-time 60 --noproxy * http://127.0.0.1:9953/metrics");
    assert!(metrics.contains("stateless_tcp_"), "{metrics}");
    responder.stop();
    assert_eq!(program(&topology), None);
    assert_eq!(answer(&port(&topology), 45_000), flags::RST | flags::ACK, "the kernel has its ports");
}

/// A process that fails leaves the other as it was, until that has closed its sockets; then the kernel has its ports.
#[rstest]
#[case::before("asked", true)]
#[case::with_the_program_attached("attached", true)]
#[case::with_the_sockets_closed("released", false)]
fn one_that_fails_leaves_nothing_behind(#[case] stage: &str, #[case] goes_on: bool) {
    let topology = Topology::new(1);
    let mut former = Responder::start(&topology, &[]);
    let before = program(&topology);
    let port = port(&topology);
    let failed = fails(&topology, &["--test-fail-takeover", stage]);
    assert_eq!(failed.status.code(), None, "it was to end by a signal:\n{}", failed.log);
    if goes_on {
        former.log_until(|lines| {
            lines.iter().any(|line| line.contains("has failed: this process continues to serve"))
        });
        assert_eq!(program(&topology), before);
        assert_eq!(answer(&port, 45_000), flags::SYN | flags::ACK);
        // And can be succeeded.
        let next = take_over(&topology, former, &["--take-over"]);
        assert_eq!(answer(&port, 45_001), flags::SYN | flags::ACK);
        next.stop();
    } else {
        let ended = former.wait();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        assert!(ended.log.contains("has failed: the kernel has the ports back"), "{}", ended.log);
    }
    assert_eq!(program(&topology), None);
    assert_eq!(answer(&port, 45_002), flags::RST | flags::ACK);
}

/// An impossible takeover is refused while the other serves, and it serves on.
#[rstest]
#[case::zone(&["--zone", "/nowhere/x.zone"], 1, &["/nowhere/x.zone"])]
#[case::user(&["--user", "nobody-of-that-name"], 1, &["nobody-of-that-name"])]
#[case::mode(&["--xdp-mode", "generic"], 1, &["--take-over", "native", "--xdp-mode"])]
#[case::zero_copy(&["--zero-copy", "always"], 1, &["--take-over", "--zero-copy"])]
#[case::rules(&["--rules", "classic"], 1, &["--take-over", "--rules"])]
#[case::segment_size(&["--segment-size", "600"], 1, &["--take-over", "--segment-size"])]
#[case::queues(&["--queues", "0,7"], 1, &["queue 7"])]
fn what_cannot_be_taken_over_is_named(
    #[case] arguments: &[&str],
    #[case] status: i32,
    #[case] words: &[&str],
) {
    let topology = Topology::new(2);
    let former = Responder::start(&topology, &["--xdp-mode", "native"]);
    let before = program(&topology);
    let failed = fails(&topology, arguments);
    assert_eq!(failed.status.code(), Some(status), "{}", failed.log);
    for word in words {
        assert!(failed.log.contains(word), "{word:?} is not in:\n{}", failed.log);
    }
    assert_eq!(program(&topology), before);
    assert_eq!(answer(&port(&topology), 45_000), flags::SYN | flags::ACK);
    former.stop();
}

/// An interface that only the former serves would be nobody's.
#[test]
fn no_interface_is_left_behind() {
    let topology = Topology::new(1);
    topology.server.run("ip link add other0 type veth peer name other1");
    topology.server.run("ip link set other0 up");
    let former = Responder::start(&topology, &["-i", "other0", "--address", "192.0.2.1"]);
    let failed = fails(&topology, &["--address", "192.0.2.1"]);
    assert!(failed.log.contains("other0"), "{}", failed.log);
    // With one more there is no such question.
    topology.server.run("ip link set other1 up");
    let all = ["-i", "other0", "-i", "other1", "--address", "192.0.2.1", "--take-over"];
    let next = Responder::start(&topology, &all);
    assert_ended(former);
    assert!(next.ready().contains("other1"), "{}", next.ready());
    next.signal(Signal::SIGTERM);
    let mut next = next;
    assert_eq!(next.wait().status.code(), Some(0));
}

/// The number of the content stays where the content does: else what one began another would end in other bytes.
#[test]
fn another_content_has_another_number() {
    const OLD: &str =
        "$ORIGIN example.org.\n$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let zone = directory.path().join("zone");
    fs::write(&zone, OLD).expect("write the zone");
    let arguments = ["--take-over", "--zone", zone.to_str().expect("a path")];
    let ends = "connections that began with process";
    let first = Responder::start(&topology, &arguments);
    let second = take_over(&topology, first, &arguments);
    assert!(!second.log().contains(ends), "{}", second.log());
    fs::write(&zone, OLD.replace("192.0.2.1", "192.0.2.2")).expect("write the zone");
    let third = take_over(&topology, second, &arguments);
    // Said before it was ready, but read by another thread than that.
    third.log_until(|lines| lines.iter().any(|line| line.contains(ends)));
    let fourth = take_over(&topology, third, &arguments);
    assert!(!fourth.log().contains(ends), "{}", fourth.log());
    fourth.stop();
}

/// The settings of interrupts are given back, and taken again, each time.
#[test]
fn interrupts_are_put_off_by_who_asks_for_it() {
    let topology = Topology::new(1);
    let deferral = || deferral(&topology.server, INTERFACE);
    let polling = ["--take-over", "--busy-poll", "200"];
    let first = Responder::start(&topology, &polling);
    let second = take_over(&topology, first, &polling);
    assert_eq!(deferral(), ["2", "200000"]);
    let third = take_over(&topology, second, &["--take-over"]);
    assert_eq!(deferral(), ["0", "0"]);
    let fourth = take_over(&topology, third, &["--take-over", "--coalesce", "100"]);
    assert_eq!(deferral(), ["1", "100000"]);
    let fifth = take_over(&topology, fourth, &polling);
    assert_eq!(deferral(), ["2", "200000"]);
    fifth.stop();
    assert_eq!(deferral(), ["0", "0"]);
}

/// A process that has given up everything hands over all the same, and one that became another user.
#[test]
fn who_is_confined_hands_over() {
    let topology = Topology::new(1);
    let arguments = ["--take-over", "--user", "nobody"];
    let first = Responder::start(&topology, &arguments);
    let second = take_over(&topology, first, &arguments);
    assert_eq!(answer(&port(&topology), 45_000), flags::SYN | flags::ACK);
    second.stop();
}
