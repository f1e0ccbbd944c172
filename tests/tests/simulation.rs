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

/// Schedules that once failed.
const HARD: [(&str, u64); 8] = [
    // A hint gives a promise that PAWS refuses.
    ("many", 1_003_315_046),
    // A client that reads slowly sends probes behind our FIN.
    ("many", 2_000_565_208),
    // One byte more than is echoed looks like our FIN. In the second schedule the client half-closes.
    ("merging", 12_314_947_580_506_359_583),
    ("merging", 81_000_001_057_990),
    // Parts of a message are merged under way, and sent again by themselves: behind a part that is kept, or a length.
    ("merging", 8_328_750_471_681_235_549),
    ("merging", 81_000_002_204_707),
    // What was sent on hints is acknowledged, and nobody remembers it.
    ("many", 2_001_094_309),
    ("merging", 81_000_001_842_709),
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

/// Whatever is remembered of connections, too little of it, and noise: the same bytes arrive.
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

#[test]
fn hard_schedules_end_with_every_answer_right() {
    for (name, number) in HARD {
        if let Err(failure) = sim::run(&draw(name, number)) {
            panic!("{name}:{number} {failure}");
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
