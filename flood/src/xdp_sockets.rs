//! The XDP program of the generator and a socket on each queue. All gone when dropped: the kernel has its frames back.

use anyhow::{Context as _, Result, bail};
use aya::maps::{PerCpuArray, XskMap};
use aya::programs::{Xdp, XdpMode as AyaMode};
use aya::{Ebpf, EbpfLoader};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use stateless_tcp::af_xdp::XdpError;
use stateless_tcp::af_xdp::existing_program::make_way;
use stateless_tcp::af_xdp::interface::{AttachMode, Interface};
use stateless_tcp::af_xdp::socket::{CopyMode, Socket};
use stateless_tcp::af_xdp::umem::Pool;
use stateless_tcp::config::XdpMode;
use stateless_tcp::observe::counters::Counters;
use stateless_tcp_flood_filter::{FlowClass, Plan};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

const OBJECT: &[u8] = aya::include_bytes_aligned!("../filter/flood.bpf.o");

/// The ways to attach and to bind, the best first.
const WAYS: [(AttachMode, CopyMode); 3] = [
    (AttachMode::Native, CopyMode::ZeroCopy),
    (AttachMode::Native, CopyMode::Copy),
    (AttachMode::Generic, CopyMode::Copy),
];

/// The program, attached, and the sockets that it hands frames to.
pub struct XdpSockets {
    ebpf: Ebpf,
    /// One a queue.
    pub sockets: Vec<Socket>,
    /// Their attach mode and copy mode.
    pub way: (AttachMode, CopyMode),
}

impl XdpSockets {
    /// Takes what `plan` says off `interface` from now on.
    ///
    /// # Errors
    /// The kernel's reason, with what usually helps.
    pub fn open(interface: &Interface, plan: &Plan, mode: XdpMode) -> Result<Self> {
        // Packet memory counts against this limit. Without the right to raise it, binding says what is missing.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        make_way(interface, false)?;
        let wanted = |attach| match mode {
            XdpMode::Auto => true,
            XdpMode::Native => attach == AttachMode::Native,
            XdpMode::Generic => attach == AttachMode::Generic,
        };
        let mut reasons = Vec::new();
        for way in WAYS.into_iter().filter(|&(attach, _)| wanted(attach)) {
            match Self::open_as(interface, plan, way) {
                Ok(xdp_sockets) => return Ok(xdp_sockets),
                Err(error) => reasons.push(format!("{}, {}: {error:#}", way.0.name(), way.1.name())),
            }
        }
        bail!("no way to take frames off {}:\n  {}", interface.name, reasons.join("\n  "))
    }

    fn open_as(interface: &Interface, plan: &Plan, way: (AttachMode, CopyMode)) -> Result<Self> {
        let words = plan.words();
        let mut ebpf = EbpfLoader::new()
            .override_global(stateless_tcp_flood_filter::PLAN, &words, true)
            .load(OBJECT)
            .context("cannot load the XDP program")?;
        let queues = interface.queues().context("cannot list the RX queues")?;
        let mut sockets = Vec::with_capacity(queues.len());
        for &queue in &queues {
            let pool = Pool::new(interface, queue)?;
            sockets.push(Socket::bind(pool, interface, queue, way.0, way.1, Arc::new(Counters::default()))?);
        }
        let map =
            ebpf.map_mut(stateless_tcp_flood_filter::SOCKETS).context("the program has no map of sockets")?;
        let mut registered = XskMap::try_from(map)?;
        for (&queue, socket) in queues.iter().zip(&sockets) {
            registered.set(queue, socket.as_raw_fd(), 0)?;
        }
        let program: &mut Xdp = ebpf
            .program_mut(stateless_tcp_flood_filter::PROGRAM)
            .context("the object has no such program")?
            .try_into()?;
        program.load().context("cannot load the XDP program")?;
        let mode = if way.0 == AttachMode::Generic { AyaMode::Skb } else { AyaMode::Driver };
        program.attach_to_if_index(interface.index, mode).map_err(|error| XdpError::Attach {
            interface: interface.name.clone(),
            mode: way.0.name(),
            reason: format!("{:#}", anyhow::Error::from(error)),
            hint: "",
        })?;
        Ok(Self { ebpf, sockets, way })
    }

    /// Number of frames of this class that the program has counted, on all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn count(&self, class: FlowClass) -> Result<u64> {
        let map =
            self.ebpf.map(stateless_tcp_flood_filter::COUNTS).context("the program has no map of counts")?;
        let counts: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(counts.get(&(class as u32), 0)?.iter().sum())
    }
}
