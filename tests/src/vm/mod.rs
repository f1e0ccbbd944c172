//! The acceptance set on the driver of a network card, inside a virtual machine that `cargo xtask test --vm` starts.
//!
//! The program is the machine's first process. It loads the modules, runs each case as a process of its own, which may
//! take so long, and says on the console `vm: plan N`, then `vm: ok CASE` or `vm: not ok CASE: REASON` as often; what
//! a case wrote stands before that. Then it switches the machine off.

mod cases;
mod expect;
mod init;

pub use expect::{EXPECTED, Expected};

/// Runs the case named as the first argument; without one, the machine.
pub fn main() {
    match std::env::args().nth(1) {
        Some(name) => {
            let case = cases::CASES.iter().find(|(known, _)| *known == name);
            let (_, case) = case.unwrap_or_else(|| panic!("there is no case {name}"));
            case();
        }
        None => init::run(cases::CASES.iter().map(|(name, _)| *name)),
    }
}
