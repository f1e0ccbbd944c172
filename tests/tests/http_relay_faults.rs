//! Whatever becomes of a back end, each client gets one whole answer to its own request, and nothing else.

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rstest::rstest;
use stateless_tcp_tests::lossy_network::{HTTP, LossyNetwork, Trouble};
use stateless_tcp_tests::netns::Netns;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{INTERFACE, SERVERS, Topology};
use stateless_tcp_tests::web::{
    BACK_END, HttpResponse, HttpUpstream, Nginx, ask, configuration, reset, try_ask,
};

const RIGHT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright";
const RELAY: [&str; 2] = ["--http-relay", BACK_END];
/// A client gives up after this.
const PATIENCE: Duration = Duration::from_mins(1);

/// Does to its connection what the path says.
fn behave(request: &str, stream: &mut TcpStream) -> bool {
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let (text, goes_on) = match path {
        "/right" => (RIGHT.to_owned(), true),
        "/slow" => {
            until_closed(stream);
            (String::new(), false)
        }
        "/slow-body" => {
            let _ = stream.write_all(&RIGHT.as_bytes()[..42]);
            until_closed(stream);
            (String::new(), false)
        }
        "/closed" => (String::new(), false),
        "/short" => ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".to_owned(), false),
        "/reset" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf");
            sleep(Duration::from_millis(50));
            reset(stream);
            (String::new(), false)
        }
        "/garbage" => ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), true),
        "/bad-field" => ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(), true),
        "/bad-length" => ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nright".to_owned(), true),
        "/bad-chunk" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsome\r\n".to_owned(), true),
        "/cut-chunk" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf".to_owned(), false),
        "/upgrade" => ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_owned(), true),
        "/extra" => (format!("{RIGHT}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG"), true),
        "/extra-later" => {
            let _ = stream.write_all(RIGHT.as_bytes());
            sleep(Duration::from_millis(100));
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG".to_owned(), true)
        }
        "/both" => (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n".to_owned(),
            true,
        ),
        "/early" => (
            format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{RIGHT}"),
            true,
        ),
        "/delimited" => ("HTTP/1.0 200 OK\r\n\r\nright".to_owned(), false),
        "/chunked" => (
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nri\r\n3\r\nght\r\n0\r\nX-Sum: 1\r\n\r\n"
                .to_owned(),
            true,
        ),
        "/fields" => (
            "HTTP/1.1 299 Most Peculiar\r\nDate: today\r\nConnection: x-private, keep-alive\r\nX-Private: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nSet-Cookie: a\r\nX-Public: 2\r\n\
             Set-Cookie: b\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            true,
        ),
        "/large" => (format!("HTTP/1.1 200 OK\r\nContent-Length: 65538\r\n\r\n{}", "x".repeat(65_538)), true),
        "/endless" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(b"5\r\nright\r\n").is_ok() {}
            (String::new(), false)
        }
        "/most" => (format!("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{}", "y".repeat(60_000)), true),
        _ => ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), true),
    };
    stream.write_all(text.as_bytes()).is_ok() && goes_on
}

/// Waits until the other end gives up.
fn until_closed(stream: &mut TcpStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
}

/// Waits for something that is due at once.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_trouble_is_one_answer() {
    let topology = Topology::new(1);
    let back_end = HttpUpstream::start(&topology.server, behave);
    let file = configuration("timeout-ms = 2000");
    let path = file.path().to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--config", path]);
    let cases = [
        // (path, status, what it says, connections that it leaves unused)
        ("/right", 200, "right", 0),
        ("/early", 200, "right", 0),
        ("/chunked", 200, "right", 0),
        ("/delimited", 200, "right", 1),
        ("/both", 200, "right", 1),
        ("/extra", 200, "right", 1),
        ("/extra-later", 200, "right", 1),
        ("/closed", 502, "did not give a whole response: connection closed before message completed.\n", 1),
        ("/short", 502, "end of file before message length reached", 1),
        ("/reset", 502, "did not give a whole response: ", 1),
        ("/garbage", 502, "invalid HTTP version", 1),
        ("/bad-field", 502, "invalid HTTP header", 1),
        ("/bad-length", 502, "content-length", 1),
        ("/bad-chunk", 502, "did not give a whole response: ", 1),
        ("/cut-chunk", 502, "did not give a whole response: ", 1),
        ("/upgrade", 502, "another protocol", 1),
        ("/slow", 504, "did not give a whole response within 2s.\n", 1),
        ("/slow-body", 504, "did not give a whole response within 2s.\n", 1),
        ("/large", 503, "The upstream server's response has 65538 bytes, which is too large", 1),
        ("/endless", 503, "The upstream server's response is too large", 1),
        ("/most", 200, "yyyyy", 0),
    ];
    for server in SERVERS {
        for (path, status, says, unused) in cases {
            assert_eq!(ask(&topology.client, server, "GET", "/right").text(), "right");
            let (before, closed) = (back_end.connections(), back_end.closed());
            let answer = ask(&topology.client, server, "GET", path);
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(answer.text().contains(says), "{path}: {}", answer.text());
            assert_eq!(
                answer.field("content-length"),
                Some(answer.body.len().to_string().as_str()),
                "{path}"
            );
            assert_eq!(answer.field("transfer-encoding"), None, "{path}");
            assert_eq!(answer.field("connection"), Some("close"), "{path}");
            assert!(answer.field("date").is_some(), "{path}");
            // A connection that ends before its response begins is no news: it is asked once more on a fresh one.
            assert!(path != "/closed" || back_end.last_was_first(), "not asked again");
            // It is not only unused: either end closes it.
            wait_until("the connection is closed", || back_end.closed() - closed >= unused);
            // Whatever it was, the next one gets its own.
            assert_eq!(ask(&topology.client, server, "GET", "/right").text(), "right", "after {path}");
            assert!(back_end.connections() - before >= unused, "connections for {path}");
        }
    }
    let counters = responder.stop();
    let counted = ["timed_out", "broken", "too_large", "unreachable", "table_full", "store_full"]
        .map(|name| counters.get(&format!("http_relay_{name}")));
    assert_eq!(counted, [2 * 2, 2 * 9, 2 * 2, 0, 0, 0]);
    let responses = counters.get("http_relay_responses");
    assert_eq!(counters.get("http_relay_requests"), responses + counted.iter().sum::<u64>());
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let topology = Topology::new(1);
    let back_end = HttpUpstream::start(&topology.server, behave);
    let _responder = Responder::start(&topology, &RELAY);
    for (server, client, element) in [
        (SERVERS[0], "192.0.2.2", "for=192.0.2.2;proto=http"),
        (SERVERS[1], "2001:db8::2", "for=\"[2001:db8::2]\";proto=http"),
    ] {
        let request = "GET http://b.example/fields?q HTTP/1.1\r\nHost: a.example\r\nConnection: close, x-hop, host\r\nX-Hop: 1\r\n\
                       Keep-Alive: 300\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\
                       Proxy-Authorization: Basic eDp5\r\nX-Forwarded-For: 203.0.113.7\r\n\
                       Forwarded: for=203.0.113.7\r\nX-Forwarded-For: 203.0.113.8\r\nCookie: c=1\r\n\r\n";
        let answer =
            topology.client.enter(|| try_ask(SocketAddr::new(server, 80), request.as_bytes(), PATIENCE));
        let answer = HttpResponse::parse(&answer.expect("an answer"));
        let fields = [("date", "today"), ("set-cookie", "a"), ("set-cookie", "b"), ("x-public", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(answer.status, 299);
        assert_eq!(answer.fields[..4], fields);
        let ends = [("content-length", "0"), ("connection", "close")];
        assert_eq!(answer.fields[4..], ends.map(|(name, value)| (name.to_owned(), value.to_owned())));

        let seen = back_end.requests().pop().expect("a request");
        let mut lines: Vec<&str> = seen.trim_end().split("\r\n").collect();
        assert_eq!(lines.remove(0), "GET /fields?q HTTP/1.1");
        lines.sort_unstable();
        let forwarded = format!("Forwarded: for=203.0.113.7, {element}");
        let forwarded_for = format!("X-Forwarded-For: 203.0.113.7, 203.0.113.8, {client}");
        let expected =
            ["Cookie: c=1", &forwarded, "Host: b.example", "Http2-Settings: AAMAAABk", &forwarded_for];
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_back_end_may_end_and_come_back() {
    let topology = Topology::new(1);
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("index.html"), "here").expect("write");
    let responder = Responder::start(&topology, &RELAY);
    let status = |path| ask(&topology.client, SERVERS[0], "GET", path).status;
    assert_eq!(status("/"), 502);
    for _ in 0..3 {
        let nginx = Nginx::start(&topology.server, root.path(), "");
        assert_eq!([status("/"), status("/"), status("/none")], [200, 200, 404]);
        drop(nginx);
        let answer = ask(&topology.client, SERVERS[0], "GET", "/");
        assert_eq!(answer.status, 502);
        assert!(answer.text().starts_with("The upstream server cannot be reached: "), "{}", answer.text());
    }
    // One line each time that it begins, and ends, to fail.
    let count = |lines: &[String], what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let log = responder.log_until(|lines| count(lines, "upstream 127.0.0.1:8080: ") >= 4);
    assert_eq!(count(&log, "upstream 127.0.0.1:8080: "), 4, "{log:?}");
    assert_eq!(count(&log, "upstream 127.0.0.1:8080 answers again"), 3, "{log:?}");
    assert_eq!(responder.stop().get("http_relay_unreachable"), 4);
}

/// A client's system sends the request again and again until the back end has answered; the back end has it once.
#[rstest]
#[case::with_timestamps(true, "reliable")]
#[case::without(false, "reliable")]
fn a_resend_starts_nothing(#[case] timestamps: bool, #[case] rules: &str) {
    let topology = Topology::new(1);
    topology.client.run(&format!("sysctl -qw net.ipv4.tcp_timestamps={}", u8::from(timestamps)));
    // How many requests it has been told to answer.
    let told = Arc::new(AtomicUsize::new(0));
    let (answered, may_answer) = (AtomicUsize::new(0), Arc::clone(&told));
    let back_end = HttpUpstream::start(&topology.server, move |_, stream| {
        let number = answered.fetch_add(1, SeqCst);
        wait_until("the client sends again", || may_answer.load(SeqCst) > number);
        stream.write_all(RIGHT.as_bytes()).is_ok()
    });
    let file = configuration("timeout-ms = 120000");
    let path = file.path().to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--config", path, "--rules", rules]);
    for (number, server) in SERVERS.into_iter().enumerate() {
        let before = responder.counters().get("pending");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&topology.client, server, "GET", "/late").text());
            // The request, and then the timer's: 200, 600, 1,400 ms later, and so on.
            wait_until("it is sent again", || responder.counters().get("pending") - before > 3);
            told.store(number + 1, SeqCst);
            assert_eq!(asked.join().expect("no panic"), "right");
        });
    }
    let paths: Vec<String> = back_end.requests().iter().map(|request| request[..10].to_owned()).collect();
    assert_eq!(paths, ["GET /late ", "GET /late "]);
    responder.stop();
}

/// Different clients' requests are never merged: responses may be private.
#[test]
fn each_client_has_a_request_of_its_own_up_to_a_limit() {
    const PLACES: usize = 8;
    const CLIENTS: usize = 40;
    let topology = Topology::new(1);
    let refused = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&refused);
    let back_end = HttpUpstream::start(&topology.server, move |_, stream| {
        // Those above the limit are refused at once, and not when others have their answers.
        wait_until("the others are refused", || seen.load(SeqCst) >= CLIENTS - PLACES);
        stream.write_all(RIGHT.as_bytes()).is_ok()
    });
    let file = configuration(&format!("timeout-ms = 120000\nin-flight = {PLACES}"));
    let path = file.path().to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--config", path]);
    for _ in 0..2 {
        let before = back_end.requests().len();
        refused.store(0, SeqCst);
        let right = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let answer = ask(&topology.client, SERVERS[0], "GET", "/");
                    if answer.status == 200 && answer.text() == "right" {
                        right.fetch_add(1, SeqCst);
                    } else {
                        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
                        refused.fetch_add(1, SeqCst);
                    }
                });
            }
        });
        assert_eq!((right.into_inner(), refused.load(SeqCst)), (PLACES, CLIENTS - PLACES));
        assert_eq!(back_end.requests().len() - before, PLACES);
    }
    assert_eq!(responder.stop().get("http_relay_table_full"), 2 * (CLIENTS - PLACES) as u64);
}

#[test]
fn answers_that_cannot_be_kept_are_refused() {
    let topology = Topology::new(1);
    let _back_end = HttpUpstream::start(&topology.server, behave);
    // Half of it for those of several segments.
    let file = configuration("store-mib = 1");
    let path = file.path().to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--config", path]);
    let status = |path| ask(&topology.client, SERVERS[0], "GET", path).status;
    let statuses: Vec<u16> = (0..10).map(|_| status("/most")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 503, 503]);
    assert_eq!(status("/right"), 200);
    assert_eq!(responder.stop().get("http_relay_store_full"), 2);
}

/// What nothing of can be told apart by time: a date that stands still.
fn large(_request: &str, stream: &mut TcpStream) -> bool {
    let body = (0..3_000).map(|line| format!("line {line}\n")).collect::<Vec<_>>().concat();
    let head = format!("HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).is_ok()
}

#[rstest]
#[case::one_segment(behave, "/fields", 1)]
#[case::many(large, "/", 300)]
fn what_the_network_loses_comes_again(
    #[case] answer: fn(&str, &mut TcpStream) -> bool,
    #[case] path: &str,
    #[case] least: usize,
) {
    const CONNECTIONS: usize = 200;
    let mut network = LossyNetwork::new(1);
    let _back_end = HttpUpstream::start(&network.servers[0], answer);
    let arguments = [&["run", "-i", INTERFACE][..], &RELAY].concat();
    let responder = Responder::try_start(&network.servers[0], 1, &arguments).expect("it starts");
    network.hasten();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let get = |client: &Netns| client.enter(|| try_ask(HTTP, request.as_bytes(), PATIENCE));
    let right = get(&network.client).expect("an answer over a good path");
    assert!(right.len() >= least, "{} octets", right.len());
    network.disturb(Trouble { lost: 10, ..Trouble::default() });
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..CONNECTIONS / 20 {
                    match get(&network.client) {
                        Ok(answer) if answer == right => {}
                        other => failures.lock().expect("no panic").push(other.map(|bytes| bytes.len())),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} of {CONNECTIONS}: {:?}", failures.len(), failures[0]);
    assert!(network.counted("lost") > 50, "only {} segments were lost", network.counted("lost"));
    responder.stop();
}
