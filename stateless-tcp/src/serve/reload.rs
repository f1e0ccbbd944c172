//! Reloading: replacing the content and keys while they are served.
//!
//! Everything that can fail happens on another thread, beside the running service: the configuration, zones, files and keys
//! are read and checked as at the start. Then the XDP program gets the addresses and ports, and the workers the content.
//! The previous content is retained for [`RETENTION`], and so are those before it ([`History`]): none ends before its
//! connections can be expected to end. At the limit of retained content, a reload waits for the oldest to expire.

use super::epochs::EpochTicker;
use super::interface::{addresses, own_addresses, steer};
use super::running::{AttachedProgram, ContentStatus, LoadTimes};
use super::sd_notify::SdNotify;
use crate::af_xdp::XdpError;
use crate::af_xdp::interface::Interface;
use crate::config::keys;
use crate::config::{Config, ConfigSource};
use crate::control::CommandResult;
use crate::control::server::ReloadRequest;
use crate::serving::build::{self, Stores};
use crate::serving::{
    ActiveState, AnswerPolicy, CLIENT_RETRY_TIME, Content, GenerationLimit, History, MAX_GENERATIONS,
    RetiredGeneration, ServingState,
};
use crate::system::network::Network;
use anyhow::{Error, Result, bail};
use stateless_tcp_core::steering::Steering as _;
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::MAX_ADDRESSES;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Time for which replaced content is served to its connections. A client's retransmission timer reaches it after several
/// losses in a row.
const RETENTION: Duration = Duration::from_mins(1);

/// Time for which a replaced state is held here, so that no worker frees it.
const RELEASE_DELAY: Duration = Duration::from_secs(1);

/// The result of reading everything anew.
struct PreparedReload {
    config: Config,
    addresses: Vec<IpAddr>,
    content: Content,
    policy: AnswerPolicy,
    load_times: LoadTimes,
    /// Notes for the user.
    notes: Vec<String>,
}

/// The active state, and the reload under way, if there is one.
pub(super) struct Reloader {
    source: ConfigSource,
    config: Config,
    interfaces: Vec<Interface>,
    active: Arc<ActiveState>,
    stores: Arc<Stores>,
    service_manager: Arc<SdNotify>,
    history: History,
    /// Start of the history's clock.
    epoch: Instant,
    /// The reload that is reading.
    reading: Option<(JoinHandle<Result<PreparedReload>>, PendingReload)>,
    /// The reload that begins next.
    pending: Option<PendingReload>,
    /// No reload begins, as a successor takes over.
    held: bool,
    load_times: LoadTimes,
    /// Keeps the programs' time slots those of the present.
    epoch_ticker: EpochTicker,
}

/// A reload that was requested.
#[derive(Default)]
struct PendingReload {
    /// The requests that get its result.
    requests: Vec<ReloadRequest>,
    /// The time since which it waits for a generation to expire, if it does.
    waits_since: Option<Instant>,
}

impl Reloader {
    #[expect(clippy::too_many_arguments, reason = "everything that runs")]
    pub(super) fn new(
        source: ConfigSource,
        config: Config,
        interfaces: Vec<Interface>,
        active: Arc<ActiveState>,
        reserved: Vec<(RetiredGeneration, Duration)>,
        stores: Arc<Stores>,
        load_times: LoadTimes,
        service_manager: Arc<SdNotify>,
    ) -> Self {
        let retention = config.test_keep_seconds.map_or(RETENTION, Duration::from_secs);
        let epoch_ticker = EpochTicker::new(&active.load().policy);
        let history = History::new(retention).with_predecessor(reserved, &active.load());
        Self {
            source,
            config,
            interfaces,
            active,
            stores,
            service_manager,
            history,
            epoch: Instant::now(),
            reading: None,
            pending: None,
            held: false,
            load_times,
            epoch_ticker,
        }
    }

    /// The active state.
    pub(super) fn state(&self) -> Arc<ServingState> {
        self.active.load_full()
    }

    /// Load times of the active content and keys.
    pub(super) fn load_times(&self) -> LoadTimes {
        self.load_times
    }

    /// The content's part of a snapshot.
    pub(super) fn status(&self) -> ContentStatus {
        ContentStatus {
            generation: self.state().current.generation,
            load_times: self.load_times,
            retained: self.history.retained(),
        }
    }

    /// The earlier generations that connections may belong to, and for how long.
    pub(super) fn reserved(&self) -> impl Iterator<Item = (RetiredGeneration, Duration)> {
        self.history.reserved(self.epoch.elapsed())
    }

    /// Whether no reload is reading, and no earlier content is retained.
    pub(super) fn is_at_rest(&self) -> bool {
        self.reading.is_none() && self.history.retained() == 0
    }

    /// Requests a reload, which begins as soon as possible. One reload serves all requests that come until it begins.
    pub(super) fn request(&mut self, requests: impl IntoIterator<Item = ReloadRequest>) {
        self.pending.get_or_insert_default().requests.extend(requests);
    }

    /// Prevents reloads from beginning, or allows them again.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Begins the pending reload if that is possible.
    fn begin(&mut self) {
        if self.reading.is_some() || self.held {
            return;
        }
        let Some(mut reload) = self.pending.take() else { return };
        let now = self.epoch.elapsed();
        if let Some(limit) = self.history.limit(now) {
            reload.waits_since.get_or_insert_with(|| {
                let (GenerationLimit::Generations(until) | GenerationLimit::Numbers(until)) = limit;
                let rest = until.saturating_sub(now).as_secs() + 1;
                tracing::warn!("a reload waits {rest} s: {}", describe(limit));
                Instant::now()
            });
            self.pending = Some(reload);
            return;
        }
        self.service_manager.reloading();
        let (source, running) = (self.source.clone(), self.config.clone());
        let (interfaces, state) = (self.interfaces.clone(), self.state());
        let (stores, key_since) = (Arc::clone(&self.stores), self.load_times.key);
        let reading = tokio::task::spawn_blocking(move || {
            prepare(&source, &running, &interfaces, &state.policy, key_since, &stores)
        });
        self.reading = Some((reading, reload));
    }

    /// The time when the next generation expires, or a pending reload can begin.
    fn due(&self) -> Option<Instant> {
        let waits = self.reading.is_none() && !self.held && self.pending.is_some();
        let limit = if waits { self.history.limit(self.epoch.elapsed()) } else { None };
        let number = match limit {
            Some(GenerationLimit::Numbers(until)) => Some(until),
            _ => None,
        };
        self.history.next_expiry().into_iter().chain(number).min().map(|until| self.epoch + until)
    }

    /// Waits for the next event of a reload, a generation or an epoch, and handles it. Cancel safe.
    pub(super) async fn proceed(&mut self, programs: &mut [AttachedProgram]) {
        self.begin();
        let due = self.due();
        let expiry = async {
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
        let answers = programs.iter().any(|attached| attached.handshake.is_driver());
        let prepared = tokio::select! {
            () = self.epoch_ticker.change(answers) => return configure_handshakes(programs, &self.active.load()),
            prepared = read => prepared,
            () = expiry => return self.expire(programs),
        };
        let Some((_, reload)) = self.reading.take() else { return };
        let outcome = match prepared {
            Ok(Ok(prepared)) => Network::observe()
                .map_err(XdpError::Network)
                .and_then(|network| self.activate(prepared, &network, programs))
                .map_err(Into::into),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(error.into()),
        };
        let result = self.result(outcome, reload.waits_since);
        self.report(&result, reload.requests);
    }

    /// The text for the user, which is an error if a zone could not be loaded.
    fn result(&self, outcome: Result<String, Error>, waits_since: Option<Instant>) -> CommandResult {
        let mut text = outcome
            .map_err(|error| format!("reload failed; still serving the previous content: {error:#}"))?;
        if let Some(since) = waits_since {
            let seconds = since.elapsed().as_secs();
            // Writing to a string never fails.
            let _ = write!(
                text,
                "\nit waited {seconds} s for the oldest of {MAX_GENERATIONS} generations of content to end"
            );
        }
        let failures: Vec<String> = self.stores.zones.report().failures().collect();
        if failures.is_empty() {
            return Ok(text);
        }
        Err(format!("not all zones could be loaded:\n{}\nall else is {text}", failures.join("\n")))
    }

    /// Ends the generations whose time has expired.
    fn expire(&mut self, programs: &mut [AttachedProgram]) {
        let Some((state, expired)) = self.history.expire(&self.state(), self.epoch.elapsed()) else {
            return;
        };
        // The programs come first: they leave segments of unknown generations to the workers.
        configure_handshakes(programs, &state);
        release_later(self.active.swap(Arc::new(state)));
        for generation in expired {
            tracing::debug!("generation {generation} has expired");
        }
    }

    /// Activates what is prepared. Steering comes first, as it can fail. A worker that gets a frame for a new address before
    /// it has the new state drops it, and the client sends it again.
    ///
    /// Meanwhile the programs answer no handshakes. So each is decided by one state, and no connection can begin at a new
    /// address with content that does not know the address. They answer again after the new state is active: a client's
    /// reply to their SYN,ACK reaches a ring later than that, and so a worker with the new key and generation.
    fn activate(
        &mut self,
        prepared: PreparedReload,
        network: &Network,
        programs: &mut [AttachedProgram],
    ) -> Result<String, XdpError> {
        let PreparedReload { config, addresses, content, policy, load_times, notes } = prepared;
        let before = self.state();
        let steered = programs.iter_mut().try_for_each(|attached| attached.program.answer_nothing());
        if let Err(error) = steered.and_then(|()| steer_all(programs, &content, network)) {
            // The maps had room for this content a moment ago.
            steer_all(programs, &before.current.content, network)?;
            configure_handshakes(programs, &before);
            return Err(error);
        }
        let state = self.history.replace(&before, content, policy, self.epoch.elapsed());
        if state.current.generation != before.current.generation {
            self.load_times.content = load_times.content;
        }
        self.load_times.key = load_times.key;
        self.stores.zones.commit();
        let state = Arc::new(state);
        release_later(self.active.swap(Arc::clone(&state)));
        configure_handshakes(programs, &state);
        let mut text = format!("reloaded: {}", build::describe(&config, &self.stores, &addresses));
        for note in notes {
            text.push('\n');
            text.push_str(&note);
        }
        self.config = config;
        Ok(text)
    }

    /// Follows the network: the interfaces' addresses, unless the configuration names those to serve, and which frames are for
    /// this host.
    pub(super) fn follow(
        &mut self,
        network: &Network,
        programs: &mut [AttachedProgram],
    ) -> Result<(), XdpError> {
        let state = self.state();
        let content = &state.current.content;
        let addresses = own_addresses(&self.interfaces, network);
        let is_own = |address: &Address| addresses.contains(&IpAddr::from(*address));
        let added: Vec<_> = addresses.iter().filter(|&&address| !content.address(&address.into())).collect();
        let removed: Vec<_> = content.addresses().filter(|address| !is_own(address)).collect();
        let follows =
            self.config.addresses.is_none() && !self.held && addresses.len() <= MAX_ADDRESSES as usize;
        if !follows || added.is_empty() && removed.is_empty() {
            return steer_all(programs, content, network);
        }
        for address in added {
            tracing::info!("{address} is an address of a served interface now: it is served");
        }
        for address in removed {
            let address = IpAddr::from(*address);
            tracing::warn!("{address} is no address of a served interface any more: it is not served");
        }
        let content = Content::clone(content).with_addresses(addresses.iter().map(|&address| address.into()));
        let prepared = PreparedReload {
            config: self.config.clone(),
            addresses,
            content,
            policy: state.policy.clone(),
            load_times: self.load_times,
            notes: Vec::new(),
        };
        self.activate(prepared, network, programs).map(drop)
    }

    /// Logs the result, and sends it to the service manager and the requests.
    fn report(&self, result: &CommandResult, requests: Vec<ReloadRequest>) {
        match result {
            Ok(text) => text.lines().for_each(|line| tracing::info!("{line}")),
            Err(reason) => reason.lines().for_each(|line| tracing::error!("{line}")),
        }
        let (Ok(text) | Err(text)) = result;
        self.service_manager.ready(text);
        for request in requests {
            // The client may have closed its connection.
            let _ = request.send(result.clone());
        }
    }
}

/// Reads and checks everything anew.
fn prepare(
    source: &ConfigSource,
    running: &Config,
    interfaces: &[Interface],
    policy: &AnswerPolicy,
    key_since: SystemTime,
    stores: &Stores,
) -> Result<PreparedReload> {
    let (config, kept) = source.read()?.retain_restart_only(running);
    if config.services.unnamed && !running.services.unnamed {
        bail!(
            "no option names content any more: name zones, files or upstreams, or confirm the built-in content by --demo"
        );
    }
    let mut notes = Vec::new();
    if !kept.is_empty() {
        notes.push(format!("unchanged until a restart: {}", kept.join(", ")));
    }
    let (keys, key_since) = match &config.key_file {
        Some(path) => (keys::load(path)?, keys::written(path)?),
        // A random key stays as long as the process does.
        None => (policy.keys, key_since),
    };
    let load_times = LoadTimes { content: SystemTime::now(), key: key_since };
    let services = build::load(&config, &keys, load_times.content, stores)?;
    let zones = stores.zones.pending_report();
    notes.extend(zones.warnings());
    notes.extend(keys::dropped_key_warning(&policy.keys, &keys));
    let addresses = addresses(&config, interfaces)?;
    if addresses.len() > MAX_ADDRESSES as usize {
        bail!("{} addresses are too many: at most {MAX_ADDRESSES} can be served", addresses.len());
    }
    let content = build::compose(&config, addresses.iter().map(|&address| Address::from(address)), services)?;
    let policy = AnswerPolicy { keys, fast_open: config.fast_open, ..policy.clone() };
    Ok(PreparedReload { config, addresses, content, policy, load_times, notes })
}

fn steer_all(programs: &mut [AttachedProgram], content: &Content, network: &Network) -> Result<(), XdpError> {
    programs.iter_mut().try_for_each(|attached| steer(&mut attached.program, content, network))
}

/// Makes the programs answer handshakes by `state`, at the present time. A program that fails leaves unknown handshakes to
/// the workers.
fn configure_handshakes(programs: &mut [AttachedProgram], state: &ServingState) {
    let epochs = state.policy.epochs(SystemTime::now());
    for AttachedProgram { program, .. } in programs {
        if let Err(error) = program.answer_by(state.tcp_config(), &epochs) {
            tracing::warn!(interface = program.interface().name, "the workers answer alone: {error}");
        }
    }
}

/// The reason why a reload waits.
fn describe(limit: GenerationLimit) -> String {
    match limit {
        GenerationLimit::Generations(_) => format!(
            "{MAX_GENERATIONS} generations of content are served, and each of the earlier ones is kept for its connections \
             for {} s",
            RETENTION.as_secs()
        ),
        GenerationLimit::Numbers(_) => format!(
            "content was replaced so often within {} minutes that clients may remember every generation number",
            CLIENT_RETRY_TIME.as_secs() / 60
        ),
    }
}

fn release_later(state: Arc<ServingState>) {
    tokio::spawn(async move {
        tokio::time::sleep(RELEASE_DELAY).await;
        drop(state);
    });
}
