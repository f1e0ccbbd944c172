//! The sockets by which one worker asks: several for each back end, at ports that nobody can foretell, and that change.

use super::rng::Rng;
use super::upstreams::DnsUpstreams;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, SndBuf, SndBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

/// Sockets for each back end.
const EACH: usize = 4;

/// How long a socket is used, and for how many queries, until another takes its place, at another port.
const LIFE: Duration = Duration::from_secs(10);
const QUERIES: u32 = 20_000;

/// Octets of queries, and of answers, with what the kernel keeps about each, that may wait at a socket.
const BUFFER: usize = 2 << 20;

/// Most datagrams sent or received by one call.
const BATCH: usize = 32;

/// What the worker's mailbox is called among the sockets that can be read.
const MAILBOX: u64 = u64::MAX;

/// One connected socket.
#[derive(Debug)]
struct UpstreamSocket {
    upstream: usize,
    socket: UdpSocket,
    since: Duration,
    queries: u32,
    /// Queries that may still be answered.
    open: u32,
    /// Datagrams that wait to be sent, one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// All of a worker's sockets, [`EACH`] for each back end, by number.
#[derive(Debug)]
pub(super) struct UpstreamSockets {
    epoll: Epoll,
    all: Vec<UpstreamSocket>,
    /// By back end: the one in use in this turn, so that queries go out together.
    current: Vec<Option<u16>>,
}

/// Datagrams received by one call.
#[derive(Debug, Default)]
pub(super) struct ReceiveBuffers {
    bytes: Vec<u8>,
    each: usize,
    lengths: Vec<usize>,
}

impl UpstreamSockets {
    /// Opens the sockets. The worker's `mailbox` is waited for besides them.
    pub(super) fn open(upstreams: &DnsUpstreams, mailbox: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(mailbox, EpollEvent::new(EpollFlags::EPOLLIN, MAILBOX))?;
        let mut all = Vec::new();
        for upstream in 0..upstreams.len() {
            for _ in 0..EACH {
                let socket = connect(upstreams.get(upstream).address)?;
                epoll.add(&socket, event(all.len()))?;
                all.push(UpstreamSocket::new(upstream, socket));
            }
        }
        Ok(Self { epoll, all, current: vec![None; upstreams.len()] })
    }

    /// Readable when any of them is.
    pub(super) fn fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }

    pub(super) fn upstream(&self, socket: u16) -> usize {
        self.all[usize::from(socket)].upstream
    }

    /// The channel by which queries go to `upstream` in this turn.
    pub(super) fn choose(&mut self, upstream: usize, now: Duration, rng: &mut Rng) -> u16 {
        if let Some(current) = self.current[upstream] {
            return current;
        }
        let first = rng.below(u32::try_from(EACH).unwrap_or(1)) as usize;
        let numbers = (0..EACH).map(|offset| upstream * EACH + (first + offset) % EACH);
        // One whose time is over is left alone until all its queries are answered, and is replaced then.
        let chosen = numbers.clone().find(|&number| self.renew_if_expired(number, now));
        let chosen = chosen.unwrap_or(upstream * EACH + first);
        #[expect(clippy::cast_possible_truncation, reason = "at most 64 back ends")]
        let chosen = chosen as u16;
        self.current[upstream] = Some(chosen);
        chosen
    }

    /// Whether a channel can be used, with another socket if its time is over.
    fn renew_if_expired(&mut self, number: usize, now: Duration) -> bool {
        let socket = &mut self.all[number];
        if now.saturating_sub(socket.since) < LIFE && socket.queries < QUERIES {
            return true;
        }
        if socket.open > 0 {
            return false;
        }
        let renewed = socket.socket.peer_addr().and_then(connect).and_then(|renewed| {
            self.epoll.add(&renewed, event(number))?;
            Ok(renewed)
        });
        match renewed {
            // The one before is closed, and so no longer waited for.
            Ok(renewed) => socket.socket = renewed,
            Err(error) => tracing::warn!("a socket for a back end is used longer than it should be: {error}"),
        }
        (socket.since, socket.queries) = (now, 0);
        true
    }

    /// Puts a datagram, which `write` appends, into the queue of a channel.
    pub(super) fn queue(&mut self, socket: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let socket = &mut self.all[usize::from(socket)];
        write(&mut socket.bytes);
        socket.ends.push(socket.bytes.len());
        socket.queries += 1;
        socket.open += 1;
    }

    /// A query of this channel is no longer waited for.
    pub(super) fn end_query(&mut self, socket: u16) {
        self.all[usize::from(socket)].open -= 1;
    }

    /// Whether there is something to be sent.
    pub(super) fn any_queued(&self) -> bool {
        self.current.iter().any(Option::is_some)
    }

    /// Sends what was posted; `refused` hears of back ends whose host says that nobody listens. What the kernel does not
    /// take is lost, as on any path.
    pub(super) fn flush(&mut self, mut refused: impl FnMut(usize)) {
        for current in &mut self.current {
            let Some(number) = current.take() else { continue };
            let socket = &mut self.all[usize::from(number)];
            if socket.send() == Err(Errno::ECONNREFUSED) {
                refused(socket.upstream);
            }
        }
    }

    /// Which sockets can be read, or have failed, into `ready`; and whether the mailbox can be.
    pub(super) fn poll(&self, ready: &mut Vec<u16>) -> bool {
        let mut events = [EpollEvent::empty(); BATCH];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let is_mail = |event: &EpollEvent| event.data() == MAILBOX;
        let sockets = events[..count].iter().filter(|event| !is_mail(event));
        ready.extend(sockets.filter_map(|event| u16::try_from(event.data()).ok()));
        events[..count].iter().any(is_mail)
    }

    /// Receives what has come to a channel, at most one batch, so that none keeps the others from being heard.
    ///
    /// # Errors
    /// ECONNREFUSED where the back end's host says that nobody listens.
    pub(super) fn receive(&self, socket: u16, buffers: &mut ReceiveBuffers) -> Result<(), Errno> {
        buffers.fill(self.all[usize::from(socket)].socket.as_raw_fd())
    }
}

impl UpstreamSocket {
    fn new(upstream: usize, socket: UdpSocket) -> Self {
        let (bytes, ends) = (Vec::new(), Vec::new());
        Self { upstream, socket, since: Duration::ZERO, queries: 0, open: 0, bytes, ends }
    }

    fn send(&mut self) -> Result<(), Errno> {
        let mut start = 0;
        let slice = |&end: &usize| {
            let slice = [IoSlice::new(&self.bytes[start..end])];
            start = end;
            slice
        };
        let datagrams: Vec<_> = self.ends.iter().map(slice).collect();
        let result = datagrams.chunks(BATCH).try_for_each(|batch| {
            let mut headers = MultiHeaders::<()>::preallocate(batch.len(), None);
            let to = [None; BATCH];
            let socket = self.socket.as_raw_fd();
            sendmmsg(socket, &mut headers, batch, to, [], MsgFlags::MSG_DONTWAIT).map(drop)
        });
        drop(datagrams);
        self.bytes.clear();
        self.ends.clear();
        result
    }
}

impl ReceiveBuffers {
    /// Room for the longest answers that any of them may send in a datagram.
    pub(super) fn new(upstreams: &DnsUpstreams) -> Self {
        let longest = (0..upstreams.len()).map(|number| upstreams.get(number).payload).max();
        let each = usize::from(longest.unwrap_or_default());
        Self { bytes: vec![0; BATCH * each], each, lengths: Vec::new() }
    }

    fn fill(&mut self, socket: RawFd) -> Result<(), Errno> {
        self.lengths.clear();
        let mut slices: Vec<_> =
            self.bytes.chunks_exact_mut(self.each).map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
        let received = recvmmsg(socket, &mut headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        self.lengths.extend(received.map(|message| message.bytes));
        Ok(())
    }

    /// The datagrams.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.each).zip(&self.lengths).map(|(bytes, &length)| &bytes[..length])
    }
}

/// A socket at a port that the kernel draws, which hears the back end at `address` and nobody else.
fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    // The default holds some hundred of them. Without the right to have more than others, as much as anybody may.
    if setsockopt(&socket, RcvBufForce, &BUFFER).and(setsockopt(&socket, SndBufForce, &BUFFER)).is_err() {
        let _ = setsockopt(&socket, RcvBuf, &BUFFER).and(setsockopt(&socket, SndBuf, &BUFFER));
    }
    Ok(socket)
}

fn event(socket: usize) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, socket as u64)
}
