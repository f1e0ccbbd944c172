//! What is in the relay's cache costs no allocation.

mod counting;

use counting::allocations;
use stateless_tcp::services::dns::relay::{
    ClientSubnet, DnsForwarders, DnsRelay, DnsRelayOptions, DnsUpstream,
};
use stateless_tcp::services::dns::{Cookies, DnsOptions};
use stateless_tcp::services::{Context, MAX_RESPONSE, Origin, Service as _, Unavailable};
use stateless_tcp_core::tcp::isn::Key;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NOW: Duration = Duration::from_secs(1_700_000_000);
/// `example.com. A` with DO, a client cookie, and the wish to know how long the connection stays open.
const QUERY: &[u8] = b"\0\x38\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x07example\x03com\0\0\x01\0\x01\
    \0\0\x29\x04\xd0\0\0\x80\0\0\x10\0\x0b\0\0\0\x0a\0\x08a client";
/// Where its question ends, its length before it left out.
const END: usize = 12 + 13 + 4;

#[test]
fn hit_costs_no_allocation() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let options = DnsRelayOptions {
        upstreams: vec![DnsUpstream { address: upstream.local_addr().unwrap(), weight: 1, payload: 1_232 }],
        timeout: Duration::from_secs(1),
        total_timeout: Duration::from_secs(4),
        in_flight: 64,
        cache: 1 << 20,
        retransmit_store: 1 << 20,
        client_subnet: ClientSubnet::PassThrough,
        proxy_protocol: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let forwarders = DnsForwarders::open(&options, 1, runtime.handle()).unwrap();
    let cookies = Some(Cookies::new(Key([7; 16]), SystemTime::UNIX_EPOCH));
    let front = DnsOptions { keepalive: 1_200, cookies, ..DnsOptions::default() };
    let relay = DnsRelay::new(front, Arc::new(forwarders));
    let mut response = Vec::with_capacity(MAX_RESPONSE);
    let context = Context { now: UNIX_EPOCH + NOW, whole: 1_220, persistent: true, ..Context::default() };
    let forwarder = relay.upstream().unwrap();

    let asked = relay.answer(QUERY, &context, &mut response);
    assert!(matches!(asked, Err(Unavailable::Pending(_))), "{asked:?}");
    let mut ready = Vec::new();
    forwarder.poll(0, context.now, &mut ready);
    let mut query = [0; 512];
    let (_, from) = upstream.recv_from(&mut query).unwrap();
    let mut answer = query[..END].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
    upstream.send_to(&answer, from).unwrap();
    while ready.is_empty() {
        forwarder.poll(0, context.now, &mut ready);
    }
    forwarder.poll(0, context.now, &mut ready);

    for age in [1, 100, 3_000] {
        // Another request: it is in the cache alone.
        let origin = Origin { seq: u32::try_from(age).unwrap(), ..context.origin };
        let context = Context { now: context.now + Duration::from_secs(age), origin, ..context };
        response.clear();
        let count = allocations(|| _ = relay.answer(QUERY, &context, &mut response).unwrap());
        assert_eq!((count, response.len() > END), (0, true), "after {age} seconds");
    }
}
