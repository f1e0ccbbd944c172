//! A worker that polls, and one that sleeps.

use std::thread::sleep;
use std::time::Duration;

use rstest::rstest;
use stateless_tcp_tests::cores::time_of;
use stateless_tcp_tests::netns::execute;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{INTERFACE, SERVERS, Topology};

/// What the kernel is told of the interface: how often its interrupts are put off, and for how many nanoseconds.
fn deferral(topology: &Topology) -> [String; 2] {
    ["napi_defer_hard_irqs", "gro_flush_timeout"]
        .map(|name| topology.server.run(&format!("cat /sys/class/net/{INTERFACE}/{name}")).trim().to_owned())
}

fn ask(topology: &Topology) {
    for server in SERVERS {
        let answer = topology.client.run(&format!("dig +tcp +short @{server} example.com A"));
        assert_eq!(answer.trim(), "192.0.2.1");
    }
}

#[test]
fn interrupts_are_put_off_while_it_runs() {
    let topology = Topology::new(2);
    assert_eq!(deferral(&topology), ["0", "0"], "as the kernel has it");
    let responder = Responder::start(&topology, &["--busy-poll", "200"]);
    assert_eq!(deferral(&topology), ["2", "200000"]);
    ask(&topology);
    responder.stop().assert_conserved();
    assert_eq!(deferral(&topology), ["0", "0"], "as it was");
}

#[test]
fn what_the_operator_has_set_stays() {
    let topology = Topology::new(1);
    let set = format!("echo 7 > /sys/class/net/{INTERFACE}/napi_defer_hard_irqs");
    execute(topology.server.command("sh").args(["-c", &set]));
    let responder = Responder::start(&topology, &["--busy-poll", "200"]);
    assert_eq!(deferral(&topology), ["7", "200000"]);
    responder.stop();
    assert_eq!(deferral(&topology), ["7", "0"]);
}

/// Processor time, not the clock's: however busy the machine is.
#[rstest]
#[case::asleep(&[])]
#[case::generic(&["--xdp-mode", "generic"])]
#[case::polled_until_nothing_came(&["--busy-poll", "1000"])]
fn an_idle_worker_takes_no_processor_time(#[case] arguments: &[&str]) {
    const IDLE: Duration = Duration::from_secs(2);
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, arguments);
    ask(&topology);
    // The neighbours' last words.
    sleep(Duration::from_millis(200));
    let before = time_of(responder.pid()).expect("it runs");
    sleep(IDLE);
    let took = time_of(responder.pid()).expect("it runs").saturating_sub(before);
    assert!(took < IDLE / 100, "{took:?} of {IDLE:?}");
    responder.stop();
}
