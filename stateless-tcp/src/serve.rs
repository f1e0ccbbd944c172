//! The `run` command: opens everything, gives up privileges, serves until a signal, and returns the ports to the kernel.

mod epochs;
mod handover;
mod handshake;
mod interface;
mod link_status;
mod reload;
mod running;
mod sd_notify;
mod status;
mod supervise;
mod takeover;

use crate::af_xdp::XdpError;
use crate::af_xdp::interface::Interface;
use crate::config::{Config, ConfigSource};
use crate::confine;
use crate::control::DIRECTORY;
use crate::control::handover::{Predecessor, ReleasedPredecessor};
use crate::control::server::ControlSocket;
use crate::observe::exporter;
use crate::serving::build::{self, Stores};
use crate::serving::{ActiveState, AnswerPolicy, ServingState};
use anyhow::{Context as _, Result};
use interface::{ServedInterface, addresses, check_reception, queues};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use sd_notify::SdNotify;
use stateless_tcp_core::tcp::segment::Address;
use std::net::TcpListener;
use std::sync::Arc;
use supervise::Resources;

/// Serves by `config`, which was read from `source`, until SIGINT or SIGTERM.
///
/// # Errors
/// The reason why it cannot serve, with a remedy. The kernel has the ports then.
pub fn run(config: Config, source: ConfigSource) -> Result<()> {
    // Packet memory counts against this limit without CAP_IPC_LOCK. If the limit cannot be raised, the error of binding
    // names the remedy.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    // A relay has as many connections as requests in flight. Nothing here uses select(2), which the soft limit protects.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    if let Some(warning) = build::unnamed_warning(&config) {
        tracing::warn!("{warning}");
    }
    confine::check(&config)?;
    let interfaces =
        config.interfaces.iter().map(|name| Interface::find(name)).collect::<Result<Vec<_>, XdpError>>()?;
    interfaces.iter().try_for_each(check_reception)?;
    let mut predecessor = takeover::find(&config, &interfaces)?;
    let keys = takeover::keys(&config, predecessor.as_ref())?;
    let policy = AnswerPolicy::new(&config, keys);
    if let Some(predecessor) = &predecessor {
        takeover::check(&config, &policy, predecessor)?;
    }

    let addresses = addresses(&config, &interfaces)?;
    let queues = interfaces.iter().map(|interface| Ok(queues(&config, interface)?.len()));
    let workers = queues.sum::<Result<usize>>()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    let stores = Arc::new(Stores::new(workers, runtime.handle().clone()));
    let load_times = takeover::load_times(&config, predecessor.as_ref());
    let service_manager = SdNotify::connect();
    let services =
        service_manager.while_loading(|| build::load(&config, &keys, load_times.content, &stores))?;
    stores.zones.commit();
    let zones = stores.zones.report();
    zones.warnings().for_each(|line| tracing::warn!("{line}"));
    zones.failures().for_each(|line| tracing::error!("{line}"));
    let content = build::compose(&config, addresses.iter().map(|&address| Address::from(address)), services)?;
    let state = takeover::choose_generation(ServingState::new(content, policy), predecessor.as_ref())?;

    let metrics = metrics(&config, predecessor.as_mut())?;
    let reserved = takeover::reserved_generations(predecessor.as_ref());
    let (interfaces, predecessor) = open(&config, &interfaces, &state, predecessor)?;
    // Not earlier: until now commands are for the predecessor.
    let control = control();
    // Everything that needs privileges is open, and there is only this thread.
    confine::confine(&config)?;
    let resources = Resources {
        interfaces,
        active: Arc::new(ActiveState::from_pointee(state)),
        reserved,
        stores,
        addresses,
        load_times,
        metrics,
        control,
        service_manager,
        predecessor,
    };
    let outcome = runtime.block_on(supervise::supervise(config, source, resources));
    // Without waiting for a reload that is still reading.
    runtime.shutdown_background();
    outcome
}

/// Opens the interfaces, those of the predecessor last.
fn open(
    config: &Config,
    interfaces: &[Interface],
    state: &ServingState,
    mut predecessor: Option<Predecessor>,
) -> Result<(Vec<ServedInterface>, Option<ReleasedPredecessor>)> {
    let prepared = match &mut predecessor {
        Some(predecessor) => takeover::prepare(config, interfaces, state, predecessor)?,
        None => Vec::new(),
    };
    let mut opened = Vec::new();
    for interface in interfaces {
        if !prepared.iter().any(|prepared| prepared.is_for(interface)) {
            opened.push(ServedInterface::open(config, interface, state)?.with_polling(config, None)?);
        }
    }
    let Some(predecessor) = predecessor else { return Ok((opened, None)) };
    let (taken, released) = takeover::take_over(config, prepared, predecessor)?;
    opened.extend(taken);
    Ok((opened, Some(released)))
}

/// The metrics listener: the predecessor's if it has the right address, else a new one.
fn metrics(config: &Config, predecessor: Option<&mut Predecessor>) -> Result<Option<TcpListener>> {
    let Some(address) = config.metrics else { return Ok(None) };
    let same = predecessor.filter(|predecessor| predecessor.state.metrics == Some(address));
    if let Some(listener) = same.and_then(|predecessor| predecessor.metrics.take()) {
        return Ok(Some(listener));
    }
    let listener = exporter::listen(address);
    listener.map(Some).with_context(|| format!("--metrics: cannot listen at {address}"))
}

/// The control socket. Without it the process still reacts to signals.
fn control() -> Option<ControlSocket> {
    ControlSocket::bind()
        .map_err(|error| tracing::warn!("no control socket in {DIRECTORY}, only SIGHUP reloads: {error}"))
        .ok()
}
