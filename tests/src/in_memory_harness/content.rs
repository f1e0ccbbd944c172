//! Checks of a service's answers: they are read by parsers that share nothing with the code under test.

use stateless_tcp::services::{Context, Framing, MAX_RESPONSE, Service};

use crate::compare::Reply;

const PREFIX: usize = 2;
const HEADER: usize = 12;
/// Bytes from which on a window has room for any complaint about it.
const ROOM_TO_COMPLAIN: usize = 512;

/// Asks a service for the first message of `stream`, and once more into no more room than that takes, and has `judge`
/// look at the answers.
pub fn ask(service: &dyn Service, stream: &[u8], room: usize, judge: fn(&[u8], &[u8], usize, bool)) {
    if stream.is_empty() {
        return;
    }
    let Framing::Message(end) = service.frame(stream) else { return };
    assert!((1..=stream.len()).contains(&end), "a message of {end} octets in a stream of {}", stream.len());
    let message = &stream[..end];
    assert_eq!(
        service.frame(message),
        Framing::Message(end),
        "a whole message is whole without what follows it"
    );
    let answer = |room| {
        let mut response = Vec::with_capacity(MAX_RESPONSE);
        let before = response.capacity();
        let answered = service
            .answer(message, &Context { room, ..Context::default() }, &mut response)
            .expect("an answer");
        assert_eq!(response.capacity(), before, "an answer allocates");
        assert!(answered.volatile <= response.len());
        judge(message, &response, room, false);
        response
    };
    let room = room.min(MAX_RESPONSE);
    let response = answer(room);
    let again = answer(response.len());
    // A complaint about the room names it; and HEAD is answered as GET, whose body counts (RFC 9110 9.3.2).
    let complains = again.starts_with(b"HTTP/1.1 503 ") || is_head(message);
    assert!(again == response || complains, "what fits exactly fits");
}

/// Asserts that `stream` holds the answers to the DNS messages of `request`, in order, and nothing else; `incomplete`
/// says whether the request was found to end inside a message.
pub fn assert_dns(request: &[u8], stream: &[u8], room: usize, incomplete: bool) {
    assert!(stream.len() <= room, "{} octets into room for {room}", stream.len());
    let (queries, cut_off) = messages(request);
    assert!(!incomplete || !cut_off.is_empty(), "only whole messages: {request:02x?}");
    let is_query = |message: &&[u8]| message.len() >= HEADER && message[2] & 0x80 == 0;
    // Only the first message is refused for want of room, and one that is no query is met with silence.
    let first_is_answered = queries.first().is_some_and(is_query);
    let queries: Vec<_> = queries.into_iter().filter(is_query).collect();
    let (responses, rest) = messages(stream);
    assert!(rest.is_empty(), "{} octets behind the last whole response", rest.len());
    assert!(responses.len() <= queries.len(), "{} responses to {} queries", responses.len(), queries.len());
    if room < ROOM_TO_COMPLAIN {
        // An answer that finds no room at all is left out, and which one that was nobody can tell.
        for response in responses {
            assert!(queries.iter().any(|query| query[..2] == response[..2]), "nobody's: {response:02x?}");
            assert!(Reply::parse(response).is_ok() && response[2] & 0x80 != 0, "{response:02x?}");
        }
        return;
    }
    assert!(!responses.is_empty() || !first_is_answered, "no response to the first query");
    for (query, response) in queries.iter().zip(&responses) {
        assert_answers(query, response);
    }
}

/// Asserts that `response` is a well-formed DNS message that answers `query`; both without their length.
pub fn assert_answers(query: &[u8], response: &[u8]) {
    let reply = Reply::parse(response).unwrap_or_else(|error| panic!("{error:#}: {response:02x?}"));
    assert_eq!(response[..2], query[..2], "the query's id");
    assert_eq!(response[2] & 0x80, 0x80, "QR");
    assert_eq!(response[2] & 0x79, query[2] & 0x79, "opcode and RD are the query's");
    assert_eq!(response[2] & 0x02, 0, "nothing is truncated on TCP");
    assert_eq!(response[3] & 0xf0, query[3] & 0x10, "RA, Z and AD clear, CD the query's");
    if response[5] == 1 {
        let question = reply.question.as_slice();
        assert_eq!(Some(question), query.get(HEADER..HEADER + question.len()), "the question, in its case");
    } else {
        // Or the answer to a query for a cookie (RFC 7873 section 5.4).
        let for_cookie = query[4..6] == [0; 2] && reply.opt.is_some();
        assert!(reply.rcode != 0 || for_cookie, "only an error has no question");
    }
    let asked_edns = u16::from_be_bytes([query[10], query[11]]) > 0;
    assert!(asked_edns || reply.opt.is_none(), "OPT in the answer to a query without");
}

/// Asserts that `stream` is one HTTP response with the body that it announces, or nothing where there is no room or the
/// request is `incomplete`.
pub fn assert_http(request: &[u8], stream: &[u8], room: usize, incomplete: bool) {
    assert!(stream.len() <= room, "{} octets into room for {room}", stream.len());
    if stream.is_empty() {
        assert!(incomplete || room < ROOM_TO_COMPLAIN, "silence though there is room for {room}");
        return;
    }
    assert!(!incomplete, "half a request is answered");
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(stream) {
        Ok(httparse::Status::Complete(head)) => head,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(stream)),
    };
    let field = |name: &str| {
        let mut values = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| String::from_utf8_lossy(field.value).into_owned());
        assert!(values.next().is_none(), "{name} twice");
        value
    };
    assert_eq!(field("Connection").as_deref(), Some("close"));
    assert!(
        field("Date").is_some_and(|date| date.len() == 29 && date.ends_with(" GMT")),
        "{:?}",
        field("Date")
    );
    let body = stream.len() - head;
    let announced = field("Content-Length").map(|length| length.parse::<usize>().expect("a length"));
    let bodiless = response.code == Some(304) || is_head(request);
    assert_eq!(body, if bodiless { 0 } else { announced.expect("a length") }, "Content-Length");
}

/// RFC 9112 2.2: empty lines before the request line are passed over.
fn is_head(request: &[u8]) -> bool {
    let begin = request.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(request.len());
    request[begin..].starts_with(b"HEAD ")
}

/// Whole messages behind their lengths (RFC 1035 4.2.2), and what is left behind the last.
fn messages(mut stream: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut messages = Vec::new();
    while let Some(&prefix) = stream.first_chunk::<PREFIX>() {
        let end = PREFIX + usize::from(u16::from_be_bytes(prefix));
        let Some(message) = stream.get(PREFIX..end) else { break };
        messages.push(message);
        stream = &stream[end..];
    }
    (messages, stream)
}
