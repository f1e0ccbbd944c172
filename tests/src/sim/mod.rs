//! The protocol simulated: clients as real ones behave, a network that does what networks do, and the real core.
//!
//! There is no clock, no thread and no randomness but a seed: a schedule is one number, and comes again whenever it is
//! asked for. No frames either: segments are values, so that a schedule costs microseconds.
//!
//! A run must end with every answer right, byte by byte. Other permitted outcomes are counted:
//!
//! - `limits`: a client without timestamps that has closed its direction waits in vain for an answer that is lost.
//! - `unheard`: keep-alive probes of a client that has our FIN, reads slowly, and has not closed its own direction.
//! - `needed_by_paws`: one segment whose promise, by a hint, is older than what the client has seen; it comes again.
//! - `orphans`: a client without timestamps that has closed both directions never hears the server's FIN.
//! - `refused`: an answer that is larger than four windows of a client without timestamps, or than one that takes no segment.
//! - RST, after which the client asks again: where content was replaced; where messages are cut, so that the beginning of one
//!   may be known to another server only, or forgotten; where somebody on the way merges what the client sends in parts; where
//!   a connection has outlived its proof, or a clock was set.
//!
//! | module | its room |
//! |---|---|
//! | [`question`] | toy protocols whose every byte tells where it belongs |
//! | [`clocks`] | what time it is for each server |
//! | [`client`] | the client's TCP: Linux's and BSD's manners |
//! | [`application`] | asks, compares, closes, asks again |
//! | [`kernel`] | the client checked against a real one |
//! | [`network`] | loses, duplicates, delays, reorders and merges |
//! | [`relay`] | a service that answers later, and never the same |
//! | [`servers`] | the core, and what holds of every segment it sends |
//! | [`scenario`] | a number into all of the above |
//! | [`tiny`] | small conversations, to be explored exhaustively |
//! | [`explore`] | many numbers, and the shortest failure |
//! | [`trace`] | a run for human eyes |

pub mod application;
pub mod client;
pub mod clocks;
pub mod explore;
pub mod kernel;
pub mod network;
pub mod packet;
pub mod question;
pub mod relay;
pub mod scenario;
pub mod servers;
pub mod tiny;
pub mod trace;

use std::fmt;

use application::{Application, Want};
use client::SimClient;
use network::Network;
use packet::{Micros, SimSegment, position};
use scenario::Scenario;
use servers::Servers;
use stateless_tcp_core::tcp::segment::Flags;
use trace::Trace;

use crate::seed::Random;

/// More segments than any run that makes progress needs.
const MOST_SEGMENTS: u64 = 50_000;
/// More answers than any run that makes progress has fetched.
const MOST_FETCHES: u64 = 5_000;
/// More keep-alive probes than the network may lose in a row.
const MOST_PROBES: u32 = 20;
const FIRST_PORT: u16 = 40_000;

/// The properties of a complete run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs.
    pub schedules: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Segments sent.
    pub segments: u64,
    /// Questions answered.
    pub answered: u64,
    /// Answers refused for want of room.
    pub refused: u64,
    /// Documented limits reached.
    pub limits: u64,
    /// Runs in which keep-alive probes were not answered any more behind the server's FIN.
    pub unheard: u64,
    /// Connections whose server's FIN never came.
    pub orphans: u64,
    /// Segments that PAWS refused.
    pub refused_by_paws: u64,
    /// Of those, such as would have been of use.
    pub needed_by_paws: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Virtual time.
    pub duration: Micros,
}

impl Summary {
    /// Adds up runs.
    pub fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.connections += other.connections;
        self.segments += other.segments;
        self.answered += other.answered;
        self.refused += other.refused;
        self.limits += other.limits;
        self.unheard += other.unheard;
        self.orphans += other.orphans;
        self.refused_by_paws += other.refused_by_paws;
        self.needed_by_paws += other.needed_by_paws;
        self.timeouts += other.timeouts;
        self.duration += other.duration;
    }
}

/// A run that went wrong.
#[derive(Debug)]
pub struct Failure {
    /// The segment.
    pub what: String,
    /// Everything up to there.
    pub trace: String,
}

impl Failure {
    /// A run that panicked: the message stands above.
    fn panicked() -> Self {
        Self { what: "panicked".into(), trace: String::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}", self.what, self.trace)
    }
}

/// Runs a scenario, and when it fails once more with a trace.
///
/// # Errors
/// The error, with all segments up to there.
pub fn run(scenario: &Scenario) -> Result<Summary, Box<Failure>> {
    Run::new(scenario, None).finish().map_err(|_| {
        let mut run = Run::new(scenario, Some(Trace::default()));
        let what = run.play().err().unwrap_or_else(|| "the run is not reproducible".into());
        let text = run.trace.as_ref().map_or("", Trace::text);
        let trace = format!("{}{text}", trace::describe(scenario));
        Box::new(Failure { what, trace })
    })
}

/// Runs a scenario, and returns all bytes of complete answers that the application read, those that change as zeros.
///
/// # Errors
/// The error.
pub fn received(scenario: &Scenario) -> Result<Vec<u8>, String> {
    let mut run = Run::new(scenario, None);
    run.application.received = Some(Vec::new());
    run.play()?;
    Ok(run.application.received.unwrap_or_default())
}

/// A run under way.
struct Run<'a> {
    scenario: &'a Scenario,
    random: Random,
    now: Micros,
    network: Network,
    servers: Servers,
    application: Application,
    client: SimClient,
    /// When this connection was opened.
    opened: Micros,
    /// The smallest window of the client on this connection.
    least_window: usize,
    /// Number of fetched answers.
    fetches: u64,
    /// Number of replacements of the content.
    reloads: usize,
    out: Vec<SimSegment>,
    trace: Option<Trace>,
    summary: Summary,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, trace: Option<Trace>) -> Self {
        let mut random = scenario.random.clone();
        let network_random = Random::from_seed(random.draw());
        let mut application = Application::new(scenario.plan.clone());
        let mut out = Vec::new();
        let base = application.opened(0);
        let mut servers = Servers::new(scenario, Random::from_seed(random.clone().draw()));
        let isn = scenario.isn.find(&mut servers, &scenario.profile, FIRST_PORT);
        Self {
            now: 0,
            network: Network::new(
                scenario.faults.clone(),
                scenario.latency,
                scenario.jitter,
                scenario.coalesce,
                network_random,
            ),
            servers,
            client: SimClient::open(scenario.profile.clone(), FIRST_PORT, isn, base, 0, &mut out),
            application,
            opened: 0,
            least_window: usize::from(u16::MAX),
            fetches: 0,
            reloads: 0,
            out,
            trace,
            summary: Summary::default(),
            random,
            scenario,
        }
    }

    fn finish(mut self) -> Result<Summary, String> {
        self.play()?;
        Ok(self.summary)
    }

    fn play(&mut self) -> Result<(), String> {
        loop {
            let wake = match self.step()? {
                Want::Done => break,
                Want::Open => {
                    self.open();
                    continue;
                }
                Want::Wait(wake) => wake,
            };
            let client = self.client.next();
            let arrival = self.network.next();
            let fetched = self.servers.next(self.now);
            let Some(at) = [wake, client, arrival, fetched].into_iter().flatten().min() else {
                return Err("deadlock: nothing is on its way and nobody waits for a time".into());
            };
            self.now = self.now.max(at);
            if self.now > self.scenario.limit || self.network.sent() > MOST_SEGMENTS {
                return Err(format!(
                    "no end: {} of {} questions answered after {} s and {} segments",
                    self.application.answered,
                    self.scenario.plan.questions.len(),
                    self.now / 1_000_000,
                    self.network.sent()
                ));
            }
            let unheard = self.client.probes > MOST_PROBES;
            if unheard && !self.client.fin_received && !self.may_have_expired() {
                return Err("keep-alive probes are not answered".into());
            }
            self.summary.unheard |= u64::from(unheard);
            if fetched == Some(at) {
                self.fetches += 1;
                if self.fetches > MOST_FETCHES {
                    return Err("answers are fetched and not sent".into());
                }
                self.fetch()?;
            } else if arrival == Some(at) {
                self.arrive()?;
            } else if client == Some(at) {
                self.client.wake(self.now, &mut self.out);
            }
        }
        self.retire();
        if self.application.abandoned {
            return Err("the server's FIN never came".into());
        }
        if self.scenario.serene() && self.summary.timeouts > 0 {
            return Err("a timeout though nothing was lost".into());
        }
        // What a tail loss probe sends again is answered again, and perhaps overtaken.
        let once = self.scenario.quiet() && !self.scenario.profile.probe && self.summary.timeouts == 0;
        if once && self.summary.needed_by_paws > u64::from(self.scenario.hints > 0) {
            return Err("PAWS refused a segment though none was late".into());
        }
        self.summary.schedules = 1;
        self.summary.connections = self.application.connections.into();
        self.summary.answered = self.application.answered as u64;
        self.summary.refused = self.application.refused.into();
        self.summary.limits = self.application.limits.into();
        self.summary.orphans = self.application.orphans.into();
        self.summary.segments = self.network.sent();
        self.summary.duration = self.now;
        Ok(())
    }

    /// The application acts, and what the client sends goes out.
    fn step(&mut self) -> Result<Want, String> {
        let want = self.application.step(self.now, &mut self.client, self.least_window, &mut self.out)?;
        for packet in self.out.drain(..) {
            if !packet.is(Flags::SYN) {
                self.least_window = self.least_window.min(packet.window.into());
            }
            let copy = self.trace.is_some().then(|| packet.clone());
            let fate = self.network.send(self.now, packet);
            if let (Some(trace), Some(packet)) = (&mut self.trace, copy) {
                trace.sent(self.now, &packet, fate);
            }
        }
        Ok(want)
    }

    fn retire(&mut self) {
        self.summary.refused_by_paws += u64::from(self.client.refused_by_paws);
        self.summary.needed_by_paws += u64::from(self.client.needed_by_paws);
        self.summary.timeouts += u64::from(self.client.timeouts);
    }

    fn open(&mut self) {
        self.retire();
        let base = self.application.opened(self.now);
        let port = self.client.port() + 1;
        let isn = self.random.word();
        self.opened = self.now;
        self.least_window = usize::from(u16::MAX);
        if let Some(trace) = &mut self.trace {
            trace.say(self.now, "a new connection");
        }
        self.client =
            SimClient::open(self.scenario.profile.clone(), port, isn, base, self.now, &mut self.out);
    }

    fn arrive(&mut self) -> Result<(), String> {
        let Some(packet) = self.network.receive() else { return Ok(()) };
        if packet.to_server {
            return self.ask(&packet);
        }
        if let Some(trace) = &mut self.trace {
            trace.received(self.now, &packet, 0);
        }
        if packet.port == self.client.port() {
            self.client.receive(self.now, &packet, &mut self.out);
        }
        Ok(())
    }

    /// Whether this connection may have outlived its proof.
    fn may_have_expired(&self) -> bool {
        let timestamps = self.scenario.profile.timestamps;
        self.scenario.clocks.may_have_expired(self.opened, self.now, timestamps)
    }

    /// Whether the servers may have cause for a RST: the content that the connection began with was kept for its time, or what
    /// was kept of the connection is lost.
    fn may_reset(&self, packet: &SimSegment) -> bool {
        let forgets = self.scenario.relay.is_some_and(|relay| relay.forget > 0);
        let former = packet.port != self.client.port();
        let gone = former || self.servers.may_have_forgotten(self.client.generation, self.now);
        self.may_have_expired()
            || self.reloads > 0 && gone
            || self.kept_and_lost()
            || self.scenario.coalesce
            || forgets
    }

    /// Whether messages may be cut, so that the beginning of one may be kept and lost.
    fn kept_and_lost(&self) -> bool {
        let plan = &self.scenario.plan;
        plan.messy > 0 || plan.depth > 1 || plan.questions.iter().any(|question| question.padding > 100)
    }

    fn ask(&mut self, packet: &SimSegment) -> Result<(), String> {
        let which = self.random.below(self.servers.count());
        self.servers.tidy(self.now);
        if let Some(&(at, generation)) = self.scenario.reloads.get(self.reloads)
            && self.now >= at
            && self.servers.reload(self.now, generation)
        {
            self.reloads += 1;
            if let Some(trace) = &mut self.trace {
                trace.say(self.now, "other content");
            }
        }
        if self.scenario.poison > 0 && self.random.one_in(self.scenario.poison) {
            self.servers.poison(which, || self.random.word());
        }
        if let Some(trace) = &mut self.trace {
            trace.received(self.now, packet, which);
        }
        let mut sent = Vec::new();
        let before = self.trace.is_some().then(|| self.servers.counted());
        let mss = self.scenario.profile.mss;
        let checked = self.servers.answer(self.now, which, packet, self.application.octets(), mss, &mut sent);
        if let (Some(trace), Some(before)) = (&mut self.trace, before) {
            trace.say(self.now, &self.servers.counted_since(&before));
        }
        self.send(sent)?;
        checked
    }

    /// What the servers asked for comes.
    fn fetch(&mut self) -> Result<(), String> {
        let mut sent = Vec::new();
        let before = self.trace.is_some().then(|| self.servers.counted());
        let checked = self.servers.turn(self.now, self.scenario.profile.mss, &mut sent);
        if let (Some(trace), Some(before)) = (&mut self.trace, before) {
            trace.say(self.now, &format!("fetched: {}", self.servers.counted_since(&before)));
        }
        self.send(sent)?;
        checked
    }

    fn send(&mut self, sent: Vec<SimSegment>) -> Result<(), String> {
        for packet in sent {
            let acknowledged = position(packet.ack, self.client.initial().0);
            let current = packet.port == self.client.port();
            // Read as of another slot, a segment may seem to belong to other numbers. A client heeds no such ACK.
            let beyond = current
                && packet.is(Flags::ACK)
                && acknowledged > self.client.high()
                && !self.may_have_expired();
            let reset = packet.is(Flags::RST) && !self.may_reset(&packet);
            let copy = self.trace.is_some().then(|| packet.clone());
            let fate = self.network.send(self.now, packet);
            if let (Some(trace), Some(packet)) = (&mut self.trace, copy) {
                trace.sent(self.now, &packet, fate);
            }
            if reset {
                return Err("RST though nothing was merged and no content replaced".into());
            }
            if beyond {
                return Err(format!("acknowledges {acknowledged}, which was never sent"));
            }
        }
        Ok(())
    }
}
