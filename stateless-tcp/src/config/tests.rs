//! Command lines and configuration files, and their configurations.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    AckPolicy, Config, ConfigError, DnsContent, ExtensionHeaders, HandshakeMode, HttpContent, LogFormat,
    RateLimit, Served, Services, UdpMode, XdpLog, XdpMode, ZeroCopy,
};
use crate::acl::ClientPolicies;
use crate::commands::cli::{self, Command};
use crate::services::dns::relay::{ClientSubnet, DnsRelayOptions};
use crate::services::dns::{Identity, ServerName, ZoneOptions};
use crate::services::http::FileOptions;
use crate::serving::build;
use rstest::rstest;
use stateless_tcp_core::steering::{ClientPolicy, VlanTags};

mod refused;

fn run(arguments: &str) -> Result<Config, ConfigError> {
    let words = ["stateless-tcp", "run"].into_iter().chain(arguments.split_whitespace());
    match cli::parse_from(words)?.command {
        Command::Run { config, .. } => Ok(*config),
        other => panic!("another command: {other:?}"),
    }
}

/// A configuration file, and its directory, which is deleted when it is dropped.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.toml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn defaults() -> Config {
    Config {
        interfaces: vec!["eth0".to_owned()],
        addresses: None,
        vlans: Vec::new(),
        clients: ClientPolicies::default(),
        rate_limit: RateLimit { rate: None, ipv4: 24, ipv6: 56 },
        udp: UdpMode::Kernel,
        extension_headers: ExtensionHeaders::Drop,
        services: Services {
            dns: Some(Served { port: 53, content: DnsContent::Builtin }),
            http: Some(Served { port: 80, content: HttpContent::Builtin }),
            unnamed: true,
        },
        minimal_any: false,
        dns_keepalive: 120,
        identity: Identity::default(),
        dns_cookie_secret_file: None,
        rules: AckPolicy::Reliable,
        segment_size: None,
        hints: 4096,
        fast_open: false,
        connection_lifetime: Duration::from_hours(1),
        key_file: None,
        xdp_mode: XdpMode::Auto,
        handshake: HandshakeMode::Auto,
        zero_copy: ZeroCopy::Auto,
        busy_poll: Duration::ZERO,
        coalesce: Duration::ZERO,
        queues: None,
        uncovered_queues: false,
        replace: false,
        take_over: false,
        xdp_log: XdpLog::Off,
        metrics: None,
        dnstap: None,
        log_format: LogFormat::Text,
        user: None,
        unconfined: false,
        config_file: None,
        test_escape: None,
        test_panic_after_frames: None,
        test_hang_after_frames: None,
        test_keep_seconds: None,
        test_fail_takeover: None,
    }
}

fn files(port: u16, root: &str, options: FileOptions) -> Served<HttpContent> {
    Served { port, content: HttpContent::Files(root.into(), options) }
}

fn dns_relay(config: Config) -> DnsRelayOptions {
    match config.services.dns.map(|dns| dns.content) {
        Some(DnsContent::Relay(relay)) => relay,
        other => panic!("another content: {other:?}"),
    }
}

fn clients(lists: &[(&str, ClientPolicy)]) -> ClientPolicies {
    let mut clients = ClientPolicies::default();
    for (prefix, policy) in lists {
        clients.add(&prefix.parse().unwrap(), *policy);
    }
    clients
}

fn everything() -> Config {
    Config {
        interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
        addresses: Some(vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
        vlans: vec![VlanTags(7), VlanTags(100 << 16 | 8)],
        clients: clients(&[
            ("198.51.100.0/24", ClientPolicy::PassToKernel),
            ("2001:db8::7", ClientPolicy::PassToKernel),
            ("0.0.0.0/0", ClientPolicy::Deny),
            ("203.0.113.0/24", ClientPolicy::Allow),
        ]),
        rate_limit: RateLimit { rate: Some(50), ipv4: 32, ipv6: 48 },
        udp: UdpMode::Truncate,
        extension_headers: ExtensionHeaders::Kernel,
        services: Services {
            dns: Some(Served {
                port: 5353,
                content: DnsContent::Zones(ZoneOptions {
                    files: vec!["a.zone".parse().unwrap(), "example.org=b.zone".parse().unwrap()],
                    directories: vec!["zones".into()],
                    include: vec!["common".into()],
                }),
            }),
            http: Some(files(
                8080,
                "www",
                FileOptions { cache_control: Some("no-cache".to_owned()), dot_files: true },
            )),
            unnamed: false,
        },
        minimal_any: true,
        dns_keepalive: 0,
        identity: Identity { name: ServerName::new("ns1"), hide_version: true },
        dns_cookie_secret_file: Some("secret".into()),
        rules: AckPolicy::Classic,
        segment_size: Some(512),
        hints: 99,
        fast_open: true,
        connection_lifetime: Duration::from_mins(1),
        key_file: Some("keys".into()),
        xdp_mode: XdpMode::Native,
        handshake: HandshakeMode::Driver,
        zero_copy: ZeroCopy::Always,
        busy_poll: Duration::from_micros(50),
        coalesce: Duration::from_micros(100),
        queues: Some(vec![0, 2, 3, 4, 5]),
        uncovered_queues: true,
        replace: true,
        take_over: true,
        xdp_log: XdpLog::Trace,
        metrics: Some("127.0.0.1:9953".parse().unwrap()),
        dnstap: Some("/run/dnstap.sock".into()),
        log_format: LogFormat::Json,
        user: Some("nobody".to_owned()),
        unconfined: false,
        config_file: None,
        test_escape: Some("secret".into()),
        test_panic_after_frames: Some(9),
        test_hang_after_frames: Some(8),
        test_keep_seconds: None,
        test_fail_takeover: None,
    }
}

const EVERY_FLAG: &str = "-i eth0 --interface eth1 --address 2001:db8::1 --address 192.0.2.1 --address 192.0.2.1 \
    --kernel-from 198.51.100.0/24 --kernel-from 2001:db8::7 \
    --deny 0.0.0.0/0 --allow 203.0.113.0/24 --rate-limit 50 --rate-prefix-ipv4 32 --rate-prefix-ipv6 48 --udp truncate --extension-headers kernel --demo --vlan 7 --vlan 100.8 --dns-port 5353 --http-port 8080 --zone a.zone --zone example.org=b.zone --zone-dir zones --zone-include-dir common --minimal-any --dns-keepalive 0 --identity ns1 --hide-version \
    --dns-cookie-secret-file secret --http-root www --http-cache-control no-cache --http-dot-files --rules classic \
    --segment-size 512 --hints 99 --fast-open --connection-lifetime 60 --key-file keys --xdp-mode native --handshake driver \
    --zero-copy always --busy-poll 50 --coalesce 100 --queues 0,2-5 --uncovered-queues \
    --replace --take-over --xdp-log trace --metrics 127.0.0.1:9953 --dnstap /run/dnstap.sock --log-format json --user nobody --test-escape secret --test-panic-after-frames 9 --test-hang-after-frames 8";

const EVERY_KEY: &str = r#"
interface = ["eth0", "eth1"]
address = ["192.0.2.1", "2001:db8::1"]
kernel-from = ["198.51.100.0/24", "2001:db8::7"]
deny = ["0.0.0.0/0"]
allow = ["203.0.113.0/24"]
rate-limit = 50
rate-prefix-ipv4 = 32
rate-prefix-ipv6 = 48
udp = "truncate"
extension-headers = "kernel"
demo = true
vlan = ["7", "100.8"]
dns-port = 5353
http-port = 8080
zone = ["a.zone", { name = "example.org", file = "b.zone" }]
zone-dir = ["zones"]
zone-include-dir = ["common"]
minimal-any = true
dns-keepalive = 0
identity = "ns1"
hide-version = true
dns-cookie-secret-file = "secret"
http-root = "www"
http-cache-control = "no-cache"
http-dot-files = true
rules = "classic"
segment-size = 512
hints = 99
fast-open = true
connection-lifetime = 60
key-file = "keys"
xdp-mode = "native"
handshake = "driver"
zero-copy = "always"
busy-poll = 50
coalesce = 100
queues = "0,2-5"
uncovered-queues = true
replace = true
take-over = true
xdp-log = "trace"
metrics = "127.0.0.1:9953"
dnstap = "/run/dnstap.sock"
log-format = "json"
user = "nobody"
test-escape = "secret"
test-panic-after-frames = 9
test-hang-after-frames = 8
"#;

#[test]
fn flags_and_file_have_the_same_options() {
    assert_eq!(run("-i eth0").unwrap(), defaults());
    assert_eq!(run(EVERY_FLAG).unwrap(), everything());
    let (_directory, path) = file(EVERY_KEY);
    let expected = Config { config_file: Some(path.clone()), ..everything() };
    assert_eq!(run(&format!("--config {}", path.display())).unwrap(), expected);
}

#[test]
fn flags_override_the_file() {
    let (_directory, path) = file(EVERY_KEY);
    let flags = "-i eth9 --address 192.0.2.9 --dns-port 9 --http-port 10 --zone z --zone-dir zd --zone-include-dir zi --dns-keepalive 6553 --identity ns9 --dns-cookie-secret-file s --http-root r --http-cache-control max-age=9 --rules reliable \
        --segment-size 99 --hints 0 --connection-lifetime 604800 --key-file k --xdp-mode auto --handshake auto --zero-copy never --busy-poll 0 --coalesce 0 --queues 9 --xdp-log off \
        --test-panic-after-frames 1 --test-hang-after-frames 1 --kernel-from 192.0.2.3 --deny 192.0.2.4 --allow 192.0.2.5 --rate-limit 1 --rate-prefix-ipv4 1 --rate-prefix-ipv6 2 --metrics [::]:11 --dnstap s --log-format text --udp kernel --extension-headers drop --vlan 9 --user root --test-escape s";
    let config = run(&format!("{flags} --config {}", path.display())).unwrap();
    let named = run(flags).unwrap();
    let expected = Config {
        config_file: Some(path.clone()),
        // Flags cannot turn off a switch.
        minimal_any: true,
        identity: Identity { name: ServerName::new("ns9"), hide_version: true },
        services: Services {
            http: Some(files(
                10,
                "r",
                FileOptions { cache_control: Some("max-age=9".to_owned()), dot_files: true },
            )),
            ..named.services
        },
        fast_open: true,
        uncovered_queues: true,
        replace: true,
        take_over: true,
        ..named
    };
    assert_eq!(config, expected);
}

#[test]
fn flags_and_file_configure_the_dns_relay() {
    let upstream = |address: &str, weight, payload| crate::services::dns::relay::DnsUpstream {
        address: address.parse().unwrap(),
        weight,
        payload,
    };
    let relay =
        dns_relay(run("-i eth0 --dns-relay 192.0.2.1:53 --dns-relay [::1]:5353 --dns-cache 0").unwrap());
    assert_eq!(relay.upstreams, [upstream("192.0.2.1:53", 1, 1_232), upstream("[::1]:5353", 1, 4_096)]);
    assert_eq!((relay.cache, relay.retransmit_store, relay.in_flight), (0, 64 << 20, 4_096));
    assert_eq!((relay.timeout, relay.total_timeout), (Duration::from_secs(1), Duration::from_secs(4)));
    assert_eq!((relay.client_subnet, relay.proxy_protocol), (ClientSubnet::PassThrough, false));

    let text = "dns-cache = 7\n[dns]\ntimeout-ms = 300\ntotal-timeout-ms = 900\nin-flight = 9\nstore-mib = 2\n\
        edns-client-subnet = true\nedns-client-subnet-from-clients = true\nproxy-protocol = true\n[[dns.relay]]\naddress = \"127.0.0.1:53\"\nweight = 3\n\
        [[dns.relay]]\naddress = \"192.0.2.1:53\"\nedns-payload = 1400\n";
    let (_directory, path) = file(text);
    let relay = dns_relay(run(&format!("-i eth0 --config {}", path.display())).unwrap());
    assert_eq!(relay.upstreams, [upstream("127.0.0.1:53", 3, 4_096), upstream("192.0.2.1:53", 1, 1_400)]);
    assert_eq!((relay.cache, relay.retransmit_store, relay.in_flight), (7 << 20, 2 << 20, 9));
    assert_eq!(
        (relay.timeout, relay.total_timeout),
        (Duration::from_millis(300), Duration::from_millis(900))
    );
    assert_eq!((relay.client_subnet, relay.proxy_protocol), (ClientSubnet::FromClientOrAddress, true));
    let flags = format!("-i eth0 --dns-relay 192.0.2.9:53 --config {}", path.display());
    let relay = dns_relay(run(&flags).unwrap());
    assert_eq!((relay.upstreams, relay.in_flight), (vec![upstream("192.0.2.9:53", 1, 1_232)], 9));

    for (text, message) in [
        ("[dns]\nin-flight = 1\n", "[dns] has no effect"),
        (
            "dns-relay = [\"192.0.2.1:53\"]\n[dns]\ntimeout-ms = 60\ntotal-timeout-ms = 50\n",
            "is less than timeout-ms",
        ),
        (
            "dns-relay = [\"192.0.2.1:53\"]\n[dns]\nedns-client-subnet-from-clients = true\n",
            "has no effect without edns-client-subnet",
        ),
    ] {
        let (_directory, path) = file(text);
        let error = run(&format!("-i eth0 --config {}", path.display())).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let error =
        cli::parse_from(["stateless-tcp", "replay", "in", "out", "--dns-relay", "192.0.2.1:53"]).unwrap_err();
    assert!(error.to_string().contains("replay has no upstreams"), "{error}");
}

/// The ports of the services that run. All others are the kernel's.
#[rstest]
#[case::nothing("", &[("DNS", 53), ("HTTP", 80)])]
#[case::demo("--demo", &[("DNS", 53), ("HTTP", 80)])]
#[case::zone("--zone a.zone", &[("DNS", 53)])]
#[case::directory("--zone-dir zones --dns-port 5353", &[("DNS", 5353)])]
#[case::name_servers("--dns-relay 192.0.2.1:53", &[("DNS", 53)])]
#[case::files("--http-root www", &[("HTTP", 80)])]
#[case::web_server("--http-relay 192.0.2.1:80 --http-port 53", &[("HTTP", 53)])]
#[case::both("--zone a.zone --http-root www", &[("DNS", 53), ("HTTP", 80)])]
#[case::demo_of_the_other("--zone a.zone --demo --http-port 8080", &[("DNS", 53), ("HTTP", 8080)])]
#[case::ports_name_nothing("--dns-port 5353 --udp truncate", &[("DNS", 5353), ("HTTP", 80)])]
fn a_service_runs_if_its_content_is_named(#[case] options: &str, #[case] running: &[(&str, u16)]) {
    let config = run(&format!("-i eth0 {options}")).unwrap();
    let ports: Vec<_> = config.services.ports().iter().map(|service| (service.name, service.port)).collect();
    assert_eq!(ports, running);
    let is_named = ["--zone", "--dns-relay", "--http-r", "--demo"].iter().any(|name| options.contains(name));
    let warning = build::unnamed_warning(&config);
    assert_eq!(warning.is_none(), is_named, "{warning:?}");
}

/// The table of relayed name servers names DNS as well.
#[test]
fn a_table_of_the_file_names_its_service() {
    let (_directory, path) = file("[[dns.relay]]\naddress = \"192.0.2.1:53\"\n");
    let config = run(&format!("-i eth0 --config {}", path.display())).unwrap();
    assert_eq!((config.services.http, config.services.unnamed), (None, false));
}

#[test]
fn file_must_be_regular() {
    let directory = tempfile::tempdir().unwrap();
    let path = crate::files::tests::fifo(directory.path());
    let error = run(&format!("-i eth0 --config {}", path.display())).unwrap_err().to_string();
    assert!(error.ends_with("fifo: a FIFO, not a regular file"), "{error}");
}

#[test]
fn missing_file_is_a_failure() {
    let error = run("-i eth0 --config /nonexistent/s.toml").unwrap_err();
    assert!(error.to_string().contains("/nonexistent/s.toml: No such file"), "{error}");
    assert_eq!(error.exit_status(), 1);
}

#[test]
fn replay_takes_content_but_no_interface() {
    let words =
        ["stateless-tcp", "replay", "a.pcap", "b.pcap", "--rules", "classic", "--address", "127.0.0.1"];
    let Command::Replay { input, output, config } = cli::parse_from(words).unwrap().command else {
        panic!("another command")
    };
    assert_eq!((input, output), ("a.pcap".into(), "b.pcap".into()));
    assert_eq!((config.rules, config.interfaces.len()), (AckPolicy::Classic, 0));
    let error = cli::parse_from(["stateless-tcp", "replay", "a", "b", "-i", "eth0"]).unwrap_err();
    assert!(error.to_string().contains("leave out -i eth0"), "{error}");
}

#[test]
fn there_are_no_more_prefixes_than_the_table_holds() {
    let prefix = |number: u32| format!("\"{}/32\"", std::net::Ipv4Addr::from(number));
    let list = |count: u32| (0..count).map(prefix).collect::<Vec<_>>().join(",");
    let read = |count| {
        let (_directory, path) = file(&format!("kernel-from = [{}]\n", list(count)));
        run(&format!("-i eth0 --config {}", path.display())).map(|config| config.clients.len())
    };
    assert_eq!(read(262_144).unwrap(), 262_144);
    let error = read(262_145).unwrap_err();
    assert!(
        error.to_string().contains("262145 prefixes of --kernel-from, --deny and --allow are too many"),
        "{error}"
    );
}

#[test]
fn help_is_not_a_failure() {
    assert_eq!(run("--help").unwrap_err().exit_status(), 0);
    assert!(!run("--help").unwrap_err().to_string().contains("--test-panic"), "a hidden flag shows");
}

#[test]
fn a_file_is_read_again_and_options_that_need_a_restart_are_named() {
    let (_directory, path) = file("interface = [\"eth0\"]\nqueues = \"0\"\nuncovered-queues = true\n");
    let words = ["stateless-tcp", "run", "--dns-port", "5353", "--config", path.to_str().unwrap()];
    let Command::Run { config: running, source } = cli::parse_from(words).unwrap().command else {
        panic!("another command")
    };
    let running = *running;
    assert_eq!(
        source.read().unwrap().retain_restart_only(&running),
        (running.clone(), vec![]),
        "nothing has changed"
    );

    let text = "interface = [\"eth1\"]\nrules = \"classic\"\nzone = [\"b.zone\"]\nminimal-any = true\nfast-open = true\n\
                dns-keepalive = 9\ndns-cookie-secret-file = \"s\"\ndns-port = 54\nhttp-port = 8080\naddress = [\"192.0.2.7\"]\nhttp-root = \"www\"\nkey-file = \"k\"\n";
    fs::write(&path, text).unwrap();
    let (config, retained) = source.read().unwrap().retain_restart_only(&running);
    assert_eq!(retained, ["interface", "rules", "queues", "uncovered-queues"]);
    let expected = Config {
        addresses: Some(vec!["192.0.2.7".parse().unwrap()]),
        // The flag overrides the file, as it did at the start.
        services: Services {
            dns: Some(Served {
                port: 5353,
                content: DnsContent::Zones(ZoneOptions {
                    files: vec!["b.zone".parse().unwrap()],
                    ..ZoneOptions::default()
                }),
            }),
            http: Some(files(8080, "www", FileOptions::default())),
            unnamed: false,
        },
        minimal_any: true,
        fast_open: true,
        dns_keepalive: 9,
        dns_cookie_secret_file: Some("s".into()),
        key_file: Some("k".into()),
        ..running.clone()
    };
    assert_eq!(config, expected);

    fs::write(&path, "interface = [\"eth0\"]\nzones = []\n").unwrap();
    let error = source.read().unwrap_err().to_string();
    assert!(error.contains(":2:1: "), "{error}");
}
