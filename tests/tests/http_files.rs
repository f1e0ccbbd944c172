//! Files are answered as nginx answers them, but where RFC 9110 says otherwise.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stateless_tcp_tests::netns::Netns;
use stateless_tcp_tests::responder::{Responder, binary};
use stateless_tcp_tests::topology::{SERVERS, Topology};
use stateless_tcp_tests::web::{HttpResponse, Nginx, PORT, try_ask};

const PATIENCE: Duration = Duration::from_secs(20);

/// Compressed files as here; what begins with a dot is hidden as here.
const LOCATIONS: &str =
    "gzip_static on; gzip_vary on; gzip_http_version 1.0; add_header Cache-Control max-age=60;
location ~ /\\.(?!well-known) { return 404; }";

/// The other fields of a request. TAG and TIME stand for what the server says of the file.
const FIELDS: [&str; 39] = [
    "A: b",
    "If-None-Match: TAG",
    "If-None-Match: W/TAG",
    "If-None-Match: *",
    "If-None-Match: \"a\"",
    "If-None-Match: \"a\", TAG",
    "If-Modified-Since: TIME",
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Modified-Since: Fri, 31 Dec 9999 00:00:00 GMT",
    "If-Modified-Since: yesterday",
    "If-None-Match: TAG\r\nIf-Modified-Since: TIME",
    "If-Match: TAG",
    "If-Match: W/TAG",
    "If-Match: *",
    "If-Match: \"a\"",
    "If-Match: \"a\"\r\nIf-None-Match: TAG",
    "If-Unmodified-Since: TIME",
    "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Unmodified-Since: Fri, 31 Dec 9999 00:00:00 GMT",
    "Range: bytes=0-0",
    "Range: bytes=5-9",
    "Range: bytes=5-",
    "Range: bytes=-7",
    "Range: bytes=-99999999",
    "Range: bytes=0-99999999",
    "Range: bytes=99999999-",
    "Range: bytes=9-5",
    "Range: bytes=-0",
    "Range: bytes=x",
    "Range: bytes=",
    "Range: lines=1-2",
    "Range: bytes=3-4, 99999999-",
    "Range: bytes=3-4\r\nIf-Range: TAG",
    "Range: bytes=3-4\r\nIf-Range: \"a\"",
    "Range: bytes=3-4\r\nIf-Range: TIME",
    "Range: bytes=3-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT",
    "Accept-Encoding: gzip",
    "Accept-Encoding: br, gzip;q=0.1",
    "Accept-Encoding: gzip;q=0",
];

/// The parts of paths.
const SEGMENTS: [&str; 8] = ["", ".", "..", "%2e%2e", "sub", "page.html", "none", "a%2Fpage.html"];

fn files(root: &Path) {
    fs::create_dir_all(root.join("sub/a")).expect("directories");
    fs::create_dir_all(root.join(".git")).expect("a directory");
    fs::create_dir_all(root.join(".well-known")).expect("a directory");
    let page = "<p>A paragraph.</p>\n".repeat(500);
    for (name, content) in [
        ("index.html", "<p>Index"),
        ("page.html", &page),
        ("page.html.gz", "what gzip made of it"),
        ("empty.txt", ""),
        ("sub/index.html", "<p>Index below"),
        ("sub/page.html", "<p>Page below"),
        ("sub/a/page.html", "<p>Page further below"),
        ("sub/a/index.html", "<p>Index further below"),
        ("a b&c.txt", "text"),
        (".git/config", "secret"),
        (".htpasswd", "secret"),
        (".well-known/security.txt", "mail"),
    ] {
        fs::write(root.join(name), content).expect("write");
    }
    symlink("page.html", root.join("link.html")).expect("a link");
}

/// A server's answers on one connection.
fn ask(client: &Netns, server: SocketAddr, request: &str) -> HttpResponse {
    let answer = client.enter(|| try_ask(server, request.as_bytes(), PATIENCE));
    HttpResponse::parse(&answer.unwrap_or_else(|error| panic!("{request}: {error}")))
}

fn get(client: &Netns, server: SocketAddr, path: &str, fields: &str) -> HttpResponse {
    ask(client, server, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n"))
}

/// The comparable part of an answer: not the value of ETag, nor the charset, nor the words of errors.
fn comparable(answer: &HttpResponse) -> HttpResponse {
    let mut answer = answer.clone();
    let names: &[&str] = if answer.status < 300 {
        &["date", "server"]
    } else {
        &["date", "server", "content-type", "content-length"]
    };
    answer.fields.retain(|(name, _)| !names.contains(&name.as_str()));
    for (name, value) in &mut answer.fields {
        match name.as_str() {
            "etag" => value.truncate(1),
            "content-type" => *value = value.split(';').next().unwrap_or_default().to_owned(),
            _ => {}
        }
    }
    // nginx sends no parts of compressed files.
    let coded = answer.fields.iter().any(|(name, _)| name == "content-encoding");
    answer.fields.retain(|(name, _)| !(coded && name == "accept-ranges"));
    answer.fields.sort();
    if answer.status >= 300 {
        answer.body.clear();
    }
    if answer.status >= 400 {
        answer.fields.retain(|(name, _)| name != "vary" && name != "cache-control");
    }
    answer
}

#[test]
fn files_are_answered_as_by_nginx() {
    let topology = Topology::new(1);
    let root = tempfile::tempdir().expect("a directory");
    files(root.path());
    let _nginx = Nginx::start(&topology.server, root.path(), LOCATIONS);
    let path = root.path().to_str().expect("a path in UTF-8");
    let arguments = ["--http-root", path, "--http-cache-control", "max-age=60"];
    let responder = Responder::start(&topology, &arguments);
    let [nginx, ours] = [PORT, 80].map(|port| SocketAddr::new(SERVERS[0], port));
    let client = &topology.client;
    let compare = |path: &str, fields: &str| {
        let [expected, answer] = [nginx, ours].map(|server| {
            let file = get(client, server, path, "A: b");
            let value = |name| file.field(name).unwrap_or_default();
            let fields = fields.replace("TAG", value("etag")).replace("TIME", value("last-modified"));
            comparable(&get(client, server, path, &fields))
        });
        assert_eq!((answer.status, &answer.fields), (expected.status, &expected.fields), "{path} {fields}");
        assert!(answer.body == expected.body, "{path} {fields}: other octets");
        answer.status
    };
    for path in ["/page.html", "/empty.txt", "/sub/", "/link.html"] {
        for fields in FIELDS {
            compare(path, fields);
        }
    }
    let mut statuses = Vec::new();
    for path in [
        "/",
        "/sub",
        "/sub?a=b",
        "/sub?",
        "/sub/a?a/../b",
        "/a%20b&c.txt",
        "/a%20b%26c.txt",
        "/page.html?a",
        "/page.html/",
        "/%",
        "/%4",
        "/%zz",
        "/page.html%00",
        "/.git/config",
        "/.htpasswd",
        "/.well-known/security.txt",
        "/page%2ehtml",
        "/%2e/page.html",
        "http://b/page.html",
        "http://b",
        "/Page.html",
    ] {
        statuses.push(compare(path, "A: b"));
    }
    for length in 1..=3 {
        for number in 0..SEGMENTS.len().pow(length) {
            let at = |place| SEGMENTS[number / SEGMENTS.len().pow(place) % SEGMENTS.len()];
            let segments: Vec<&str> = (0..length).map(at).collect();
            statuses.push(compare(&format!("/{}", segments.join("/")), "A: b"));
        }
    }
    for status in [200, 301, 400, 404] {
        let count = statuses.iter().filter(|one| **one == status).count();
        assert!(count > 5, "{status}: {count} times");
    }
    responder.stop();
}

/// Cases in which nginx differs from RFC 9110, or the RFC leaves it open.
#[test]
fn what_differs_from_nginx() {
    let topology = Topology::new(1);
    let root = tempfile::tempdir().expect("a directory");
    files(root.path());
    let _nginx = Nginx::start(&topology.server, root.path(), LOCATIONS);
    let path = root.path().to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--http-root", path]);
    let client = &topology.client;
    let [nginx, ours] = [PORT, 80].map(|port| SocketAddr::new(SERVERS[1], port));
    for (fields, theirs, expected) in [
        // RFC 9110 13.1.3: If-None-Match takes precedence.
        ("If-None-Match: TAG\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200, 304),
        // 13.1.4: so does If-Match, and what is no date does not count.
        ("If-Match: TAG\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 412, 200),
        ("If-Unmodified-Since: yesterday", 412, 200),
        // 14.2: several ranges may be answered as none.
        ("Range: bytes=0-0, 2-2", 206, 200),
        // 14.2: a range is one of the file as it is sent, compressed or not.
        ("Range: bytes=1-2\r\nAccept-Encoding: gzip", 200, 206),
    ] {
        let [nginx, ours] = [nginx, ours].map(|server| {
            let tag = get(client, server, "/page.html", "A: b").field("etag").expect("a tag").to_owned();
            get(client, server, "/page.html", &fields.replace("TAG", &tag)).status
        });
        assert_eq!((nginx, ours), (theirs, expected), "{fields}");
    }
    // 14.2: ranges are for GET alone.
    let head = "HEAD /page.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: bytes=0-0\r\n\r\n";
    assert_eq!([nginx, ours].map(|server| ask(client, server, head).status), [206, 200]);
    responder.stop();
}

/// A client of HTTP/1.0, as load generators are, asks more on one connection if it says so.
#[test]
fn http_1_0_keeps_its_connection() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    for server in SERVERS {
        let server: IpAddr = server;
        let request = |option| format!("GET /robots.txt HTTP/1.0\r\nConnection: {option}\r\n\r\n");
        let both = [request("keep-alive"), request("close")].concat();
        let answer =
            topology.client.enter(|| try_ask(SocketAddr::new(server, 80), both.as_bytes(), PATIENCE));
        let answer = String::from_utf8(answer.expect("two answers")).expect("text");
        let said: Vec<&str> = answer.lines().filter(|line| line.starts_with("Connection: ")).collect();
        assert_eq!(said, ["Connection: keep-alive", "Connection: close"], "{answer}");
    }
    responder.stop();
}

/// At the start and at a reload.
#[test]
fn what_cannot_be_served_is_named() {
    let topology = Topology::new(1);
    let root = tempfile::tempdir().expect("a directory");
    files(root.path());
    fs::write(root.path().join("large.bin"), vec![0; 100_000]).expect("write");
    let path = root.path().to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--http-root", path]);
    let large = format!("not served: {path}/large.bin: the response would have 100");
    let hidden = format!("not served: names that begin with a dot, 2 of them, as {path}/.git:");
    let out = format!("not served: {path}/out: a symbolic link leads out of the root");
    let said = |expected: [usize; 3]| {
        let count = |lines: &[String], what: &str| lines.iter().filter(|line| line.contains(what)).count();
        responder.log_until(|lines| [&large, &hidden, &out].map(|what| count(lines, what)) == expected);
    };
    said([1, 1, 0]);
    symlink("/etc/passwd", root.path().join("out")).expect("a link");
    let reload = Command::new(binary()).args(["reload", "--pid", &responder.pid().to_string()]).output();
    assert!(reload.as_ref().is_ok_and(|reload| reload.status.success()), "{reload:?}");
    said([2, 2, 1]);
    responder.stop();
}
