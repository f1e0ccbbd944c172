//! Real clients over real XDP get right answers.

use std::{collections::BTreeSet, net::IpAddr};

use rstest::rstest;
use stateless_tcp_tests::{
    client::{Client, port, query},
    netns::Netns,
    packet::flags,
    responder::Responder,
    topology::{SERVERS, Topology},
};

/// Connections opened to hit every queue, by chance of their ports' hash.
const CONNECTIONS: u16 = 256;
const A: u16 = 1;
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

#[rstest]
#[case::native_1("native", 1)]
#[case::native_4("native", 4)]
#[case::generic_1("generic", 1)]
#[case::generic_4("generic", 4)]
fn are_answered(#[case] mode: &str, #[case] queues: usize) {
    let topology = Topology::new(queues);
    let responder = Responder::start(&topology, &["--xdp-mode", mode]);
    let id = topology.server.run("ip -details link show eth0");
    assert!(id.contains(if mode == "native" { "xdp" } else { "xdpgeneric" }), "{id}");
    for server in SERVERS {
        dig(&topology.client, server);
        kdig(&topology.client, server);
        drill(&topology.client, server);
        curl(&topology.client, server);
    }
    let counters = responder.stop();
    assert_eq!(counters.get("answered"), 2 * 10, "{counters:?}");
    assert_eq!(counters.get("xdp_no_socket"), 0, "{counters:?}");
}

fn dig(client: &Netns, server: IpAddr) {
    let dig = format!("dig @{server} +tcp +norecurse +tries=1 +time=60");
    assert_eq!(client.run(&format!("{dig} +short example.com A")), "192.0.2.1\n");
    assert_eq!(client.run(&format!("{dig} +short example.com AAAA")), "2001:db8::1\n");
    let nothing = client.run(&format!("{dig} no.such.name.nowhere.example.com A"));
    assert!(nothing.contains("status: NXDOMAIN") && nothing.contains("SOA"), "{nothing}");
    let refused = client.run(&format!("{dig} example.org A"));
    assert!(refused.contains("status: REFUSED"), "{refused}");
    let large = client.run(&format!("{dig} +short large.example.com TXT"));
    assert!(large.len() > 4_000, "{} octets:\n{large}", large.len());
}

fn kdig(client: &Netns, server: IpAddr) {
    let line = format!("kdig @{server} +tcp +retry=0 +timeout=60 +short example.com MX");
    assert_eq!(client.run(&line), "10 mail.example.com.\n");
}

fn drill(client: &Netns, server: IpAddr) {
    let answer = client.run(&format!("drill -t @{server} example.com MX"));
    assert!(answer.contains("rcode: NOERROR") && answer.contains("10 mail.example.com."), "{answer}");
}

fn curl(client: &Netns, server: IpAddr) {
    let host = if server.is_ipv6() { format!("[{server}]") } else { server.to_string() };
    let curl = "curl --silent --show-error --max-time 60 --noproxy * --globoff";
    let large = client.run(&format!("{curl} http://{host}/20k.html"));
    assert_eq!(large.len(), 20_000);
    let head = client.run(&format!("{curl} --head http://{host}/"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let missing =
        client.run(&format!("{curl} --output /dev/null --write-out %{{http_code}} http://{host}/missing"));
    assert_eq!(missing, "404");
}

/// Every connection is answered, whatever queue its frames arrive on, and every queue that the kernel uses has had some.
#[rstest]
#[case::native("native", &[0, 1, 2, 3])]
// A veth tells generic XDP no receive queue but the sender's choice, counted from 1 with 0 for "none": the last is never used.
#[case::generic("generic", &[0, 1, 2])]
fn every_queue_answers(#[case] mode: &str, #[case] expected: &[u32]) {
    let topology = Topology::new(4);
    let responder = Responder::start(&topology, &["--xdp-mode", mode, "-vv", "--xdp-log", "trace"]);
    let port = port(&topology);
    for server in SERVERS {
        for source in 0..CONNECTIONS {
            let mut client = Client::new(&port, 20_000 + source, server, 53, u32::from(source) << 16);
            client.open();
        }
    }
    let queue = |line: &String| -> Option<u32> {
        let (queue, became) = line.split_once("queue ")?.1.split_once(": ")?;
        ["to the socket", "answered"].contains(&became).then(|| queue.parse().ok())?
    };
    let hit = |lines: &[String]| lines.iter().filter_map(queue).collect::<BTreeSet<_>>();
    let expected = expected.iter().copied().collect();
    // Not of every frame: the program's log has room for some hundred between two readings.
    let log = responder.log_until(|lines| hit(lines).is_superset(&expected));
    assert_eq!(hit(&log), expected);
    let counters = responder.stop();
    assert_eq!(counters.get("syn_ack"), 2 * u64::from(CONNECTIONS));
    assert_eq!(counters.get("xdp_served"), 2 * u64::from(CONNECTIONS));
}

/// Three questions in one segment (RFC 7766 section 6.2.1.1): three answers, in that order, and then FIN.
#[test]
fn pipelined_questions_are_answered_in_order() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let port = port(&topology);
    for server in SERVERS {
        let mut client = Client::new(&port, 40_000, server, 53, 1);
        client.open();
        let questions = [(7_u8, "example.com"), (8, "nowhere.example.com"), (9, "example.org")];
        let stream: Vec<u8> =
            questions.iter().flat_map(|(id, name)| query(u16::from(*id), name, A)).collect();
        client.send(&client.segment(flags::PSH | flags::ACK, 1, 1, &stream));
        let reply = client.expect();
        assert_eq!(
            reply.ack,
            client.isn.wrapping_add(1 + u32::try_from(stream.len()).expect("a short stream"))
        );
        assert!(reply.is(flags::FIN | flags::ACK), "{reply}");
        let mut rest = &reply.payload[..];
        for ((id, name), code) in questions.into_iter().zip([NOERROR, NXDOMAIN, REFUSED]) {
            let (length, message) = rest.split_first_chunk().expect("a length");
            let (message, after) = message.split_at(usize::from(u16::from_be_bytes(*length)));
            assert_eq!((&message[..2], message[3] & 0x0f), (&[0, id][..], code), "{name}");
            rest = after;
        }
        assert_eq!(rest, [0; 0], "octets behind the last answer");
    }
    let counters = responder.stop();
    assert_eq!((counters.get("answered"), counters.get("messages")), (2, 6), "{counters:?}");
}
