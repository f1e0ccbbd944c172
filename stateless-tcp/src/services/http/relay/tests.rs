//! The relay as a worker sees it, before a server that says what a test says.

mod headers;
mod properties;

use super::response::closes;
use super::*;
use crate::services::{MAX_RESPONSE, Origin};
use nix::poll::{PollFd, PollFlags};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::runtime::Runtime;

/// The bytes that every client takes in one segment.
const WHOLE: usize = 512;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A relay, the runtime that it lives on, and how often its server was asked.
struct HttpBench {
    relay: HttpRelay,
    runtime: Runtime,
    asked: Arc<AtomicUsize>,
}

impl HttpBench {
    /// The server answers each request with so many bytes.
    fn new(body: usize, requests: usize, retransmit_store: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = listener.local_addr().unwrap();
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
        let options = HttpRelayOptions {
            upstream,
            unsafe_methods: false,
            timeout,
            in_flight: requests,
            retransmit_store,
        };
        let relay = HttpRelay::new(&options, 1, runtime.handle().clone()).unwrap();
        Self { relay, runtime, asked }
    }

    fn answer(&self, context: &Context) -> Result<(Vec<u8>, Answered), Unavailable> {
        let mut response = b"before".to_vec();
        let answered = self.relay.answer(GET, context, &mut response);
        assert!(response.starts_with(b"before"));
        let answer = response.split_off(6);
        assert!(answered.is_ok() || answer.is_empty());
        answered.map(|answered| (answer, answered))
    }

    fn pending(&self, context: &Context) -> FetchId {
        match self.answer(context) {
            Err(Unavailable::Pending(fetch_id)) => fetch_id,
            other => panic!("not pending: {other:?}"),
        }
    }

    /// Does the errands until so many tickets were called.
    fn turn(&self, count: usize) -> Vec<FetchId> {
        let mut ready = Vec::new();
        while ready.len() < count {
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
            self.relay.poll(0, SystemTime::UNIX_EPOCH, &mut ready);
        }
        ready
    }
}

fn context(seq: u32) -> Context {
    let origin = Origin { seq, ..Context::default().origin };
    Context { origin, persistent: true, whole: WHOLE, ..Context::default() }
}

fn with(policy: FetchPolicy, context: &Context) -> Context {
    Context { policy, ..*context }
}

#[test]
fn a_request_is_in_flight_once_and_its_answer_stays_the_same() {
    for body in [10, 5_000] {
        let bench = HttpBench::new(body, 8, 1 << 20);
        let fetch_id = bench.pending(&context(1));
        assert_eq!(bench.pending(&context(1)), fetch_id, "sent again");
        assert_eq!(bench.pending(&with(FetchPolicy::AnswerNow, &context(1))), fetch_id);
        let other = bench.pending(&context(2));
        assert_ne!(other, fetch_id);
        let mut ready = bench.turn(2);
        ready.sort_unstable_by_key(|ready| *ready == other);
        assert_eq!(ready, [fetch_id, other]);
        let (answer, answered) = bench.answer(&context(1)).unwrap();
        let volatile = if answer.len() <= WHOLE { answer.len() } else { 0 };
        assert_eq!(answered, Answered { volatile, last: false });
        for policy in
            [FetchPolicy::MayFetch, FetchPolicy::AnswerNow, FetchPolicy::CachedOnly, FetchPolicy::Repeat]
        {
            assert_eq!(
                bench.answer(&with(policy, &context(1))),
                Ok((answer.clone(), answered)),
                "{policy:?}"
            );
        }
        assert_ne!(bench.answer(&context(2)).unwrap().0, answer, "another client's");
        assert_eq!(bench.asked.load(SeqCst), 2);
    }
}

#[test]
fn only_who_waits_for_an_answer_has_it_fetched() {
    let bench = HttpBench::new(1, 8, 1 << 20);
    assert_eq!(bench.answer(&with(FetchPolicy::CachedOnly, &context(1))), Err(Unavailable::NotCached));
    assert_eq!(bench.answer(&with(FetchPolicy::Repeat, &context(1))), Err(Unavailable::NotCached));
    let (busy, answered) = bench.answer(&with(FetchPolicy::AnswerNow, &context(1))).unwrap();
    assert!(busy.starts_with(b"HTTP/1.1 503 "));
    assert_eq!(answered, Answered { volatile: busy.len(), last: true });
    assert_eq!(bench.answer(&context(1)).unwrap().0, busy, "it may be on its way");
    assert_eq!(bench.asked.load(SeqCst), 0);
}

#[test]
fn the_worker_is_woken() {
    let bench = HttpBench::new(1, 8, 1 << 20);
    let woken = || {
        let forwarder = bench.relay.forwarder(0);
        let mut polled = [PollFd::new(forwarder.event(), PollFlags::POLLIN)];
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
    let bench = HttpBench::new(1, 2, 1 << 20);
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
    let bench = HttpBench::new(5_000, 8, 2_000);
    for (seq, whole) in [(1, WHOLE), (2, 0)] {
        let context = Context { whole, ..context(seq) };
        bench.pending(&context);
        bench.turn(1);
        match bench.answer(&context) {
            Ok((answer, answered)) => {
                assert!(answer.starts_with(b"HTTP/1.1 503 ") && whole > 0);
                assert_eq!(answered, Answered { volatile: answer.len(), last: true });
            }
            Err(absent) => assert_eq!((absent, whole), (Unavailable::NotCached, 0)),
        }
    }
}

#[test]
fn an_answer_fits_its_room() {
    let bench = HttpBench::new(5_000, 8, 1 << 20);
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
        Err(Unavailable::NotCached),
        "a part is lacking for ever"
    );
}

#[test]
fn the_connection_goes_on_if_both_want_it() {
    let bench = HttpBench::new(1, 8, 1 << 20);
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
