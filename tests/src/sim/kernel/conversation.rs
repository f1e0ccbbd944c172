//! One schedule: a script on a real socket, two directions of a network, the servers, and the model that follows.

use super::{
    device::Device,
    follower::{Event, Follower, Got},
    path::{LinkVerdict, Path},
    script::{SocketOptions, SocketScript},
};
use crate::{
    seed::Random,
    sim::{
        application::ApplicationConfig,
        client::{ConnectionState, Profile, SimClient, TcpStack, Timer},
        clocks::Clocks,
        network,
        packet::{Micros, SimSegment, position},
        scenario::{Scenario, Scope},
        servers::Servers,
        trace::Trace,
    },
};

use stateless_tcp_core::tcp::isn::MssClass;
use stateless_tcp_core::tcp::segment::Flags;

/// Most bytes in a segment of a server's.
const MSS_STANDARD: u16 = MssClass::Standard.bytes();
/// Ethernet's, as the TUN device has it.
const MSS: u16 = 1460;
/// The kernel's timers are so many times faster than they are by default, and so is the servers' clock.
const HURRY: Micros = 10;
/// Segments that a client sends by itself, and reads nothing, before a client without timestamps has met a limit of
/// docs/protocol.md, and one with timestamps has failed.
const MOST_ALONE: (u32, u32) = (4, 40);

/// The outcome of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleOutcome {
    /// Questions answered.
    pub answered: usize,
    /// Connections.
    pub connections: u32,
    /// Segments that the kernel's clients sent, each of which the model sent too.
    pub segments: usize,
    /// Of those, sent by a timer.
    pub timed: usize,
    /// Documented limits reached.
    pub limits: u32,
    /// Schedules that were left because their time was over.
    pub unfinished: u64,
}

/// A schedule under way.
pub(super) struct Conversation {
    random: Random,
    profile: Profile,
    servers: Servers,
    script: SocketScript,
    to_server: Path,
    to_client: Path,
    connection: Option<Connection>,
    /// Segments that the client has sent by itself since it last read something.
    alone: u32,
    outcome: ScheduleOutcome,
    trace: Trace,
}

struct Connection {
    port: u16,
    isn: u32,
    follower: Follower,
}

/// Whether a schedule goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something happened.
    Moved,
    /// Nothing can happen before the kernel moves.
    Waits,
    /// It is complete.
    Done(ScheduleOutcome),
}

impl Conversation {
    /// The schedule of a number.
    pub(super) fn draw(number: u64, timestamps: bool) -> Self {
        let drawn = Scenario::draw(number, if timestamps { Scope::Many } else { Scope::Single });
        let scenario = Scenario { clocks: Clocks::agreeing(), ..drawn };
        let mut random = scenario.random.clone();
        // A small memory is full of small segments before the window is, and then the kernel drops what is out of order.
        let buffer = random.pick(&[None, None, Some(20_000), Some(6_000)]);
        let buffer = buffer.filter(|_| scenario.segment_size >= MSS_STANDARD);
        let mut plan = scenario.plan.clone();
        tame(&mut plan);
        let profile = Profile {
            kind: TcpStack::Linux,
            timestamps,
            mss: MSS,
            buffer: 65_535,
            autocork: false,
            collapse: true,
            frto: true,
            probe: false,
            defer_ack: false,
            keep_alive: None,
            ..scenario.profile
        };
        let manner = SocketOptions {
            nagle: profile.nagle,
            buffer,
            pause: if plan.pause == 0 { 0 } else { 1 + u32::try_from(random.below(4)).expect("few") },
        };
        let mut trace = Trace::default();
        trace.say(
            0,
            &format!(
                "{manner:?} {:?} depth {} cuts {:?} messy {} reading {:?} {:?}",
                plan.style, plan.depth, plan.cuts, plan.messy, plan.reading, plan.ending
            ),
        );
        Self {
            servers: Servers::new(&scenario, Random::from_seed(0)),
            script: SocketScript::new(plan, manner),
            to_server: Path::draw(&mut random, !timestamps),
            to_client: Path::draw(&mut random, !timestamps),
            connection: None,
            alone: 0,
            outcome: ScheduleOutcome::default(),
            trace,
            profile,
            random,
        }
    }

    /// The client's port.
    pub(super) fn port(&self) -> Option<u16> {
        self.connection.as_ref().map(|connection| connection.port)
    }

    /// The events, for human eyes.
    pub(super) fn text(&self) -> &str {
        self.trace.text()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The kernel's SYN is not the model's.
    pub(super) fn open(&mut self, now: Micros, device: &mut Device) -> Result<(), String> {
        self.to_server.clear();
        self.to_client.clear();
        let port = self.script.open();
        self.outcome.connections += 1;
        self.alone = 0;
        let [syn] = <[SimSegment; 1]>::try_from(device.take(|packet| packet.port == port))
            .map_err(|sent| format!("connect sent {} segments", sent.len()))?;
        let mut own = Vec::new();
        let client =
            SimClient::open(self.profile.clone(), syn.port, syn.seq, self.script.begun(), now, &mut own);
        if syn.mss != Some(MSS) || syn.timestamps.is_some() != self.profile.timestamps {
            return Err(format!("a SYN with MSS {:?} and {:?}", syn.mss, syn.timestamps));
        }
        let follower = Follower::new(now, client, &syn);
        self.connection = Some(Connection { port: syn.port, isn: syn.seq, follower });
        self.transmit(now, &syn);
        Ok(())
    }

    /// The kernel sent `sent` by itself.
    ///
    /// # Errors
    /// The model would not.
    pub(super) fn overhear(&mut self, now: Micros, sent: Vec<SimSegment>) -> Result<(), String> {
        let count = u32::try_from(sent.len()).expect("few");
        self.alone += count;
        self.outcome.timed += sent.len();
        self.observe(now, None, sent)
    }

    fn observe(&mut self, now: Micros, event: Option<&Event>, sent: Vec<SimSegment>) -> Result<(), String> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let observed = connection.follower.observe(now, event, &sent);
        self.outcome.segments += sent.len();
        for packet in sent {
            self.transmit(now, &packet);
        }
        observed
    }

    /// A segment of the client enters the network.
    fn transmit(&mut self, now: Micros, packet: &SimSegment) {
        if !packet.is(Flags::SYN) {
            self.script.least_window = self.script.least_window.min(packet.window.into());
        }
        let fate = self.to_server.send(packet.clone());
        self.trace.sent(now, packet, Some(told(fate)));
    }

    /// Does one thing.
    ///
    /// # Errors
    /// The error.
    pub(super) fn turn(&mut self, now: Micros, device: &mut Device) -> Result<Turn, String> {
        let choices = [self.to_server.is_ready(), self.to_client.is_ready(), true];
        let first = self.random.below(choices.len());
        for choice in (0..choices.len()).map(|step| (first + step) % choices.len()) {
            let moved = match choice {
                0 => self.serve(now)?,
                1 => self.deliver(now, device)?,
                _ => self.act(now, device)?,
            };
            if moved {
                return Ok(Turn::Moved);
            }
        }
        let (left, right) = (self.to_server.settle(), self.to_client.settle());
        self.script.settle();
        if left || right || self.act(now, device)? {
            return Ok(Turn::Moved);
        }
        self.rest(now, device)
    }

    fn act(&mut self, now: Micros, device: &mut Device) -> Result<bool, String> {
        let event = self.script.act()?;
        match event {
            Some(event) => self.provoke(now, &event, device).map(|()| true),
            None => Ok(false),
        }
    }

    /// Something was done to the kernel's client; what it sent is here already.
    fn provoke(&mut self, now: Micros, event: &Event, device: &mut Device) -> Result<(), String> {
        let port = self.port();
        let sent = device.take(|packet| Some(packet.port) == port);
        if let Event::Read(_, Got::Octets(_)) = event {
            self.alone = 0;
        }
        if !matches!(event, Event::Arrive(_) | Event::Read(_, Got::Nothing)) {
            self.trace.say(now, &format!("{:.60}", format!("{event:?}")));
        }
        self.observe(now, Some(event), sent)
    }

    fn deliver(&mut self, now: Micros, device: &mut Device) -> Result<bool, String> {
        let Some(packet) = self.to_client.arrive() else { return Ok(false) };
        self.trace.received(now, &packet, 0);
        device.deliver(&packet);
        self.script.wake();
        self.provoke(now, &Event::Arrive(packet), device)?;
        Ok(true)
    }

    fn serve(&mut self, now: Micros) -> Result<bool, String> {
        let Some(mut packet) = self.to_server.arrive() else { return Ok(false) };
        let Some(connection) = &self.connection else { return Ok(false) };
        let which = self.random.below(self.servers.count());
        self.trace.received(now, &packet, which);
        let stream = &self.script.plan().bytes;
        if packet.length > 0 {
            let place = usize::try_from(position(packet.seq, connection.isn) - 1)
                .map_err(|_| "data below the first octet")?;
            packet.from = self.script.begun() + place;
            let written = stream.get(packet.from..packet.from + packet.bytes.len());
            if written != Some(&packet.bytes) {
                return Err("the kernel sent other octets than were written".into());
            }
        }
        let mut answers = Vec::new();
        self.servers.answer(now * HURRY, which, &packet, stream, MSS, &mut answers)?;
        for answer in answers {
            let fate = self.to_client.send(answer.clone());
            self.trace.sent(now, &answer, Some(told(fate)));
        }
        Ok(true)
    }

    /// Nothing is on its way.
    fn rest(&mut self, now: Micros, device: &mut Device) -> Result<Turn, String> {
        let Some(connection) = &self.connection else { return Ok(Turn::Waits) };
        let follower = &connection.follower;
        let over =
            follower.all(|client| matches!(client.state, ConnectionState::Reset | ConnectionState::Closed));
        let idle = follower.all(|client| Timer::ALL.iter().all(|&timer| client.due(timer).is_none()));
        if self.script.has_left() && (over || idle) {
            self.connection = None;
            if self.script.wants_more() && self.outcome.limits == 0 {
                self.open(now, device)?;
                return Ok(Turn::Moved);
            }
            self.outcome.answered = self.script.answered;
            return Ok(Turn::Done(self.outcome));
        }
        let (without, with) = MOST_ALONE;
        if self.profile.timestamps && self.alone > with {
            return Err("the client resends and resends".into());
        }
        if !self.profile.timestamps && (self.alone > without || idle) {
            self.outcome.limits += 1;
            if self.script.has_left() {
                self.outcome.answered = self.script.answered;
                return Ok(Turn::Done(self.outcome));
            }
            let event = self.script.abort();
            self.provoke(now, &event, device)?;
            return Ok(Turn::Moved);
        }
        if idle {
            return Err("deadlock: nothing is on its way and the model waits for no time".into());
        }
        Ok(Turn::Waits)
    }
}

/// The limits of a script on a socket that does not wait.
fn tame(plan: &mut ApplicationConfig) {
    plan.eager = false;
    plan.linger = 0;
    let ApplicationConfig { questions, bytes, ends, style, cuts, .. } = plan;
    if questions.iter().all(|question| question.answer > 0) {
        return;
    }
    // An empty answer does not show on a socket.
    bytes.clear();
    ends.clear();
    for question in questions {
        question.answer = question.answer.max(2);
        question.write(*style, bytes);
        ends.push(bytes.len());
    }
    cuts.retain(|&cut| cut <= bytes.len());
}

fn told(fate: LinkVerdict) -> network::Delivery {
    match fate {
        LinkVerdict::Deliver => network::Delivery::Deliver,
        LinkVerdict::Lose => network::Delivery::Lose,
        LinkVerdict::Twice(behind) => network::Delivery::Duplicate(behind as Micros * 1000),
        LinkVerdict::Late(behind) => network::Delivery::Delay(behind as Micros * 1000),
    }
}
