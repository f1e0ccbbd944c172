//! Which requests reach a back end, when, and how often.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rstest::rstest;
use stateless_tcp_tests::responder::{Responder, binary};
use stateless_tcp_tests::topology::{SERVERS, Topology};
use stateless_tcp_tests::web::{BACK_END, HttpResponse, HttpUpstream, PORT, ask_bytes};

const RELAY: [&str; 2] = ["--http-relay", BACK_END];
const PATIENCE: Duration = Duration::from_mins(1);
const SAFE: &str = "GET, HEAD, OPTIONS";
const ALL: &str = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE";

/// Answers with the request, as it came but for what the relay adds.
fn echo(request: &str, stream: &mut TcpStream) -> bool {
    let lines: Vec<&str> = request.split("\r\n").filter(|line| !line.contains("orwarded")).collect();
    let body = if request.starts_with("HEAD") { String::new() } else { lines.join("\n") };
    let length = lines.join("\n").len();
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).is_ok()
}

#[test]
fn only_safe_methods_are_relayed() {
    let topology = Topology::new(1);
    let back_end = HttpUpstream::start(&topology.server, echo);
    let _responder = Responder::start(&topology, &RELAY);
    let refused: [(&str, u16, &str); 12] = [
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\n", 405, "a request that is resent can run twice"),
        ("PUT / HTTP/1.1\r\n", 405, "can run twice"),
        ("DELETE / HTTP/1.1\r\n", 405, "can run twice"),
        ("PATCH / HTTP/1.1\r\n", 405, "can run twice"),
        ("TRACE / HTTP/1.1\r\n", 405, ""),
        ("CONNECT a:80 HTTP/1.1\r\n", 405, ""),
        ("PROPFIND / HTTP/1.1\r\n", 501, ""),
        ("GET / HTTP/1.1\r\nContent-Length: 3\r\n", 413, "body"),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 413, "body"),
        ("GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400, "body"),
        ("GET / HTTP/1.1\r\nExpect: 100-continue\r\n", 417, "expected"),
        ("GET * HTTP/1.1\r\n", 400, "target"),
    ];
    for (head, status, says) in refused {
        let request = format!("{head}Host: a\r\n\r\n");
        let answer = ask_bytes(&topology.client, SERVERS[0], request.as_bytes());
        assert_eq!(answer.status, status, "{head}");
        assert!(answer.text().contains(says), "{head}: {}", answer.text());
        assert_eq!(answer.field("allow"), (status == 405).then_some(SAFE), "{head}");
    }
    assert_eq!(back_end.requests(), [""; 0]);
    for (asked, seen) in [
        ("GET / HTTP/1.1", "GET / HTTP/1.1"),
        ("HEAD /a?b=c HTTP/1.1", "HEAD /a?b=c HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("OPTIONS http://a HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("GET http://a HTTP/1.1", "GET / HTTP/1.1"),
        ("GET http://a?b HTTP/1.1", "GET /?b HTTP/1.1"),
        ("GET / HTTP/1.0", "GET / HTTP/1.1"),
    ] {
        let request = format!("{asked}\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let answer = ask_bytes(&topology.client, SERVERS[0], request.as_bytes());
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
        let seen = format!(
            "{seen}\r\nHost: a\r\nX-Forwarded-For: 192.0.2.2\r\nForwarded: for=192.0.2.2;proto=http\r\n\r\n"
        );
        assert_eq!(back_end.requests().pop(), Some(seen));
    }
    // RFC 9112 3.2: HTTP/1.1 cannot do without Host.
    let answer = ask_bytes(&topology.client, SERVERS[1], b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.text(), "GET / HTTP/1.1\nHost: [2001:db8::1]\n\n");
}

#[test]
fn all_methods_are_relayed_where_that_is_allowed() {
    let topology = Topology::new(1);
    let back_end = HttpUpstream::start(&topology.server, echo);
    let responder = Responder::start(&topology, &[&RELAY[..], &["--http-unsafe-methods"]].concat());
    let client = &topology.client;
    for server in SERVERS {
        for (method, body) in [("POST", "a=b"), ("PUT", "{}"), ("PATCH", "x"), ("DELETE", "y"), ("GET", "z")]
        {
            let (before, length) = (back_end.connections(), body.len());
            let request = format!(
                "{method} /path HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let answer = ask_bytes(client, server, request.as_bytes());
            assert_eq!(answer.status, 200);
            let seen = format!("{method} /path HTTP/1.1\nHost: a\nContent-Length: {length}\n\n{body}");
            assert_eq!(answer.text(), seen);
            // What cannot be asked again needs a connection that is certain to be open.
            assert!(method == "GET" || back_end.connections() == before + 1, "{method}");
        }
        // As programs write it: head and body one after the other.
        let answer = client.enter(|| {
            let mut stream = TcpStream::connect(SocketAddr::new(server, 80)).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.set_nodelay(true).expect("no delay");
            let head = "POST /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6000\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("write");
            sleep(Duration::from_millis(100));
            stream.write_all(&[b'b'; 6_000]).expect("write");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an answer");
            HttpResponse::parse(&answer)
        });
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().ends_with(&"b".repeat(6_000)));
    }
    let before = back_end.requests().len();
    let long = format!("Content-Length: 9000\r\n\r\n{}", "x".repeat(500));
    for (method, rest, status) in [
        ("POST", long.as_str(), 413),
        ("POST", "Content-Length: 9000\r\n\r\n", 413),
        ("POST", "Content-Length: 99999999999999999999999\r\n\r\n", 413),
        ("POST", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("POST", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", 417),
        ("POST", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        ("TRACE", "\r\n", 405),
        ("CONNECT", "\r\n", 405),
    ] {
        let target = if method == "CONNECT" { "a:80" } else { "/" };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{rest}");
        let answer = ask_bytes(client, SERVERS[0], request.as_bytes());
        assert_eq!(answer.status, status, "{method} {rest:.60}: {}", answer.text());
        assert_eq!(answer.field("allow"), (status == 405).then_some(ALL), "{method}");
    }
    assert_eq!(back_end.requests().len(), before);
    let said =
        client.run(&format!("curl --silent --max-time 60 --noproxy * --data a=b http://{}/form", SERVERS[0]));
    assert!(said.starts_with("POST /form HTTP/1.1\n") && said.ends_with("\n\na=b"), "{said}");
    responder.stop();
}

/// All on one connection, and all at once; the first is answered only when the back end has seen all.
#[rstest]
#[case::safe(&[], 3)]
#[case::unsafe_one_after_the_other(&["--http-unsafe-methods"], 1)]
fn pipelined_requests_are_answered_in_order(#[case] arguments: &[&str], #[case] together: usize) {
    let topology = Topology::new(1);
    let seen = Arc::new(AtomicUsize::new(0));
    let first_saw = Arc::new(AtomicUsize::new(0));
    let (counted, told) = (Arc::clone(&seen), Arc::clone(&first_saw));
    let _back_end = HttpUpstream::start(&topology.server, move |request, stream| {
        counted.fetch_add(1, SeqCst);
        if request.starts_with("GET /1 ") {
            // A second is enough only for what does not come.
            let end = Instant::now() + if together == 1 { Duration::from_secs(1) } else { PATIENCE };
            while counted.load(SeqCst) < 3 && Instant::now() < end {
                sleep(Duration::from_millis(5));
            }
            told.store(counted.load(SeqCst), SeqCst);
        }
        echo(request, stream)
    });
    let responder = Responder::start(&topology, &[&RELAY[..], arguments].concat());
    let answers = topology.client.enter(|| {
        let mut stream = TcpStream::connect(SocketAddr::new(SERVERS[0], 80)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = |number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        let last = "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned();
        stream.write_all([request(1), request(2), last].concat().as_bytes()).expect("write");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("answers, and then the end");
        answers
    });
    let order: Vec<&str> = answers.split("GET /").skip(1).map(|answer| &answer[..1]).collect();
    assert_eq!(order, ["1", "2", "3"], "{answers}");
    assert_eq!((seen.load(SeqCst), first_saw.load(SeqCst)), (3, together));
    responder.stop();
}

/// A SYN may be an old one, sent again by anybody: it starts nothing at the back end.
#[test]
fn a_request_on_a_syn_is_asked_once() {
    let topology = Topology::new(1);
    topology.client.run("sysctl -qw net.ipv4.tcp_fastopen=1");
    let back_end = HttpUpstream::start(&topology.server, echo);
    let responder = Responder::start(&topology, &[&RELAY[..], &["--fast-open"]].concat());
    for _ in 0..5 {
        let line = format!("curl --silent --max-time 60 --noproxy * --tcp-fastopen http://{}/", SERVERS[0]);
        assert!(topology.client.run(&line).starts_with("GET / HTTP/1.1\n"));
    }
    assert_eq!(back_end.requests().len(), 5);
    let counters = responder.stop();
    assert_eq!((counters.get("fast_open"), counters.get("fast_open_later")), (0, 4), "{counters:?}");
}

fn wait_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        sleep(Duration::from_millis(5));
    }
}

/// A relay goes on as it is, or for what it has begun, where another takes its place.
#[rstest]
#[case::kept(PORT, 200)]
#[case::replaced(PORT + 1, 502)]
fn a_reload_loses_no_request(#[case] port: u16, #[case] then: u16) {
    let topology = Topology::new(1);
    let reloaded = Arc::new(AtomicBool::new(false));
    let may_answer = Arc::clone(&reloaded);
    let back_end = HttpUpstream::start(&topology.server, move |request, stream| {
        wait_until(|| may_answer.load(SeqCst));
        echo(request, stream)
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    let configure = |port| {
        std::fs::write(
            file.path(),
            format!("http-relay = '127.0.0.1:{port}'\n[http]\ntimeout-ms = 120000\n"),
        )
        .expect("write");
    };
    configure(PORT);
    let path = file.path().to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--config", path]);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let ask = || ask_bytes(&topology.client, SERVERS[0], request).status;
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        wait_until(|| back_end.requests().len() == 4);
        configure(port);
        let pid = responder.pid().to_string();
        let reload = Command::new(binary()).args(["reload", "--pid", &pid]).output().expect("run the binary");
        assert!(reload.status.success(), "{reload:?}");
        reloaded.store(true, SeqCst);
        assert!(asked.into_iter().all(|asked| asked.join().expect("no panic") == 200));
    });
    assert_eq!(ask(), then);
    responder.stop();
}
