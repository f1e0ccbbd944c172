//! `top` and `trace` in terminals of two sizes, as people see them.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rstest::rstest;
use stateless_tcp_tests::netns::text;
use stateless_tcp_tests::pty::Pty;
use stateless_tcp_tests::responder::{Responder, binary};
use stateless_tcp_tests::topology::{SERVER_V4, Topology};

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(100);

/// A terminal with the program in it, which stays when that has ended.
fn open(width: usize, height: usize, arguments: &str) -> Pty {
    let line = format!("{} {arguments}; sleep 60", binary().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]);
    Pty::open(width, height, &shell)
}

fn ask(topology: &Topology) {
    let dig = format!("dig @{SERVER_V4} +tcp +norecurse +tries=1 +time=60 +noedns +short www.example.com A");
    topology.client.run(&dig);
}

#[rstest]
#[case::small(80, 24)]
#[case::large(200, 50)]
fn top_shows_all_its_parts(#[case] width: usize, #[case] height: usize) {
    let topology = Topology::new(2);
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    let pty = open(width, height, &format!("top --pid {}", responder.pid()));
    let parts = [
        "stateless-tcp, up ",
        "eth0: native, copy, handshake by the ring (as configured)",
        "Queues",
        "eth0/0",
        "eth0/1",
        "Answered, by rule",
        "syn_ack",
        "Not answered, by reason",
        "bare_ack",
        "Asked for, sampled",
        "www.example.com",
        "Clients, sampled",
        "192.0.2.0/24",
        "q ends",
    ];
    let lines = pty.until(&parts, || ask(&topology));
    assert!(lines.len() >= height - 1, "it fills the terminal: {lines:#?}");
    // The frame around the parts is whole.
    let corners =
        |corner: char| lines.iter().flat_map(|line| line.chars()).filter(|&at| at == corner).count();
    assert_eq!(['┌', '┐', '└', '┘'].map(corners), [5; 4], "{}", lines.join("\n"));
    pty.press("q");
    let end = Instant::now() + PATIENCE;
    while pty.lines().iter().any(|line| line.contains("Queues")) {
        assert!(Instant::now() < end, "q does not end it");
        sleep(PAUSE);
    }
    responder.stop();
}

#[rstest]
#[case::small(80, 24)]
#[case::large(200, 50)]
fn trace_shows_a_conversation(#[case] width: usize, #[case] height: usize) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    let pty = open(width, height, &format!("trace --pid {}", responder.pid()));
    pty.until(&["tracing eth0/0"], || {});
    let lines = pty.until(&["[S.] seq 0 ack 1", "www.example.com"], || ask(&topology));
    // No word is broken: each line begins with a time, or is indented.
    let begins = |line: &String| line.is_empty() || line.starts_with("    ") || line.as_bytes()[2] == b':';
    assert!(lines[1..].iter().all(begins), "{lines:#?}");
    responder.stop();
}

#[test]
fn without_a_terminal_it_says_what_else_there_is() {
    let output = Command::new(binary()).args(["top", "--pid", "1"]).output().expect("run it");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--metrics"), "{}", text(&output.stderr));
}
