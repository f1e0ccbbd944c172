//! The load generators: one function each. Each runs for so many whole seconds, on its core, and says what it offered and what
//! was answered.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use stateless_tcp_tests::asker::{self, number, until};
use stateless_tcp_tests::cores::stay_on;
use stateless_tcp_tests::flooder;

use crate::testbed::{Content, OTHERS_CORE, SERVER, Testbed, names};

/// Transactions a second that kxdpgun offers, until a server does not keep up.
pub(crate) const LADDER: [u32; 6] = [20_000, 40_000, 60_000, 80_000, 120_000, 160_000];
/// And the flood, which is lighter than kxdpgun.
const STEPS: [u32; 5] = [LADDER[0], 80_000, 120_000, 180_000, 240_000];
/// Seconds that a client of the flood waits: none of them sends anything again.
const PATIENCE: u32 = 1;
/// kxdpgun's clients, and the flood's: one address has too few ports for those that it takes to be open still.
const CLIENTS: &str = "198.18.0.0/16";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Generator {
    /// kxdpgun -T, one question a connection, at rates that rise until the server does not keep up
    Kxdpgun,
    /// `cargo xtask flood`, likewise, with the packets of kxdpgun's clients
    Flood,
    /// 32 clients of the kernel's TCP, each of which connects, asks, reads and closes, again and again
    Clients,
    /// dnsperf as it comes: 100 questions in flight, over 10 connections that stay
    Dnsperf,
    /// dnsperf with one question a connection: it waits for timers of its own
    DnsperfEach,
}

/// A generator, and how much it offers a second, if it goes by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    pub(crate) generator: Generator,
    pub(crate) rate: Option<u32>,
}

/// The result of a load, a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadRate {
    pub(crate) offered: f64,
    pub(crate) answered: f64,
}

impl Generator {
    /// Those that measure servers rather than themselves. The flood comes last: the clients that it gives up leave servers on
    /// the kernel's TCP with no room for others.
    pub(crate) const USUAL: [Self; 4] = [Self::Kxdpgun, Self::Clients, Self::Dnsperf, Self::Flood];

    /// In order; where one is not kept up with, those behind it are left out.
    pub(crate) fn loads(self) -> Vec<Load> {
        let rates: &[u32] = match self {
            Self::Kxdpgun => &LADDER,
            Self::Flood => &STEPS,
            _ => return vec![Load { generator: self, rate: None }],
        };
        rates.iter().map(|&rate| Load { generator: self, rate: Some(rate) }).collect()
    }

    /// Whether its clients are the kernel's, and its interface has no XDP program but ours.
    pub(crate) fn is_kernels(self) -> bool {
        !matches!(self, Self::Kxdpgun | Self::Flood)
    }
}

impl fmt::Display for Generator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Load {
    /// Asks for so many seconds.
    pub(crate) fn run(self, testbed: &Testbed, content: &Content, seconds: u32) -> anyhow::Result<LoadRate> {
        // Inherited by what is started here.
        stay_on(OTHERS_CORE)?;
        match self.generator {
            Generator::Kxdpgun => kxdpgun(testbed, content, seconds, self.rate.unwrap_or(LADDER[0])),
            Generator::Flood => flood(testbed, content, seconds, self.rate.unwrap_or(LADDER[0])),
            Generator::Clients => clients(testbed, seconds),
            Generator::Dnsperf => dnsperf(testbed, content, seconds, &["-q", "100", "-c", "10"]),
            Generator::DnsperfEach => dnsperf(
                testbed,
                content,
                seconds,
                &["-q", "1000", "-c", "1000", "-O", "num-queries-per-conn=1"],
            ),
        }
    }
}

/// Number served: those with the `right` code. A relay without room says SERVFAIL, which is no answer; any other
/// code is an error in the measurement.
fn served(right: f64, refused: f64, all: f64, output: &str) -> anyhow::Result<f64> {
    ensure!((right + refused - all).abs() < 1.0, "not all answers are right:\n{output}");
    Ok(right)
}

fn kxdpgun(testbed: &Testbed, content: &Content, seconds: u32, rate: u32) -> anyhow::Result<LoadRate> {
    let mut kxdpgun = testbed.client.command("kxdpgun");
    kxdpgun.args(["-T", "-t", &seconds.to_string(), "-Q", &rate.to_string()]);
    kxdpgun.args(["-F", &OTHERS_CORE.to_string(), "-p", "53", "-I", &testbed.at_client, "-l", CLIENTS]);
    let output =
        until(kxdpgun.arg("-i").arg(content.questions()).arg(SERVER.ip().to_string()), "total SYNs:")?;
    // It leaves its program behind.
    testbed.client.run(&format!("ip link set {} xdp off", testbed.at_client));
    let [right, refused] = ["NOERROR:", "SERVFAIL:"].map(|code| number(&output, code).unwrap_or(0.0));
    let answered = served(right, refused, number(&output, "total replies:")?, &output)?;
    let seconds = f64::from(seconds);
    Ok(LoadRate { offered: number(&output, "total SYNs:")? / seconds, answered: answered / seconds })
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn flood(testbed: &Testbed, content: &Content, seconds: u32, rate: u32) -> anyhow::Result<LoadRate> {
    let [server, rate, time, patience] =
        [SERVER.to_string(), rate.to_string(), seconds.to_string(), PATIENCE.to_string()];
    let questions = content.questions();
    let questions = questions.to_str().context("a path in UTF-8")?;
    let arguments = ["--server", &server, "--clients", CLIENTS, "--rate", &rate, "--seconds", &time];
    let arguments =
        [&arguments[..], &["--timeout", &patience, "--bare-ack", "--codes", "0", "--questions", questions]]
            .concat();
    let report = flooder::flood(&testbed.client, &testbed.at_client, &arguments);
    let right = report.number("/answered");
    let refused = report.0["codes"]["2"].as_u64().unwrap_or(0);
    let all = right + report.failures("wrong_code");
    let answered = served(right as f64, refused as f64, all as f64, &format!("{:#}", report.0))?;
    let seconds = f64::from(seconds);
    Ok(LoadRate { offered: report.number("/offered") as f64 / seconds, answered: answered / seconds })
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn clients(testbed: &Testbed, seconds: u32) -> anyhow::Result<LoadRate> {
    let queries: Vec<_> = names().map(|name| asker::query(&name)).collect();
    let time = Duration::from_secs(seconds.into());
    let asked = asker::run(&testbed.client, SERVER, &queries, 32, time)?;
    let rate = |count: u64| count as f64 / time.as_secs_f64();
    Ok(LoadRate { offered: rate(asked.answered + asked.failed), answered: rate(asked.answered) })
}

fn dnsperf(testbed: &Testbed, content: &Content, seconds: u32, shape: &[&str]) -> anyhow::Result<LoadRate> {
    let mut dnsperf = testbed.client.command("dnsperf");
    dnsperf.args(["-m", "tcp", "-s", &SERVER.ip().to_string(), "-T", "1", "-l", &seconds.to_string()]);
    dnsperf.args(shape).arg("-d").arg(content.questions());
    let output = until(&mut dnsperf, "Queries completed:")?;
    let [right, refused] = ["NOERROR", "SERVFAIL"].map(|code| number(&output, code).unwrap_or(0.0));
    let answered = served(right, refused, number(&output, "Queries completed:")?, &output)?;
    let time = number(&output, "Run time (s):")?;
    Ok(LoadRate { offered: number(&output, "Queries sent:")? / time, answered: answered / time })
}
