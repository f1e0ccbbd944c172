//! Replacing what is served while it is served.
//!
//! All that can fail is done beside the running service, on another thread: the configuration, zones, files and keys
//! are read and checked as at the start. Then the XDP program is told the addresses and ports, and the workers the
//! content. The content before is kept for [`KEEP`], and no further reload begins while it is: a wish for one waits.
//! So there are never more than two generations, and none ends before its connections can be expected to have.

use super::addresses;
use super::manager::Manager;
use super::watch::Served;
use crate::config::{Config, Source};
use crate::content::{self, Stores};
use crate::control::{Outcome, Request};
use crate::exchange::{Content, Policy};
use crate::keys;
use crate::offer::{Former, Offer, Switch};
use crate::xdp::XdpError;
use crate::xdp::interface::Interface;
use anyhow::{Error, Result, bail};
use stateless_tcp_ebpf::abi::MAX_ADDRESSES;
use stateless_tcp_ebpf::cookie::Keys;
use stateless_tcp_ebpf::driver::Terms;
use stateless_tcp_ebpf::segment::Address;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long content is kept for its connections after another has taken its place: longer than a client's timer
/// takes through several losses in a row.
pub(super) const KEEP: Duration = Duration::from_mins(1);

/// How long a client sends its request again before it gives up (Linux: net.ipv4.tcp_retries2).
const PATIENCE_OF_CLIENTS: Duration = Duration::from_mins(16);

/// How long an offer that no worker should hold any more is held here: workers are to find nothing left to free.
const LINGER: Duration = Duration::from_secs(1);

/// What takes the place of what is served.
struct Prepared {
    config: Config,
    addresses: Vec<IpAddr>,
    content: Content,
    policy: Policy,
    loaded: SystemTime,
    /// When the key file was written.
    key_since: Option<SystemTime>,
    /// For the user.
    notes: Vec<String>,
}

/// What is served now, and the reload under way, if any.
pub(super) struct Reloader {
    source: Source,
    config: Config,
    interfaces: Vec<Interface>,
    switch: Arc<Switch>,
    stores: Arc<Stores>,
    manager: Arc<Manager>,
    keep: Duration,
    /// Generations that are not served any more, but that clients may still be of; until then.
    recent: Vec<(Former, Instant)>,
    stage: Stage,
    /// Since when what is in force is.
    pub(super) since: Since,
}

/// Since when something is in force.
#[derive(Clone, Copy)]
pub(super) struct Since {
    /// The content that new connections get: since it was loaded.
    pub(super) generation: SystemTime,
    /// The keys: since they were written, or made.
    pub(super) key: SystemTime,
}

enum Stage {
    /// A reload can begin.
    Idle,
    /// Something new is being read; those who asked for it are told what becomes of it.
    Reading(JoinHandle<Result<Prepared>>, Vec<Request>),
    /// Content that was replaced is kept until then.
    Keeping(Instant),
}

impl Reloader {
    pub(super) fn new(
        source: Source,
        config: Config,
        interfaces: Vec<Interface>,
        switch: Arc<Switch>,
        stores: Arc<Stores>,
        since: Since,
        manager: Arc<Manager>,
    ) -> Self {
        let keep = config.test_keep_seconds.map_or(KEEP, Duration::from_secs);
        let recent = Vec::new();
        Self { source, config, interfaces, switch, stores, manager, keep, recent, stage: Stage::Idle, since }
    }

    /// What is in force.
    pub(super) fn offer(&self) -> Arc<Offer> {
        self.switch.offer()
    }

    /// Whether a reload can begin.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Begins a reload; those of `requests` are told the outcome.
    pub(super) fn begin(&mut self, requests: Vec<Request>) {
        self.manager.reloading();
        let (source, running) = (self.source.clone(), self.config.clone());
        let (interfaces, offer) = (self.interfaces.clone(), self.switch.offer());
        let stores = Arc::clone(&self.stores);
        let reading = tokio::task::spawn_blocking(move || {
            prepare(&source, &running, &interfaces, &offer.policy, &stores)
        });
        self.stage = Stage::Reading(reading, requests);
    }

    /// Carries on with what is under way, for ever if that is nothing. May be given up and called again at any time.
    pub(super) async fn proceed(&mut self, programs: &mut [Served]) {
        match &mut self.stage {
            Stage::Idle => std::future::pending().await,
            Stage::Reading(reading, requests) => {
                let prepared = reading.await;
                let requests = std::mem::take(requests);
                let outcome = match prepared {
                    Ok(Ok(prepared)) => self.enforce(prepared, programs).map_err(Into::into),
                    Ok(Err(error)) => Err(error),
                    Err(error) => Err(error.into()),
                };
                if outcome.is_err() {
                    self.stage = Stage::Idle;
                }
                let refused =
                    |error: Error| format!("reload failed; still serving the previous content: {error:#}");
                let failures: Vec<String> = match outcome {
                    Ok(_) => self.stores.zones.report().failures().collect(),
                    Err(_) => Vec::new(),
                };
                let outcome = outcome.map_err(refused).and_then(|text| match &failures[..] {
                    [] => Ok(text),
                    failures => {
                        Err(format!("{text}\nnot all zones could be loaded:\n{}", failures.join("\n")))
                    }
                });
                self.tell(&outcome, requests);
            }
            Stage::Keeping(until) => {
                tokio::time::sleep_until(*until).await;
                let offer = self.switch.offer();
                let alone = offer.without_previous();
                // First the programs: what they do not know is left to the workers.
                go_on(programs, &alone.terms());
                linger(self.switch.put(alone));
                if let Some(gone) = &offer.previous {
                    tracing::debug!("generation {} is gone", gone.generation);
                }
                self.stage = Stage::Idle;
            }
        }
    }

    /// Puts what is prepared in force. Steering comes first, as it is what can fail: a frame for a new address that
    /// a worker gets before it hears of that is lost, and comes again.
    ///
    /// Meanwhile the programs answer nothing by themselves: so all is decided by one and the same offer, and no connection
    /// can begin at a new address with content that does not know it. They go on when the new offer is in the switch: what
    /// a client says to a SYN,ACK of theirs gets into a ring after that, and so to a worker that looks there first and
    /// finds the key and the generation.
    fn enforce(&mut self, prepared: Prepared, programs: &mut [Served]) -> Result<String, XdpError> {
        let Prepared { config, addresses, content, policy, loaded, key_since, notes } = prepared;
        let before = self.switch.offer();
        let steered = programs.iter_mut().try_for_each(|served| served.program.answer_nothing());
        if let Err(error) = steered.and_then(|()| steer(programs, &content)) {
            // What was possible a moment ago is so again.
            steer(programs, &before.current.content)?;
            go_on(programs, &before.terms());
            return Err(error);
        }
        let now = Instant::now();
        self.recent.retain(|(_, until)| *until > now);
        let recent: Vec<Former> = self.recent.iter().map(|(former, _)| *former).collect();
        let offer = before.succeeded_by(content, policy, &recent);
        let replaced = offer.current.generation != before.current.generation;
        let terms = offer.terms();
        linger(self.switch.put(offer));
        go_on(programs, &terms);
        if replaced {
            self.recent.push((before.current.former(), now + PATIENCE_OF_CLIENTS));
            self.since.generation = loaded;
        }
        // Of content that stayed the same nothing has to be kept.
        self.stage = if replaced { Stage::Keeping(now + self.keep) } else { Stage::Idle };
        self.since.key = key_since.unwrap_or(self.since.key);
        let mut text = format!("reloaded: {}", content::describe(&config, &self.stores, &addresses));
        for note in notes {
            text.push('\n');
            text.push_str(&note);
        }
        self.config = config;
        Ok(text)
    }

    /// Has everybody know what came of it.
    fn tell(&self, outcome: &Outcome, requests: Vec<Request>) {
        match outcome {
            Ok(text) => text.lines().for_each(|line| tracing::info!("{line}")),
            Err(reason) => reason.lines().for_each(|line| tracing::error!("{line}")),
        }
        let (Ok(text) | Err(text)) = outcome;
        self.manager.ready(text);
        for request in requests {
            // Whoever no longer listens has no use for the news.
            let _ = request.send(outcome.clone());
        }
    }
}

/// Reads and checks everything anew.
fn prepare(
    source: &Source,
    running: &Config,
    interfaces: &[Interface],
    policy: &Policy,
    stores: &Stores,
) -> Result<Prepared> {
    let (config, kept) = source.read()?.within(running);
    let mut notes = Vec::new();
    if !kept.is_empty() {
        notes.push(format!("unchanged until a restart: {}", kept.join(", ")));
    }
    let (keys, key_since) = match &config.key_file {
        Some(path) => (keys::load(path)?, Some(keys::written(path)?)),
        // A random key stays as long as the process does.
        None => (policy.keys, None),
    };
    let loaded = SystemTime::now();
    let services = content::load(&config, &keys, loaded, stores)?;
    let zones = stores.zones.report();
    notes.extend(zones.warnings());
    notes.extend(loss(&policy.keys, &keys));
    let addresses = addresses(&config, interfaces)?;
    if addresses.len() > MAX_ADDRESSES as usize {
        bail!("{} addresses are too many: {MAX_ADDRESSES} can be served", addresses.len());
    }
    let content =
        content::compose(&config, addresses.iter().map(|&address| Address::from(address)), services)?;
    let policy = Policy { keys, fast_open: config.fast_open, ..policy.clone() };
    Ok(Prepared { config, addresses, content, policy, loaded, key_since, notes })
}

/// What is lost where `keys` take the place of `former`.
pub(super) fn loss(former: &Keys, keys: &Keys) -> Option<String> {
    let kept = keys.current == former.current || keys.previous == Some(former.current);
    (!kept).then(|| {
        "the key used until now is not in the key file: connections under way are lost (`stateless-tcp rotate-key` \
         keeps it as the previous one)"
            .to_owned()
    })
}

fn steer(programs: &mut [Served], content: &Content) -> Result<(), XdpError> {
    programs.iter_mut().try_for_each(|served| {
        let addresses = content.addresses().copied();
        served.program.serve(addresses, content.ports(), content.clients(), content.settings())
    })
}

/// Has the programs answer by `terms`. Those that cannot be told leave everything to the workers, or what they do not know.
fn go_on(programs: &mut [Served], terms: &Terms) {
    for Served { program, .. } in programs {
        if let Err(error) = program.answer_by(terms) {
            tracing::warn!(interface = program.interface().name, "the workers answer alone: {error}");
        }
    }
}

fn linger(offer: Arc<Offer>) {
    tokio::spawn(async move {
        tokio::time::sleep(LINGER).await;
        drop(offer);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateless_tcp_ebpf::cookie::Key;

    #[test]
    fn a_key_that_is_dropped_is_named() {
        let [one, two, three] = [1, 2, 3].map(|octet| Key([octet; 16]));
        let keys = |current, previous| Keys { current, previous };
        for (former, new, lost) in [
            (keys(one, None), keys(one, None), false),
            (keys(one, None), keys(two, Some(one)), false),
            (keys(two, Some(one)), keys(three, Some(two)), false),
            (keys(two, Some(one)), keys(two, None), false),
            (keys(one, None), keys(two, None), true),
            (keys(one, None), keys(three, Some(two)), true),
        ] {
            assert_eq!(loss(&former, &new).is_some(), lost, "{former:?} {new:?}");
        }
    }
}
