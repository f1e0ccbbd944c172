//! Parts of files, and files that are compressed already.

use std::fs;

use rstest::rstest;

use super::super::{FileOptions, Http};
use super::files::{serve, serve_as, tree};
use super::{TestResponse, at, get};

const TIME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn get_with(http: &Http, path: &str, fields: &str) -> TestResponse {
    get(http, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
}

/// Of `p {}`.
#[rstest]
#[case::first("bytes=0-1", 206, "p ", Some("bytes 0-1/4"))]
#[case::rest("bytes=1-", 206, " {}", Some("bytes 1-3/4"))]
#[case::suffix("bytes=-1", 206, "}", Some("bytes 3-3/4"))]
#[case::all("bytes=0-", 206, "p {}", Some("bytes 0-3/4"))]
#[case::several("bytes=0-0,2-2", 200, "p {}", None)]
#[case::unit("lines=1-2", 200, "p {}", None)]
#[case::behind("bytes=4-", 416, "The page has nothing of this range.\n", Some("bytes */4"))]
#[case::two_lines("bytes=0-1\r\nRange: bytes=2-3", 200, "p {}", None)]
#[case::same_tag(
    "bytes=0-1\r\nIf-Range: \"dba69ee8cea5f641bd3f858d028a5d1a\"",
    206,
    "p ",
    Some("bytes 0-1/4")
)]
#[case::other_tag("bytes=0-1\r\nIf-Range: \"dba69ee8\"", 200, "p {}", None)]
#[case::weak_tag("bytes=0-1\r\nIf-Range: W/\"dba69ee8cea5f641bd3f858d028a5d1a\"", 200, "p {}", None)]
#[case::same_time("bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT", 206, "p ", Some("bytes 0-1/4"))]
#[case::later("bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT", 200, "p {}", None)]
#[case::no_version("bytes=0-1\r\nIf-Range: a", 200, "p {}", None)]
#[case::not_modified("bytes=0-1\r\nIf-None-Match: *", 304, "", None)]
#[case::failed(
    "bytes=4-\r\nIf-Match: \"a\"",
    412,
    "The page here is another version than the request wants.\n",
    None
)]
fn part_is_sent(#[case] range: &str, #[case] status: u16, #[case] body: &str, #[case] place: Option<&str>) {
    let http = serve(&tree());
    let reply = get_with(&http, "/a.css", &format!("Range: {range}"));
    assert_eq!((reply.status, reply.text().as_str(), reply.field("Content-Range")), (status, body, place));
    let length = body.len().to_string();
    assert_eq!(reply.field("Content-Length"), (status != 304).then_some(&*length));
    assert_eq!(reply.field("Accept-Ranges"), (status == 200).then_some("bytes"));
    if status == 206 {
        assert_eq!(reply.field("Content-Type"), Some("text/css; charset=utf-8"));
        assert_eq!(reply.field("Last-Modified"), Some(TIME));
        assert_eq!(reply.field("ETag"), Some("\"dba69ee8cea5f641bd3f858d028a5d1a\""));
    }
    // Another time: only the date differs.
    let message = format!("GET /a.css HTTP/1.1\r\nHost: a\r\nRange: {range}\r\n\r\n");
    let later = super::answer(&http, message.as_bytes(), 1_000, at(77)).unwrap();
    assert_eq!(later.bytes[later.answered.volatile..], reply.bytes[reply.answered.volatile..]);
}

#[test]
fn ranges_are_for_get_alone() {
    let message = "HEAD /a.css HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n";
    let reply = get(&serve(&tree()), message);
    assert_eq!((reply.status, reply.field("Content-Length")), (200, Some("4")));
}

/// `lines.txt`, in all codings, the smallest of which is gzip.
fn coded() -> tempfile::TempDir {
    let tree = tree();
    let root = tree.path().join("root");
    for (name, body) in
        [("lines.txt", "a line"), ("lines.txt.gz", "g"), ("lines.txt.br", "br"), ("lines.txt.zst", "zst")]
    {
        fs::write(root.join(name), body).unwrap();
    }
    tree
}

#[rstest]
#[case::not_asked_for("Accept: */*", "a line", None)]
#[case::gzip("Accept-Encoding: gzip", "g", Some("gzip"))]
#[case::brotli("Accept-Encoding: br", "br", Some("br"))]
#[case::zstandard("Accept-Encoding: zstd", "zst", Some("zstd"))]
#[case::smallest("Accept-Encoding: br, zstd, gzip", "g", Some("gzip"))]
#[case::weight("Accept-Encoding: br, gzip;q=0.9", "br", Some("br"))]
#[case::refused("Accept-Encoding: gzip;q=0", "a line", None)]
#[case::two_lines("Accept-Encoding: deflate\r\nAccept-Encoding: br", "br", Some("br"))]
#[case::part("Accept-Encoding: zstd\r\nRange: bytes=1-", "st", Some("zstd"))]
fn coding_is_the_client_s_choice(#[case] fields: &str, #[case] body: &str, #[case] coding: Option<&str>) {
    let reply = get_with(&serve(&coded()), "/lines.txt", fields);
    assert_eq!((reply.text().as_str(), reply.field("Content-Encoding")), (body, coding));
    assert_eq!(reply.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
}

#[test]
fn each_coding_is_a_version_of_its_own() {
    let http = serve(&coded());
    let codings = ["identity", "gzip", "br", "zstd"];
    let tags = codings.map(|coding| {
        let reply = get_with(&http, "/lines.txt", &format!("Accept-Encoding: {coding}"));
        reply.field("ETag").unwrap().to_owned()
    });
    for (one, tag) in tags.iter().enumerate() {
        for (other, coding) in codings.iter().enumerate() {
            let fields = format!("Accept-Encoding: {coding}\r\nIf-None-Match: {tag}");
            let reply = get_with(&http, "/lines.txt", &fields);
            assert_eq!(reply.status, if one == other { 304 } else { 200 }, "{fields}");
            assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
        }
    }
    // By itself, the compressed file is one like any other.
    let reply = get_with(&http, "/lines.txt.gz", "Accept-Encoding: gzip");
    assert_eq!((reply.text().as_str(), reply.field("Content-Encoding")), ("g", None));
    assert_eq!(reply.field("Vary"), None);
    assert!(!tags.iter().any(|tag| reply.field("ETag") == Some(tag)));
}

#[test]
fn file_too_large_may_be_sent_compressed() {
    let tree = coded();
    let root = tree.path().join("root");
    fs::write(root.join("lines.txt"), vec![b'a'; 100_000]).unwrap();
    fs::write(root.join("lines.txt.br"), vec![b'b'; 100_000]).unwrap();
    let http = serve(&tree);
    let status = |fields| get_with(&http, "/lines.txt", fields).status;
    assert_eq!(status("Accept-Encoding: gzip"), 200);
    assert_eq!(status("Accept-Encoding: br"), 503, "too large as well");
    assert_eq!(status("Accept: */*"), 503);
}

#[rstest]
#[case::found("/a.css", "", 200)]
#[case::part("/a.css", "Range: bytes=0-1", 206)]
#[case::not_modified("/a.css", "If-None-Match: *", 304)]
#[case::start("/", "", 200)]
#[case::moved("/with%20index?a", "", 301)]
#[case::not_found("/none", "", 404)]
#[case::failed("/a.css", "If-Match: \"a\"", 412)]
#[case::nothing("/a.css", "Range: bytes=9-", 416)]
fn cache_control_is_said_of_files(#[case] path: &str, #[case] fields: &str, #[case] status: u16) {
    let options =
        FileOptions { cache_control: Some("max-age=60, public".to_owned()), ..FileOptions::default() };
    let fields = if fields.is_empty() { "A: b" } else { fields };
    let reply = get_with(&serve_as(&tree(), &options), path, fields);
    assert_eq!(reply.status, status);
    let expected = (status < 400).then_some("max-age=60, public");
    assert_eq!(reply.field("Cache-Control"), expected);
    assert_eq!(get_with(&serve(&tree()), path, fields).field("Cache-Control"), None);
}
