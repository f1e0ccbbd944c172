//! Taking the place of a running instance (`--take-over`).
//!
//! All that can fail comes first, while the other one serves: configuration, keys, content, the XDP programs, the memory.
//! Then the programs of this process take the place of those on the interfaces, in one step each. They answer what takes no
//! content, if they were loaded for that, and drop what does, which clients send again; the kernel never gets any. When the
//! other process has closed its sockets, this one opens its own.
//!
//! What each process is to say: [`control::handover`](crate::control::handover).

use super::reload::{Since, loss};
use super::{Front, load, queues};
use crate::af_xdp::XdpError;
use crate::af_xdp::interface::{AttachMode, Interface};
use crate::af_xdp::irq_deferral::{Deferral, NapiTiming};
use crate::af_xdp::link::Link;
use crate::af_xdp::program::Program;
use crate::af_xdp::socket::{CopyMode, Socket};
use crate::af_xdp::umem::Pool;
use crate::config::keys;
use crate::config::{Config, Handshake, XdpMode, ZeroCopy};
use crate::control::handover::{HandedInterface, Predecessor, Released};
use crate::dataplane::engine::Policy;
use crate::observe::counters::Counters;
use crate::serving::{PATIENCE_OF_CLIENTS, RetiredGeneration, ServingState};
use anyhow::{Context as _, Result, ensure};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::isn::{Key, Keys};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The instance that serves `interfaces`, if its place is to be taken and there is one.
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
        tracing::info!("--take-over: no instance serves here");
    }
    fail_for_test(config, "asked");
    Ok(found)
}

/// The cookie keys: without a key file those of the predecessor, so that its connections go on.
pub(super) fn keys(config: &Config, predecessor: Option<&Predecessor>) -> Result<Keys> {
    let path = config.key_file.as_deref();
    let Some(Predecessor { pid, handed, .. }) = predecessor else { return Ok(keys::load_or_create(path)?) };
    let (current, previous) = handed.keys;
    let former = Keys { current: Key(current), previous: previous.map(Key) };
    if path.is_none() {
        tracing::info!("no --key-file: the cookie key is that of process {pid}");
        return Ok(former);
    }
    let keys = keys::load_or_create(path)?;
    if let Some(lost) = loss(&former, &keys) {
        tracing::warn!("{lost}");
    }
    Ok(keys)
}

/// Refuses what cannot be taken over, or would break the connections that there are.
pub(super) fn check(config: &Config, policy: &Policy, predecessor: &Predecessor) -> Result<()> {
    let Predecessor { pid, handed, .. } = predecessor;
    let remedy = format!("give it as process {pid} has it, or stop that and start this one then");
    for HandedInterface { name, generic, zero_copy, .. } in &handed.interfaces {
        ensure!(
            config.interfaces.contains(name),
            "--take-over: process {pid} serves {name} too, which nobody would then: name it by -i, or stop that process",
        );
        let native = config.xdp_mode == XdpMode::Native || config.handshake == Handshake::Driver;
        ensure!(
            if *generic { !native } else { config.xdp_mode != XdpMode::Generic },
            "--take-over: the program on {name} is in {} mode, which cannot change meanwhile: leave out --xdp-mode{}, \
             or stop process {pid}, and start this one then",
            if *generic { AttachMode::Generic } else { AttachMode::Native }.name(),
            if *generic { " and --handshake" } else { "" },
        );
        ensure!(
            *zero_copy || config.zero_copy != ZeroCopy::Always,
            "--take-over: process {pid} works on copies on {name}, and whether --zero-copy always can be had shows only \
             when it is gone: leave it out, or stop that process, and start this one then",
        );
    }
    let same = handed.reliable == (policy.rules == AckPolicy::Reliable);
    ensure!(same, "--take-over: connections cannot go on by other --rules: {remedy}");
    let same = handed.segment_size == policy.segment_size;
    ensure!(same, "--take-over: connections cannot go on by another --segment-size: {remedy}");
    Ok(())
}

/// Since when what is to be in force is. Content that a predecessor serves is as old there as here: answers can tell.
pub(super) fn since(config: &Config, predecessor: Option<&Predecessor>) -> Since {
    let now = SystemTime::now();
    let written = config.key_file.as_deref().and_then(|path| keys::written(path).ok());
    let then = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let (generation, key) = predecessor
        .map_or((now, now), |Predecessor { handed, .. }| (then(handed.loaded), then(handed.key_since)));
    Since { generation, key: written.unwrap_or(key) }
}

/// `offer` with the number that its content has. It is the predecessor's where the content is, and the next one otherwise:
/// what another content began nobody else can end.
pub(super) fn number(offer: ServingState, predecessor: Option<&Predecessor>) -> Result<ServingState> {
    let content = &offer.current.content;
    let Some(Predecessor { pid, handed, .. }) = predecessor else {
        if content.is_pure() {
            return Ok(offer);
        }
        let mut generation = [0];
        getrandom::fill(&mut generation).context("no random numbers")?;
        return Ok(offer.numbered(generation[0]));
    };
    let fingerprint = content.fingerprint();
    if fingerprint.is_some() && fingerprint == handed.fingerprint {
        return Ok(offer.numbered(handed.generation));
    }
    let (offer, reason) = if content.is_pure() {
        (offer, "the content is another (take over first, and reload then, to keep them)")
    } else {
        (offer.numbered(handed.generation), "what is relayed is known to the process that asked for it")
    };
    tracing::warn!("connections that began with process {pid} end: {reason}");
    let former: Vec<RetiredGeneration> = former(predecessor).into_iter().map(|(former, _)| former).collect();
    Ok(offer.apart_from(&former))
}

/// The generations that connections of a predecessor may be of, and for how long.
pub(super) fn former(predecessor: Option<&Predecessor>) -> Vec<(RetiredGeneration, Duration)> {
    let Some(Predecessor { handed, .. }) = predecessor else { return Vec::new() };
    let latest = RetiredGeneration { generation: handed.generation, fingerprint: handed.fingerprint };
    let before = handed.former.iter().map(|&(former, seconds)| (former, Duration::from_secs(seconds)));
    before.chain([(latest, PATIENCE_OF_CLIENTS)]).collect()
}

/// An interface that is to be taken over, and what it takes.
pub(super) struct Heir {
    interface: Interface,
    program: Program,
    link: Option<Link>,
    attach: AttachMode,
    copy: CopyMode,
    handshake: bool,
    pools: Vec<(u32, Pool)>,
    deferral: Option<Deferral>,
}

/// Prepares to take over the predecessor's interfaces, in the modes in which they are.
pub(super) fn prepare(
    config: &Config,
    interfaces: &[Interface],
    offer: &ServingState,
    predecessor: &mut Predecessor,
) -> Result<Vec<Heir>> {
    let links = predecessor.links.drain(..);
    let handed = predecessor.handed.interfaces.iter().zip(links);
    handed
        .map(|(handed, link)| {
            let interface = interfaces.iter().find(|interface| interface.name == handed.name);
            Heir::prepare(
                config,
                interface.context("an interface that is not asked for")?,
                offer,
                handed,
                link,
            )
        })
        .collect()
}

/// Takes the predecessor's interfaces over.
pub(super) fn succeed(
    config: &Config,
    mut heirs: Vec<Heir>,
    predecessor: Predecessor,
) -> Result<(Vec<Front>, Released)> {
    let pid = predecessor.pid;
    let begun = Instant::now();
    for heir in &mut heirs {
        if let Some(link) = heir.link.take() {
            heir.program.succeed(link)?;
        }
    }
    fail_for_test(config, "attached");
    let released = predecessor.release()?;
    fail_for_test(config, "released");
    let fronts = heirs.into_iter().map(|heir| heir.open(config)).collect::<Result<Vec<_>, XdpError>>()?;
    let gap = begun.elapsed();
    tracing::info!(
        "took over from process {pid}, which held up what takes content for {} µs",
        gap.as_micros()
    );
    Ok((fronts, released))
}

impl Heir {
    pub(super) fn is_for(&self, interface: &Interface) -> bool {
        self.interface.index == interface.index
    }

    fn prepare(
        config: &Config,
        interface: &Interface,
        offer: &ServingState,
        handed: &HandedInterface,
        link: Link,
    ) -> Result<Self> {
        let attach = if handed.generic { AttachMode::Generic } else { AttachMode::Native };
        let zero_copy = handed.zero_copy && config.zero_copy != ZeroCopy::Never;
        let copy = if zero_copy { CopyMode::ZeroCopy } else { CopyMode::Copy };
        let (mut program, handshake) = load(config, interface, offer, attach, copy)?;
        program.hold(true)?;
        let pool = |queue| Ok((queue, Pool::new(interface, queue)?));
        let pools = queues(config, interface)?.into_iter().map(pool).collect::<Result<_, XdpError>>()?;
        let timing = NapiTiming::of(config.busy_poll, config.coalesce);
        let deferral = timing.map(|timing| Deferral::of(interface, timing)).transpose()?;
        let (interface, link) = (interface.clone(), Some(link));
        Ok(Self { interface, program, link, attach, copy, handshake, pools, deferral })
    }

    /// Opens the sockets. From then on this process serves.
    fn open(self, config: &Config) -> Result<Front, XdpError> {
        let Self { interface, mut program, attach, copy, handshake, pools, deferral, .. } = self;
        let mut sockets = Vec::with_capacity(pools.len());
        for (queue, pool) in pools {
            let counters = Arc::new(Counters::default());
            let socket = Socket::bind(pool, &interface, queue, attach, copy, Arc::clone(&counters))?;
            program.register(queue, &socket)?;
            sockets.push((queue, socket, counters));
        }
        program.hold(false)?;
        let front = Front { interface, program, attach, copy, handshake, sockets, deferral: None };
        front.paced(config, deferral)
    }
}

/// Ends the process at once, if a test asks for that at this stage.
fn fail_for_test(config: &Config, stage: &str) {
    if config.test_fail_takeover.as_deref() == Some(stage) {
        std::process::abort();
    }
}
