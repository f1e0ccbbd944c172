//! Many schedules, and of those that fail the one that is easiest to read.

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use super::{
    Failure, Summary, run,
    scenario::{Scenario, Scope},
    tiny,
};

/// Enough failures to tell a rare one from a broken rule.
const MOST_FAILURES: usize = 16;

/// The scenario that a report calls `NAME:NUMBER`.
///
/// # Panics
/// If none is called so.
pub fn draw(name: &str, number: u64) -> Scenario {
    match name {
        "single" => Scenario::draw(number, Scope::Single),
        "many" => Scenario::draw(number, Scope::Many),
        "relayed" => Scenario::draw(number, Scope::Relayed),
        "merging" => Scenario::draw(number, Scope::Merging),
        "tiny" => tiny::draw(number, tiny::depth()),
        _ => panic!("no schedules are called {name:?}"),
    }
}

/// Runs the `count` scenarios from number `first` on, on every core; `name` is what they are called.
///
/// # Panics
/// If one fails: with the numbers of all that were found to, and the shortest trace.
pub fn explore(name: &str, first: u64, count: u64) -> Summary {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let work = move |thread: u64| {
        let mut total = Summary::default();
        let mut failures = Vec::new();
        for index in (thread..count).step_by(usize::try_from(threads).expect("few")) {
            let number = first.wrapping_add(index);
            match catch_unwind(AssertUnwindSafe(|| run(&draw(name, number)))) {
                Ok(Ok(summary)) => total.add(&summary),
                Ok(Err(failure)) => failures.push((number, failure)),
                Err(_) => failures.push((number, Box::new(Failure::panicked()))),
            }
            if failures.len() >= MOST_FAILURES {
                break;
            }
        }
        (total, failures)
    };
    let (mut total, mut failures) = (Summary::default(), Vec::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        for worker in workers {
            let (summary, failed) = worker.join().expect("a worker panicked");
            total.add(&summary);
            failures.extend(failed);
        }
    });
    assert!(failures.is_empty(), "{}", report(name, &failures, total.schedules));
    total
}

fn report(name: &str, failures: &[(u64, Box<Failure>)], passed: u64) -> String {
    let mut text = format!("{} schedules failed, {passed} passed:\n", failures.len());
    for (number, failure) in failures {
        let _ = writeln!(
            text,
            "  schedule {name}:{number} {} ({} lines)",
            failure.what,
            failure.trace.lines().count()
        );
    }
    text.push_str("shown by: cargo run --package stateless-tcp-tests --example schedule NAME:NUMBER\n");
    if let Some((number, failure)) = failures.iter().min_by_key(|(_, failure)| failure.trace.len()) {
        let _ = writeln!(text, "schedule {name}:{number} {failure}");
    }
    text
}
