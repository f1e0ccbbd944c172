//! The configuration: flags and a file, combined and validated once.
//!
//! [`RunOptions`] are the options as given, and [`Config`] is their validated result. This module opens no file but the
//! configuration file.

mod bounded;
mod check;
mod dns;
mod error;
mod http;
pub mod keys;
mod limit;
mod options;
mod reload;
mod services;
mod sockets;
#[cfg(test)]
mod tests;
mod values;

pub use self::bounded::Bounded;
pub(crate) use self::check::{check_interface, check_key_file};
pub use self::dns::CacheSize;
pub use self::error::ConfigError;
pub use self::http::CacheControl;
pub use self::limit::{ExtensionHeaders, RateLimit, UdpMode};
pub use self::options::RunOptions;
pub use self::reload::ConfigSource;
pub use self::services::{DnsContent, HttpContent, Port, Served, ServicePort, Services};
pub use self::sockets::{ListenAddress, SocketPath, UpstreamAddress};
pub use self::values::{
    HandshakeMode, IdentityName, InvalidValue, LogFormat, Queues, RuleSet, ServedAddress, ServedVlan, XdpLog,
    XdpMode, ZeroCopy,
};
use stateless_tcp_core::steering::VlanTags;
pub use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::CONNECTION_LIFETIME;

use self::check::{excludes, requires};
use crate::acl::ClientPolicies;
use crate::services::dns::Identity;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Default idle timeout of DNS clients in seconds. An idle connection costs nothing here.
const DNS_KEEPALIVE: u16 = 120;

/// Default entries of a connection cache. Its 256 KiB fit a second-level cache.
const CONN_CACHE: u32 = 4_096;

/// The validated configuration. No two values contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Config {
    /// Network interfaces; none for a capture.
    pub interfaces: Vec<String>,
    /// The served addresses; `None`: those of the interfaces, or all of a capture.
    pub addresses: Option<Vec<IpAddr>>,
    /// VLANs to serve besides those of interfaces on top of the served ones.
    pub vlans: Vec<VlanTags>,
    /// Access lists.
    pub clients: ClientPolicies,
    /// The rate limit for each client network.
    pub rate_limit: RateLimit,
    /// The handling of DNS over UDP.
    pub udp: UdpMode,
    /// The handling of served traffic that has IPv6 extension headers.
    pub extension_headers: ExtensionHeaders,
    /// The services that run, with their content.
    pub services: Services,
    /// Answer ANY with one set of records (RFC 8482).
    pub minimal_any: bool,
    /// Idle timeout in seconds for clients that ask (RFC 7828); 0: no timeout is sent.
    pub dns_keepalive: u16,
    /// Answers to clients that ask who is answering.
    pub identity: Identity,
    /// The file with the secret of DNS cookies (RFC 9018); `None`: derived from the cookie key.
    pub dns_cookie_secret_file: Option<PathBuf>,
    /// The rule set.
    pub rules: AckPolicy,
    /// Largest payload of a segment in bytes; `None`: the rule set's.
    pub segment_size: Option<u16>,
    /// Entries of each worker's connection cache; 0: no cache.
    pub hints: usize,
    /// Answer requests that come with the SYN (RFC 7413).
    pub fast_open: bool,
    /// Most time that a connection lives.
    pub connection_lifetime: Duration,
    /// The file with the cookie keys; `None`: a random key.
    pub key_file: Option<PathBuf>,
    /// The mode in which the XDP program is attached.
    pub xdp_mode: XdpMode,
    /// The place where handshakes are answered.
    pub handshake: HandshakeMode,
    /// The use of zero-copy.
    pub zero_copy: ZeroCopy,
    /// Time for which a worker polls after a frame before it sleeps.
    pub busy_poll: Duration,
    /// Least time between interrupts of the card.
    pub coalesce: Duration,
    /// The receive queues to serve, sorted; `None`: all.
    pub queues: Option<Vec<u32>>,
    /// Start although `queues` leaves queues to the kernel.
    pub uncovered_queues: bool,
    /// Replace an XDP program that is attached already.
    pub replace: bool,
    /// Take over from the instance that serves the interfaces.
    pub take_over: bool,
    /// The log level of the XDP program.
    pub xdp_log: XdpLog,
    /// The user to become after everything is open; `None`: no change.
    pub user: Option<String>,
    /// Keep all privileges.
    pub unconfined: bool,
    /// The configuration file.
    pub config_file: Option<PathBuf>,
    /// For tests: each worker tries to read this file and to start a process at its first frame.
    pub test_escape: Option<PathBuf>,
    /// The address of the metrics listener.
    pub metrics: Option<SocketAddr>,
    /// The socket of a dnstap reader.
    pub dnstap: Option<PathBuf>,
    /// The format of the log.
    pub log_format: LogFormat,
    /// For tests: a worker panics after this many frames.
    pub test_panic_after_frames: Option<u64>,
    /// For tests: a worker hangs after this many frames.
    pub test_hang_after_frames: Option<u64>,
    /// For tests: replaced content is retained for this many seconds.
    pub test_keep_seconds: Option<u64>,
    /// For tests: the process aborts at this stage of a takeover: `asked`, `attached` or `released`.
    pub test_fail_takeover: Option<String>,
}

impl RunOptions {
    /// Validates the options of `run`.
    pub(crate) fn for_run(self) -> Result<Config, ConfigError> {
        if self.interface.is_empty() {
            return Err(ConfigError::invalid(
                "no interface to serve on: give -i IFACE, or name it in the configuration file",
            ));
        }
        self.validate()
    }

    /// Validates the options of `doctor`, which examines one interface.
    pub(crate) fn for_doctor(self) -> Result<Config, ConfigError> {
        match &self.interface[..] {
            [_] => self.validate(),
            [] => Err(ConfigError::invalid("no interface to examine: give -i IFACE")),
            _ => Err(ConfigError::invalid("several interfaces: doctor examines one at a time, by -i IFACE")),
        }
    }

    /// Validates the options of `replay`.
    pub(crate) fn for_replay(self) -> Result<Config, ConfigError> {
        if let Some(interface) = self.interface.first() {
            return Err(ConfigError::invalid(format!(
                "replay answers a capture, not an interface: leave out -i {interface}"
            )));
        }
        if !self.dns_relay.is_empty() || self.dns != dns::DnsTable::default() {
            return Err(ConfigError::invalid("replay has no upstreams: leave out --dns-relay and [dns]"));
        }
        if self.http_relay.is_some() {
            return Err(ConfigError::invalid("replay has no upstreams: leave out --http-relay"));
        }
        self.validate()
    }

    fn validate(self) -> Result<Config, ConfigError> {
        for (index, interface) in self.interface.iter().enumerate() {
            check_interface(interface)?;
            if self.interface[..index].contains(interface) {
                return Err(ConfigError::invalid(format!(
                    "interface {interface} is named twice: name it once, as all its queues are served"
                )));
            }
        }
        excludes(
            self.unconfined && self.user.is_some(),
            "--unconfined",
            "--user",
            "changing the user gives up privileges",
        )?;
        let services = self.services()?;
        check_key_file("--key-file", self.key_file.as_deref())?;
        check_key_file("--dns-cookie-secret-file", self.dns_cookie_secret_file.as_deref())?;
        check::metrics(self.metrics, &services)?;
        let xdp_mode = self.xdp_mode.unwrap_or_default();
        let zero_copy = self.zero_copy.unwrap_or_default();
        let handshake = self.handshake.unwrap_or_default();
        let generic = xdp_mode == XdpMode::Generic;
        let reason = "generic mode works on copies";
        excludes(
            generic && zero_copy == ZeroCopy::Always,
            "--xdp-mode generic",
            "--zero-copy always",
            reason,
        )?;
        let reason = "the driver runs no program in generic mode";
        let driver = handshake == HandshakeMode::Driver;
        excludes(generic && driver, "--xdp-mode generic", "--handshake driver", reason)?;
        if self.queues.is_none() {
            requires("--queues", &[(self.uncovered_queues, "--uncovered-queues")])?;
        }
        Ok(Config {
            clients: self.clients()?,
            rate_limit: self.rate_limit()?,
            addresses: check::addresses(&self.address, &self.interface)?,
            interfaces: self.interface,
            vlans: self.vlan.into_iter().map(ServedVlan::get).collect(),
            udp: self.udp.unwrap_or_default(),
            extension_headers: self.extension_headers.unwrap_or_default(),
            services,
            minimal_any: self.minimal_any,
            dns_keepalive: self.dns_keepalive.map_or(DNS_KEEPALIVE, Bounded::get_u16),
            identity: Identity {
                name: self.identity.map(IdentityName::get),
                hide_version: self.hide_version,
            },
            dns_cookie_secret_file: self.dns_cookie_secret_file,
            rules: self.rules.map(AckPolicy::from).unwrap_or_default(),
            segment_size: self.segment_size.map(Bounded::get_u16),
            hints: self.hints.map_or(CONN_CACHE, Bounded::get) as usize,
            fast_open: self.fast_open,
            connection_lifetime: self
                .connection_lifetime
                .map_or(CONNECTION_LIFETIME, |seconds| Duration::from_secs(seconds.get().into())),
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
