//! The configuration: flags and file taken together, validated once, and plain values from then on.
//!
//! [`Options`] is what may be said, in the same words as flags and in a TOML file; [`Config`] is what follows from it.
//! Opens no file but the configuration file.

mod check;
mod count;
mod dns;
mod error;
mod http;
pub mod keys;
mod limit;
mod observe;
mod options;
pub mod prefix;
mod relay;
mod reload;
#[cfg(test)]
mod tests;
mod values;

use crate::services::dns::ZoneOptions;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::services::dns::relay::DnsRelayOptions;
use crate::services::http::{FileOptions, HttpRelayOptions};
use crate::serving::clients::Clients;
pub use stateless_tcp_core::tcp::AckPolicy;

pub(crate) use self::check::{check_interface, check_ports, key_file as check_key_file};
pub use self::count::Count;
pub use self::dns::CacheSize;
pub use self::error::ConfigError;
pub use self::http::CacheControl;
pub use self::limit::{RateLimit, Udp};
pub use self::observe::{ListenAddress, LogFormat, SocketPath};
pub use self::options::Options;
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
    /// What is done with clients.
    pub clients: Clients,
    /// How much the clients of one network may ask for.
    pub rate_limit: RateLimit,
    /// What becomes of DNS over UDP.
    pub udp: Udp,
    /// The port that DNS is served on.
    pub dns_port: u16,
    /// The port that HTTP is served on.
    pub http_port: u16,
    /// Zone files; none: the built-in zone.
    pub zones: ZoneOptions,
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
    /// How its files are served.
    pub http_files: FileOptions,
    /// The server that HTTP requests are relayed to, and how; `None`: they are answered here.
    pub http_relay: Option<HttpRelayOptions>,
    /// The rule set.
    pub rules: AckPolicy,
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
    /// For how long after a frame a worker polls for the next before it sleeps.
    pub busy_poll: Duration,
    /// For how long after an interrupt the card does not interrupt again.
    pub coalesce: Duration,
    /// The receive queues to serve, ascending; `None`: all.
    pub queues: Option<Vec<u32>>,
    /// Start although `queues` leaves some of the interface's queues to the kernel.
    pub uncovered_queues: bool,
    /// Take the place of an XDP program that is attached already.
    pub replace: bool,
    /// Take over from the instance that serves the interfaces.
    pub take_over: bool,
    /// What the XDP program logs.
    pub xdp_log: XdpLog,
    /// The user to become once all is open; `None`: who started it.
    pub user: Option<String>,
    /// Keep all privileges.
    pub unconfined: bool,
    /// The configuration file that was read.
    pub config_file: Option<PathBuf>,
    /// Have each worker try, at its first frame, to read this file and to start a process, to test that it cannot.
    pub test_escape: Option<PathBuf>,
    /// Where Prometheus finds metrics; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// The socket at which a dnstap reader listens; `None`: none is told anything.
    pub dnstap: Option<PathBuf>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Panic after so many frames, to test how the process ends.
    pub test_panic_after_frames: Option<u64>,
    /// Have a worker get stuck upon so many frames, to test that this is noticed.
    pub test_hang_after_frames: Option<u64>,
    /// Keep content that was replaced for so many seconds, to test what comes after.
    pub test_keep_seconds: Option<u64>,
    /// Fail at this stage of taking over: `asked`, `attached` or `released`.
    pub test_fail_takeover: Option<String>,
}

impl Options {
    pub(crate) fn for_run(self) -> Result<Config, ConfigError> {
        if self.interface.is_empty() {
            return Err(ConfigError::invalid(
                "no interface to answer on: give -i IFACE, or name it in the configuration file",
            ));
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
        if self.unconfined && self.user.is_some() {
            return Err(ConfigError::invalid(
                "--user cannot be had with --unconfined: leave out one of them",
            ));
        }
        let dns_port = self.dns_port.unwrap_or(Port::DNS);
        let http_port = self.http_port.unwrap_or(Port::HTTP);
        check_ports(dns_port, http_port)?;
        check::key_file("--key-file", self.key_file.as_deref())?;
        check::key_file("--dns-cookie-secret-file", self.dns_cookie_secret_file.as_deref())?;
        check::metrics(self.metrics, [dns_port, http_port])?;
        let xdp_mode = self.xdp_mode.unwrap_or_default();
        let zero_copy = self.zero_copy.unwrap_or_default();
        if xdp_mode == XdpMode::Generic && zero_copy == ZeroCopy::Always {
            return Err(ConfigError::invalid(
                "--zero-copy always cannot be had with --xdp-mode generic, which works on copies: \
                 leave out one of them",
            ));
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
        let zones = ZoneOptions {
            files: self.zone.clone(),
            directories: self.zone_dir.clone(),
            include: self.zone_include_dir.clone(),
        };
        if zones.is_empty() {
            let said = [(!zones.include.is_empty(), "--zone-include-dir")];
            relay::means_nothing_without("--zone or --zone-dir", &said)?;
        }
        Ok(Config {
            clients: self.clients()?,
            rate_limit: self.rate_limit()?,
            dns_relay: self.relay_dns()?,
            http_relay: self.relay_http()?,
            http_files: self.serve_files()?,
            addresses: check::addresses(&self.address, &self.interface)?,
            interfaces: self.interface,
            udp: self.udp.unwrap_or_default(),
            dns_port: dns_port.get(),
            http_port: http_port.get(),
            zones,
            minimal_any: self.minimal_any,
            dns_keepalive: self.dns_keepalive.unwrap_or_default().get(),
            dns_cookie_secret_file: self.dns_cookie_secret_file,
            http_root: self.http_root,
            rules: self.rules.map(AckPolicy::from).unwrap_or_default(),
            segment_size: self.segment_size.map(SegmentSize::get),
            hints: self.hints.unwrap_or_default().get(),
            fast_open: self.fast_open,
            key_file: self.key_file,
            xdp_mode,
            handshake,
            zero_copy,
            busy_poll: Duration::from_micros(self.busy_poll.map_or(0, |time| time.get().into())),
            coalesce: Duration::from_micros(self.coalesce.map_or(0, |time| time.get().into())),
            queues: self.queues.map(Queues::into_inner),
            uncovered_queues: self.uncovered_queues,
            replace: self.replace,
            take_over: self.take_over,
            xdp_log: self.xdp_log.unwrap_or_default(),
            metrics: self.metrics.map(ListenAddress::get),
            user: self.user,
            unconfined: self.unconfined,
            config_file: self.config_file,
            test_escape: self.test_escape,
            dnstap: self.dnstap.map(SocketPath::into_inner),
            log_format: self.log_format.unwrap_or_default(),
            test_panic_after_frames: self.test_panic_after_frames,
            test_hang_after_frames: self.test_hang_after_frames,
            test_keep_seconds: self.test_keep_seconds,
            test_fail_takeover: self.test_fail_takeover,
        })
    }
}
