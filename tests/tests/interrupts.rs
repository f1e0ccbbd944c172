//! A worker that polls, one that sleeps, and how interrupts come meanwhile.

use std::thread::sleep;
use std::time::Duration;

use rstest::rstest;
use stateless_tcp_tests::cores::time_of;
use stateless_tcp_tests::interrupts::{deferral, put_off};
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{INTERFACE, SERVERS, Topology};

fn ask(topology: &Topology) {
    for server in SERVERS {
        let answer =
            topology.client.run(&format!("dig +tcp +short +tries=1 +time=60 @{server} example.com A"));
        assert_eq!(answer.trim(), "192.0.2.1");
    }
}

#[rstest]
#[case::polled(&["--busy-poll", "200"], ["2", "200000"])]
#[case::coalesced(&["--coalesce", "100"], ["1", "100000"])]
#[case::both(&["--coalesce", "100", "--busy-poll", "50"], ["2", "100000"])]
fn interrupts_are_put_off_while_it_runs(#[case] arguments: &[&str], #[case] expected: [&str; 2]) {
    let topology = Topology::new(2);
    assert_eq!(deferral(&topology.server, INTERFACE), ["0", "0"], "as the kernel has it");
    let responder = Responder::start(&topology, arguments);
    assert_eq!(deferral(&topology.server, INTERFACE), expected);
    ask(&topology);
    responder.stop().assert_conserved();
    assert_eq!(deferral(&topology.server, INTERFACE), ["0", "0"], "as it was");
}

#[test]
fn what_the_operator_has_set_stays() {
    let topology = Topology::new(1);
    put_off(&topology.server, INTERFACE, ["7", "0"]);
    let responder = Responder::start(&topology, &["--busy-poll", "200"]);
    assert_eq!(deferral(&topology.server, INTERFACE), ["7", "200000"]);
    responder.log_until(|lines| lines.iter().any(|line| line.contains("napi_defer_hard_irqs is 7 already")));
    responder.stop();
    assert_eq!(deferral(&topology.server, INTERFACE), ["7", "0"]);
}

/// As under a service manager that lets nobody write to /sys: the operator's values are enough, and are needed.
#[test]
fn what_cannot_be_set_may_have_been() {
    let topology = Topology::new(1);
    let wrapper = ["sh", "-ec", "mount -o remount,ro /sys; exec \"$@\"", "sh"];
    let run = ["run", "--interface", INTERFACE, "--coalesce", "100"];
    let start = || Responder::spawn(&topology.server, topology.queues, &wrapper, &run);
    let refused = start().expect_err("an end");
    assert_eq!(refused.status.code(), Some(1), "{}", refused.log);
    let reason = format!("cannot set napi_defer_hard_irqs of {INTERFACE} for --coalesce or --busy-poll");
    assert!(refused.log.contains(&reason), "{}", refused.log);
    put_off(&topology.server, INTERFACE, ["3", "50000"]);
    let Ok(responder) = start() else { panic!("it did not start") };
    ask(&topology);
    responder.stop();
    assert_eq!(deferral(&topology.server, INTERFACE), ["3", "50000"]);
}

/// Processor time, not the clock's: however busy the machine is. A worker that polls takes all of it; one that only wakes now
/// and then takes less than a hundredth, and on a slow machine a few times that.
#[rstest]
#[case::asleep(&[])]
#[case::generic(&["--xdp-mode", "generic"])]
#[case::coalesced(&["--coalesce", "100"])]
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
    assert!(took < IDLE / 10, "{took:?} of {IDLE:?}");
    responder.stop();
}
