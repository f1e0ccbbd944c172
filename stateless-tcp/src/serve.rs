//! The `run` command: bind a socket a queue, attach, start a worker a queue, wait for a signal, give the ports back.

mod handover;
mod handshake;
mod manager;
mod reload;
mod supervise;
mod takeover;
mod watch;

use crate::af_xdp::XdpError;
use crate::af_xdp::busy_poll;
use crate::af_xdp::existing_program::make_way;
use crate::af_xdp::interface::{AttachMode, Interface};
use crate::af_xdp::irq_deferral::{Deferral, NapiTiming};
use crate::af_xdp::program::Program;
use crate::af_xdp::socket::{CopyMode, Socket};
use crate::af_xdp::umem::Pool;
use crate::config::{Config, Handshake, Source, XdpMode, ZeroCopy};
use crate::confine;
use crate::control::handover::{Predecessor, Released};
use crate::control::{DIRECTORY, Listener};
use crate::dataplane::engine::Policy;
use crate::observe::counters::Counters;
use crate::observe::exporter;
use crate::serving::build::{self, Stores};
use crate::serving::{RetiredGeneration, ServingState, Switch};
use anyhow::{Context as _, Result, bail};
use manager::Manager;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use reload::Since;
use stateless_tcp_core::tcp::segment::Address;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// Serves by `config`, which `source` gave, until SIGINT or SIGTERM.
///
/// # Errors
/// Whatever keeps it from serving, with the remedy; the kernel has its ports then.
pub fn run(config: Config, source: Source) -> Result<()> {
    // Packet memory counts against this limit unless CAP_IPC_LOCK is held. Without the right to raise it, binding
    // says what is missing.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    // A relay has as many connections as requests in flight; what was too many for select(2) is nobody's concern here.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    confine::check(&config)?;
    let interfaces =
        config.interfaces.iter().map(|name| Interface::find(name)).collect::<Result<Vec<_>, XdpError>>()?;
    let mut predecessor = takeover::find(&config, &interfaces)?;
    let keys = takeover::keys(&config, predecessor.as_ref())?;
    let segment_size = config.segment_size.unwrap_or(config.rules.segment_size());
    let Config { rules, hints, fast_open, .. } = config;
    let policy = Policy { rules, keys, segment_size, hints, fast_open };
    if let Some(predecessor) = &predecessor {
        takeover::check(&config, &policy, predecessor)?;
    }

    let addresses = addresses(&config, &interfaces)?;
    let queues = interfaces.iter().map(|interface| Ok(queues(&config, interface)?.len()));
    let workers = queues.sum::<Result<usize>>()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    let stores = Arc::new(Stores::new(workers, runtime.handle().clone()));
    let since = takeover::since(&config, predecessor.as_ref());
    let services = build::load(&config, &keys, since.generation, &stores)?;
    stores.zones.commit();
    let zones = stores.zones.report();
    zones.warnings().for_each(|line| tracing::warn!("{line}"));
    zones.failures().for_each(|line| tracing::error!("{line}"));
    let content = build::compose(&config, addresses.iter().map(|&address| Address::from(address)), services)?;
    let offer = takeover::number(ServingState::first(content, policy), predecessor.as_ref())?;

    let metrics = metrics(&config, predecessor.as_mut())?;
    let manager = Manager::find();
    let former = takeover::former(predecessor.as_ref());
    let (fronts, released) = open(&config, &interfaces, &offer, predecessor)?;
    // Not before: until now whoever asks is to ask the instance whose place is taken.
    let control = control();
    // All that takes privileges is open, and there is one thread.
    confine::confine(&config)?;
    let switch = Arc::new(Switch::new(offer));
    let opened =
        Opened { fronts, switch, former, stores, addresses, since, metrics, control, manager, released };
    let outcome = runtime.block_on(supervise::supervise(config, source, opened));
    // A reload that is still reading is not waited for.
    runtime.shutdown_background();
    outcome
}

/// All that is open before the process gives up what it needs no more.
struct Opened {
    fronts: Vec<Front>,
    switch: Arc<Switch>,
    /// Generations that clients may be of, as another process served them, and for how long.
    former: Vec<(RetiredGeneration, Duration)>,
    stores: Arc<Stores>,
    addresses: Vec<IpAddr>,
    since: Since,
    /// Where metrics are asked for, if anywhere.
    metrics: Option<TcpListener>,
    control: Option<Listener>,
    manager: Manager,
    /// Who is to hear that this process serves in its place.
    released: Option<Released>,
}

/// Opens the interfaces: last of all, if there is one, those of the instance whose place is taken.
fn open(
    config: &Config,
    interfaces: &[Interface],
    offer: &ServingState,
    mut predecessor: Option<Predecessor>,
) -> Result<(Vec<Front>, Option<Released>)> {
    let heirs = match &mut predecessor {
        Some(predecessor) => takeover::prepare(config, interfaces, offer, predecessor)?,
        None => Vec::new(),
    };
    let mut fronts = Vec::new();
    for interface in interfaces {
        if !heirs.iter().any(|heir| heir.is_for(interface)) {
            fronts.push(Front::open(config, interface, offer)?.paced(config, None)?);
        }
    }
    let Some(predecessor) = predecessor else { return Ok((fronts, None)) };
    let (taken, released) = takeover::succeed(config, heirs, predecessor)?;
    fronts.extend(taken);
    Ok((fronts, Some(released)))
}

/// Where metrics are asked for: the listener of the instance whose place is taken, if that is the one wanted.
fn metrics(config: &Config, predecessor: Option<&mut Predecessor>) -> Result<Option<TcpListener>> {
    let Some(address) = config.metrics else { return Ok(None) };
    let handed = predecessor.filter(|predecessor| predecessor.handed.metrics == Some(address));
    if let Some(listener) = handed.and_then(|predecessor| predecessor.metrics.take()) {
        return Ok(Some(listener));
    }
    let listener = exporter::listen(address);
    listener.map(Some).with_context(|| format!("--metrics: cannot listen at {address}"))
}

/// The control socket. Without it there are still signals.
fn control() -> Option<Listener> {
    Listener::bind()
        .map_err(|error| tracing::warn!("no control socket in {DIRECTORY}, only SIGHUP reloads: {error}"))
        .ok()
}

/// The addresses to serve: those asked for, else the interfaces' own.
fn addresses(config: &Config, interfaces: &[Interface]) -> Result<Vec<IpAddr>> {
    if let Some(addresses) = &config.addresses {
        return Ok(addresses.clone());
    }
    let mut addresses = Vec::new();
    for entry in nix::ifaddrs::getifaddrs().context("cannot list the addresses of this machine")? {
        if !interfaces.iter().any(|interface| interface.name == entry.interface_name) {
            continue;
        }
        let Some(address) = entry.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            addresses.push(IpAddr::V6(v6.ip()));
        }
    }
    if addresses.is_empty() {
        let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        bail!("{} has no IP address: give it one, or say which to serve by --address", names.join(" and "));
    }
    Ok(addresses)
}

/// One interface, with its program attached and a socket on each queue.
struct Front {
    interface: Interface,
    program: Program,
    attach: AttachMode,
    copy: CopyMode,
    /// The program answers what takes no content.
    handshake: bool,
    sockets: Vec<(u32, Socket, Arc<Counters>)>,
    /// Interrupts are put off, as the workers poll.
    deferral: Option<Deferral>,
}

impl Front {
    fn open(config: &Config, interface: &Interface, offer: &ServingState) -> Result<Self> {
        let queues = queues(config, interface)?;
        make_way(interface, config.replace)?;
        let modes: &[AttachMode] = match (config.xdp_mode, config.handshake) {
            (XdpMode::Native, _) | (_, Handshake::Driver) => &[AttachMode::Native],
            (XdpMode::Auto, _) => &[AttachMode::Native, AttachMode::Generic],
            (XdpMode::Generic, _) => &[AttachMode::Generic],
        };
        let (last, first) = modes.split_last().context("no XDP mode to try")?;
        for &mode in first {
            match Self::open_as(config, interface, offer, &queues, mode) {
                Ok(front) => return Ok(front),
                Err(error) => {
                    tracing::warn!(interface = interface.name, "falling back to generic mode: {error}");
                }
            }
        }
        let opened = Self::open_as(config, interface, offer, &queues, *last);
        if config.handshake == Handshake::Driver {
            return opened.context("--handshake driver cannot be had (--handshake auto takes what can be)");
        }
        Ok(opened?)
    }

    /// The same, polled and interrupted as `config` says; it may be open already how interrupts come.
    fn paced(mut self, config: &Config, deferral: Option<Deferral>) -> Result<Self, XdpError> {
        let busy = config.busy_poll;
        if !busy.is_zero() {
            for (_, socket, _) in &self.sockets {
                busy_poll::allow(socket, &self.interface, busy)?;
            }
        }
        if let Some(timing) = NapiTiming::of(busy, config.coalesce) {
            let mut deferral = deferral.map_or_else(|| Deferral::of(&self.interface, timing), Ok)?;
            deferral.begin()?;
            self.deferral = Some(deferral);
        }
        Ok(self)
    }

    fn open_as(
        config: &Config,
        interface: &Interface,
        offer: &ServingState,
        queues: &[u32],
        attach: AttachMode,
    ) -> Result<Self, XdpError> {
        let copies: &[CopyMode] = match (config.zero_copy, attach) {
            // Generic mode has no zero-copy: asked for, the kernel says so.
            (ZeroCopy::Always, _) => &[CopyMode::ZeroCopy],
            (ZeroCopy::Auto, AttachMode::Native | AttachMode::Hardware) => {
                &[CopyMode::ZeroCopy, CopyMode::Copy]
            }
            (ZeroCopy::Auto, AttachMode::Generic) | (ZeroCopy::Never, _) => &[CopyMode::Copy],
        };
        let mut last_error = None;
        for &copy in copies {
            match bind_all(interface, queues, attach, copy) {
                Ok(sockets) => {
                    let copy = bound_as(interface, &sockets)?;
                    let (mut program, handshake) = load(config, interface, offer, attach, copy)?;
                    for (queue, socket, _) in &sockets {
                        program.register(*queue, socket)?;
                    }
                    program.attach(attach)?;
                    let interface = interface.clone();
                    return Ok(Self { interface, program, attach, copy, handshake, sockets, deferral: None });
                }
                Err(error) if Some(&copy) != copies.last() => {
                    tracing::info!(interface = interface.name, "falling back to copy mode: {error}");
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| XdpError::NoInterface(interface.name.clone())))
    }
}

/// The program for `interface`, which steers and answers by `offer`, and whether it answers by itself; nothing is attached.
fn load(
    config: &Config,
    interface: &Interface,
    offer: &ServingState,
    attach: AttachMode,
    copy: CopyMode,
) -> Result<(Program, bool), XdpError> {
    let (mut program, handshake) = handshake::load(config, interface, attach, copy)?;
    let content = &offer.current.content;
    program.serve(content.addresses().copied(), content.ports(), content.clients(), content.settings())?;
    program.answer_by(&offer.tcp_config())?;
    Ok((program, handshake))
}

/// The queues to bind: all, or those asked for if nothing is left to the kernel unsaid.
fn queues(config: &Config, interface: &Interface) -> Result<Vec<u32>> {
    let name = &interface.name;
    let all = interface.queues().with_context(|| format!("cannot list the RX queues of {name}"))?;
    let Some(chosen) = &config.queues else { return Ok(all) };
    if let Some(missing) = chosen.iter().find(|queue| !all.contains(queue)) {
        bail!("{name} has no RX queue {missing}: it has {}; see `ethtool -l {name}`", list(&all));
    }
    let uncovered: Vec<u32> = all.iter().copied().filter(|queue| !chosen.contains(queue)).collect();
    if !uncovered.is_empty() && !config.uncovered_queues {
        bail!(
            "--queues {} leaves RX queue {} of {name} to the kernel, which resets connections that arrive there: \
             cover all queues, reduce them by `ethtool -L {name} combined N`, or say --uncovered-queues if the card \
             steers served traffic away from them",
            list(chosen),
            list(&uncovered),
        );
    }
    Ok(chosen.clone())
}

fn list(queues: &[u32]) -> String {
    queues.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

fn bind_all(
    interface: &Interface,
    queues: &[u32],
    attach: AttachMode,
    copy: CopyMode,
) -> Result<Vec<(u32, Socket, Arc<Counters>)>, XdpError> {
    let mut sockets = Vec::with_capacity(queues.len());
    for &queue in queues {
        let counters = Arc::new(Counters::default());
        let pool = Pool::new(interface, queue)?;
        let socket = Socket::bind(pool, interface, queue, attach, copy, Arc::clone(&counters))?;
        sockets.push((queue, socket, counters));
    }
    Ok(sockets)
}

/// Whether frames are copied on the way to `sockets`, by the kernel's word: one of them is enough to say that they are.
fn bound_as(interface: &Interface, sockets: &[(u32, Socket, Arc<Counters>)]) -> Result<CopyMode, XdpError> {
    let mut mode = CopyMode::ZeroCopy;
    for &(queue, ref socket, _) in sockets {
        let found = socket.copy_mode().map_err(|reason| XdpError::Running {
            call: "getsockopt(XDP_OPTIONS)",
            interface: interface.name.clone(),
            queue,
            reason,
        })?;
        if found == CopyMode::Copy {
            mode = found;
        }
    }
    Ok(mode)
}
