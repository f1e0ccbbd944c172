//! Random questions over random zones, unsigned and signed in every way: each answer equals that of BIND, Knot DNS or NSD.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use stateless_tcp_tests::compare::{Reply, difference};
use stateless_tcp_tests::exceptions::Arbiter;
use stateless_tcp_tests::nameserver::{Bind, Knot, Nsd, free_address};
use stateless_tcp_tests::peers::{self, say};
use stateless_tcp_tests::questions::Question;
use stateless_tcp_tests::random_zones::settle::settle;
use stateless_tcp_tests::random_zones::sign::{Proof, make_keys, output, sign};
use stateless_tcp_tests::random_zones::zone::Zone;
use stateless_tcp_tests::random_zones::{exceptions, question};
use stateless_tcp_tests::seed::{Random, seed, size};
use stateless_tcp_tests::zone_files::ours::Ours;
use stateless_tcp_tests::zone_files::raw;
use stateless_tcp_tests::zone_files::wire::{Message, WireRecord, receive};
use tempfile::TempDir;

/// Questions in flight at a time, to each server.
const AT_ONCE: usize = 64;
/// Parents of each kind, each with a child below it.
const FAMILIES: usize = 3;
/// Names of a zone, about.
const NAMES: usize = 60;
/// So many differences are told in full.
const TOLD: usize = 40;

#[test]
fn every_answer_is_some_servers() -> anyhow::Result<()> {
    say(&format!("seed {}", seed()));
    say(&peers::versions()?);
    let directory = TempDir::with_prefix("random-")?;
    let mut random = Random::new("random questions");
    let zones = make_zones(directory.path(), &mut random)?;
    let files: Vec<PathBuf> =
        zones.iter().map(|zone| directory.path().join(format!("{}.zone", zone.name))).collect();
    let ours = Ours::load_all(&files)?;
    let known = records(&zones, &files)?;
    let apexes: Vec<String> = zones.iter().map(|zone| zone.name.clone()).collect();
    let servers = [Arbiter::Knot, Arbiter::Nsd, Arbiter::Bind];
    let addresses = [free_address()?, free_address()?, free_address()?];
    let _knot = Knot::start(&files, addresses[0], None)?;
    let _nsd = Nsd::start(&files, addresses[1], None)?;
    let _bind = Bind::start(&files, addresses[2], None)?;

    let count = size(6_000, 100_000);
    let (mut report, mut differing) = (Vec::new(), 0);
    let mut excepted = BTreeMap::<&str, usize>::new();
    let mut equal = [0; 3];
    let mut asked = 0;
    while asked < count {
        let questions: Vec<Question> =
            (0..2_000.min(count - asked)).map(|_| question::random(&zones, &mut random)).collect();
        let queries: Vec<Vec<u8>> = (1..).zip(&questions).map(|(id, question)| question.wire(id)).collect();
        let theirs = ask_all(addresses, &queries)?;
        for (index, question) in questions.iter().enumerate() {
            let answer = catch_unwind(AssertUnwindSafe(|| ours.answer(&queries[index])));
            let Ok(actual) = answer else {
                differing += 1;
                report.push(format!("{question}: panics\n"));
                continue;
            };
            let unknown = unknown(&actual, &known).with_context(|| question.to_string())?;
            ensure!(unknown.is_empty(), "{question}: records that no zone has: {unknown:?}");
            let actual = Reply::parse(&actual).with_context(|| question.to_string())?;
            let (mut differences, mut stays) = (Vec::new(), false);
            for (server, answers) in servers.iter().zip(&theirs) {
                let expected = Reply::parse(&answers[index]).with_context(|| question.to_string())?;
                let compare = |mut actual: Reply| {
                    let mut expected = expected.clone();
                    settle(question, *server, &apexes, &mut expected, &mut actual);
                    difference(&expected, &actual)
                };
                let first = exceptions::first_zone_s(question, *server, &expected, &actual, &apexes);
                stays |= first.is_some_and(|first| compare(first).is_none());
                differences.push(compare(actual.clone()));
            }
            for (equal, difference) in equal.iter_mut().zip(&differences) {
                *equal += usize::from(difference.is_none());
            }
            if differences.iter().any(Option::is_none) {
                continue;
            }
            let stays = stays.then_some(exceptions::STAYS);
            if let Some(reason) = stays.or_else(|| exceptions::reason(question, &actual)) {
                *excepted.entry(reason).or_default() += 1;
                continue;
            }
            differing += 1;
            if report.len() < TOLD {
                let told = servers.iter().zip(differences);
                let told = told.map(|(server, lines)| format!(" {server:?}:\n{}", lines.unwrap_or_default()));
                report.push(format!("{question}\n{}", told.collect::<String>()));
            }
        }
        asked += questions.len();
    }
    say(&format!("{asked} questions about {} zones of {} records", zones.len(), known.len()));
    say(&format!(
        "equal to Knot's {}, NSD's {}, BIND's {}; excepted: {excepted:?}",
        equal[0], equal[1], equal[2]
    ));
    if !report.is_empty() {
        let kept = directory.keep();
        say(&format!("the zones are kept in {}", kept.display()));
    }
    assert!(report.is_empty(), "{differing} of {asked} answers are nobody's:\n{}", report.concat());
    Ok(())
}

/// Makes a family of each kind: a parent and its child, which are both served.
fn make_zones(directory: &Path, random: &mut Random) -> anyhow::Result<Vec<Zone>> {
    let mut zones = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for family in 0..FAMILIES {
        for proof in Proof::ALL {
            let name = format!("{}{family}.example", proof.name());
            let below = format!("child.{name}");
            let child_proof = if random.one_in(3) { Proof::None } else { proof };
            let mut parent = Zone::random(&name, NAMES, &names, random);
            let child = Zone::random(&below, NAMES / 2, &names, random);
            names.extend([name.clone(), below.clone()]);
            let keys = |zone: &str, proof| {
                if proof == Proof::None { Ok(Vec::new()) } else { make_keys(zone, directory) }
            };
            let ds = keys(&below, child_proof)?;
            keys(&name, proof)?;
            parent.delegate("child", &ds);
            for (zone, proof) in [(parent, proof), (child, child_proof)] {
                let file = directory.join(format!("{}.zone", zone.name));
                fs::write(&file, zone.text()).with_context(|| format!("writing {}", file.display()))?;
                sign(&zone.name, &file, proof)?;
                zones.push(zone);
            }
        }
    }
    Ok(zones)
}

/// All records of the zones, as BIND reads them.
fn records(zones: &[Zone], files: &[PathBuf]) -> anyhow::Result<BTreeSet<WireRecord>> {
    let mut records = BTreeSet::new();
    for (zone, file) in zones.iter().zip(files) {
        let raw = file.with_extension("raw");
        let mut command = peers::command("named-compilezone")?;
        output(
            command
                .args(["-i", "none", "-k", "ignore", "-F", "raw", "-o"])
                .arg(&raw)
                .arg(&zone.name)
                .arg(file),
        )?;
        records.extend(raw::read(&fs::read(raw)?)?.iter().map(WireRecord::comparable));
    }
    Ok(records)
}

/// Records in the additional section that no zone has: none may be made up there.
fn unknown(answer: &[u8], known: &BTreeSet<WireRecord>) -> anyhow::Result<Vec<WireRecord>> {
    const OPT: u16 = 41;
    let [_, _, additional] = Message::read(answer)?.sections;
    let added = additional.into_iter().filter(|record| record.rtype != OPT).map(|record| record.comparable());
    Ok(added.filter(|record| !known.contains(record)).collect())
}

/// Has each server answer all queries, in their order.
fn ask_all(addresses: [SocketAddr; 3], queries: &[Vec<u8>]) -> anyhow::Result<[Vec<Vec<u8>>; 3]> {
    let answers = thread::scope(|scope| {
        let askers = addresses.map(|address| scope.spawn(move || ask(address, queries)));
        askers.map(|asker| asker.join().expect("an asker"))
    });
    let [knot, nsd, bind] = answers;
    Ok([knot.context("Knot")?, nsd.context("NSD")?, bind.context("BIND")?])
}

/// Asks over one connection, many at a time; answers may come in any order.
fn ask(address: SocketAddr, queries: &[Vec<u8>]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(2)))?;
    let mut answers = Vec::with_capacity(queries.len());
    for some in queries.chunks(AT_ONCE) {
        let mut sent = Vec::new();
        for query in some {
            sent.extend(u16::try_from(query.len())?.to_be_bytes());
            sent.extend_from_slice(query);
        }
        stream.write_all(&sent)?;
        let mut by_id = BTreeMap::new();
        for _ in some {
            let answer = receive(&mut stream)?;
            by_id.insert([answer[0], answer[1]], answer);
        }
        for query in some {
            answers.push(by_id.remove(&[query[0], query[1]]).context("an answer to another question")?);
        }
    }
    Ok(answers)
}
