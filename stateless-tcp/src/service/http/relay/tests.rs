//! The relay as a worker sees it, before a server that says what a test says; and header sections through it.

use super::forward::{HOP_BY_HOP, rewrite};
use super::reply::{Begun, closes};
use super::*;
use crate::service::{MAX_RESPONSE, Origin};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use nix::poll::{PollFd, PollFlags};
use proptest::prelude::*;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::runtime::Runtime;

/// What every client takes in one segment.
const WHOLE: usize = 512;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A relay, the runtime that it lives on, and how often its server was asked.
struct Bench {
    relay: Relay,
    runtime: Runtime,
    asked: Arc<AtomicUsize>,
}

impl Bench {
    /// The server answers each request with so many octets.
    fn new(body: usize, requests: usize, store: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let back_end = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0; 4096];
                // Another answer each time: one must not be taken for the other.
                let number = counted.fetch_add(1, SeqCst);
                let _ = stream.read(&mut request);
                let body = format!("{number}").repeat(body);
                let head =
                    format!("HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let timeout = Duration::from_secs(20);
        let options = RelayOptions { back_end, unsafe_methods: false, timeout, in_flight: requests, store };
        let relay = Relay::new(&options, 1, runtime.handle().clone()).unwrap();
        Self { relay, runtime, asked }
    }

    fn answer(&self, context: &Context) -> Result<(Vec<u8>, Answered), Absent> {
        let mut response = b"before".to_vec();
        let answered = self.relay.answer(GET, context, &mut response);
        assert!(response.starts_with(b"before"));
        let answer = response.split_off(6);
        assert!(answered.is_ok() || answer.is_empty());
        answered.map(|answered| (answer, answered))
    }

    fn pending(&self, context: &Context) -> Ticket {
        match self.answer(context) {
            Err(Absent::Pending(ticket)) => ticket,
            other => panic!("not pending: {other:?}"),
        }
    }

    /// Does the errands until so many tickets were called.
    fn turn(&self, count: usize) -> Vec<Ticket> {
        let mut ready = Vec::new();
        while ready.len() < count {
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
            self.relay.turn(0, SystemTime::UNIX_EPOCH, &mut ready);
        }
        ready
    }
}

fn context(seq: u32) -> Context {
    let origin = Origin { seq, ..Context::default().origin };
    Context { origin, persistent: true, whole: WHOLE, ..Context::default() }
}

fn with(purpose: Purpose, context: &Context) -> Context {
    Context { purpose, ..*context }
}

#[test]
fn a_request_is_in_flight_once_and_its_answer_stays_the_same() {
    for body in [10, 5_000] {
        let bench = Bench::new(body, 8, 1 << 20);
        let ticket = bench.pending(&context(1));
        assert_eq!(bench.pending(&context(1)), ticket, "sent again");
        assert_eq!(bench.pending(&with(Purpose::AtOnce, &context(1))), ticket);
        let other = bench.pending(&context(2));
        assert_ne!(other, ticket);
        let mut ready = bench.turn(2);
        ready.sort_unstable_by_key(|ready| *ready == other);
        assert_eq!(ready, [ticket, other]);
        let (answer, answered) = bench.answer(&context(1)).unwrap();
        let volatile = if answer.len() <= WHOLE { answer.len() } else { 0 };
        assert_eq!(answered, Answered { volatile, last: false });
        for purpose in [Purpose::Answer, Purpose::AtOnce, Purpose::AtHand, Purpose::Again] {
            assert_eq!(
                bench.answer(&with(purpose, &context(1))),
                Ok((answer.clone(), answered)),
                "{purpose:?}"
            );
        }
        assert_ne!(bench.answer(&context(2)).unwrap().0, answer, "another client's");
        assert_eq!(bench.asked.load(SeqCst), 2);
    }
}

#[test]
fn only_who_waits_for_an_answer_has_it_fetched() {
    let bench = Bench::new(1, 8, 1 << 20);
    assert_eq!(bench.answer(&with(Purpose::AtHand, &context(1))), Err(Absent::Gone));
    assert_eq!(bench.answer(&with(Purpose::Again, &context(1))), Err(Absent::Gone));
    let (busy, answered) = bench.answer(&with(Purpose::AtOnce, &context(1))).unwrap();
    assert!(busy.starts_with(b"HTTP/1.1 503 "));
    assert_eq!(answered, Answered { volatile: busy.len(), last: true });
    assert_eq!(bench.answer(&context(1)).unwrap().0, busy, "it may be on its way");
    assert_eq!(bench.asked.load(SeqCst), 0);
}

#[test]
fn the_worker_is_woken() {
    let bench = Bench::new(1, 8, 1 << 20);
    let woken = || {
        let desk = bench.relay.desk(0);
        let mut polled = [PollFd::new(desk.event(), PollFlags::POLLIN)];
        nix::poll::poll(&mut polled, 0u8).unwrap() > 0
    };
    for seq in 0..2 {
        bench.pending(&context(seq));
        assert!(!woken());
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !woken() {
            assert!(std::time::Instant::now() < deadline, "nobody wakes the worker");
            bench.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        bench.turn(1);
    }
}

#[test]
fn a_full_table_refuses_and_lets_go_of_what_nobody_takes() {
    let bench = Bench::new(1, 2, 1 << 20);
    bench.pending(&context(1));
    bench.pending(&context(2));
    assert!(bench.answer(&context(3)).unwrap().0.starts_with(b"HTTP/1.1 503 "));
    bench.turn(2);
    let later =
        |seconds| Context { now: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), ..context(4) };
    assert!(bench.answer(&later(0)).unwrap().0.starts_with(b"HTTP/1.1 503 "), "somebody may take them");
    bench.pending(&Context { origin: context(5).origin, ..later(1) });
    bench.pending(&context(2));
}

#[test]
fn what_cannot_be_kept_is_not_given_in_parts() {
    let bench = Bench::new(5_000, 8, 2_000);
    for (seq, whole) in [(1, WHOLE), (2, 0)] {
        let context = Context { whole, ..context(seq) };
        bench.pending(&context);
        bench.turn(1);
        match bench.answer(&context) {
            Ok((answer, answered)) => {
                assert!(answer.starts_with(b"HTTP/1.1 503 ") && whole > 0);
                assert_eq!(answered, Answered { volatile: answer.len(), last: true });
            }
            Err(absent) => assert_eq!((absent, whole), (Absent::Gone, 0)),
        }
    }
}

#[test]
fn an_answer_fits_its_room() {
    let bench = Bench::new(5_000, 8, 1 << 20);
    for (seq, room, says) in [(1, 5_000, "room for 5000."), (2, 100, ""), (3, MAX_RESPONSE, "2222")] {
        let context = Context { room, ..context(seq) };
        bench.pending(&context);
        bench.turn(1);
        let (answer, answered) = bench.answer(&context).unwrap();
        assert!(answer.len() <= room);
        assert!(String::from_utf8(answer).unwrap().contains(says), "{says}");
        assert_eq!(answered.last, room < MAX_RESPONSE);
    }
    assert_eq!(
        bench.answer(&Context { room: 5_000, ..context(3) }),
        Err(Absent::Gone),
        "a part is lacking for ever"
    );
}

#[test]
fn the_connection_goes_on_if_both_want_it() {
    let bench = Bench::new(1, 8, 1 << 20);
    for (seq, persistent) in [(1, true), (2, false)] {
        let context = Context { persistent, ..context(seq) };
        bench.pending(&context);
        bench.turn(1);
        let (answer, answered) = bench.answer(&context).unwrap();
        assert_eq!((answered.last, closes(&answer)), (!persistent, !persistent));
    }
}

#[test]
fn closing_is_read_from_the_head() {
    assert!(closes(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody"));
    assert!(!closes(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nConnection: close\r\n\r\n"));
    assert!(!closes(b""));
}

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
        method in prop_oneof!["GET", "OPTIONS", "POST", "[!-~]{1,8}"],
        target in prop_oneof!["/[!-~]{0,20}", "http://[!-~]{0,20}", "[!-~]{1,20}", Just("*".to_owned())],
        field in prop_oneof!["[!-~]{1,9}: ?[ -~\\PC]{0,20}", "Content-Length: [0-9]{1,2}"],
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let message = [format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n").as_bytes(), &body].concat();
        if let Ok(ask) = ask::read(&message, true) {
            prop_assert!(ask.head <= ask.len && ask.len <= message.len());
            let server = "192.0.2.1:80".parse().unwrap();
            let rewritten = rewrite(&message[..ask.len], ask.head, "192.0.2.2".parse().unwrap(), server);
            if let Ok(request) = rewritten {
                prop_assert!(request.uri().authority().is_none() && request.headers().contains_key("host"));
            }
        }
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
        for persists in [false, true] {
            let mut octets = Vec::new();
            reply.write(persists, &mut octets);
            prop_assert!(octets.len() <= reply.len());
            prop_assert_eq!(closes(&octets), !persists);
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
            prop_assert_eq!(passed("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
        }
    }
}
