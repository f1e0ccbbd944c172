//! Clients that go on asking while something happens to the servers, and what that costs them: by their kernels' own count
//! of retransmissions, not by any clock.

use std::io::{self, Error, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::SockProtocol;
use stateless_tcp::af_xdp::netlink::{self, Netlink};

use crate::load::{Catalogue, question};
use crate::netns::Netns;
use crate::seed::Random;

/// Segments of an answer, at most.
pub const LONGEST: usize = 4;
/// Questions on one connection, at most.
const QUESTIONS: usize = 20;
/// Time limit of a client for a byte, and of the test for the clients.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(5);

/// The totals since the last call.
#[derive(Clone, Debug, Default)]
pub struct ClientTotals {
    /// Questions answered, every byte right.
    pub answered: usize,
    /// Questions, and handshakes, for which something had to be sent again.
    pub resent: usize,
    /// The most often that it was for one of them.
    pub worst: u32,
    /// Connections that got something else.
    pub failed: Vec<String>,
}

/// The clients.
#[derive(Debug)]
pub struct Ongoing {
    /// By client: questions answered in all.
    answered: Vec<AtomicUsize>,
    cost: Mutex<ClientTotals>,
    over: AtomicBool,
}

impl ClientTotals {
    /// Nobody got anything wrong, or nothing.
    pub fn assert_right(&self, what: &str) -> &Self {
        println!("{what}: {} answers, {} resent, {} times at most", self.answered, self.resent, self.worst);
        assert!(self.failed.is_empty(), "{what}: {:#?}", self.failed);
        self
    }

    /// And nothing was lost twice.
    pub fn assert_planned(&self, what: &str) {
        self.assert_right(what);
        assert!(self.worst <= 1, "{what}: sent again {} times", self.worst);
    }
}

impl Ongoing {
    /// Has so many clients ask `server` for as long as `work` takes.
    pub fn during<T>(
        clients: usize,
        from: &Netns,
        server: SocketAddr,
        catalogue: &Catalogue,
        work: impl FnOnce(&Self) -> T,
    ) -> T {
        let answered = (0..clients).map(|_| AtomicUsize::new(0)).collect();
        let ongoing = Self { answered, cost: Mutex::default(), over: AtomicBool::new(false) };
        thread::scope(|scope| {
            for number in 0..clients {
                let ongoing = &ongoing;
                scope.spawn(move || from.enter(|| ongoing.ask_on(number, server, catalogue)));
            }
            // However `work` ends, the clients do.
            let _end = StopOnDrop(&ongoing.over);
            work(&ongoing)
        })
    }

    /// Waits until every client has had so many answers to what it asked from now on, and says what everything cost since
    /// last time.
    pub fn cost_of(&self, answers: usize) -> ClientTotals {
        // One more is under way.
        let wanted: Vec<usize> = self.answered.iter().map(|one| one.load(SeqCst) + 1 + answers).collect();
        let end = Instant::now() + PATIENCE;
        while self.answered.iter().zip(&wanted).any(|(one, wanted)| one.load(SeqCst) < *wanted) {
            // Not while the panic holds it: clients go on.
            let cost = (Instant::now() > end).then(|| self.cost().clone());
            assert!(cost.is_none(), "clients stand still: {cost:?}");
            thread::sleep(PAUSE);
        }
        std::mem::take(&mut *self.cost())
    }

    fn cost(&self) -> MutexGuard<'_, ClientTotals> {
        self.cost.lock().expect("no client panicked")
    }

    fn ask_on(&self, number: usize, server: SocketAddr, catalogue: &Catalogue) {
        let mut random = Random::new(&format!("client {number}"));
        while !self.over.load(SeqCst) {
            if let Err(error) = self.connection(number, server, catalogue, &mut random) {
                self.cost().failed.push(format!("client {number}: {error}"));
                // Whoever is refused does not ask at once again.
                thread::sleep(PAUSE);
            }
        }
    }

    fn connection(
        &self,
        number: usize,
        server: SocketAddr,
        catalogue: &Catalogue,
        random: &mut Random,
    ) -> io::Result<()> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut kernel = SocketDiagnosis::asked_of(&stream)?;
        let mut resent = self.count(&mut kernel, 0)?;
        for _ in 0..=random.below(QUESTIONS) {
            let (segments, id) = (1 + random.below(LONGEST), random.short());
            stream.write_all(&question(segments, id))?;
            catalogue.take_answer(&mut stream, segments, id)?;
            resent = self.count(&mut kernel, resent)?;
            self.cost().answered += 1;
            self.answered[number].fetch_add(1, SeqCst);
            if self.over.load(SeqCst) {
                break;
            }
        }
        stream.shutdown(Shutdown::Write)?;
        match io::Read::read(&mut stream, &mut [0; 1])? {
            0 => Ok(()),
            _ => Err(Error::new(ErrorKind::InvalidData, "an octet behind the last answer")),
        }
    }

    /// Adds what was sent again on this connection beyond `before`; returns how often that was in all.
    fn count(&self, kernel: &mut SocketDiagnosis, before: u32) -> io::Result<u32> {
        let resent = kernel.resent()?;
        let mut cost = self.cost();
        cost.worst = cost.worst.max(resent - before);
        cost.resent += usize::from(resent > before);
        Ok(resent)
    }
}

/// The kernel's counts of one connection, by its socket diagnosis (linux/sock_diag.h, linux/inet_diag.h).
struct SocketDiagnosis {
    netlink: Netlink,
    question: Vec<u8>,
}

impl SocketDiagnosis {
    fn asked_of(stream: &TcpStream) -> io::Result<Self> {
        let (SocketAddr::V4(client), SocketAddr::V4(server)) = (stream.local_addr()?, stream.peer_addr()?)
        else {
            return Err(Error::other("not over IPv4"));
        };
        let [family, protocol] = [libc::AF_INET, libc::IPPROTO_TCP].map(|number| number.to_le_bytes()[0]);
        // Of struct tcp_info, in any state; no interface, no cookie.
        let mut question = vec![family, protocol, 1 << (INFO - 1), 0, 0xff, 0xff, 0xff, 0xff];
        question.extend([client.port().to_be_bytes(), server.port().to_be_bytes()].concat());
        for address in [client.ip(), server.ip()] {
            question.extend(address.octets());
            question.extend([0; 12]);
        }
        question.extend([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        Ok(Self { netlink: Netlink::open(SockProtocol::NetlinkSockDiag)?, question })
    }

    /// Segments that were sent again.
    fn resent(&mut self) -> io::Result<u32> {
        let messages = self.netlink.ask(SOCK_DIAG_BY_FAMILY, &self.question)?;
        let info = messages.iter().find_map(|message| netlink::find(message.payload.get(MESSAGE..)?, INFO));
        let resent = info.and_then(|info| netlink::u32_of(info.get(TOTAL_RETRANS..)?));
        resent.ok_or_else(|| Error::other("the kernel does not tell"))
    }
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// INET_DIAG_INFO.
const INFO: u16 = 2;
/// Bytes of struct inet_diag_msg.
const MESSAGE: usize = 72;
/// Offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h).
const TOTAL_RETRANS: usize = 100;

/// Ends the clients when it is dropped.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
