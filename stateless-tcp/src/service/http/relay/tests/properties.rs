//! Whatever a client or a back end sends: what becomes of it, and what arrives at the other end.

use super::super::forward::{HOP_BY_HOP, rewrite};
use super::super::reply::Begun;
use super::*;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

fn field() -> impl Strategy<Value = (String, String)> {
    let names = prop_oneof![
        Just("Connection"),
        Just("Keep-Alive"),
        Just("TE"),
        Just("Trailer"),
        Just("Upgrade"),
        Just("Proxy-Authorization"),
        Just("X-Forwarded-For"),
        Just("Forwarded"),
        Just("X-One"),
        Just("x-two"),
        Just("Cookie"),
    ];
    let value =
        prop_oneof!["(close|keep-alive|x-one|X-Two|host|cookie|,| ){0,5}", "[!-~]([ -~]{0,20}[!-~])?"];
    (names.prop_map(str::to_owned), value.prop_map(|value: String| value.trim().to_owned()))
}

/// What makes a request that could be relayed one that is refused: a part of it, what stands there instead, and the status.
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

/// What becomes of the message at the front: it is relayed, or refused by a whole response with this status that ends the
/// connection. Nothing, if it is not all there.
fn fate(stream: &[u8]) -> Option<Result<(), u16>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (back_end, timeout) = ("192.0.2.1:80".parse().unwrap(), Duration::from_secs(20));
    let options = RelayOptions { back_end, unsafe_methods: true, timeout, in_flight: 1, store: 1 << 20 };
    let relay = Relay::new(&options, 1, runtime.handle().clone()).unwrap();
    let Framing::Message(length) = relay.frame(stream) else { return None };
    let (message, mut response) = (&stream[..length], Vec::new());
    match relay.answer(message, &context(1), &mut response) {
        Err(Absent::Pending(_)) => {
            let ask = ask::read(message, true).unwrap();
            assert_eq!(ask.len, length);
            let request = rewrite(message, ask.head, "192.0.2.2".parse().unwrap(), back_end).unwrap();
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

/// The names that the Connection fields among these list.
fn named(fields: &[(String, String)]) -> Vec<String> {
    let connection = fields.iter().filter(|(name, _)| name == "Connection");
    connection.flat_map(|(_, value)| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// Of these fields, the values of one that are to arrive.
fn expected<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let same = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    if named(fields).contains(&name.to_owned()) {
        vec![]
    } else {
        same.map(|(_, value)| value.as_str()).collect()
    }
}

fn values<'a>(fields: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
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
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let right = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n");
        let (head, expected) = match flaw {
            None => (right, Ok(())),
            Some((part, wrong, status)) => (right.replacen(part, wrong, 1), Err(status)),
        };
        let mut message = [head.as_bytes(), &body].concat();
        prop_assert_eq!(fate(&message), Some(expected), "{}", head);
        // Of what is almost a request only one thing is certain: it is one or the other, or goes on.
        for (at, octet) in noise {
            *at.get_mut(&mut message) = octet;
        }
        fate(&message);
    }

    #[test]
    fn requests_arrive_without_what_is_about_the_connection(
        fields in prop::collection::vec(field(), 0..12),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut message = b"POST /path?query HTTP/1.1\r\nHost: a.example\r\n".to_vec();
        for (name, value) in &fields {
            message.extend(format!("{name}: {value}\r\n").bytes());
        }
        message.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
        let head = message.len();
        message.extend(&body);
        let server = "192.0.2.1:80".parse().unwrap();
        let request = rewrite(&message, head, "2001:db8::2".parse().unwrap(), server).unwrap();
        let rewritten = request.headers();
        for name in HOP_BY_HOP.iter().filter(|name| rewritten.contains_key(*name)) {
            prop_assert!(false, "{name} has passed");
        }
        prop_assert_eq!(values(rewritten, "host"), ["a.example"]);
        for name in ["x-one", "x-two", "cookie"] {
            prop_assert_eq!(values(rewritten, name), expected(&fields, name));
        }
        for (name, element) in
            [("x-forwarded-for", "2001:db8::2"), ("forwarded", "for=\"[2001:db8::2]\";proto=http")]
        {
            let list: Vec<&str> = expected(&fields, name).into_iter().chain([element]).collect();
            prop_assert_eq!(values(rewritten, name), [list.join(", ")]);
        }
        prop_assert_eq!(request.uri(), "/path?query");
        let sent = http_body_util::BodyExt::collect(request.into_body());
        let sent = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sent).unwrap();
        prop_assert_eq!(sent.to_bytes(), body);
    }

    #[test]
    fn responses_arrive_without_what_is_about_the_connection(
        status in prop_oneof![200_u16..600, Just(204), Just(304)],
        head_only in any::<bool>(),
        fields in prop::collection::vec(field(), 0..12),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut response = hyper::Response::new(()).into_parts().0;
        response.status = hyper::StatusCode::from_u16(status).unwrap();
        for (name, value) in &fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        response.headers.insert("content-length", HeaderValue::from(body.len()));
        let bodiless = head_only || status == 204 || status == 304;
        let sent = if bodiless { Vec::new() } else { body.clone() };
        let reply = Begun::new(response, head_only, SystemTime::UNIX_EPOCH).end(sent.clone());
        for connection in [Connection::Close, Connection::Persist, Connection::KeepAlive] {
            let mut octets = Vec::new();
            reply.write(connection, &mut octets);
            prop_assert!(octets.len() <= reply.len());
            prop_assert_eq!(closes(&octets), connection == Connection::Close);
            let mut places = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut places);
            let Ok(httparse::Status::Complete(end)) = head.parse(&octets) else { panic!("no response") };
            prop_assert_eq!(head.code, Some(status));
            prop_assert_eq!(&octets[end..], &sent);
            let passed = |name: &str| -> Vec<&str> {
                let same = head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
                same.map(|field| str::from_utf8(field.value).unwrap()).collect()
            };
            for name in HOP_BY_HOP.iter().filter(|name| *name != "connection") {
                prop_assert_eq!(passed(name.as_str()), [""; 0]);
            }
            for name in ["x-one", "x-two", "cookie", "forwarded", "x-forwarded-for"] {
                prop_assert_eq!(passed(name), expected(&fields, name));
            }
            let length = body.len().to_string();
            let told = !bodiless || (head_only && !named(&fields).contains(&"content-length".to_owned()));
            prop_assert_eq!(passed("content-length"), if told { vec![length.as_str()] } else { vec![] });
            let told: &[&str] = match connection {
                Connection::Close => &["close"],
                Connection::Persist => &[],
                Connection::KeepAlive => &["keep-alive"],
            };
            prop_assert_eq!(passed("connection"), told);
            prop_assert_eq!(passed("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
        }
    }
}
