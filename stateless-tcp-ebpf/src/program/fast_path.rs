//! The fast path, as a chain of programs: three for TCP segments, two for queries over UDP.
//!
//! The entry program tail-calls the first for served frames. The verifier checks each program by itself, so each has a whole
//! budget, and no path through one program multiplies those through the next.

use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use stateless_tcp_core::outcome::{Outcome, XdpAction};
use stateless_tcp_core::steering::{Layout, Protocol, SteeringReason};
use stateless_tcp_core::tcp::epoch::Epochs;
use stateless_tcp_core::tcp::segment::FastOpen;
use stateless_tcp_core::tcp::{TcpConfig, handle_in_driver};
use stateless_tcp_core::udp::{self, Question};
use stateless_tcp_core::wire::control_segment::{self, ControlSegment, Header};
use stateless_tcp_ebpf::abi::{
    FAST_PATH_PROGRAMS, FastPathProgram, MAX_EVENTS, MAX_TERMS, PackedHandshakeConfig,
};
use stateless_tcp_ebpf::packet::Packet;

use super::scratch::{Datagram, OptionScratch};
use super::{count, finish, redirect};

#[map]
static FAST_PATH: ProgramArray = ProgramArray::with_max_entries(FAST_PATH_PROGRAMS, 0);
#[map]
static TERMS: Array<PackedHandshakeConfig> = Array::with_max_entries(MAX_TERMS, 0);
#[map]
static IN_FORCE: Array<u32> = Array::with_max_entries(1, 0);
#[map]
static EVENTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_EVENTS, 0);
#[map]
static WORK: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The results that one program or step hands to the next. They are in a map, so that the verifier forgets their values:
/// it checks each step once, and not once for each path through the steps before it.
struct Scratch {
    config: MaybeUninit<(TcpConfig, Epochs)>,
    layout: MaybeUninit<Layout>,
    received: MaybeUninit<ControlSegment>,
    header: MaybeUninit<Header>,
    room: [u8; OptionScratch::OCTETS],
    question: MaybeUninit<Question>,
    forgotten: u16,
    outcome: MaybeUninit<Option<Outcome>>,
}

/// XDP action where the next program is not loaded: the process has ended meanwhile, and its socket with it. The client
/// sends the frame again.
const UNLOADED: u32 = XDP_DROP;

impl Scratch {
    #[inline(always)]
    fn get<'a>() -> Option<&'a mut Self> {
        // SAFETY: the value is this CPU's own, and nothing else on it runs meanwhile.
        WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work })
    }
}

/// Calls the first program for a frame of this protocol. Returns only if that is not loaded.
#[inline(always)]
pub(super) fn call(context: &XdpContext, layout: Layout) {
    let Some(work) = Scratch::get() else { return };
    let place = work.layout.as_mut_ptr();
    // Field by field: verifiers before Linux 6.3 do not let a program copy the padding between them.
    // SAFETY: the place lies within the map's value.
    unsafe {
        (*place).network = layout.network;
        (*place).transport = layout.transport;
        (*place).version = layout.version;
        (*place).protocol = layout.protocol;
    }
    let program = match layout.protocol {
        Protocol::Tcp => FastPathProgram::ParseSegment,
        Protocol::Udp => FastPathProgram::ParseQuery,
    };
    continue_with(context, program);
}

/// Continues with another program. Returns only if that is not loaded.
#[inline(always)]
fn continue_with(context: &XdpContext, program: FastPathProgram) {
    // SAFETY: the callers hold nothing that would have to be dropped.
    unsafe { FAST_PATH.tail_call(context, program as u32) };
}

/// Parses a TCP segment without payload. Any other goes to the socket.
#[xdp]
fn parse_segment(context: XdpContext) -> u32 {
    if let Some(work) = Scratch::get() {
        // SAFETY: the entry program has put it there.
        let layout = unsafe { work.layout.assume_init_ref() };
        let mut options = OptionScratch(&raw mut work.room);
        if let Some(mut received) = control_segment::read(&Packet(&context), layout, &mut options) {
            // The cookie is for user space. Without one it is no number, and may not be copied before Linux 6.3.
            let fast_open = received.segment.options.fast_open.map(|_| FastOpen::Request);
            received.segment.options.fast_open = fast_open;
            work.received.write(received);
            continue_with(&context, FastPathProgram::DecideSegment);
        }
    }
    finish(&context, redirect(&context))
}

/// Decides about the segment, and makes the header of the answer, if it gets one.
///
/// The verifier goes through the most instructions here, so the next program does everything else.
#[xdp]
fn decide_segment(context: XdpContext) -> u32 {
    if let Some(work) = Scratch::get() {
        let outcome = decide(work);
        work.outcome.write(outcome);
        continue_with(&context, FastPathProgram::WriteSegment);
    }
    UNLOADED
}

/// None if the segment is for user space.
#[inline(always)]
fn decide(work: &mut Scratch) -> Option<Outcome> {
    let config = TERMS.get(IN_FORCE.get(0)?.wrapping_sub(1))?;
    // SAFETY: `parse_segment` has put it there.
    let ControlSegment { segment, .. } = unsafe { work.received.assume_init_ref() };
    let (config, epochs) = work.config.write(config.unpack());
    let (outcome, answer) = handle_in_driver(config, *epochs, segment)?;
    if let Some(answer) = &answer {
        work.header.write(Header::new(&segment.tuple, answer));
    }
    Some(outcome)
}

/// Writes the answer over the segment, if it gets one.
#[xdp]
fn write_segment(context: XdpContext) -> u32 {
    answer_segment(&context).unwrap_or_else(|| finish(&context, redirect(&context)))
}

/// None, and the frame as it was, if it is for user space.
#[inline(always)]
fn answer_segment(context: &XdpContext) -> Option<u32> {
    let work = Scratch::get()?;
    // SAFETY: the entry program, `parse_segment` and `decide_segment` have put them there; the header if there is an answer.
    let (layout, received, outcome, header) = unsafe {
        (
            work.layout.assume_init_ref(),
            work.received.assume_init_ref(),
            work.outcome.assume_init()?,
            &*work.header.as_ptr(),
        )
    };
    if outcome.xdp_action() == XdpAction::Transmit {
        // First as long as the answer, so that all of it can be written.
        if !resize(context, header.frame_length(layout)) {
            return None;
        }
        header.write(&mut Packet(context), layout, &received.segment.tuple)?;
    }
    Some(conclude(context, outcome, received.partial_checksum))
}

/// Parses a query over UDP.
#[xdp]
fn parse_query(context: XdpContext) -> u32 {
    if let Some(work) = Scratch::get() {
        // SAFETY: the entry program has put it there.
        let layout = unsafe { work.layout.assume_init_ref() };
        let datagram = Datagram { packet: Packet(&context), place: &raw mut work.forgotten };
        let outcome = match udp::read(&datagram, layout) {
            Ok(question) => {
                work.question.write(question);
                Outcome::UdpTruncated
            }
            Err(outcome) => outcome,
        };
        work.outcome.write(Some(outcome));
        continue_with(&context, FastPathProgram::WriteResponse);
    }
    UNLOADED
}

/// Writes the response over the query, if it gets one.
#[xdp]
fn write_response(context: XdpContext) -> u32 {
    answer_query(&context).unwrap_or_else(|| finish(&context, redirect(&context)))
}

/// None, and the frame as it was, if it is for user space.
#[inline(always)]
fn answer_query(context: &XdpContext) -> Option<u32> {
    let work = Scratch::get()?;
    let mut datagram = Datagram { packet: Packet(context), place: &raw mut work.forgotten };
    // SAFETY: the entry program and `parse_query` have put them there; the question if there is a response.
    let (layout, outcome, question) =
        unsafe { (work.layout.assume_init_ref(), work.outcome.assume_init()?, &*work.question.as_ptr()) };
    if outcome.xdp_action() != XdpAction::Transmit {
        return Some(conclude(context, outcome, false));
    }
    if !resize(context, question.frame_length(layout)) {
        return None;
    }
    question.write(&mut datagram, layout)?;
    Some(conclude(context, outcome, question.partial_checksum))
}

/// Counts and logs a frame that the fast path answered or dropped; returns the XDP action.
#[inline(always)]
fn conclude(context: &XdpContext, outcome: Outcome, partial_checksum: bool) -> u32 {
    count(SteeringReason::Served);
    record(outcome);
    if partial_checksum {
        record(Outcome::PartialChecksum);
    }
    let queue = context.rx_queue_index();
    // Without the name of the outcome: the verifier would go through the message once for each length of a name.
    if outcome.xdp_action() == XdpAction::Transmit {
        debug!(context, "queue {}: answered", queue);
        XDP_TX
    } else {
        debug!(context, "queue {}: settled", queue);
        XDP_DROP
    }
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
        // SAFETY: the map hands out a pointer to this CPU's own value, which no one else writes.
        unsafe { *count += 1 };
    }
}
