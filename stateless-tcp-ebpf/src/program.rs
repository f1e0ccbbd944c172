//! The program proper: packet access, maps, and the one match from reason to XDP action.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{HashMap, PerCpuArray, XskMap};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::{debug, trace};
use stateless_tcp_ebpf::abi::{Counts, MAX_ADDRESSES, MAX_PORTS, MAX_QUEUES};
use stateless_tcp_ebpf::segment::Address;
use stateless_tcp_ebpf::steer::{Action, Frame, Reason, Served, steer};

#[map]
static ADDRESSES: HashMap<Address, u8> = HashMap::with_max_entries(MAX_ADDRESSES, 0);
#[map]
static PORTS: HashMap<u16, u8> = HashMap::with_max_entries(MAX_PORTS, 0);
#[map]
static SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);
#[map]
static COUNTS: PerCpuArray<Counts> = PerCpuArray::with_max_entries(1, 0);

/// Entry point.
#[xdp]
fn stateless_tcp(context: XdpContext) -> u32 {
    let queue = context.rx_queue_index();
    let reason = match steer(&Packet { start: context.data(), end: context.data_end() }, &Maps) {
        // Where the queue has no socket, the helper says so by the action given it as a flag.
        Ok(_) if SOCKETS.redirect(queue, u64::from(XDP_PASS)).is_ok() => Reason::Served,
        Ok(_) => Reason::NoSocket,
        Err(reason) => reason,
    };
    count(reason);
    match reason.action() {
        Action::Redirect => {
            trace!(&context, "queue {}: to the socket", queue);
            XDP_REDIRECT
        }
        Action::Drop => {
            debug!(&context, "queue {}: dropped, {}", queue, reason.name());
            XDP_DROP
        }
        Action::Pass => {
            trace!(&context, "queue {}: to the kernel, {}", queue, reason.name());
            XDP_PASS
        }
    }
}

#[inline(always)]
fn count(reason: Reason) {
    if let Some(counts) = COUNTS.get_ptr_mut(0) {
        // SAFETY: the map hands out a pointer to this CPU's own value, which no one else writes; it is never null here.
        unsafe { (*counts).0[reason as usize] += 1 };
    }
}

struct Packet {
    start: usize,
    end: usize,
}

impl Frame for Packet {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if self.start + offset + N > self.end {
            return None;
        }
        // SAFETY: the kernel owns the packet from `start` to `end` while the program runs, and the range lies within,
        // as the verifier checks again; an array of octets has no alignment.
        Some(unsafe { *((self.start + offset) as *const [u8; N]) })
    }
}

struct Maps;

impl Served for Maps {
    #[inline(always)]
    fn address(&self, address: &Address) -> bool {
        ADDRESSES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn port(&self, port: u16) -> bool {
        PORTS.get_ptr(&port).is_some()
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel's helpers for redirection ask for no licence, those for logging do.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
