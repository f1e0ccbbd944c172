//! The running service: its workers, what signals ask of it, and its end.

use super::handover::{self, Handing};
use super::manager::Pulse;
use super::reload::Reloader;
use super::watch::{self, Served, Worker};
use super::{Front, Opened};
use crate::af_xdp::inject_queue::Inlet;
use crate::af_xdp::irq_deferral::Deferral;
use crate::af_xdp::umem;
use crate::config::{Config, Source};
use crate::control::Services;
use crate::control::handover::Handovers;
use crate::dataplane::worker::{self, Shared, Stop};
use crate::observe::dnstap::Output;
use crate::observe::exporter;
use crate::observe::histogram::Histogram;
use crate::serving::Switch;
use crate::serving::build::{self, Stores};
use anyhow::{Context as _, Error, Result, anyhow, bail};
use stateless_tcp_core::outcome::{Outcome, OutcomeKind};
use stateless_tcp_core::steering::SteeringReason;
use std::io;
use std::iter;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

/// How long workers may take to end after the program is off: they answer what is in their rings.
const DRAIN: Duration = Duration::from_secs(2);

/// Why the service ends.
enum Ending {
    /// It was asked to.
    Asked,
    /// A worker has failed.
    Failed(anyhow::Error),
    /// Another process takes over, and is to hear when the sockets are closed.
    Release(oneshot::Sender<()>),
}

/// Starts the workers, says `ready`, and waits for the end.
pub(super) async fn supervise(config: Config, source: Source, opened: Opened) -> Result<()> {
    let Opened { fronts, switch, former, stores, addresses, since, metrics, control, manager, released } =
        opened;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut report = signal(SignalKind::user_defined1())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (ended, mut ends) = mpsc::unbounded_channel();
    let started = SystemTime::now();
    let Started { mut programs, workers, served, deferrals } = start(&config, fronts, &switch, &ended)?;
    drop(ended);
    let (requested, mut requests) = mpsc::unbounded_channel();
    let (look, mut looks) = mpsc::unbounded_channel();
    let (trial, mut trials) = mpsc::unbounded_channel();
    let (stepped, mut steps) = mpsc::unbounded_channel();
    let sources = watch::sources(&programs, &workers);
    if let Some(control) = &control {
        let ids = programs.iter().map(|served| served.program.id()).collect();
        let handovers = Handovers { programs: ids, steps: stepped };
        let house = watch::house(&programs, &workers, Arc::clone(&switch), trial);
        let services = Services { reloads: requested, looks: look.clone(), sources, handovers, house };
        control.listen(services).context("cannot start a thread for the control socket")?;
    }
    if let Some(listener) = &metrics {
        tokio::spawn(exporter::serve(TcpListener::from_std(listener.try_clone()?)?, look));
    }
    let dnstap = tell(&config, &workers).context("cannot start a thread for --dnstap")?;
    let ready = format!("{} on {}", build::describe(&config, &stores, &addresses), served.join(", "));
    println!("ready: {ready}");
    let manager = Arc::new(manager);
    manager.ready(&ready);
    let mut pulse = Pulse::new();
    if let Some(released) = released {
        released.serving();
    }
    let interfaces = programs.iter().map(|served| served.program.interface().clone()).collect();
    let mut reloader = Reloader::new(
        source,
        config,
        interfaces,
        switch,
        former,
        Arc::clone(&stores),
        since,
        Arc::clone(&manager),
    );
    let mut handing = Handing::default();
    let ending = loop {
        handing.proceed(&programs, metrics.as_ref(), &reloader);
        reloader.hold(handing.is_under_way());
        tokio::select! {
            _ = interrupt.recv() => break Ending::Asked,
            _ = terminate.recv() => break Ending::Asked,
            _ = report.recv() => log_counters(&programs, &workers, &stores),
            Some(()) = hangup.recv() => reloader.ask(None),
            Some(request) = requests.recv() => {
                reloader.ask(iter::once(request).chain(iter::from_fn(|| requests.try_recv().ok())));
            }
            Some(look) = looks.recv() => {
                // Whoever no longer waits has no use for it.
                let _ = look.send(watch::look(started, &programs, &workers, &stores, &reloader, dnstap.as_ref()));
            }
            Some(trial) = trials.recv() => watch::attempt(&mut programs, trial),
            () = reloader.proceed(&mut programs) => {}
            () = pulse.due() => pulse.look(&workers, &manager),
            Some(step) = steps.recv() => {
                if let Some(done) = handing.take(step, &programs)? {
                    break Ending::Release(done);
                }
            }
            Some(end) = ends.recv() => {
                let error = end.err().map_or_else(|| anyhow!("for no reason"), Error::from);
                break Ending::Failed(error.context("a worker ended, so nothing is served any more"));
            }
        }
    };
    manager.stopping();
    // First the ports, then the frames: what is in the rings is still answered. Who takes over has the ports already.
    if !matches!(ending, Ending::Release(_)) {
        for served in &mut programs {
            served.program.detach();
        }
    }
    let drained = drain(&workers, &mut ends).await;
    let outcome = match ending {
        Ending::Asked => Ok(()),
        Ending::Failed(error) => Err(error),
        Ending::Release(_) if !drained => {
            // Its sockets go with the process: the successor hears of that end, and binds then.
            bail!("a worker is stuck: this process ends at once, as another takes its place");
        }
        Ending::Release(done) => {
            // Interrupts come as before, and are then the successor's. Whoever asks from now on asks that one.
            drop((deferrals, control));
            // Whoever no longer waits has failed.
            let _ = done.send(());
            handover::conclude(&mut steps).await
        }
    };
    if let Some(dnstap) = dnstap {
        dnstap.end();
    }
    log_counters(&programs, &workers, &stores);
    outcome
}

/// Starts to tell a dnstap reader what is answered, if it is to be.
fn tell(config: &Config, workers: &[Worker]) -> io::Result<Option<Output>> {
    let outlets = workers.iter().map(|worker| Arc::clone(&worker.shared.outlet)).collect();
    config.dnstap.clone().map(|path| Output::start(path, outlets)).transpose()
}

/// Has the workers answer what is in their rings, and end. False if one does not.
async fn drain(workers: &[Worker], ends: &mut UnboundedReceiver<io::Result<()>>) -> bool {
    for worker in workers {
        worker.shared.stop.ask();
    }
    let drained = tokio::time::timeout(DRAIN, async { while ends.recv().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!("workers did not end in time");
    }
    drained.is_ok()
}

/// What runs.
struct Started {
    programs: Vec<Served>,
    workers: Vec<Worker>,
    /// Each interface, and how it is served, in words.
    served: Vec<String>,
    /// To be held until the end.
    deferrals: Vec<Deferral>,
}

/// Starts a worker for each socket, whose end `ended` hears of.
fn start(
    config: &Config,
    fronts: Vec<Front>,
    switch: &Arc<Switch>,
    ended: &UnboundedSender<io::Result<()>>,
) -> Result<Started> {
    let (mut programs, mut workers, mut served) = (Vec::new(), Vec::new(), Vec::new());
    let mut deferrals = Vec::new();
    for front in fronts {
        let Front { interface, mut program, attach, copy, handshake, sockets, deferral } = front;
        deferrals.extend(deferral);
        let name = &interface.name;
        let count = sockets.len();
        let by = if handshake { "handshake in the driver, " } else { "" };
        served.push(format!("{name} ({} mode, {}, {by}{count} queue(s))", attach.name(), copy.name()));
        if config.xdp_log.level().is_some() {
            tokio::spawn(read_log(program.logger()?));
        }
        for (queue, socket, counters) in sockets {
            let shared = Arc::new(Shared {
                stop: Stop::new().context("cannot make an event descriptor")?,
                turns: AtomicU64::new(0),
                counters,
                duration: Histogram::default(),
                vitals: Mutex::new(None),
                busy_poll: config.busy_poll,
                escape: config.test_escape.clone(),
                outlet: Arc::default(),
                inlet: Inlet::default(),
                panic_after: config.test_panic_after_frames,
                hang_after: config.test_hang_after_frames,
            });
            let number = workers.len();
            let thread = format!("{name}-{queue}");
            worker::spawn(thread, number, socket, Arc::clone(switch), Arc::clone(&shared), ended.clone())
                .with_context(|| format!("cannot start a thread for queue {queue} of {name}"))?;
            workers.push(Worker { interface: name.clone(), queue, shared });
        }
        if interface.queues().is_ok_and(|now| config.queues.is_none() && now.len() != count) {
            tracing::warn!(
                interface = name,
                "attaching changed the number of RX queues: restart to cover them all"
            );
        }
        programs.push(Served { program, attach, copy, handshake });
    }
    Ok(Started { programs, workers, served, deferrals })
}

/// Logs what is not zero: what the XDP program did with frames, what became of those that are ours, what the relays did,
/// where the frames are.
fn log_counters(served: &[Served], workers: &[Worker], stores: &Stores) {
    let programs = || served.iter().map(|served| &served.program);
    for reason in SteeringReason::ALL {
        let counts = programs().filter_map(|program| program.counts().ok());
        log_counter(reason.name(), counts.map(|counts| counts[reason as usize]).sum());
    }
    let [mut answered, mut dropped] = [0; 2];
    let mut totals: Vec<u64> = Outcome::ALL
        .iter()
        .map(|&counter| workers.iter().map(|worker| worker.shared.counters.get(counter)).sum())
        .collect();
    // What the program decided counts as if it had come here: only who decided differs.
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
    for Worker { interface, queue, shared } in workers {
        if let Some(account) = shared.vitals.lock().ok().and_then(|vitals| Some(vitals.as_ref()?.account)) {
            tracing::info!("frames {interface} {queue} {account}");
            if !account.is_whole() {
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

/// Passes on what the XDP program logs, several times a second: soon enough for a reader, and no burden on the queues.
async fn read_log(mut log: aya_log::EbpfLogger<&'static dyn log::Log>) {
    let mut turns = tokio::time::interval(Duration::from_millis(100));
    loop {
        turns.tick().await;
        log.flush();
    }
}
