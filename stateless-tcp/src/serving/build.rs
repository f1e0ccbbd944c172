//! What is served, made of the configuration.

use crate::config::keys;
use crate::config::{Config, Udp};
use crate::dataplane::engine::Content;
use crate::observe::snapshot;
use crate::services::Service;
use crate::services::dns::relay::{DnsForwarders, DnsRelay, DnsRelayOptions};
use crate::services::dns::{Cookies, Dns, DnsOptions, Library};
use crate::services::http::{self, Http};
use anyhow::{Context as _, Result, bail};
use stateless_tcp_core::tcp::isn::{Key, Keys};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::Settings;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;
use tokio::runtime::Handle;

/// What outlives a reload: the zones that have been loaded, and the relays, where a service may be relayed.
#[derive(Default)]
pub struct Stores {
    /// Zones.
    pub zones: Library,
    /// Relays.
    pub relays: Option<Relays>,
}

impl Stores {
    /// With relays that so many workers ask, and whose connections live on `runtime`.
    #[must_use]
    pub fn new(workers: usize, runtime: Handle) -> Self {
        Self { zones: Library::default(), relays: Some(Relays::new(workers, runtime)) }
    }

    /// What the relay of each service did, and how it is.
    #[must_use]
    pub fn relays(&self) -> Vec<snapshot::Relay> {
        self.relays.as_ref().map(Relays::report).unwrap_or_default()
    }

    /// What the relays that run have counted, by name.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.relays.as_ref().map(Relays::counts).unwrap_or_default()
    }
}

/// The relays of a process. One that runs is served on as long as it is configured as it is: what it has in flight, and has
/// kept to be sent again, outlives a reload.
pub struct Relays {
    workers: usize,
    runtime: Handle,
    dns: Running<DnsRelayOptions, DnsForwarders>,
    http: Running<http::HttpRelayOptions, http::HttpRelay>,
}

impl Relays {
    /// For relays that so many workers ask, and whose connections live on `runtime`.
    #[must_use]
    pub fn new(workers: usize, runtime: Handle) -> Self {
        Self { workers, runtime, dns: Running::default(), http: Running::default() }
    }

    /// What the relay of each service did, and how it is. Of two, as there are for a minute after a reload that changes its
    /// options, the one in force.
    #[must_use]
    pub fn report(&self) -> Vec<snapshot::Relay> {
        let dns = self.dns.all().pop().map(|forwarders| forwarders.report());
        dns.into_iter().chain(self.http.all().pop().map(|relay| relay.report())).collect()
    }

    /// What the relays that run have counted, by name.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<_> = self.dns.all().iter().flat_map(|forwarders| forwarders.counts()).collect();
        counts.extend(self.http.all().iter().flat_map(|relay| relay.counts()));
        counts
    }

    fn dns(&self, options: &DnsRelayOptions) -> Result<Arc<DnsForwarders>> {
        self.dns.find_or(options, || {
            DnsForwarders::open(options, self.workers, &self.runtime).context("--dns-relay")
        })
    }

    fn http(&self, options: &http::HttpRelayOptions) -> Result<Arc<http::HttpRelay>> {
        self.http.find_or(options, || {
            http::HttpRelay::new(options, self.workers, self.runtime.clone()).context("--http-relay")
        })
    }
}

/// What was opened with which options, as long as anybody uses it.
struct Running<O, R>(Mutex<Vec<(O, Weak<R>)>>);

impl<O, R> Default for Running<O, R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<O: Clone + PartialEq, R> Running<O, R> {
    fn all(&self) -> Vec<Arc<R>> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter_map(|(_, relay)| relay.upgrade()).collect()
    }

    fn find_or(&self, options: &O, open: impl FnOnce() -> Result<R>) -> Result<Arc<R>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, relay)| relay.strong_count() > 0);
        let same = running.iter().find(|(others, _)| others == options);
        if let Some(relay) = same.and_then(|(_, relay)| relay.upgrade()) {
            return Ok(relay);
        }
        let relay = Arc::new(open()?);
        running.push((options.clone(), Arc::downgrade(&relay)));
        Ok(relay)
    }
}

/// Reads zones and files, or takes the built-in ones where none are named. DNS cookies that must not depend on the time
/// when they are asked for say `now`; without a secret of their own they are made by one that `keys` give. Services
/// configured as relays use those of `stores`.
///
/// # Errors
/// Whatever is wrong with a zone or the files, or keeps a relay from working.
pub fn load(
    config: &Config,
    keys: &Keys,
    now: SystemTime,
    stores: &Stores,
) -> Result<Vec<(u16, Arc<dyn Service>)>> {
    let cookies = match &config.dns_cookie_secret_file {
        Some(path) => Cookies::new(keys::load(path).context("--dns-cookie-secret-file")?.current, now),
        None => Cookies::derived(&keys.current, now),
    };
    let options = DnsOptions {
        minimal_any: config.minimal_any,
        // Configuration has whole seconds, the wire units of 100 ms (RFC 7828 section 3.1).
        keepalive: config.dns_keepalive.saturating_mul(10),
        cookies: Some(cookies),
    };
    if let Some(zone) = config.zones.files.iter().find(|zone| keys::are_in(&zone.file)) {
        bail!("--zone {}: this file holds keys, not a zone: name a zone file", zone.file.display());
    }
    let secrets = [&config.key_file, &config.dns_cookie_secret_file, &config.config_file];
    let secrets: Vec<&Path> = secrets.into_iter().flatten().map(PathBuf::as_path).collect();
    // Also where there are none, so that none are reported any more.
    let zones = stores.zones.load(&config.zones, &secrets)?;
    let dns: Arc<dyn Service> = match (&config.dns_relay, &config.zones) {
        (Some(relay), _) => match &stores.relays {
            Some(relays) => Arc::new(DnsRelay::new(options, relays.dns(relay)?)),
            None => bail!("--dns-relay: there is nothing here that could ask a server"),
        },
        (None, zones) if zones.is_empty() => Arc::new(Dns::builtin(options)),
        (None, _) => Arc::new(Dns::new(zones, options)),
    };
    let http: Arc<dyn Service> = match (&config.http_relay, &config.http_root) {
        (Some(relay), _) => match &stores.relays {
            Some(relays) => relays.http(relay)?,
            None => bail!("--http-relay: there is nothing here that could ask a server"),
        },
        (None, Some(root)) => Arc::new(Http::load(root, &config.http_files)?),
        (None, None) => Arc::new(Http::builtin()),
    };
    Ok(vec![(config.dns_port, dns), (config.http_port, http)])
}

/// What is served at `addresses`, and to whom.
///
/// # Errors
/// If there are no random numbers.
pub fn compose(
    config: &Config,
    addresses: impl IntoIterator<Item = Address>,
    services: Vec<(u16, Arc<dyn Service>)>,
) -> Result<Content> {
    let mut key = Key([0; 16]);
    getrandom::fill(&mut key.0).context("no random numbers")?;
    let settings = Settings::new(config.rate_limit.limit(key), datagrams(config));
    Ok(Content::new(addresses, services).treating(config.clients.clone()).set(settings))
}

/// The UDP port where questions are answered, if any.
#[must_use]
pub fn datagrams(config: &Config) -> Option<u16> {
    (config.udp == Udp::Truncate).then_some(config.dns_port)
}

/// One line that says what is served where.
#[must_use]
pub fn describe(config: &Config, stores: &Stores, addresses: &[IpAddr]) -> String {
    let zones = match (&config.dns_relay, stores.zones.report().count()) {
        (Some(relay), _) => relay.describe(),
        (None, _) if config.zones.is_empty() => "built-in zone".to_owned(),
        (None, 1) => "1 zone".to_owned(),
        (None, count) => format!("{count} zones"),
    };
    let pages = match (&config.http_relay, &config.http_root) {
        (Some(relay), _) => format!("relay to {}", relay.upstream),
        (None, Some(_)) => "files".to_owned(),
        (None, None) => "built-in page".to_owned(),
    };
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let (dns, http) = (config.dns_port, config.http_port);
    format!("{zones} at port {dns} and {pages} at port {http} of {}", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cli::{self, Command};
    use crate::services::{Context, MAX_RESPONSE};
    use rstest::rstest;
    use stateless_tcp_core::tcp::isn::Key;

    /// The options of a first DNS answer to `example.com. A`, asked with a client cookie and for keepalive.
    fn options(arguments: &[&str], key: u8) -> Vec<u8> {
        const QUERY: &[u8] = b"\0\x38\x12\x34\0\0\0\x01\0\0\0\0\0\x01\x07example\x03com\0\0\x01\0\x01\
            \0\0\x29\x04\xd0\0\0\0\0\0\x10\0\x0b\0\0\0\x0a\0\x08a client";
        let words = [&["stateless-tcp", "replay", "in", "out"], arguments].concat();
        let Command::Replay { config, .. } = cli::parse_from(words).unwrap().command else {
            panic!("another command")
        };
        let keys = Keys { current: Key([key; 16]), previous: None };
        let services = load(&config, &keys, SystemTime::UNIX_EPOCH, &Stores::default()).unwrap();
        let mut response = Vec::with_capacity(MAX_RESPONSE);
        services[0]
            .1
            .answer(QUERY, &Context { persistent: true, ..Context::default() }, &mut response)
            .unwrap();
        let opt = response.windows(3).position(|octets| octets == [0, 0, 41]).unwrap();
        response.split_off(opt + 11)
    }

    #[rstest]
    #[case::default(&[], Some([4, 176]))]
    #[case::seconds(&["--dns-keepalive", "7"], Some([0, 70]))]
    #[case::none(&["--dns-keepalive", "0"], None)]
    fn keepalive_is_told_in_units_of_100_ms(#[case] arguments: &[&str], #[case] said: Option<[u8; 2]>) {
        let options = options(arguments, 1);
        let keepalive = options.strip_prefix(&[0, 11, 0, 2]).map(|rest| [rest[0], rest[1]]);
        assert_eq!(keepalive, said);
    }

    #[test]
    fn a_key_is_not_quoted_as_if_it_were_a_zone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        keys::load_or_create(Some(&path)).unwrap();
        let words = ["stateless-tcp", "replay", "in", "out", "--zone", path.to_str().unwrap()];
        let Command::Replay { config, .. } = cli::parse_from(words).unwrap().command else {
            panic!("another command")
        };
        let keys = Keys { current: Key([1; 16]), previous: None };
        let error =
            load(&config, &keys, SystemTime::UNIX_EPOCH, &Stores::default()).err().unwrap().to_string();
        let key = std::fs::read_to_string(&path).unwrap();
        assert!(error.contains("holds keys") && !error.contains(key.trim()), "{error}");
    }

    #[test]
    fn a_relay_is_kept_as_long_as_it_is_configured_so() {
        let running = Running::default();
        let first = running.find_or(&1, || Ok("first")).unwrap();
        let second = running.find_or(&2, || Ok("second")).unwrap();
        assert_eq!((*first, *second), ("first", "second"));
        assert_eq!(*running.find_or(&1, || Ok("another")).unwrap(), "first");
        assert_eq!(running.all().len(), 2);
        drop(first);
        assert_eq!(running.all(), [second]);
        assert_eq!(
            *running.find_or(&1, || Ok("another")).unwrap(),
            "another",
            "nobody needed the first any more"
        );
        assert!(running.find_or(&3, || bail!("it cannot be opened")).is_err());
    }

    #[test]
    fn the_secret_is_the_file_s_or_made_of_the_current_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        keys::load_or_create(Some(&path)).unwrap();
        let given = ["--dns-cookie-secret-file", path.to_str().unwrap()];
        assert_eq!(options(&given, 1), options(&given, 2), "the file's, whatever the key");
        assert_ne!(options(&[], 1), options(&[], 2));
        assert_ne!(options(&given, 1), options(&[], 1));
    }
}
