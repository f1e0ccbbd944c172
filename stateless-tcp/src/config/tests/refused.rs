//! Refused command lines and files, and their errors.

use rstest::rstest;

use super::{file, run};

#[rstest]
#[case::no_interface("", "give -i IFACE")]
#[case::interface_twice("-i eth0 -i eth0", "eth0 is named twice")]
#[case::interface_too_long("-i abcdefghijklmnop", "1 to 15 bytes")]
#[case::interface_with_slash("-i ../eth0", "no slash")]
#[case::same_ports("-i eth0 --dns-port 80", "--http-port 80: DNS is served on this port")]
#[case::port_0("-i eth0 --dns-port 0", "0 is not in the range 1 to 65535")]
#[case::port_too_large("-i eth0 --http-port 65536", "65536 is not in the range 1 to 65535")]
#[case::port_no_number("-i eth0 --http-port www", "\"www\" is not a number")]
#[case::cache_control_empty("-i eth0 --http-root www --http-cache-control=", "write 1 to 200 bytes")]
#[case::cache_control_beyond_ascii("-i eth0 --http-root www --http-cache-control=\u{e4}", "printable ASCII")]
#[case::cache_control_of_nothing(
    "-i eth0 --http-cache-control=no-cache",
    "has no effect without --http-root"
)]
#[case::dot_files_of_nothing("-i eth0 --http-dot-files", "has no effect without --http-root")]
#[case::segment_too_small("-i eth0 --segment-size 63", "63 is not in the range 64 to 1220")]
#[case::hints_too_many("-i eth0 --hints 1048577", "1048577 is not in the range 0 to 1048576")]
#[case::segment_too_large("-i eth0 --segment-size 1221", "1221 is not in the range 64 to 1220")]
#[case::keepalive_too_large("-i eth0 --dns-keepalive 6554", "6554 is not in the range 0 to 6553")]
#[case::keepalive_negative("-i eth0 --dns-keepalive=-1", "-1 is not in the range 0 to 6553")]
#[case::listed_twice(
    "-i eth0 --deny 192.0.2.0/24 --allow 192.0.2.0/24",
    "--allow 192.0.2.0/24 is listed by --deny, too"
)]
#[case::unconfined_user("-i eth0 --unconfined --user nobody", "leave out one")]
#[case::vlan("-i eth0 --vlan 4095", "\"4095\" is not a VLAN: write its identifier, 1 to 4094")]
#[case::vlans("-i eth0 --vlan 1.2.3", "\"1.2.3\" is not a VLAN")]
#[case::no_rate("-i eth0 --rate-limit 0", "0 is not in the range 1 to 1000000")]
#[case::prefix_too_long("-i eth0 --udp truncate --rate-prefix-ipv4 33", "33 is not in the range 0 to 32")]
#[case::no_queue("-i eth0 --queues ,", "\"\" is not a number")]
#[case::empty_queues("-i eth0 --queues=", "it is empty")]
#[case::queues_backwards("-i eth0 --queues 5-2", "is not ascending")]
#[case::queue_twice("-i eth0 --queues 0-3,2", "queue 2 is named twice")]
#[case::queue_too_large("-i eth0 --queues 0-4000000000", "above 255")]
#[case::uncovered_without_queues("-i eth0 --uncovered-queues", "without --queues")]
#[case::address_unspecified("-i eth0 --address ::", "is not the address of a host")]
#[case::address_multicast("-i eth0 --address ff02::1", "multicast")]
#[case::address_broadcast("-i eth0 --address 255.255.255.255", "broadcast")]
#[case::address_mapped("-i eth0 --address ::ffff:192.0.2.1", "write it as IPv4")]
#[case::address_loopback("-i eth0 --address 127.0.0.1", "only this machine can reach")]
#[case::address_with_port("-i eth0 --address 192.0.2.1:53", "without port")]
#[case::generic_without_copy("-i eth0 --xdp-mode generic --zero-copy always", "leave out one")]
#[case::generic_in_the_driver("-i eth0 --xdp-mode generic --handshake driver", "leave out one")]
#[case::unknown_mode("-i eth0 --xdp-mode fast", "[possible values: auto, native, generic]")]
#[case::unknown_flag("-i eth0 --dns-relays 192.0.2.1:53", "unexpected argument '--dns-relays'")]
#[case::metrics_at_a_served_port("-i eth0 --dns-port 9953 --metrics [::]:9953", "DNS is served on port 9953")]
#[case::metrics_without_port("-i eth0 --metrics 127.0.0.1", "write it as in 127.0.0.1:9953")]
#[case::metrics_at_port_0("-i eth0 --metrics 127.0.0.1:0", "no client can connect to")]
#[case::dnstap_nowhere("-i eth0 --dnstap=", "1 to 107 bytes")]
#[case::relay_without_port("-i eth0 --dns-relay 192.0.2.1", "is not an address with a port")]
#[case::relay_of_nobody("-i eth0 --dns-relay 0.0.0.0:53", "is not the address of a server")]
#[case::relay_twice("-i eth0 --dns-relay 192.0.2.1:53 --dns-relay 192.0.2.1:53", "is named twice")]
#[case::relay_and_zone("-i eth0 --dns-relay 192.0.2.1:53 --zone z", "--zone exclude each other")]
#[case::relay_and_minimal_any(
    "-i eth0 --dns-relay [::1]:53 --minimal-any",
    "--minimal-any exclude each other"
)]
#[case::lengths_of_nothing(
    "-i eth0 --rate-prefix-ipv4 8",
    "have no effect without --rate-limit or --udp truncate"
)]
#[case::cache_without_relay("-i eth0 --dns-cache 1", "--dns-cache has no effect without --dns-relay")]
#[case::dns_port_without_dns(
    "-i eth0 --http-root www --dns-port 54",
    "--dns-port has no effect without --zone, --zone-dir, --dns-relay or --demo: give that"
)]
#[case::udp_without_dns("-i eth0 --http-root www --udp truncate", "--udp has no effect without --zone")]
#[case::any_without_dns("-i eth0 --http-root www --minimal-any", "--minimal-any has no effect")]
#[case::keepalive_without_dns("-i eth0 --http-root www --dns-keepalive 9", "--dns-keepalive has no effect")]
#[case::secret_without_dns(
    "-i eth0 --http-root www --dns-cookie-secret-file s",
    "--dns-cookie-secret-file has no effect"
)]
#[case::dnstap_without_dns("-i eth0 --http-root www --dnstap s", "--dnstap has no effect")]
#[case::http_port_without_http(
    "-i eth0 --zone z --http-port 81",
    "--http-port has no effect without --http-root, --http-relay or --demo"
)]
#[case::identity_empty("-i eth0 --identity=", "write 1 to 63 printable ASCII characters")]
#[case::identity_beyond_ascii("-i eth0 --identity \u{e4}", "write 1 to 63 printable")]
#[case::identity_without_dns("-i eth0 --http-root www --identity a", "--identity has no effect")]
#[case::version_without_dns("-i eth0 --http-root www --hide-version", "--hide-version has no effect")]
#[case::cache_too_large("-i eth0 --dns-relay 192.0.2.1:53 --dns-cache 65537", "not in the range 0 to 65536")]
fn bad_usage_is_refused(#[case] arguments: &str, #[case] message: &str) {
    let error = run(arguments).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(error.exit_status(), 2);
}

#[rstest]
#[case::unknown_key(
    "zone = []\nzones = []\n",
    "s.toml:2:1:",
    "unknown key `zones`; a similar key exists: `zone`"
)]
#[case::no_such_key(
    "zone = []\nqqq = []\n",
    "s.toml:2:1:",
    "unknown key `qqq`; `stateless-tcp run --help` lists all"
)]
#[case::address(
    "address = [\"192.0.2.300\"]\n",
    "s.toml:1:",
    "address: \"192.0.2.300\" is not an IP address"
)]
#[case::bad_value(
    "replace = true\n\nsegment-size = 9\n",
    "s.toml:3:16:",
    "segment-size: 9 is not in the range 64 to 1220"
)]
#[case::bad_port("dns-port = -1\n", "s.toml:1:12:", "dns-port: -1 is not in the range 1 to 65535")]
#[case::bad_type("queues = 3\n", "s.toml:1:10:", "queues: invalid type")]
#[case::bad_word("rules = \"fast\"\n", "s.toml:1:9:", "rules: unknown variant `fast`")]
#[case::in_a_list(
    "address = [\n  \"192.0.2.1\",\n  \"::\",\n]\n",
    "s.toml:1:11:",
    "address: :: is not the address of a host"
)]
#[case::syntax("replace = yes\n", "s.toml:1:11:", "replace")]
#[case::unknown_relay_key(
    "[[dns.relay]]\naddress = \"[::1]:53\"\nwait = 1\n",
    "s.toml:3:1:",
    "unknown key `wait`"
)]
#[case::relay_weight(
    "[[dns.relay]]\naddress = \"[::1]:53\"\nweight = 0\n",
    "s.toml:3:10:",
    "0 is not in the range 1 to 1000"
)]
#[case::twice("replace = true\nreplace = true\n", "s.toml:2:1:", "replace")]
fn bad_file_is_refused(#[case] text: &str, #[case] place: &str, #[case] message: &str) {
    let (_directory, path) = file(text);
    let error = run(&format!("-i eth0 --config {}", path.display())).unwrap_err();
    assert!(error.to_string().contains(place), "{error}");
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(error.exit_status(), 2);
}

/// A secret in place of the name of its file.
#[rstest]
#[case::key("run -i eth0 --key-file 0123456789abcdef0123456789ABCDEF", true)]
#[case::cookie("run -i eth0 --dns-cookie-secret-file 0123456789abcdef0123456789abcdef", true)]
#[case::rotate("rotate-key 0123456789abcdef0123456789abcdef", true)]
#[case::file("rotate-key ./0123456789abcdef0123456789abcdef", false)]
#[case::other_name("run -i eth0 --key-file 0123456789abcdef0123456789abcdeg", false)]
fn a_key_is_not_repeated(#[case] words: &str, #[case] refused: bool) {
    let outcome =
        crate::commands::cli::parse_from(["stateless-tcp"].into_iter().chain(words.split_whitespace()));
    let error = outcome.err().map(|error| error.to_string());
    assert_eq!(error.is_some(), refused, "{error:?}");
    let right = error.is_none_or(|error| error.contains("are a key") && !error.contains("0123"));
    assert!(right, "it is repeated");
}
