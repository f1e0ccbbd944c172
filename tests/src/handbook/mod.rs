//! The commands of the documents, read and run: what an operator is told to type works, and prints what it is said to.
//!
//! [`text`] reads them, [`RUN`] says who runs those of each section, and a [`player::Player`] runs those that want a machine
//! that serves and another one.

pub mod machine;
pub mod player;
pub mod text;

use text::{Block, blocks};

/// docs/operations.md
pub const OPERATIONS: &str = include_str!("../../../docs/operations.md");
/// docs/zones.md
pub const ZONES: &str = include_str!("../../../docs/zones.md");
/// README.md
pub const README: &str = include_str!("../../../README.md");

/// The state of a machine before a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Nothing serves on it.
    Quiet,
    /// What `/etc/stateless-tcp/config.toml` says is served.
    Serving,
}

/// The machine that runs the commands of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// `tests/tests/documented.rs`, on a veth pair.
    Link(Given),
    /// The case `handbook` of the virtual machines, on a card.
    Card,
    /// Something else, by its name.
    Other(&'static str),
}

/// The section of docs/operations.md that says what is served in those after it.
pub const GIVEN: &str = "2. Add an address and content";

/// Document, section, and who runs its commands. Every section that has some is named.
pub const RUN: &[(&str, &str, Runner)] = &[
    ("README.md", "Install", Runner::Link(Given::Quiet)),
    ("README.md", "Run", Runner::Link(Given::Quiet)),
    ("README.md", "Stop", Runner::Link(Given::Serving)),
    ("README.md", "Try it without a network card", Runner::Other("continuous integration")),
    ("README.md", "Configuration", Runner::Link(Given::Serving)),
    ("docs/operations.md", "1. Examine the interface", Runner::Link(Given::Quiet)),
    ("docs/operations.md", GIVEN, Runner::Link(Given::Quiet)),
    ("docs/operations.md", "3. Run it", Runner::Link(Given::Quiet)),
    ("docs/operations.md", "4. Query it", Runner::Link(Given::Serving)),
    ("docs/operations.md", "5. See its counters and packets", Runner::Link(Given::Serving)),
    ("docs/operations.md", "6. Change something", Runner::Link(Given::Serving)),
    ("docs/operations.md", "7. Stop it", Runner::Link(Given::Serving)),
    ("docs/operations.md", "Queues, interrupts and rings", Runner::Card),
    ("docs/operations.md", "MTU and offloads", Runner::Link(Given::Quiet)),
    ("docs/operations.md", "Memory and limits", Runner::Link(Given::Serving)),
    ("docs/operations.md", "First checks", Runner::Link(Given::Serving)),
    ("docs/operations.md", "Stop", Runner::Link(Given::Serving)),
    ("docs/operations.md", "Kill", Runner::Link(Given::Serving)),
    ("docs/operations.md", "Undo", Runner::Link(Given::Quiet)),
    ("docs/operations.md", "Coalescing", Runner::Link(Given::Quiet)),
    ("docs/operations.md", "Restarting without a gap", Runner::Other("handover, package")),
    ("docs/operations.md", "Rotating keys", Runner::Link(Given::Serving)),
    ("docs/operations.md", "Health check", Runner::Link(Given::Serving)),
    ("docs/operations.md", "Beside a name server on UDP", Runner::Link(Given::Quiet)),
    ("docs/operations.md", "Who is answering", Runner::Link(Given::Serving)),
    ("docs/operations.md", "Relaying DNS", Runner::Link(Given::Quiet)),
    ("docs/operations.md", "Metrics", Runner::Link(Given::Quiet)),
    ("docs/operations.md", "Tracing", Runner::Link(Given::Serving)),
    ("docs/operations.md", "dnstap", Runner::Other("dnstap")),
    ("docs/zones.md", "Checking a zone", Runner::Link(Given::Quiet)),
];

/// Programs whose commands stand in blocks, and in prose only if they do.
pub const PROGRAMS: &[&str] = &[
    "chmod",
    "curl",
    "dig",
    "echo",
    "ethtool",
    "grep",
    "ip",
    "kill",
    "mkdir",
    "openssl",
    "pkill",
    "rm",
    "setpriv",
    "stateless-tcp",
    "sudo",
    "sysctl",
    "systemctl",
    "ulimit",
];

/// The documents by their names.
pub const DOCUMENTS: [(&str, &str); 3] =
    [("README.md", README), ("docs/operations.md", OPERATIONS), ("docs/zones.md", ZONES)];

/// The machine that runs the commands of this section, if that is said.
pub fn runner(document: &str, section: &str) -> Option<Runner> {
    let of = |(name, heading, _): &&(&str, &str, Runner)| (*name, *heading) == (document, section);
    RUN.iter().find(of).map(|&(.., runner)| runner)
}

/// The blocks of a document, each with who runs it.
///
/// # Panics
/// Where nobody is named.
pub fn plan(document: &str, source: &str) -> Vec<(Block, Runner)> {
    let named = |block: Block| {
        let runner = runner(document, &block.section);
        let unnamed = format!("{document}:{}: nobody runs the commands of {:?}", block.line, block.section);
        (block, runner.expect(&unnamed))
    };
    blocks(source).into_iter().map(named).collect()
}
