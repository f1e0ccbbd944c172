//! Questions relayed over real XDP to real name servers, which answer as if they had been asked directly.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use stateless_tcp_tests::{
    nameserver::{Nsd, zones},
    responder::Responder,
    topology::{SERVERS, Topology},
};

/// A port of the server's loopback address.
fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[test]
fn dig_is_answered_by_the_back_end() {
    let topology = Topology::new(1);
    let back_end = local(5301);
    let _nsd = Nsd::start(&zones(), back_end, Some(topology.server.name())).expect("start NSD");
    let responder = Responder::start(&topology, &["--dns-relay", &back_end.to_string(), "--dns-cache", "0"]);
    for server in SERVERS {
        let dig = format!("dig @{server} +tcp +norecurse +tries=1 +time=5");
        let answer = topology.client.run(&format!("{dig} www.plain.example A"));
        assert!(answer.contains("status: NOERROR") && answer.contains("ANSWER: "), "{answer}");
        println!("{answer}");
    }
    let counters = responder.stop();
    println!("{counters:?}");
    assert_eq!(counters.get("dns_relay_answers"), 2, "{counters:?}");
}
