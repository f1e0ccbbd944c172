//! The reasons that clients with EDNS get (RFC 8914), and the questions that the relay answers itself.

use super::*;
use crate::services::dns::{Identity, ServerName};

const AXFR: u16 = 252;
const TXT: u16 = 16;

fn asked(name: &str) -> Vec<u8> {
    query(1, 0, name, Some(&OPT))
}

/// `query` with another type and class.
fn of(mut query: Vec<u8>, rtype: u16, class: u16) -> Vec<u8> {
    let at = query.len() - OPT.len() - 4;
    query[at..][..2].copy_from_slice(&rtype.to_be_bytes());
    query[at + 2..][..2].copy_from_slice(&class.to_be_bytes());
    query
}

/// The response code and the extended error, which is the only option, at the end.
fn error(response: &[u8]) -> (u8, Option<u8>) {
    let (head, code) = response.split_at(response.len() - 1);
    (response[5] & 0xf, head.ends_with(&[0, 15, 0, 2, 0]).then_some(code[0]))
}

/// The answer once all time for `query` has passed.
fn at_the_end(bench: &mut DnsBench, query: &[u8]) -> Vec<u8> {
    let Err(Unavailable::Pending(fetch_id)) = bench.put(query, FetchPolicy::MayFetch) else {
        panic!("it must be asked")
    };
    while !bench.turn().contains(&fetch_id) {
        bench.pass(1);
    }
    bench.again(query, FetchPolicy::MayFetch).unwrap()
}

#[rstest]
#[case::answer(0, 0, 3)]
#[case::no_such_name(3, 3, 19)]
fn a_stale_answer_is_called_stale(#[case] flags: u16, #[case] rcode: u8, #[case] reason: u8) {
    let mut bench = DnsBench::new(|_| {});
    let query = asked("example.com");
    let fresh = bench.ask(&query, |query| {
        let soa = [record(SOA, 60, &soa(60))];
        reply(query, flags, [if flags == 0 { &soa } else { &[] }, &soa, &[]])
    });
    assert_eq!(error(&fresh), (rcode, None));
    bench.pass(61);
    bench.turn();
    let stale = at_the_end(&mut bench, &query);
    assert_eq!(error(&stale), (rcode, Some(reason)));
    // The answer comes before its reason.
    let context = Context { room: fresh.len() + 5, ..bench.context(FetchPolicy::MayFetch) };
    let context = Context { origin: Origin { seq: 99, ..context.origin }, ..context };
    let mut short = Vec::with_capacity(crate::services::MAX_RESPONSE);
    bench.relay.answer(&query, &context, &mut short).unwrap();
    assert_eq!((error(&short), short.len()), ((rcode, None), fresh.len()));
    // There is no place for it without EDNS.
    bench.turn();
    let plain = super::query(1, 0, "example.com", None);
    assert_eq!(error(&at_the_end(&mut bench, &plain)).0, rcode);
}

#[test]
fn silence_is_no_reachable_authority() {
    let mut bench = DnsBench::new(|_| {});
    let response = at_the_end(&mut bench, &asked("example.com"));
    assert_eq!(error(&response), (2, Some(22)));
}

#[test]
fn a_port_that_nobody_has_is_a_network_error() {
    let mut bench = DnsBench::new(|_| {});
    let query = asked("example.com");
    bench.upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    let Err(Unavailable::Pending(_)) = bench.put(&query, FetchPolicy::MayFetch) else {
        panic!("it must be asked")
    };
    // The kernel reports it when it wants to.
    while bench.count("dns_relay_unreachable") == 0 {
        bench.turn();
    }
    let mut called = Vec::new();
    while called.is_empty() {
        bench.pass(1);
        called = bench.turn();
    }
    let response = bench.again(&query, FetchPolicy::MayFetch).unwrap();
    assert_eq!(error(&response), (2, Some(23)));
}

#[test]
fn a_full_table_is_not_ready() {
    let mut bench = DnsBench::new(|options| options.in_flight = 1);
    assert!(bench.put(&asked("a.example"), FetchPolicy::MayFetch).is_err());
    let response = bench.put(&asked("b.example"), FetchPolicy::MayFetch).unwrap();
    assert_eq!(error(&response), (2, Some(14)));
}

#[test]
fn a_refusal_has_its_reason() {
    let mut bench = DnsBench::new(|_| {});
    let transfer = bench.put(&of(asked("example.com"), AXFR, 1), FetchPolicy::MayFetch).unwrap();
    assert_eq!(error(&transfer), (5, Some(18)));
    let mut signed = asked("example.com");
    signed[1] += 11;
    signed[13] += 1;
    // An empty record of type KEY.
    signed.extend([0, 0, 25, 0, 1, 0, 0, 0, 0, 0, 0]);
    let signed = bench.put(&signed, FetchPolicy::MayFetch).unwrap();
    assert_eq!(error(&signed), (5, Some(21)));
}

#[test]
fn the_relay_tells_who_it_is_if_it_has_a_name() {
    let mut bench = DnsBench::new(|_| {});
    let query = of(asked("id.server"), TXT, 3);
    let forwarders = Arc::clone(&bench.relay.forwarders);
    let relay = |name| {
        let identity = Identity { name, hide_version: true };
        DnsRelay::new(DnsOptions { identity, ..DnsOptions::default() }, Arc::clone(&forwarders))
    };
    bench.relay = relay(ServerName::new("ns1"));
    bench.relay.prepare(&query, &bench.context(FetchPolicy::MayFetch));
    let response = bench.put(&query, FetchPolicy::MayFetch).unwrap();
    assert!(response.windows(5).any(|window| window == b"\0\x04\x03ns"), "{response:?}");
    assert_eq!((error(&response), bench.heard()), ((0, None), None));
    bench.relay = relay(None);
    assert!(bench.put(&query, FetchPolicy::MayFetch).is_err(), "the upstream is asked");
}
