//! A run for human eyes: one line a segment, all numbers relative.

use std::fmt::Write as _;

use stateless_tcp_core::tcp::segment::Flags;

use super::{
    network::Delivery,
    packet::{Micros, SimSegment, position},
    scenario::Scenario,
};

const LETTERS: [(Flags, char); 5] =
    [(Flags::SYN, 'S'), (Flags::FIN, 'F'), (Flags::RST, 'R'), (Flags::PSH, 'P'), (Flags::ACK, 'A')];

/// The parts of a scenario that its trace does not show.
pub fn describe(scenario: &Scenario) -> String {
    let plan = &scenario.plan;
    let mut text = format!(
        "{:?}\n{:?} depth {} pause {} ms messy {} eager {} reading {:?} {:?} segment size {}\n",
        scenario.profile,
        plan.style,
        plan.depth,
        milliseconds(plan.pause),
        plan.messy,
        plan.eager,
        plan.reading,
        plan.ending,
        scenario.segment_size
    );
    let Scenario { servers, hints, poison, .. } = scenario;
    let _ = writeln!(text, "servers {servers} hints {hints} poison {poison}");
    let _ = writeln!(text, "{:?}", scenario.clocks);
    let _ = writeln!(text, "cuts {:?}; jitter {} ms", plan.cuts, milliseconds(scenario.jitter));
    for (question, end) in plan.questions.iter().zip(&plan.ends) {
        let last = if question.last { ", the last of its connection" } else { "" };
        let _ = writeln!(text, "question ends at {}: {} octets{last}", end + 1, question.length());
    }
    text
}

/// The lines so far.
#[derive(Debug, Default)]
pub struct Trace {
    lines: String,
    /// Port, both initial sequence numbers and the timestamp of the SYN,ACK that each connection began with.
    connections: Vec<(u16, u32, u32, Option<u32>)>,
}

impl Trace {
    /// All lines.
    pub fn text(&self) -> &str {
        &self.lines
    }

    /// Something that is not a segment.
    pub fn say(&mut self, now: Micros, what: &str) {
        let _ = writeln!(self.lines, "{:>12} {what}", milliseconds(now));
    }

    /// A segment is sent, and what becomes of it.
    pub fn sent(&mut self, now: Micros, packet: &SimSegment, fate: Option<Delivery>) {
        let fate = match fate {
            None => "  merged into the one before".into(),
            Some(Delivery::Deliver) => String::new(),
            Some(Delivery::Lose) => "  LOST".into(),
            Some(Delivery::Duplicate(late)) => format!("  TWICE, {} ms apart", milliseconds(late)),
            Some(Delivery::Delay(late)) => format!("  LATE by {} ms", milliseconds(late)),
        };
        let line = self.line(packet);
        let _ = writeln!(self.lines, "{:>12} {line}{fate}", milliseconds(now));
    }

    /// A segment arrives.
    pub fn received(&mut self, now: Micros, packet: &SimSegment, at: usize) {
        let line = self.line(packet);
        let place = if packet.to_server { format!("server {at}") } else { "client".into() };
        let _ = writeln!(self.lines, "{:>12}   arrives at {place}: {line}", milliseconds(now));
    }

    fn line(&mut self, packet: &SimSegment) -> String {
        let known = self.connections.iter().position(|known| known.0 == packet.port);
        if packet.to_server && known.is_none() {
            self.connections.push((packet.port, packet.seq, 0, None));
        } else if !packet.to_server
            && packet.is(Flags::SYN)
            && let Some(index) = known
        {
            let connection = &mut self.connections[index];
            connection.2 = packet.seq;
            connection.3 = packet.timestamps.map(|timestamps| timestamps.value);
        }
        let (_, isn, irs, first) =
            self.connections.iter().copied().find(|known| known.0 == packet.port).unwrap_or_default();
        let (own, other) = if packet.to_server { (isn, irs) } else { (irs, isn) };
        let flags: String =
            LETTERS.iter().filter(|(flag, _)| packet.is(*flag)).map(|&(_, letter)| letter).collect();
        let from = position(packet.seq, own);
        let mut line = format!(
            "{} {flags:<3} {from}:{} ack {} win {}",
            if packet.to_server { "C>" } else { "  <S" },
            from + i64::from(packet.length),
            if packet.is(Flags::ACK) { position(packet.ack, other) } else { 0 },
            packet.window
        );
        if let (Some(first), Some(timestamps)) = (first, packet.timestamps) {
            let word = if packet.to_server { timestamps.echo } else { timestamps.value };
            let _ = write!(line, " [{}]", promise(word, first));
        }
        line
    }
}

/// The fields of a timestamp of ours, relative to those of SYN,ACK, which stand for 1 and 1.
fn promise(word: u32, first: u32) -> String {
    let place = ((word >> 19).wrapping_sub(first >> 19) & 0x1fff) + 1;
    let behind = ((word >> 2).wrapping_sub(first >> 2) & 0x1_ffff) + 1;
    let state = ["withheld", "confirmed", "mid-message", "closing"][(word & 3) as usize];
    format!("P {place} B {behind} {state}")
}

fn milliseconds(time: Micros) -> String {
    format!("{}.{:03}", time / 1000, time % 1000)
}
