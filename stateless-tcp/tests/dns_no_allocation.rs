//! No DNS query, good or bad, asked before or not, costs an allocation.

mod counting;

use counting::allocations;
use stateless_tcp::service::dns::{Dns, DnsOptions};
use stateless_tcp::service::{Context, MAX_RESPONSE, Service as _};
use std::path::Path;

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
const TYPES: [u16; 8] = [1, 2, 15, 16, 33, 43, 46, 255];

fn query(name: &str, rtype: u16, signed: bool) -> Vec<u8> {
    let mut wire = vec![0, 0, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(signed)];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("a short label"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire.extend_from_slice(&rtype.to_be_bytes());
    wire.extend_from_slice(&[0, 1]);
    if signed {
        wire.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
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
    let dns = Dns::load(&zones.map(file), &DnsOptions::default()).unwrap();
    let mut response = Vec::with_capacity(MAX_RESPONSE);
    let mut answers = 0;
    for zone in zones {
        for name in NAMES {
            for (rtype, signed) in TYPES.into_iter().flat_map(|rtype| [(rtype, false), (rtype, true)]) {
                let message = query(&format!("{name}.{zone}"), rtype, signed);
                for room in [MAX_RESPONSE, 60, 10] {
                    response.clear();
                    let context = Context { room, ..Context::default() };
                    let count = allocations(|| _ = dns.answer(&message, &context, &mut response));
                    assert_eq!(count, 0, "{name}.{zone} TYPE{rtype}, signed: {signed}, room: {room}");
                    answers += usize::from(!response.is_empty());
                }
            }
        }
    }
    assert!(answers > 1_000, "{answers}");
    assert!(allocations(|| drop(Box::new(1_u8))) > 0, "the counter counts");
}
