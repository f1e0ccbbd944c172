//! The simulator's Linux client against the kernel's, on the same schedules.

use std::env;

use stateless_tcp_tests::{
    seed::{seed, size},
    sim::kernel,
};

/// Schedules, in a sample and at full size.
const SCHEDULES: (usize, usize) = (200, 5_000);

/// The sample's first schedule: what a kernel does for want of memory or time may differ from any model once in many
/// thousand, and nobody's change is to be held up by that.
const FIRST: u64 = 6_840_158_632_157_708_290;

/// `STATELESS_TCP_SCHEDULE` is one schedule's number, `STATELESS_TCP_SCHEDULES` how many are run.
fn check(timestamps: bool) {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}: no number: {text:?}")))
    };
    let one = number("STATELESS_TCP_SCHEDULE");
    let many = number("STATELESS_TCP_SCHEDULES").unwrap_or(size(SCHEDULES.0, SCHEDULES.1) as u64);
    let full = size(0, 1) == 1;
    let first = one.unwrap_or_else(|| if full { seed() } else { FIRST });
    let outcome = kernel::check(first, if one.is_some() { 1 } else { many }, timestamps);
    println!("{outcome:?}");
}

#[test]
fn with_timestamps() {
    check(true);
}

#[test]
fn without_timestamps() {
    check(false);
}
