//! Several contents are served at once, each to the connections that began with it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use stateless_tcp_tests::{
    client::{Client, port, query},
    netns::text,
    responder::{Responder, binary},
    topology::{SERVERS, Topology},
};

use super::{TXT, ask_large, files::Files, receive_all, reload, small, version};

/// As many generations as are served at once, each with connections that began with it: every one of them gets its own to the
/// end, though the content changes several times meanwhile. The next reload waits for the oldest.
#[test]
fn eight_generations_are_served_at_once() {
    const GENERATIONS: u8 = 8;
    let topology = Topology::new(1);
    let files = Files::new();
    let (zone, key) = (files.path("zone"), files.path("key"));
    // Far longer than seven reloads take.
    let arguments = ["-v", "--zone", &zone, "--key-file", &key, "--test-keep-seconds", "40"];
    let responder = Responder::start(&topology, &arguments);
    let port = port(&topology);
    let [_, server] = SERVERS;
    let mut connections = Vec::new();
    for number in 0..GENERATIONS {
        if number > 0 {
            files.write_zone(number);
            let said = reload(&responder).expect("nothing is wrong");
            assert!(!said.contains("waited"), "{said}");
        }
        let of = u16::from(number);
        let mut half = Client::new(&port, 40_000 + of, server, 53, 1);
        half.open();
        ask_large(&half, 0);
        let whole = receive_all(&half);
        assert_eq!(version(&whole), number);
        let mut early = Client::new(&port, 41_000 + of, server, 53, 1);
        early.open();
        let stream = topology.client.enter(|| TcpStream::connect((server, 53)).expect("a connection"));
        connections.push((half, early, stream, whole));
    }

    // The ninth waits, and says why.
    files.write_zone(GENERATIONS);
    let pid = responder.pid().to_string();
    let mut waiting = Command::new(binary())
        .args(["reload", "--pid", &pid])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run the binary");
    responder.log_until(|lines| lines.iter().any(|line| line.contains("a reload waits")));
    assert!(responder.log().contains("8 generations of content are served"), "{}", responder.log());
    let mut said = String::new();
    let mut errors = BufReader::new(waiting.stderr.take().expect("its standard error"));
    errors.read_line(&mut said).expect("what it says");
    assert!(said.starts_with("waiting: "), "it does not wait, but says {said:?}");
    for (number, (half, early, stream, whole)) in (0..).zip(&mut connections) {
        ask_large(half, 1220);
        assert!(receive_all(half) == whole[1220..], "answer {number} goes on with other octets");
        ask_large(early, 0);
        assert!(receive_all(early) == *whole, "connection {number} gets other content");
        // With timestamps, by the kernel's own TCP.
        stream.write_all(&query(7, "large.example.org", TXT)).expect("ask");
        let mut answer = vec![0; whole.len()];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(version(&answer), number, "connection {number} gets other content");
    }
    assert_eq!(small(&topology, 53), "192.0.2.107\n");
    let output = waiting.wait_with_output().expect("its end");
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("it waited"), "{said}");
    assert_eq!(small(&topology, 53), "192.0.2.108\n");
    let counters = responder.stop();
    assert_eq!(counters.get("generation_gone"), 0);
}
