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

use crate::backend::answer;
use crate::netns::Netns;

/// How long it takes to notice that it shall end, or that somebody has connected.
const TICK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_mins(1);

/// What it can do to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Answer it.
    None,
    /// Answer it, octet by octet.
    Slow,
    /// Answer with another id.
    WrongId,
    /// Answer SERVFAIL.
    WrongCode,
    /// Answer, and send an octet more.
    Malformed,
    /// Close within the answer.
    Closed,
    /// Reset the connection.
    Reset,
}

impl Lie {
    /// All, by their index.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Slow, Self::WrongId, Self::WrongCode, Self::Malformed, Self::Closed, Self::Reset];
}

type Counts = [AtomicU64; Lie::ALL.len()];

/// The server. Dropped, it ends.
#[derive(Debug)]
pub struct Liar {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Listens at `address` in `namespace`.
    pub fn start(namespace: &Netns, address: SocketAddr) -> Self {
        let listener = namespace.enter(|| TcpListener::bind(address)).expect("bind the liar's port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let (counts, stop) = (Arc::<Counts>::default(), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&counts), Arc::clone(&stop));
        // Kept until the end, so that it is the client that closes first.
        let open = Mutex::new(Vec::new());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (lie, stream) = serve(stream);
                        counted[lie as usize].fetch_add(1, Relaxed);
                        open.lock().expect("no thread panicked").extend(stream);
                    }
                    Err(_) => std::thread::sleep(TICK),
                }
            }
        });
        Self { counts, stop, thread: Some(thread) }
    }

    /// How often it lied so.
    pub fn count(&self, lie: Lie) -> u64 {
        self.counts[lie as usize].load(Relaxed)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().expect("it was started").join();
    }
}

/// Answers the connection's question, and returns the connection if it is not closed.
fn serve(mut stream: TcpStream) -> (Lie, Option<TcpStream>) {
    stream.set_nonblocking(false).expect("a stream that blocks");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a question's length");
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).expect("a question");
    let lie = Lie::ALL[usize::from(question[1]) % Lie::ALL.len()];
    let code = if lie == Lie::WrongCode { 2 } else { 0 };
    let mut answer = answer(&question, code, 60, [192, 0, 2, 80]);
    if lie == Lie::WrongId {
        answer[0] ^= 0xff;
    }
    let length = u16::try_from(answer.len()).expect("a short answer").to_be_bytes();
    let mut whole = [&length[..], &answer].concat();
    match lie {
        Lie::Reset => {
            let abort = linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream.as_fd(), Linger, &abort).expect("a stream that is reset");
            return (lie, None);
        }
        Lie::Slow => {
            for octet in whole {
                stream.write_all(&[octet]).expect("an octet sent");
            }
            return (lie, Some(stream));
        }
        Lie::Closed => whole.truncate(20),
        Lie::Malformed => whole.push(0),
        Lie::None | Lie::WrongId | Lie::WrongCode => {}
    }
    stream.write_all(&whole).expect("an answer sent");
    (lie, (lie != Lie::Closed).then_some(stream))
}
