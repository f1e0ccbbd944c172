//! System calls for a batch of frames: one to wait for it, one to send what answers it.

use std::fs;

use stateless_tcp_tests::load;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{INTERFACE, SERVER_V4, Topology};

const QUESTIONS: usize = 10;

/// Segments of an answer: more than the frames that its client sends for all of the connection.
const SEGMENTS: usize = 24;

/// The names of the calls that the thread called `thread` made, in order, by the log of `strace --decode-pids=comm`.
fn calls_of<'a>(log: &'a str, thread: &str) -> Vec<&'a str> {
    let of_thread = format!("<{thread}>");
    log.lines()
        .filter_map(|line| line.split_once(&of_thread).map(|(_, call)| call.trim_start()))
        // What was interrupted by another thread's call stands in two lines.
        .filter(|call| !call.starts_with("<...") && !call.starts_with("+++"))
        .filter_map(|call| call.split_once('(').map(|(name, _)| name))
        .collect()
}

#[test]
fn a_batch_takes_two_calls() {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let (log, zone) = (path("calls"), path("load.example.zone"));
    fs::write(&zone, load::zone(SEGMENTS)).expect("write the zone");
    // The tracer steps aside, so that signals reach the process itself.
    let tracer = ["strace", "-D", "-f", "--decode-pids=comm", "-o", &log];
    let run = ["run", "-i", INTERFACE, "--handshake", "ring", "--zone", &zone];
    let responder = match Responder::spawn(&topology.server, 1, &tracer, &run) {
        Ok(responder) => responder,
        Err(ended) => panic!("it ended with {}:\n{}", ended.status, ended.log),
    };
    for _ in 0..QUESTIONS {
        let dig = format!("dig @{SERVER_V4} +tcp +short +tries=1 +time=60 s{SEGMENTS}.load.example TXT");
        assert!(topology.client.run(&dig).len() > 1_000 * SEGMENTS);
    }
    let counters = responder.stop();
    let text = fs::read_to_string(&log).expect("the log");
    let calls = calls_of(&text, &format!("{INTERFACE}-0"));
    let begun = calls.iter().position(|&call| call == "ppoll").expect("it waits");
    let ended = calls.iter().rposition(|&call| call == "ppoll").expect("it waits");
    let count = |name: &str| calls[begun..=ended].iter().filter(|&&call| call == name).count() as u64;
    let (waits, sends) = (count("ppoll"), count("sendto"));
    // Ten times a second it asks the kernel what that has counted; else there is nothing but these.
    let all = (ended - begun + 1) as u64;
    assert_eq!(waits + sends + count("getsockopt"), all, "{calls:?}");
    // A batch has one frame at the least, and an answer of many is sent by one call.
    let (received, sent) = (counters.get("received"), counters.get("sent"));
    assert!(sent > received && sends <= received, "{received} received, {sends} calls for {sent} sent");
}
