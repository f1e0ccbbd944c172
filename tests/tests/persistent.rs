//! Many questions on each of many connections, over a path that loses, repeats and reorders: every byte is right, and
//! no connection fails while its client still tries.

use std::time::Duration;

use rstest::rstest;
use stateless_tcp_tests::load::{self, Catalogue, LONGEST};
use stateless_tcp_tests::lossy_network::{DNS, LossyNetwork, Trouble};
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::seed::{Random, size};
use stateless_tcp_tests::topology::INTERFACE;

/// Segments of the longest answer above 10 % loss.
const SHORT: usize = 5;

#[rstest]
#[case::clean(0)]
#[case::one_in_a_hundred(1)]
#[case::five(5)]
#[case::ten(10)]
#[case::twenty(20)]
#[case::thirty(30)]
fn every_question_is_answered_with_the_right_bytes(#[case] lost: u32) {
    let mut path = LossyNetwork::new(1);
    let zone = tempfile::Builder::new().suffix(".zone").tempfile().expect("a temporary file");
    std::fs::write(zone.path(), load::zone(LONGEST)).expect("write the zone");
    let zone = zone.path().to_str().expect("a path in UTF-8");
    let run = ["run", "-i", INTERFACE, "--zone", zone];
    let responder = Responder::try_start(&path.servers[0], 1, &run).expect("it starts");

    let largest = if lost > 10 { SHORT } else { LONGEST };
    let catalogue = Catalogue::fetch(&path.client, DNS, largest);
    let sample = size(0, 1) == 0;
    if sample {
        path.hasten();
    } else {
        path.persevere();
    }
    path.disturb(Trouble::with_loss(lost));
    let mut random = Random::new(&format!("load at {lost} % loss"));
    // From 5 % on, most of the time is spent waiting for the client's timers.
    let questions = match (sample, lost) {
        (false, _) => 20,
        (true, ..5) => 10,
        (true, _) => 5,
    };
    let plans = load::plans(&mut random, size(30, 2_000), questions, largest);
    let patience = Duration::from_secs(if sample { 300 } else { 1_000 });
    let outcome = load::run(&path.client, DNS, &catalogue, &plans, size(40, 500), patience);
    println!(
        "{lost} % lost: {} connections, {} answers, median {:?}, 90 % {:?}, {} clients gave up; \
         packets lost {}, repeated {}, delayed {}; {:?}",
        plans.len(),
        outcome.answered,
        outcome.percentile(50),
        outcome.percentile(90),
        outcome.given_up.len(),
        path.counted("lost"),
        path.counted("repeated"),
        path.counted("delayed"),
        responder.counters().counters
    );
    outcome.assert_good();
    for what in ["repeated", "delayed"] {
        assert!(path.counted(what) > 0, "the path is good: no packet was {what}");
    }
    assert_eq!(path.counted("lost") > 0, lost > 0, "packets lost");
    responder.stop();
}
