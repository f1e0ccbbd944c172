//! A DNS server on the kernel's TCP that answers wrongly, each question in the way that its id says, and counts the ways.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt::Linger};

use crate::netns::Netns;
use crate::upstream::answer;

/// Time to notice that it shall end, or that somebody has connected.
const TICK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_mins(1);

/// Its treatment of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// Answer it.
    None,
    /// Answer it, byte by byte.
    Slow,
    /// Answer with another id.
    WrongId,
    /// Answer SERVFAIL.
    WrongCode,
    /// Answer, and send a byte more.
    Malformed,
    /// Close within the answer.
    Closed,
    /// Reset the connection.
    Reset,
}

impl ServerFault {
    /// All, by their index.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Slow, Self::WrongId, Self::WrongCode, Self::Malformed, Self::Closed, Self::Reset];
}

type Counts = [AtomicU64; ServerFault::ALL.len()];

/// The server. Dropped, it ends.
#[derive(Debug)]
pub struct FaultyServer {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FaultyServer {
    /// Listens at `address` in `namespace`.
    pub fn start(namespace: &Netns, address: SocketAddr) -> Self {
        let listener = namespace.enter(|| TcpListener::bind(address)).expect("bind the server's port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let (counts, stop) = (Arc::<Counts>::default(), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&counts), Arc::clone(&stop));
        // Kept until the end, so that it is the client that closes first.
        let open = Mutex::new(Vec::new());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (fault, stream) = serve(stream);
                        counted[fault as usize].fetch_add(1, Relaxed);
                        open.lock().expect("no thread panicked").extend(stream);
                    }
                    Err(_) => std::thread::sleep(TICK),
                }
            }
        });
        Self { counts, stop, thread: Some(thread) }
    }

    /// Number of questions that met this fault.
    pub fn count(&self, fault: ServerFault) -> u64 {
        self.counts[fault as usize].load(Relaxed)
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().expect("it was started").join();
    }
}

/// Answers the connection's question, and returns the connection if it is not closed.
fn serve(mut stream: TcpStream) -> (ServerFault, Option<TcpStream>) {
    stream.set_nonblocking(false).expect("a stream that blocks");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a question's length");
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).expect("a question");
    let fault = ServerFault::ALL[usize::from(question[1]) % ServerFault::ALL.len()];
    let code = if fault == ServerFault::WrongCode { 2 } else { 0 };
    let mut answer = answer(&question, code, 60, [192, 0, 2, 80]);
    if fault == ServerFault::WrongId {
        answer[0] ^= 0xff;
    }
    let length = u16::try_from(answer.len()).expect("a short answer").to_be_bytes();
    let mut whole = [&length[..], &answer].concat();
    match fault {
        ServerFault::Reset => {
            let abort = linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream.as_fd(), Linger, &abort).expect("a stream that is reset");
            return (fault, None);
        }
        ServerFault::Slow => {
            for byte in whole {
                stream.write_all(&[byte]).expect("an octet sent");
            }
            return (fault, Some(stream));
        }
        ServerFault::Closed => whole.truncate(20),
        ServerFault::Malformed => whole.push(0),
        ServerFault::None | ServerFault::WrongId | ServerFault::WrongCode => {}
    }
    stream.write_all(&whole).expect("an answer sent");
    (fault, (fault != ServerFault::Closed).then_some(stream))
}
