//! A name server that does as the test says: for what no real one does, or not at will.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::netns::Netns;

/// Time to notice that it shall end.
const TICK: Duration = Duration::from_millis(20);

/// A server on a UDP port. Dropped, it ends.
#[derive(Debug)]
pub struct DnsUpstream {
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DnsUpstream {
    /// Listens at `address` in `namespace`; `behave` gets the socket, each query, and who sent it.
    pub fn start(
        namespace: &Netns,
        address: SocketAddr,
        mut behave: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static,
    ) -> Self {
        let socket = namespace.enter(|| UdpSocket::bind(address)).expect("bind the back end's port");
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        let (asked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_535];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                behave(&socket, &buffer[..length], from);
            }
        });
        Self { asked, stop, thread: Some(thread) }
    }

    /// Queries that came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for DnsUpstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().expect("it was started").join();
    }
}

/// The end of a query's question.
fn end_of_question(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

/// The answer to a query: its question, and one A record with this address, or with a code other than 0 none.
pub fn answer(query: &[u8], code: u8, ttl: u32, address: [u8; 4]) -> Vec<u8> {
    let mut answer = query[..end_of_question(query)].to_vec();
    answer[2] |= 0x80;
    answer[3] = 0x80 | code;
    answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(code == 0), 0, 0, 0, 0]);
    if code == 0 {
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address);
    }
    answer
}

/// The A record's address in such an answer.
pub fn address_in(answer: &[u8]) -> Option<[u8; 4]> {
    let rcode = answer[3] & 0xf;
    (rcode == 0 && answer[7] == 1).then(|| answer.last_chunk().copied())?
}
