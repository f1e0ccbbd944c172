//! The user of the kernel's TCP: the simulator's plan on a real socket, one call at a time.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddrV4, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    libc::linger,
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket,
        sockopt::{Linger, RcvBuf, TcpNoDelay},
    },
};

use super::{
    follower::{Event, Got},
    wire,
};
use crate::sim::{
    application::{ApplicationConfig, Ending},
    question::{REFUSED, Style, VOLATILE},
};

/// A larger answer may be refused whatever the window.
const MOST_AT_ONCE: usize = 32_000;

/// The options of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketOptions {
    /// Nagle's algorithm is on.
    pub(super) nagle: bool,
    /// Bytes of its receive buffer, if not the system's.
    pub(super) buffer: Option<usize>,
    /// Calls between two writes.
    pub(super) pause: u32,
}

/// The application.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own of a socket")]
pub(super) struct SocketScript {
    plan: ApplicationConfig,
    manner: SocketOptions,
    socket: Option<TcpStream>,
    connections: u32,
    /// Questions answered.
    pub(super) answered: usize,
    matched: usize,
    begun: usize,
    written: usize,
    pause: u32,
    /// Something may be there to be read.
    curious: bool,
    connected: bool,
    shut: bool,
    /// The server has closed its direction.
    ended: bool,
    leaving: bool,
    /// The smallest window offered so far.
    pub(super) least_window: usize,
}

impl SocketScript {
    /// Before its first connection.
    pub(super) fn new(plan: ApplicationConfig, manner: SocketOptions) -> Self {
        Self {
            plan,
            manner,
            socket: None,
            connections: 0,
            answered: 0,
            matched: 0,
            begun: 0,
            written: 0,
            pause: 0,
            curious: false,
            connected: false,
            shut: false,
            ended: false,
            leaving: false,
            least_window: usize::MAX,
        }
    }

    /// The questions and the way to ask them.
    pub(super) fn plan(&self) -> &ApplicationConfig {
        &self.plan
    }

    /// Offset of the connection's beginning in all that is written.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Whether another connection is wanted.
    pub(super) fn wants_more(&self) -> bool {
        !self.leaving && !self.everything()
    }

    /// Whether the socket is closed.
    pub(super) fn has_left(&self) -> bool {
        self.socket.is_none()
    }

    fn everything(&self) -> bool {
        self.answered == self.plan.questions.len()
    }

    /// Opens a connection, and returns its port: SYN is on its way.
    pub(super) fn open(&mut self) -> u16 {
        self.connections += 1;
        self.matched = 0;
        self.begun = if self.answered == 0 { 0 } else { self.plan.ends[self.answered - 1] };
        self.written = self.begun;
        (self.curious, self.connected) = (false, false);
        (self.shut, self.ended) = (false, false);
        self.least_window = usize::MAX;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket: OwnedFd =
            socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("open a TCP socket");
        setsockopt(&socket, TcpNoDelay, &!self.manner.nagle).expect("set TCP_NODELAY");
        if let Some(buffer) = self.manner.buffer {
            setsockopt(&socket, RcvBuf, &buffer).expect("set SO_RCVBUF");
        }
        let server = SockaddrIn::from(SocketAddrV4::new(wire::SERVER, wire::SERVER_PORT));
        let connected = connect(socket.as_raw_fd(), &server);
        assert_eq!(connected, Err(Errno::EINPROGRESS), "connect without waiting");
        let socket = TcpStream::from(socket);
        let port = socket.local_addr().expect("ask for the local address").port();
        self.socket = Some(socket);
        port
    }

    /// A segment has arrived at the socket.
    pub(super) fn wake(&mut self) {
        self.curious = true;
        self.pause = self.pause.saturating_sub(1);
    }

    /// Nothing moves any more: what the application waits for by itself is over.
    pub(super) fn settle(&mut self) {
        self.pause = 0;
    }

    /// The next call, if there is one to make now.
    ///
    /// # Errors
    /// The error in the bytes read.
    pub(super) fn act(&mut self) -> Result<Option<Event>, String> {
        let Some(socket) = &self.socket else { return Ok(None) };
        self.connected |= socket.peer_addr().is_ok();
        if !self.connected && !self.curious {
            return Ok(None);
        }
        if self.curious {
            return self.read().map(Some);
        }
        Ok(if self.connected { self.leave().or_else(|| self.write()) } else { None })
    }

    fn read(&mut self) -> Result<Event, String> {
        let most = self.plan.reading.map_or(1 << 17, |(bytes, _)| bytes);
        let mut buffer = vec![0; most];
        let socket = self.socket.as_mut().expect("it is open");
        let got = match socket.read(&mut buffer) {
            Ok(0) => Got::End,
            Ok(length) => {
                buffer.truncate(length);
                Got::Octets(buffer)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Nothing,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Got::Reset,
            Err(error) => return Err(format!("read: {error}")),
        };
        match &got {
            Got::Octets(bytes) => self.compare(bytes)?,
            Got::Nothing => self.curious = false,
            Got::End => {
                self.curious = false;
                self.ended = true;
            }
            Got::Reset => self.socket = None,
        }
        Ok(Event::Read(most, got))
    }

    fn compare(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let index = self.answered;
            if self.plan.ends.get(index).is_none_or(|&end| end > self.written) {
                return Err(format!("{} octets though no question is open", bytes.len()));
            }
            let answer = self.plan.questions[index].bytes(0);
            let refusable = answer.len() + 1 > self.least_window.min(MOST_AT_ONCE);
            if self.matched == 0 && bytes[0] == REFUSED && refusable {
                self.answered += 1;
                bytes = &bytes[1..];
                continue;
            }
            let rest = &answer[self.matched..];
            let common = rest.len().min(bytes.len());
            // What changes with time changes at the front of HTTP-like answers.
            let volatile = if self.plan.style == Style::Http { VOLATILE.min(answer.len()) } else { 0 };
            let fixed = volatile.saturating_sub(self.matched).min(common);
            if bytes[fixed..common] != rest[fixed..common] {
                return Err(format!("an octet behind {} of answer {index} is wrong", self.matched));
            }
            bytes = &bytes[common..];
            self.matched += common;
            if self.matched == answer.len() {
                self.answered += 1;
                self.matched = 0;
            }
        }
        Ok(())
    }

    fn leave(&mut self) -> Option<Event> {
        let asked = self.written > 0;
        match self.plan.ending {
            Ending::Early(after) if self.answered >= after && asked => {
                self.leaving = true;
                return Some(self.close());
            }
            Ending::Abort(after) if self.answered >= after && asked => {
                self.leaving = true;
                return Some(self.abort());
            }
            Ending::HalfClose if self.written == self.plan.bytes.len() && !self.shut => {
                self.shut = true;
                self.socket.as_ref()?.shutdown(Shutdown::Write).expect("shut a direction");
                return Some(Event::Shut);
            }
            _ => {}
        }
        (self.everything() || self.ended).then(|| self.close())
    }

    fn close(&mut self) -> Event {
        self.socket = None;
        Event::Close
    }

    /// Resets the connection.
    pub(super) fn abort(&mut self) -> Event {
        if let Some(socket) = self.socket.take() {
            setsockopt(&socket, Linger, &linger { l_onoff: 1, l_linger: 0 }).expect("set SO_LINGER");
        }
        Event::Abort
    }

    fn write(&mut self) -> Option<Event> {
        let newest = (self.answered + self.plan.depth).min(self.plan.ends.len());
        let allowed = if newest == 0 { 0 } else { self.plan.ends[newest - 1] };
        if self.shut || self.ended || self.pause > 0 || self.written >= allowed {
            return None;
        }
        let cut = if self.connections <= self.plan.messy {
            let next = self.plan.cuts.partition_point(|&cut| cut <= self.written);
            self.plan.cuts.get(next).map_or(allowed, |&cut| cut.min(allowed))
        } else {
            allowed
        };
        let written = self.socket.as_mut()?.write(&self.plan.bytes[self.written..cut]).ok()?;
        self.written += written;
        self.pause = self.manner.pause;
        Some(Event::Write(written))
    }
}
