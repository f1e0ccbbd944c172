//! Kernel clients that ask without a pause while something is done to the server: some on a new connection each time, some
//! on one that stays open, with several questions in flight. Each answer has to be, byte by byte, what it was at first.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    capture::Capture,
    client::query,
    packet::{Packet, flags},
    topology::{INTERFACE, SERVERS, Topology},
};

/// No answer for so long is none.
const PATIENCE: Duration = Duration::from_mins(1);
/// Clients of each kind for each address.
const CLIENTS: usize = 4;
/// Questions in flight on a connection that stays open, and how often so many are asked on it: the server ends one on which
/// 8 MB more went one way than the other.
const IN_FLIGHT: usize = 3;
const ROUNDS: u64 = 1_000;
/// The questions: answers of one segment and of several.
const QUESTIONS: [(&str, u16); 3] =
    [("www.example.com", 1), ("large.example.com", 16), ("nowhere.example.com", 28)];

/// The progress of the clients.
#[derive(Debug)]
pub struct Progress {
    exchanges: Vec<AtomicU64>,
    stop: AtomicBool,
}

impl Progress {
    /// Waits until each client has had an answer to a question that it asked after this was called.
    pub fn wait(&self) {
        let counts = || self.exchanges.iter().map(|count| count.load(Relaxed)).collect::<Vec<_>>();
        let (before, end) = (counts(), Instant::now() + PATIENCE);
        // The first may have been asked before.
        while counts().iter().zip(&before).any(|(now, before)| *now < before + 2) {
            assert!(Instant::now() < end && !self.stop.load(Relaxed), "the clients get no further");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The capture at the clients' end of the wire.
#[derive(Debug)]
pub struct Seen {
    /// Everything, in order.
    pub packets: Vec<Packet>,
    /// Exchanges.
    pub answered: u64,
}

impl Seen {
    /// RSTs of the server.
    pub fn resets(&self) -> Vec<&Packet> {
        let reset = |packet: &&Packet| SERVERS.contains(&packet.source) && packet.flags & flags::RST != 0;
        self.packets.iter().filter(reset).collect()
    }

    /// How often each segment was sent again that takes a place in the clients' streams, of those that were.
    pub fn resent(&self) -> Vec<(Packet, usize)> {
        let mut times: HashMap<_, (&Packet, usize)> = HashMap::new();
        for packet in self.packets.iter().filter(|packet| SERVERS.contains(&packet.destination)) {
            let length = packet.payload.len();
            if length > 0 || packet.flags & (flags::SYN | flags::FIN) != 0 {
                let key = (packet.source, packet.source_port, packet.destination_port, packet.seq, length);
                times.entry(key).or_insert((packet, 0)).1 += 1;
            }
        }
        let again = times.into_values().filter(|&(_, times)| times > 1);
        again.map(|(packet, times)| (packet.clone(), times - 1)).collect()
    }
}

/// Does `work` while the clients ask, and says what they saw. They have all begun before, and ask on for a while after it.
///
/// Their kernel's timers start at a second for each segment, as they do for SYN, so that what a busy machine does is not
/// taken for a loss.
pub fn during<T>(topology: &Topology, port: u16, work: impl FnOnce(&Progress) -> T) -> (T, Seen) {
    for server in SERVERS {
        topology.client.run(&format!("ip route add {server} dev {INTERFACE} rto_min 1s"));
    }
    let answers = topology.client.enter(|| {
        let mut stream = connect(SERVERS[0], port).expect("connect");
        QUESTIONS.map(|(name, rtype)| ask(&mut stream, &question(name, rtype)).expect("an answer"))
    });
    let capture = Capture::start(&topology.client, INTERFACE);
    let count = SERVERS.len() * CLIENTS * 2;
    let exchanges = (0..count).map(|_| AtomicU64::new(0)).collect();
    let progress = Progress { exchanges, stop: AtomicBool::new(false) };
    let result = thread::scope(|scope| {
        let _stop = Stop(&progress);
        for number in 0..count {
            let (progress, answers) = (&progress, &answers);
            scope.spawn(move || {
                let _stop = Stop(progress);
                topology.client.enter(|| client(number, port, answers, progress));
            });
        }
        progress.wait();
        let result = work(&progress);
        progress.wait();
        result
    });
    let answered = progress.exchanges.iter().map(|count| count.load(Relaxed)).sum();
    (result, Seen { packets: capture.packets(), answered })
}

/// Ends the clients, however its holder ends.
struct Stop<'a>(&'a Progress);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

fn client(number: usize, port: u16, answers: &[Vec<u8>; QUESTIONS.len()], progress: &Progress) {
    let server = SERVERS[number % SERVERS.len()];
    let stays = (number / SERVERS.len()).is_multiple_of(2);
    let mut stream = None;
    let mut turn = number;
    while !progress.stop.load(Relaxed) {
        let mut open = stream.take().unwrap_or_else(|| {
            connect(server, port).unwrap_or_else(|error| panic!("client {number}: connect: {error}"))
        });
        let together = if stays { IN_FLIGHT } else { 1 };
        let asked: Vec<usize> = (turn..turn + together).map(|turn| turn % QUESTIONS.len()).collect();
        let questions = asked.iter().flat_map(|&which| question(QUESTIONS[which].0, QUESTIONS[which].1));
        open.write_all(&questions.collect::<Vec<u8>>()).expect("ask");
        for which in asked {
            let answer = read(&mut open).unwrap_or_else(|error| panic!("client {number}: {error}"));
            assert!(answer == answers[which], "client {number}: another answer to {:?}", QUESTIONS[which]);
        }
        let rounds = progress.exchanges[number].fetch_add(1, Relaxed) + 1;
        turn += together;
        stream = (stays && !rounds.is_multiple_of(ROUNDS)).then_some(open);
        // A load, and no flood: the capture is to miss nothing.
        thread::sleep(Duration::from_millis(2));
    }
}

fn connect(server: IpAddr, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(server, port), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn question(name: &str, rtype: u16) -> Vec<u8> {
    query(0x2a2a, name, rtype)
}

fn ask(stream: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(question)?;
    read(stream)
}

fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let mut answer = vec![0; u16::from_be_bytes(prefix).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
