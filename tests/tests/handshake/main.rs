//! The XDP program answers as user space does: the same frame through the kernel (`BPF_PROG_TEST_RUN`), through the core
//! and through the whole responder gives the same bytes, for the same reason.

mod client;
mod datagrams;
mod expiry;

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunOptions,
    maps::{Array, HashMap, MapData, PerCpuArray, ProgramArray, XskMap},
    programs::Xdp,
};
use rustix::net::{AddressFamily, SocketType, socket};
use stateless_tcp::af_xdp::load::load_fast_path;
use stateless_tcp::dataplane::responder::Responder;
use stateless_tcp::observe::counters::Counters;
use stateless_tcp::serving::{AnswerPolicy, Content, ServingState};
use stateless_tcp_core::outcome::{Outcome, OutcomeKind};
use stateless_tcp_core::steering::steer;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::{CONNECTION_LIFETIME, Epochs};
use stateless_tcp_core::tcp::isn::{Key, Keys};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_core::tcp::{TcpConfig, handle_in_driver};
use stateless_tcp_core::wire::control_segment::{self, Header};
use stateless_tcp_ebpf::abi::{self, PackedHandshakeConfig, Settings};
use stateless_tcp_tests::{
    in_memory_harness::{DNS_PORT, HTTP_PORT, PLENTY, agreement::HarnessSteering, dns, http, pool::Pool},
    packet::Packet,
    seed::{Random, size},
    topology::{SERVER_MAC, SERVERS},
    verifier::assert_within_budget,
};

use client::{HandshakeClient, disturb};

const OBJECT: &[u8] = aya::include_bytes_aligned!("../../../stateless-tcp-ebpf/stateless-tcp.bpf.o");
/// Identifiers of the VLANs that are served.
const VLANS: [u16; 2] = [7, 8];
/// Least number of times that each event must occur among the generated frames.
const LEAST: u64 = 100;

/// A tag of a served VLAN, with any priority.
fn vlan_tag(random: &mut Random) -> u16 {
    random.short() & 0xf000 | random.pick(&VLANS)
}

/// The outcome of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
enum XdpVerdict {
    /// User space has to decide.
    Ring,
    /// Answered by this frame, or nothing.
    Decided(Outcome, Option<Vec<u8>>),
}

/// The program as the kernel has it, attached to nothing.
struct HandshakeProgram {
    ebpf: Ebpf,
    terms: Array<MapData, [u8; PackedHandshakeConfig::LENGTH]>,
    events: PerCpuArray<MapData, u64>,
    before: Vec<u64>,
    /// The last frame that it decided had a partial checksum.
    partial: bool,
    /// In the slot of queue 0, the only queue of a test run.
    _socket: OwnedFd,
    _fast_path: ProgramArray<MapData>,
}

impl HandshakeProgram {
    fn load() -> Self {
        assert!(nix::unistd::Uid::effective().is_root(), "loading an XDP program needs root");
        let mut ebpf = EbpfLoader::new()
            .override_global(abi::HANDSHAKE, &1_u8, true)
            .load(OBJECT)
            .expect("load the object");
        let program: &mut Xdp =
            ebpf.program_mut(abi::PROGRAM).expect("the program").try_into().expect("an XDP program");
        program.load().expect("the verifier accepts it");
        let fast_path = load_fast_path(&mut ebpf).expect("the verifier accepts the fast path");
        let mut take = |name| ebpf.take_map(name).expect("its map");
        let mut addresses: HashMap<_, [u8; 16], u8> =
            HashMap::try_from(take(abi::ADDRESSES)).expect("a hash map");
        for address in SERVERS {
            addresses.insert(Address::from(address).0, 0, 0).expect("serve an address");
        }
        let mut link_addresses: HashMap<_, [u8; 6], u8> =
            HashMap::try_from(take(abi::LINK_ADDRESSES)).expect("a hash map");
        link_addresses.insert(SERVER_MAC, 0, 0).expect("its hardware address");
        let mut vlans: HashMap<_, u32, u8> = HashMap::try_from(take(abi::VLANS)).expect("a hash map");
        for tags in [0, VLANS[0], VLANS[1]]
            .into_iter()
            .flat_map(|outer| VLANS.map(|inner| u32::from(outer) << 16 | u32::from(inner)))
        {
            vlans.insert(tags, 0, 0).expect("serve a VLAN");
        }
        let mut ports: HashMap<_, u16, u8> = HashMap::try_from(take(abi::PORTS)).expect("a hash map");
        for port in [DNS_PORT, HTTP_PORT] {
            ports.insert(port, 0, 0).expect("serve a port");
        }
        let socket = socket(AddressFamily::XDP, SocketType::RAW, None).expect("an AF_XDP socket");
        let mut sockets = XskMap::try_from(take(abi::SOCKETS)).expect("an XSKMAP");
        sockets.set(0, socket.as_raw_fd(), 0).expect("fill the slot of queue 0");
        let mut in_force: Array<_, u32> = Array::try_from(take(abi::IN_FORCE)).expect("an array");
        in_force.set(0, 1, 0).expect("the first place is in force");
        let terms = Array::try_from(take(abi::TERMS)).expect("an array");
        let events = PerCpuArray::try_from(take(abi::EVENTS)).expect("a per-CPU array");
        Self {
            ebpf,
            terms,
            events,
            before: vec![0; abi::MAX_EVENTS as usize],
            partial: false,
            _socket: socket,
            _fast_path: fast_path,
        }
    }

    fn answer_by(&mut self, terms: &TcpConfig, epochs: &Epochs) {
        self.terms.set(0, PackedHandshakeConfig::new(terms, epochs).octets(), 0).expect("put the terms");
    }

    fn set(&mut self, settings: &Settings) {
        let map = self.ebpf.map_mut(abi::SETTINGS).expect("its settings");
        let mut place: Array<_, [u8; Settings::LENGTH]> = Array::try_from(map).expect("an array");
        place.set(0, settings.octets(), 0).expect("put the settings");
    }

    fn program(&self) -> &Xdp {
        self.ebpf.program(abi::PROGRAM).expect("the program").try_into().expect("an XDP program")
    }

    /// Its treatment of a frame that is ours.
    fn judge(&mut self, frame: &[u8]) -> XdpVerdict {
        let mut out = vec![0; frame.len() + 64];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = self.program().test_run(options).expect("run the program");
        let (action, length) = (result.return_value, result.data_size_out as usize);
        out.truncate(length);
        let after: Vec<u64> = (0..abi::MAX_EVENTS).map(|place| self.count(place)).collect();
        let place = Outcome::PartialChecksum as usize;
        self.partial = after[place] > self.before[place];
        let grown: Vec<_> = Outcome::in_driver()
            .filter(|&event| after[event as usize] > self.before[event as usize])
            .collect();
        self.before = after;
        match (action, &grown[..]) {
            (4 | 2, []) => {
                assert!(out == frame, "changed on its way to user space: {frame:02x?}");
                XdpVerdict::Ring
            }
            (3, &[event]) if event.kind() == OutcomeKind::Answer => XdpVerdict::Decided(event, Some(out)),
            (1, &[event]) if event.kind() == OutcomeKind::Refusal => XdpVerdict::Decided(event, None),
            _ => panic!("XDP action {action}, counted {grown:?}, for {frame:02x?}"),
        }
    }

    fn count(&self, place: u32) -> u64 {
        self.events.get(&place, 0).expect("read the events").iter().sum()
    }
}

/// The same through the library.
fn core(terms: &TcpConfig, epochs: Epochs, frame: &[u8]) -> XdpVerdict {
    let decide = || {
        let layout = steer(frame, &HarnessSteering).ok()?;
        let received = control_segment::read(frame, &layout, &mut [0; control_segment::ROOM][..])?;
        let (outcome, answer) = handle_in_driver(terms, epochs, &received.segment)?;
        let answer = answer.map(|outgoing| {
            let header = Header::new(&received.segment.tuple, &outgoing);
            let mut answer = frame.to_vec();
            answer.resize(header.frame_length(&layout), 0);
            header.write(&mut answer[..], &layout, &received.segment.tuple).expect("room for it");
            answer
        });
        Some(XdpVerdict::Decided(outcome, answer))
    };
    decide().unwrap_or(XdpVerdict::Ring)
}

/// Kernel, core, and a responder that remembers everything; all are told the same.
struct Trio {
    kernel: HandshakeProgram,
    responder: Responder,
    offer: ServingState,
    now: SystemTime,
    seen: BTreeMap<&'static str, u64>,
}

fn policy(rules: AckPolicy, fast_open: bool, previous: Option<Key>) -> AnswerPolicy {
    let keys = Keys { current: Key(*b"sixteen octets !"), previous };
    AnswerPolicy {
        rules,
        keys,
        segment_size: 1220,
        hints: 256,
        fast_open,
        connection_lifetime: CONNECTION_LIFETIME,
    }
}

/// With the same number, the same content.
fn content(number: u16) -> Content {
    let ports = vec![(DNS_PORT, dns()), (HTTP_PORT, http()), (number, dns())];
    Content::new(SERVERS.map(Into::into), ports)
}

impl Trio {
    fn new() -> Self {
        let offer = ServingState::new(content(1), policy(AckPolicy::Reliable, false, None));
        let now = UNIX_EPOCH + Duration::from_hours(500_000);
        let responder = Responder::of(0, offer.clone().into());
        let mut trio =
            Self { kernel: HandshakeProgram::load(), responder, offer, now, seen: BTreeMap::new() };
        trio.set_clock(now);
        trio
    }

    fn switch(&mut self, offer: ServingState) {
        self.responder.switch(offer.clone().into());
        self.offer = offer;
        self.set_clock(self.now);
    }

    /// The epochs of all of them, those of the kernel included.
    fn set_clock(&mut self, now: SystemTime) {
        self.now = now;
        self.kernel.answer_by(self.offer.tcp_config(), &self.epochs());
    }

    fn epochs(&self) -> Epochs {
        self.offer.policy.epochs(self.now)
    }

    /// The responder's reply to a frame. Whatever the kernel decides itself, the responder has said the same.
    fn exchange(&mut self, name: &str, frame: &[u8]) -> (XdpVerdict, Vec<Vec<u8>>) {
        let fate = self.kernel.judge(frame);
        assert_eq!(
            core(self.offer.tcp_config(), self.epochs(), frame),
            fate,
            "{name}: core and kernel, of {frame:02x?}"
        );
        let (counters, mut pool) = (Counters::default(), Pool::new(PLENTY));
        let received = pool.receive(frame);
        self.responder.respond(self.now, &mut pool, received, frame.len(), &counters);
        let counted = |counter| counters.get(counter);
        if let XdpVerdict::Decided(event, answer) = &fate {
            assert_eq!(
                pool.sent,
                answer.iter().cloned().collect::<Vec<_>>(),
                "{name}: {event:?}, of {frame:02x?}"
            );
            assert_eq!(counted(*event), 1, "{name}: {event:?}");
            assert_eq!(
                counted(Outcome::Sent),
                u64::from(event.kind() == OutcomeKind::Answer),
                "{name}: {event:?}"
            );
            let partial = counted(Outcome::PartialChecksum);
            assert_eq!(u64::from(self.kernel.partial), partial, "{name}: {event:?}");
            *self.seen.entry(Outcome::PartialChecksum.name()).or_default() += partial;
        }
        let outcome = match fate {
            XdpVerdict::Ring => "ring",
            XdpVerdict::Decided(event, _) => event.name(),
        };
        *self.seen.entry(outcome).or_default() += 1;
        (fate, pool.sent)
    }
}

#[test]
fn each_program_is_within_the_verifier_budget() {
    assert_within_budget(true);
}

#[test]
fn the_kernel_answers_as_user_space_does() {
    let conversations = size(20_000, 200_000);
    let mut random = Random::new("handshake");
    let mut trio = Trio::new();
    let mut offer = ServingState::new(content(1), policy(AckPolicy::Reliable, false, None));
    for number in 0..conversations {
        if number % 50 == 0 {
            let rules = if random.one_in(5) { AckPolicy::Classic } else { AckPolicy::Reliable };
            let former = random.one_in(2).then_some(Key(*b"the key before i"));
            offer = offer.with_content(
                content(1 + random.short() % 9),
                policy(rules, random.one_in(3), former),
                &[],
            );
            if random.one_in(3) {
                offer = offer.retaining(|_| random.one_in(2));
            }
            trio.switch(offer.clone());
        }
        if random.one_in(20) {
            let step = Duration::from_secs(random.pick(&[1, 20, 60, 600, 100_000]));
            trio.set_clock(if random.one_in(3) { trio.now - step } else { trio.now + step });
        }
        let mut client = HandshakeClient::new(&mut random);
        let syn = client.syn(&mut random);
        let (fate, sent) = trio.exchange("SYN", &syn.octets());
        client.hear(&sent);
        let offered = sent.iter().any(|frame| Packet::parse(frame).is_some());
        assert!(!offered || matches!(fate, XdpVerdict::Decided(Outcome::SynAck, _)), "{fate:?}: {syn}");
        for _ in 0..random.below(12) {
            if random.one_in(40) {
                trio.set_clock(trio.now + Duration::from_secs(random.pick(&[15, 60, 900, 2_000])));
            }
            let packet = client.speak(&mut random);
            let mut frame = packet.octets();
            if random.one_in(5) {
                disturb(&mut frame, &packet, &mut random);
            }
            if steer(&frame[..], &HarnessSteering).is_err() {
                continue;
            }
            let (_, sent) = trio.exchange("random", &frame);
            if !random.one_in(10) {
                client.hear(&sent);
            }
        }
        // What no conversation holds.
        let mut odd = client.syn(&mut random);
        (odd.flags, odd.ack) = (random.byte(), random.word());
        if random.one_in(3) {
            odd.options =
                (0..4 * random.below(11)).map(|_| random.pick(&[0, 1, 1, 2, 4, 8, 10, 34, 255])).collect();
        }
        if random.one_in(8) {
            odd.source =
                if odd.source.is_ipv4() { "127.0.0.1" } else { "ff02::1" }.parse().expect("an address");
        }
        trio.exchange("odd", &odd.octets());
    }
    println!("{:?}", trio.seen);
    let of_datagrams = [Outcome::UdpTruncated, Outcome::UdpNoQuestion];
    let events = Outcome::in_driver().filter(|event| !of_datagrams.contains(event));
    for counter in events.chain([Outcome::PartialChecksum]) {
        let seen = trio.seen.get(counter.name()).copied().unwrap_or(0);
        assert!(seen >= LEAST, "{counter:?} occurred {seen} times, at least {LEAST} are wanted");
    }
}
