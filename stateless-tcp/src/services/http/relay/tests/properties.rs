//! Every message of a client is relayed or refused.

use super::super::rewrite::rewrite;
use super::headers::field;
use super::*;
use proptest::prelude::*;

/// Changes that make a valid request a refused one: a part of it, its replacement, and the status.
const FLAWS: [(&str, &str, u16); 11] = [
    ("", "X", 501),
    (" ", " #", 400),
    ("HTTP/1.1", "HTTP/2.0", 505),
    (" HTTP/1.1", "", 400),
    ("Host: a\r\n", "", 400),
    ("Host: a", "Host: a\r\nHost: b", 400),
    ("Host: a", "Host : a", 400),
    ("Host: a", "Host: a\r\nExpect: 100-continue", 417),
    ("Content-Length: ", "Content-Length: x", 400),
    ("Content-Length: ", "Content-Length: 1\r\nContent-Length: 1", 400),
    ("Content-Length: ", "Content-Length: 99999", 413),
];

/// The outcome of the message at the front: it is relayed, or refused by a whole response with this status that closes
/// the connection. Nothing, if it is not all there.
fn fate(stream: &[u8]) -> Option<Result<(), u16>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (upstream, timeout) = ("192.0.2.1:80".parse().unwrap(), Duration::from_secs(20));
    let options =
        HttpRelayOptions { upstream, unsafe_methods: true, timeout, in_flight: 1, retransmit_store: 1 << 20 };
    let relay = HttpRelay::new(&options, 1, runtime.handle().clone()).unwrap();
    let Framing::Message(length) = relay.frame(stream) else { return None };
    let (message, mut response) = (&stream[..length], Vec::new());
    match relay.answer(message, &context(1), &mut response) {
        Err(Unavailable::Pending(_)) => {
            let relayed_request = relayed_request::read(message, true).unwrap();
            assert_eq!(relayed_request.len, length);
            let request =
                rewrite(message, relayed_request.head, "192.0.2.2".parse().unwrap(), upstream).unwrap();
            assert!(request.uri().authority().is_none());
            assert_eq!(request.headers().get_all("host").iter().count(), 1);
            Some(Ok(()))
        }
        Ok(answered) => {
            let mut places = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut places);
            let Ok(httparse::Status::Complete(end)) = head.parse(&response) else { panic!("no response") };
            let length = head.headers.iter().find(|field| field.name == "Content-Length").unwrap();
            let body = if request::is_head(message) { 0 } else { response.len() - end };
            assert!(body == 0 || length.value == body.to_string().as_bytes());
            assert!(answered.last && closes(&response));
            Some(Err(head.code.unwrap()))
        }
        other => panic!("neither relayed nor refused: {other:?}"),
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_relayed_or_refused(
        method in prop::sample::select(vec!["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"]),
        target in prop_oneof!["/[a-z0-9?&=%]{0,20}", "http://b\\.example/[a-z]{0,9}"],
        fields in prop::collection::vec(field(), 0..6),
        body in prop::collection::vec(any::<u8>(), 0..64),
        flaw in prop::option::of(prop::sample::select(FLAWS.to_vec())),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let fields = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let length = body.len();
        let right = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n");
        let (head, expected) = match flaw {
            None => (right, Ok(())),
            Some((part, wrong, status)) => (right.replacen(part, wrong, 1), Err(status)),
        };
        let mut message = [head.as_bytes(), &body].concat();
        prop_assert_eq!(fate(&message), Some(expected), "{}", head);
        // Of what is almost a request only one thing is certain: it is one or the other, or goes on.
        for (at, byte) in noise {
            *at.get_mut(&mut message) = byte;
        }
        fate(&message);
    }
}
