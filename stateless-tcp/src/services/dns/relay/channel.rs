//! The sockets by which one worker asks: several for each back end, at ports that nobody can foretell, and that change.

use super::backends::BackEnds;
use super::unpredictable::Unpredictable;
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
struct Channel {
    back_end: usize,
    socket: UdpSocket,
    since: Duration,
    queries: u32,
    /// Queries that may still be answered.
    open: u32,
    /// Datagrams that wait to be sent, one behind the other, and where each ends.
    octets: Vec<u8>,
    ends: Vec<usize>,
}

/// All of a worker's sockets, [`EACH`] for each back end, by number.
#[derive(Debug)]
pub(super) struct Channels {
    epoll: Epoll,
    all: Vec<Channel>,
    /// By back end: the one in use in this turn, so that queries go out together.
    present: Vec<Option<u16>>,
}

/// Datagrams received by one call.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    octets: Vec<u8>,
    each: usize,
    lengths: Vec<usize>,
}

impl Channels {
    /// Opens the sockets. The worker's `mailbox` is waited for besides them.
    pub(super) fn open(back_ends: &BackEnds, mailbox: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(mailbox, EpollEvent::new(EpollFlags::EPOLLIN, MAILBOX))?;
        let mut all = Vec::new();
        for back_end in 0..back_ends.len() {
            for _ in 0..EACH {
                let socket = connect(back_ends.get(back_end).address)?;
                epoll.add(&socket, event(all.len()))?;
                all.push(Channel::new(back_end, socket));
            }
        }
        Ok(Self { epoll, all, present: vec![None; back_ends.len()] })
    }

    /// Readable when any of them is.
    pub(super) fn descriptor(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }

    pub(super) fn back_end(&self, channel: u16) -> usize {
        self.all[usize::from(channel)].back_end
    }

    /// The channel by which queries go to `back_end` in this turn.
    pub(super) fn choose(&mut self, back_end: usize, now: Duration, random: &mut Unpredictable) -> u16 {
        if let Some(present) = self.present[back_end] {
            return present;
        }
        let first = random.below(u32::try_from(EACH).unwrap_or(1)) as usize;
        let numbers = (0..EACH).map(|offset| back_end * EACH + (first + offset) % EACH);
        // One whose time is over is left alone until all its queries are answered, and is replaced then.
        let chosen = numbers.clone().find(|&number| self.renew(number, now));
        let chosen = chosen.unwrap_or(back_end * EACH + first);
        #[expect(clippy::cast_possible_truncation, reason = "at most 64 back ends")]
        let chosen = chosen as u16;
        self.present[back_end] = Some(chosen);
        chosen
    }

    /// Whether a channel can be used, with another socket if its time is over.
    fn renew(&mut self, number: usize, now: Duration) -> bool {
        let channel = &mut self.all[number];
        if now.saturating_sub(channel.since) < LIFE && channel.queries < QUERIES {
            return true;
        }
        if channel.open > 0 {
            return false;
        }
        let renewed = channel.socket.peer_addr().and_then(connect).and_then(|socket| {
            self.epoll.add(&socket, event(number))?;
            Ok(socket)
        });
        match renewed {
            // The one before is closed, and so no longer waited for.
            Ok(socket) => channel.socket = socket,
            Err(error) => tracing::warn!("a socket for a back end is used longer than it should be: {error}"),
        }
        (channel.since, channel.queries) = (now, 0);
        true
    }

    /// Puts a datagram, which `write` appends, into the queue of a channel.
    pub(super) fn post(&mut self, channel: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let channel = &mut self.all[usize::from(channel)];
        write(&mut channel.octets);
        channel.ends.push(channel.octets.len());
        channel.queries += 1;
        channel.open += 1;
    }

    /// A query of this channel is no longer waited for.
    pub(super) fn close(&mut self, channel: u16) {
        self.all[usize::from(channel)].open -= 1;
    }

    /// Whether there is something to be sent.
    pub(super) fn any_posted(&self) -> bool {
        self.present.iter().any(Option::is_some)
    }

    /// Sends what was posted; `refused` hears of back ends whose host says that nobody listens. What the kernel does not
    /// take is lost, as on any path.
    pub(super) fn flush(&mut self, mut refused: impl FnMut(usize)) {
        for present in &mut self.present {
            let Some(number) = present.take() else { continue };
            let channel = &mut self.all[usize::from(number)];
            if channel.send() == Err(Errno::ECONNREFUSED) {
                refused(channel.back_end);
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
    pub(super) fn receive(&self, channel: u16, buffers: &mut Buffers) -> Result<(), Errno> {
        buffers.fill(self.all[usize::from(channel)].socket.as_raw_fd())
    }
}

impl Channel {
    fn new(back_end: usize, socket: UdpSocket) -> Self {
        let (octets, ends) = (Vec::new(), Vec::new());
        Self { back_end, socket, since: Duration::ZERO, queries: 0, open: 0, octets, ends }
    }

    fn send(&mut self) -> Result<(), Errno> {
        let mut start = 0;
        let slice = |&end: &usize| {
            let slice = [IoSlice::new(&self.octets[start..end])];
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
        self.octets.clear();
        self.ends.clear();
        result
    }
}

impl Buffers {
    /// Room for the longest answers that any of them may send in a datagram.
    pub(super) fn new(back_ends: &BackEnds) -> Self {
        let longest = (0..back_ends.len()).map(|number| back_ends.get(number).payload).max();
        let each = usize::from(longest.unwrap_or_default());
        Self { octets: vec![0; BATCH * each], each, lengths: Vec::new() }
    }

    fn fill(&mut self, socket: RawFd) -> Result<(), Errno> {
        self.lengths.clear();
        let mut slices: Vec<_> =
            self.octets.chunks_exact_mut(self.each).map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
        let received = recvmmsg(socket, &mut headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        self.lengths.extend(received.map(|message| message.bytes));
        Ok(())
    }

    /// The datagrams.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.octets.chunks_exact(self.each).zip(&self.lengths).map(|(octets, &length)| &octets[..length])
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

fn event(channel: usize) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, channel as u64)
}
