//! The options, with the same names as flags and in a TOML file.

use std::path::{Path, PathBuf};

use crate::config::prefix::Prefix;
use crate::files::read_text;
use crate::services::dns::ZoneSource;
use serde::Deserialize;

use super::limit::{Bits4, Bits6, Rate, Udp};
use super::{
    Address, CacheControl, CacheSize, ConfigError, Count, Endpoint, Handshake, Hints, Keepalive,
    ListenAddress, LogFormat, Port, Queues, RuleSet, SegmentSize, SocketPath, XdpLog, XdpMode, ZeroCopy, dns,
    http,
};

/// The largest configuration file, in bytes: far more than all the prefixes of the Internet take.
const MAX_FILE: u64 = 64 << 20;

// Groups of options, as the help and docs/options.md show them.
const INTERFACES: &str = "Interfaces";
const DNS: &str = "DNS";
const HTTP: &str = "HTTP";
const CLIENTS: &str = "Clients";
const PROTOCOL: &str = "Protocol";
const OPERATION: &str = "Operation";

/// The options of the command line and of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub struct Options {
    /// Network interface to answer on; may be repeated
    #[arg(short, long, value_name = "IFACE", help_heading = INTERFACES)]
    pub(super) interface: Vec<String>,
    /// Zone file to serve over DNS, and the zone's name if the file does not say it; may be repeated [default: a
    /// built-in zone, example.com]
    #[arg(long, value_name = "[NAME=]FILE", help_heading = DNS)]
    pub(super) zone: Vec<ZoneSource>,
    /// Directory of zone files to serve over DNS, each named after its zone (example.org.zone); may be repeated
    #[arg(long, value_name = "DIR", help_heading = DNS)]
    pub(super) zone_dir: Vec<PathBuf>,
    /// Directory that zone files may include files from, besides their own; may be repeated
    #[arg(long, value_name = "DIR", help_heading = DNS)]
    pub(super) zone_include_dir: Vec<PathBuf>,
    /// Upstream name server to relay DNS queries to, in place of --zone; may be repeated
    #[arg(long, value_name = "IP:PORT", help_heading = DNS)]
    pub(super) dns_relay: Vec<Endpoint>,
    /// Memory for cached answers of the upstreams; 0 keeps none; 0 to 65536 [default: 64]
    #[arg(long, value_name = "MIB", help_heading = DNS)]
    pub(super) dns_cache: Option<CacheSize>,
    #[arg(skip)]
    pub(super) dns: dns::Table,
    /// Directory to serve over HTTP, read at the start and at a reload [default: a built-in page]
    #[arg(long, value_name = "DIR", help_heading = HTTP)]
    pub(super) http_root: Option<PathBuf>,
    /// Value of the Cache-Control field for the files under --http-root, as in "max-age=3600" [default: no such field]
    #[arg(long, value_name = "TEXT", help_heading = HTTP)]
    pub(super) http_cache_control: Option<CacheControl>,
    /// Serve files and directories under --http-root whose names begin with a dot, not only .well-known
    #[arg(long, help_heading = HTTP)]
    pub(super) http_dot_files: bool,
    /// Upstream HTTP server to relay requests to, in place of --http-root
    #[arg(long, value_name = "IP:PORT", help_heading = HTTP)]
    pub(super) http_relay: Option<Endpoint>,
    /// Relay methods other than GET, HEAD and OPTIONS too, and bodies: such a request can run twice
    #[arg(long, help_heading = HTTP)]
    pub(super) http_unsafe_methods: bool,
    #[arg(skip)]
    pub(super) http: http::Table,
    /// Address to answer for; may be repeated, at most 1024 [default: the interface's own]
    #[arg(long, value_name = "IP", help_heading = INTERFACES)]
    pub(super) address: Vec<Address>,
    /// Clients to leave to the kernel's own TCP, for example secondaries that transfer zones; may be repeated
    #[arg(long, value_name = "PREFIX", help_heading = CLIENTS)]
    pub(super) kernel_from: Vec<Prefix>,
    /// Clients to drop; the longest prefix decides; may be repeated
    #[arg(long, value_name = "PREFIX", help_heading = CLIENTS)]
    pub(super) deny: Vec<Prefix>,
    /// Clients to exempt from --rate-limit and from --deny of larger prefixes; may be repeated
    #[arg(long, value_name = "PREFIX", help_heading = CLIENTS)]
    pub(super) allow: Vec<Prefix>,
    /// Packets per second that the clients of one network get answered: so many SYNs, segments with payload, and
    /// queries over UDP each [default: unlimited, but 1000 over UDP]
    #[arg(long, value_name = "N", help_heading = CLIENTS)]
    pub(super) rate_limit: Option<Rate>,
    /// Prefix length of such a network in IPv4 [default: 24]
    #[arg(long, value_name = "BITS", help_heading = CLIENTS)]
    pub(super) rate_prefix_ipv4: Option<Bits4>,
    /// Prefix length of such a network in IPv6 [default: 56]
    #[arg(long, value_name = "BITS", help_heading = CLIENTS)]
    pub(super) rate_prefix_ipv6: Option<Bits6>,
    /// Reply to DNS queries over UDP [default: kernel]
    #[arg(long, value_name = "WHAT", help_heading = DNS)]
    pub(super) udp: Option<Udp>,
    /// Port for DNS [default: 53]
    #[arg(long, value_name = "PORT", help_heading = DNS)]
    pub(super) dns_port: Option<Port>,
    /// Port for HTTP [default: 80]
    #[arg(long, value_name = "PORT", help_heading = HTTP)]
    pub(super) http_port: Option<Port>,
    /// Rules for acknowledging requests [default: reliable]
    #[arg(long, help_heading = PROTOCOL)]
    pub(super) rules: Option<RuleSet>,
    /// Maximum payload of a segment in bytes, 64 to 1220 [default: 512 classic, 1220 reliable]
    #[arg(long, value_name = "BYTES", help_heading = PROTOCOL)]
    pub(super) segment_size: Option<SegmentSize>,
    /// Entries of the connection cache per queue, 64 bytes each, for speed only; 0 to 1048576 [default: 4096]
    #[arg(long, value_name = "N", help_heading = PROTOCOL)]
    pub(super) hints: Option<Hints>,
    /// Answer requests that come with the SYN (TCP Fast Open, RFC 7413); such a SYN can be replayed
    #[arg(long, help_heading = PROTOCOL)]
    pub(super) fast_open: bool,
    /// File of cookie keys: 32 hexadecimal digits per line, the current key, then the previous; created if it does not
    /// exist [default: a random key]
    #[arg(long, value_name = "FILE", help_heading = PROTOCOL)]
    pub(super) key_file: Option<PathBuf>,
    /// Answer ANY with one record set (RFC 8482) instead of all
    #[arg(long, help_heading = DNS)]
    pub(super) minimal_any: bool,
    /// Idle time of a connection, as told to clients that ask for it (RFC 7828); 0 tells nothing; 0 to 6553 [default:
    /// 120]
    #[arg(long, value_name = "SECONDS", help_heading = DNS)]
    pub(super) dns_keepalive: Option<Keepalive>,
    /// File with the secret of DNS cookies (RFC 9018), 32 hexadecimal digits, shared with other servers [default:
    /// derived from the cookie key]
    #[arg(long, value_name = "FILE", help_heading = DNS)]
    pub(super) dns_cookie_secret_file: Option<PathBuf>,
    /// Mode in which the XDP program is attached [default: auto]
    #[arg(long, value_name = "MODE", help_heading = INTERFACES)]
    pub(super) xdp_mode: Option<XdpMode>,
    /// Component that answers SYN, FIN and acknowledgments [default: auto]
    #[arg(long, value_name = "WHERE", help_heading = INTERFACES)]
    pub(super) handshake: Option<Handshake>,
    /// Zero-copy between the driver and the server [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = INTERFACES)]
    pub(super) zero_copy: Option<ZeroCopy>,
    /// Time for which a worker polls after each frame before it sleeps: lower latency for more CPU time; 0 to 1000000
    /// [default: 0]
    #[arg(long, value_name = "MICROSECONDS", help_heading = INTERFACES)]
    pub(super) busy_poll: Option<Count<0, 1_000_000>>,
    /// Time by which the card defers interrupts, so that frames are handled together: less CPU time, and up to as much
    /// more latency; 0 to 10000 [default: 0]
    #[arg(long, value_name = "MICROSECONDS", help_heading = INTERFACES)]
    pub(super) coalesce: Option<Count<0, 10_000>>,
    /// Receive queues to serve, as in 0,2-5 [default: all]
    #[arg(long, value_name = "LIST", help_heading = INTERFACES)]
    pub(super) queues: Option<Queues>,
    /// Start even if --queues leaves queues to the kernel, which answers served traffic there with RST
    #[arg(long, help_heading = INTERFACES)]
    pub(super) uncovered_queues: bool,
    /// Replace an XDP program that is attached already
    #[arg(long, help_heading = INTERFACES)]
    pub(super) replace: bool,
    /// Take over from the instance that serves these interfaces, if there is one: connections go on, and that instance
    /// ends
    #[arg(long, help_heading = INTERFACES)]
    pub(super) take_over: bool,
    /// Log level of the XDP program [default: off]
    #[arg(long, value_name = "LEVEL", help_heading = INTERFACES)]
    pub(super) xdp_log: Option<XdpLog>,
    /// Serve metrics to Prometheus at http://IP:PORT/metrics [default: none]
    #[arg(long, value_name = "IP:PORT", help_heading = OPERATION)]
    pub(super) metrics: Option<ListenAddress>,
    /// Write DNS queries and answers to the dnstap reader at this UNIX socket, while one listens [default: none]
    #[arg(long, value_name = "SOCKET", help_heading = OPERATION)]
    pub(super) dnstap: Option<SocketPath>,
    /// Format of the log [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = OPERATION)]
    pub(super) log_format: Option<LogFormat>,
    /// User to switch to before answering [default: the user that starts it]
    #[arg(long, value_name = "NAME", help_heading = OPERATION)]
    pub(super) user: Option<String>,
    /// Keep all privileges, files and system calls, to look for an error
    #[arg(long, help_heading = OPERATION)]
    pub(super) unconfined: bool,
    #[arg(skip)]
    #[serde(skip)]
    pub(super) config_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) test_escape: Option<PathBuf>,
    #[arg(long, value_name = "N", hide = true)]
    pub(super) test_panic_after_frames: Option<u64>,
    #[arg(long, value_name = "N", hide = true)]
    pub(super) test_hang_after_frames: Option<u64>,
    #[arg(long, value_name = "N", hide = true)]
    pub(super) test_keep_seconds: Option<u64>,
    #[arg(long, value_name = "STAGE", hide = true)]
    pub(super) test_fail_takeover: Option<String>,
}

impl Options {
    /// These options, and those of the file at `path` where these say nothing.
    pub(crate) fn over_file(self, path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(self) };
        let text = read_text(path, MAX_FILE)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let file: Self = toml::from_str(&text).map_err(|error| ConfigError::in_file(path, &text, &error))?;
        Ok(Self {
            interface: first_given(self.interface, file.interface),
            zone: first_given(self.zone, file.zone),
            zone_dir: first_given(self.zone_dir, file.zone_dir),
            zone_include_dir: first_given(self.zone_include_dir, file.zone_include_dir),
            dns_relay: first_given(self.dns_relay, file.dns_relay),
            dns_cache: self.dns_cache.or(file.dns_cache),
            dns: file.dns,
            http_root: self.http_root.or(file.http_root),
            http_cache_control: self.http_cache_control.or(file.http_cache_control),
            http_dot_files: self.http_dot_files || file.http_dot_files,
            http_relay: self.http_relay.or(file.http_relay),
            http_unsafe_methods: self.http_unsafe_methods || file.http_unsafe_methods,
            http: file.http,
            address: first_given(self.address, file.address),
            kernel_from: first_given(self.kernel_from, file.kernel_from),
            deny: first_given(self.deny, file.deny),
            allow: first_given(self.allow, file.allow),
            rate_limit: self.rate_limit.or(file.rate_limit),
            rate_prefix_ipv4: self.rate_prefix_ipv4.or(file.rate_prefix_ipv4),
            rate_prefix_ipv6: self.rate_prefix_ipv6.or(file.rate_prefix_ipv6),
            udp: self.udp.or(file.udp),
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
            busy_poll: self.busy_poll.or(file.busy_poll),
            coalesce: self.coalesce.or(file.coalesce),
            queues: self.queues.or(file.queues),
            uncovered_queues: self.uncovered_queues || file.uncovered_queues,
            replace: self.replace || file.replace,
            take_over: self.take_over || file.take_over,
            xdp_log: self.xdp_log.or(file.xdp_log),
            metrics: self.metrics.or(file.metrics),
            dnstap: self.dnstap.or(file.dnstap),
            log_format: self.log_format.or(file.log_format),
            user: self.user.or(file.user),
            unconfined: self.unconfined || file.unconfined,
            config_file: Some(path.to_owned()),
            test_escape: self.test_escape.or(file.test_escape),
            test_panic_after_frames: self.test_panic_after_frames.or(file.test_panic_after_frames),
            test_hang_after_frames: self.test_hang_after_frames.or(file.test_hang_after_frames),
            test_keep_seconds: self.test_keep_seconds.or(file.test_keep_seconds),
            test_fail_takeover: self.test_fail_takeover.or(file.test_fail_takeover),
        })
    }
}

fn first_given<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}
