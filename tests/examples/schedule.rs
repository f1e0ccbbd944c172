//! Runs one schedule of the simulation, by the name that a failure gives it (`many:123`): what it came to, or what went
//! wrong and every segment up to there.

use std::process::ExitCode;

use stateless_tcp_tests::sim::{explore::draw, run};

fn main() -> ExitCode {
    let schedule = std::env::args().nth(1).unwrap_or_default();
    let Some((name, Ok(number))) = schedule.split_once(':').map(|(name, number)| (name, number.parse()))
    else {
        eprintln!("which schedule? NAME:NUMBER, as in many:123");
        return ExitCode::from(2);
    };
    match run(&draw(name, number)) {
        Ok(summary) => {
            println!("{summary:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
