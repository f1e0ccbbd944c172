//! Runs a health check on all queues at once.

use super::CheckRequest;
use super::client::CheckClient;
use super::query::CheckQuery;
use crate::af_xdp::test_run::XdpVerdict;
use crate::dataplane::worker::Shared;
use crate::observe::tap::{Direction, FrameRecord, TapFilter, TapListener};
use crate::serving::{ActiveState, Content};
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Pause between two reads of the workers' answers.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Upper bound of the timeout, in case the caller has gone.
const MAX_TIMEOUT: Duration = Duration::from_mins(1);

/// A tap rate above what one worker can send in a second.
const UNLIMITED: u32 = 10_000_000;

/// First of the dynamic ports (RFC 6335 section 6).
const DYNAMIC_PORTS: u16 = 49_152;

/// A queue that is checked.
#[derive(Debug)]
pub struct QueueTarget {
    /// The name of its interface.
    pub interface: String,
    /// The interface's hardware address.
    pub address: [u8; 6],
    /// Index of the interface's XDP program.
    pub program: usize,
    /// The place where the interface's handshakes are answered, and the reason.
    pub handshake: String,
    /// The queue's number.
    pub queue: u32,
    /// State that is shared with its worker.
    pub shared: Arc<Shared>,
}

/// A frame to run an XDP program on, and the sender for the program's verdict.
#[derive(Debug)]
pub struct TestFrame {
    /// Index of the program.
    pub program: usize,
    /// The receive queue.
    pub queue: u32,
    /// The frame.
    pub frame: Vec<u8>,
    /// Gets the verdict.
    pub reply: mpsc::Sender<Result<XdpVerdict, String>>,
}

/// Everything that a check needs of the running instance.
#[derive(Clone)]
pub struct CheckTargets {
    /// All queues.
    pub queues: Arc<[QueueTarget]>,
    /// The served content.
    pub active: Arc<ActiveState>,
    /// The supervisor, which runs the XDP programs.
    pub test_frames: UnboundedSender<TestFrame>,
}

impl fmt::Debug for CheckTargets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CheckTargets").field("queues", &self.queues).finish_non_exhaustive()
    }
}

impl fmt::Display for QueueTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.interface, self.queue)
    }
}

/// Asks on every queue. Returns the response, which is the same on all.
///
/// # Errors
/// The first queue without a good response, and the reason.
pub fn run_check(request: &CheckRequest, targets: &CheckTargets) -> Result<String, String> {
    let started = Instant::now();
    let (server, port) = targets.destination(request)?;
    let client = request.client_for(server);
    if client.is_ipv4() != server.is_ipv4() {
        return Err(format!("{client} cannot ask {server}: one is IPv4, the other IPv6"));
    }
    let client = Address::from(client);
    let prefix = IpAddr::from(client).to_string().parse().map_err(|error| format!("{error}"))?;
    let filter = TapFilter { client: Some(prefix), port: Some(port), sample: 1, rate: UNLIMITED };
    let taps = targets.queues.iter().map(|target| &*target.shared.taps);
    let mut listener = TapListener::to_frames(taps, filter);
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|error| format!("no random numbers: {error}"))?;
    let [high, low, isn @ ..] = random;
    let client_port = DYNAMIC_PORTS | u16::from_be_bytes([high, low]);
    let tuple = FourTuple { server: server.into(), client, server_port: port, client_port };
    let isn = u32::from_be_bytes(isn);
    let deadline = started + request.timeout.min(MAX_TIMEOUT);
    let open = |target| CheckConnection::new(target, tuple, isn, &request.query);
    let mut connections: Vec<CheckConnection<'_>> = targets.queues.iter().map(open).collect();
    for connection in &mut connections {
        let syn = connection.client.open();
        connection.send(syn, targets, deadline)?;
    }
    let response = loop {
        listener.frames(|number, FrameRecord { direction, bytes, .. }| match direction {
            Direction::Sent => connections[number].receive(bytes, targets, deadline),
            Direction::Received => Ok(()),
        })?;
        if let Some(response) = common_response(&connections)? {
            break response;
        }
        if Instant::now() > deadline {
            let missing = connections.iter().find_map(CheckConnection::missing);
            return Err(missing.unwrap_or_else(|| "no response in time".to_owned()));
        }
        sleep(POLL_INTERVAL);
    };
    let (queues, took) = (connections.len(), started.elapsed().as_millis());
    let handshakes: BTreeSet<&str> = targets.queues.iter().map(|target| &*target.handshake).collect();
    let handshakes = handshakes.into_iter().collect::<Vec<_>>().join(" and ");
    Ok(format!(
        "{} at {server} port {port}: {response}, {queues} queue(s), {handshakes}, {took} ms",
        request.query
    ))
}

/// The response, once all queues have given it.
fn common_response(connections: &[CheckConnection<'_>]) -> Result<Option<String>, String> {
    let mut last = None;
    let mut complete = true;
    for connection in connections {
        match connection.outcome() {
            Some(Ok(response)) => last = Some(response),
            Some(Err(reason)) => return Err(format!("{}: {reason}", connection.target)),
            None => complete = false,
        }
    }
    Ok(last.filter(|_| complete))
}

/// The port of the service that `query` is for.
pub(super) fn port_for(content: &Content, query: &CheckQuery) -> Result<u16, String> {
    let (is_dns, service, remedy) = match query {
        CheckQuery::Dns { .. } => (true, "DNS", "ask for a page by --http PATH"),
        CheckQuery::Http { .. } => (false, "HTTP", "ask for a name by --name NAME"),
    };
    let port =
        content.services().find(|(_, service)| service.role().is_some() == is_dns).map(|(port, _)| port);
    port.ok_or_else(|| format!("this instance does not serve {service}: {remedy}"))
}

impl CheckTargets {
    /// The served address and port to ask at.
    fn destination(&self, request: &CheckRequest) -> Result<(IpAddr, u16), String> {
        let state = self.active.load();
        let content = &state.current.content;
        let lowest = || content.addresses().map(|&address| IpAddr::from(address)).min();
        let address = request.address.or_else(lowest).ok_or("no address is served")?;
        Ok((address, port_for(content, &request.query)?))
    }

    /// The verdict of the XDP program on a frame that arrives at `target`.
    fn run_program(
        &self,
        target: &QueueTarget,
        frame: Vec<u8>,
        deadline: Instant,
    ) -> Result<XdpVerdict, String> {
        let (reply, verdict) = mpsc::channel();
        let test = TestFrame { program: target.program, queue: target.queue, frame, reply };
        self.test_frames.send(test).map_err(|_| "the process is ending".to_owned())?;
        let rest = deadline.saturating_duration_since(Instant::now());
        verdict.recv_timeout(rest).map_err(|_| "the process is stuck".to_owned())?
    }
}

impl QueueTarget {
    /// Frames that the card has sent, by the worker's last report.
    fn completed(&self) -> u64 {
        let status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.as_ref().map_or(0, |status| status.completed)
    }
}

/// The simulated client's connection at one queue.
struct CheckConnection<'a> {
    target: &'a QueueTarget,
    client: CheckClient,
    /// Frames that the card had sent before.
    completed: u64,
}

impl<'a> CheckConnection<'a> {
    fn new(target: &'a QueueTarget, tuple: FourTuple, isn: u32, query: &CheckQuery) -> Self {
        let client = CheckClient::new(tuple, target.address, isn, query.clone());
        Self { target, client, completed: target.completed() }
    }

    /// The client's result. A good one counts only after the card has sent frames.
    fn outcome(&self) -> Option<Result<String, String>> {
        let outcome = self.client.outcome()?;
        (outcome.is_err() || self.target.completed() > self.completed).then_some(outcome)
    }

    /// Sends a frame of the client on the path of a received frame, and passes an immediate reply back to the client.
    fn send(&mut self, frame: Vec<u8>, targets: &CheckTargets, deadline: Instant) -> Result<(), String> {
        let target = self.target;
        let mut next = Some(frame);
        while let Some(frame) = next.take() {
            match targets.run_program(target, frame.clone(), deadline)? {
                XdpVerdict::Answered(reply) => next = self.client.receive(&reply),
                XdpVerdict::Redirected if target.shared.inject_queue.post(frame) => {}
                XdpVerdict::Redirected => return Err(format!("{target}: its worker is stuck")),
                XdpVerdict::Dropped => {
                    return Err(format!(
                        "{target}: the XDP program drops the frame: see --deny and --rate-limit, and --client of this \
                         command"
                    ));
                }
                XdpVerdict::Left => {
                    return Err(format!(
                        "{target}: the XDP program passes the frame to the kernel: the address is not served, or \
                         --kernel-from names the client"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Passes a frame that the worker sent to the client. It may be for another client.
    fn receive(&mut self, frame: &[u8], targets: &CheckTargets, deadline: Instant) -> Result<(), String> {
        match self.client.receive(frame) {
            Some(next) => self.send(next, targets, deadline),
            None => Ok(()),
        }
    }

    /// The step that this connection still waits for, if it does.
    fn missing(&self) -> Option<String> {
        let target = self.target;
        if self.outcome().is_some() {
            None
        } else if self.client.outcome().is_some() {
            Some(format!("{target}: its worker answers, but the card sends nothing"))
        } else if !target.shared.inject_queue.is_empty() {
            Some(format!("{target}: its worker is stuck"))
        } else if self.client.is_open() {
            Some(format!("{target}: no response to the query in time"))
        } else {
            Some(format!("{target}: no response to SYN in time"))
        }
    }
}
