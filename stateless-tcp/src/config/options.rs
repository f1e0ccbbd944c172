//! The options of `run`, with the same names as flags and as keys of a TOML file.
//!
//! The table below is the only list of options: it defines the flags, the keys, and how a flag overrides a key. To add an
//! option, add it here, and its validated value to [`Config`](super::Config).

use super::limit::{ExtensionHeaders, Ipv4Length, Ipv6Length, Rate, UdpMode};
use super::{
    Bounded, CacheControl, CacheSize, ConfigError, HandshakeMode, IdentityName, ListenAddress, LogFormat,
    Port, Queues, RuleSet, ServedAddress, ServedVlan, SocketPath, UpstreamAddress, XdpLog, XdpMode, ZeroCopy,
    dns, http,
};
use crate::acl::Prefix;
use crate::files::read_text;
use crate::services::dns::ZoneSource;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Largest configuration file in bytes. All prefixes of the Internet fit several times.
const MAX_FILE: u64 = 64 << 20;

// Groups of options, as the help and docs/options.md show them.
const INTERFACES: &str = "Interfaces";
const DNS: &str = "DNS";
const HTTP: &str = "HTTP";
const CLIENTS: &str = "Clients";
const PROTOCOL: &str = "Protocol";
const OPERATION: &str = "Operation";

/// A value that a flag can override.
trait Override {
    /// This value if it was given, else `default`.
    fn or_default_to(self, default: Self) -> Self;
}

impl<T> Override for Option<T> {
    fn or_default_to(self, default: Self) -> Self {
        self.or(default)
    }
}

impl<T> Override for Vec<T> {
    fn or_default_to(self, default: Self) -> Self {
        if self.is_empty() { default } else { self }
    }
}

/// A switch that the file turns on cannot be turned off by a flag.
impl Override for bool {
    fn or_default_to(self, default: Self) -> Self {
        self || default
    }
}

/// A table exists in files only.
impl Override for dns::DnsTable {
    fn or_default_to(self, default: Self) -> Self {
        default
    }
}

impl Override for http::HttpTable {
    fn or_default_to(self, default: Self) -> Self {
        default
    }
}

/// Defines the options, and how those of the command line override those of a file.
macro_rules! options {
    ($(#[$attribute:meta])* $name:ident { $($(#[$option_attribute:meta])* $option:ident: $type:ty,)* }) => {
        $(#[$attribute])*
        pub struct $name { $($(#[$option_attribute])* pub(super) $option: $type,)* }

        impl Override for $name {
            fn or_default_to(self, default: Self) -> Self {
                Self { $($option: self.$option.or_default_to(default.$option),)* }
            }
        }
    };
}

options! {
/// The options of `run`, as given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
RunOptions {
    /// A network interface to serve on; may be repeated
    #[arg(short, long, value_name = "IFACE", help_heading = INTERFACES)]
    interface: Vec<String>,
    /// A zone file to serve over DNS, with the zone's name if the file does not contain it; may be repeated
    #[arg(long, value_name = "[NAME=]FILE", help_heading = DNS)]
    zone: Vec<ZoneSource>,
    /// A directory of zone files to serve over DNS, each named after its zone (example.org.zone); may be repeated
    #[arg(long, value_name = "DIR", help_heading = DNS)]
    zone_dir: Vec<PathBuf>,
    /// A directory that zone files may include files from, besides their own; may be repeated
    #[arg(long, value_name = "DIR", help_heading = DNS)]
    zone_include_dir: Vec<PathBuf>,
    /// A name server to relay DNS queries to, instead of --zone; may be repeated
    #[arg(long, value_name = "IP:PORT", help_heading = DNS)]
    dns_relay: Vec<UpstreamAddress>,
    /// Memory for cached responses of these servers, 0 to 65536; 0: no cache [default: 64]
    #[arg(long, value_name = "MIB", help_heading = DNS)]
    dns_cache: Option<CacheSize>,
    #[arg(skip)]
    dns: dns::DnsTable,
    /// The directory to serve over HTTP
    #[arg(long, value_name = "DIR", help_heading = HTTP)]
    http_root: Option<PathBuf>,
    /// The Cache-Control field of files under --http-root, as in "max-age=3600" [default: no field]
    #[arg(long, value_name = "TEXT", help_heading = HTTP)]
    http_cache_control: Option<CacheControl>,
    /// Serve files and directories under --http-root whose name begins with a dot, not only .well-known
    #[arg(long, help_heading = HTTP)]
    http_dot_files: bool,
    /// A server to relay HTTP requests to, instead of --http-root
    #[arg(long, value_name = "IP:PORT", help_heading = HTTP)]
    http_relay: Option<UpstreamAddress>,
    /// Relay bodies and methods other than GET, HEAD and OPTIONS as well: a request may be executed twice
    #[arg(long, help_heading = HTTP)]
    http_unsafe_methods: bool,
    #[arg(skip)]
    http: http::HttpTable,
    /// Serve built-in content, the zone example.com and some pages, over each of DNS and HTTP that no other option names
    /// content for
    #[arg(long, help_heading = OPERATION)]
    demo: bool,
    /// An address to serve; may be repeated [default: the interface's own]
    #[arg(long, value_name = "IP", help_heading = INTERFACES)]
    address: Vec<ServedAddress>,
    /// A VLAN to serve, besides those that the host has on the interface; may be repeated
    #[arg(long, value_name = "ID|OUTER.INNER", help_heading = INTERFACES)]
    vlan: Vec<ServedVlan>,
    /// Clients to pass to the kernel's TCP, for example secondaries that transfer zones; may be repeated
    #[arg(long, value_name = "PREFIX", help_heading = CLIENTS)]
    kernel_from: Vec<Prefix>,
    /// Clients to drop; the longest prefix decides; may be repeated
    #[arg(long, value_name = "PREFIX", help_heading = CLIENTS)]
    deny: Vec<Prefix>,
    /// Clients to serve despite --deny of a shorter prefix and --rate-limit; may be repeated
    #[arg(long, value_name = "PREFIX", help_heading = CLIENTS)]
    allow: Vec<Prefix>,
    /// Most SYNs, segments with payload, and queries over UDP, each, that are answered for each second and client network
    /// [default: no limit, but 1000 over UDP]
    #[arg(long, value_name = "N", help_heading = CLIENTS)]
    rate_limit: Option<Rate>,
    /// Prefix length of such a network for IPv4 [default: 24]
    #[arg(long, value_name = "BITS", help_heading = CLIENTS)]
    rate_prefix_ipv4: Option<Ipv4Length>,
    /// Prefix length of such a network for IPv6 [default: 56]
    #[arg(long, value_name = "BITS", help_heading = CLIENTS)]
    rate_prefix_ipv6: Option<Ipv6Length>,
    /// The handling of DNS over UDP [default: kernel]
    #[arg(long, value_name = "MODE", help_heading = DNS)]
    udp: Option<UdpMode>,
    /// The handling of served traffic that has IPv6 extension headers [default: drop]
    #[arg(long, value_name = "MODE", help_heading = CLIENTS)]
    extension_headers: Option<ExtensionHeaders>,
    /// The port to serve DNS on [default: 53]
    #[arg(long, value_name = "PORT", help_heading = DNS)]
    dns_port: Option<Port>,
    /// The port to serve HTTP on [default: 80]
    #[arg(long, value_name = "PORT", help_heading = HTTP)]
    http_port: Option<Port>,
    /// The rules by which segments are acknowledged [default: reliable]
    #[arg(long, help_heading = PROTOCOL)]
    rules: Option<RuleSet>,
    /// Largest payload of a segment, 64 to 1220 bytes [default: 512 classic, 1220 reliable]
    #[arg(long, value_name = "BYTES", help_heading = PROTOCOL)]
    segment_size: Option<Bounded<64, 1_220>>,
    /// Entries of the connection cache of each queue, 64 bytes each, 0 to 1048576; 0: no cache, slower [default: 4096]
    #[arg(long, value_name = "N", help_heading = PROTOCOL)]
    hints: Option<Bounded<0, 1_048_576>>,
    /// Answer requests that come with the SYN (TCP Fast Open, RFC 7413)
    #[arg(long, help_heading = PROTOCOL)]
    fast_open: bool,
    /// Most time that a connection lives, 60 to 604800; then its next answer ends it [default: 3600]
    #[arg(long, value_name = "SECONDS", help_heading = PROTOCOL)]
    connection_lifetime: Option<Bounded<60, 604_800>>,
    /// Cookie keys, 32 hexadecimal digits a line: the current key, then the previous; created if the file does not exist
    /// [default: a random key]
    #[arg(long, value_name = "FILE", help_heading = PROTOCOL)]
    key_file: Option<PathBuf>,
    /// Answer ANY with one set of records (RFC 8482), not with all
    #[arg(long, help_heading = DNS)]
    minimal_any: bool,
    /// The idle timeout that clients are told if they ask (RFC 7828), 0 to 6553; 0: they are told none [default: 120]
    #[arg(long, value_name = "SECONDS", help_heading = DNS)]
    dns_keepalive: Option<Bounded<0, 6_553>>,
    /// The name to tell clients that ask which server answers, by NSID (RFC 5001), id.server or hostname.bind; of the same
    /// length on servers that share a key [default: none is told]
    #[arg(long, value_name = "NAME", help_heading = DNS)]
    identity: Option<IdentityName>,
    /// Do not tell clients that ask for version.server or version.bind the program's version
    #[arg(long, help_heading = DNS)]
    hide_version: bool,
    /// The secret of DNS cookies (RFC 9018), 32 hexadecimal digits, shared with other servers [default: derived from the
    /// cookie key]
    #[arg(long, value_name = "FILE", help_heading = DNS)]
    dns_cookie_secret_file: Option<PathBuf>,
    /// The mode in which the XDP program is attached [default: auto, native if the driver supports it]
    #[arg(long, value_name = "MODE", help_heading = INTERFACES)]
    xdp_mode: Option<XdpMode>,
    /// The place where SYN, FIN and acknowledgments are answered [default: auto, the cheaper one that is known to work]
    #[arg(long, value_name = "PLACE", help_heading = INTERFACES)]
    handshake: Option<HandshakeMode>,
    /// The use of zero-copy between driver and workers [default: auto, if the driver supports it]
    #[arg(long, value_name = "MODE", help_heading = INTERFACES)]
    zero_copy: Option<ZeroCopy>,
    /// Poll for further frames for this time before sleeping: faster, at the cost of CPU time; 0 to 1000000 [default: 0]
    #[arg(long, value_name = "MICROSECONDS", help_heading = INTERFACES)]
    busy_poll: Option<Bounded<0, 1_000_000>>,
    /// Least time between interrupts of the card, whose frames are then handled together: cheaper, and later by up to this
    /// time; 0 to 10000 [default: 0]
    #[arg(long, value_name = "MICROSECONDS", help_heading = INTERFACES)]
    coalesce: Option<Bounded<0, 10_000>>,
    /// The receive queues to serve, as in 0,2-5 [default: all]
    #[arg(long, value_name = "LIST", help_heading = INTERFACES)]
    queues: Option<Queues>,
    /// Start although --queues leaves queues to the kernel, which answers served traffic there with RST
    #[arg(long, help_heading = INTERFACES)]
    uncovered_queues: bool,
    /// Replace an XDP program that is attached already
    #[arg(long, help_heading = INTERFACES)]
    replace: bool,
    /// Take over from the instance that serves these interfaces, if there is one: connections continue, and it ends
    #[arg(long, help_heading = INTERFACES)]
    take_over: bool,
    /// The log level of the XDP program [default: off]
    #[arg(long, value_name = "LEVEL", help_heading = INTERFACES)]
    xdp_log: Option<XdpLog>,
    /// Serve metrics to Prometheus at http://IP:PORT/metrics [default: nowhere]
    #[arg(long, value_name = "IP:PORT", help_heading = OPERATION)]
    metrics: Option<ListenAddress>,
    /// Write DNS queries and responses to the dnstap reader at this UNIX socket, whenever one listens [default: nowhere]
    #[arg(long, value_name = "SOCKET", help_heading = OPERATION)]
    dnstap: Option<SocketPath>,
    /// The format of the log [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = OPERATION)]
    log_format: Option<LogFormat>,
    /// The user to become after everything is open [default: the user that starts the process]
    #[arg(long, value_name = "NAME", help_heading = OPERATION)]
    user: Option<String>,
    /// Keep all privileges, files and system calls, for debugging
    #[arg(long, help_heading = OPERATION)]
    unconfined: bool,
    #[arg(skip)]
    #[serde(skip)]
    config_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE", hide = true)]
    test_escape: Option<PathBuf>,
    #[arg(long, value_name = "N", hide = true)]
    test_panic_after_frames: Option<u64>,
    #[arg(long, value_name = "N", hide = true)]
    test_hang_after_frames: Option<u64>,
    #[arg(long, value_name = "N", hide = true)]
    test_keep_seconds: Option<u64>,
    #[arg(long, value_name = "STAGE", hide = true)]
    test_fail_takeover: Option<String>,
}
}

impl RunOptions {
    /// These options, and those of the file at `path` that are not given here.
    pub(crate) fn with_file(self, path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(self) };
        let text = read_text(path, MAX_FILE)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let file: Self = toml::from_str(&text).map_err(|error| ConfigError::in_file(path, &text, &error))?;
        Ok(Self { config_file: Some(path.to_owned()), ..self.or_default_to(file) })
    }
}
