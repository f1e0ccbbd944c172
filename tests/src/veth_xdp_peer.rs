//! An XDP peer makes one end of a veth pair take what an XDP program at the other end sends (`XDP_TX`): an XDP program of its
//! own. GRO, which the kernel turns on with it, merges nothing: frames are to be seen as they were sent.

use std::fmt;

use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use stateless_tcp_ebpf::abi;

use crate::netns::Netns;

/// The program under test, which passes everything as long as it is not told what is served.
const OBJECT: &[u8] = aya::include_bytes_aligned!("../../stateless-tcp-ebpf/stateless-tcp.bpf.o");

/// Holds the program on an interface. Dropped, it is off.
pub struct VethXdpPeer {
    _ebpf: Ebpf,
}

impl fmt::Debug for VethXdpPeer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VethXdpPeer")
    }
}

impl VethXdpPeer {
    /// Has `interface` take frames.
    pub fn attach(namespace: &Netns, interface: &str) -> Self {
        namespace.run(&format!("ip link set {interface} gro_max_size 1"));
        let mut ebpf = Ebpf::load(OBJECT).expect("load the object");
        namespace.enter(|| {
            let program: &mut Xdp =
                ebpf.program_mut(abi::PROGRAM).expect("the program").try_into().expect("an XDP program");
            program.load().expect("the verifier accepts it");
            program.attach(interface, XdpMode::Driver).expect("attach it");
        });
        Self { _ebpf: ebpf }
    }
}
