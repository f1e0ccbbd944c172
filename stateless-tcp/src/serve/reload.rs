//! Replacing what is served while it is served.
//!
//! All that can fail is done beside the running service, on another thread: the configuration, zones, files and keys
//! are read and checked as at the start. Then the XDP program is told the addresses and ports, and the workers the
//! content. The content before is kept for [`KEEP`], and so are the ones before that ([`History`]): none ends before its
//! connections can be expected to have. Where as many are kept as may be, a wish for a reload waits for the oldest.

use super::addresses;
use super::manager::Manager;
use super::watch::Served;
use crate::af_xdp::XdpError;
use crate::af_xdp::interface::Interface;
use crate::config::keys;
use crate::config::{Config, Source};
use crate::control::{Outcome, Request};
use crate::dataplane::engine::{Content, Policy};
use crate::serving::build::{self, Stores};
use crate::serving::{
    Full, History, MAX_GENERATIONS, PATIENCE_OF_CLIENTS, RetiredGeneration, ServingState, Switch,
};
use anyhow::{Error, Result, bail};
use stateless_tcp_core::tcp::TcpConfig;
use stateless_tcp_core::tcp::isn::Keys;
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::MAX_ADDRESSES;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long content is kept for its connections after another has taken its place: longer than a client's timer
/// takes through several losses in a row.
pub(super) const KEEP: Duration = Duration::from_mins(1);

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
    history: History,
    /// When the history's clock began.
    epoch: Instant,
    /// Something new is being read; those who asked for it are told what becomes of it.
    reading: Option<(JoinHandle<Result<Prepared>>, Wish)>,
    /// What is to begin when it can.
    wish: Option<Wish>,
    /// No reload begins: somebody takes over.
    held: bool,
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

/// A wish for a reload.
struct Wish {
    /// Who is told the outcome.
    requests: Vec<Request>,
    /// Since when it has waited for a generation to end, if it had to.
    waits_since: Option<Instant>,
}

impl Reloader {
    #[expect(clippy::too_many_arguments, reason = "all that runs")]
    pub(super) fn new(
        source: Source,
        config: Config,
        interfaces: Vec<Interface>,
        switch: Arc<Switch>,
        former: Vec<(RetiredGeneration, Duration)>,
        stores: Arc<Stores>,
        since: Since,
        manager: Arc<Manager>,
    ) -> Self {
        let keep = config.test_keep_seconds.map_or(KEEP, Duration::from_secs);
        let history = History::new(keep).after(former, &switch.offer());
        let epoch = Instant::now();
        let (reading, wish, held) = (None, None, false);
        Self {
            source,
            config,
            interfaces,
            switch,
            stores,
            manager,
            history,
            epoch,
            reading,
            wish,
            held,
            since,
        }
    }

    /// What is in force.
    pub(super) fn offer(&self) -> Arc<ServingState> {
        self.switch.offer()
    }

    /// Generations that are served besides the one in force.
    pub(super) fn kept(&self) -> usize {
        self.history.kept()
    }

    /// Generations that connections may be of besides the one in force, and for how long.
    pub(super) fn former(&self) -> impl Iterator<Item = (RetiredGeneration, Duration)> {
        self.history.former(self.epoch.elapsed())
    }

    /// Whether nothing is being read, and nothing kept.
    pub(super) fn is_at_rest(&self) -> bool {
        self.reading.is_none() && self.history.kept() == 0
    }

    /// Has a reload begin as soon as one can. One serves all who ask for it meanwhile; `requests` are told the outcome.
    pub(super) fn ask(&mut self, requests: impl IntoIterator<Item = Request>) {
        let wish = self.wish.get_or_insert_with(|| Wish { requests: Vec::new(), waits_since: None });
        wish.requests.extend(requests);
    }

    /// Has no reload begin, or lets them again.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Begins what is wished for, if that can be.
    fn begin(&mut self) {
        if self.reading.is_some() || self.held {
            return;
        }
        let Some(mut wish) = self.wish.take() else { return };
        let now = self.epoch.elapsed();
        if let Some(full) = self.history.full(now) {
            wish.waits_since.get_or_insert_with(|| {
                let (Full::Places(until) | Full::Numbers(until)) = full;
                let rest = until.saturating_sub(now).as_secs() + 1;
                tracing::warn!("a reload waits {rest} s: {}", describe(full));
                Instant::now()
            });
            self.wish = Some(wish);
            return;
        }
        self.manager.reloading();
        let (source, running) = (self.source.clone(), self.config.clone());
        let (interfaces, offer) = (self.interfaces.clone(), self.switch.offer());
        let stores = Arc::clone(&self.stores);
        let reading = tokio::task::spawn_blocking(move || {
            prepare(&source, &running, &interfaces, &offer.policy, &stores)
        });
        self.reading = Some((reading, wish));
    }

    /// When something of the past is over that was waited for, or served.
    fn due(&self) -> Option<Instant> {
        let waits = self.reading.is_none() && !self.held && self.wish.is_some();
        let full = if waits { self.history.full(self.epoch.elapsed()) } else { None };
        let number = match full {
            Some(Full::Numbers(until)) => Some(until),
            _ => None,
        };
        self.history.ends().into_iter().chain(number).min().map(|until| self.epoch + until)
    }

    /// Carries on with what is under way, for ever if that is nothing. May be given up and called again at any time.
    pub(super) async fn proceed(&mut self, programs: &mut [Served]) {
        self.begin();
        let due = self.due();
        let over = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let read = async {
            match &mut self.reading {
                Some((reading, _)) => reading.await,
                None => std::future::pending().await,
            }
        };
        let prepared = tokio::select! {
            prepared = read => prepared,
            () = over => return self.expire(programs),
        };
        let Some((_, wish)) = self.reading.take() else { return };
        let outcome = match prepared {
            Ok(Ok(prepared)) => self.enforce(prepared, programs).map_err(Into::into),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(error.into()),
        };
        let refused = |error: Error| format!("reload failed; still serving the previous content: {error:#}");
        let failures: Vec<String> = match outcome {
            Ok(_) => self.stores.zones.report().failures().collect(),
            Err(_) => Vec::new(),
        };
        let waited = wish.waits_since.map_or_else(String::new, |since| {
            let seconds = since.elapsed().as_secs();
            format!(
                "\nit waited {seconds} s for the oldest of {MAX_GENERATIONS} generations of content to end"
            )
        });
        let outcome =
            outcome.map(|text| text + &waited).map_err(refused).and_then(|text| match &failures[..] {
                [] => Ok(text),
                failures => Err(format!(
                    "not all zones could be loaded:\n{}\nall else is {text}",
                    failures.join("\n")
                )),
            });
        self.tell(&outcome, wish.requests);
    }

    /// Serves no more what has been kept for its time.
    fn expire(&mut self, programs: &mut [Served]) {
        let Some((offer, gone)) = self.history.expire(&self.switch.offer(), self.epoch.elapsed()) else {
            return;
        };
        // First the programs: what they do not know is left to the workers.
        go_on(programs, &offer.tcp_config());
        linger(self.switch.put(offer));
        for generation in gone {
            tracing::debug!("generation {generation} is gone");
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
            go_on(programs, &before.tcp_config());
            return Err(error);
        }
        let offer = self.history.succeed(&before, content, policy, self.epoch.elapsed());
        let replaced = offer.current.generation != before.current.generation;
        let terms = *offer.tcp_config();
        self.stores.zones.commit();
        linger(self.switch.put(offer));
        go_on(programs, &terms);
        if replaced {
            self.since.generation = loaded;
        }
        self.since.key = key_since.unwrap_or(self.since.key);
        let mut text = format!("reloaded: {}", build::describe(&config, &self.stores, &addresses));
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
    let services = build::load(&config, &keys, loaded, stores)?;
    let zones = stores.zones.pending_report();
    notes.extend(zones.warnings());
    notes.extend(loss(&policy.keys, &keys));
    let addresses = addresses(&config, interfaces)?;
    if addresses.len() > MAX_ADDRESSES as usize {
        bail!("{} addresses are too many: {MAX_ADDRESSES} can be served", addresses.len());
    }
    let content = build::compose(&config, addresses.iter().map(|&address| Address::from(address)), services)?;
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
fn go_on(programs: &mut [Served], terms: &TcpConfig) {
    for Served { program, .. } in programs {
        if let Err(error) = program.answer_by(terms) {
            tracing::warn!(interface = program.interface().name, "the workers answer alone: {error}");
        }
    }
}

/// Why a reload has to wait.
fn describe(full: Full) -> String {
    match full {
        Full::Places(_) => format!(
            "{MAX_GENERATIONS} generations of content are served, and each of the former is kept for its connections for \
             {} s",
            KEEP.as_secs()
        ),
        Full::Numbers(_) => format!(
            "content was replaced so often within {} minutes that clients may remember every number that there is",
            PATIENCE_OF_CLIENTS.as_secs() / 60
        ),
    }
}

fn linger(offer: Arc<ServingState>) {
    tokio::spawn(async move {
        tokio::time::sleep(LINGER).await;
        drop(offer);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateless_tcp_core::tcp::isn::Key;

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
