//! Time of clients over a lossy path, with this responder and with NSD on the kernel's TCP, in one table.
//!
//! `cargo xtask bench lossy` runs it; an argument is another number of connections. Time to completion is from SYN to the
//! last byte of the last answer. The client's timers are as the kernel has them: they are what loss costs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use stateless_tcp_tests::load::{self, Catalogue, LoadOutcome};
use stateless_tcp_tests::lossy_network::{DNS, LossyNetwork, Trouble};
use stateless_tcp_tests::nameserver::Nsd;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::seed::Random;
use stateless_tcp_tests::topology::INTERFACE;

/// Per cent lost each way.
const LOSSES: [u32; 5] = [0, 1, 5, 10, 20];
const CONNECTIONS: usize = 200;
/// Fewer than NSD takes.
const AT_ONCE: usize = 80;
const PATIENCE: Duration = Duration::from_mins(16);

/// (name, most questions a connection, segments of the longest answer)
const LOADS: [(&str, usize, usize); 2] =
    [("1 question, 1 segment", 1, 1), ("1 to 20 questions, 1 to 5 segments", 20, 5)];

fn main() -> anyhow::Result<()> {
    let connections = std::env::args().nth(1).map_or(Ok(CONNECTIONS), |text| text.parse())?;
    let directory = tempfile::tempdir().context("a directory for the zone")?;
    let zone = directory.path().join("load.example.zone");
    std::fs::write(&zone, load::zone(5)).context("write the zone")?;
    println!(
        "{connections} connections, {AT_ONCE} at a time; also 3 % repeated and 5 % delayed, but for 0 % lost\n"
    );
    println!("| load | lost each way | server | median | 90 % | 99 % | failed | given up |");
    println!("|---|---|---|---|---|---|---|---|");
    for (name, questions, largest) in LOADS {
        for lost in LOSSES {
            for server in ["stateless-tcp", "NSD"] {
                let outcome = measure(server, &zone, lost, (connections, questions, largest))?;
                anyhow::ensure!(outcome.wrong.is_empty(), "wrong octets: {:?}", outcome.wrong);
                let [median, ninety, last] =
                    [50, 90, 99].map(|percent| milliseconds(outcome.percentile(percent)));
                let (failed, given_up) = (outcome.failed.len(), outcome.given_up.len());
                println!(
                    "| {name} | {lost} % | {server} | {median} | {ninety} | {last} | {failed} | {given_up} |"
                );
            }
        }
    }
    Ok(())
}

/// One server, on a path of its own, under the same load as the other.
fn measure(
    server: &str,
    zone: &Path,
    lost: u32,
    (connections, questions, largest): (usize, usize, usize),
) -> anyhow::Result<LoadOutcome> {
    let mut path = LossyNetwork::new(1);
    let name = zone.to_str().context("a path in UTF-8")?;
    let run = ["run", "-i", INTERFACE, "--zone", name];
    let end = &path.servers[0];
    let (_responder, _nsd) = if server == "NSD" {
        (None, Some(Nsd::start(&[zone.to_owned()], DNS, Some(end.name()))?))
    } else {
        let responder = Responder::try_start(end, 1, &run);
        (Some(responder.map_err(|ended| anyhow::anyhow!("the responder ended: {}", ended.log))?), None)
    };
    let catalogue = Catalogue::fetch(&path.client, DNS, largest);
    path.disturb(if lost > 0 { Trouble::with_loss(lost) } else { Trouble::default() });
    let mut random = Random::new("beside NSD");
    let plans = load::plans(&mut random, connections, questions, largest);
    Ok(load::run(&path.client, DNS, &catalogue, &plans, AT_ONCE, PATIENCE))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
