//! The XDP program and the library cannot disagree: the same frame through the kernel (`BPF_PROG_TEST_RUN`) and
//! through [`steer`] comes to the same verdict for the same reason.

mod frames;

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd},
};

use aya::{
    Ebpf, TestRun, TestRunOptions,
    maps::{
        Array, HashMap, MapData, PerCpuArray, XskMap,
        lpm_trie::{Key, LpmTrie},
    },
    programs::Xdp,
};
use rustix::net::{AddressFamily, SocketType, socket};
use stateless_tcp::acl::ClientPolicies;
use stateless_tcp_core::admission::{Limit, PacketKind};
use stateless_tcp_core::steering::{Action, ClientPolicy, Steering, SteeringReason, VlanTags, steer};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::{self, Settings};
use stateless_tcp_tests::{
    seed::{Random, size},
    topology::{SERVER_MAC, SERVER_V4, SERVER_V6},
};

use frames::{generate, named, named_extensions, named_left, named_links};

const OBJECT: &[u8] = aya::include_bytes_aligned!("../../../stateless-tcp-ebpf/stateless-tcp.bpf.o");
const PORTS: [u16; 2] = [53, 80];
/// UDP port where questions are answered.
const DATAGRAMS: u16 = 53;
/// The policies of clients: networks, some of them within others, and hosts.
const CLIENTS: [(&str, ClientPolicy); 8] = [
    // IPv4 lies within it, once its addresses are those of IPv6.
    ("::/3", ClientPolicy::Deny),
    ("192.0.2.128/25", ClientPolicy::PassToKernel),
    ("192.0.2.192/26", ClientPolicy::PassToKernel),
    ("192.0.2.224/27", ClientPolicy::Deny),
    ("192.0.2.240/28", ClientPolicy::Allow),
    ("2001:db8::80/121", ClientPolicy::PassToKernel),
    ("2001:db8::c0/122", ClientPolicy::Deny),
    ("192.0.2.9", ClientPolicy::PassToKernel),
];
/// The hardware address of an interface on top of the served one.
const UPPER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// The VLANs of this host: two, and one within one.
const VLANS: [VlanTags; 3] = [VlanTags(7), VlanTags(8), VlanTags(7 << 16 | 8)];
/// The broadcast address of a network of this host.
const IMPOSSIBLE: Address = Address::from_ipv4([192, 0, 2, 255]);
/// How often each verdict and each reason must occur among the generated frames.
const LEAST: usize = 500;

/// The program as the kernel has it, attached to nothing.
struct SteeringProgram {
    ebpf: Ebpf,
    counts: PerCpuArray<MapData, u64>,
    before: Vec<u64>,
    /// In the slot of queue 0, the only queue of a test run.
    _socket: Option<OwnedFd>,
}

/// The state of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Bound,
    Unbound,
    /// Nothing, while one process takes over from another.
    Held,
}

impl Queue {
    const ALL: [Self; 3] = [Self::Bound, Self::Unbound, Self::Held];

    /// The verdict on frames that are served.
    fn served(self) -> SteeringReason {
        match self {
            Self::Bound => SteeringReason::Served,
            Self::Unbound => SteeringReason::NoSocket,
            Self::Held => SteeringReason::Held,
        }
    }
}

impl SteeringProgram {
    fn load(queue: Queue) -> Self {
        assert!(nix::unistd::Uid::effective().is_root(), "loading an XDP program needs root");
        let mut ebpf = Ebpf::load(OBJECT).expect("load the object");
        let program: &mut Xdp =
            ebpf.program_mut(abi::PROGRAM).expect("the program").try_into().expect("an XDP program");
        program.load().expect("the verifier accepts it");
        let mut addresses: HashMap<_, [u8; 16], u8> =
            HashMap::try_from(ebpf.take_map(abi::ADDRESSES).expect("its addresses")).expect("a hash map");
        for address in [IpAddr::from(SERVER_V4), IpAddr::from(SERVER_V6)] {
            addresses.insert(Address::from(address).0, 0, 0).expect("serve an address");
        }
        let mut ports: HashMap<_, u16, u8> =
            HashMap::try_from(ebpf.take_map(abi::PORTS).expect("its ports")).expect("a hash map");
        for port in PORTS {
            ports.insert(port, 0, 0).expect("serve a port");
        }
        let mut link_addresses: HashMap<_, [u8; 6], u8> =
            HashMap::try_from(ebpf.take_map(abi::LINK_ADDRESSES).expect("its hardware addresses"))
                .expect("a hash map");
        link_addresses.insert(UPPER_MAC, 0, 0).expect("another hardware address");
        let mut vlans: HashMap<_, u32, u8> =
            HashMap::try_from(ebpf.take_map(abi::VLANS).expect("its VLANs")).expect("a hash map");
        for tags in VLANS {
            vlans.insert(tags.0, 0, 0).expect("serve a VLAN");
        }
        let mut trie: LpmTrie<_, [u8; 16], u8> =
            LpmTrie::try_from(ebpf.take_map(abi::CLIENTS).expect("its prefixes")).expect("a trie");
        for (bits, address, policy) in listed_clients() {
            trie.insert(&Key::new(bits.into(), address.0), policy as u8, 0).expect("say it of a prefix");
        }
        let mut settings: Array<_, [u8; Settings::LENGTH]> =
            Array::try_from(ebpf.take_map(abi::SETTINGS).expect("its settings")).expect("an array");
        settings.set(0, xdp_settings().octets(), 0).expect("settings");
        let mut held: Array<_, u32> =
            Array::try_from(ebpf.take_map(abi::HELD).expect("what is held")).expect("an array");
        held.set(0, u32::from(queue == Queue::Held), 0).expect("hold it");
        let socket = (queue == Queue::Bound).then(|| {
            let socket = socket(AddressFamily::XDP, SocketType::RAW, None).expect("an AF_XDP socket");
            let sockets = ebpf.map_mut(abi::SOCKETS).expect("its sockets");
            XskMap::try_from(sockets)
                .expect("an XSKMAP")
                .set(0, socket.as_raw_fd(), 0)
                .expect("fill the slot of queue 0");
            socket
        });
        let counts = PerCpuArray::try_from(ebpf.take_map(abi::COUNTS).expect("its counters"))
            .expect("a per-CPU array");
        Self { ebpf, counts, before: vec![0; SteeringReason::ALL.len()], _socket: socket }
    }

    /// The program's verdict, and which of its counters went up: exactly one, by one.
    fn judge(&mut self, frame: &[u8]) -> (Action, SteeringReason) {
        let program: &Xdp =
            self.ebpf.program(abi::PROGRAM).expect("the program").try_into().expect("an XDP program");
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let action = match program.test_run(options).expect("run the program").return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            4 => Action::Redirect,
            other => panic!("XDP action {other} for {frame:02x?}"),
        };
        let mut after = vec![0; SteeringReason::ALL.len()];
        for (place, sum) in (0..).zip(&mut after) {
            *sum = self.counts.get(&place, 0).expect("read the counters").iter().sum();
        }
        let grown: Vec<_> = (0..after.len()).filter(|&index| after[index] != self.before[index]).collect();
        let [index] = grown[..] else { panic!("not one counter went up, but {grown:?}, for {frame:02x?}") };
        assert_eq!(after[index], self.before[index] + 1, "{:?} for {frame:02x?}", SteeringReason::ALL[index]);
        self.before = after;
        (action, SteeringReason::ALL[index])
    }
}

fn xdp_settings() -> Settings {
    // One address and one port as the first ones; of the others the hash maps know.
    Settings::new(Limit::NONE, Some(DATAGRAMS), false)
        .with_link_address(SERVER_MAC)
        .with_served(&[Address::from(IpAddr::from(SERVER_V4))], &PORTS[..1])
        .with_listed_clients(listed_clients())
}

fn listed_clients() -> impl Iterator<Item = (u8, Address, ClientPolicy)> {
    clients().entries().collect::<Vec<_>>().into_iter().chain([(128, IMPOSSIBLE, ClientPolicy::Impossible)])
}

fn clients() -> ClientPolicies {
    let mut clients = ClientPolicies::default();
    for (prefix, treatment) in CLIENTS {
        clients.add(&prefix.parse().expect("a prefix"), treatment);
    }
    clients
}

/// The same addresses and ports as in the maps; notes whether the port was asked about.
struct MapSteering {
    clients: ClientPolicies,
    port_tested: Cell<bool>,
}

impl Steering for MapSteering {
    fn address(&self, address: &Address) -> bool {
        let address = IpAddr::from(*address);
        address == IpAddr::V4(SERVER_V4) || address == IpAddr::V6(SERVER_V6)
    }

    fn port(&self, port: u16) -> bool {
        self.port_tested.set(true);
        PORTS.contains(&port)
    }

    fn datagrams(&self) -> Option<u16> {
        Some(DATAGRAMS)
    }

    fn treatment(&self, client: &Address) -> ClientPolicy {
        if *client == IMPOSSIBLE { ClientPolicy::Impossible } else { self.clients.policy(client) }
    }

    fn limits_segments(&self) -> bool {
        false
    }

    fn affords(&self, _: &Address, _: PacketKind) -> bool {
        true
    }

    fn link_address(&self, address: &[u8; 6]) -> bool {
        [SERVER_MAC, UPPER_MAC].contains(address)
    }

    fn vlan(&self, tags: VlanTags) -> bool {
        VLANS.contains(&tags)
    }
}

/// The library's reason, and whether it came as far as the port.
fn library(frame: &[u8], queue: Queue) -> (SteeringReason, bool) {
    let table = MapSteering { clients: clients(), port_tested: Cell::new(false) };
    let reason = match steer(frame, &table) {
        Ok(_) => queue.served(),
        Err(reason) => reason,
    };
    (reason, table.port_tested.get())
}

#[test]
fn named_frames_come_to_the_verdict_that_is_written_here() {
    let mut kernels = Queue::ALL.map(|queue| (queue, SteeringProgram::load(queue)));
    for (name, frame, reason) in [named(), named_links(), named_extensions(), named_left()].concat() {
        for (queue, kernel) in &mut kernels {
            let expected = if reason == SteeringReason::Served { queue.served() } else { reason };
            assert_eq!(library(&frame, *queue).0, expected, "{name}, library, {queue:?}");
            assert_eq!(kernel.judge(&frame), (expected.action(), expected), "{name}, kernel, {queue:?}");
        }
    }
}

#[test]
fn generated_frames_come_to_the_same_verdict_on_both_sides() {
    let count = size(100_000, 1_000_000);
    let mut random = Random::new("steering");
    let mut kernels = Queue::ALL.map(SteeringProgram::load);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut actions: BTreeMap<String, usize> = BTreeMap::new();
    let mut at_port = 0;
    for _ in 0..count {
        let frame = generate(&mut random);
        let queue = if random.one_in(4) { random.pick(&[Queue::Unbound, Queue::Held]) } else { Queue::Bound };
        let kernel = &mut kernels[queue as usize];
        let (reason, port_tested) = library(&frame, queue);
        assert_eq!(kernel.judge(&frame), (reason.action(), reason), "{frame:02x?}");
        *reasons.entry(reason.name()).or_default() += 1;
        *actions.entry(format!("{:?}", reason.action())).or_default() += 1;
        at_port += usize::from(port_tested);
    }
    println!("{count} frames, {at_port} at the port test, {actions:?}, {reasons:?}");
    assert!(at_port * 2 >= count, "only {at_port} of {count} frames reached the port test");
    // Whose network has no token left is seen to in tests/limits.rs: time comes into it.
    for reason in SteeringReason::ALL.into_iter().filter(|&reason| reason != SteeringReason::Limited) {
        let seen = reasons.get(reason.name()).copied().unwrap_or(0);
        assert!(seen >= LEAST, "{} occurred {seen} times, at least {LEAST} are wanted", reason.name());
    }
    for action in [Action::Redirect, Action::Drop, Action::Pass] {
        let seen = actions.get(&format!("{action:?}")).copied().unwrap_or(0);
        assert!(seen >= LEAST, "{action:?} occurred {seen} times, at least {LEAST} are wanted");
    }
}

#[test]
fn a_client_of_which_something_is_said_is_looked_up() {
    let mut random = Random::new("listed clients");
    let address = |random: &mut Random| Address::from(IpAddr::from(random.word().to_be_bytes()));
    for _ in 0..1_000 {
        let listed: Vec<_> = (0..random.below(4)).map(|_| address(&mut random)).collect();
        let single = listed.iter().map(|&address| (128, address, ClientPolicy::Deny));
        let settings = Settings::default().with_listed_clients(single);
        assert!(listed.iter().all(|address| settings.may_be_listed(address)));
        let others = (0..1_000).filter(|_| settings.may_be_listed(&address(&mut random))).count();
        // 16 of 1,000 for each that is listed.
        assert!(others <= 40 * listed.len(), "{others} of 1,000 for {} addresses", listed.len());
        let network = (96 + random.byte() % 32, address(&mut random), ClientPolicy::Deny);
        let settings = Settings::default().with_listed_clients([network].into_iter());
        assert!(settings.may_be_listed(&address(&mut random)));
    }
    let default = ClientPolicies::default();
    let settings = Settings::default().with_listed_clients(default.entries());
    assert!(!settings.may_be_listed(&address(&mut random)), "nothing is said of anybody");
}
