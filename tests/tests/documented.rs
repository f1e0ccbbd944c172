//! What the documentation says of drivers and kernels is what is tried on them, and every command in it is run.

use std::fs;
use std::path::{Path, PathBuf};

use rstest::rstest;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::SteeringReason;
use stateless_tcp_tests::handbook::player::Player;
use stateless_tcp_tests::handbook::text::{Block, blocks, is_as_shown, named_commands};
use stateless_tcp_tests::handbook::{
    DOCUMENTS, GIVEN, Given, OPERATIONS, PROGRAMS, README, RUN, Runner, ZONES, plan,
};
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::Topology;
use stateless_tcp_tests::vm::EXPECTED;

/// Other words in the form of counters: events of sockets, parts of cards' names for theirs, words of the program.
const OTHERS: [&str; 7] = ["rx_ring_full", "rx_dropped", "xdp_tx", "drop", "err", "ready", "doctor"];

/// The service of the handbook's machine.
const SERVE: &str = "stateless-tcp run --config /etc/stateless-tcp/config.toml";

/// The belongings of README.md's reader: the files that it names, and its toolchain.
const READER: &str = r#"
ip address replace 192.0.2.53/32 dev eth0
ip address replace 2001:db8::53/128 dev eth0 nodad
mkdir -p /etc/zones /srv/www /etc/stateless-tcp target/release
for zone in org net; do
    printf '%s\n' "example.$zone. 3600 IN SOA ns.example.$zone. hostmaster.example.$zone. 1 3600 900 86400 300" \
        "example.$zone. 3600 IN NS ns.example.$zone." "www.example.$zone. 300 IN A 192.0.2.80" > "/etc/zones/example.$zone.zone"
done
cp /etc/zones/example.org.zone .
echo served > /srv/www/index.html
printf '#!/bin/sh\nexec "$@"\n' > /run/bin/sudo
printf '#!/bin/sh\ncase "$*" in\n"xtask setup --for build") ;;\n"build --release") exec ln -s /run/bin/stateless-tcp target/release/stateless-tcp ;;\n*) exit 1 ;;\nesac\n' > /run/bin/cargo
chmod +x /run/bin/sudo /run/bin/cargo
"#;

#[test]
fn drivers_and_kernels_are_those_tried() {
    let (_, table) = OPERATIONS.split_once("| driver | kernel |").expect("the table");
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows, EXPECTED.map(|expected| expected.to_string()));
}

#[test]
fn somebody_runs_every_command() {
    let plans = DOCUMENTS.map(|(name, source)| (name, plan(name, source)));
    for (document, section, _) in RUN {
        let (_, plan) = plans.iter().find(|(name, _)| name == document).expect("a document");
        assert!(
            plan.iter().any(|(block, _)| block.section == *section),
            "{document} has no commands in {section:?}"
        );
    }
}

#[test]
fn prose_names_only_commands_that_are_run() {
    let run: Vec<Block> = DOCUMENTS.iter().flat_map(|(_, source)| blocks(source)).collect();
    let is_run = |command: &&str| run.iter().any(|block| block.commands.contains(command));
    let others: Vec<&str> =
        named_commands(OPERATIONS, PROGRAMS).into_iter().filter(|command| !is_run(command)).collect();
    assert!(others.is_empty(), "in no block: {others:#?}");
}

/// The commands of docs/operations.md that make what is to be served.
fn given() -> String {
    let blocks = blocks(OPERATIONS);
    let given: String =
        blocks.iter().filter(|block| block.section == GIVEN).map(|block| &*block.commands).collect();
    assert!(!given.is_empty(), "nothing says what is to be served");
    given
}

#[test]
fn operations_work_as_described() {
    play("docs/operations.md", OPERATIONS, Player::new(2), &given());
}

#[test]
fn zones_are_checked_as_described() {
    let player = Player::new(2);
    player.prepare(&given());
    play("docs/zones.md", ZONES, player, &given());
}

#[test]
fn the_readme_works_as_described() {
    let player = Player::new(4);
    player.prepare(READER);
    let configuration = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let configuration = configuration.expect("an example of a configuration");
    let given = format!("cat > /etc/stateless-tcp/config.toml <<'END'\n{configuration}END");
    play("README.md", README, player, &given);
}

/// The part of docs/operations.md that explains counters.
fn counters() -> &'static str {
    let (_, counters) = OPERATIONS.split_once("## Counters").expect("counters");
    counters.split_once("\n## ").expect("something after them").0
}

#[test]
fn every_counter_is_explained() {
    let names = Outcome::ALL.iter().map(|counter| counter.name());
    let names = names.chain(SteeringReason::ALL.iter().map(|reason| reason.name()));
    let missing: Vec<_> = names.filter(|name| !counters().contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn symptoms_are_seen_in_counters_that_there_are() {
    let (_, symptoms) = OPERATIONS.split_once("### By symptom").expect("symptoms");
    let (symptoms, _) = symptoms.split_once("\n## ").expect("something after them");
    let is_word = |span: &&str| span.chars().all(|one| one.is_ascii_lowercase() || one == '_');
    let is_other = |span: &&str| span.starts_with("stateless_tcp_") || OTHERS.contains(span);
    let names = symptoms.split('`').skip(1).step_by(2).filter(is_word).filter(|span| !is_other(span));
    let unknown: Vec<_> = names.filter(|name| !counters().contains(&format!("`{name}`"))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Each message of the table, or a part of it between two `…`, stands in the sources of the program.
#[test]
fn messages_are_those_of_the_program() {
    let (_, messages) = OPERATIONS.split_once("## Messages").expect("messages");
    let rows = messages.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row[1..].split_once("` ").expect("a message in the first cell").0.trim());
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../stateless-tcp/src"));
    // A long literal is cut by a backslash, behind which the next line's indentation does not count.
    let cut = |(index, part): (usize, &str)| {
        if index == 0 { part.to_owned() } else { part.trim_start().to_owned() }
    };
    let sources: String = sources.split("\\\n").enumerate().map(cut).collect();
    let is_known = |message: &&str| {
        message
            .trim_matches('`')
            .split('…')
            .any(|part| part.len() >= 8 && sources.contains(part.trim_matches([' ', ':'])))
    };
    let (known, unknown): (Vec<_>, Vec<_>) = cells.partition(is_known);
    assert!(known.len() > 10, "{known:?}");
    assert!(unknown.is_empty(), "the program says none of these: {unknown:#?}");
}

/// All Rust sources below a directory.
fn sources(directory: &Path) -> String {
    let entries =
        fs::read_dir(directory).expect("read a directory").map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| match path.extension() {
        None => sources(&path),
        Some(_) => fs::read_to_string(path).expect("read a source"),
    };
    entries.map(read).collect()
}

/// In KiB, of a build of any kind.
#[test]
fn a_queue_takes_as_much_memory_as_is_said() {
    assert!(OPERATIONS.contains("| a queue | 17 MiB,"), "it is said");
    let [one, three] = [1, 3].map(|queues| {
        let topology = Topology::new(queues);
        Responder::start(&topology, &[]).resident()
    });
    let queue = (three - one) / 2;
    assert!((16 * 1024..18 * 1024).contains(&queue), "a queue takes {queue} KiB");
}

/// Plays what is played on a link. What serves already when a section begins is what `given` makes.
fn play(name: &str, source: &str, mut player: Player, given: &str) {
    let mut section = String::new();
    for (block, runner) in plan(name, source) {
        let Runner::Link(state) = runner else { continue };
        if block.section != section {
            match state {
                Given::Quiet => player.stop(),
                Given::Serving if player.serves_by(SERVE) => {}
                Given::Serving => {
                    player.prepare(given);
                    player.serve(SERVE);
                }
            }
            section.clone_from(&block.section);
        }
        player.play(name, &block);
    }
    player.stop();
}

#[rstest]
#[case::same("a\nb\n", "a\nb\n", true)]
#[case::another("a\nb\n", "a\nc\n", false)]
#[case::less("a\n", "a\nb\n", false)]
#[case::more("a\nb\n", "a\n", false)]
#[case::part_of_a_line("it took 17 ms, or so\n", "it took … ms…\n", true)]
#[case::another_part("it took 17 s\n", "it took … ms\n", false)]
#[case::nothing("it took ms\n", "it took …ms\n", true)]
#[case::lines("a\nb\nc\nd\n", "a\n…\nd\n", true)]
#[case::no_lines("a\nd\n", "a\n…\nd\n", true)]
#[case::not_the_end("a\nb\nc\n", "a\n…\nb\n", false)]
fn what_is_shown_is_compared(#[case] output: &str, #[case] shown: &str, #[case] same: bool) {
    assert_eq!(is_as_shown(output, shown), same);
}
