//! The running service: starts the workers, reacts to signals and commands, and ends everything in order.

use super::handover::{self, HandoverProgress};
use super::interface::ServedInterface;
use super::link_status::{Condition, LinkStatus};
use super::reload::Reloader;
use super::running::{AttachedProgram, LoadTimes, WorkerHandle};
use super::sd_notify::{SdNotify, Watchdog};
use super::status;
use crate::af_xdp::inject_queue::Inlet;
use crate::af_xdp::irq_deferral::Deferral;
use crate::af_xdp::{XdpError, umem};
use crate::config::{Config, ConfigSource};
use crate::control::handover::{HandoverService, HandoverStep, ReleasedPredecessor};
use crate::control::server::{ControlHandles, ControlSocket};
use crate::dataplane::worker::{self, Shared, Stop, WorkerEnd};
use crate::observe::dnstap::DnstapOutput;
use crate::observe::exporter;
use crate::observe::histogram::Histogram;
use crate::serving::build::{self, Stores};
use crate::serving::{ActiveState, RetiredGeneration};
use crate::system::network::{Network, NetworkWatch};
use anyhow::{Context as _, Error, Result, anyhow, bail};
use stateless_tcp_core::outcome::{Outcome, OutcomeKind};
use stateless_tcp_core::steering::SteeringReason;
use std::io;
use std::iter;
use std::net::{self, IpAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

/// Time limit for the workers to end after the program is detached. They answer the frames in their rings.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that was opened before the process gave up its privileges.
pub(super) struct Resources {
    pub(super) interfaces: Vec<ServedInterface>,
    pub(super) active: Arc<ActiveState>,
    /// Generations of a predecessor that connections may belong to, and for how long.
    pub(super) reserved: Vec<(RetiredGeneration, Duration)>,
    pub(super) stores: Arc<Stores>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) load_times: LoadTimes,
    /// The metrics listener.
    pub(super) metrics: Option<net::TcpListener>,
    pub(super) control: Option<ControlSocket>,
    pub(super) service_manager: SdNotify,
    /// The predecessor, which waits to hear that this process serves.
    pub(super) predecessor: Option<ReleasedPredecessor>,
}

/// The reason why the service ends.
enum StopReason {
    /// A signal.
    Signal,
    /// A worker failed.
    Failed(Error),
    /// Another process takes over. The sender reports that the sockets are closed.
    Handover(oneshot::Sender<()>),
}

/// Starts the workers, reports `ready`, and runs the service until its end.
#[expect(clippy::too_many_lines, reason = "one loop, with a few lines for each event")]
pub(super) async fn supervise(config: Config, source: ConfigSource, resources: Resources) -> Result<()> {
    let Resources { interfaces, active, stores, metrics, control, .. } = resources;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut report = signal(SignalKind::user_defined1())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (ended, mut ends) = mpsc::unbounded_channel();
    let started = SystemTime::now();
    let Started { mut programs, workers, descriptions, deferrals } =
        start(&config, interfaces, &active, &ended)?;
    drop(ended);
    let (reload_sender, mut reloads) = mpsc::unbounded_channel();
    let (snapshot_sender, mut snapshots) = mpsc::unbounded_channel();
    let (test_sender, mut test_frames) = mpsc::unbounded_channel();
    let (step_sender, mut handover_steps) = mpsc::unbounded_channel();
    if let Some(control) = &control {
        let ids = programs.iter().map(|attached| attached.program.id()).collect();
        let handles = ControlHandles {
            reloads: reload_sender,
            snapshots: snapshot_sender.clone(),
            sources: status::tap_sources(&programs, &workers),
            handover: HandoverService { programs: ids, steps: step_sender },
            targets: status::check_targets(&programs, &workers, Arc::clone(&active), test_sender),
        };
        control.listen(handles).context("cannot start a thread for the control socket")?;
    }
    if let Some(listener) = &metrics {
        tokio::spawn(exporter::serve(TcpListener::from_std(listener.try_clone()?)?, snapshot_sender));
    }
    let dnstap = start_dnstap(&config, &workers).context("cannot start a thread for --dnstap")?;
    let ready =
        format!("{} on {}", build::describe(&config, &stores, &resources.addresses), descriptions.join(", "));
    println!("ready: {ready}");
    let service_manager = Arc::new(resources.service_manager);
    service_manager.ready(&ready);
    let mut watchdog = Watchdog::new();
    let mut watch = NetworkWatch::open().context("cannot watch the network interfaces")?;
    if let Some(predecessor) = resources.predecessor {
        predecessor.serving();
    }
    let interfaces = programs.iter().map(|attached| attached.program.interface().clone()).collect();
    let mut reloader = Reloader::new(
        source,
        config,
        interfaces,
        active,
        resources.reserved,
        Arc::clone(&stores),
        resources.load_times,
        Arc::clone(&service_manager),
    );
    let mut handover = HandoverProgress::default();
    let reason = loop {
        handover.proceed(&programs, metrics.as_ref(), &reloader);
        reloader.hold(handover.is_under_way());
        tokio::select! {
            _ = interrupt.recv() => break StopReason::Signal,
            _ = terminate.recv() => break StopReason::Signal,
            _ = report.recv() => log_counters(&programs, &workers, &stores),
            Some(()) = hangup.recv() => reloader.request(None),
            Some(request) = reloads.recv() => {
                reloader.request(iter::once(request).chain(iter::from_fn(|| reloads.try_recv().ok())));
            }
            Some(request) = snapshots.recv() => {
                let content = reloader.status();
                let snapshot =
                    status::snapshot(started, &programs, &workers, &stores, &content, dnstap.as_ref());
                // The client may have closed its connection.
                let _ = request.send(snapshot);
            }
            Some(test) = test_frames.recv() => status::run_program(&mut programs, test),
            () = reloader.proceed(&mut programs) => {}
            () = watchdog.due() => watchdog.check(&workers, &service_manager),
            Some(step) = handover_steps.recv() => {
                if let Some(done) = handover.step(step, &programs)? {
                    break StopReason::Handover(done);
                }
            }
            () = watch.due() => {
                if let Err(error) = follow(&mut programs, &workers, &mut reloader) {
                    break StopReason::Failed(error);
                }
            }
            Some(end) = ends.recv() => {
                if let Err(error) = worker_ended(end, &mut programs, &workers, &mut reloader) {
                    break StopReason::Failed(error);
                }
            }
        }
    };
    service_manager.stopping();
    // The programs first: the workers then answer the frames in their rings. A successor has the ports already.
    if !matches!(reason, StopReason::Handover(_)) {
        for attached in &mut programs {
            attached.program.detach();
        }
    }
    let drained = drain(&workers, &mut ends).await;
    if !drained && matches!(reason, StopReason::Handover(_)) {
        // The sockets close with the process. The successor notices that, and binds its own then.
        bail!("a worker is stuck: this process ends at once, as another takes over");
    }
    let mut held = Some((deferrals, control));
    let outcome = conclude(reason, &mut held, &mut handover_steps).await;
    if let Some(dnstap) = dnstap {
        dnstap.end();
    }
    log_counters(&programs, &workers, &stores);
    outcome
}

/// Follows what has become of the interfaces and addresses. Those that are gone are given up, and the others go on.
///
/// # Errors
/// None is left.
fn follow(programs: &mut [AttachedProgram], workers: &[WorkerHandle], reloader: &mut Reloader) -> Result<()> {
    let network = match Network::observe() {
        Ok(network) => network,
        Err(error) => {
            tracing::warn!("{}", XdpError::Network(error));
            return Ok(());
        }
    };
    for attached in programs.iter_mut() {
        attached.link.follow(&network);
        if attached.link.condition == Condition::Gone && attached.program.link().is_some() {
            attached.program.detach();
            let name = &attached.program.interface().name;
            let of_interface = workers.iter().filter(|worker| worker.interface == *name);
            of_interface.for_each(|worker| worker.shared.stop.request());
        }
    }
    if programs.iter().all(|attached| attached.link.condition == Condition::Gone) {
        bail!("no served interface is left");
    }
    if let Err(error) = reloader.follow(&network, programs) {
        tracing::error!("cannot follow the addresses of this host: {error}");
    }
    Ok(())
}

/// Takes the end of a worker, which is right if its interface is gone.
///
/// # Errors
/// The reason of its end otherwise.
fn worker_ended(
    WorkerEnd { worker, result }: WorkerEnd,
    programs: &mut [AttachedProgram],
    workers: &[WorkerHandle],
    reloader: &mut Reloader,
) -> Result<()> {
    // It may have gone a moment ago.
    follow(programs, workers, reloader)?;
    let attached = status::program_of_worker(programs, &workers[worker]);
    if attached.is_some_and(|attached| attached.link.condition == Condition::Gone) {
        return Ok(());
    }
    let error = result.err().map_or_else(|| anyhow!("for no reason"), Error::from);
    Err(error.context("a worker ended, so nothing is served any more"))
}

/// The result of the service, once its workers have ended. `held` is dropped when a successor takes over: the interrupts are
/// as before then, and the successor's; commands are for the successor from then on.
async fn conclude<T>(
    reason: StopReason,
    held: &mut Option<T>,
    steps: &mut UnboundedReceiver<HandoverStep>,
) -> Result<()> {
    match reason {
        StopReason::Signal => Ok(()),
        StopReason::Failed(error) => Err(error),
        StopReason::Handover(done) => {
            *held = None;
            // The successor may have failed.
            let _ = done.send(());
            handover::conclude(steps).await
        }
    }
}

/// Starts the dnstap output if it is configured.
fn start_dnstap(config: &Config, workers: &[WorkerHandle]) -> io::Result<Option<DnstapOutput>> {
    let taps = workers.iter().map(|worker| Arc::clone(&worker.shared.taps)).collect();
    config.dnstap.clone().map(|path| DnstapOutput::start(path, taps)).transpose()
}

/// Stops the workers once their rings are empty. Returns false if one does not end in time.
async fn drain(workers: &[WorkerHandle], ends: &mut UnboundedReceiver<WorkerEnd>) -> bool {
    for worker in workers {
        worker.shared.stop.request();
    }
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async { while ends.recv().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!("workers did not end in time");
    }
    drained.is_ok()
}

/// The running parts.
struct Started {
    programs: Vec<AttachedProgram>,
    workers: Vec<WorkerHandle>,
    /// A description of each interface.
    descriptions: Vec<String>,
    /// Interrupt deferrals, which last until these are dropped.
    deferrals: Vec<Deferral>,
}

/// Starts a worker for each socket. `ended` gets the result of each.
fn start(
    config: &Config,
    interfaces: Vec<ServedInterface>,
    active: &Arc<ActiveState>,
    ended: &UnboundedSender<WorkerEnd>,
) -> Result<Started> {
    let (mut programs, mut workers, mut descriptions) = (Vec::new(), Vec::new(), Vec::new());
    let mut deferrals = Vec::new();
    for ServedInterface { mut attached, sockets, deferral } in interfaces {
        deferrals.extend(deferral);
        let AttachedProgram { program, mode, copy, handshake, link } = &mut attached;
        let interface = program.interface().clone();
        // Attaching may have changed the number of queues.
        *link = LinkStatus::new(&interface);
        let name = &interface.name;
        let count = sockets.len();
        let by = if handshake.is_driver() { "handshake in the driver, " } else { "" };
        descriptions.push(format!("{name} ({} mode, {}, {by}{count} queue(s))", mode.name(), copy.name()));
        if config.xdp_log.level().is_some() {
            tokio::spawn(read_log(program.logger()?));
        }
        for (queue, socket, counters) in sockets {
            let shared = Arc::new(Shared {
                stop: Stop::new().context("cannot make an event descriptor")?,
                turns: AtomicU64::new(0),
                counters,
                duration: Histogram::default(),
                status: Mutex::new(None),
                busy_poll: config.busy_poll,
                escape: config.test_escape.clone(),
                taps: Arc::default(),
                inject_queue: Inlet::default(),
                panic_after: config.test_panic_after_frames,
                hang_after: config.test_hang_after_frames,
            });
            let number = workers.len();
            let thread = format!("{name}-{queue}");
            worker::spawn(thread, number, socket, Arc::clone(active), Arc::clone(&shared), ended.clone())
                .with_context(|| format!("cannot start a thread for queue {queue} of {name}"))?;
            workers.push(WorkerHandle { interface: name.clone(), queue, shared });
        }
        if interface.queues().is_ok_and(|now| config.queues.is_none() && now.len() != count) {
            tracing::warn!(
                interface = name,
                "attaching changed the number of RX queues: restart to cover them all"
            );
        }
        programs.push(attached);
    }
    Ok(Started { programs, workers, descriptions, deferrals })
}

/// Logs all counters that are not zero, of XDP programs, workers and relays, and each worker's frames by place.
fn log_counters(programs: &[AttachedProgram], workers: &[WorkerHandle], stores: &Stores) {
    let programs = || programs.iter().map(|attached| &attached.program);
    for reason in SteeringReason::ALL {
        let counts = programs().filter_map(|program| program.counts().ok());
        log_counter(reason.name(), counts.map(|counts| counts[reason as usize]).sum());
    }
    let [mut answered, mut dropped] = [0; 2];
    let mut totals: Vec<u64> = Outcome::ALL
        .iter()
        .map(|&counter| workers.iter().map(|worker| worker.shared.counters.get(counter)).sum())
        .collect();
    // A frame that the program decided counts as if a worker had received it.
    for (outcome, count) in programs().filter_map(|program| program.events().ok()).flatten() {
        totals[outcome as usize] += count;
        totals[Outcome::Received as usize] += count;
        if outcome.kind() == OutcomeKind::Answer {
            totals[Outcome::Sent as usize] += count;
            answered += count;
        } else {
            dropped += count;
        }
    }
    let partial = programs().filter_map(|program| program.partial_checksums().ok());
    totals[Outcome::PartialChecksum as usize] += partial.sum::<u64>();
    log_counter("driver_answered", answered);
    log_counter("driver_dropped", dropped);
    for (counter, total) in Outcome::ALL.iter().zip(totals) {
        log_counter(counter.name(), total);
    }
    for (name, value) in stores.counts() {
        log_counter(name, value);
    }
    for WorkerHandle { interface, queue, shared } in workers {
        if let Some(frames) = shared.status.lock().ok().and_then(|status| Some(status.as_ref()?.frames)) {
            tracing::info!("frames {interface} {queue} {frames}");
            if !frames.is_whole() {
                tracing::error!("frames of queue {queue} of {interface} do not add up to {}", umem::FRAMES);
            }
        }
    }
}

fn log_counter(name: &str, value: u64) {
    if value > 0 {
        tracing::info!("counter {name} {value}");
    }
}

/// Reads the log of the XDP program several times a second: soon enough for people, at little cost.
async fn read_log(mut log: aya_log::EbpfLogger<&'static dyn log::Log>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        log.flush();
    }
}
