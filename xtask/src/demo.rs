//! `cargo xtask demo`: the responder answering real clients, and what went over the wire.
//!
//! All of it happens in namespaces of its own (network, mount, process), which exist only as long as the demo's first
//! process does: however the demo ends, the kernel removes every trace of it.

mod capture;
mod ladder;
mod stage;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::unistd::geteuid;

use crate::process::{describe, read};
use crate::run::build_release;
use crate::setup::{self, Need, find_program};
use capture::{Packet, Side};
use stage::{SERVER_V4, SERVER_V6, Stage};

/// The command's options.
#[derive(Args)]
pub(crate) struct DemoOptions {
    /// Show this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// In namespaces already: how the demo calls itself
    #[arg(long, hide = true, requires = "binary")]
    inside: bool,
}

/// A question that is asked over IPv4 and IPv6, and what its answer must show.
struct Question {
    about: &'static str,
    arguments: &'static [&'static str],
    least_answers: usize,
    least_bytes: usize,
    record: &'static str,
}

const QUESTIONS: [Question; 3] = [
    Question {
        about: "One address",
        arguments: &["www.example.com", "A"],
        least_answers: 1,
        least_bytes: 0,
        record: "\tA\t",
    },
    Question {
        about: "Everything about a name",
        arguments: &["example.com", "ANY"],
        least_answers: 6,
        least_bytes: 0,
        record: "\tSOA\t",
    },
    Question {
        about: "The same with its signatures: too large for UDP, several segments here",
        arguments: &["example.com", "ANY", "+dnssec"],
        least_answers: 10,
        least_bytes: 2_000,
        record: "\tRRSIG\t",
    },
];

/// Prepares the machine, builds, and plays the demo in namespaces of its own.
pub(crate) fn demo(options: &DemoOptions) -> Result<()> {
    if let (true, Some(binary)) = (options.inside, &options.binary) {
        return play(binary);
    }
    setup::ensure(Need::Demo)?;
    let binary = match &options.binary {
        Some(binary) => fs::canonicalize(binary).with_context(|| format!("finding {}", binary.display()))?,
        None => build_release()?,
    };
    // setpriv: die with this process. unshare: the first process dies with unshare, and everything else with it.
    let mut words: Vec<&str> = Vec::new();
    if !geteuid().is_root() {
        if find_program("sudo").is_none() {
            bail!("only root may create network namespaces, and there is no sudo: run this command as root");
        }
        words.extend(["sudo", "--"]);
    }
    words.extend(["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--pid"]);
    words.extend(["--mount-proc", "--fork", "--kill-child", "--"]);
    let this = std::env::current_exe().context("finding this program's own file")?;
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(this).args(["demo", "--inside", "--binary"]).arg(&binary);
    let status = command.status().with_context(|| format!("starting {}", describe(&command)))?;
    match status.code() {
        Some(0) => Ok(()),
        // It has said why.
        Some(code) => std::process::exit(code),
        None => bail!("the demo was ended ({status})"),
    }
}

/// The demo itself, as the first process of its namespaces.
fn play(binary: &Path) -> Result<()> {
    // A first process ignores what it does not handle.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            Arc::new(AtomicBool::new(true)),
        )?;
    }
    let stage = Stage::build()?;
    println!("A client and a server, each in a network namespace of its own, joined by a virtual cable:");
    println!("  client 192.0.2.1, 2001:db8::1   ──────────   server {SERVER_V4}, {SERVER_V6}");
    println!("No socket listens in the server's. stateless-tcp is attached to its interface instead.\n");
    let segments_before = Stage::kernel_segments()?;
    let capture = stage.start_capture()?;
    let responder = stage.start_responder(binary)?;
    println!("stateless-tcp: {}\n", responder.ready);

    let asked = QUESTIONS.iter().try_for_each(ask).and_then(|()| fetch());
    let log = responder.stop()?;
    if asked.is_err() {
        eprint!("{log}");
    }
    asked?;
    let packets = capture.stop()?;
    let segments_after = Stage::kernel_segments()?;

    show_transaction(&packets)?;
    show_proof(&packets, segments_before, segments_after)?;
    show_summary(&log)
}

/// Asks over IPv4, then over IPv6, where the answer must be the same.
fn ask(question: &Question) -> Result<()> {
    let dig = |server: IpAddr| {
        let mut command = Command::new("dig");
        command.args(["+tcp", "+tries=1", "+time=5", &format!("@{server}")]).args(question.arguments);
        command
    };
    println!("{}\n$ dig +tcp @{SERVER_V4} {}", question.about, question.arguments.join(" "));
    let text = read(&mut dig(SERVER_V4))?;
    let bytes = field(&text, "MSG SIZE  rcvd: ").and_then(|value| value.parse().ok()).unwrap_or(0);
    let status = field(&text, "status: ").unwrap_or_default();
    let answers = answers(&text);
    println!("  {status}, {} records, {bytes} octets over TCP", answers.len());
    for record in answers.iter().take(4) {
        println!("  {}", shorten(&record.replace('\t', " "), 96));
    }
    if answers.len() > 4 {
        println!("  … {} more", answers.len() - 4);
    }
    ensure!(status == "NOERROR", "dig got status {status:?} instead of NOERROR:\n{text}");
    ensure!(
        answers.len() >= question.least_answers
            && bytes >= question.least_bytes
            && answers.iter().any(|answer| answer.contains(question.record)),
        "dig got an answer that lacks something:\n{text}"
    );
    let second = read(&mut dig(SERVER_V6))?;
    let same = self::answers(&second) == answers;
    ensure!(same, "over IPv6 dig got another answer than over IPv4:\n{second}");
    println!("  over IPv6 (@{SERVER_V6}): the same\n");
    Ok(())
}

/// Gets the page over IPv4, then over IPv6.
fn fetch() -> Result<()> {
    let curl = |server: IpAddr| {
        let url = format!("http://{}/", SocketAddr::new(server, 80).to_string().trim_end_matches(":80"));
        read(Command::new("curl").args(["--silent", "--show-error", "--include", "--max-time", "5", &url]))
    };
    println!("A page\n$ curl --include http://{SERVER_V4}/");
    let page = curl(SERVER_V4)?;
    let (header, body) = split_page(&page)?;
    let shown = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        name.starts_with("http/") || name == "content-type" || name == "content-length"
    };
    for line in header.lines().filter(shown) {
        println!("  {line}");
    }
    if let Some(title) = body.lines().map(str::trim).find(|line| line.starts_with("<h1>")) {
        println!("  … {title} …");
    }
    ensure!(header.starts_with("HTTP/1.1 200 "), "curl got another status than 200:\n{header}");
    let second = curl(SERVER_V6)?;
    ensure!(split_page(&second)?.1 == body, "over IPv6 curl got another page than over IPv4");
    println!("  over IPv6: the same\n");
    Ok(())
}

fn split_page(page: &str) -> Result<(&str, &str)> {
    page.split_once("\r\n\r\n").with_context(|| format!("curl got no HTTP response: {page:?}"))
}

/// The first question's packets: as tcpdump shows them, and as a ladder.
fn show_transaction(packets: &[Packet]) -> Result<()> {
    let server = SocketAddr::new(SERVER_V4, 53);
    let transaction =
        capture::first_transaction(packets, server).context("the capture holds no connection")?;
    println!("The first question on the wire, sequence numbers relative to each side's first");
    for line in ladder::lines(&transaction) {
        println!("  {line}");
    }
    println!();
    for line in ladder::ladder(&transaction) {
        println!("  {line}");
    }
    println!();
    Ok(())
}

/// The proof that the server's kernel took no part.
fn show_proof(packets: &[Packet], before: u64, after: u64) -> Result<()> {
    let sent: Vec<&Packet> = packets.iter().filter(|packet| packet.side == Side::Server).collect();
    let resets = sent.iter().filter(|packet| packet.flags.rst).count();
    let fragments = sent.iter().filter(|packet| packet.fragment).count();
    println!("The server sent {} TCP segments: {resets} RST, {fragments} IP fragments.", sent.len());
    println!(
        "Its kernel's TCP received {} (Tcp InSegs in /proc/net/snmp): what it does not see it cannot reset.\n",
        after - before
    );
    ensure!(resets == 0, "the server sent RST");
    ensure!(fragments == 0, "the server sent IP fragments");
    ensure!(after == before, "the server's kernel saw segments of served ports");
    Ok(())
}

/// The responder's own account, which it logs when it ends.
fn show_summary(log: &str) -> Result<()> {
    let after = |line: &str, word: &str| line.split_once(word).map(|(_, rest)| rest.trim().to_owned());
    let counters: Vec<String> = log.lines().filter_map(|line| after(line, "counter ")).collect();
    ensure!(!counters.is_empty(), "the responder logged no counters:\n{log}");
    println!("What stateless-tcp counted");
    for row in counters.chunks(6) {
        println!("  {}", row.join(" · "));
    }
    for frames in log.lines().filter_map(|line| after(line, "frames ")) {
        println!("  frames of {frames}");
    }
    println!("\nTo run it on a network card, see README.md; `cargo xtask test` tests everything.");
    Ok(())
}

/// The records of the answer section in dig's output.
fn answers(text: &str) -> Vec<String> {
    let section = text.lines().skip_while(|line| !line.starts_with(";; ANSWER SECTION:")).skip(1);
    // dig pads with several tabs to form columns.
    let tidy = |line: &str| line.split('\t').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\t");
    let mut records: Vec<String> = section.take_while(|line| !line.is_empty()).map(tidy).collect();
    records.sort();
    records
}

/// The text that follows `label` in `text`, up to a comma or the line's end.
fn field<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let rest = &text[text.find(label)? + label.len()..];
    rest.split([',', '\n']).next()
}

fn shorten(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    line.chars().take(columns - 1).chain(['…']).collect()
}
