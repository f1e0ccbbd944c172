//! `stateless-tcp check` tells whether an instance answers, whatever is the matter with it, and disturbs nobody.

use std::process::{Command, Output};
use std::{fs, path::Path};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rstest::rstest;
use serde_json::Value;
use stateless_tcp_tests::netns::{execute, text};
use stateless_tcp_tests::responder::{Responder, binary};
use stateless_tcp_tests::topology::{INTERFACE, SERVER_V4, Topology};

fn check(pid: Pid, arguments: &[&str]) -> Result<String, String> {
    let Output { status, stdout, stderr } = Command::new(binary())
        .args(["check", "--pid", &pid.to_string()])
        .args(arguments)
        .output()
        .expect("run the binary");
    match status.code() {
        Some(0) => Ok(text(&stdout)),
        Some(1) => Err(text(&stderr)),
        other => panic!("exit status {other:?}: {}", text(&stderr)),
    }
}

/// Enough for a busy machine.
const PATIENT: [&str; 2] = ["--timeout", "20000"];
/// For what will not come.
const IMPATIENT: [&str; 2] = ["--timeout", "500"];

fn assert_says(outcome: &Result<String, String>, expected: Result<&str, &str>) {
    match (outcome, expected) {
        (Ok(said), Ok(expected)) | (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::whatever(&[], Ok(". SOA at 192.0.2.1 port 53: REFUSED, 2 queue(s), handshake by the "))]
#[case::name(&["--name", "example.com"], Ok("example.com. SOA at 192.0.2.1 port 53: NOERROR"))]
#[case::large(&["--name", "large.example.com", "--type", "TXT"], Ok("large.example.com. TXT"))]
#[case::page(&["--http", "/20k.html"], Ok("GET /20k.html at 192.0.2.1 port 80: status 200"))]
#[case::ipv6(&["--address", "2001:db8::1", "--name", "example.com"], Ok("at 2001:db8::1 port 53: NOERROR"))]
#[case::no_name(&["--name", "no.example.com"], Err(": NXDOMAIN"))]
#[case::no_page(&["--http", "/no"], Err(": status 404"))]
#[case::not_served(&["--address", "192.0.2.77"], Err("passes the frame to the kernel"))]
#[case::denied(&["--client", "203.0.113.7"], Err("the XDP program drops the frame"))]
fn what_is_asked_is_answered_on_every_queue(
    #[case] arguments: &[&str],
    #[case] expected: Result<&str, &str>,
    #[values("native", "generic")] mode: &str,
) {
    let topology = Topology::new(2);
    let responder = Responder::start(&topology, &["--xdp-mode", mode, "--deny", "203.0.113.0/24"]);
    assert_says(&check(responder.pid(), &[arguments, &PATIENT].concat()), expected);
    // Not only every queue, but all frames of it.
    responder.stop();
}

#[test]
fn what_is_wrong_is_named() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let pid = responder.pid();
    assert_says(&check(pid, &PATIENT), Ok("REFUSED"));

    responder.signal(Signal::SIGSTOP);
    assert_says(&check(pid, &IMPATIENT), Err("is stuck"));
    responder.signal(Signal::SIGCONT);
    assert_says(&check(pid, &PATIENT), Ok("REFUSED"));

    topology.client.run(&format!("ip link set {INTERFACE} down"));
    assert_says(&check(pid, &PATIENT), Err("nothing is connected to the interface"));
    topology.client.run(&format!("ip link set {INTERFACE} up"));
    assert_says(&check(pid, &PATIENT), Ok("REFUSED"));

    detach(&topology);
    assert_says(&check(pid, &PATIENT), Err("not attached to eth0"));
    responder.stop();
    assert_says(&check(pid, &PATIENT), Err("cannot reach process"));
}

/// Takes the program off by force, as nobody but root can.
fn detach(topology: &Topology) {
    let list = |what: &str| -> Value {
        serde_json::from_str(&topology.server.run(&format!("bpftool --json {what}"))).expect("JSON")
    };
    let attached = list("net")[0]["xdp"][0]["id"].clone();
    let links = list("link");
    let link = links.as_array().expect("links").iter().find(|link| link["prog_id"] == attached);
    topology.server.run(&format!("bpftool link detach id {}", link.expect("its link")["id"]));
}

/// A back end that is dead makes an answer that is no answer.
#[test]
fn a_dead_back_end_is_no_answer() {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("configuration");
    fs::write(&path, "dns-relay = [\"127.0.0.1:5301\"]\n[dns]\ntimeout-ms = 50\ntotal-timeout-ms = 100\n")
        .expect("write the configuration");
    let responder = Responder::start(&topology, &["--config", as_text(&path)]);
    assert_says(&check(responder.pid(), &PATIENT), Err(": SERVFAIL"));
    responder.stop();
}

fn as_text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A check's packets are for nobody: no kernel on the way answers, and real clients go on being answered.
#[test]
fn nobody_is_disturbed() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let sent = || {
        let text = topology.client.run("nstat --json --zeros --noupdate --ignore");
        let numbers: Value = serde_json::from_str(&text).expect("JSON");
        ["TcpOutRsts", "IcmpOutMsgs"].map(|name| numbers["kernel"][name].as_u64().expect("a number"))
    };
    let before = sent();
    for _ in 0..3 {
        assert_says(&check(responder.pid(), &PATIENT), Ok("REFUSED"));
        let dig = format!("dig @{SERVER_V4} +tcp +short +tries=1 +time=60 example.com A");
        assert_eq!(topology.client.run(&dig), "192.0.2.1\n");
    }
    assert_eq!(sent(), before);
    responder.stop();
}

/// Without privileges, by the user that runs it.
#[test]
fn no_privileges_are_needed() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let socket = format!("/run/stateless-tcp/{}.sock", responder.pid());
    assert!(Path::new(&socket).exists());
    // Root without any capability: all that counts is whose the socket is.
    let output = execute(
        Command::new("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
            .arg(binary())
            .args(["check", "--pid", &responder.pid().to_string()])
            .args(PATIENT),
    );
    assert!(text(&output.stdout).contains("REFUSED"), "{output:?}");
    responder.stop();
}
