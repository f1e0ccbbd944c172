//! Header sections on their way through the relay.

use super::super::Persistence;
use super::super::response::{ResponseHead, closes};
use super::super::rewrite::{HOP_BY_HOP, rewrite};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use rstest::rstest;
use std::time::SystemTime;

/// A field of a request, by name and value.
pub(super) fn field() -> impl Strategy<Value = (String, String)> {
    let names = prop_oneof![
        Just("Connection"),
        Just("Keep-Alive"),
        Just("TE"),
        Just("Trailer"),
        Just("Upgrade"),
        Just("Proxy-Authorization"),
        Just("X-One"),
        Just("x-two"),
        Just("Cookie"),
    ];
    let value = prop_oneof![
        "(close|keep-alive|x-one|X-Two|host|cookie|forwarded|x-forwarded-for|,| ){0,5}",
        "[!-~]([ -~]{0,20}[!-~])?"
    ];
    let any = (names.prop_map(str::to_owned), value.prop_map(|value: String| value.trim().to_owned()));
    let address = prop_oneof!["192\\.0\\.2\\.[0-9]", "2001:db8::[0-9a-f]{1,4}", Just("unknown".to_owned())];
    let addresses = prop::collection::vec(address, 1..3).prop_map(|list| list.join(", "));
    let forwarded =
        prop_oneof!["for=192\\.0\\.2\\.[0-9](;proto=http)?", "for=\"[!-!#-\\[\\]-~]{0,9}\", by=_a"];
    prop_oneof![
        8 => any,
        1 => addresses.prop_map(|value| ("X-Forwarded-For".to_owned(), value)),
        1 => forwarded.prop_map(|value| ("Forwarded".to_owned(), value)),
    ]
}

/// The names that the Connection fields among these list.
fn named(fields: &[(String, String)]) -> Vec<String> {
    let connection = fields.iter().filter(|(name, _)| name == "Connection");
    connection.flat_map(|(_, value)| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// Of these fields, the values of one that are to arrive.
fn expected<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let same = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    let added_to = ["forwarded", "x-forwarded-for"].contains(&name);
    if !added_to && named(fields).contains(&name.to_owned()) {
        vec![]
    } else {
        same.map(|(_, value)| value.as_str()).collect()
    }
}

fn values<'a>(fields: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// The fields with which a request arrives that came with these.
fn arriving(fields: &str) -> HeaderMap {
    let message = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let server = "192.0.2.1:80".parse().unwrap();
    let head = message.len();
    rewrite(message.as_bytes(), head, "192.0.2.2".parse().unwrap(), server).unwrap().headers().clone()
}

/// A client cannot change or remove the fields that the relay adds.
#[rstest]
#[case::open_quote("Forwarded: for=\"", "for=192.0.2.2;proto=http", "192.0.2.2")]
#[case::open_quote_in_a_second_line(
    "Forwarded: for=192.0.2.7\r\nForwarded: for=a, for=\"b",
    "for=192.0.2.7, for=192.0.2.2;proto=http",
    "192.0.2.2"
)]
#[case::no_addresses("X-Forwarded-For: \"", "for=192.0.2.2;proto=http", "192.0.2.2")]
#[case::underscores("X_Forwarded_For: 192.0.2.7", "for=192.0.2.2;proto=http", "192.0.2.2")]
#[case::valid(
    "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=\"[::1]\"",
    "for=\"[::1]\", for=192.0.2.2;proto=http",
    "192.0.2.7, 192.0.2.2"
)]
#[case::named_by_connection(
    "Connection: x-forwarded-for, forwarded\r\nX-Forwarded-For: 192.0.2.7\r\nForwarded: for=a",
    "for=a, for=192.0.2.2;proto=http",
    "192.0.2.7, 192.0.2.2"
)]
fn what_is_said_of_the_client_can_be_relied_on(
    #[case] fields: &str,
    #[case] forwarded: &str,
    #[case] addresses: &str,
) {
    let arrived = arriving(fields);
    assert_eq!(values(&arrived, "forwarded"), [forwarded]);
    assert_eq!(values(&arrived, "x-forwarded-for"), [addresses]);
    assert!(arrived.keys().all(|name| !name.as_str().contains('_')), "{arrived:?}");
}

#[test]
fn names_that_servers_read_differently_do_not_arrive() {
    let arrived = arriving("Transfer_Encoding: chunked\r\nContent_Length: 3\r\nX.A: b\r\nX-A: c");
    let names: Vec<&str> = arrived.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["host", "x-a", "x-forwarded-for", "forwarded"]);
}

proptest! {
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
        let reply = ResponseHead::new(response, head_only, SystemTime::UNIX_EPOCH).end(sent.clone());
        for connection in [Persistence::Close, Persistence::Persist, Persistence::KeepAlive] {
            let mut bytes = Vec::new();
            reply.write(connection, &mut bytes);
            prop_assert!(bytes.len() <= reply.len());
            prop_assert_eq!(closes(&bytes), connection == Persistence::Close);
            let mut places = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut places);
            let Ok(httparse::Status::Complete(end)) = head.parse(&bytes) else { panic!("no response") };
            prop_assert_eq!(head.code, Some(status));
            prop_assert_eq!(&bytes[end..], &sent);
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
                Persistence::Close => &["close"],
                Persistence::Persist => &[],
                Persistence::KeepAlive => &["keep-alive"],
            };
            prop_assert_eq!(passed("connection"), told);
            prop_assert_eq!(passed("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
        }
    }
}
