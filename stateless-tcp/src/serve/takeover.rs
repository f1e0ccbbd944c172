//! Taking over from a running instance (`--take-over`).
//!
//! Everything that can fail comes first, while the predecessor serves: configuration, keys, content, XDP programs, memory.
//! Then the programs of this process replace those on the interfaces, each in one step. They answer handshakes, if they
//! were loaded for that, and drop other segments, which clients send again; the kernel gets none. When the predecessor has
//! closed its sockets, this process opens its own.
//!
//! The messages between the processes: [`control::handover`](crate::control::handover).

use super::interface::{ServedInterface, bind, load, queues};
use super::running::{AttachedProgram, LoadTimes};
use crate::af_xdp::XdpError;
use crate::af_xdp::interface::{AttachMode, Interface};
use crate::af_xdp::irq_deferral::{Deferral, NapiTiming};
use crate::af_xdp::link::Link;
use crate::af_xdp::socket::CopyMode;
use crate::af_xdp::umem::Pool;
use crate::config::keys;
use crate::config::{Config, HandshakeMode, XdpMode, ZeroCopy};
use crate::control::handover::{HandoverInterface, Predecessor, ReleasedPredecessor};
use crate::serving::{AnswerPolicy, CLIENT_RETRY_TIME, RetiredGeneration, ServingState};
use anyhow::{Context as _, Result, ensure};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::isn::{Key, Keys};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The instance to take over from: with `--take-over`, the one that serves `interfaces`, if there is one.
pub(super) fn find(config: &Config, interfaces: &[Interface]) -> Result<Option<Predecessor>> {
    if !config.take_over {
        return Ok(None);
    }
    let attached = interfaces.iter().filter_map(|interface| interface.attached().ok().flatten());
    let programs: Vec<u32> = attached.map(|attached| attached.id).collect();
    let found = if programs.is_empty() { None } else { Predecessor::find(&programs)? };
    if let Some(predecessor) = &found {
        tracing::info!("taking over from process {}", predecessor.pid);
    } else {
        tracing::info!("--take-over: no instance serves these interfaces");
    }
    fail_for_test(config, "asked");
    Ok(found)
}

/// The cookie keys. Without a key file they are the predecessor's, so that its connections continue.
pub(super) fn keys(config: &Config, predecessor: Option<&Predecessor>) -> Result<Keys> {
    let path = config.key_file.as_deref();
    let Some(Predecessor { pid, state, .. }) = predecessor else { return Ok(keys::load_or_create(path)?) };
    let (current, previous) = state.keys;
    let former = Keys { current: Key(current), previous: previous.map(Key) };
    if path.is_none() {
        tracing::info!("no --key-file: using the cookie key of process {pid}");
        return Ok(former);
    }
    let keys = keys::load_or_create(path)?;
    if let Some(warning) = keys::dropped_key_warning(&former, &keys) {
        tracing::warn!("{warning}");
    }
    Ok(keys)
}

/// Refuses options that cannot change in a takeover, or that would break existing connections.
pub(super) fn check(config: &Config, policy: &AnswerPolicy, predecessor: &Predecessor) -> Result<()> {
    let Predecessor { pid, state, .. } = predecessor;
    let remedy = format!("set it as process {pid} has it, or stop that process and then start this one");
    for HandoverInterface { name, generic, zero_copy, .. } in &state.interfaces {
        ensure!(
            config.interfaces.contains(name),
            "--take-over: process {pid} serves {name}, too, and nothing would serve it then: name it by -i, or stop \
             that process",
        );
        let native = config.xdp_mode == XdpMode::Native || config.handshake == HandshakeMode::Driver;
        ensure!(
            if *generic { !native } else { config.xdp_mode != XdpMode::Generic },
            "--take-over: the program on {name} is in {} mode, which cannot change in a takeover: leave out \
             --xdp-mode{}, or stop process {pid} and then start this one",
            if *generic { AttachMode::Generic } else { AttachMode::Native }.name(),
            if *generic { " and --handshake" } else { "" },
        );
        ensure!(
            *zero_copy || config.zero_copy != ZeroCopy::Always,
            "--take-over: process {pid} serves {name} in copy mode, and zero-copy can be tried only when it has ended: \
             leave out --zero-copy always, or stop that process and then start this one",
        );
    }
    let same = state.reliable == (policy.rules == AckPolicy::Reliable);
    ensure!(same, "--take-over: connections cannot continue with other --rules: {remedy}");
    let same = state.segment_size == policy.segment_size;
    ensure!(same, "--take-over: connections cannot continue with another --segment-size: {remedy}");
    let same = state.connection_lifetime == policy.connection_lifetime.as_secs();
    ensure!(same, "--take-over: connections cannot continue with another --connection-lifetime: {remedy}");
    Ok(())
}

/// Load times of the content and keys to activate. The same content has the predecessor's time, as answers may depend on
/// it.
pub(super) fn load_times(config: &Config, predecessor: Option<&Predecessor>) -> LoadTimes {
    let now = SystemTime::now();
    let written = config.key_file.as_deref().and_then(|path| keys::written(path).ok());
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let (content, key) =
        predecessor.map_or((now, now), |Predecessor { state, .. }| (at(state.loaded), at(state.key_since)));
    LoadTimes { content, key: written.unwrap_or(key) }
}

/// Gives the state its generation number: the predecessor's for the same content, else one that none of its connections has.
pub(super) fn choose_generation(
    state: ServingState,
    predecessor: Option<&Predecessor>,
) -> Result<ServingState> {
    let content = &state.current.content;
    let Some(Predecessor { pid, state: former, .. }) = predecessor else {
        if content.is_pure() {
            return Ok(state);
        }
        let mut generation = [0];
        getrandom::fill(&mut generation).context("no random numbers")?;
        return Ok(state.with_generation(generation[0]));
    };
    let fingerprint = content.fingerprint();
    if fingerprint.is_some() && fingerprint == former.fingerprint {
        return Ok(state.with_generation(former.generation));
    }
    let (state, reason) = if content.is_pure() {
        (state, "the content differs (to keep them, take over first, and then reload)")
    } else {
        (state.with_generation(former.generation), "only that process knows the answers of its relays")
    };
    tracing::warn!("connections that began with process {pid} end: {reason}");
    let reserved: Vec<RetiredGeneration> =
        reserved_generations(predecessor).into_iter().map(|(retired, _)| retired).collect();
    Ok(state.distinct_from(&reserved))
}

/// The generations that connections of a predecessor may belong to, and for how long.
pub(super) fn reserved_generations(predecessor: Option<&Predecessor>) -> Vec<(RetiredGeneration, Duration)> {
    let Some(Predecessor { state, .. }) = predecessor else { return Vec::new() };
    let latest = RetiredGeneration { generation: state.generation, fingerprint: state.fingerprint };
    let before = state.former.iter().map(|&(retired, seconds)| (retired, Duration::from_secs(seconds)));
    before.chain([(latest, CLIENT_RETRY_TIME)]).collect()
}

/// An interface that is about to be taken over, and everything that was prepared for it.
pub(super) struct TakeoverInterface {
    attached: AttachedProgram,
    link: Option<Link>,
    pools: Vec<(u32, Pool)>,
    deferral: Option<Deferral>,
}

/// Prepares the takeover of the predecessor's interfaces, in their present modes.
pub(super) fn prepare(
    config: &Config,
    interfaces: &[Interface],
    state: &ServingState,
    predecessor: &mut Predecessor,
) -> Result<Vec<TakeoverInterface>> {
    let links = predecessor.links.drain(..);
    let former = predecessor.state.interfaces.iter().zip(links);
    former
        .map(|(former, link)| {
            let interface = interfaces.iter().find(|interface| interface.name == former.name);
            let interface = interface.context("an interface that was not requested")?;
            TakeoverInterface::prepare(config, interface, state, former, link)
        })
        .collect()
}

/// Takes over the predecessor's interfaces.
pub(super) fn take_over(
    config: &Config,
    mut prepared: Vec<TakeoverInterface>,
    predecessor: Predecessor,
) -> Result<(Vec<ServedInterface>, ReleasedPredecessor)> {
    let pid = predecessor.pid;
    let started = Instant::now();
    for interface in &mut prepared {
        if let Some(link) = interface.link.take() {
            interface.attached.program.succeed(link)?;
        }
    }
    fail_for_test(config, "attached");
    let released = predecessor.release()?;
    fail_for_test(config, "released");
    let open = |interface: TakeoverInterface| interface.open(config);
    let interfaces = prepared.into_iter().map(open).collect::<Result<Vec<_>, XdpError>>()?;
    let gap = started.elapsed();
    tracing::info!("took over from process {pid}; no request was answered for {} µs", gap.as_micros());
    Ok((interfaces, released))
}

impl TakeoverInterface {
    pub(super) fn is_for(&self, interface: &Interface) -> bool {
        self.attached.program.interface().index == interface.index
    }

    fn prepare(
        config: &Config,
        interface: &Interface,
        state: &ServingState,
        former: &HandoverInterface,
        link: Link,
    ) -> Result<Self> {
        let mode = if former.generic { AttachMode::Generic } else { AttachMode::Native };
        let zero_copy = former.zero_copy && config.zero_copy != ZeroCopy::Never;
        let copy = if zero_copy { CopyMode::ZeroCopy } else { CopyMode::Copy };
        let mut attached = load(config, interface, state, mode, copy)?;
        attached.program.hold(true)?;
        let pool = |queue| Ok((queue, Pool::new(interface, queue)?));
        let pools = queues(config, interface)?.into_iter().map(pool).collect::<Result<_, XdpError>>()?;
        let timing = NapiTiming::of(config.busy_poll, config.coalesce);
        let deferral = timing.map(|timing| Deferral::of(interface, timing)).transpose()?;
        Ok(Self { attached, link: Some(link), pools, deferral })
    }

    /// Opens the sockets. From then on this process serves.
    fn open(self, config: &Config) -> Result<ServedInterface, XdpError> {
        let Self { mut attached, pools, deferral, .. } = self;
        let AttachedProgram { program, mode, copy, .. } = &mut attached;
        let mut sockets = Vec::with_capacity(pools.len());
        for (queue, pool) in pools {
            let socket = bind(pool, program.interface(), queue, *mode, *copy)?;
            program.register(queue, &socket.1)?;
            sockets.push(socket);
        }
        program.hold(false)?;
        ServedInterface { attached, sockets, deferral: None }.with_polling(config, deferral)
    }
}

/// Aborts the process if a test wants it to fail at this stage.
fn fail_for_test(config: &Config, stage: &str) {
    if config.test_fail_takeover.as_deref() == Some(stage) {
        std::process::abort();
    }
}
