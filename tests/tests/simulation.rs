//! The protocol explored: every schedule must end with every answer right.
//!
//! Each run explores other schedules, from the seed that it prints on. A failure names its schedule: `cargo run --package
//! stateless-tcp-tests --example schedule many:123` shows it again.

use std::env;

use stateless_tcp_tests::{
    seed::{seed, size},
    sim::{
        self,
        application::Ending,
        explore::{draw, explore},
        scenario::{Scenario, Scope},
        tiny,
    },
};

/// Schedules that were hard, each with what is said of it if it is not solved.
const HARD: [(&str, u64, Option<&str>); 5] = [
    // A hint gives a promise that PAWS refuses.
    ("many", 1_003_315_046, None),
    // A client that reads slowly sends probes behind our FIN.
    ("many", 2_000_565_208, None),
    // One octet more than is echoed is taken for our FIN.
    ("merging", 12_314_947_580_506_359_583, Some("deadlock: ")),
    ("merging", 8_328_750_471_681_235_549, Some("no end: 0 of 2 questions answered")),
    // What was sent on hints is acknowledged, and nobody remembers it.
    ("many", 2_001_094_309, Some("no end: 17 of 20 questions answered")),
];

/// `STATELESS_TCP_SCHEDULES` is how many are run, if it is not the usual number.
fn sample(name: &str, count: usize, full: usize) {
    let asked = env::var("STATELESS_TCP_SCHEDULES").ok();
    let count = asked.map_or(size(count, full) as u64, |text| text.parse().expect("a number"));
    println!("{name}: {:?}", explore(name, seed(), count));
}

#[test]
fn one_request_a_connection() {
    sample("single", 50_000, 1_000_000);
}

#[test]
fn many_requests_a_connection() {
    sample("many", 200_000, 10_000_000);
}

#[test]
fn merged_segments() {
    sample("merging", 50_000, 1_000_000);
}

#[test]
fn answers_that_take_their_time() {
    sample("relayed", 50_000, 1_000_000);
}

#[test]
fn everything_that_can_happen_to_a_tiny_conversation() {
    println!("tiny: {:?}", explore("tiny", 0, tiny::count(tiny::depth())));
}

/// Whatever is remembered of connections, too little of it, and noise: the same octets arrive.
#[test]
fn nothing_depends_on_what_is_remembered() {
    let first = seed();
    let mut compared = 0;
    for number in (0..size(20_000, 500_000) as u64).map(|index| first.wrapping_add(index)) {
        let drawn = Scenario::draw(number, Scope::Many);
        // Only there are plans drawn for memories that fail.
        let fails = drawn.hints > 0 && (drawn.servers > 1 || drawn.poison > 0);
        if !fails || !matches!(drawn.plan.ending, Ending::Close | Ending::HalfClose) {
            continue;
        }
        let received = |(hints, poison)| {
            let scenario = Scenario { hints, poison, reloads: Vec::new(), ..drawn.clone() };
            let received = sim::received(&scenario);
            received.unwrap_or_else(|what| panic!("many:{number} hints {hints} poison {poison}: {what}"))
        };
        let [none, others @ ..] = [(0, 0), (1, 0), (64, 0), (64, 3)].map(received);
        for other in others {
            assert!(other == none, "many:{number}: other octets arrive");
        }
        compared += 1;
    }
    println!("{compared} schedules compared");
    assert!(compared > 0);
}

/// Who solves one of those that are not solved is told so, and strikes it out.
#[test]
fn hard_schedules_end_as_they_are_known_to() {
    for (name, number, unsolved) in HARD {
        match (sim::run(&draw(name, number)), unsolved) {
            (Ok(_), None) => {}
            (Err(failure), Some(words)) if failure.what.contains(words) => {}
            (Ok(summary), Some(words)) => {
                panic!("{name}:{number} is solved, strike out {words:?}: {summary:?}")
            }
            (Err(failure), _) => panic!("{name}:{number} {failure}"),
        }
    }
}

/// A schedule is its number and nothing else: what a report names comes again.
#[test]
fn one_schedule_comes_again() {
    for name in ["single", "many", "relayed", "merging"] {
        for number in (0..500).map(|index| seed().wrapping_add(index)) {
            let [first, again] =
                [(), ()].map(|()| sim::run(&draw(name, number)).map_err(|failure| failure.what));
            assert_eq!(first, again, "{name}:{number}");
        }
    }
}
