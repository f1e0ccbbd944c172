//! The simulator's model of a Linux client, checked against the kernel's.
//!
//! A real client, in a namespace of its own, has its network in a TUN device. On the other side of the device stand the
//! same servers, the same plans of questions and the same kinds of faults as in the simulator. Everything that is done
//! to the client (a segment that arrives, a call of its application) is done to the model as well, and **the kernel must
//! send, segment by segment, what the model sends**: SEG.SEQ, SEG.ACK, SEG.LEN, SYN, FIN, RST and ACK, the MSS, and the
//! timestamp echoed, which is the promise. The application must read what the model has received, byte by
//! byte, and end (FIN, RST) where the model ends; and it must be the answers to what was asked.
//!
//! This is stable because nothing here waits for a time. The device has no queue and one thread does everything, so that
//! what the kernel sends in reaction is readable when the call that provoked it returns; what it sends otherwise, a timer
//! sent. The fate of a segment depends on how many went before it, and what is late waits for others. The kernel's
//! timers run, with a least retransmission timeout of 20 ms, but only their order counts.
//!
//! Decisions by the kernel's clock, memory or congestion control are left open, and all clients that it may be are
//! followed: when one of several pending timers goes off; whether an arrival in order is acknowledged at once, with
//! the second full segment or when the application reads, and whether reading alone is worth a window update; whether
//! header prediction is on; how many segments the congestion window has room for, and how many leave as one; what RACK
//! spares at a timeout; whether a timeout is taken for spurious (F-RTO, Eifel). The size of the window and TSval are the
//! kernel's. Out of comparison: TIME-WAIT, keep-alive, data written before the connection is open, the limit on answers
//! to what is out of the window, and merging networks.
//!
//! The model of a Linux client is thereby confirmed, on 6.18, as far as the schedules meet with it:
//!
//! - At a timeout the head alone is resent, as it was cut, from SND.UNA on; together with what follows it if both fit a
//!   segment (collapse), the FIN too; and each of those that are lost behind it when acknowledgments make room.
//! - Nothing is cut anew, but where several segments waited for the window to open: these leave as one, which ends where the
//!   window ends, and are cut anew from wherever SND.UNA comes to lie in them.
//! - Without SACK there is no tail loss probe. Duplicates resend the head only where four or more are out, and where as many
//!   came that disorder is expected, even later.
//! - TS.Recent is taken only from a segment that is not beyond what was acknowledged last. (That it is not taken from one whose
//!   own acknowledgment is old, the schedules drawn here do not tell: such a segment hardly ever carries a newer promise.)
//! - PAWS refuses and acknowledges what has bytes; an old pure ACK it drops in silence.
//! - Outside of header prediction what an acknowledgment sets free goes out with the old RCV.NXT and the new echo.
//! - Nagle as Minshall mended it; the last of a write waits, the full ones before it do not.
//! - The first copy of a byte counts, whatever comes later.
//! - A FIN that arrives after our own is acknowledged at once and by itself; bytes behind it reset the connection if they
//!   begin before RCV.NXT, and are dropped else; what comes for a connection that is gone is answered by RST.

mod conversation;
mod device;
mod follower;
mod path;
mod script;
mod wire;

use std::{
    collections::VecDeque,
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

pub use conversation::ScheduleOutcome;
use conversation::{Conversation, Turn};
use device::Device;

use super::{
    Failure,
    packet::{Micros, SimSegment},
};
use crate::netns::Netns;

/// Schedules at one time.
const AT_ONCE: usize = 64;
/// While all wait for timers of the kernel.
const NAP: Duration = Duration::from_millis(1);
/// Enough failures to tell a rare one from a model that is wrong.
const MOST_FAILURES: usize = 8;
/// Number of repetitions of a schedule that went wrong.
const AGAIN: usize = 3;
/// Without any progress of any schedule.
const PATIENCE: Duration = Duration::from_mins(1);
/// A quarter of the schedules may be left, which wait for timers that have doubled again and again, after so much time for
/// each. On a slow machine it goes on until no more than that are left.
const TIME: Duration = Duration::from_millis(65);

/// Runs the `count` schedules from `first` on, and returns what they came to in all. The last few that wait for timers which
/// have doubled again and again are left when the time is over.
///
/// # Panics
/// If the kernel's client does what the model does not, or the protocol fails it; or if nothing moves any more.
pub fn check(first: u64, count: u64, timestamps: bool) -> ScheduleOutcome {
    let (total, mut failures) = attempt(first, count, timestamps);
    // A kernel that lacks memory, or was kept from its processor, does for once what it does not do again.
    for _ in 0..AGAIN {
        failures.retain(|&(number, _)| !attempt(number, 1, timestamps).1.is_empty());
    }
    assert!(failures.is_empty(), "{}", report(&failures));
    total
}

fn attempt(first: u64, count: u64, timestamps: bool) -> (ScheduleOutcome, Vec<(u64, Failure)>) {
    let namespace = Netns::new("kernel");
    namespace.run(&format!("sysctl -q -w net.ipv4.tcp_timestamps={}", u8::from(timestamps)));
    namespace.enter(|| World::new(&namespace, timestamps).run(first, count))
}

struct World {
    device: Device,
    timestamps: bool,
    begun: Instant,
    running: Vec<(u64, Conversation)>,
    failures: Vec<(u64, Failure)>,
}

impl World {
    fn new(namespace: &Netns, timestamps: bool) -> Self {
        let device = Device::open(namespace);
        Self { device, timestamps, begun: Instant::now(), running: Vec::new(), failures: Vec::new() }
    }

    fn now(&self) -> Micros {
        Micros::try_from(self.begun.elapsed().as_micros()).expect("a short time")
    }

    fn run(mut self, first: u64, count: u64) -> (ScheduleOutcome, Vec<(u64, Failure)>) {
        let mut waiting: VecDeque<u64> = (0..count).map(|index| first.wrapping_add(index)).collect();
        let mut total = ScheduleOutcome::default();
        let mut moved_at = Instant::now();
        let time = TIME * u32::try_from(count).expect("not that many");
        while self.failures.len() < MOST_FAILURES {
            let left = waiting.len() as u64 + self.running.len() as u64;
            if self.begun.elapsed() > time && left <= count / 4 {
                total.unfinished = left;
                break;
            }
            while self.running.len() < AT_ONCE
                && let Some(number) = waiting.pop_front()
            {
                self.begin(number);
            }
            if self.running.is_empty() {
                break;
            }
            if self.round(&mut total) {
                moved_at = Instant::now();
            } else if moved_at.elapsed() > PATIENCE {
                let stuck: Vec<u64> = self.running.iter().map(|&(number, _)| number).collect();
                panic!("nothing moves any more; schedules under way: {stuck:?}");
            } else {
                thread::sleep(NAP);
            }
        }
        (total, self.failures)
    }

    fn begin(&mut self, number: u64) {
        self.overhear();
        let mut conversation = Conversation::draw(number, self.timestamps);
        match conversation.open(self.now(), &mut self.device) {
            Ok(()) => self.running.push((number, conversation)),
            Err(what) => self.fail(number, &conversation, &what),
        }
    }

    /// Every schedule does one thing; whether any did.
    fn round(&mut self, total: &mut ScheduleOutcome) -> bool {
        let mut moved = false;
        let mut index = 0;
        while index < self.running.len() {
            moved |= self.overhear();
            let now = self.now();
            let Some((_, conversation)) = self.running.get_mut(index) else { break };
            match conversation.turn(now, &mut self.device) {
                Ok(Turn::Done(outcome)) => {
                    total.add(outcome);
                    self.running.swap_remove(index);
                    moved = true;
                    continue;
                }
                Ok(turn) => moved |= turn == Turn::Moved,
                Err(what) => {
                    let (number, conversation) = self.running.swap_remove(index);
                    self.fail(number, &conversation, &what);
                    continue;
                }
            }
            index += 1;
        }
        moved
    }

    /// The kernel's own segments go to their connections.
    fn overhear(&mut self) -> bool {
        // A SYN that is resent is a timer's too.
        let mut sent: Vec<SimSegment> = self.device.take(|_| true);
        let moved = !sent.is_empty();
        let now = self.now();
        while let Some(port) = sent.first().map(|packet| packet.port) {
            let (own, others) = sent.into_iter().partition(|packet| packet.port == port);
            sent = others;
            let Some(index) = self.running.iter().position(|(_, other)| other.port() == Some(port)) else {
                continue;
            };
            if let Err(what) = self.running[index].1.overhear(now, own) {
                let (number, conversation) = self.running.swap_remove(index);
                self.fail(number, &conversation, &what);
            }
        }
        moved
    }

    fn fail(&mut self, number: u64, conversation: &Conversation, what: &str) {
        let trace = conversation.text().to_owned();
        self.failures.push((number, Failure { what: what.to_owned(), trace }));
    }
}

impl ScheduleOutcome {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.connections += other.connections;
        self.segments += other.segments;
        self.timed += other.timed;
        self.limits += other.limits;
        self.unfinished += other.unfinished;
    }
}

fn report(failures: &[(u64, Failure)]) -> String {
    let mut text = String::new();
    for (number, failure) in failures {
        let _ = writeln!(text, "schedule {number}: {}", failure.what);
    }
    if let Some((number, failure)) = failures.iter().min_by_key(|(_, failure)| failure.trace.len()) {
        let _ = writeln!(text, "schedule {number}: {failure}");
    }
    text
}
