//! One worker's UDP sockets: several for each upstream, at unpredictable ports that change, also under load: a new socket takes
//! the queries, and the old one stays until all of its own are answered.

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

/// Sockets for each upstream.
const EACH: usize = 4;

/// Limits on the time and the queries of a socket before another one at another port replaces it.
const LIFE: Duration = Duration::from_secs(10);
const QUERIES: u32 = 20_000;

/// Kernel buffer of a socket in bytes, for queries and for answers.
const BUFFER: usize = 2 << 20;

/// Limit on the datagrams of one system call.
const BATCH: usize = 32;

/// The epoll identifier of the worker's mailbox.
const MAILBOX: u64 = u64::MAX;

/// One connected socket.
#[derive(Debug)]
struct UpstreamSocket {
    upstream: usize,
    socket: UdpSocket,
    since: Duration,
    queries: u32,
    /// Queries without an answer yet.
    open: u32,
    /// Another socket has taken its place.
    replaced: bool,
    /// Queued datagrams back to back, and the end of each.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// All of a worker's sockets, by number.
#[derive(Debug)]
pub(super) struct UpstreamSockets {
    epoll: Epoll,
    /// A place is free where there is none.
    all: Vec<Option<UpstreamSocket>>,
    /// Those for new queries: [`EACH`] for each upstream.
    places: Vec<u16>,
    /// By upstream: the socket of this turn, so that queries go out in one batch.
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
    /// Opens the sockets, and an epoll instance for them and the worker's mailbox.
    pub(super) fn open(upstreams: &DnsUpstreams, mailbox: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(mailbox, EpollEvent::new(EpollFlags::EPOLLIN, MAILBOX))?;
        let (all, places, current) = (Vec::new(), Vec::new(), vec![None; upstreams.len()]);
        let mut sockets = Self { epoll, all, places, current };
        for upstream in 0..upstreams.len() {
            for _ in 0..EACH {
                let socket = connect(upstreams.get(upstream).address)?;
                let number = sockets.add(UpstreamSocket::new(upstream, socket, Duration::ZERO))?;
                sockets.places.push(number);
            }
        }
        Ok(sockets)
    }

    /// Adds a socket, and returns its number.
    fn add(&mut self, socket: UpstreamSocket) -> io::Result<u16> {
        let free = self.all.iter().position(Option::is_none).unwrap_or(self.all.len());
        let number = u16::try_from(free).map_err(|_| io::Error::other("too many sockets"))?;
        self.epoll.add(&socket.socket, event(number))?;
        if free == self.all.len() {
            self.all.push(Some(socket));
        } else {
            self.all[free] = Some(socket);
        }
        Ok(number)
    }

    /// Readable when any of the sockets is.
    pub(super) fn fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }

    /// The upstream of a socket; none if it was closed.
    pub(super) fn upstream(&self, socket: u16) -> Option<usize> {
        self.all[usize::from(socket)].as_ref().map(|socket| socket.upstream)
    }

    /// The socket for queries to `upstream` in this turn.
    pub(super) fn choose(&mut self, upstream: usize, now: Duration, rng: &mut Rng) -> u16 {
        if let Some(current) = self.current[upstream] {
            return current;
        }
        let place = upstream * EACH + rng.below(u32::try_from(EACH).unwrap_or(1)) as usize;
        let mut chosen = self.places[place];
        if let Some(socket) = &mut self.all[usize::from(chosen)]
            && socket.has_expired(now)
        {
            let address = socket.socket.peer_addr();
            (socket.since, socket.queries) = (now, 0);
            let renewed =
                address.and_then(connect).map(|renewed| UpstreamSocket::new(upstream, renewed, now));
            match renewed.and_then(|renewed| self.add(renewed)) {
                Ok(renewed) => {
                    self.replace(chosen);
                    self.places[place] = renewed;
                    chosen = renewed;
                }
                Err(error) => {
                    tracing::warn!("a socket for an upstream is used longer than intended: {error}");
                }
            }
        }
        self.current[upstream] = Some(chosen);
        chosen
    }

    /// Closes a socket as soon as all its queries are answered.
    fn replace(&mut self, number: u16) {
        let place = &mut self.all[usize::from(number)];
        if let Some(socket) = place {
            socket.replaced = true;
            if socket.open == 0 {
                *place = None;
            }
        }
    }

    /// Queues the datagram that `write` appends.
    pub(super) fn queue(&mut self, socket: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(socket) = &mut self.all[usize::from(socket)] else { return };
        write(&mut socket.bytes);
        socket.ends.push(socket.bytes.len());
        socket.queries += 1;
        socket.open += 1;
    }

    /// Ends the wait for one query's answer at this socket.
    pub(super) fn end_query(&mut self, socket: u16) {
        let place = &mut self.all[usize::from(socket)];
        if let Some(socket) = place {
            socket.open -= 1;
            if socket.replaced && socket.open == 0 {
                // The kernel removes a closed socket from epoll.
                *place = None;
            }
        }
    }

    /// Whether datagrams are queued.
    pub(super) fn any_queued(&self) -> bool {
        self.current.iter().any(Option::is_some)
    }

    /// Sends the queued datagrams, and calls `refused` for upstreams whose host says that nobody listens. Datagrams
    /// that the kernel rejects are lost, as on any path.
    pub(super) fn flush(&mut self, mut refused: impl FnMut(usize)) {
        for current in &mut self.current {
            let Some(number) = current.take() else { continue };
            let Some(socket) = &mut self.all[usize::from(number)] else { continue };
            if socket.send() == Err(Errno::ECONNREFUSED) {
                refused(socket.upstream);
            }
        }
    }

    /// Appends the readable and failed sockets to `ready`, and returns true if the mailbox is readable.
    pub(super) fn poll(&self, ready: &mut Vec<u16>) -> bool {
        let mut events = [EpollEvent::empty(); BATCH];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let is_mail = |event: &EpollEvent| event.data() == MAILBOX;
        let sockets = events[..count].iter().filter(|event| !is_mail(event));
        ready.extend(sockets.filter_map(|event| u16::try_from(event.data()).ok()));
        events[..count].iter().any(is_mail)
    }

    /// Receives at most one batch from a socket, so that no socket starves the others.
    ///
    /// # Errors
    /// ECONNREFUSED if the upstream's host says that nobody listens.
    pub(super) fn receive(&self, socket: u16, buffers: &mut ReceiveBuffers) -> Result<(), Errno> {
        match &self.all[usize::from(socket)] {
            Some(socket) => buffers.fill(socket.socket.as_raw_fd()),
            None => Err(Errno::EBADF),
        }
    }
}

impl UpstreamSocket {
    fn new(upstream: usize, socket: UdpSocket, since: Duration) -> Self {
        let (bytes, ends) = (Vec::new(), Vec::new());
        Self { upstream, socket, since, queries: 0, open: 0, replaced: false, bytes, ends }
    }

    fn has_expired(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= LIFE || self.queries >= QUERIES
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
    /// Buffers for the largest datagrams that any upstream may send.
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

/// A socket at a random port, connected to the upstream at `address`.
fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    // The default buffer holds some hundred datagrams. Without the privilege for more, take the usual maximum.
    if setsockopt(&socket, RcvBufForce, &BUFFER).and(setsockopt(&socket, SndBufForce, &BUFFER)).is_err() {
        let _ = setsockopt(&socket, RcvBuf, &BUFFER).and(setsockopt(&socket, SndBuf, &BUFFER));
    }
    Ok(socket)
}

fn event(socket: u16) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, socket.into())
}

#[cfg(test)]
mod tests {
    use super::super::upstreams::DnsUpstream;
    use super::*;

    /// Ports change although queries are always open, and answers to the old ports still arrive.
    #[test]
    fn ports_of_a_busy_relay_change() {
        let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = upstream.local_addr().unwrap();
        let upstreams = DnsUpstreams::new(vec![DnsUpstream { address, weight: 1, payload: 1232 }]);
        let (mailbox, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let mut sockets = UpstreamSockets::open(&upstreams, mailbox).unwrap();
        let (mut rng, mut ports) = (Rng::new().unwrap(), std::collections::HashSet::new());
        let mut open = Vec::new();
        for turn in 0..200_u64 {
            let socket = sockets.choose(0, Duration::from_secs(turn), &mut rng);
            sockets.queue(socket, |out| out.push(7));
            open.push(socket);
            sockets.flush(|_| panic!("somebody listens"));
            let (_, from) = upstream.recv_from(&mut [0; 1]).unwrap();
            ports.insert(from.port());
            // Always eight queries without an answer.
            if open.len() > 8 {
                sockets.end_query(open.remove(0));
            }
        }
        assert!(ports.len() >= 40, "{} ports in 200 s", ports.len());
        assert!(sockets.all.len() <= EACH + 8, "{} sockets", sockets.all.len());
        let last = *open.last().unwrap();
        assert_eq!(sockets.upstream(last), Some(0));
    }
}
