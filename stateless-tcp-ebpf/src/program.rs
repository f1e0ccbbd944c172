//! The program proper: packet access, maps, and the one match from reason to XDP action.

mod fast_path;
mod scratch;

use core::ptr;

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, XskMap};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::{debug, trace};
use stateless_tcp_core::admission::{self, PacketKind, SETS, Set, WAYS};
use stateless_tcp_core::steering::{Action, ClientPolicy, Steering, SteeringReason, VlanTags, steer};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::{
    CLIENT_ENTRIES, MAX_ADDRESSES, MAX_COUNTS, MAX_LINK_ADDRESSES, MAX_PORTS, MAX_QUEUES, MAX_VLANS, Settings,
};
use stateless_tcp_ebpf::packet::Packet;

#[map]
static ADDRESSES: HashMap<Address, u8> = HashMap::with_max_entries(MAX_ADDRESSES, 0);
#[map]
static PORTS: HashMap<u16, u8> = HashMap::with_max_entries(MAX_PORTS, 0);
#[map]
static LINK_ADDRESSES: HashMap<[u8; 6], u8> = HashMap::with_max_entries(MAX_LINK_ADDRESSES, 0);
#[map]
static VLANS: HashMap<VlanTags, u8> = HashMap::with_max_entries(MAX_VLANS, BPF_F_NO_PREALLOC);
#[map]
static CLIENTS: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(CLIENT_ENTRIES, 0);
#[map]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
static BUCKETS: Array<[u64; WAYS]> = Array::with_max_entries(SETS, 0);
#[map]
static SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);
#[map]
static HELD: Array<u32> = Array::with_max_entries(1, 0);
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_COUNTS, 0);

/// Set before loading, and constant from then on: the verifier removes what is not wanted.
#[unsafe(no_mangle)]
static HANDSHAKE: u8 = 0;

/// Entry point.
#[xdp]
fn stateless_tcp(context: XdpContext) -> u32 {
    let reason = match steer(&Packet(&context), &Maps) {
        Ok(layout) => {
            // SAFETY: a read of a constant of this program, volatile because the loader has replaced it.
            let answers = unsafe { ptr::read_volatile(&raw const HANDSHAKE) } == 1;
            if answers && (SOCKETS.get(context.rx_queue_index()).is_some() || is_held()) {
                fast_path::call(&context, layout);
            }
            redirect(&context)
        }
        Err(reason) => reason,
    };
    finish(&context, reason)
}

/// Redirects a served frame to the socket of its queue.
#[inline(always)]
fn redirect(context: &XdpContext) -> SteeringReason {
    // Where the queue has no socket, the helper returns the action given it as a flag.
    if SOCKETS.redirect(context.rx_queue_index(), u64::from(XDP_PASS)).is_ok() {
        SteeringReason::Served
    } else if is_held() {
        SteeringReason::Held
    } else {
        SteeringReason::NoSocket
    }
}

/// Counts and logs the frame; returns the XDP action.
#[inline(always)]
fn finish(context: &XdpContext, reason: SteeringReason) -> u32 {
    let queue = context.rx_queue_index();
    count(reason);
    match reason.action() {
        Action::Redirect => {
            trace!(context, "queue {}: to the socket", queue);
            XDP_REDIRECT
        }
        Action::Drop => {
            debug!(context, "queue {}: dropped, {}", queue, reason.name());
            XDP_DROP
        }
        Action::Pass => {
            trace!(context, "queue {}: to the kernel, {}", queue, reason.name());
            XDP_PASS
        }
    }
}

/// Whether a socket is about to come where there is none.
#[inline(always)]
fn is_held() -> bool {
    HELD.get(0).is_some_and(|&held| held == 1)
}

#[inline(always)]
fn count(reason: SteeringReason) {
    if let Some(count) = COUNTS.get_ptr_mut(reason as u32) {
        // SAFETY: the map hands out a pointer to this CPU's own value, which no one else writes.
        unsafe { *count += 1 };
    }
}

struct Maps;

impl Steering for Maps {
    #[inline(always)]
    fn address(&self, address: &Address) -> bool {
        SETTINGS.get(0).is_some_and(|settings| settings.is_first_address(address))
            || ADDRESSES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn port(&self, port: u16) -> bool {
        SETTINGS.get(0).is_some_and(|settings| settings.is_first_port(port)) || PORTS.get_ptr(&port).is_some()
    }

    #[inline(always)]
    fn datagrams(&self) -> Option<u16> {
        SETTINGS.get(0)?.datagrams()
    }

    #[inline(always)]
    fn treatment(&self, client: &Address) -> ClientPolicy {
        if !SETTINGS.get(0).is_some_and(|settings| settings.may_be_listed(client)) {
            return ClientPolicy::Serve;
        }
        let [high, low] = admission::halves(client);
        ClientPolicy::numbered(treatment(high, low) as u8)
    }

    #[inline(always)]
    fn limits_segments(&self) -> bool {
        SETTINGS.get(0).is_some_and(|settings| settings.limit.is_for_segments())
    }

    #[inline(always)]
    fn affords(&self, client: &Address, kind: PacketKind) -> bool {
        let [high, low] = admission::halves(client);
        affords(high, low, kind)
    }

    #[inline(always)]
    fn link_address(&self, address: &[u8; 6]) -> bool {
        SETTINGS.get(0).is_some_and(|settings| settings.link_address() == address)
            || LINK_ADDRESSES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn vlan(&self, tags: VlanTags) -> bool {
        VLANS.get_ptr(&tags).is_some()
    }

    #[inline(always)]
    fn passes_extension_headers(&self) -> bool {
        SETTINGS.get(0).is_some_and(Settings::passes_extension_headers)
    }
}

/// The number of the [`ClientPolicy`] of the client whose address these are the halves of. Not inlined, and handed numbers, as
/// the caller's stack has no room for the key.
#[inline(never)]
fn treatment(high: u64, low: u64) -> u32 {
    let address = u128::from(high) << 64 | u128::from(low);
    CLIENTS.get(Key::new(128, address.to_be_bytes())).map_or(0, |&treatment| treatment.into())
}

/// Takes a token of a client's, for a packet of this kind. False if there is none. Not inlined, likewise.
#[inline(never)]
fn affords(high: u64, low: u64, kind: PacketKind) -> bool {
    let Some(Settings { limit, .. }) = SETTINGS.get(0) else { return true };
    if !limit.is_for(kind) {
        return true;
    }
    let bucket = limit.bucket([high, low], kind);
    // SAFETY: the helper has no conditions.
    let now = unsafe { bpf_ktime_get_ns() };
    BUCKETS.get_ptr_mut(bucket.set).is_none_or(|set| {
        // SAFETY: the map holds such sets; what other CPUs do meanwhile costs a token at most, as `Set` says.
        let set = unsafe { &*set.cast::<Set>() };
        bucket.take(set, now)
    })
}
