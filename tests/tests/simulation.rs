//! The protocol explored: every schedule must end with every answer right.
//!
//! A failure names its schedule; `STATELESS_TCP_SCHEDULE=many:123 cargo test --package stateless-tcp-tests --test simulation
//! one_schedule` shows it again.

use std::env;

use stateless_tcp_tests::{
    seed::{seed, size},
    sim::{
        self,
        explore::explore,
        scenario::{Scenario, Scope},
        tiny,
    },
};

/// Segments of a tiny conversation that meet with everything, in a sample and at full size.
const DEPTH: (usize, usize) = (5, 9);

fn depth() -> u32 {
    u32::try_from(size(DEPTH.0, DEPTH.1)).expect("small")
}

fn draw(name: &str, number: u64) -> Scenario {
    match name {
        "single" => Scenario::draw(number, Scope::Single),
        "many" => Scenario::draw(number, Scope::Many),
        "merging" => Scenario::draw(number, Scope::Merging),
        "tiny" => tiny::draw(number, depth()),
        _ => panic!("no schedules are called {name:?}"),
    }
}

/// `STATELESS_TCP_SCHEDULES` is how many are run, if it is not the usual number.
fn sample(name: &str, count: usize, full: usize) {
    let asked = env::var("STATELESS_TCP_SCHEDULES").ok();
    let count = asked.map_or(size(count, full) as u64, |text| text.parse().expect("a number"));
    println!("{name}: {:?}", explore(name, seed(), count, |number| draw(name, number)));
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
fn everything_that_can_happen_to_a_tiny_conversation() {
    let count = tiny::count(depth());
    println!("tiny: {:?}", explore("tiny", 0, count, |number| draw("tiny", number)));
}

#[test]
fn one_schedule() {
    let Ok(schedule) = env::var("STATELESS_TCP_SCHEDULE") else { return };
    let (name, number) = schedule.split_once(':').expect("NAME:NUMBER");
    match sim::run(&draw(name, number.parse().expect("a number"))) {
        Ok(summary) => println!("{summary:?}"),
        Err(failure) => panic!("{failure}"),
    }
}
