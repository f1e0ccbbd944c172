//! The cost of loading a zone, beside BIND, Knot DNS and NSD: time until it is served, memory then and at most.
//!
//! `cargo xtask bench zones` runs it. Three zones: a million names with an address each, 100,000 PTR records of random names
//! below ip6.arpa, and one set of 40,000 addresses. Medians of three rounds in turns; the memory of a server is that of all its
//! processes (Pss), and of this, that of a process that has nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;
use stateless_tcp::services::dns::{Dns, DnsOptions};
use stateless_tcp_tests::nameserver::{Bind, Knot, Nsd, free_address};
use stateless_tcp_tests::peers;
use tempfile::TempDir;

const ROUNDS: usize = 3;
/// Stands before the file in the arguments of the process that loads it.
const LOAD: &str = "--load";

/// Milliseconds, and KiB of memory when it is served, and at most.
#[derive(Clone, Copy)]
struct Cost {
    time: u64,
    memory: u64,
    peak: u64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, load, file] = &arguments[..]
        && load == LOAD
    {
        return load_here(Path::new(file));
    }
    print!("{}", peers::versions()?);
    println!(
        "\n| zone | names | server | ms | MiB | MiB at most | bytes a name |\n|---|---|---|---|---|---|---|"
    );
    let directory = TempDir::new()?;
    for (title, names, file) in zones(directory.path())? {
        let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for (server, cost) in measure_all(&file)? {
                costs.entry(server).or_default().push(cost);
            }
        }
        for (server, costs) in costs {
            let median = |of: fn(&Cost) -> u64| {
                let mut values: Vec<u64> = costs.iter().map(of).collect();
                values.sort_unstable();
                values[values.len() / 2]
            };
            let (time, memory) = (median(|cost| cost.time), median(|cost| cost.memory));
            let peak = median(|cost| cost.peak) >> 10;
            println!(
                "| {title} | {names} | {server} | {time} | {} | {peak} | {} |",
                memory >> 10,
                (memory << 10) / names
            );
        }
    }
    Ok(())
}

/// Title, names and file of each zone.
fn zones(directory: &Path) -> Result<Vec<(&'static str, u64, PathBuf)>> {
    let head = "@ 3600 SOA ns.example.com. h.example.com. 1 2 3 4 5\n@ 3600 NS ns.example.com.\n";
    let mut million = format!("$ORIGIN million.example.\n$TTL 3600\n{head}");
    for number in 0..1_000_000 {
        writeln!(million, "h{number} A 192.0.2.{}", number % 256)?;
    }
    let origin = "8.b.d.0.1.0.0.2.ip6.arpa";
    let mut reverse = format!("$ORIGIN {origin}.\n$TTL 3600\n{head}");
    let mut random = 1_u128;
    for number in 0..100_000 {
        // Whatever has no pattern in its digits.
        random = random.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
        for digit in format!("{:024x}", random >> 32).bytes() {
            write!(reverse, "{}.", char::from(digit))?;
        }
        writeln!(reverse, "{origin}. PTR h{number}.example.com.")?;
    }
    let mut set = format!("$ORIGIN set.example.\n$TTL 3600\n{head}");
    for number in 0..40_000_u32 {
        let [_, high, middle, low] = number.to_be_bytes();
        writeln!(set, "big A 10.{high}.{middle}.{low}")?;
    }
    let zones = [
        ("a million names", 1_000_000, "million.example", million),
        ("ip6.arpa", 100_000, origin, reverse),
        ("a set of 40,000", 40_000, "set.example", set),
    ];
    zones
        .into_iter()
        .map(|(title, names, zone, text)| {
            let file = directory.join(format!("{zone}.zone"));
            fs::write(&file, text)?;
            Ok((title, names, file))
        })
        .collect()
}

fn measure_all(file: &Path) -> Result<Vec<(&'static str, Cost)>> {
    let zone = [file.to_owned()];
    let mut costs = vec![("this", load_elsewhere(file)?)];
    let mut add = |server, cost: Result<Cost>| match cost {
        Ok(cost) => costs.push((server, cost)),
        // BIND refuses sets of more than 100 records unless it is told otherwise.
        Err(error) => eprintln!("{server} does not serve {}: {}", file.display(), error.root_cause()),
    };
    let address = free_address()?;
    add("BIND", measure(|| Bind::start(&zone, address, None).map(|bind| (bind.server.pid(), bind))));
    add("Knot DNS", measure(|| Knot::start(&zone, address, None).map(|knot| (knot.server.pid(), knot))));
    add("NSD", measure(|| Nsd::start(&zone, address, None).map(|nsd| (nsd.server.pid(), nsd))));
    Ok(costs)
}

/// Of a server until it serves.
fn measure<S>(start: impl FnOnce() -> Result<(Pid, S)>) -> Result<Cost> {
    let begin = Instant::now();
    let (group, server) = start()?;
    let time = milliseconds(begin);
    let (memory, peak) = memory_of(group)?;
    drop(server);
    Ok(Cost { time, memory, peak })
}

fn milliseconds(begin: Instant) -> u64 {
    begin.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
}

/// KiB that the processes of a group have, and the sum of what each had at most.
fn memory_of(group: Pid) -> Result<(u64, u64)> {
    let (mut memory, mut peak) = (0, 0);
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // Name in parentheses, state, parent, group.
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        let of = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(2)?.parse().ok());
        if of == Some(group.as_raw()) {
            memory += field(&path.join("smaps_rollup"), "Pss:")?;
            peak += field(&path.join("status"), "VmHWM:")?;
        }
    }
    ensure!(memory > 0, "no process of the server's group {group} was found");
    Ok((memory, peak))
}

/// A number of a file of /proc.
fn field(file: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("{} has no {name}", file.display()))
}

/// Loads a zone in a process of its own.
fn load_elsewhere(file: &Path) -> Result<Cost> {
    let output = Command::new(std::env::current_exe()?).arg(LOAD).arg(file).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [time, memory, peak] = numbers[..] else {
        anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr))
    };
    Ok(Cost { time, memory, peak })
}

fn load_here(file: &Path) -> Result<()> {
    let begin = Instant::now();
    let dns = Dns::load(&[file.to_owned().into()], &DnsOptions::default())?;
    let time = milliseconds(begin);
    let own = Path::new("/proc/self");
    println!(
        "{time} {} {}",
        field(&own.join("smaps_rollup"), "Pss:")?,
        field(&own.join("status"), "VmHWM:")?
    );
    drop(dns);
    Ok(())
}
