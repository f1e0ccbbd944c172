//! Zone files of one feature each: each is accepted if most of BIND, Knot DNS and NSD accept it, and served as BIND and
//! Knot DNS read it. [`exceptions`] says where that is not wanted.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, bail, ensure};
use stateless_tcp_tests::nameserver::{Knot, free_address};
use stateless_tcp_tests::peers::{self, say};
use stateless_tcp_tests::responder::binary;
use stateless_tcp_tests::zone_files::exceptions::Peer;
use stateless_tcp_tests::zone_files::judge::Verdicts;
use stateless_tcp_tests::zone_files::ours::Ours;
use stateless_tcp_tests::zone_files::served::{served, transfer};
use stateless_tcp_tests::zone_files::wire::WireRecord;
use stateless_tcp_tests::zone_files::{Case, cases, exceptions, raw};
use tempfile::TempDir;

/// At least so many files.
const LEAST: usize = 800;
/// Of so many files one is given to the command as well.
const STEP: usize = 23;
/// Checkers that run at a time.
const WORKERS: usize = 4;

/// The text that stands for an error where a zone file makes its reader panic.
const PANIC: &str = "panics";

/// A case, and what all say of it.
struct Judged {
    case: Case,
    file: PathBuf,
    verdicts: Verdicts,
    ours: Result<Ours, String>,
}

/// All cases; read once for all tests here.
static JUDGED: LazyLock<(TempDir, Vec<Judged>)> = LazyLock::new(|| judge_all().expect("read all zone files"));

#[test]
fn each_is_accepted_as_by_most_servers() {
    let (_, judged) = &*JUDGED;
    assert!(judged.len() >= LEAST, "{} zone files", judged.len());
    let accepted = judged.iter().filter(|one| one.verdicts.accepted()).count();
    say(&format!(
        "{} zone files: {accepted} accepted by most, {} refused",
        judged.len(),
        judged.len() - accepted
    ));
    say(&peers::versions().expect("the versions"));
    let mut report = Vec::new();
    let mut unused: BTreeSet<&str> = exceptions::verdicts().collect();
    for one in judged {
        let Judged { case, verdicts, ours, .. } = one;
        let (accept, exception) = exceptions::verdict(&case.name, verdicts);
        if let Some(name) = exception {
            unused.remove(name);
        }
        let panicked = ours.as_ref().is_err_and(|error| error == PANIC);
        if accept == ours.is_ok() && !panicked {
            continue;
        }
        let word = |verdict: Result<(), &String>| {
            verdict
                .err()
                .map_or("accepts", |complaint| complaint.lines().next().unwrap_or_default().trim())
                .to_owned()
        };
        report.push(format!(
            "{}:{}\n  ours: {}\n  BIND: {}\n  Knot: {}\n  NSD:  {}\n",
            case.name,
            case.feature(),
            word(ours.as_ref().map(|_| ())),
            word(verdicts.bind.as_ref().copied()),
            word(verdicts.knot.as_ref().copied()),
            word(verdicts.nsd.as_ref().copied())
        ));
    }
    assert!(
        report.is_empty(),
        "{} of {} zone files are judged otherwise:\n{}",
        report.len(),
        judged.len(),
        report.concat()
    );
    assert!(unused.is_empty(), "exceptions that are none: {unused:?}");
}

/// The command that operators and their scripts use says of a file what loading it says.
#[test]
fn check_zone_says_the_same() {
    let (_, judged) = &*JUDGED;
    let mut refused = 0;
    for one in judged.iter().step_by(STEP) {
        let mut command = Command::new(binary());
        let output = command.arg("check-zone").arg(one.case.zone()).arg(&one.file).output();
        let output = output.expect("run check-zone");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), one.ours.is_ok(), "{}: {said}", one.case.name);
        refused += usize::from(!output.status.success());
        if let Err(error) = &one.ours {
            assert_eq!(output.status.code(), Some(1), "{}: {said}", one.case.name);
            let first = error.lines().next().unwrap_or_default();
            assert!(said.contains(first), "{}: {said}: not as {first}", one.case.name);
        }
    }
    say(&format!("check-zone refuses {refused} of {} as it should", judged.len().div_ceil(STEP)));
}

#[test]
fn each_is_served_as_bind_and_knot_have_it() {
    let (_, judged) = &*JUDGED;
    // An exception of the verdict, too, is served as whoever accepts it has it.
    let both = |one: &&Judged| one.ours.is_ok() && (one.verdicts.accepted() || one.verdicts.bind.is_ok());
    let transferable: Vec<_> = judged
        .iter()
        .filter(both)
        .filter(|one| one.verdicts.knot.is_ok())
        .map(|one| (one.case.zone(), one.file.clone()))
        .collect();
    let at = free_address().expect("an address");
    let _knot = Knot::transferable(&transferable, at).expect("start Knot");
    let (mut report, mut zones, mut records) = (Vec::new(), 0, 0);
    let mut unused: BTreeSet<_> = exceptions::RECORDS.iter().map(|(name, peer, _)| (*name, *peer)).collect();
    for one in judged.iter().filter(both) {
        let name = one.case.name.as_str();
        zones += 1;
        for peer in [Peer::Bind, Peer::Knot] {
            let lines = match compare(one, peer, at) {
                Ok((asked, lines)) => {
                    records += asked;
                    lines
                }
                Err(error) => vec![format!("{error:#}")],
            };
            if !lines.is_empty() && exceptions::of_records(name, peer) {
                unused.remove(&(name, peer));
            } else if !lines.is_empty() {
                report.push(format!("{name}, {peer:?}:{}\n  {}\n", one.case.feature(), lines.join("\n  ")));
            }
        }
    }
    say(&format!("{records} records of {zones} zones compared"));
    assert!(
        report.is_empty(),
        "{} comparisons of {zones} zones find differences:\n{}",
        report.len(),
        report.concat()
    );
    assert!(unused.is_empty(), "exceptions that are none: {unused:?}");
    assert!(records > 1_000, "{records} records compared");
}

/// Compares what we serve with what another server has read, if it has. Returns how many records it has, and the
/// differences.
fn compare(one: &Judged, peer: Peer, knot: SocketAddr) -> anyhow::Result<(usize, Vec<String>)> {
    let Ok(ours) = &one.ours else { bail!("not loaded") };
    let (records, lines) = match peer {
        Peer::Bind => {
            let Some(file) = &one.verdicts.raw else { return Ok((0, vec![])) };
            let records = raw::read(&fs::read(file)?)?;
            let lines = served(ours, &records, WireRecord::comparable)?;
            (records, lines)
        }
        Peer::Knot if one.verdicts.knot.is_err() => return Ok((0, vec![])),
        Peer::Nsd => bail!("nobody transfers from NSD here"),
        // Knot has the names of signed data in lowercase.
        Peer::Knot => {
            let records = transfer(knot, &one.case.zone())?;
            let lines = served(ours, &records, WireRecord::canonical)?;
            (records, lines)
        }
    };
    Ok((records.len(), lines))
}

/// Writes all files and has everybody read them.
fn judge_all() -> anyhow::Result<(TempDir, Vec<Judged>)> {
    let directory = TempDir::with_prefix("zones-")?;
    let cases = cases::all();
    let mut names = BTreeSet::new();
    for case in &cases {
        ensure!(names.insert(&case.name), "two cases are named {}", case.name);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut judged = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            judged.push(judge(case, &directory).with_context(|| case.name.clone())?);
        }
        anyhow::Ok(judged)
    };
    let mut judged = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let lists = workers.into_iter().map(|worker| worker.join().expect("a worker"));
        lists.collect::<anyhow::Result<Vec<_>>>()
    })?
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    judged.sort_by(|one, other| one.case.name.cmp(&other.case.name));
    Ok((directory, judged))
}

fn judge(case: &Case, directory: &TempDir) -> anyhow::Result<Judged> {
    let file = case.write(directory.path())?;
    let verdicts = Verdicts::ask(&case.zone(), &file)?;
    let load = || Ours::load(&case.zone(), &file).map_err(|error| format!("{error:#}"));
    let ours = catch_unwind(load).unwrap_or_else(|_| Err(PANIC.to_owned()));
    Ok(Judged { case: case.clone(), file, verdicts, ours })
}
