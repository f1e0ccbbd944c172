//! The loop: hear, begin, remind, forge, send; on one thread, over all queues.

use crate::clients::{Clients, Said};
use crate::plan::Plan;
use crate::rate::Rate;
use crate::report::{Forged, Report};
use crate::route::Route;
use crate::syn_flood::SynFlood;
use crate::xdp_sockets::XdpSockets;
use anyhow::{Context as _, Result};
use stateless_tcp::af_xdp::poller::Poller;
use stateless_tcp::af_xdp::socket::{BATCH, Socket};
use stateless_tcp::af_xdp::umem::Frame;
use stateless_tcp::config::XdpMode;
use stateless_tcp::dataplane::responder::Frames as _;
use stateless_tcp_core::steering::{Layout, Protocol, Version, steer};
use stateless_tcp_core::wire;
use stateless_tcp_flood_filter::FlowClass;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Most that is begun, and most that is forged, in one turn of the loop: as many as one system call sends in copy mode, so
/// that those who have something to hear do not wait long.
const AT_ONCE: u64 = 32;

/// Time for the last connections to close.
const FAREWELL: u64 = 100_000_000;

/// After so long an idle loop looks whether it shall end.
const IDLE: u64 = 10_000_000;

/// After so long frames in the TX ring get another push.
const SENDING: u64 = 1_000_000;

/// Runs the plan for `seconds`, and until no client waits any more; or until `stop` is set.
///
/// # Errors
/// If it cannot send or receive.
pub fn run(plan: Plan, mode: XdpMode, seconds: u64, rate: u64, stop: &Arc<AtomicBool>) -> Result<Report> {
    let Plan { interface, server, filter, route, clients, syn_flood } = plan;
    let mut xdp_sockets = XdpSockets::open(&interface, &filter, mode)?;
    let way = xdp_sockets.way;
    let mut event_loop = EventLoop {
        link: Link::new(&route, server.is_ipv6()),
        filter,
        clients,
        rate: Rate::new(rate),
        syn_flood: syn_flood.map(|(syn_flood, rate)| (syn_flood, Rate::new(rate), 0)),
        until: seconds * 1_000_000_000,
        batch: Vec::with_capacity(BATCH),
        waiter: waiter(&xdp_sockets.sockets)?,
        turns: 0,
    };
    let began = Instant::now();
    let now = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut end = u64::MAX;
    while now() < end {
        event_loop.turn(&now, &mut xdp_sockets.sockets).context("the AF_XDP sockets no longer work")?;
        event_loop.until = if stop.load(Relaxed) { event_loop.until.min(now()) } else { event_loop.until };
        if end == u64::MAX
            && now() >= event_loop.until
            && (event_loop.clients.waiting() == 0 || stop.load(Relaxed))
        {
            end = now() + FAREWELL;
        }
    }
    let forged = match &event_loop.syn_flood {
        Some((_, rate, sent)) => Some(Forged {
            sent: *sent,
            left_out: rate.left_out(),
            answered: xdp_sockets.count(FlowClass::Forged)?,
        }),
        None => None,
    };
    let offering = Duration::from_nanos(event_loop.until);
    let left_out = event_loop.rate.left_out();
    Ok(Report::new(server, &interface.name, way, offering, left_out, event_loop.clients.finish(), forged))
}

/// The link header of frames from the server, and where the others are in the frames that are written behind it.
struct Link {
    bytes: [u8; 14],
    layout: Layout,
}

impl Link {
    fn new(route: &Route, v6: bool) -> Self {
        let (version, header) = if v6 { (Version::V6, 40) } else { (Version::V4, 20) };
        let network = route.link.len();
        let layout = Layout { network, transport: network + header, version, protocol: Protocol::Tcp };
        Self { bytes: route.link, layout }
    }
}

struct EventLoop {
    link: Link,
    filter: stateless_tcp_flood_filter::Plan,
    clients: Clients,
    rate: Rate,
    /// The source of forged SYNs, its rate, and the number sent.
    syn_flood: Option<(SynFlood, Rate, u64)>,
    /// When the last client begins, and the last SYN is forged.
    until: u64,
    /// Room for what one socket hears in one turn.
    batch: Vec<(Frame, usize)>,
    /// On all sockets.
    waiter: Poller,
    turns: usize,
}

impl EventLoop {
    /// One turn. All sockets are heard; what is begun goes out by each in turn.
    fn turn(&mut self, now: &impl Fn() -> u64, sockets: &mut [Socket]) -> Result<()> {
        let mut heard = false;
        let mut batch = std::mem::take(&mut self.batch);
        for socket in &mut *sockets {
            socket.receive(&mut batch);
            heard |= !batch.is_empty();
            let time = now();
            for (frame, length) in batch.drain(..) {
                self.hear(time, socket, frame, length);
            }
        }
        self.batch = batch;
        self.turns = (self.turns + 1) % sockets.len();
        let time = now();
        self.begin(time, &mut sockets[self.turns]);
        self.forge(time, &mut sockets[self.turns]);
        for socket in &mut *sockets {
            socket.transmit()?;
            socket.replenish();
        }
        if !heard {
            self.rest(now(), sockets)?;
        }
        Ok(())
    }

    /// Answers a frame in itself, or lets it go.
    fn hear(&mut self, now: u64, socket: &mut Socket, mut frame: Frame, length: usize) {
        let bytes = socket.octets(&mut frame);
        let received = &bytes[..length];
        let layout = steer(received, &self.filter);
        let Some((layout, whole)) =
            layout.ok().and_then(|layout| Some((layout, wire::parse(received, &layout).ok()?)))
        else {
            self.clients.stats.damaged += 1;
            socket.release(frame);
            return;
        };
        match self.clients.hear(now, &whole.segment, &received[whole.payload()]) {
            Some(said) => {
                // Over the VLAN that it came by.
                let mut link = [0; wire::ethernet::MAX_HEADER];
                let link = &mut link[..layout.network];
                link.copy_from_slice(&bytes[..layout.network]);
                let first = self.clients.before(said);
                let length = self.clients.write(now, first.unwrap_or(said), link, &layout, bytes);
                socket.send(frame, length);
                // Without a frame for it, the question is lost.
                if let Some(mut frame) = first.and_then(|_| socket.take()) {
                    let length = self.clients.write(now, said, link, &layout, socket.octets(&mut frame));
                    socket.send(frame, length);
                }
            }
            None => socket.release(frame),
        }
    }

    /// Sends what is due: retransmissions first.
    fn begin(&mut self, now: u64, socket: &mut Socket) {
        let mut due = if now < self.until { self.rate.due(now).min(AT_ONCE) } else { 0 };
        for _ in 0..2 * AT_ONCE {
            let Some(mut frame) = socket.take() else { return };
            let said = self.clients.remind(now).or_else(|| {
                due = due.checked_sub(1)?;
                let said = self.clients.begin(now);
                self.rate.done();
                said
            });
            let Some(said) = said else { return socket.release(frame) };
            let length = self.write(now, said, socket.octets(&mut frame));
            socket.send(frame, length);
        }
    }

    fn write(&mut self, now: u64, said: Said, bytes: &mut [u8]) -> usize {
        self.clients.write(now, said, &self.link.bytes, &self.link.layout, bytes)
    }

    fn forge(&mut self, now: u64, socket: &mut Socket) {
        let Some((syn_flood, rate, sent)) = self.syn_flood.as_mut().filter(|_| now < self.until) else {
            return;
        };
        for _ in 0..rate.due(now).min(AT_ONCE) {
            let Some(mut frame) = socket.take() else { return };
            let length = syn_flood.write(&self.link.bytes, &self.link.layout, socket.octets(&mut frame));
            socket.send(frame, length);
            rate.done();
            *sent += 1;
        }
    }

    /// Waits until something comes or is due.
    fn rest(&mut self, now: u64, sockets: &[Socket]) -> Result<()> {
        let forge = self.syn_flood.as_ref().map_or(u64::MAX, |(_, rate, _)| rate.next());
        let begin = if now < self.until { self.rate.next().min(forge) } else { u64::MAX };
        let sending = sockets.iter().any(Socket::is_sending);
        let push = now + if sending { SENDING } else { IDLE };
        let due = begin.min(push).min(self.clients.next_reminder());
        let Some(time) = due.checked_sub(now).filter(|&time| time > 0) else { return Ok(()) };
        let Some(first) = sockets.first() else { return Ok(()) };
        Ok(self.waiter.wait(first, Duration::from_nanos(time))?)
    }
}

/// Waits on all of `sockets`, asleep.
fn waiter(sockets: &[Socket]) -> Result<Poller> {
    let (first, others) = sockets.split_first().context("the interface has no RX queue")?;
    let others: Vec<RawFd> = others.iter().map(AsRawFd::as_raw_fd).collect();
    Ok(Poller::new(first, &others, Duration::ZERO))
}
