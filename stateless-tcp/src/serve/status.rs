//! Views of the running service: snapshots, taps for traces, and targets for health checks.

use super::link_status::Condition;
use super::running::{AttachedProgram, ContentStatus, WorkerHandle};
use crate::af_xdp::socket::{CopyMode, FrameCounts};
use crate::control::check::{CheckTargets, QueueTarget, TestFrame};
use crate::control::stream::TapSource;
use crate::dataplane::worker::WorkerStatus;
use crate::observe::counters::Counters;
use crate::observe::dnstap::DnstapOutput;
use crate::observe::snapshot::{
    InterfaceSnapshot, Label, NamedCounts, QueueSnapshot, Snapshot, seconds, steering_label,
};
use crate::serving::ActiveState;
use crate::serving::build::Stores;
use stateless_tcp_core::outcome::{Outcome, OutcomeKind};
use stateless_tcp_core::steering::SteeringReason;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;
use tokio::sync::mpsc::UnboundedSender;
use xsk_rs::socket::XdpStatistics;

/// Hardware address for an interface whose own is unknown: a local one that no host has.
const UNKNOWN_ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 0];

/// A snapshot of everything.
pub(super) fn snapshot(
    started: SystemTime,
    programs: &[AttachedProgram],
    workers: &[WorkerHandle],
    stores: &Stores,
    content: &ContentStatus,
    dnstap: Option<&DnstapOutput>,
) -> Snapshot {
    Snapshot {
        time: seconds(SystemTime::now()),
        started: seconds(started),
        generation: content.generation,
        generation_since: seconds(content.load_times.content),
        former_generations: content.retained as u64,
        key_since: seconds(content.load_times.key),
        interfaces: programs.iter().map(AttachedProgram::snapshot).collect(),
        queues: workers.iter().map(WorkerHandle::snapshot).collect(),
        relays: stores.relay_snapshots(),
        zones: stores.zones.report().numbers(),
        dnstap: dnstap.map(DnstapOutput::snapshot),
    }
}

/// The taps of all workers.
pub(super) fn tap_sources(programs: &[AttachedProgram], workers: &[WorkerHandle]) -> Arc<[TapSource]> {
    let source = |worker: &WorkerHandle| {
        let driver = program_of(programs, worker).is_some_and(|(_, program)| program.handshake.is_driver());
        let WorkerHandle { interface, queue, shared } = worker;
        TapSource { interface: interface.clone(), queue: *queue, driver, taps: Arc::clone(&shared.taps) }
    };
    workers.iter().map(source).collect()
}

/// The targets of health checks, which run programs by way of `test_frames`.
pub(super) fn check_targets(
    programs: &[AttachedProgram],
    workers: &[WorkerHandle],
    active: Arc<ActiveState>,
    test_frames: UnboundedSender<TestFrame>,
) -> CheckTargets {
    let target = |worker: &WorkerHandle| {
        let (program, attached) = program_of(programs, worker)?;
        let address = attached.program.interface().hardware_address().unwrap_or(UNKNOWN_ADDRESS);
        let WorkerHandle { interface, queue, shared } = worker;
        let (interface, shared) = (interface.clone(), Arc::clone(shared));
        let handshake = attached.handshake.to_string();
        Some(QueueTarget { interface, address, program, handshake, queue: *queue, shared })
    };
    CheckTargets { queues: workers.iter().filter_map(target).collect(), active, test_frames }
}

/// The program of a worker's interface, and its index.
fn program_of<'a>(
    programs: &'a [AttachedProgram],
    worker: &WorkerHandle,
) -> Option<(usize, &'a AttachedProgram)> {
    programs.iter().enumerate().find(|(_, attached)| attached.program.interface().name == worker.interface)
}

/// Runs an XDP program on a frame of a health check, and replies with the verdict.
pub(super) fn run_program(programs: &mut [AttachedProgram], test: TestFrame) {
    let TestFrame { program, queue, mut frame, reply } = test;
    let Some(AttachedProgram { program, link, .. }) = programs.get_mut(program) else { return };
    let verdict = if matches!(link.condition, Condition::Gone | Condition::Down) {
        let (name, condition) = (&program.interface().name, link.condition.name());
        Err(format!("{name} cannot serve: {condition}"))
    } else {
        // It may have changed since the check was prepared.
        if let (Some(address), Some(destination)) = (link.hardware_address(), frame.first_chunk_mut()) {
            *destination = address;
        }
        program.attempt(queue, &frame).map_err(|error| error.to_string())
    };
    // The check may have timed out.
    let _ = reply.send(verdict);
}

/// The program of a worker's interface.
pub(super) fn program_of_worker<'a>(
    programs: &'a [AttachedProgram],
    worker: &WorkerHandle,
) -> Option<&'a AttachedProgram> {
    program_of(programs, worker).map(|(_, attached)| attached)
}

impl AttachedProgram {
    fn snapshot(&self) -> InterfaceSnapshot {
        let Self { program, mode, copy, handshake, link } = self;
        // A map that cannot be read counts as zero.
        let counts = program.counts().unwrap_or_default();
        let steered =
            |&reason: &SteeringReason| (Label::Borrowed(steering_label(reason)), counts[reason as usize]);
        let events = program.events().unwrap_or_default().into_iter();
        let (answered, refused): (Vec<_>, Vec<_>) =
            events.partition(|(outcome, _)| outcome.kind() == OutcomeKind::Answer);
        let named = |(outcome, count): (Outcome, _)| (Label::Borrowed(outcome.name()), count);
        InterfaceSnapshot {
            name: Label::Owned(program.interface().name.clone()),
            condition: Label::Borrowed(link.condition.name()),
            xdp_mode: Label::Borrowed(mode.name()),
            copy: Label::Borrowed(match copy {
                CopyMode::ZeroCopy => "zero-copy",
                CopyMode::Copy => "copy",
            }),
            handshake: Label::Borrowed(handshake.place.name()),
            handshake_reason: Label::Borrowed(handshake.reason.summary()),
            steered: SteeringReason::ALL.iter().map(steered).collect(),
            answered: answered.into_iter().map(named).collect(),
            refused: refused.into_iter().map(named).collect(),
            partial_checksums: program.partial_checksums().unwrap_or_default(),
        }
    }
}

impl WorkerHandle {
    fn snapshot(&self) -> QueueSnapshot {
        let Self { interface, queue, shared } = self;
        let status = shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (frames, socket, tables) = match status {
            Some(WorkerStatus { frames, statistics, tables, .. }) => (
                frames_by_place(frames),
                statistics.map(socket_events).unwrap_or_default(),
                tables.map(Vec::from).unwrap_or_default(),
            ),
            None => Default::default(),
        };
        QueueSnapshot {
            interface: Label::Owned(interface.clone()),
            queue: *queue,
            traffic: counts(&shared.counters, OutcomeKind::Traffic),
            answered: counts(&shared.counters, OutcomeKind::Answer),
            refused: counts(&shared.counters, OutcomeKind::Refusal),
            duration: shared.duration.read(),
            frames,
            socket,
            tables,
        }
    }
}

fn counts(counters: &Counters, kind: OutcomeKind) -> NamedCounts {
    let selected = Outcome::ALL.iter().filter(|counter| counter.kind() == kind);
    selected.map(|&counter| (Label::Borrowed(counter.name()), counters.get(counter))).collect()
}

fn frames_by_place(frames: FrameCounts) -> NamedCounts {
    let FrameCounts { free, receiving, sending } = frames;
    [("free", free), ("receiving", receiving), ("sending", sending)]
        .map(|(place, count)| (Label::Borrowed(place), count as u64))
        .into()
}

fn socket_events(statistics: XdpStatistics) -> NamedCounts {
    [
        ("rx_dropped", statistics.rx_dropped()),
        ("rx_ring_full", statistics.rx_ring_full()),
        ("rx_fill_ring_empty", statistics.rx_fill_ring_empty_descs()),
        ("rx_invalid_descriptor", statistics.rx_invalid_descs()),
        ("tx_invalid_descriptor", statistics.tx_invalid_descs()),
        ("tx_ring_empty", statistics.tx_ring_empty_descs()),
    ]
    .map(|(event, count)| (Label::Borrowed(event), count))
    .into()
}
