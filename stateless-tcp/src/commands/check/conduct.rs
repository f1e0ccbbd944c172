//! How an instance finds out whether it answers: on every queue at once.

use super::Wish;
use super::client::Client;
use super::question::Question;
use crate::af_xdp::test_run::XdpVerdict;
use crate::dataplane::worker::Shared;
use crate::observe::tap::{Direction, Filter, Listener, Record};
use crate::serving::Switch;
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Between two looks at what the workers answered.
const PAUSE: Duration = Duration::from_millis(1);

/// Whoever wants to wait longer has gone by then.
const LONGEST: Duration = Duration::from_mins(1);

/// More frames than one worker can be sent in a second.
const ALL: u32 = 10_000_000;

/// Ports that clients take (RFC 6335 section 6).
const DYNAMIC: u16 = 49_152;

/// A queue, and the ways to its worker.
#[derive(Debug)]
pub struct Door {
    /// Interface.
    pub interface: String,
    /// Its hardware address.
    pub address: [u8; 6],
    /// The number of its program.
    pub program: usize,
    /// The queue.
    pub queue: u32,
    /// What there is of the worker.
    pub shared: Arc<Shared>,
}

/// A frame for a program, and where to say what becomes of it.
#[derive(Debug)]
pub struct Trial {
    /// The number of the program.
    pub program: usize,
    /// The queue that it comes to.
    pub queue: u32,
    /// The frame.
    pub frame: Vec<u8>,
    /// Where to say it.
    pub reply: mpsc::Sender<Result<XdpVerdict, String>>,
}

/// All that a check goes by.
#[derive(Clone)]
pub struct House {
    /// Every queue.
    pub doors: Arc<[Door]>,
    /// What is served.
    pub switch: Arc<Switch>,
    /// Who has the programs.
    pub trials: UnboundedSender<Trial>,
}

impl fmt::Debug for House {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("House").field("doors", &self.doors).finish_non_exhaustive()
    }
}

impl fmt::Display for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.interface, self.queue)
    }
}

/// Asks on every queue. Returns what was answered, which is the same on all.
///
/// # Errors
/// The first queue that does not answer well, and why.
pub fn conduct(wish: &Wish, house: &House) -> Result<String, String> {
    let begun = Instant::now();
    let (server, port) = house.destination(wish)?;
    let client = wish.client_of(server);
    if client.is_ipv4() != server.is_ipv4() {
        return Err(format!("{client} cannot ask {server}: they are of two families"));
    }
    let client = Address::from(client);
    let prefix = IpAddr::from(client).to_string().parse().map_err(|error| format!("{error}"))?;
    let filter = Filter { client: Some(prefix), port: Some(port), sample: 1, rate: ALL };
    let mut listener = Listener::to_frames(house.doors.iter().map(|door| &*door.shared.outlet), filter);
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|error| format!("no random numbers: {error}"))?;
    let [high, low, isn @ ..] = random;
    let client_port = DYNAMIC | u16::from_be_bytes([high, low]);
    let tuple = FourTuple { server: server.into(), client, server_port: port, client_port };
    let isn = u32::from_be_bytes(isn);
    let talk = |door| Talk::begin(door, tuple, isn, &wish.question);
    let deadline = begun + wish.timeout.min(LONGEST);
    let mut talks: Vec<Talk<'_>> = house.doors.iter().map(talk).collect();
    for talk in &mut talks {
        let open = talk.client.open();
        talk.say(open, house, deadline)?;
    }
    let answer = loop {
        listener.frames(|number, Record { direction, octets, .. }| match direction {
            Direction::Sent => talks[number].hear(octets, house, deadline),
            Direction::Received => Ok(()),
        })?;
        if let Some(answer) = verdict(&talks)? {
            break answer;
        }
        if Instant::now() > deadline {
            return Err(talks
                .iter()
                .find_map(Talk::complaint)
                .unwrap_or_else(|| "no answer in time".to_owned()));
        }
        sleep(PAUSE);
    };
    let (queues, took) = (talks.len(), begun.elapsed().as_millis());
    Ok(format!("{} at {server} port {port}: {answer}, {queues} queue(s), {took} ms", wish.question))
}

/// What all have answered, if all have.
fn verdict(talks: &[Talk<'_>]) -> Result<Option<String>, String> {
    let mut last = None;
    let mut all = true;
    for talk in talks {
        match talk.outcome() {
            Some(Ok(answer)) => last = Some(answer),
            Some(Err(what)) => return Err(format!("{}: {what}", talk.door)),
            None => all = false,
        }
    }
    Ok(last.filter(|_| all))
}

impl House {
    /// Address and port to ask at.
    fn destination(&self, wish: &Wish) -> Result<(IpAddr, u16), String> {
        let offer = self.switch.offer();
        let content = &offer.current.content;
        let address = wish.address.or_else(|| content.addresses().map(|&one| IpAddr::from(one)).min());
        let address = address.ok_or("no address is served")?;
        // DNS is first.
        let mut ports = content.ports();
        let port = match wish.question {
            Question::Dns { .. } => ports.next(),
            Question::Http { .. } => ports.nth(1),
        };
        Ok((address, port.ok_or("that is not served")?))
    }

    /// What becomes of a frame that comes to `door`.
    fn attempt(&self, door: &Door, frame: Vec<u8>, deadline: Instant) -> Result<XdpVerdict, String> {
        let (reply, answer) = mpsc::channel();
        let still = || "the process stands still".to_owned();
        let trial = Trial { program: door.program, queue: door.queue, frame, reply };
        self.trials.send(trial).map_err(|_| "the process is ending".to_owned())?;
        answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|_| still())?
    }
}

impl Door {
    /// How many frames have left, as the worker last said.
    fn completed(&self) -> u64 {
        let vitals = self.shared.vitals.lock().unwrap_or_else(PoisonError::into_inner);
        vitals.as_ref().map_or(0, |vitals| vitals.completed)
    }
}

/// A client at a queue.
struct Talk<'a> {
    door: &'a Door,
    client: Client,
    /// Frames that had left before.
    completed: u64,
}

impl<'a> Talk<'a> {
    fn begin(door: &'a Door, tuple: FourTuple, isn: u32, question: &Question) -> Self {
        let client = Client::new(tuple, door.address, isn, question.clone());
        Self { door, client, completed: door.completed() }
    }

    /// What came of it: good only once what was answered can have left.
    fn outcome(&self) -> Option<Result<String, String>> {
        let outcome = self.client.outcome()?;
        (outcome.is_err() || self.door.completed() > self.completed).then_some(outcome)
    }

    /// Has a frame of the client's go the way of a received one, and the client answer what comes back at once.
    fn say(&mut self, frame: Vec<u8>, house: &House, deadline: Instant) -> Result<(), String> {
        let door = self.door;
        let mut next = Some(frame);
        while let Some(frame) = next.take() {
            match house.attempt(door, frame.clone(), deadline)? {
                XdpVerdict::Answered(answer) => next = self.client.take(&answer),
                XdpVerdict::Redirected if door.shared.inlet.post(frame) => {}
                XdpVerdict::Redirected => return Err(format!("{door}: its worker stands still")),
                XdpVerdict::Dropped => {
                    return Err(format!(
                        "{door}: the XDP program drops it: see --deny and --rate-limit, and --client here"
                    ));
                }
                XdpVerdict::Left => {
                    return Err(format!(
                        "{door}: the XDP program leaves it to the kernel: not a served address, or --kernel-from"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Takes what its worker sent, which may be for others.
    fn hear(&mut self, octets: &[u8], house: &House, deadline: Instant) -> Result<(), String> {
        match self.client.take(octets) {
            Some(next) => self.say(next, house, deadline),
            None => Ok(()),
        }
    }

    /// What it still waits for, if it does.
    fn complaint(&self) -> Option<String> {
        let door = self.door;
        if self.outcome().is_some() {
            None
        } else if self.client.outcome().is_some() {
            Some(format!("{door}: it answers, but the card sends nothing"))
        } else if !door.shared.inlet.is_empty() {
            Some(format!("{door}: its worker stands still"))
        } else if self.client.is_open() {
            Some(format!("{door}: no answer to the question in time"))
        } else {
            Some(format!("{door}: no answer to SYN in time"))
        }
    }
}
