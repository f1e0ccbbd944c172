//! What can be seen of the running service at one moment.

use super::reload::Reloader;
use crate::af_xdp::interface::AttachMode;
use crate::af_xdp::program::Program;
use crate::af_xdp::socket::{CopyMode, FrameCounts};
use crate::af_xdp::test_run::XdpVerdict;
use crate::commands::check::conduct::{Door, House, Trial};
use crate::control::stream::Source;
use crate::dataplane::worker::{Shared, WorkerStatus};
use crate::observe::counters::Counters;
use crate::observe::dnstap::Output;
use crate::observe::snapshot::{Counts, Interface, Name, Queue, Snapshot, name_of, seconds};
use crate::serving::Switch;
use crate::serving::build::Stores;
use stateless_tcp_core::outcome::{Outcome, OutcomeKind};
use stateless_tcp_core::steering::SteeringReason;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;
use tokio::sync::mpsc::UnboundedSender;
use xsk_rs::socket::XdpStatistics;

/// Where the system does not tell an interface's own: nobody's either.
const NO_ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 0];

/// A program, and how its interface is served.
pub(super) struct Served {
    pub(super) program: Program,
    pub(super) attach: AttachMode,
    pub(super) copy: CopyMode,
    /// The program answers what takes no content.
    pub(super) handshake: bool,
}

/// A worker as main sees it.
pub(super) struct Worker {
    pub(super) interface: String,
    pub(super) queue: u32,
    pub(super) shared: Arc<Shared>,
}

/// Looks at everything.
pub(super) fn look(
    started: SystemTime,
    served: &[Served],
    workers: &[Worker],
    stores: &Stores,
    reloader: &Reloader,
    dnstap: Option<&Output>,
) -> Snapshot {
    Snapshot {
        time: seconds(SystemTime::now()),
        started: seconds(started),
        generation: reloader.offer().current.generation,
        generation_since: seconds(reloader.since.generation),
        former_generations: reloader.kept() as u64,
        key_since: seconds(reloader.since.key),
        interfaces: served.iter().map(Served::look).collect(),
        queues: workers.iter().map(Worker::look).collect(),
        relays: stores.relays(),
        zones: stores.zones.report().numbers(),
        dnstap: dnstap.map(Output::look),
    }
}

/// Where frames can be listened to.
pub(super) fn sources(served: &[Served], workers: &[Worker]) -> Arc<[Source]> {
    let source = |worker: &Worker| {
        let of = |served: &&Served| served.program.interface().name == worker.interface;
        let driver = served.iter().find(of).is_some_and(|served| served.handshake);
        let Worker { interface, queue, shared } = worker;
        Source { interface: interface.clone(), queue: *queue, driver, outlet: Arc::clone(&shared.outlet) }
    };
    workers.iter().map(source).collect()
}

/// What a check goes by; its trials come to `trials`. An interface that is not Ethernet is not checked.
pub(super) fn house(
    served: &[Served],
    workers: &[Worker],
    switch: Arc<Switch>,
    trials: UnboundedSender<Trial>,
) -> House {
    let door = |worker: &Worker| {
        let of = |served: &Served| served.program.interface().name == worker.interface;
        let program = served.iter().position(of)?;
        let address = served.get(program)?.program.interface().hardware_address().unwrap_or(NO_ADDRESS);
        let Worker { interface, queue, shared } = worker;
        let (interface, shared) = (interface.clone(), Arc::clone(shared));
        Some(Door { interface, address, program, queue: *queue, shared })
    };
    House { doors: workers.iter().filter_map(door).collect(), switch, trials }
}

/// Tries a frame of a check, and says what becomes of it.
pub(super) fn attempt(served: &mut [Served], trial: Trial) {
    let Trial { program, queue, frame, reply } = trial;
    let fate: Option<Result<XdpVerdict, _>> =
        served.get_mut(program).map(|served| served.program.attempt(queue, &frame));
    if let Some(fate) = fate {
        // Whoever no longer waits has no use for it.
        let _ = reply.send(fate.map_err(|error| error.to_string()));
    }
}

impl Served {
    fn look(&self) -> Interface {
        let Self { program, attach, copy, handshake } = self;
        // Maps of our own can be read; where they cannot, nothing is known of them.
        let counts = program.counts().unwrap_or_default();
        let steered = |&reason: &SteeringReason| (Name::Borrowed(name_of(reason)), counts[reason as usize]);
        let events = program.events().unwrap_or_default().into_iter();
        let (answered, refused): (Vec<_>, Vec<_>) =
            events.partition(|(outcome, _)| outcome.kind() == OutcomeKind::Answer);
        let named = |(outcome, count): (Outcome, _)| (Name::Borrowed(outcome.name()), count);
        Interface {
            name: Name::Owned(program.interface().name.clone()),
            xdp_mode: Name::Borrowed(attach.name()),
            copy: Name::Borrowed(match copy {
                CopyMode::ZeroCopy => "zero-copy",
                CopyMode::Copy => "copy",
            }),
            handshake: Name::Borrowed(if *handshake { "driver" } else { "ring" }),
            steered: SteeringReason::ALL.iter().map(steered).collect(),
            answered: answered.into_iter().map(named).collect(),
            refused: refused.into_iter().map(named).collect(),
            partial_checksums: program.partial_checksums().unwrap_or_default(),
        }
    }
}

impl Worker {
    fn look(&self) -> Queue {
        let Self { interface, queue, shared } = self;
        let vitals = shared.vitals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (frames, socket, tables) = match vitals {
            Some(WorkerStatus { account, statistics, tables, .. }) => (
                places(account),
                statistics.map(events).unwrap_or_default(),
                tables.map(Vec::from).unwrap_or_default(),
            ),
            None => Default::default(),
        };
        Queue {
            interface: Name::Owned(interface.clone()),
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

fn counts(counters: &Counters, kind: OutcomeKind) -> Counts {
    let all = Outcome::ALL.iter().filter(|counter| counter.kind() == kind);
    all.map(|&counter| (Name::Borrowed(counter.name()), counters.get(counter))).collect()
}

fn places(account: FrameCounts) -> Counts {
    let FrameCounts { free, receiving, sending } = account;
    [("free", free), ("receiving", receiving), ("sending", sending)]
        .map(|(place, count)| (Name::Borrowed(place), count as u64))
        .into()
}

fn events(statistics: XdpStatistics) -> Counts {
    [
        ("rx_dropped", statistics.rx_dropped()),
        ("rx_ring_full", statistics.rx_ring_full()),
        ("rx_fill_ring_empty", statistics.rx_fill_ring_empty_descs()),
        ("rx_invalid_descriptor", statistics.rx_invalid_descs()),
        ("tx_invalid_descriptor", statistics.tx_invalid_descs()),
        ("tx_ring_empty", statistics.tx_ring_empty_descs()),
    ]
    .map(|(event, count)| (Name::Borrowed(event), count))
    .into()
}
