//! Tables over whole requests and answers. Answers are read by httparse, not by the code under test.

mod conditions;
mod files;
mod parts;
mod paths;
mod persistence;

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rstest::rstest;

use super::Http;
use crate::services::{Answered, Context, Framing, MAX_RESPONSE, Service as _};

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: Duration = Duration::from_secs(784_111_777);

fn at(seconds: i64) -> SystemTime {
    let now = SystemTime::UNIX_EPOCH + NOW;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { now - distance } else { now + distance }
}

/// An answer, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct TestResponse {
    bytes: Vec<u8>,
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    answered: Answered,
}

impl TestResponse {
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} stands twice");
        value
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

fn answer(http: &Http, message: &[u8], room: usize, now: SystemTime) -> Option<TestResponse> {
    let mut bytes = Vec::with_capacity(room.min(MAX_RESPONSE) + 4);
    bytes.extend_from_slice(b"....");
    let answered = http.answer(message, &Context { now, room, ..Context::default() }, &mut bytes).unwrap();
    assert_eq!(bytes[..4], *b"....", "what stood there before");
    bytes.drain(..4);
    assert!(bytes.len() <= room, "{} bytes into {room}", bytes.len());
    assert!(answered.last);
    if bytes.is_empty() {
        return None;
    }
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(len) = head.parse(&bytes).unwrap() else {
        panic!("an incomplete head: {bytes:?}")
    };
    let status = head.code.unwrap();
    assert_eq!(head.version, Some(1));
    assert_eq!(head.headers[0].name, "Date", "the first field");
    let date_end = head.headers[0].value.as_ptr_range().end as usize - bytes.as_ptr() as usize;
    assert_eq!(answered.volatile, date_end, "volatile bytes end with the date");
    let fields = head
        .headers
        .iter()
        .map(|field| (field.name.to_owned(), String::from_utf8(field.value.to_vec()).unwrap()))
        .collect();
    let reply = TestResponse { status, fields, body: bytes[len..].to_vec(), answered, bytes };
    assert_eq!(reply.field("Connection"), Some("close"));
    Some(reply)
}

fn get(http: &Http, message: &str) -> TestResponse {
    answer(http, message.as_bytes(), MAX_RESPONSE, at(0)).unwrap()
}

fn get_path(http: &Http, path: &str) -> TestResponse {
    get(http, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

#[rstest]
#[case::page("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "<title>stateless-tcp</title>")]
#[case::host_with_port("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", 200, "<title>")]
#[case::empty_host("GET / HTTP/1.1\r\nHost:\r\n\r\n", 200, "<title>")]
#[case::field_name_in_capitals("GET / HTTP/1.1\r\nHOST: a\r\n\r\n", 200, "<title>")]
#[case::version_10_without_host("GET / HTTP/1.0\r\n\r\n", 200, "<title>")]
#[case::bare_line_feeds("GET / HTTP/1.1\nHost: a\n\n", 200, "<title>")]
#[case::empty_line_before("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "<title>")]
#[case::query("GET /robots.txt?a=/../%zz HTTP/1.1\r\nHost: a\r\n\r\n", 200, "User-agent")]
#[case::encoded("GET /%72obots%2Etxt HTTP/1.1\r\nHost: a\r\n\r\n", 200, "User-agent")]
#[case::absolute_form("GET http://b/robots.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, "User-agent")]
#[case::absolute_form_capitals("GET HTTP://b/robots.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, "User-agent")]
#[case::absolute_form_no_path("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", 200, "<title>")]
#[case::absolute_form_query("GET http://b?c HTTP/1.1\r\nHost: a\r\n\r\n", 200, "<title>")]
#[case::no_body("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200, "<title>")]
#[case::not_found("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no such page")]
#[case::case_counts("GET /Robots.txt HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no such page")]
#[case::tls(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not an HTTP/1.x request")]
#[case::dns(b"\x00\x21\x12\x34\x01\x00\x00\x01", 400, "not an HTTP/1.x request")]
#[case::bad_field("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "not an HTTP/1.x request")]
#[case::folded_field("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400, "not an HTTP/1.x request")]
#[case::nul_in_field("GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n", 400, "not an HTTP/1.x request")]
#[case::version_09("GET /\r\n", 400, "HTTP/0.9")]
#[case::version_09_with_fields("GET /\r\nHost: a\r\n\r\n", 400, "HTTP/0.9")]
#[case::version_09_by_number("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "Only HTTP/1.0 and HTTP/1.1")]
#[case::version_12("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "Only HTTP/1.0 and HTTP/1.1")]
#[case::version_2("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "Only HTTP/1.0 and HTTP/1.1")]
#[case::another_protocol("GET / GOPHER/1\r\n\r\n", 400, "not an HTTP/1.x request")]
#[case::no_host("GET / HTTP/1.1\r\n\r\n", 400, "exactly one Host")]
#[case::two_hosts("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "exactly one Host")]
#[case::two_hosts_10("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "exactly one Host")]
#[case::bad_host("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "exactly one Host")]
#[case::asterisk("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::authority("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::no_slash("GET robots.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::absolute_form_no_host("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::other_scheme("GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::fragment("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::beyond_ascii("GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::encoding_cut("GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::encoding_cut_more("GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::encoding_wrong("GET /%4g HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a valid path")]
#[case::post("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405, "Only GET and HEAD")]
#[case::options("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405, "Only GET and HEAD")]
#[case::connect("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "Only GET and HEAD")]
#[case::trace("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "Only GET and HEAD")]
#[case::unknown_method("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "not known")]
#[case::small_letters("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "not known")]
#[case::body("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", 413, "with a body")]
#[case::chunked("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 413, "with a body")]
#[case::huge_body("GET / HTTP/1.0\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413, "with a body")]
#[case::negative_length("GET / HTTP/1.0\r\nContent-Length: -1\r\n\r\n", 400, "length of the body")]
#[case::length_list("GET / HTTP/1.0\r\nContent-Length: 0, 0\r\n\r\n", 400, "length of the body")]
#[case::empty_length("GET / HTTP/1.0\r\nContent-Length:\r\n\r\n", 400, "length of the body")]
#[case::two_lengths(
    "GET / HTTP/1.0\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
    400,
    "length of the body"
)]
#[case::length_and_encoding(
    "GET / HTTP/1.0\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    400,
    "length of the body"
)]
fn request_is_answered(#[case] message: impl AsRef<[u8]>, #[case] status: u16, #[case] says: &str) {
    let http = Http::builtin();
    let message = message.as_ref();
    let Framing::Message(len) = http.frame(message) else { panic!("taken for incomplete") };
    let reply = answer(&http, &message[..len], MAX_RESPONSE, at(0)).unwrap();
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.text().contains(says), "{:?} lacks {says:?}", reply.text());
    assert_eq!(reply.field("Content-Length"), Some(reply.body.len().to_string().as_str()));
    assert_eq!(reply.field("Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(reply.field("Allow"), (status == 405).then_some("GET, HEAD"));
}

#[rstest]
#[case::line_in_limit(b"GET /", 7_980, b" HTTP/1.0\r\n\r\n", 404)]
#[case::longest_line(b"GET /", 7_986, b" HTTP/1.0\r\n\r\n", 404)]
#[case::line_too_long(b"GET /", 7_987, b" HTTP/1.0\r\n\r\n", 414)]
#[case::longest_encoded_line(b"GET /%41", 7_983, b" HTTP/1.0\r\n\r\n", 404)]
#[case::endless_line(b"GET /", 8_100, b"", 414)]
#[case::endless_method(b"", 8_100, b"", 414)]
#[case::longest_head(b"GET / HTTP/1.0\r\nA: ", 8_169, b"\r\n\r\n", 200)]
#[case::head_too_long(b"GET / HTTP/1.0\r\nA: ", 8_170, b"\r\n\r\n", 431)]
#[case::endless_head(b"GET / HTTP/1.0\r\nA: ", 8_200, b"", 431)]
fn length_is_limited(#[case] start: &[u8], #[case] filling: usize, #[case] end: &[u8], #[case] status: u16) {
    let http = Http::builtin();
    let message = [start, &vec![b'A'; filling], end].concat();
    assert_eq!(http.frame(&message), Framing::Message(message.len()));
    assert_eq!(answer(&http, &message, MAX_RESPONSE, at(0)).unwrap().status, status);
}

#[rstest]
#[case::most(100, 200)]
#[case::too_many(101, 431)]
fn fields_are_limited(#[case] fields: usize, #[case] status: u16) {
    let message = format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(fields));
    assert_eq!(get(&Http::builtin(), &message).status, status);
}

#[rstest]
#[case::one_letter("G", Framing::Incomplete)]
#[case::no_blank_line("GET / HTTP/1.1\r\nHost: a\r\n", Framing::Incomplete)]
#[case::half_a_blank_line("GET / HTTP/1.1\r\nHost: a\r\n\r", Framing::Incomplete)]
#[case::half_a_version("GET / HTTP/1", Framing::Incomplete)]
#[case::only_an_empty_line("\r\n", Framing::Incomplete)]
#[case::whole("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Message(27))]
#[case::two("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n", Framing::Message(27))]
#[case::faulty_but_plausible("GET / HTTP/1.1\r\n", Framing::Incomplete)]
#[case::never_a_request("\0GET / HTTP/1.1\r\n", Framing::Message(17))]
#[case::never_a_version("GET / HTTQ", Framing::Message(10))]
#[case::never_a_field("GET / HTTP/1.1\r\n: b", Framing::Message(19))]
fn message_ends_at_the_blank_line(#[case] stream: &str, #[case] framing: Framing) {
    assert_eq!(Http::builtin().frame(stream.as_bytes()), framing);
}

#[rstest]
#[case::page("/20k.html", 200)]
#[case::not_found("/none", 404)]
fn head_is_get_without_its_body(#[case] path: &str, #[case] status: u16) {
    let http = Http::builtin();
    let whole = get_path(&http, path);
    let head = get(&http, &format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!((head.status, &head.fields), (status, &whole.fields).to_owned());
    assert_eq!(head.body, b"");
    assert_eq!(head.bytes, whole.bytes[..whole.bytes.len() - whole.body.len()]);
}

#[rstest]
#[case::no_host("HEAD / HTTP/1.1\r\n\r\n", 400)]
#[case::bad_target("HEAD /% HTTP/1.0\r\n\r\n", 400)]
#[case::bad_version("HEAD / HTTP/2\r\n\r\n", 505)]
#[case::body("\r\nHEAD / HTTP/1.0\r\nContent-Length: 1\r\n\r\na", 413)]
fn head_has_no_body_even_if_faulty(#[case] message: &str, #[case] status: u16) {
    let reply = get(&Http::builtin(), message);
    assert_eq!((reply.status, reply.body.len()), (status, 0));
}

#[test]
fn large_page_has_20000_bytes_no_two_lines_alike() {
    let reply = get_path(&Http::builtin(), "/20k.html");
    assert_eq!(reply.body.len(), 20_000);
    let text = reply.text();
    let mut lines: Vec<&str> = text.lines().collect();
    let count = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), count);
    assert!(text.ends_with("\n</pre>\n"));
}

#[rstest]
#[case::exact_fit(0, 200, "<!doctype")]
#[case::one_short(1, 503, "20202 bytes, and your receive window has room for 20201.")]
fn answer_fits_the_window(#[case] less: usize, #[case] status: u16, #[case] says: &str) {
    let http = Http::builtin();
    let message = b"GET /20k.html HTTP/1.0\r\n\r\n";
    let whole = answer(&http, message, MAX_RESPONSE, at(0)).unwrap().bytes.len();
    let reply = answer(&http, message, whole - less, at(0)).unwrap();
    assert_eq!(reply.status, status);
    assert!(reply.text().contains(says), "{}", reply.text());
    assert_eq!(reply.field("Content-Length"), Some(reply.body.len().to_string().as_str()));
    let head = answer(&http, b"HEAD /20k.html HTTP/1.0\r\n\r\n", whole - less, at(0)).unwrap();
    assert_eq!((head.status, head.body.len()), (status, 0));
}

#[test]
fn where_not_even_the_error_fits_nothing_is_sent() {
    let http = Http::builtin();
    let message = b"GET /20k.html HTTP/1.0\r\n\r\n";
    let error = answer(&http, message, 500, at(0)).unwrap().bytes.len();
    assert_eq!(answer(&http, message, error, at(0)).unwrap().status, 503);
    assert_eq!(answer(&http, message, error - 1, at(0)), None);
    assert_eq!(answer(&http, message, 0, at(0)), None);
}

#[rstest]
#[case::page("/", MAX_RESPONSE)]
#[case::not_found("/none", MAX_RESPONSE)]
#[case::too_large("/20k.html", 1_000)]
fn only_volatile_bytes_differ(#[case] path: &str, #[case] room: usize) {
    let http = Http::builtin();
    let message = format!("GET {path} HTTP/1.0\r\n\r\n");
    let one = answer(&http, message.as_bytes(), room, at(0)).unwrap();
    let other = answer(&http, message.as_bytes(), room, at(40_000_000)).unwrap();
    let volatile = one.answered.volatile;
    assert_eq!(one.answered, other.answered);
    assert_ne!(one.bytes[..volatile], other.bytes[..volatile]);
    assert_eq!(one.bytes[volatile..], other.bytes[volatile..]);
}

#[rstest]
#[case::before_the_epoch(SystemTime::UNIX_EPOCH - Duration::from_secs(1), "Thu, 01 Jan 1970 00:00:00 GMT")]
#[case::after_year_9999(at(1 << 50), "Fri, 31 Dec 9999 23:59:59 GMT")]
fn clock_out_of_range(#[case] now: SystemTime, #[case] date: &str) {
    let reply = answer(&Http::builtin(), b"GET / HTTP/1.0\r\n\r\n", MAX_RESPONSE, now).unwrap();
    assert_eq!(reply.field("Date"), Some(date));
}

/// Requests, nearly requests, and anything.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let method =
        prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("BREW"), "[A-Z]{0,9}".prop_map(|_| "X")];
    let path = prop_oneof![
        Just("/".to_owned()),
        Just("/20k.html".to_owned()),
        "/[a-z%./0-9]{0,40}",
        "(http://)?[ -~]{0,30}"
    ];
    let version = prop_oneof![Just(" HTTP/1.1"), Just(" HTTP/1.0"), Just(" HTTP/2"), Just("")];
    let field = prop_oneof![
        Just("Host: a".to_owned()),
        "Content-Length: [0-9]{0,4}",
        Just("If-None-Match: *".to_owned()),
        "Range: bytes=([0-9]{0,3}-[0-9]{0,5}(, )?){0,3}",
        "Accept-Encoding: ([a-z*]{1,4}(;q=[0-9.]{0,3})?,){0,3}",
        "If-(None-)?Match: (W/)?\"?[a-f0-9\", ]{0,40}",
        "If-Unmodified-Since: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "If-Modified-Since: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "[A-Za-z-]{0,20}: ?[ -~]{0,40}"
    ];
    let request = (method, path, version, prop::collection::vec(field, 0..105)).prop_map(
        |(method, path, version, fields)| {
            let fields: String = fields.into_iter().map(|field| field + "\r\n").collect();
            format!("{method} {path}{version}\r\n{fields}\r\n").into_bytes()
        },
    );
    let damaged =
        (request.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        });
    prop_oneof![request, damaged, prop::collection::vec(any::<u8>(), 1..9_000)]
}

proptest! {
    /// Any input is framed within bounds; a prefix of it gets the same answer or waits for more; and every answer
    /// parses, has the length that it states and fits its room.
    #[test]
    fn anything_is_answered_soundly(
        stream in messages(),
        cut in any::<prop::sample::Index>(),
        room in prop_oneof![0..400_usize, 0..70_000_usize],
    ) {
        let http = Http::builtin();
        let cut = cut.index(stream.len()).max(1);
        if let Framing::Message(len) = http.frame(&stream[..cut]) {
            prop_assert!((1..=cut).contains(&len));
        } else if let Framing::Message(len) = http.frame(&stream) {
            prop_assert!(len > cut, "{len} bytes were whole, yet waited for at {cut}");
        }
        let Framing::Message(len) = http.frame(&stream) else {
            prop_assert!(stream.len() <= super::request::MAX_HEAD);
            return Ok(());
        };
        prop_assert!((1..=stream.len()).contains(&len));
        if let Some(reply) = answer(&http, &stream[..len], room, at(0)) {
            let says: Option<usize> = reply.field("Content-Length").map(|len| len.parse().unwrap());
            if String::from_utf8_lossy(&stream).trim_start_matches(['\r', '\n']).starts_with("HEAD ") {
                prop_assert!(reply.body.is_empty());
            } else if reply.status == 304 {
                prop_assert_eq!((says, reply.body.len()), (None, 0));
            } else {
                prop_assert_eq!(says, Some(reply.body.len()));
            }
        }
    }
}
