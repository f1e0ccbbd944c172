//! The client that is not there, and a responder that is: with and without what can go wrong between them.

use super::client::Client;
use super::conduct::{Door, House, Trial, conduct};
use super::question::Question;
use super::*;
use crate::af_xdp::inject_queue::Inlet;
use crate::af_xdp::socket::FrameCounts;
use crate::af_xdp::test_run::XdpVerdict;
use crate::dataplane::engine::{Content, Policy};
use crate::dataplane::responder::{Frames, Responder};
use crate::dataplane::worker::{Shared, Stop, WorkerStatus};
use crate::observe::counters::Counters;
use crate::observe::histogram::Histogram;
use crate::observe::snapshot::Occupancy;
use crate::services::dns::{Dns, DnsOptions};
use crate::services::http::Http;
use crate::serving::{ServingState, Switch};
use domain::base::Rtype;
use rstest::rstest;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::isn::{Key, Keys};
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

/// Frames of plain memory; those that are sent are kept.
#[derive(Default)]
struct Memory(Vec<Vec<u8>>);

impl Frames for Memory {
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

fn offer(server: Address, rules: AckPolicy) -> ServingState {
    let dns = Arc::new(Dns::builtin(DnsOptions::default()));
    let content = Content::new([server], vec![(53, dns), (80, Arc::new(Http::builtin()))]);
    let keys = Keys { current: Key([7; 16]), previous: None };
    let segment_size = rules.segment_size();
    ServingState::first(content, Policy { rules, keys, segment_size, hints: 0, fast_open: false })
}

#[test]
fn what_is_said_to_others_is_not_heard() {
    let [server, client, other] =
        ["192.0.2.1", "192.0.0.8", "192.0.2.2"].map(|text| Address::from(text.parse::<IpAddr>().unwrap()));
    let tuple = FourTuple { server, client, server_port: 53, client_port: 40_000 };
    let question = Question::dns("example.com", Rtype::SOA, true).unwrap();
    let mut responder = Responder::of(0, Arc::new(offer(server, AckPolicy::Reliable)));
    let mac = [2, 0, 0, 0, 0, 1];
    let mut neighbour = Client::new(FourTuple { client: other, ..tuple }, mac, 7, question.clone());
    let mut ours = Client::new(tuple, mac, 7, question);
    let frame = neighbour.open();
    let (mut memory, counters) = (Memory::default(), Counters::default());
    let mut place = memory.take().unwrap();
    place[..frame.len()].copy_from_slice(&frame);
    responder.respond(UNIX_EPOCH, &mut memory, place, frame.len(), &counters);
    let [answer] = &memory.0[..] else { panic!("{:?}", memory.0) };
    assert!(ours.take(answer).is_none() && !ours.is_open());
    assert!(neighbour.take(answer).is_some() && neighbour.is_open());
}

/// Speaks until nothing is said any more.
fn speak(client: &mut Client, responder: &mut Responder) -> Option<Result<String, String>> {
    let mut said = Some(client.open());
    while let Some(frame) = said.take() {
        let (mut memory, counters) = (Memory::default(), Counters::default());
        let mut place = memory.take().unwrap();
        place[..frame.len()].copy_from_slice(&frame);
        responder.respond(UNIX_EPOCH, &mut memory, place, frame.len(), &counters);
        for answer in memory.0 {
            said = client.take(&answer).or(said);
        }
    }
    client.outcome()
}

#[rstest]
#[case::small("192.0.2.1", Question::dns("example.com", Rtype::SOA, true).unwrap(), Ok("NOERROR"))]
#[case::ipv6("2001:db8::1", Question::dns("example.com", Rtype::SOA, true).unwrap(), Ok("NOERROR"))]
#[case::large("192.0.2.1", Question::dns("large.example.com", Rtype::TXT, true).unwrap(), Ok("NOERROR"))]
#[case::not_there("192.0.2.1", Question::dns("no.example.com", Rtype::A, true).unwrap(), Err("NXDOMAIN"))]
#[case::whatever("192.0.2.1", Question::dns(".", Rtype::SOA, false).unwrap(), Ok("REFUSED"))]
#[case::page("192.0.2.1", Question::http("/").unwrap(), Ok("status 200"))]
#[case::no_page("2001:db8::1", Question::http("/no").unwrap(), Err("status 404"))]
fn a_responder_answers_it(
    #[case] server: IpAddr,
    #[case] question: Question,
    #[case] expected: Result<&str, &str>,
    #[values(AckPolicy::Reliable, AckPolicy::Classic)] rules: AckPolicy,
) {
    let client: IpAddr = if server.is_ipv4() { "192.0.0.8" } else { "100::1" }.parse().unwrap();
    let server_port = if matches!(question, Question::Dns { .. }) { 53 } else { 80 };
    let tuple = FourTuple { server: server.into(), client: client.into(), server_port, client_port: 40_000 };
    let mut client = Client::new(tuple, [2, 0, 0, 0, 0, 1], u32::MAX, question);
    let mut responder = Responder::of(0, Arc::new(offer(server.into(), rules)));
    match (speak(&mut client, &mut responder).unwrap(), expected) {
        (Ok(said), Ok(expected)) | (Err(said), Err(expected)) => {
            assert!(said.starts_with(expected), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

/// How a worker can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    /// As it should be.
    Well,
    /// It takes nothing.
    Still,
    /// It takes frames and does not answer.
    Mute,
    /// It answers, and the card does not send.
    Stuck,
}

impl Worker {
    /// A few turns of its loop.
    fn turn(self, shared: &Shared, responder: &mut Responder) {
        if self == Self::Still {
            return;
        }
        let left = shared.inlet.take();
        if let Some(taps) = shared.outlet.take() {
            responder.tap(taps);
        }
        if self == Self::Mute {
            return;
        }
        for octets in left {
            let mut memory = Memory::default();
            let mut frame = memory.take().unwrap();
            frame[..octets.len()].copy_from_slice(&octets);
            responder.respond(UNIX_EPOCH, &mut memory, frame, octets.len(), &shared.counters);
            let mut vitals = shared.vitals.lock().unwrap();
            if let Some(vitals) = vitals.as_mut().filter(|_| self != Self::Stuck) {
                vitals.completed += memory.0.len() as u64;
            }
        }
    }
}

fn shared() -> Arc<Shared> {
    let account = FrameCounts { free: 0, receiving: 0, sending: 0 };
    let tables = Some(["hints", "waiting"].map(|name| Occupancy::entries(name, 0, 0)));
    Arc::new(Shared {
        stop: Stop::new().unwrap(),
        turns: AtomicU64::new(0),
        counters: Arc::default(),
        busy_poll: Duration::ZERO,
        escape: None,
        duration: Histogram::default(),
        vitals: Mutex::new(Some(WorkerStatus { account, completed: 7, statistics: None, tables })),
        outlet: Arc::default(),
        inlet: Inlet::default(),
        panic_after: None,
        hang_after: None,
    })
}

#[rstest]
#[case::well(
    Worker::Well,
    Ok(XdpVerdict::Redirected),
    Ok("example.com. SOA at 192.0.2.1 port 53: NOERROR, 2 queue(s)")
)]
#[case::still(Worker::Still, Ok(XdpVerdict::Redirected), Err("eth0/1: its worker stands still"))]
#[case::mute(Worker::Mute, Ok(XdpVerdict::Redirected), Err("eth0/1: no answer to SYN in time"))]
#[case::stuck(
    Worker::Stuck,
    Ok(XdpVerdict::Redirected),
    Err("eth0/1: it answers, but the card sends nothing")
)]
#[case::detached(Worker::Well, Err("not attached"), Err("not attached"))]
#[case::denied(Worker::Well, Ok(XdpVerdict::Dropped), Err("eth0/0: the XDP program drops it"))]
#[case::not_served(
    Worker::Well,
    Ok(XdpVerdict::Left),
    Err("eth0/0: the XDP program leaves it to the kernel")
)]
fn what_is_wrong_with_a_queue_is_named(
    #[case] second: Worker,
    #[case] fate: Result<XdpVerdict, &'static str>,
    #[case] expected: Result<&str, &str>,
) {
    let server: IpAddr = "192.0.2.1".parse().unwrap();
    let switch = Arc::new(Switch::new(offer(server.into(), AckPolicy::Reliable)));
    let door = |queue| Door {
        interface: "eth0".to_owned(),
        address: [2, 0, 0, 0, 0, 1],
        program: 0,
        queue,
        shared: shared(),
    };
    let doors: Arc<[Door]> = [door(0), door(1)].into();
    let (trials, mut asked) = tokio::sync::mpsc::unbounded_channel::<Trial>();
    let house = House { doors: Arc::clone(&doors), switch: Arc::clone(&switch), trials };
    let wish = Wish {
        question: Question::dns("example.com", Rtype::SOA, true).unwrap(),
        address: None,
        client: None,
        timeout: Duration::from_millis(if second == Worker::Well { 60_000 } else { 3_000 }),
    };
    let over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let mut responders = [0, 1].map(|number| Responder::of(number, switch.offer()));
            while !over.load(SeqCst) {
                while let Ok(trial) = asked.try_recv() {
                    trial.reply.send(fate.clone().map_err(str::to_owned)).unwrap();
                }
                Worker::Well.turn(&doors[0].shared, &mut responders[0]);
                second.turn(&doors[1].shared, &mut responders[1]);
            }
        });
        let outcome = conduct(&wish, &house);
        over.store(true, SeqCst);
        outcome
    });
    match (outcome, expected) {
        (Ok(said), Ok(expected)) | (Err(said), Err(expected)) => {
            assert!(said.starts_with(expected), "{said}");
        }
        other => panic!("{other:?}"),
    }
}
