//! Servers that share a key are one server: each packet of a connection may go to any of them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rstest::rstest;
use stateless_tcp_tests::load::{self, Catalogue, LONGEST};
use stateless_tcp_tests::lossy_network::{DNS, LossyNetwork, Trouble};
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::seed::{Random, size};
use stateless_tcp_tests::topology::INTERFACE;

const SERVERS: usize = 2;

#[rstest]
#[case::clean(0)]
#[case::five_in_a_hundred(5)]
fn two_servers_answer_as_one(#[case] lost: u32) {
    let mut path = LossyNetwork::new(SERVERS);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let (zone, key) = (file("load.zone"), file("key"));
    std::fs::write(&zone, load::zone(LONGEST)).expect("write the zone");
    std::fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").expect("write the key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("keep the key to ourselves");
    let run = ["run", "-i", INTERFACE, "--zone", &zone, "--key-file", &key];
    let responders: Vec<_> =
        path.servers.iter().map(|server| Responder::try_start(server, 1, &run).expect("it starts")).collect();

    let catalogue = Catalogue::fetch(&path.client, DNS, LONGEST);
    let sample = size(0, 1) == 0;
    if sample {
        path.hasten();
    } else {
        path.persevere();
    }
    path.disturb(if lost > 0 { Trouble::with_loss(lost) } else { Trouble::default() });
    let before: Vec<_> = responders.iter().map(Responder::counters).collect();
    let questions = if sample { 8 } else { 20 };
    let plans = load::plans(
        &mut Random::new(&format!("two servers at {lost} %")),
        size(30, 2_000),
        questions,
        LONGEST,
    );
    let patience = Duration::from_secs(if sample { 300 } else { 1_000 });
    let outcome = load::run(&path.client, DNS, &catalogue, &plans, size(40, 500), patience);
    println!(
        "{lost} % lost: {} connections, {} answers, median {:?}, 90 % {:?}, {} clients gave up",
        plans.len(),
        outcome.answered,
        outcome.percentile(50),
        outcome.percentile(90),
        outcome.given_up.len()
    );
    outcome.assert_good();
    // Packets were spread: each server saw more than a third of them, so that hardly a connection was one server's alone.
    let seen: Vec<u64> = responders
        .iter()
        .zip(&before)
        .map(|(responder, before)| responder.counters().since(before)["received"])
        .collect();
    assert!(seen.iter().all(|&one| one > seen.iter().sum::<u64>() / 3), "packets by server: {seen:?}");
    for responder in responders {
        // A client would not even notice: what one server refuses, it sends again, to the other.
        assert_eq!(responder.stop().get("bad_cookie"), 0, "one server's connections are the other's");
    }
}
