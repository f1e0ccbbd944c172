//! Builds the served content from the configuration.

use crate::config::keys;
use crate::config::{Config, DnsContent, ExtensionHeaders, HttpContent, UdpMode};
use crate::observe::snapshot;
use crate::services::Service;
use crate::services::dns::relay::{DnsForwarders, DnsRelay, DnsRelayOptions};
use crate::services::dns::{Cookies, Dns, DnsOptions, Library, LoadedZones, ZoneOptions};
use crate::services::http::{self, Http};
use crate::serving::{AnswerPolicy, Content};
use anyhow::{Context as _, Result, bail};
use stateless_tcp_core::tcp::isn::{Key, Keys};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::Settings;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;
use tokio::runtime::Handle;

/// State that outlives a reload: loaded zones, and relays if the process can have them.
#[derive(Default)]
pub struct Stores {
    /// Zones.
    pub zones: Library,
    relays: Option<Relays>,
}

impl Stores {
    /// Stores of a process with this number of workers. Connections of relays live on `runtime`.
    #[must_use]
    pub fn new(workers: usize, runtime: Handle) -> Self {
        Self { zones: Library::default(), relays: Some(Relays::new(workers, runtime)) }
    }

    /// Snapshots of the relays.
    #[must_use]
    pub fn relay_snapshots(&self) -> Vec<snapshot::RelaySnapshot> {
        self.relays.as_ref().map(Relays::snapshots).unwrap_or_default()
    }

    /// Counters of all open relays, by name.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.relays.as_ref().map(Relays::counts).unwrap_or_default()
    }

    fn relays(&self, option: &str) -> Result<&Relays> {
        self.relays.as_ref().with_context(|| format!("{option}: this command has no upstreams"))
    }
}

/// The relays of a process. A relay stays open as long as its options stay the same, so that its requests in flight and its
/// stored responses outlive a reload.
struct Relays {
    workers: usize,
    runtime: Handle,
    dns: OpenRelays<DnsRelayOptions, DnsForwarders>,
    http: OpenRelays<http::HttpRelayOptions, http::HttpRelay>,
}

impl Relays {
    fn new(workers: usize, runtime: Handle) -> Self {
        Self { workers, runtime, dns: OpenRelays::default(), http: OpenRelays::default() }
    }

    /// Snapshots of the relays. After a reload with other options a service has two relays for a minute; the snapshot is of the
    /// active one.
    fn snapshots(&self) -> Vec<snapshot::RelaySnapshot> {
        let dns = self.dns.all().pop().map(|forwarders| forwarders.report());
        dns.into_iter().chain(self.http.all().pop().map(|relay| relay.report())).collect()
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<_> = self.dns.all().iter().flat_map(|forwarders| forwarders.counts()).collect();
        counts.extend(self.http.all().iter().flat_map(|relay| relay.counts()));
        counts
    }

    fn dns(&self, options: &DnsRelayOptions) -> Result<Arc<DnsForwarders>> {
        self.dns.find_or_open(options, || {
            DnsForwarders::open(options, self.workers, &self.runtime).context("--dns-relay")
        })
    }

    fn http(&self, options: &http::HttpRelayOptions) -> Result<Arc<http::HttpRelay>> {
        self.http.find_or_open(options, || {
            http::HttpRelay::new(options, self.workers, self.runtime.clone()).context("--http-relay")
        })
    }
}

/// Open relays and their options. A relay closes when its last user drops it.
struct OpenRelays<O, R>(Mutex<Vec<(O, Weak<R>)>>);

impl<O, R> Default for OpenRelays<O, R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<O: Clone + PartialEq, R> OpenRelays<O, R> {
    fn all(&self) -> Vec<Arc<R>> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter_map(|(_, relay)| relay.upgrade()).collect()
    }

    fn find_or_open(&self, options: &O, open: impl FnOnce() -> Result<R>) -> Result<Arc<R>> {
        let mut relays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        relays.retain(|(_, relay)| relay.strong_count() > 0);
        let same = relays.iter().find(|(others, _)| others == options);
        if let Some(relay) = same.and_then(|(_, relay)| relay.upgrade()) {
            return Ok(relay);
        }
        let relay = Arc::new(open()?);
        relays.push((options.clone(), Arc::downgrade(&relay)));
        Ok(relay)
    }
}

/// Creates the services that run, with their ports. Each is a line here; zones and files are read.
///
/// `now` is the time for DNS cookies that must not depend on the clock. Without a secret file their secret is derived from
/// `keys`. Relays are those of `stores`.
///
/// # Errors
/// A zone or file is invalid, or a relay cannot be opened.
pub fn load(
    config: &Config,
    keys: &Keys,
    now: SystemTime,
    stores: &Stores,
) -> Result<Vec<(u16, Arc<dyn Service>)>> {
    let zones = load_zones(config, stores)?;
    let mut services: Vec<(u16, Arc<dyn Service>)> = Vec::new();
    if let Some(dns) = &config.services.dns {
        services.push((dns.port, dns_service(config, &dns.content, zones, keys, now, stores)?));
    }
    if let Some(http) = &config.services.http {
        services.push((http.port, http_service(&http.content, stores)?));
    }
    Ok(services)
}

/// Loads the zones of `config`. Also if there are none, so that those of an earlier configuration are not reported any more.
fn load_zones(config: &Config, stores: &Stores) -> Result<LoadedZones> {
    let none = ZoneOptions::default();
    let zones = config.services.zones().unwrap_or(&none);
    if let Some(zone) = zones.files.iter().find(|zone| keys::are_in(&zone.file)) {
        bail!("--zone {}: this file holds keys, not a zone: name a zone file", zone.file.display());
    }
    let secrets = [&config.key_file, &config.dns_cookie_secret_file, &config.config_file];
    let secrets: Vec<&Path> = secrets.into_iter().flatten().map(PathBuf::as_path).collect();
    Ok(stores.zones.load(zones, &secrets)?)
}

fn dns_service(
    config: &Config,
    content: &DnsContent,
    zones: LoadedZones,
    keys: &Keys,
    now: SystemTime,
    stores: &Stores,
) -> Result<Arc<dyn Service>> {
    let cookies = match &config.dns_cookie_secret_file {
        Some(path) => Cookies::new(keys::load(path).context("--dns-cookie-secret-file")?.current, now),
        None => Cookies::derived(&keys.current, now),
    };
    let options = DnsOptions {
        minimal_any: config.minimal_any,
        // The option is in seconds, the wire format in units of 100 ms (RFC 7828 section 3.1).
        keepalive: config.dns_keepalive.saturating_mul(10),
        cookies: Some(cookies),
        identity: config.identity,
    };
    Ok(match content {
        DnsContent::Builtin => Arc::new(Dns::builtin(options)),
        DnsContent::Zones(_) => Arc::new(Dns::new(zones, options)),
        DnsContent::Relay(relay) => {
            Arc::new(DnsRelay::new(options, stores.relays("--dns-relay")?.dns(relay)?))
        }
    })
}

fn http_service(content: &HttpContent, stores: &Stores) -> Result<Arc<dyn Service>> {
    Ok(match content {
        HttpContent::Builtin => Arc::new(Http::builtin()),
        HttpContent::Files(root, options) => Arc::new(Http::load(root, options)?),
        HttpContent::Relay(relay) => stores.relays("--http-relay")?.http(relay)?,
    })
}

/// The content for `addresses` and these services, with the configured clients and settings of the XDP program.
///
/// # Errors
/// The kernel has no random numbers.
pub fn compose(
    config: &Config,
    addresses: impl IntoIterator<Item = Address>,
    services: Vec<(u16, Arc<dyn Service>)>,
) -> Result<Content> {
    let mut key = Key([0; 16]);
    getrandom::fill(&mut key.0).context("no random numbers")?;
    let passes_extension_headers = config.extension_headers == ExtensionHeaders::Kernel;
    let settings = Settings::new(config.rate_limit.limit(key), udp_port(config), passes_extension_headers);
    Ok(Content::new(addresses, services)
        .with_clients(config.clients.clone())
        .with_vlans(config.vlans.clone())
        .with_settings(settings))
}

/// The UDP port whose queries are answered, if there is one.
#[must_use]
pub fn udp_port(config: &Config) -> Option<u16> {
    let dns = config.services.dns.as_ref().filter(|_| config.udp == UdpMode::Truncate);
    dns.map(|dns| dns.port)
}

/// A line about all services that run and all addresses.
#[must_use]
pub fn describe(config: &Config, stores: &Stores, addresses: &[IpAddr]) -> String {
    let dns = config.services.dns.as_ref().map(|dns| {
        let content = match (&dns.content, stores.zones.report().count()) {
            (DnsContent::Builtin, _) => "built-in zone".to_owned(),
            (DnsContent::Relay(relay), _) => relay.describe(),
            (DnsContent::Zones(_), 1) => "1 zone".to_owned(),
            (DnsContent::Zones(_), count) => format!("{count} zones"),
        };
        (content, dns.port)
    });
    let http = config.services.http.as_ref().map(|http| {
        let content = match &http.content {
            HttpContent::Builtin => "built-in page".to_owned(),
            HttpContent::Files(..) => "files".to_owned(),
            HttpContent::Relay(relay) => format!("relay to {}", relay.upstream),
        };
        (content, http.port)
    });
    let services = dns.into_iter().chain(http).map(|(content, port)| format!("{content} at port {port}"));
    let services = services.collect::<Vec<_>>().join(" and ");
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    format!("{services} of {}", addresses.join(", "))
}

/// A warning if built-in content is served only because no option names any.
#[must_use]
pub fn unnamed_warning(config: &Config) -> Option<String> {
    config.services.unnamed.then(|| {
        let ports = config.services.ports();
        let ports: Vec<String> =
            ports.iter().map(|service| format!("{} at port {}", service.name, service.port)).collect();
        format!(
            "no option names content, so everybody gets the built-in zone example.com and pages, {}: name your own by \
             --zone, --zone-dir, --dns-relay, --http-root or --http-relay, or confirm the built-in one by --demo",
            ports.join(" and ")
        )
    })
}

impl AnswerPolicy {
    /// The configured options of the TCP engine, with these keys.
    #[must_use]
    pub fn new(config: &Config, keys: Keys) -> Self {
        let Config { rules, hints, fast_open, connection_lifetime, .. } = *config;
        let segment_size = config.segment_size.unwrap_or(rules.segment_size());
        Self { rules, keys, segment_size, hints, fast_open, connection_lifetime }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cli::{self, Command};
    use crate::services::{Context, MAX_RESPONSE};
    use rstest::rstest;
    use stateless_tcp_core::tcp::isn::Key;

    /// The EDNS options of the first response to `example.com. A` with a client cookie and edns-tcp-keepalive.
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
        let opt = response.windows(3).position(|bytes| bytes == [0, 0, 41]).unwrap();
        response.split_off(opt + 11)
    }

    #[rstest]
    #[case::default(&[], Some([4, 176]))]
    #[case::seconds(&["--dns-keepalive", "7"], Some([0, 70]))]
    #[case::none(&["--dns-keepalive", "0"], None)]
    fn keepalive_is_in_units_of_100_ms(#[case] arguments: &[&str], #[case] expected: Option<[u8; 2]>) {
        let options = options(arguments, 1);
        let keepalive = options.strip_prefix(&[0, 11, 0, 2]).map(|rest| [rest[0], rest[1]]);
        assert_eq!(keepalive, expected);
    }

    #[test]
    fn a_key_is_not_quoted_as_a_zone() {
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
    fn a_relay_stays_open_while_its_options_stay_the_same() {
        let relays = OpenRelays::default();
        let first = relays.find_or_open(&1, || Ok("first")).unwrap();
        let second = relays.find_or_open(&2, || Ok("second")).unwrap();
        assert_eq!((*first, *second), ("first", "second"));
        assert_eq!(*relays.find_or_open(&1, || Ok("another")).unwrap(), "first");
        assert_eq!(relays.all().len(), 2);
        drop(first);
        assert_eq!(relays.all(), [second]);
        assert_eq!(*relays.find_or_open(&1, || Ok("another")).unwrap(), "another", "the first has closed");
        assert!(relays.find_or_open(&3, || bail!("it cannot be opened")).is_err());
    }

    #[test]
    fn the_cookie_secret_is_from_the_file_or_derived_from_the_current_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        keys::load_or_create(Some(&path)).unwrap();
        let given = ["--dns-cookie-secret-file", path.to_str().unwrap()];
        assert_eq!(options(&given, 1), options(&given, 2), "the secret of the file, with any key");
        assert_ne!(options(&[], 1), options(&[], 2));
        assert_ne!(options(&given, 1), options(&[], 1));
    }
}
