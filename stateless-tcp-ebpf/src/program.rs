//! The program proper: packet access, maps, and the one match from reason to XDP action.

mod scratch;

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX};
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, XskMap};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::{debug, trace};
use stateless_tcp_core::admission::{self, PacketKind, SETS, Set, WAYS};
use stateless_tcp_core::outcome::{Outcome, XdpAction};
use stateless_tcp_core::steering::{Action, ClientPolicy, Layout, Protocol, Steering, SteeringReason, steer};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_core::tcp::{TcpConfig, handle_in_driver};
use stateless_tcp_core::udp::{self, Question};
use stateless_tcp_core::wire::control_segment::{self, ControlSegment, Header};
use stateless_tcp_ebpf::abi::{
    Counts, MAX_ADDRESSES, MAX_CLIENTS, MAX_EVENTS, MAX_PORTS, MAX_QUEUES, MAX_TERMS, PackedHandshakeConfig,
    Settings,
};

use self::scratch::{Datagram, OptionScratch};
use stateless_tcp_ebpf::packet::Packet;

#[map]
static ADDRESSES: HashMap<Address, u8> = HashMap::with_max_entries(MAX_ADDRESSES, 0);
#[map]
static PORTS: HashMap<u16, u8> = HashMap::with_max_entries(MAX_PORTS, 0);
#[map]
static CLIENTS: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(MAX_CLIENTS, 0);
#[map]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
static BUCKETS: Array<[u64; WAYS]> = Array::with_max_entries(SETS, 0);
#[map]
static SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);
#[map]
static HELD: Array<u32> = Array::with_max_entries(1, 0);
#[map]
static COUNTS: PerCpuArray<Counts> = PerCpuArray::with_max_entries(1, 0);

#[map]
static TERMS: Array<PackedHandshakeConfig> = Array::with_max_entries(MAX_TERMS, 0);
#[map]
static IN_FORCE: Array<u32> = Array::with_max_entries(1, 0);
#[map]
static EVENTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_EVENTS, 0);
#[map]
static WORK: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Set before loading, and constant from then on: the verifier removes what is not wanted.
#[unsafe(no_mangle)]
static HANDSHAKE: u8 = 0;

/// Entry point.
#[xdp]
fn stateless_tcp(context: XdpContext) -> u32 {
    let queue = context.rx_queue_index();
    let steered = steer(&Packet(&context), &Maps);
    // SAFETY: a read of a constant of this program, volatile because the loader has replaced it.
    if let (Ok(layout), 1) = (steered, unsafe { ptr::read_volatile(&raw const HANDSHAKE) })
        && (SOCKETS.get(queue).is_some() || is_held())
        && let Some(outcome) = answer(&context, layout)
    {
        count(SteeringReason::Served);
        record(outcome);
        debug!(&context, "queue {}: {}", queue, outcome.name());
        return if outcome.xdp_action() == XdpAction::Transmit { XDP_TX } else { XDP_DROP };
    }
    let reason = match steered {
        // Where the queue has no socket, the helper says so by the action given it as a flag.
        Ok(_) if SOCKETS.redirect(queue, u64::from(XDP_PASS)).is_ok() => SteeringReason::Served,
        Ok(_) if is_held() => SteeringReason::Held,
        Ok(_) => SteeringReason::NoSocket,
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

/// Whether a socket is about to come where there is none.
#[inline(always)]
fn is_held() -> bool {
    HELD.get(0).is_some_and(|&held| held == 1)
}

/// Makes of the packet its answer, if it gets one here, and says what became of it; none, and the packet as it was, if it
/// is for user space.
///
/// Its steps are functions that are not inlined, so that each has the stack for itself, and hand on their results in
/// [`Scratch`].
#[inline(always)]
fn answer(context: &XdpContext, layout: Layout) -> Option<Outcome> {
    // SAFETY: the value is this CPU's own, and nothing else on it runs meanwhile.
    let work = unsafe { &mut *WORK.get_ptr_mut(0)? };
    work.layout.write(layout);
    if layout.protocol == Protocol::Udp {
        return truncate(context, work);
    }
    let terms = TERMS.get(IN_FORCE.get(0)?.wrapping_sub(1))?;
    if !read(context, work) {
        return None;
    }
    let outcome = decide(terms, work)?;
    if outcome.xdp_action() == XdpAction::Transmit && !write(context, work) {
        return None;
    }
    // SAFETY: `read` has put it there.
    if unsafe { work.received.assume_init_ref() }.partial_checksum {
        record(Outcome::PartialChecksum);
    }
    Some(outcome)
}

/// The same, of a question over UDP.
#[inline(always)]
fn truncate(context: &XdpContext, work: &mut Scratch) -> Option<Outcome> {
    let outcome = inquire(context, work);
    let answers = outcome.xdp_action() == XdpAction::Transmit;
    if answers && !reply(context, work) {
        return None;
    }
    // SAFETY: `inquire` has put it there.
    if answers && unsafe { work.question.assume_init_ref() }.partial_checksum {
        record(Outcome::PartialChecksum);
    }
    Some(outcome)
}

/// What the steps of an answer hand on. In a map, so that the verifier forgets what it knows of it: it goes through each
/// step once, and not once for each way through those before it.
struct Scratch {
    config: MaybeUninit<TcpConfig>,
    layout: MaybeUninit<Layout>,
    received: MaybeUninit<ControlSegment>,
    header: MaybeUninit<Header>,
    room: [u8; OptionScratch::OCTETS],
    question: MaybeUninit<Question>,
    forgotten: u16,
}

/// Reads the segment. False if it is for user space.
#[inline(never)]
fn read(context: &XdpContext, work: &mut Scratch) -> bool {
    // SAFETY: `answer` has put it there.
    let layout = unsafe { work.layout.assume_init_ref() };
    let received = control_segment::read(&Packet(context), layout, &mut OptionScratch(&raw mut work.room));
    received.map(|received| work.received.write(received)).is_some()
}

/// Decides about it, and makes the header of the answer, if there is one. None if it is for user space.
#[inline(never)]
fn decide(terms: &PackedHandshakeConfig, work: &mut Scratch) -> Option<Outcome> {
    // SAFETY: `read` has put it there.
    let ControlSegment { segment, .. } = unsafe { work.received.assume_init_ref() };
    let config = work.config.write(terms.unpack());
    let (outcome, answer) = handle_in_driver(config, segment)?;
    if let Some(answer) = &answer {
        work.header.write(Header::new(&segment.tuple, answer));
    }
    Some(outcome)
}

/// Reads the question, and says what it gets.
#[inline(never)]
fn inquire(context: &XdpContext, work: &mut Scratch) -> Outcome {
    // SAFETY: `answer` has put it there.
    let layout = unsafe { work.layout.assume_init_ref() };
    let datagram = Datagram { packet: Packet(context), place: &raw mut work.forgotten };
    match udp::read(&datagram, layout) {
        Ok(question) => {
            work.question.write(question);
            Outcome::UdpTruncated
        }
        Err(outcome) => outcome,
    }
}

/// Writes the answer to the question. False, and the packet as it was, if that cannot be made as long.
#[inline(never)]
fn reply(context: &XdpContext, work: &mut Scratch) -> bool {
    // SAFETY: `answer` and `inquire` have put them there.
    let (layout, question) = unsafe { (work.layout.assume_init_ref(), work.question.assume_init_ref()) };
    let mut datagram = Datagram { packet: Packet(context), place: &raw mut work.forgotten };
    resize(context, question.frame_length(layout)) && question.write(&mut datagram, layout).is_some()
}

/// Writes the answer. False, and the packet as it was, if that cannot be made as long.
#[inline(never)]
fn write(context: &XdpContext, work: &Scratch) -> bool {
    // SAFETY: `answer`, `read` and `decide` have put them there.
    let (layout, received, header) = unsafe {
        (work.layout.assume_init_ref(), work.received.assume_init_ref(), work.header.assume_init_ref())
    };
    // As long as its answer then, so that all of it can be written.
    resize(context, header.frame_length(layout))
        && header.write(&mut Packet(context), layout, &received.segment.tuple).is_some()
}

/// Cuts the packet, or makes it longer. False, and it is as it was, if that cannot be.
#[inline(always)]
fn resize(context: &XdpContext, length: usize) -> bool {
    let (start, end) = Packet(context).ends();
    let delta = length as i32 - (end - start) as i32;
    // SAFETY: the context is the one that this program was called with.
    delta == 0 || unsafe { bpf_xdp_adjust_tail(context.as_ptr().cast(), delta) } == 0
}

#[inline(always)]
fn record(outcome: Outcome) {
    if let Some(count) = EVENTS.get_ptr_mut(outcome as u32) {
        // SAFETY: as in `count`.
        unsafe { *count += 1 };
    }
}

#[inline(always)]
fn count(reason: SteeringReason) {
    if let Some(counts) = COUNTS.get_ptr_mut(0) {
        // SAFETY: the map hands out a pointer to this CPU's own value, which no one else writes; it is never null here.
        unsafe { (*counts).0[reason as usize] += 1 };
    }
}

struct Maps;

impl Steering for Maps {
    #[inline(always)]
    fn address(&self, address: &Address) -> bool {
        ADDRESSES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn port(&self, port: u16) -> bool {
        PORTS.get_ptr(&port).is_some()
    }

    #[inline(always)]
    fn datagrams(&self) -> Option<u16> {
        SETTINGS.get(0)?.datagrams()
    }

    #[inline(always)]
    fn treatment(&self, client: &Address) -> ClientPolicy {
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
