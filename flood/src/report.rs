//! The report of a run: a table for people, JSON for programs.

use crate::stats::{Failure, Stats};
use serde::Serialize;
use stateless_tcp::af_xdp::interface::AttachMode;
use stateless_tcp::af_xdp::socket::CopyMode;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The server.
    pub server: SocketAddr,
    /// By which interface, and how frames were taken off it.
    pub interface: String,
    /// XDP mode.
    pub xdp_mode: &'static str,
    /// Copy mode or zero copy.
    pub copy_mode: &'static str,
    /// Seconds during which clients began.
    pub seconds: f64,
    /// Clients that began.
    pub offered: u64,
    /// The same in a second.
    pub offered_per_second: f64,
    /// Clients that should have begun but did not: the generator did not keep up.
    pub left_out: u64,
    /// Clients that got a right answer.
    pub answered: u64,
    /// The same in a second.
    pub answered_per_second: f64,
    /// Clients that did not.
    pub failed: u64,
    /// Those, by reason; the reasons that did not occur are left out.
    pub failures: BTreeMap<&'static str, u64>,
    /// Whole answers, right or wrong, by code.
    pub codes: BTreeMap<u8, u64>,
    /// From the first SYN to the last byte of a right answer, in microseconds.
    pub latency: Latency,
    /// Segments sent again.
    pub resent: u64,
    /// Connections that the server did not close.
    pub unclosed: u64,
    /// Segments that fit no client's connection.
    pub stray: u64,
    /// Frames that were no whole segment.
    pub damaged: u64,
    /// The forged SYNs, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forged: Option<Forged>,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of the clients had their answers earlier.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// All.
    pub max: f64,
}

/// Forged SYNs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Forged {
    /// Sent.
    pub sent: u64,
    /// Not sent, although due.
    pub left_out: u64,
    /// Segments for the forged senders that came back here.
    pub answered: u64,
}

impl Report {
    /// Of what came of the clients while they began for so long.
    #[must_use]
    pub fn new(
        server: SocketAddr,
        interface: &str,
        way: (AttachMode, CopyMode),
        offering: Duration,
        left_out: u64,
        stats: Stats,
        forged: Option<Forged>,
    ) -> Self {
        let seconds = offering.as_secs_f64();
        let Stats { offered, answered, failed, codes, latency, resent, unclosed, stray, damaged } = stats;
        let failures = Failure::ALL.iter().map(|failure| (failure.name(), failed[*failure as usize]));
        let at = |quantile| microseconds(latency.value_at_quantile(quantile));
        Self {
            server,
            interface: interface.to_owned(),
            xdp_mode: way.0.name(),
            copy_mode: way.1.name(),
            seconds,
            offered,
            offered_per_second: per(offered, seconds),
            left_out,
            answered,
            answered_per_second: per(answered, seconds),
            failed: failed.iter().sum(),
            failures: failures.filter(|&(_, count)| count > 0).collect(),
            codes: (0..).zip(codes).filter(|&(_, count)| count > 0).collect(),
            latency: Latency {
                p50: at(0.5),
                p99: at(0.99),
                p999: at(0.999),
                max: microseconds(latency.max()),
            },
            resent,
            unclosed,
            stray,
            damaged,
            forged,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, interface, xdp_mode, copy_mode, seconds, .. } = self;
        writeln!(out, "{server} by {interface} ({xdp_mode}, {copy_mode}), {seconds:.1} s")?;
        let row = |out: &mut fmt::Formatter<'_>, name: &str, count: u64, note: &str| {
            let note = if note.is_empty() { String::new() } else { format!("  {note}") };
            writeln!(out, "{name:<22}{count:>12}{note}")
        };
        row(out, "offered", self.offered, &format!("{:.1}/s", self.offered_per_second))?;
        row(out, "answered", self.answered, &format!("{:.1}/s", self.answered_per_second))?;
        row(
            out,
            "failed",
            self.failed,
            &format!("{:.4} %", per(self.failed * 100, count(self.offered).max(1.0))),
        )?;
        for (name, count) in &self.failures {
            row(out, &format!("  {name}"), *count, "")?;
        }
        for (code, count) in &self.codes {
            row(out, &format!("answers of code {code}"), *count, "")?;
        }
        let notes = [
            ("left out", self.left_out, "the generator did not keep up"),
            ("resent", self.resent, ""),
            ("unclosed", self.unclosed, "no FIN came"),
            ("stray", self.stray, "segments of no connection"),
            ("damaged", self.damaged, "no whole segments"),
        ];
        for (name, count, note) in notes.into_iter().filter(|&(_, count, _)| count > 0) {
            row(out, name, count, note)?;
        }
        let Latency { p50, p99, p999, max } = self.latency;
        writeln!(out, "latency, µs            p50 {p50:.0}, p99 {p99:.0}, p99.9 {p999:.0}, max {max:.0}")?;
        if let Some(Forged { sent, left_out, answered }) = self.forged {
            let rate = per(sent, *seconds);
            row(
                out,
                "forged SYNs",
                sent,
                &format!("{rate:.1}/s; {left_out} left out, {answered} answers came back"),
            )?;
        }
        Ok(())
    }
}

fn per(number: u64, of: f64) -> f64 {
    count(number) / of
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

fn microseconds(nanoseconds: u64) -> f64 {
    per(nanoseconds, 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_latencies_are_told() {
        let mut stats = Stats::new(1_000_000_000).unwrap();
        stats.offered = 4;
        stats.answer(50_000);
        stats.answer(90_000);
        stats.fail(Failure::NoAnswer);
        stats.fail(Failure::WrongCode);
        stats.codes[2] = 1;
        let way = (AttachMode::Native, CopyMode::Copy);
        let forged = Forged { sent: 10, left_out: 0, answered: 9 };
        let server = "192.0.2.1:53".parse().unwrap();
        let report = Report::new(server, "eth0", way, Duration::from_secs(2), 0, stats, Some(forged));
        let text = report.to_string();
        for line in [
            "192.0.2.1:53 by eth0 (native, copy mode), 2.0 s",
            "offered                          4  2.0/s",
            "failed                           2  50.0000 %",
            "  no_answer                      1",
            "answers of code 2                1",
            "latency, µs            p50 50, p99 90, p99.9 90, max 90",
            "forged SYNs                     10  5.0/s; 0 left out, 9 answers came back",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert_eq!(json["failures"], serde_json::json!({ "no_answer": 1, "wrong_code": 1 }));
        assert_eq!(json["codes"], serde_json::json!({ "2": 1 }));
        assert_eq!(json["forged"]["answered"], 9);
    }
}
