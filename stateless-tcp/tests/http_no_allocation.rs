//! No HTTP request, good or bad, costs an allocation.

mod counting;

use std::fs;
use std::time::SystemTime;

use counting::allocations;
use stateless_tcp::services::http::{FileOptions, Http};
use stateless_tcp::services::{Context, Framing, MAX_RESPONSE, Service as _};

#[test]
fn request_costs_no_allocation() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("directory")).unwrap();
    fs::write(root.path().join("directory/index.html"), "<p>inside").unwrap();
    fs::write(root.path().join("page.html"), "<p>page").unwrap();
    fs::write(root.path().join("page.html.gz"), "page").unwrap();
    let now = SystemTime::now();
    fs::File::options().write(true).open(root.path().join("page.html")).unwrap().set_modified(now).unwrap();
    fs::write(root.path().join("large"), vec![0; 2 * MAX_RESPONSE]).unwrap();
    let http = Http::load(root.path(), &FileOptions::default()).unwrap();
    let mut response = Vec::with_capacity(MAX_RESPONSE);

    let today = httpdate::fmt_http_date(now);
    let requests = [
        ("page", "GET /page.html HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n".to_owned(), 200),
        ("encoded", "GET /p%61ge.html HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 200),
        ("head", "HEAD /page.html HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("absolute", "GET http://a/page.html HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("same time", format!("GET /page.html HTTP/1.0\r\nIf-Modified-Since: {today}\r\n\r\n"), 304),
        (
            "same version",
            format!("GET /page.html HTTP/1.0\r\n{}\r\n", "If-None-Match: \"a\", *\r\nIf-None-Match: *\r\n"),
            304,
        ),
        ("other version", "GET /page.html HTTP/1.0\r\nIf-Match: \"a\", W/\"b\"\r\n\r\n".to_owned(), 412),
        ("part", "GET /page.html HTTP/1.0\r\nRange: bytes=1-2\r\nIf-Range: a\r\n\r\n".to_owned(), 200),
        ("another part", "GET /page.html HTTP/1.0\r\nRange: bytes=1-2\r\n\r\n".to_owned(), 206),
        ("no part", "GET /page.html HTTP/1.0\r\nRange: bytes=700-\r\n\r\n".to_owned(), 416),
        ("compressed", "GET /page.html HTTP/1.0\r\nAccept-Encoding: br;q=0.1, gzip\r\n\r\n".to_owned(), 200),
        ("dots", "GET /./a/..//%70age.html HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("outside", "GET /../page.html HTTP/1.0\r\n\r\n".to_owned(), 400),
        ("query", "GET /directory?a=b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), 301),
        ("bad date", "GET /page.html HTTP/1.0\r\nIf-Modified-Since: never\r\n\r\n".to_owned(), 200),
        ("directory", "GET /directory HTTP/1.0\r\n\r\n".to_owned(), 301),
        ("too large", "GET /large HTTP/1.0\r\n\r\n".to_owned(), 503),
        ("not found", "GET /none HTTP/1.0\r\n\r\n".to_owned(), 404),
        ("post", "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc".to_owned(), 405),
        ("version", "GET / HTTP/3.0\r\n\r\n".to_owned(), 505),
        ("garbage", "\u{1}\u{2}\u{3}".to_owned(), 400),
        ("many fields", format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(101)), 431),
        ("long", format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(9_000)), 414),
    ];
    for (name, request, status) in &requests {
        for (room, persistent) in [(MAX_RESPONSE, false), (MAX_RESPONSE, true), (300, false), (10, false)] {
            response.clear();
            let asked = allocations(|| {
                let framing = http.frame(request.as_bytes());
                let Framing::Message(len) = framing else { panic!("{name}: incomplete") };
                let _ = http.answer(
                    &request.as_bytes()[..len],
                    &Context { now, room, persistent, ..Context::default() },
                    &mut response,
                );
            });
            assert_eq!(asked, 0, "{name} into {room}");
            if room == MAX_RESPONSE {
                let line = String::from_utf8_lossy(&response[..12]).into_owned();
                assert_eq!(line, format!("HTTP/1.1 {status}"), "{name}");
            }
        }
    }

    // The counter counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0_u8; 10]))), 1);
}
