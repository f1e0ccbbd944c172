//! Connections opened by the hundred thousand, and left open: their clients are frames.
//!
//! Each client is one of 198.18.0.0/15 (RFC 2544) and a port, sends SYN, acknowledges what SYN,ACK comes, and is silent. The
//! namespace's own kernel knows nothing of these addresses, so that it leaves them alone. The server's namespace must have a
//! route to them by way of the client's.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::packet::{MSS_1460, Packet, flags};
use crate::raw::Port;

/// The clients' network, in the form that `ip route` takes.
pub const CLIENTS: &str = "198.18.0.0/15";

const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 1]);
const FIRST_PORT: u16 = 10_000;
const PORTS: usize = 50_000;
/// Of every client.
const ISS: u32 = 1;

/// SYNs that are not answered yet, at most.
const WINDOW: usize = 256;
/// After which a SYN is sent again.
const RETRY: Duration = Duration::from_millis(300);
/// Without any connection opened, after which nothing more is expected.
const STANDSTILL: Duration = Duration::from_secs(4);
/// Time in which a server may still send SYN,ACKs again, for acknowledgments that it had no room for.
const SETTLE: Duration = Duration::from_millis(1_500);
const TICK: Duration = Duration::from_millis(10);

/// Connections to one server.
pub struct ConnectionOpener<'port> {
    port: &'port Port,
    server: SocketAddr,
    /// By client: the server's ISS, once it is known.
    clients: Vec<Option<u32>>,
    opened: usize,
}

impl std::fmt::Debug for ConnectionOpener<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} connections to {}", self.opened, self.server)
    }
}

impl<'port> ConnectionOpener<'port> {
    /// None is open yet.
    pub fn new(port: &'port Port, server: SocketAddr) -> Self {
        Self { port, server, clients: Vec::new(), opened: 0 }
    }

    /// Opens connections until there are `count`, or the server takes no more. Returns how many there are.
    pub fn open(&mut self, count: usize) -> usize {
        let mut next = self.clients.len();
        self.clients.resize(count.max(next), None);
        let mut waiting = VecDeque::new();
        let mut progress = Instant::now();
        while (next < count || !waiting.is_empty()) && progress.elapsed() < STANDSTILL {
            while next < count && waiting.len() < WINDOW {
                self.port.send(&self.syn(next));
                waiting.push_back((next, Instant::now()));
                next += 1;
            }
            if self.acknowledge(TICK) {
                progress = Instant::now();
            }
            while let Some(&(client, sent)) = waiting.front() {
                if self.clients[client].is_none() {
                    if sent.elapsed() < RETRY {
                        break;
                    }
                    self.port.send(&self.syn(client));
                    waiting.push_back((client, Instant::now()));
                }
                waiting.pop_front();
            }
        }
        let end = Instant::now() + SETTLE;
        while Instant::now() < end {
            self.acknowledge(TICK);
        }
        self.opened
    }

    /// Asks `query` (with its length before it) on `sample` of the connections, evenly spread. Returns how many answered.
    pub fn ask(&self, query: &[u8], sample: usize) -> usize {
        let step = (self.clients.len() / sample).max(1);
        let (mut asked, mut answered) = (Vec::new(), 0);
        for client in (0..self.clients.len()).step_by(step) {
            let Some(iss) = self.clients[client] else { continue };
            let seq = ISS.wrapping_add(1);
            let payload = query.to_vec();
            let packet = self.packet(client);
            let flags = flags::PSH | flags::ACK;
            self.port.send(&Packet { seq, ack: iss.wrapping_add(1), flags, payload, ..packet }.octets());
            asked.push(client);
            // One by one: what is asked is whether they are open, not how fast.
            let answer = self.port.receive_tcp(RETRY, |packet| {
                self.client(packet) == Some(client) && !packet.payload.is_empty()
            });
            answered += usize::from(answer.is_some());
        }
        answered * sample / asked.len().max(1)
    }

    /// Takes one frame, and acknowledges if it opens a connection. Returns whether it did.
    fn acknowledge(&mut self, patience: Duration) -> bool {
        let Some(packet) = self.port.receive_tcp(patience, |packet| packet.is(flags::SYN | flags::ACK))
        else {
            return false;
        };
        let Some(client) = self.client(&packet).filter(|&client| client < self.clients.len()) else {
            return false;
        };
        let (seq, ack) = (ISS.wrapping_add(1), packet.seq.wrapping_add(1));
        let acknowledgment = Packet { seq, ack, flags: flags::ACK, ..self.packet(client) };
        self.port.send(&acknowledgment.octets());
        let new = self.clients[client].replace(packet.seq).is_none();
        self.opened += usize::from(new);
        new
    }

    fn syn(&self, client: usize) -> Vec<u8> {
        let packet = self.packet(client);
        Packet { seq: ISS, flags: flags::SYN, options: MSS_1460.to_vec(), ..packet }.octets()
    }

    fn packet(&self, client: usize) -> Packet {
        let address = FIRST + u32::try_from(client / PORTS).expect("few addresses");
        let port = FIRST_PORT + u16::try_from(client % PORTS).expect("a port");
        Packet::new(IpAddr::V4(Ipv4Addr::from(address)), port, self.server.ip(), self.server.port())
    }

    /// Whose packet from the server it is.
    fn client(&self, packet: &Packet) -> Option<usize> {
        let IpAddr::V4(address) = packet.destination else { return None };
        let address = u32::from(address).checked_sub(FIRST)?;
        let port = packet.destination_port.checked_sub(FIRST_PORT)?;
        (packet.source == self.server.ip() && usize::from(port) < PORTS)
            .then_some(usize::try_from(address).ok()? * PORTS + usize::from(port))
    }
}
