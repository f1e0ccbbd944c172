//! Questions relayed over real XDP to real name servers, which answer as if they had been asked directly.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rstest::rstest;
use stateless_tcp_tests::{
    compare::{Record, Reply, difference},
    nameserver::{Bind, Knot, Nsd, Unbound, ask, zones},
    questions::{Question, list},
    responder::Responder,
    topology::{SERVER_V4, SERVERS, Topology},
};

/// Questions that are asked, at least.
const LEAST: usize = 300;
const PORT: u16 = 53;

/// Address of an upstream that the client can ask as well.
const BACK_END: SocketAddr = SocketAddr::new(IpAddr::V4(SERVER_V4), 5301);
/// Address of one that answers for the relay alone.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5301);

#[rstest]
#[case::without_a_cache("0")]
#[case::with_a_cache("1")]
fn clients_are_answered_by_the_back_end(#[case] cache: &str) {
    let topology = Topology::new(2);
    let _nsd = Nsd::start(&zones(), LOCAL, Some(topology.server.name())).expect("start NSD");
    let responder = Responder::start(&topology, &["--dns-relay", &LOCAL.to_string(), "--dns-cache", cache]);
    for server in SERVERS {
        let dig = format!("dig @{server} +tcp +norecurse +tries=1 +time=60");
        let run = |line: &str| topology.client.run(line);
        assert_eq!(run(&format!("{dig} +short mail.plain.example A")), "192.0.2.25\n");
        assert_eq!(run(&format!("{dig} +short MaIl.PlAiN.eXaMpLe AAAA")), "2001:db8::25\n");
        let nothing = run(&format!("{dig} nowhere.plain.example A"));
        assert!(nothing.contains("status: NXDOMAIN") && nothing.contains("SOA"), "{nothing}");
        let signed = run(&format!("{dig} +dnssec +noall +answer nsec3.example DNSKEY"));
        assert!(signed.contains("RRSIG"), "{signed}");
        for refused in ["plain.example AXFR", "plain.example IXFR=1", "elsewhere.test A"] {
            let answer = run(&format!("{dig} {refused}"));
            assert!(answer.contains("REFUSED") || answer.contains("Transfer failed"), "{answer}");
        }
        for opcode in ["notify", "update", "status"] {
            let answer = run(&format!("{dig} +opcode={opcode} plain.example SOA"));
            assert!(answer.contains("status: NOTIMP"), "{answer}");
        }
        // What a client and its neighbour say to each other, the relay says itself.
        let options = run(&format!("{dig} +cookie=0123456789abcdef +keepalive +nsid plain.example SOA"));
        assert!(options.contains("(good)") && options.contains("TCP KEEPALIVE: 120.0 secs"), "{options}");
        let plain = run(&format!("{dig} +noedns plain.example SOA"));
        assert!(plain.contains("status: NOERROR") && !plain.contains("EDNS"), "{plain}");
        let kdig = run(&format!("kdig @{server} +tcp +retry=0 +timeout=60 +short plain.example MX"));
        assert!(kdig.contains("10 mail.plain.example."), "{kdig}");
        let drill = run(&format!("drill -t @{server} plain.example MX"));
        assert!(drill.contains("rcode: NOERROR") && drill.contains("10 mail.plain.example."), "{drill}");
    }
    let counters = responder.stop();
    let (hits, answers) = (counters.get("dns_cache_hits"), counters.get("dns_relay_answers"));
    assert_eq!(hits > 0, cache != "0", "{counters:?}");
    assert!(answers > 0, "{counters:?}");
}

/// Which server, and how the relay hears it.
#[derive(Clone, Copy, Debug)]
enum UpstreamKind {
    Knot,
    Nsd,
    Bind,
    Unbound,
}

#[rstest]
fn every_answer_equals_the_back_end_s_own(
    #[values(UpstreamKind::Knot, UpstreamKind::Nsd, UpstreamKind::Bind, UpstreamKind::Unbound)]
    kind: UpstreamKind,
    #[values(512, 1_232)] payload: u16,
) {
    let questions = list();
    assert!(questions.len() >= LEAST, "{} questions", questions.len());
    let topology = Topology::new(1);
    let (zones, namespace) = (zones(), Some(topology.server.name()));
    let _server: Box<dyn std::any::Any> = match kind {
        UpstreamKind::Knot => Box::new(Knot::start(&zones, BACK_END, namespace).expect("start Knot")),
        UpstreamKind::Nsd => Box::new(Nsd::start(&zones, BACK_END, namespace).expect("start NSD")),
        UpstreamKind::Bind => Box::new(Bind::start(&zones, BACK_END, namespace).expect("start BIND")),
        UpstreamKind::Unbound => {
            Box::new(Unbound::start(&zones, BACK_END, namespace).expect("start Unbound"))
        }
    };
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = format!("[[dns.relay]]\naddress = \"{BACK_END}\"\nedns-payload = {payload}\n");
    std::fs::write(file.path(), text).expect("write the configuration");
    let responder =
        Responder::start(&topology, &["--config", file.path().to_str().expect("a path in UTF-8")]);
    // Each question over both families: the second answer, of most, is the cache's.
    let differences: Vec<_> = topology.client.enter(|| {
        (1..)
            .zip(&questions)
            .flat_map(|(id, question)| SERVERS.map(|server| (id, question, server)))
            .filter_map(|(id, question, server)| compare(id, question, server, payload))
            .collect()
    });
    let asked = SERVERS.len() * questions.len();
    assert!(
        differences.is_empty(),
        "{} of {asked} answers differ from {kind:?}'s:\n{}",
        differences.len(),
        differences.join("\n")
    );
    let counters = responder.stop();
    println!("{kind:?}: {counters:?}");
    // A client that waits for long sends its question again.
    assert!(counters.get("messages") >= asked as u64, "who has answered? {counters:?}");
    assert!(counters.get("dns_cache_hits") > asked as u64 / 4, "{counters:?}");
    assert_eq!(counters.get("dns_relay_over_tcp") > 0, payload == 512, "{counters:?}");
    for none in ["timed_out", "late", "forged", "malformed", "failed", "tcp_failed"] {
        assert_eq!(counters.get(&format!("dns_relay_{none}")), 0, "{counters:?}");
    }
}

/// Asks the relay and the back end, and says what differs.
fn compare(id: u16, question: &Question, server: IpAddr, payload: u16) -> Option<String> {
    let query = question.wire(id);
    let [mut actual, mut expected] = [SocketAddr::new(server, PORT), BACK_END].map(|address| {
        let answer = ask(address, &query).unwrap_or_else(|error| panic!("{question}: {address}: {error:#}"));
        Reply::parse(&answer).unwrap_or_else(|error| panic!("{question}: {address}: {error:#}"))
    });
    if payload < 1_232 {
        leave_out(&mut expected, &actual);
    }
    // Time passes between the two.
    for (section, records) in actual.sections.iter_mut().enumerate() {
        for record in records {
            let aged = |other: &&Record| Record { ttl: other.ttl, ..record.clone() }.is(other);
            let Some(other) = expected.sections[section].iter().find(aged) else { continue };
            if record.ttl <= other.ttl && other.ttl - record.ttl < 30 {
                record.ttl = other.ttl;
            }
        }
    }
    difference(&expected, &actual).map(|lines| format!("{question}: by {server}\n{lines}"))
}

/// Takes out of an answer what a server leaves out of a datagram without saying that it is truncated, if it is not in the
/// other: additional records (RFC 2181 section 9), and the NS records that nobody has asked for.
fn leave_out(expected: &mut Reply, actual: &Reply) {
    let [answer, authority, additional] = &mut expected.sections;
    let among = |records: &[Record], record: &Record| {
        records.iter().any(|other| Record { ttl: other.ttl, ..record.clone() }.is(other))
    };
    additional.retain(|record| among(&actual.sections[2], record));
    let optional = |record: &Record| record.text.starts_with("NS ") || record.text.starts_with("RRSIG NS ");
    if !answer.is_empty() {
        authority.retain(|record| !optional(record) || among(&actual.sections[1], record));
    }
}

/// dnsperf as it comes, and with a question a connection: all are answered, by a few questions that the back end got.
#[rstest]
#[case::as_it_comes(&[])]
#[case::a_question_a_connection(&["-O", "num-queries-per-conn=1"])]
fn dnsperf_gets_all_answers(#[case] options: &[&str]) {
    const QUERIES: u32 = 2_000;
    let topology = Topology::new(1);
    let _nsd = Nsd::start(&zones(), LOCAL, Some(topology.server.name())).expect("start NSD");
    let responder = Responder::start(&topology, &["--dns-relay", &LOCAL.to_string()]);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let questions: Vec<String> = (0..200).map(|number| format!("n{number}.wild.plain.example A\n")).collect();
    std::fs::write(file.path(), questions.concat()).expect("write the questions");
    let path = file.path().display();
    let output = topology.client.run(&format!(
        "dnsperf -m tcp -s {SERVER_V4} -d {path} -n {} -c 8 -q 32 {}",
        QUERIES / 200,
        options.join(" ")
    ));
    assert!(output.contains(&format!("Queries completed:    {QUERIES} (100.00%)")), "{output}");
    assert!(output.contains("NOERROR 2000 (100.00%)"), "{output}");
    let counters = responder.stop();
    assert_eq!(counters.get("dns_relay_answers"), 200, "no question is asked twice: {counters:?}");
}
