//! What may be said, in the same words as flags and in a TOML file.

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

/// Most bytes of a configuration file: far more than all the prefixes of the Internet take.
const MAX_FILE: u64 = 64 << 20;

/// What may be said on the command line and in the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub struct Options {
    /// A network interface to answer on; may be repeated
    #[arg(short, long, value_name = "IFACE")]
    pub(super) interface: Vec<String>,
    /// A zone file to serve over DNS, and the zone's name where the file does not say it; may be repeated [default: a
    /// built-in zone, example.com]
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(super) zone: Vec<ZoneSource>,
    /// A directory of zone files to serve over DNS, each named after its zone (example.org.zone); may be repeated
    #[arg(long, value_name = "DIR")]
    pub(super) zone_dir: Vec<PathBuf>,
    /// A directory that zone files may include files from, besides their own; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(super) zone_include_dir: Vec<PathBuf>,
    /// A server to relay DNS questions to, in place of --zone; may be repeated
    #[arg(long, value_name = "IP:PORT")]
    pub(super) dns_relay: Vec<Endpoint>,
    /// Memory for the answers of these servers, to be given again; 0: none are kept, 0 to 65536 [default: 64]
    #[arg(long, value_name = "MIB")]
    pub(super) dns_cache: Option<CacheSize>,
    #[arg(skip)]
    pub(super) dns: dns::Table,
    /// The directory to serve over HTTP [default: a built-in page]
    #[arg(long, value_name = "DIR")]
    pub(super) http_root: Option<PathBuf>,
    /// What Cache-Control says of the files under --http-root, as in "max-age=3600" [default: there is no such field]
    #[arg(long, value_name = "TEXT")]
    pub(super) http_cache_control: Option<CacheControl>,
    /// Serve files and directories under --http-root whose name begins with a dot, not only .well-known
    #[arg(long)]
    pub(super) http_dot_files: bool,
    /// A server to relay HTTP requests to, in place of --http-root
    #[arg(long, value_name = "IP:PORT")]
    pub(super) http_relay: Option<Endpoint>,
    /// Relay methods other than GET, HEAD and OPTIONS as well, and bodies: a request can run twice
    #[arg(long)]
    pub(super) http_unsafe_methods: bool,
    #[arg(skip)]
    pub(super) http: http::Table,
    /// An address to answer for; may be repeated [default: the interface's own]
    #[arg(long, value_name = "IP")]
    pub(super) address: Vec<Address>,
    /// Clients to leave to the kernel's own TCP, as where secondaries transfer zones; may be repeated
    #[arg(long, value_name = "PREFIX")]
    pub(super) kernel_from: Vec<Prefix>,
    /// Clients to drop; the longest prefix decides; may be repeated
    #[arg(long, value_name = "PREFIX")]
    pub(super) deny: Vec<Prefix>,
    /// Clients to serve whatever --deny and --rate-limit say of larger prefixes; may be repeated
    #[arg(long, value_name = "PREFIX")]
    pub(super) allow: Vec<Prefix>,
    /// Most SYNs, most segments with payload and most questions over UDP that the clients of one network get answered in a
    /// second [default: as many as they like, but 1000 over UDP]
    #[arg(long, value_name = "N")]
    pub(super) rate_limit: Option<Rate>,
    /// Bits that the IPv4 addresses of such a network have in common [default: 24]
    #[arg(long, value_name = "BITS")]
    pub(super) rate_prefix_ipv4: Option<Bits4>,
    /// Bits that the IPv6 addresses of such a network have in common [default: 56]
    #[arg(long, value_name = "BITS")]
    pub(super) rate_prefix_ipv6: Option<Bits6>,
    /// What becomes of DNS over UDP [default: kernel]
    #[arg(long, value_name = "WHAT")]
    pub(super) udp: Option<Udp>,
    /// The port to serve DNS on [default: 53]
    #[arg(long, value_name = "PORT")]
    pub(super) dns_port: Option<Port>,
    /// The port to serve HTTP on [default: 80]
    #[arg(long, value_name = "PORT")]
    pub(super) http_port: Option<Port>,
    /// How segments are answered [default: reliable]
    #[arg(long)]
    pub(super) rules: Option<RuleSet>,
    /// Most octets of payload in a segment, 64 to 1220 [default: 512 classic, 1220 reliable]
    #[arg(long, value_name = "OCTETS")]
    pub(super) segment_size: Option<SegmentSize>,
    /// Connections that each queue remembers something of, 64 octets each, to go faster; 0 to 1048576 [default: 4096]
    #[arg(long, value_name = "N")]
    pub(super) hints: Option<Hints>,
    /// Answer requests that come with the SYN (TCP Fast Open, RFC 7413)
    #[arg(long)]
    pub(super) fast_open: bool,
    /// Cookie keys: 32 hexadecimal digits a line, the current key, then the previous; made if there is no such file
    /// [default: a random key]
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// Answer ANY with one set of records (RFC 8482), not with all
    #[arg(long)]
    pub(super) minimal_any: bool,
    /// How long a connection may be idle, as told to clients that ask (RFC 7828); 0: they get no answer [default: 120]
    #[arg(long, value_name = "SECONDS")]
    pub(super) dns_keepalive: Option<Keepalive>,
    /// The secret of DNS cookies (RFC 9018), 32 hexadecimal digits, shared with other servers [default: made of the
    /// cookie key]
    #[arg(long, value_name = "FILE")]
    pub(super) dns_cookie_secret_file: Option<PathBuf>,
    /// How to attach the XDP program [default: auto, native where the driver can]
    #[arg(long, value_name = "MODE")]
    pub(super) xdp_mode: Option<XdpMode>,
    /// Where SYN, FIN and acknowledgments are answered [default: auto, in the driver where that is known to work]
    #[arg(long, value_name = "WHERE")]
    pub(super) handshake: Option<Handshake>,
    /// Whether the driver hands over frames without a copy [default: auto, where the driver can]
    #[arg(long, value_name = "WHEN")]
    pub(super) zero_copy: Option<ZeroCopy>,
    /// Poll for frames after each for so long before sleeping: faster, at the price of CPU time; 0 to 1000000
    /// [default: 0]
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) busy_poll: Option<Count<0, 1_000_000>>,
    /// Have the card interrupt only so long after it did, and take what came meanwhile in one go: cheaper, and up to
    /// as much later; 0 to 10000 [default: 0]
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) coalesce: Option<Count<0, 10_000>>,
    /// The receive queues to serve, as in 0,2-5 [default: all]
    #[arg(long, value_name = "LIST")]
    pub(super) queues: Option<Queues>,
    /// Start although --queues leaves queues to the kernel, which answers served traffic there with RST
    #[arg(long)]
    pub(super) uncovered_queues: bool,
    /// Take the place of an XDP program that is attached already
    #[arg(long)]
    pub(super) replace: bool,
    /// Take over from the instance that serves these interfaces, if there is one: connections go on, and it ends
    #[arg(long)]
    pub(super) take_over: bool,
    /// What the XDP program logs [default: off]
    #[arg(long, value_name = "LEVEL")]
    pub(super) xdp_log: Option<XdpLog>,
    /// Serve metrics to Prometheus here, as http://IP:PORT/metrics [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    pub(super) metrics: Option<ListenAddress>,
    /// Write what is asked and answered over DNS to the dnstap reader that listens at this UNIX socket, whenever one does
    /// [default: nowhere]
    #[arg(long, value_name = "SOCKET")]
    pub(super) dnstap: Option<SocketPath>,
    /// How to write the log [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// The user to become once all is open [default: who starts it]
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// Keep all privileges, files and system calls, to look for an error with
    #[arg(long)]
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
