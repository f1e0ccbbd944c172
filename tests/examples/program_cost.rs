//! The XDP program's time for a packet, by the kernel's own timer (`BPF_PROG_TEST_RUN`), where the handshake is
//! answered through the ring and in the driver. Needs root; attaches to nothing.
//!
//! An answer is written over its packet, so each run is a test of its own: what is printed is the median of many, and
//! holds what it takes to read the clock twice (the packet that is nobody's says how much).

use std::os::fd::AsRawFd as _;
use std::time::Duration;

use aya::{
    EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, HashMap, XskMap},
    programs::Xdp,
};
use rustix::net::{AddressFamily, SocketType, socket};
use stateless_tcp::af_xdp::load::load_fast_path;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::TcpConfig;
use stateless_tcp_core::tcp::epoch::{CONNECTION_LIFETIME, Epochs};
use stateless_tcp_core::tcp::isn::{Generations, Key, Keys};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::{self, FastPathProgram, PackedHandshakeConfig, Settings};
use stateless_tcp_tests::{
    client::query,
    packet::{Packet, flags},
    topology::{GHOST_V4, GHOST_V6, SERVER_MAC, SERVERS},
};

const RUNS: usize = 100_000;

/// Median, and the least twentieth, in nanoseconds.
fn measure(program: &Xdp, frame: &[u8]) -> (u128, u128) {
    let mut times: Vec<u128> = (0..RUNS)
        .map(|_| {
            let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
            program.test_run(options).expect("run the program").duration.as_nanos()
        })
        .collect();
    times.sort_unstable();
    (times[RUNS / 2], times[RUNS / 20])
}

fn frames(server: std::net::IpAddr, timestamps: bool) -> [(&'static str, Packet); 4] {
    let client = if server.is_ipv4() { GHOST_V4.into() } else { GHOST_V6.into() };
    let base = Packet { seq: 1_000, ack: 2_000, ..Packet::new(client, 40_000, server, 53) };
    let stamp = [&[8, 10][..], &[7; 8]].concat();
    let plain = if timestamps { [&[1, 1][..], &stamp].concat() } else { vec![] };
    let syn = if timestamps {
        [&[2, 4, 5, 180, 4, 2][..], &stamp, &[1, 3, 3, 7]].concat()
    } else {
        vec![2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2]
    };
    let with = |flags, options: &Vec<u8>| Packet { flags, options: options.clone(), ..base.clone() };
    [
        ("SYN", with(flags::SYN, &syn)),
        ("ACK", with(flags::ACK, &plain)),
        ("FIN", with(flags::FIN | flags::ACK, &plain)),
        (
            "question",
            Packet { payload: query(1, "www.example.com", 1), ..with(flags::PSH | flags::ACK, &plain) },
        ),
    ]
}

fn main() {
    const OBJECT: &[u8] = aya::include_bytes_aligned!("../../stateless-tcp-ebpf/stateless-tcp.bpf.o");
    let keys = Keys { current: Key([7; 16]), previous: None };
    let generations = Generations::only(0);
    let terms = TcpConfig {
        ack_policy: AckPolicy::Reliable,
        keys,
        generations,
        segment_size: 1220,
        fast_open: false,
    };
    let epochs = Epochs::at(Duration::from_hours(500_000), CONNECTION_LIFETIME);
    for handshake in [0_u8, 1] {
        let mut ebpf = EbpfLoader::new()
            .override_global(abi::HANDSHAKE, &handshake, true)
            .load(OBJECT)
            .expect("load the object");
        let program: &mut Xdp =
            ebpf.program_mut(abi::PROGRAM).expect("the program").try_into().expect("an XDP program");
        program.load().expect("the verifier accepts it");
        let verified = program.info().ok().and_then(|info| info.verified_instruction_count());
        println!(
            "{}: {verified:?} instructions of {} verified",
            ["ring", "driver"][usize::from(handshake)],
            abi::PROGRAM
        );
        let _fast_path =
            (handshake == 1).then(|| load_fast_path(&mut ebpf).expect("the verifier accepts the fast path"));
        for program in FastPathProgram::ALL.map(FastPathProgram::name).into_iter().filter(|_| handshake == 1)
        {
            let xdp: &Xdp = ebpf.program(program).expect("the program").try_into().expect("an XDP program");
            let verified = xdp.info().ok().and_then(|info| info.verified_instruction_count());
            println!("driver: {verified:?} instructions of {program} verified");
        }
        let mut take = |name| ebpf.take_map(name).expect("its map");
        let mut addresses: HashMap<_, [u8; 16], u8> = take(abi::ADDRESSES).try_into().expect("a hash map");
        for server in SERVERS {
            addresses.insert(Address::from(server).0, 0, 0).expect("serve an address");
        }
        let settings = Settings::default().with_link_address(SERVER_MAC);
        let mut place: Array<_, [u8; Settings::LENGTH]> = take(abi::SETTINGS).try_into().expect("an array");
        place.set(0, settings.octets(), 0).expect("its hardware address");
        let mut ports: HashMap<_, u16, u8> = take(abi::PORTS).try_into().expect("a hash map");
        ports.insert(53, 0, 0).expect("serve a port");
        let socket = socket(AddressFamily::XDP, SocketType::RAW, None).expect("an AF_XDP socket");
        let mut sockets: XskMap<_> = take(abi::SOCKETS).try_into().expect("an XSKMAP");
        sockets.set(0, socket.as_raw_fd(), 0).expect("fill the slot of queue 0");
        let mut places: Array<_, [u8; PackedHandshakeConfig::LENGTH]> =
            take(abi::TERMS).try_into().expect("an array");
        places.set(0, PackedHandshakeConfig::new(&terms, &epochs).octets(), 0).expect("put the terms");
        let mut in_force: Array<_, u32> = take(abi::IN_FORCE).try_into().expect("an array");
        in_force.set(0, 1, 0).expect("in force");

        let program: &Xdp =
            ebpf.program(abi::PROGRAM).expect("the program").try_into().expect("an XDP program");
        let nobodys = frames(SERVERS[0], false)[1].1.clone();
        let nobodys = Packet { destination_port: 81, ..nobodys };
        println!("  nobody's: {:?} ns (median, 5 %)", measure(program, &nobodys.octets()));
        for server in SERVERS {
            for timestamps in [false, true] {
                for (name, packet) in frames(server, timestamps) {
                    let version = if server.is_ipv4() { "IPv4" } else { "IPv6" };
                    let with = if timestamps { ", timestamps" } else { "" };
                    println!("  {name}, {version}{with}: {:?}", measure(program, &packet.octets()));
                }
            }
        }
    }
}
