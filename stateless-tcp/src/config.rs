//! The configuration: flags and file taken together, validated once, and plain values from then on.
//!
//! [`Options`] is what may be said, in the same words as flags and in a TOML file; [`Config`] is what follows from it.
//! Opens no file but the configuration file.

mod dns;
mod error;
mod http;
mod relay;
mod reload;
#[cfg(test)]
mod tests;
mod values;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::prefix::Prefix;
use crate::service::dns::relay::RelayOptions as DnsRelayOptions;
use crate::service::http::RelayOptions as HttpRelayOptions;
use serde::Deserialize;
use stateless_tcp_ebpf::abi::{MAX_ADDRESSES, MAX_LEFT};
pub use stateless_tcp_ebpf::rule::Rules;

pub use self::dns::CacheSize;
pub use self::error::ConfigError;
pub use self::relay::Endpoint;
pub use self::reload::Source;
pub use self::values::{
    Address, Handshake, Hints, Keepalive, Port, Queues, RuleSet, SegmentSize, XdpLog, XdpMode, ZeroCopy,
};

/// What to serve, where and how. Validated: no two values contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub struct Config {
    /// Network interfaces; none when a capture is answered.
    pub interfaces: Vec<String>,
    /// The addresses to answer for; `None`: the interfaces' own (of a capture: all).
    pub addresses: Option<Vec<IpAddr>>,
    /// Clients that are left to the kernel.
    pub kernel_from: Vec<Prefix>,
    /// The port that DNS is served on.
    pub dns_port: u16,
    /// The port that HTTP is served on.
    pub http_port: u16,
    /// Master files; none: the built-in zone.
    pub zones: Vec<PathBuf>,
    /// Answer ANY with one set of records (RFC 8482).
    pub minimal_any: bool,
    /// Seconds for which a connection may be idle, as told to who asks (RFC 7828); 0: nobody is told.
    pub dns_keepalive: u16,
    /// The file with the secret of DNS cookies (RFC 9018); `None`: it is made of the cookie key.
    pub dns_cookie_secret_file: Option<PathBuf>,
    /// The servers that questions are relayed to, and how; `None`: they are answered from zones.
    pub dns_relay: Option<DnsRelayOptions>,
    /// The directory served over HTTP; `None`: the built-in pages.
    pub http_root: Option<PathBuf>,
    /// The server that HTTP requests are relayed to, and how; `None`: they are answered here.
    pub http_relay: Option<HttpRelayOptions>,
    /// The rule set.
    pub rules: Rules,
    /// Most octets of payload in a segment; `None`: the rule set's.
    pub segment_size: Option<u16>,
    /// Connections that each worker remembers something of; 0: none.
    pub hints: usize,
    /// Answer requests that come with the SYN (RFC 7413).
    pub fast_open: bool,
    /// The file with the cookie keys; `None`: a key that is forgotten when the process ends.
    pub key_file: Option<PathBuf>,
    /// How the XDP program is attached.
    pub xdp_mode: XdpMode,
    /// Who answers what takes no content.
    pub handshake: Handshake,
    /// How frames get from the driver to us.
    pub zero_copy: ZeroCopy,
    /// The receive queues to serve, ascending; `None`: all.
    pub queues: Option<Vec<u32>>,
    /// Start although `queues` leaves some of the interface's queues to the kernel.
    pub uncovered_queues: bool,
    /// Take the place of an XDP program that is attached already.
    pub replace: bool,
    /// What the XDP program logs.
    pub xdp_log: XdpLog,
    /// Panic after so many frames, to test how the process ends.
    pub test_panic_after_frames: Option<u64>,
    /// Keep content that was replaced for so many seconds, to test what comes after.
    pub test_keep_seconds: Option<u64>,
}

/// What may be said on the command line and in the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub struct Options {
    /// A network interface to answer on; may be repeated
    #[arg(short, long, value_name = "IFACE")]
    interface: Vec<String>,
    /// A master file to serve over DNS; may be repeated [default: a built-in zone, example.com]
    #[arg(long, value_name = "FILE")]
    zone: Vec<PathBuf>,
    /// A server to relay DNS questions to, in place of --zone; may be repeated
    #[arg(long, value_name = "IP:PORT")]
    dns_relay: Vec<Endpoint>,
    /// Memory for the answers of these servers, to be given again; 0: none are kept, 0 to 65536 [default: 64]
    #[arg(long, value_name = "MIB")]
    dns_cache: Option<CacheSize>,
    #[arg(skip)]
    dns: dns::Table,
    /// The directory to serve over HTTP [default: a built-in page]
    #[arg(long, value_name = "DIR")]
    http_root: Option<PathBuf>,
    /// A server to relay HTTP requests to, in place of --http-root
    #[arg(long, value_name = "IP:PORT")]
    http_relay: Option<Endpoint>,
    /// Relay methods other than GET, HEAD and OPTIONS as well, and bodies: a request can run twice
    #[arg(long)]
    http_unsafe_methods: bool,
    #[arg(skip)]
    http: http::Table,
    /// An address to answer for; may be repeated [default: the interface's own]
    #[arg(long, value_name = "IP")]
    address: Vec<Address>,
    /// Clients to leave to the kernel's own TCP, as where secondaries transfer zones; may be repeated
    #[arg(long, value_name = "PREFIX")]
    kernel_from: Vec<Prefix>,
    /// The port to serve DNS on [default: 53]
    #[arg(long, value_name = "PORT")]
    dns_port: Option<Port>,
    /// The port to serve HTTP on [default: 80]
    #[arg(long, value_name = "PORT")]
    http_port: Option<Port>,
    /// How segments are answered [default: reliable]
    #[arg(long)]
    rules: Option<RuleSet>,
    /// Most octets of payload in a segment, 64 to 1220 [default: 512 classic, 1220 reliable]
    #[arg(long, value_name = "OCTETS")]
    segment_size: Option<SegmentSize>,
    /// Connections that each queue remembers something of, 64 octets each, to go faster; 0 to 1048576 [default: 4096]
    #[arg(long, value_name = "N")]
    hints: Option<Hints>,
    /// Answer requests that come with the SYN (TCP Fast Open, RFC 7413)
    #[arg(long)]
    fast_open: bool,
    /// Cookie keys: 32 hexadecimal digits a line, the current key, then the previous; made if there is no such file
    /// [default: a random key]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Answer ANY with one set of records (RFC 8482), not with all
    #[arg(long)]
    minimal_any: bool,
    /// How long a connection may be idle, as told to clients that ask (RFC 7828); 0: they get no answer [default: 120]
    #[arg(long, value_name = "SECONDS")]
    dns_keepalive: Option<Keepalive>,
    /// The secret of DNS cookies (RFC 9018), 32 hexadecimal digits, shared with other servers [default: made of the
    /// cookie key]
    #[arg(long, value_name = "FILE")]
    dns_cookie_secret_file: Option<PathBuf>,
    /// How to attach the XDP program [default: auto, native where the driver can]
    #[arg(long, value_name = "MODE")]
    xdp_mode: Option<XdpMode>,
    /// Where SYN, FIN and acknowledgments are answered [default: auto, in the driver where that is known to work]
    #[arg(long, value_name = "WHERE")]
    handshake: Option<Handshake>,
    /// Whether the driver hands over frames without a copy [default: auto, where the driver can]
    #[arg(long, value_name = "WHEN")]
    zero_copy: Option<ZeroCopy>,
    /// The receive queues to serve, as in 0,2-5 [default: all]
    #[arg(long, value_name = "LIST")]
    queues: Option<Queues>,
    /// Start although --queues leaves queues to the kernel, which answers served traffic there with RST
    #[arg(long)]
    uncovered_queues: bool,
    /// Take the place of an XDP program that is attached already
    #[arg(long)]
    replace: bool,
    /// What the XDP program logs [default: off]
    #[arg(long, value_name = "LEVEL")]
    xdp_log: Option<XdpLog>,
    #[arg(long, value_name = "N", hide = true)]
    test_panic_after_frames: Option<u64>,
    #[arg(long, value_name = "N", hide = true)]
    test_keep_seconds: Option<u64>,
}

impl Options {
    /// These options, and those of the file at `path` where these say nothing.
    pub(crate) fn over_file(self, path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(self) };
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let file: Self = toml::from_str(&text).map_err(|error| ConfigError::in_file(path, &text, &error))?;
        Ok(Self {
            interface: first_given(self.interface, file.interface),
            zone: first_given(self.zone, file.zone),
            dns_relay: first_given(self.dns_relay, file.dns_relay),
            dns_cache: self.dns_cache.or(file.dns_cache),
            dns: file.dns,
            http_root: self.http_root.or(file.http_root),
            http_relay: self.http_relay.or(file.http_relay),
            http_unsafe_methods: self.http_unsafe_methods || file.http_unsafe_methods,
            http: file.http,
            address: first_given(self.address, file.address),
            kernel_from: first_given(self.kernel_from, file.kernel_from),
            dns_port: self.dns_port.or(file.dns_port),
            http_port: self.http_port.or(file.http_port),
            rules: self.rules.or(file.rules),
            segment_size: self.segment_size.or(file.segment_size),
            hints: self.hints.or(file.hints),
            fast_open: self.fast_open || file.fast_open,
            key_file: self.key_file.or(file.key_file),
            minimal_any: self.minimal_any || file.minimal_any,
            dns_keepalive: self.dns_keepalive.or(file.dns_keepalive),
            dns_cookie_secret_file: self.dns_cookie_secret_file.or(file.dns_cookie_secret_file),
            xdp_mode: self.xdp_mode.or(file.xdp_mode),
            handshake: self.handshake.or(file.handshake),
            zero_copy: self.zero_copy.or(file.zero_copy),
            queues: self.queues.or(file.queues),
            uncovered_queues: self.uncovered_queues || file.uncovered_queues,
            replace: self.replace || file.replace,
            xdp_log: self.xdp_log.or(file.xdp_log),
            test_panic_after_frames: self.test_panic_after_frames.or(file.test_panic_after_frames),
            test_keep_seconds: self.test_keep_seconds.or(file.test_keep_seconds),
        })
    }

    pub(crate) fn for_run(self) -> Result<Config, ConfigError> {
        if self.interface.is_empty() {
            return Err(ConfigError::invalid("no interface to answer on: give -i IFACE"));
        }
        self.validate()
    }

    pub(crate) fn for_replay(self) -> Result<Config, ConfigError> {
        if let Some(interface) = self.interface.first() {
            return Err(ConfigError::invalid(format!(
                "replay answers a capture, not an interface: leave out -i {interface}"
            )));
        }
        if !self.dns_relay.is_empty() || self.dns != dns::Table::default() {
            return Err(ConfigError::invalid("replay asks no server: leave out --dns-relay and [dns]"));
        }
        if self.http_relay.is_some() {
            return Err(ConfigError::invalid("replay asks no server: leave out --http-relay"));
        }
        self.validate()
    }

    fn validate(self) -> Result<Config, ConfigError> {
        for (index, interface) in self.interface.iter().enumerate() {
            check_interface(interface)?;
            if self.interface[..index].contains(interface) {
                return Err(ConfigError::invalid(format!(
                    "interface {interface} is named twice: name it once, its queues are all served"
                )));
            }
        }
        let dns_port = self.dns_port.unwrap_or(Port::DNS);
        let http_port = self.http_port.unwrap_or(Port::HTTP);
        check_ports(dns_port, http_port)?;
        let xdp_mode = self.xdp_mode.unwrap_or_default();
        let zero_copy = self.zero_copy.unwrap_or_default();
        if xdp_mode == XdpMode::Generic && zero_copy == ZeroCopy::Always {
            return Err(ConfigError::invalid(
                "--zero-copy always cannot be had with --xdp-mode generic, which works on copies: \
                 leave out one of them",
            ));
        }
        if self.kernel_from.len() > MAX_LEFT as usize {
            return Err(ConfigError::invalid(format!(
                "{} prefixes of --kernel-from are too many: {MAX_LEFT} can be left to the kernel",
                self.kernel_from.len()
            )));
        }
        let handshake = self.handshake.unwrap_or_default();
        if xdp_mode == XdpMode::Generic && handshake == Handshake::Driver {
            return Err(ConfigError::invalid(
                "--handshake driver cannot be had with --xdp-mode generic, where no driver is asked: leave out one \
                 of them",
            ));
        }
        if self.uncovered_queues && self.queues.is_none() {
            return Err(ConfigError::invalid(
                "--uncovered-queues means nothing without --queues: all queues are served, leave it out",
            ));
        }
        Ok(Config {
            dns_relay: self.relay_dns()?,
            http_relay: self.relay_http()?,
            addresses: addresses(&self.address, &self.interface)?,
            interfaces: self.interface,
            kernel_from: self.kernel_from,
            dns_port: dns_port.get(),
            http_port: http_port.get(),
            zones: self.zone,
            minimal_any: self.minimal_any,
            dns_keepalive: self.dns_keepalive.unwrap_or_default().get(),
            dns_cookie_secret_file: self.dns_cookie_secret_file,
            http_root: self.http_root,
            rules: self.rules.map(Rules::from).unwrap_or_default(),
            segment_size: self.segment_size.map(SegmentSize::get),
            hints: self.hints.unwrap_or_default().get(),
            fast_open: self.fast_open,
            key_file: self.key_file,
            xdp_mode,
            handshake,
            zero_copy,
            queues: self.queues.map(Queues::into_inner),
            uncovered_queues: self.uncovered_queues,
            replace: self.replace,
            xdp_log: self.xdp_log.unwrap_or_default(),
            test_panic_after_frames: self.test_panic_after_frames,
            test_keep_seconds: self.test_keep_seconds,
        })
    }
}

fn first_given<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

/// The addresses, each once, where any are given.
fn addresses(given: &[Address], interfaces: &[String]) -> Result<Option<Vec<IpAddr>>, ConfigError> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut addresses: Vec<_> = given.iter().map(|address| address.get()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let is_live = !interfaces.is_empty();
    if let Some(address) = addresses.iter().find(|address| address.is_loopback() && is_live) {
        return Err(ConfigError::invalid(format!(
            "address {address} is a loopback address, which no client but this machine can reach, and \
             that is never answered: give an address of the interface"
        )));
    }
    if addresses.len() > MAX_ADDRESSES as usize {
        return Err(ConfigError::invalid(format!(
            "{} addresses are too many: {MAX_ADDRESSES} can be served",
            addresses.len()
        )));
    }
    Ok(Some(addresses))
}

pub(crate) fn check_ports(dns: Port, http: Port) -> Result<(), ConfigError> {
    if dns == http {
        return Err(ConfigError::invalid(format!(
            "--http-port {}: port {0} is already steered to DNS; give --dns-port or --http-port another",
            dns.get()
        )));
    }
    Ok(())
}

pub(crate) fn check_interface(name: &str) -> Result<(), ConfigError> {
    // The kernel's `dev_valid_name`.
    let valid = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|octet| octet == b'/' || octet == b':' || octet.is_ascii_whitespace());
    if valid {
        return Ok(());
    }
    Err(ConfigError::invalid(format!(
        "{name:?} cannot be an interface's name (1 to 15 octets, no slash, colon or space): \
         `ip link` lists the names"
    )))
}
