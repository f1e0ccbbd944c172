//! The clients: a fixed number of connections of the kernel's TCP at a time, each of which connects, asks its questions one
//! after the other, reads the answers and closes; or questions over UDP.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use super::case::{Load, Transport};
use super::network::DNS;
use super::zone::question;

/// The clients give up if nothing has happened for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Length of the longest answer, with its length before it.
const BUFFER: usize = 2_048;
/// Length of a DNS header.
const HEADER: usize = 12;
/// Length of the field before each message over TCP (RFC 1035 section 4.2.2).
const LENGTH: usize = 2;

/// Puts `connections` connections of this load to the server. Every question must be answered.
pub(super) fn ask(load: Load, connections: u32) -> Result<()> {
    match load.transport {
        Transport::Tcp => Clients::new(load.questions, connections)?.run(load.in_flight),
        Transport::Udp => ask_over_udp(connections, load.in_flight),
    }
}

/// Whether the server answers a question over TCP by now.
pub(super) fn is_answered() -> bool {
    let patience = Duration::from_secs(1);
    let ask = || -> Result<bool> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(DNS), patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(&framed(0))?;
        let mut answer = [0; BUFFER];
        let length = stream.read(&mut answer)?;
        Ok(is_answer(answer.get(LENGTH..length).unwrap_or_default(), 0))
    };
    ask().unwrap_or(false)
}

/// Connections that are under way.
struct Clients {
    epoll: Epoll,
    open: Vec<Option<Connection>>,
    /// Questions of each connection.
    questions: u32,
    /// Connections that are still to be made.
    left: u32,
    /// Number of the next question.
    next: u16,
}

struct Connection {
    stream: TcpStream,
    /// Number of the question that is not answered yet; none while the connection is being established.
    asked: Option<u16>,
    /// Questions that are still to be asked.
    left: u32,
    received: usize,
    buffer: [u8; BUFFER],
}

impl Clients {
    fn new(questions: u32, connections: u32) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("creating an epoll instance")?;
        Ok(Self { epoll, open: Vec::new(), questions, left: connections, next: 0 })
    }

    fn run(mut self, in_flight: u32) -> Result<()> {
        for place in 0..usize::try_from(in_flight)? {
            self.open.push(None);
            self.connect(place)?;
        }
        let mut events = [EpollEvent::empty(); 256];
        while self.open.iter().any(Option::is_some) {
            let timeout = EpollTimeout::try_from(PATIENCE)?;
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => continue,
                count => count.context("waiting for answers")?,
            };
            ensure!(count > 0, "the server has not answered for {} s", PATIENCE.as_secs());
            for event in &events[..count] {
                self.progress(usize::try_from(event.data())?)?;
            }
        }
        Ok(())
    }

    /// Makes a connection, if one is left to be made.
    fn connect(&mut self, place: usize) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).context("making a socket")?;
        match connect(socket.as_raw_fd(), &SockaddrIn::from(DNS)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => bail!("connecting to {DNS}: {error}"),
        }
        let connection = Connection::new(socket, self.questions)?;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.epoll
            .add(connection.stream.as_fd(), EpollEvent::new(interest, u64::try_from(place)?))
            .context("watching a connection")?;
        self.open[place] = Some(connection);
        Ok(())
    }

    /// Takes one connection as far as it goes without waiting.
    fn progress(&mut self, place: usize) -> Result<()> {
        let Some(connection) = &mut self.open[place] else { return Ok(()) };
        if connection.asked.is_none() {
            if let Some(error) = connection.stream.take_error()? {
                bail!("connecting to {DNS}: {error}");
            }
            if connection.stream.peer_addr().is_err() {
                return Ok(());
            }
            connection.ask(&mut self.next)?;
        }
        while connection.read()? {
            if connection.left == 0 {
                self.open[place] = None;
                return self.connect(place);
            }
            connection.ask(&mut self.next)?;
        }
        Ok(())
    }
}

impl Connection {
    fn new(socket: OwnedFd, questions: u32) -> Result<Self> {
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        Ok(Self { stream, asked: None, left: questions, received: 0, buffer: [0; BUFFER] })
    }

    /// Sends a question; a segment always has room in the socket's buffer.
    fn ask(&mut self, next: &mut u16) -> Result<()> {
        let number = *next;
        *next = next.wrapping_add(1);
        self.asked = Some(number);
        self.left -= 1;
        self.received = 0;
        self.stream.write_all(&framed(number)).context("asking")
    }

    /// Reads what is there. Returns whether the answer is whole.
    fn read(&mut self) -> Result<bool> {
        loop {
            match self.stream.read(&mut self.buffer[self.received..]) {
                Ok(0) => bail!("the server has closed a connection with a question open"),
                Ok(count) => self.received += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("reading an answer"),
            }
            let [high, low] = [self.buffer[0], self.buffer[1]];
            let whole = LENGTH + usize::from(u16::from_be_bytes([high, low]));
            if self.received >= LENGTH && self.received >= whole {
                let answer = &self.buffer[LENGTH..self.received];
                ensure!(self.asked.is_some_and(|id| is_answer(answer, id)), "the server gave a wrong answer");
                return Ok(true);
            }
        }
    }
}

/// Keeps `in_flight` questions under way until `questions` are answered.
fn ask_over_udp(questions: u32, in_flight: u32) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("making a socket")?;
    socket.connect(SocketAddrV4::new(*DNS.ip(), DNS.port())).context("connecting a socket")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut asked = 0;
    let mut ask = || -> Result<()> {
        if asked < questions {
            // Names come again after a while, and so may IDs.
            let number = u16::try_from(asked % u32::from(u16::MAX))?;
            socket.send(&question(number)).context("asking")?;
            asked += 1;
        }
        Ok(())
    };
    for _ in 0..in_flight {
        ask()?;
    }
    let mut answer = [0; BUFFER];
    for _ in 0..questions {
        let length = socket.recv(&mut answer).context("the server has not answered a question over UDP")?;
        let id = u16::from_be_bytes([answer[0], answer[1]]);
        ensure!(is_answer(&answer[..length], id), "the server gave a wrong answer");
        ask()?;
    }
    Ok(())
}

/// The question with its length before it.
fn framed(number: u16) -> Vec<u8> {
    let message = question(number);
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), &message[..]].concat()
}

/// Whether `message` answers the question `id`: a response without an error and with one record.
fn is_answer(message: &[u8], id: u16) -> bool {
    const RESPONSE: u8 = 0x80;
    const RCODE: u8 = 0x0f;
    message.len() > HEADER
        && message[..2] == id.to_be_bytes()
        && message[2] & RESPONSE != 0
        && message[3] & RCODE == 0
        && message[6..8] == [0, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_id_a_record_and_no_error() {
        let mut message = question(7);
        assert!(!is_answer(&message, 7), "a question");
        message[2] |= 0x80;
        assert!(!is_answer(&message, 7), "no record");
        message[7] = 1;
        assert!(is_answer(&message, 7));
        assert!(!is_answer(&message, 8), "another question's");
        message[3] |= 2;
        assert!(!is_answer(&message, 7), "SERVFAIL");
        assert!(!is_answer(&message[..HEADER], 7), "a header");
    }
}
