//! Waiting time of a client of the kernel's TCP for one answer on a connection of its own, from SYN to the last byte, while
//! others load the server.
//!
//! Probes begin by the clock, whatever became of those before, and go before everything else on their core: what they wait
//! for is the server and the way there, not their turn. Their ports are those that kxdpgun leaves to the kernel.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::cores::{put_first, stay_on, this_thread};
use crate::netns::Netns;

/// Time limit of a probe: the client's kernel sends a SYN again after a second.
pub const PATIENCE: Duration = Duration::from_millis(900);
/// Enough that there is one for each probe that waits.
const THREADS: u32 = 64;
/// kxdpgun's clients have ports from 2000 on.
const PORTS: std::ops::Range<u64> = 1024..2000;
/// Above the threads of the kernel that receive for them.
const PRIORITY: u8 = 2;

/// The results of probes.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Those that were answered, in order of their size.
    times: Vec<Duration>,
    /// Those that were refused, reset, or not answered within [`PATIENCE`].
    pub failed: usize,
}

impl Waits {
    /// The time within which so many of a thousand probes were answered; `None` if fewer were.
    pub fn permille(&self, permille: usize) -> Option<Duration> {
        let rank = ((self.times.len() + self.failed) * permille).div_ceil(1000).max(1);
        self.times.get(rank - 1).copied()
    }

    /// Number answered.
    pub fn answered(&self) -> usize {
        self.times.len()
    }
}

/// Has `server` asked `query` (a message without its length), `rate` times a second, for `time`, from `core`.
///
/// # Errors
/// The threads may not be put there.
pub fn run(
    client: &Netns,
    server: SocketAddr,
    query: &[u8],
    rate: u32,
    time: Duration,
    core: usize,
) -> anyhow::Result<Waits> {
    let SocketAddr::V4(server) = server else {
        anyhow::bail!("probes go to IPv4 addresses, not to {server}")
    };
    let server = SockaddrIn::from(server);
    let length = u16::try_from(query.len())?.to_be_bytes();
    let question = &[&length, query].concat()[..];
    let interval = Duration::from_secs(1) * THREADS / rate;
    let all = client.enter(|| {
        // Inherited by the threads.
        stay_on(core)?;
        put_first(this_thread(), PRIORITY)?;
        let (began, ports) = (Instant::now(), &AtomicU64::new(0));
        let one = |number: u32| {
            let first = began + interval * number / THREADS;
            move || probe(&server, question, ports, (first, interval, began + time))
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(one(number))).collect();
            let waits = threads.into_iter().map(|thread| thread.join().expect("a probe does not panic"));
            Ok::<_, anyhow::Error>(waits.collect::<Vec<_>>())
        })
    })?;
    let mut waits = all.into_iter().fold(Waits::default(), |mut sum, one| {
        sum.times.extend(one.times);
        sum.failed += one.failed;
        sum
    });
    waits.times.sort();
    Ok(waits)
}

/// Probes from `first` on, one each `interval`, until `end`.
fn probe(
    server: &SockaddrIn,
    question: &[u8],
    ports: &AtomicU64,
    (first, interval, end): (Instant, Duration, Instant),
) -> Waits {
    let (mut waits, mut at) = (Waits::default(), first);
    while at < end {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let port = PORTS.start + ports.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        match ask(server, question, u16::try_from(port).expect("a port")) {
            Ok(wait) => waits.times.push(wait),
            Err(_) => waits.failed += 1,
        }
        // Those that should have begun while this one waited are left out.
        while at < Instant::now() {
            at += interval;
        }
    }
    waits
}

/// One question, and the time until its answer was there. The connection ends by RST, so that its port is free at once.
fn ask(server: &SockaddrIn, question: &[u8], port: u16) -> anyhow::Result<Duration> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::new(0, PATIENCE.subsec_micros().into());
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port))?;
    let began = Instant::now();
    connect(socket.as_raw_fd(), server)?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(question)?;
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(prefix))];
    stream.read_exact(&mut answer)?;
    let wait = began.elapsed();
    anyhow::ensure!(wait <= PATIENCE && answer.get(3).is_some_and(|code| code % 16 == 0), "no good answer");
    Ok(wait)
}
