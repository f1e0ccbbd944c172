//! Through the HTTP relay over real XDP clients get from nginx what they get from it directly.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;
use stateless_tcp_tests::browser;
use stateless_tcp_tests::netns::Netns;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{SERVERS, Topology};
use stateless_tcp_tests::web::{BACK_END, HttpResponse, Nginx, PORT};

const CURL: &str = "curl --silent --show-error --max-time 60 --noproxy * --globoff --include";

/// Responses that nginx makes itself; text is compressed as it is sent, and so comes in chunks.
const LOCATIONS: &str = "gzip on; gzip_min_length 1; gzip_http_version 1.0; gzip_types text/plain;
location = /moved { return 302 /page.html; }
location = /gone { return 410 'It is gone.'; }
location = /broken { return 500; }
location = /nothing { return 204; }
location = /several { add_header Set-Cookie a=1; add_header Set-Cookie b=2; add_header Vary Accept; return 200 'two'; }
location = /secret { deny all; }
location = /host { return 200 $host; }";

/// Bytes with no pattern to speak of.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

fn files(root: &Path) {
    fs::write(root.join("index.html"), "<!doctype html><title>Index</title>").expect("write");
    fs::write(root.join("page.html"), "<p>A paragraph.</p>\n".repeat(1_500)).expect("write");
    fs::write(root.join("lines.txt"), "a line of text\n".repeat(4_000)).expect("write");
    fs::write(root.join("picture.png"), noise(40_000)).expect("write");
    fs::write(root.join("one.bin"), noise(1)).expect("write");
    fs::write(root.join("empty.bin"), "").expect("write");
    fs::create_dir(root.join("directory")).expect("a directory");
    symlink("page.html", root.join("link.html")).expect("a link");
}

/// The response to curl from this port of the server, but for what tells the time and one connection from another.
fn fetch(client: &Netns, server: IpAddr, port: u16, options: &str, path: &str) -> HttpResponse {
    let host = if server.is_ipv6() { format!("[{server}]") } else { server.to_string() };
    let output =
        client.attempt(&format!("{CURL} {options} --header Host:a.example http://{host}:{port}{path}"));
    assert!(output.status.success(), "{options} {path}: {output:?}");
    let mut answer = HttpResponse::parse(&output.stdout);
    let names = ["date", "connection", "transfer-encoding"];
    answer.fields.retain(|(name, _)| !names.contains(&name.as_str()));
    answer.fields.sort();
    answer
}

#[rstest]
#[case::reliable("reliable", 4)]
#[case::classic("classic", 1)]
fn curl_gets_what_it_gets_directly(#[case] rules: &str, #[case] queues: usize) {
    let topology = Topology::new(queues);
    let root = tempfile::tempdir().expect("a directory");
    files(root.path());
    let nginx = Nginx::start(&topology.server, root.path(), LOCATIONS);
    let responder = Responder::start(&topology, &["--http-relay", BACK_END, "--rules", rules]);
    let tag = fetch(&topology.client, SERVERS[0], PORT, "", "/page.html");
    let tag = tag.field("etag").expect("nginx tags files").to_owned();
    let fresh = format!("--header If-None-Match:{tag}");
    let requests = [
        ("", "/", 200),
        ("", "/page.html", 200),
        ("", "/page.html?question=1&x=%20|", 200),
        ("", "/picture.png", 200),
        ("", "/one.bin", 200),
        ("", "/empty.bin", 200),
        ("", "/link.html", 200),
        ("", "/directory", 301),
        ("", "/moved", 302),
        ("", "/directory/", 403),
        ("", "/secret", 403),
        ("", "/missing", 404),
        ("", "/gone", 410),
        ("", "/broken", 500),
        ("", "/nothing", 204),
        ("", "/several", 200),
        ("", "/host", 200),
        // In chunks.
        ("--header Accept-Encoding:gzip", "/lines.txt", 200),
        ("--header Accept-Encoding:gzip", "/page.html", 200),
        ("--http1.0 --header Accept-Encoding:gzip", "/page.html", 200),
        ("--http1.0", "/picture.png", 200),
        (&fresh, "/page.html", 304),
        ("--range 100-20099", "/picture.png", 206),
        ("--range 50000-", "/picture.png", 416),
        ("--head", "/picture.png", 200),
        ("--head", "/missing", 404),
        ("--head --header Accept-Encoding:gzip", "/lines.txt", 200),
        ("--request OPTIONS", "/page.html", 405),
        ("--http2", "/page.html", 200),
    ];
    for server in SERVERS {
        for (options, path, status) in requests {
            let directly = fetch(&topology.client, server, PORT, options, path);
            let mut relayed = fetch(&topology.client, server, 80, options, path);
            // What came in chunks has a length now, if there is a body.
            if directly.field("content-length").is_none()
                && !options.split(' ').any(|option| option == "--head")
                && status != 204
                && status != 304
            {
                assert_eq!(relayed.field("content-length"), Some(directly.body.len().to_string().as_str()));
                relayed.fields.retain(|(name, _)| name != "content-length");
            }
            assert_eq!(directly.status, status, "{options} {path}: {directly:?}");
            assert_eq!(relayed.status, status, "{options} {path}: {}", relayed.text());
            assert_eq!(relayed.fields, directly.fields, "{options} {path}");
            assert!(relayed.body == directly.body, "{options} {path}: other octets");
        }
    }
    // Half of them came directly, each on a connection of its own; the relay keeps one until nginx closes it, as it does after
    // status 500.
    let log = nginx.log();
    let connections: BTreeSet<&str> = log.lines().filter_map(|line| line.split(' ').next()).collect();
    let directly = 1 + 2 * requests.len();
    assert_eq!(log.lines().count(), directly + 2 * requests.len());
    assert!(connections.len() < directly + requests.len(), "{} connections:\n{log}", connections.len());
    assert_eq!(responder.stop().get("answered"), 2 * requests.len() as u64);
}

#[test]
fn curl_keeps_its_connection() {
    let topology = Topology::new(1);
    let root = tempfile::tempdir().expect("a directory");
    files(root.path());
    let _nginx = Nginx::start(&topology.server, root.path(), LOCATIONS);
    let _responder = Responder::start(&topology, &["--http-relay", BACK_END]);
    let mut line = "curl --silent --max-time 60 --noproxy * --write-out %{num_connects}_%{http_code}_%{size_download}\\n"
        .to_owned();
    for path in ["/picture.png", "/missing", "/nothing", "/page.html", "/one.bin"] {
        let _ = write!(line, " --output /dev/null http://{}{path}", SERVERS[0]);
    }
    assert_eq!(topology.client.run(&line), "1_200_40000\n0_404_153\n0_204_0\n0_200_30000\n0_200_1\n");
}

#[test]
fn chromium_gets_what_it_gets_directly() {
    let topology = Topology::new(1);
    let root = tempfile::tempdir().expect("a directory");
    files(root.path());
    let mut paths = ["/page.html", "/lines.txt", "/picture.png", "/moved", "/missing", "/gone", "/several"]
        .map(str::to_owned)
        .to_vec();
    for number in 0..40 {
        fs::write(root.path().join(format!("{number}.txt")), noise(number * 1_000)).expect("write");
        paths.push(format!("/{number}.txt"));
    }
    fs::write(root.path().join("index.html"), browser::page(&paths)).expect("write");
    fs::write(root.path().join("drawing.svg"), browser::DRAWING).expect("write");
    let nginx = Nginx::start(&topology.server, root.path(), LOCATIONS);
    let responder = Responder::start(&topology, &["--http-relay", BACK_END]);
    let directly = browser::shows(&topology.client, &format!("http://{}:{PORT}/", SERVERS[0]));
    assert!(directly.contains("drawing 30 by 20"), "{directly}");
    assert!(directly.contains("/missing 404"), "{directly}");
    let asked = nginx.log().lines().count();
    let relayed = browser::shows(&topology.client, &format!("http://{}/", SERVERS[0]));
    assert_eq!(relayed, directly);
    assert!(nginx.log().lines().count() >= 2 * asked, "it was not asked for everything again");
    assert!(responder.stop().get("messages") >= paths.len() as u64);
}
