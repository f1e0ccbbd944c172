//! How a worker without frames waits for more.

use super::socket::Socket;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io;
use std::iter;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

/// Waits on one socket and on other files: asleep, or, for as long as it was told to since the last frame, by having the
/// kernel look for frames (busy polling).
pub struct Poller {
    /// The socket's first.
    files: Vec<PollFd<'static>>,
    /// For so long it does not sleep.
    busy: Duration,
    /// When it was first called since the last frame.
    idle_since: Option<Instant>,
}

impl Poller {
    /// Waits on `socket` and `others`, and polls busily for `busy` after each frame.
    #[must_use]
    pub fn new(socket: &Socket, others: &[RawFd], busy: Duration) -> Self {
        // SAFETY: they are only waited for. One that was closed meanwhile is reported as such, and so ends the wait.
        let poll = |fd: &RawFd| PollFd::new(unsafe { BorrowedFd::borrow_raw(*fd) }, PollFlags::POLLIN);
        let own = socket.as_raw_fd();
        let files = iter::once(&own).chain(others).map(poll).collect();
        Self { files, busy, idle_since: None }
    }

    /// There were frames.
    #[inline]
    pub fn frames_came(&mut self) {
        self.idle_since = None;
    }

    /// Returns when a frame has arrived, another file can be read, or `timeout` has passed; and before, to be called again,
    /// while it polls busily.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn wait(&mut self, socket: &Socket, timeout: Duration) -> io::Result<()> {
        let busily =
            !self.busy.is_zero() && self.idle_since.get_or_insert_with(Instant::now).elapsed() < self.busy;
        if busily {
            return socket.poll_busily();
        }
        match ppoll(&mut self.files, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
