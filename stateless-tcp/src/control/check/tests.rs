//! The simulated client against a real responder, with and without faults between them.

use super::client::CheckClient;
use super::run::port_for;
use super::*;
use crate::af_xdp::inject_queue::Inlet;
use crate::af_xdp::socket::FrameCounts;
use crate::af_xdp::test_run::XdpVerdict;
use crate::dataplane::responder::{Frames, Responder};
use crate::dataplane::worker::{Shared, Stop, WorkerStatus};
use crate::observe::counters::Counters;
use crate::observe::histogram::Histogram;
use crate::observe::snapshot::Occupancy;
use crate::services::Service;
use crate::services::dns::{Dns, DnsOptions};
use crate::services::http::Http;
use crate::serving::{ActiveState, AnswerPolicy, Content, ServingState};
use domain::base::Rtype;
use rstest::rstest;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::CONNECTION_LIFETIME;
use stateless_tcp_core::tcp::isn::{Key, Keys};
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::UNIX_EPOCH;

/// Frames in plain memory; keeps those that are sent.
#[derive(Default)]
struct FrameBuffer(Vec<Vec<u8>>);

impl Frames for FrameBuffer {
    type Frame = Vec<u8>;

    fn octets<'a>(&'a mut self, frame: &'a mut Vec<u8>) -> &'a mut [u8] {
        frame
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        Some(vec![0xa5; 2_048])
    }

    fn send(&mut self, mut frame: Vec<u8>, length: usize) {
        frame.truncate(length);
        self.0.push(frame);
    }

    fn release(&mut self, _: Vec<u8>) {}
}

fn state(server: Address, rules: AckPolicy) -> ServingState {
    let dns = Arc::new(Dns::builtin(DnsOptions::default()));
    let content = Content::new([server], vec![(53, dns), (80, Arc::new(Http::builtin()))]);
    let keys = Keys { current: Key([7; 16]), previous: None };
    let segment_size = rules.segment_size();
    ServingState::new(
        content,
        AnswerPolicy {
            rules,
            keys,
            segment_size,
            hints: 0,
            fast_open: false,
            connection_lifetime: CONNECTION_LIFETIME,
        },
    )
}

#[test]
fn frames_for_other_clients_are_ignored() {
    let [server, client, other] =
        ["192.0.2.1", "192.0.0.8", "192.0.2.2"].map(|text| Address::from(text.parse::<IpAddr>().unwrap()));
    let tuple = FourTuple { server, client, server_port: 53, client_port: 40_000 };
    let query = CheckQuery::dns("example.com", Rtype::SOA, true).unwrap();
    let mut responder = Responder::of(0, Arc::new(state(server, AckPolicy::Reliable)));
    let mac = [2, 0, 0, 0, 0, 1];
    let mut neighbour = CheckClient::new(FourTuple { client: other, ..tuple }, mac, 7, query.clone());
    let mut ours = CheckClient::new(tuple, mac, 7, query);
    let frame = neighbour.open();
    let (mut memory, counters) = (FrameBuffer::default(), Counters::default());
    let mut place = memory.take().unwrap();
    place[..frame.len()].copy_from_slice(&frame);
    responder.respond(UNIX_EPOCH, &mut memory, place, frame.len(), &counters);
    let [answer] = &memory.0[..] else { panic!("{:?}", memory.0) };
    assert!(ours.receive(answer).is_none() && !ours.is_open());
    assert!(neighbour.receive(answer).is_some() && neighbour.is_open());
}

#[rstest]
#[case::both(&[(53, true), (80, false)], Ok(53), Ok(80))]
#[case::dns(&[(5353, true)], Ok(5353), Err("does not serve HTTP: ask for a name by --name NAME"))]
#[case::http(&[(8080, false)], Err("does not serve DNS: ask for a page by --http PATH"), Ok(8080))]
fn the_service_that_runs_is_asked(
    #[case] services: &[(u16, bool)],
    #[case] dns: Result<u16, &str>,
    #[case] http: Result<u16, &str>,
) {
    let service = |&(port, is_dns): &(u16, bool)| -> (u16, Arc<dyn Service>) {
        if is_dns {
            (port, Arc::new(Dns::builtin(DnsOptions::default())))
        } else {
            (port, Arc::new(Http::builtin()))
        }
    };
    let content = Content::new([], services.iter().map(service).collect());
    let asked = [CheckQuery::dns(".", Rtype::SOA, false), CheckQuery::http("/")].map(Result::unwrap);
    for (query, expected) in asked.iter().zip([dns, http]) {
        match (port_for(&content, query), expected) {
            (Ok(port), Ok(expected)) => assert_eq!(port, expected),
            (Err(error), Err(expected)) => assert!(error.ends_with(expected), "{error}"),
            (found, _) => panic!("{found:?} instead of {expected:?}"),
        }
    }
}

/// Exchanges frames until neither side sends one.
fn converse(client: &mut CheckClient, responder: &mut Responder) -> Option<Result<String, String>> {
    let mut next = Some(client.open());
    while let Some(frame) = next.take() {
        let (mut memory, counters) = (FrameBuffer::default(), Counters::default());
        let mut place = memory.take().unwrap();
        place[..frame.len()].copy_from_slice(&frame);
        responder.respond(UNIX_EPOCH, &mut memory, place, frame.len(), &counters);
        for answer in memory.0 {
            next = client.receive(&answer).or(next);
        }
    }
    client.outcome()
}

#[rstest]
#[case::small("192.0.2.1", CheckQuery::dns("example.com", Rtype::SOA, true).unwrap(), Ok("NOERROR"))]
#[case::ipv6("2001:db8::1", CheckQuery::dns("example.com", Rtype::SOA, true).unwrap(), Ok("NOERROR"))]
#[case::large("192.0.2.1", CheckQuery::dns("large.example.com", Rtype::TXT, true).unwrap(), Ok("NOERROR"))]
#[case::not_there("192.0.2.1", CheckQuery::dns("no.example.com", Rtype::A, true).unwrap(), Err("NXDOMAIN"))]
#[case::whatever("192.0.2.1", CheckQuery::dns(".", Rtype::SOA, false).unwrap(), Ok("REFUSED"))]
#[case::page("192.0.2.1", CheckQuery::http("/").unwrap(), Ok("status 200"))]
#[case::no_page("2001:db8::1", CheckQuery::http("/no").unwrap(), Err("status 404"))]
fn a_responder_answers_it(
    #[case] server: IpAddr,
    #[case] query: CheckQuery,
    #[case] expected: Result<&str, &str>,
    #[values(AckPolicy::Reliable, AckPolicy::Classic)] rules: AckPolicy,
) {
    let client: IpAddr = if server.is_ipv4() { "192.0.0.8" } else { "100::1" }.parse().unwrap();
    let server_port = if matches!(query, CheckQuery::Dns { .. }) { 53 } else { 80 };
    let tuple = FourTuple { server: server.into(), client: client.into(), server_port, client_port: 40_000 };
    let mut client = CheckClient::new(tuple, [2, 0, 0, 0, 0, 1], u32::MAX, query);
    let mut responder = Responder::of(0, Arc::new(state(server.into(), rules)));
    match (converse(&mut client, &mut responder).unwrap(), expected) {
        (Ok(text), Ok(expected)) | (Err(text), Err(expected)) => {
            assert!(text.starts_with(expected), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

/// A fault of a simulated worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerFault {
    /// It works.
    None,
    /// It takes nothing.
    Stopped,
    /// It takes frames and does not answer.
    NoAnswer,
    /// It answers, and the card does not send.
    NothingSent,
}

impl WorkerFault {
    /// Some turns of the worker's loop.
    fn turn(self, shared: &Shared, responder: &mut Responder) {
        if self == Self::Stopped {
            return;
        }
        let injected = shared.inject_queue.take();
        if let Some(taps) = shared.taps.take() {
            responder.tap(taps);
        }
        if self == Self::NoAnswer {
            return;
        }
        for bytes in injected {
            let mut memory = FrameBuffer::default();
            let mut frame = memory.take().unwrap();
            frame[..bytes.len()].copy_from_slice(&bytes);
            responder.respond(UNIX_EPOCH, &mut memory, frame, bytes.len(), &shared.counters);
            let mut status = shared.status.lock().unwrap();
            if let Some(status) = status.as_mut().filter(|_| self != Self::NothingSent) {
                status.completed += memory.0.len() as u64;
            }
        }
    }
}

fn shared() -> Arc<Shared> {
    let frames = FrameCounts { free: 0, receiving: 0, sending: 0 };
    let tables = Some(["hints", "waiting"].map(|name| Occupancy::entries(name, 0, 0)));
    Arc::new(Shared {
        stop: Stop::new().unwrap(),
        turns: AtomicU64::new(0),
        counters: Arc::default(),
        busy_poll: Duration::ZERO,
        escape: None,
        duration: Histogram::default(),
        status: Mutex::new(Some(WorkerStatus { frames, completed: 7, statistics: None, tables })),
        taps: Arc::default(),
        inject_queue: Inlet::default(),
        panic_after: None,
        hang_after: None,
    })
}

#[rstest]
#[case::no_fault(
    WorkerFault::None,
    Ok(XdpVerdict::Redirected),
    Ok(
        "example.com. SOA at 192.0.2.1 port 53: NOERROR, 2 queue(s), handshake by the ring (as configured), "
    )
)]
#[case::stopped(WorkerFault::Stopped, Ok(XdpVerdict::Redirected), Err("eth0/1: its worker is stuck"))]
#[case::no_answer(
    WorkerFault::NoAnswer,
    Ok(XdpVerdict::Redirected),
    Err("eth0/1: no response to SYN in time")
)]
#[case::nothing_sent(
    WorkerFault::NothingSent,
    Ok(XdpVerdict::Redirected),
    Err("eth0/1: its worker answers, but the card sends nothing")
)]
#[case::detached(WorkerFault::None, Err("not attached"), Err("not attached"))]
#[case::denied(WorkerFault::None, Ok(XdpVerdict::Dropped), Err("eth0/0: the XDP program drops the frame"))]
#[case::not_served(
    WorkerFault::None,
    Ok(XdpVerdict::Left),
    Err("eth0/0: the XDP program passes the frame to the kernel")
)]
fn a_faulty_queue_is_named(
    #[case] second: WorkerFault,
    #[case] verdict: Result<XdpVerdict, &'static str>,
    #[case] expected: Result<&str, &str>,
) {
    let server: IpAddr = "192.0.2.1".parse().unwrap();
    let active = Arc::new(ActiveState::from_pointee(state(server.into(), AckPolicy::Reliable)));
    let target = |queue| QueueTarget {
        interface: "eth0".to_owned(),
        address: [2, 0, 0, 0, 0, 1],
        program: 0,
        handshake: "handshake by the ring (as configured)".to_owned(),
        queue,
        shared: shared(),
    };
    let queues: Arc<[QueueTarget]> = [target(0), target(1)].into();
    let (test_frames, mut received) = tokio::sync::mpsc::unbounded_channel::<TestFrame>();
    let targets = CheckTargets { queues: Arc::clone(&queues), active: Arc::clone(&active), test_frames };
    let request = CheckRequest {
        query: CheckQuery::dns("example.com", Rtype::SOA, true).unwrap(),
        address: None,
        client: None,
        timeout: Duration::from_millis(if second == WorkerFault::None { 60_000 } else { 3_000 }),
    };
    let over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let mut responders = [0, 1].map(|number| Responder::of(number, active.load_full()));
            while !over.load(SeqCst) {
                while let Ok(test) = received.try_recv() {
                    test.reply.send(verdict.clone().map_err(str::to_owned)).unwrap();
                }
                WorkerFault::None.turn(&queues[0].shared, &mut responders[0]);
                second.turn(&queues[1].shared, &mut responders[1]);
            }
        });
        let outcome = run_check(&request, &targets);
        over.store(true, SeqCst);
        outcome
    });
    match (outcome, expected) {
        (Ok(text), Ok(expected)) | (Err(text), Err(expected)) => {
            assert!(text.starts_with(expected), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
