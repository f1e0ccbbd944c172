//! Over real XDP, every question is answered as Knot DNS, NSD or BIND answers it over the kernel's TCP, on other ports of
//! the same address.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use stateless_tcp_tests::{
    compare::{Reply, difference},
    exceptions::{Arbiter, arbiter, settle},
    nameserver::{Bind, Knot, Nsd, ask, zones},
    questions::{Question, list},
    responder::Responder,
    topology::{SERVER_V4, SERVERS, Topology},
};

/// At least so many questions, no two alike.
const LEAST: usize = 300;
const PORT: u16 = 53;

/// The address of each of the others.
fn address(of: Arbiter) -> SocketAddr {
    let port = match of {
        Arbiter::Knot => 5301,
        Arbiter::Nsd => 5302,
        Arbiter::Bind => 5303,
    };
    SocketAddr::new(IpAddr::V4(SERVER_V4), port)
}

#[test]
fn every_answer_equals_a_kernel_server_s() {
    let questions = list();
    assert!(questions.len() >= LEAST, "{} questions", questions.len());
    assert_eq!(questions.iter().collect::<HashSet<_>>().len(), questions.len(), "two are alike");

    let topology = Topology::new(1);
    let (zones, namespace) = (zones(), Some(topology.server.name()));
    let _knot = Knot::start(&zones, address(Arbiter::Knot), namespace).expect("start Knot");
    let _nsd = Nsd::start(&zones, address(Arbiter::Nsd), namespace).expect("start NSD");
    let _bind = Bind::start(&zones, address(Arbiter::Bind), namespace).expect("start BIND");
    let files = zones.iter().flat_map(|zone| ["--zone", zone.to_str().expect("a path in UTF-8")]);
    let responder = Responder::start(&topology, &files.collect::<Vec<_>>());

    let differences: Vec<_> = topology
        .client
        .enter(|| (1..).zip(&questions).filter_map(|(id, question)| compare(id, question)).collect());
    assert!(
        differences.is_empty(),
        "{} of {} answers differ:\n{}",
        differences.len(),
        questions.len(),
        differences.join("\n")
    );
    let counters = responder.stop();
    let asked = u64::try_from(SERVERS.len() * questions.len()).expect("a number");
    assert_eq!(counters.get("messages"), asked, "who has answered? {counters:?}");
}

/// Asks us over both families and the arbiter, and says what differs.
fn compare(id: u16, question: &Question) -> Option<String> {
    let query = question.wire(id);
    let [over_v4, over_v6] = SERVERS.map(|server| {
        ask(SocketAddr::new(server, PORT), &query)
            .unwrap_or_else(|error| panic!("{question}: {server}: {error:#}"))
    });
    assert_eq!(over_v4, over_v6, "{question}: the families differ");
    let (arbiter, _) = arbiter(question);
    let theirs =
        ask(address(arbiter), &query).unwrap_or_else(|error| panic!("{question}: {arbiter:?}: {error:#}"));
    let [mut actual, mut expected] = [over_v4, theirs]
        .map(|answer| Reply::parse(&answer).unwrap_or_else(|error| panic!("{question}: {error:#}")));
    settle(question, arbiter, &mut expected, &mut actual);
    difference(&expected, &actual).map(|lines| format!("{question}: not as {arbiter:?} answers\n{lines}"))
}
