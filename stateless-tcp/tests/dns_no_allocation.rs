//! No DNS query, good or bad, asked before or not, costs an allocation.

mod counting;

use counting::allocations;
use stateless_tcp::services::dns::{Cookies, Dns, DnsOptions, Identity, ServerName};
use stateless_tcp::services::{Context, MAX_RESPONSE, Service as _};
use stateless_tcp_core::tcp::isn::Key;
use std::path::Path;
use std::time::SystemTime;

const NAMES: [&str; 20] = [
    "",
    "www",
    "nowhere",
    "a.b.c.nowhere",
    "ent",
    "any.wild",
    "a.b.any.wild",
    "any.wcname",
    "cname",
    "chain1",
    "loop1",
    "dangling",
    "a.dname",
    "x.dloop",
    "host.dother",
    "www.sub",
    "secure",
    "noglue",
    "external",
    "_sip._tcp",
];
const EDNS: [Option<&[u8]>; 3] = [None, Some(&[]), Some(OPTIONS)];
const TYPES: [u16; 8] = [1, 2, 15, 16, 33, 43, 46, 255];

/// A client cookie, and the wish to know how long the connection stays open, and who is answering.
const OPTIONS: &[u8] = b"\0\x0a\0\x08a client\0\x0b\0\0\0\x03\0\0";

/// A query, with DO and these options if there are any.
fn query(name: &str, rtype: u16, options: Option<&[u8]>) -> Vec<u8> {
    let mut wire = vec![0, 0, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(options.is_some())];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("a short label"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire.extend_from_slice(&rtype.to_be_bytes());
    wire.extend_from_slice(&[0, 1]);
    if let Some(options) = options {
        let length = u8::try_from(options.len()).expect("short options");
        wire.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, length]);
        wire.extend_from_slice(options);
    }
    let length = u16::try_from(wire.len() - 2).expect("a short query");
    wire[..2].copy_from_slice(&length.to_be_bytes());
    wire
}

#[test]
fn query_costs_no_allocation() {
    let zones = ["plain.example", "nsec.example", "nsec3.example", "other.example"];
    let file =
        |zone: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/fixtures/{zone}.zone"));
    let cookies = Some(Cookies::new(Key([7; 16]), SystemTime::UNIX_EPOCH));
    let identity = Identity { name: ServerName::new("ns1"), hide_version: false };
    let options = DnsOptions { keepalive: 1_200, cookies, identity, ..DnsOptions::default() };
    let dns = Dns::load(&zones.map(|zone| file(zone).into()), &options).unwrap();
    let mut response = Vec::with_capacity(MAX_RESPONSE);
    let mut answers = 0;
    // The last is not served.
    for zone in zones.into_iter().chain(["elsewhere.example"]) {
        for name in NAMES {
            for (rtype, options) in TYPES.into_iter().flat_map(|rtype| EDNS.map(|edns| (rtype, edns))) {
                let message = query(&format!("{name}.{zone}"), rtype, options);
                for room in [MAX_RESPONSE, 60, 10] {
                    response.clear();
                    let context = Context { room, whole: room, ..Context::default() };
                    let count = allocations(|| _ = dns.answer(&message, &context, &mut response));
                    assert_eq!(count, 0, "{name}.{zone} TYPE{rtype}, options: {options:?}, room: {room}");
                    answers += usize::from(!response.is_empty());
                }
            }
        }
    }
    assert!(answers > 1_000, "{answers}");
    assert!(allocations(|| drop(Box::new(1_u8))) > 0, "the counter counts");
}
