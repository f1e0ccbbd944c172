//! Which answers leave the connection open, and that nothing else about them differs.

use rstest::rstest;

use super::super::{FileOptions, Http, HttpError, Persistence, ResponseForm};
use super::{at, get};
use crate::services::{Answered, Context, Framing, MAX_VOLATILE, Service as _};

/// The answer on a connection that can stay open.
fn ask(http: &Http, message: &[u8]) -> (Vec<u8>, Answered) {
    let mut bytes = Vec::new();
    let context = Context { now: at(0), persistent: true, ..Context::default() };
    let answered = http.answer(message, &context, &mut bytes).unwrap();
    (bytes, answered)
}

#[rstest]
#[case::get("GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::head("HEAD /20k.html HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::keep_alive("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")]
#[case::another_option("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed, not-close\r\n\r\n")]
#[case::close_elsewhere("GET /close HTTP/1.1\r\nHost: close\r\nA: close\r\n\r\n")]
#[case::not_found("GET /none HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::bad_target("GET /% HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::no_path("GET * HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::options("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::post("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")]
fn connection_stays_open(#[case] message: &str) {
    let http = Http::builtin();
    let stream = [message, "GET / HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(http.frame(stream.as_bytes()), Framing::Message(message.len()), "where it ends");
    let (bytes, answered) = ask(&http, message.as_bytes());
    assert!(!answered.last);
    let closing = get(&http, message);
    assert_eq!(answered.volatile, closing.answered.volatile);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(text(bytes), text(closing.bytes).replacen("Connection: close\r\n", "", 1));
}

/// An HTTP/1.0 client that asked for it gets `Connection: keep-alive`.
#[rstest]
#[case::get("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")]
#[case::capitals("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")]
#[case::in_a_list("HEAD /20k.html HTTP/1.0\r\nConnection: te, keep-alive\r\n\r\n")]
#[case::not_found("GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")]
#[case::part("GET / HTTP/1.0\r\nConnection: keep-alive\r\nRange: bytes=1-2\r\n\r\n")]
fn connection_of_http_1_0_is_kept_alive(#[case] message: &str) {
    let http = Http::builtin();
    let (bytes, answered) = ask(&http, message.as_bytes());
    assert!(!answered.last);
    let closing = get(&http, message);
    assert_eq!(answered.volatile, closing.answered.volatile);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let expected = text(closing.bytes).replacen("Connection: close\r\n", "Connection: keep-alive\r\n", 1);
    assert_eq!(text(bytes), expected);
}

#[rstest]
#[case::close("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")]
#[case::capitals("GET / HTTP/1.1\r\nHost: a\r\nCONNECTION: CLOSE\r\n\r\n")]
#[case::in_a_list("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive ,\t close , te\r\n\r\n")]
#[case::second_field("GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nConnection: close\r\n\r\n")]
#[case::close_goes_first("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n")]
#[case::version_10("GET / HTTP/1.0\r\n\r\n")]
#[case::version_10_other_option("GET / HTTP/1.0\r\nConnection: te\r\n\r\n")]
#[case::version_10_close("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n")]
#[case::version_2("GET / HTTP/2\r\nHost: a\r\n\r\n")]
#[case::no_host("GET / HTTP/1.1\r\n\r\n")]
#[case::unknown_method("BREW / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::body("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")]
#[case::post_with_body("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")]
#[case::post_of_unknown_length("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n")]
#[case::chunked("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")]
#[case::malformed("\0\r\n\r\n")]
fn connection_ends(#[case] message: &str) {
    let http = Http::builtin();
    let (bytes, answered) = ask(&http, message.as_bytes());
    let closing = get(&http, message);
    assert_eq!((bytes, answered), (closing.bytes, closing.answered));
}

/// Not modified, moved, and too large need files.
#[test]
fn files_keep_the_connection_where_they_are_answered() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("directory")).unwrap();
    std::fs::write(root.path().join("directory/index.html"), "<p>").unwrap();
    std::fs::write(root.path().join("large"), vec![0; 70_000]).unwrap();
    let http = Http::load(root.path(), &FileOptions::default()).unwrap();
    let condition = "If-None-Match: *";
    for (path, status, last) in
        [("/directory/", "304", false), ("/directory", "301", false), ("/large", "503", true)]
    {
        let message = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{condition}\r\n\r\n");
        let (bytes, answered) = ask(&http, message.as_bytes());
        assert_eq!((&bytes[9..12], answered.last), (status.as_bytes(), last), "{path}");
        let head = String::from_utf8_lossy(&bytes);
        assert_eq!(head.contains("Connection: close\r\n"), last, "{head}");
    }
}

/// The bytes that may change lie in the first segment (`MAX_VOLATILE`) of every response.
#[test]
fn the_date_of_every_fault_stands_at_its_front() {
    let http = Http::builtin();
    for error in HttpError::ALL {
        let mut bytes = Vec::new();
        let form = ResponseForm { head_only: true, persistence: Persistence::Close };
        assert!(http.error_pages.get(error).write(form, at(0), &mut bytes) <= MAX_VOLATILE, "{error:?}");
    }
}
