//! The four rings of one queue, and the account of where each of its frames is.
//!
//! ```text
//!        +----------- free <-----------+
//!        v                             |
//!   fill ring -> kernel -> RX ring -> ours -> TX ring -> kernel -> completion ring
//!                                                                       |
//!        free <---------------------------------------------------------+
//! ```

use super::XdpError;
use super::interface::{AttachMode, Interface};
use super::sockopt;
use super::umem::{FRAMES, Frame, Pool, Umem};
use crate::dataplane::responder::Frames;
use crate::observe::counters::Counters;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv};
use stateless_tcp_core::outcome::Outcome;
use std::error::Error;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use xsk_rs::config::{BindFlags, Interface as XskInterface, LibxdpFlags, QueueSize, SocketConfig, XdpFlags};
use xsk_rs::socket::XdpStatistics;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket as XskSocket, TxQueue};

/// Most frames that one turn of the loop takes from the RX ring.
pub const BATCH: usize = 64;

/// Size of the RX ring: every frame that may wait for reception fits.
const RX_RING: u32 = super::umem::FILL_RING;

/// Size of the TX ring. With all frames in it there is none to receive into: that never gets so far.
const TX_RING: u32 = 2048;

/// Frames that are left for long responses when the fill ring is replenished.
const RESERVE: usize = (FRAMES - super::umem::FILL_RING) as usize;

/// Times that a queue is asked for again while the kernel is letting go of it, and the pause between.
const BIND_TRIES: u32 = 500;
const BIND_PAUSE: Duration = Duration::from_millis(2);

/// `linux/if_xdp.h`, since Linux 6.17: frames that one `sendto` makes the kernel send in copy mode.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// As many as it sends if it knows no such option, or is not asked.
const COPY_MODE_BATCH: u32 = 32;

/// Whether frames are copied between the card's memory and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// The card reads and writes our memory.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

impl CopyMode {
    /// The words for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy mode",
        }
    }
}

/// Where the frames of a queue are. The sum never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameCounts {
    /// Free, in our hands.
    pub free: usize,
    /// In the fill ring, in the kernel's hands for reception, or in the RX ring.
    pub receiving: usize,
    /// In the TX ring, in the kernel's hands for transmission, or in the completion ring.
    pub sending: usize,
}

impl FrameCounts {
    /// Whether no frame is lost and none is there twice.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.free + self.receiving + self.sending == FRAMES as usize
    }
}

impl fmt::Display for FrameCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { free, receiving, sending } = self;
        write!(formatter, "free={free} receiving={receiving} sending={sending} total={FRAMES}")
    }
}

/// An AF_XDP socket on one queue, with its memory.
pub struct Socket {
    umem: Umem,
    fill: FillQueue,
    rx: RxQueue,
    tx: TxQueue,
    completion: CompQueue,
    free: Vec<Frame>,
    /// Frames to be sent at the end of this turn.
    staged: Vec<Frame>,
    /// Room for descriptors on their way between a ring and frames.
    descriptors: Vec<FrameDesc>,
    receiving: usize,
    sending: usize,
    counters: Arc<Counters>,
}

impl Socket {
    /// Binds to `queue` of `interface` and offers frames of `pool` for reception. Nothing arrives before the socket is
    /// registered with the XDP program. The kernel lets go of a queue some time after the last socket on it was closed: that
    /// is waited for.
    ///
    /// # Errors
    /// The kernel's reason for refusing the binding.
    pub fn bind(
        pool: Pool,
        interface: &Interface,
        queue: u32,
        attach: AttachMode,
        copy: CopyMode,
        counters: Arc<Counters>,
    ) -> Result<Self, XdpError> {
        let refused = |reason: io::Error| XdpError::Bind {
            interface: interface.name.clone(),
            queue,
            mode: copy.name(),
            hint: bind_hint(&reason, copy),
            reason,
        };
        let config = config(attach, copy).map_err(refused)?;
        let name: XskInterface = interface.name.parse().map_err(|_| refused(Errno::EINVAL.into()))?;
        let mut tries = 0;
        let rings = loop {
            // SAFETY: no other socket shares this UMEM, and all four rings stay with it in `Self`.
            let rings = unsafe { XskSocket::new(config, &pool.umem.inner, &name, queue) };
            let error = match rings {
                Ok(rings) => break rings,
                Err(error) => cause(&error),
            };
            tries += 1;
            if error.raw_os_error() != Some(Errno::EBUSY as i32) || tries == BIND_TRIES {
                return Err(refused(error));
            }
            std::thread::sleep(BIND_PAUSE);
        };
        let (tx, rx, Some((fill, completion))) = rings else {
            return Err(refused(Errno::EBUSY.into()));
        };
        let Pool { umem, free } = pool;
        let frames = FRAMES as usize;
        let mut socket = Self {
            umem,
            fill,
            rx,
            tx,
            completion,
            free,
            staged: Vec::with_capacity(frames),
            descriptors: vec![FrameDesc::default(); frames],
            receiving: 0,
            sending: 0,
            counters,
        };
        // A kernel that does not know it wants to be called more often.
        let _ = sockopt::set(&socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, TX_RING.cast_signed());
        socket.replenish();
        Ok(socket)
    }

    /// Moves up to [`BATCH`] received frames into `batch`, each with its length in octets.
    #[inline]
    pub fn receive(&mut self, batch: &mut Vec<(Frame, usize)>) {
        let descriptors = &mut self.descriptors[..BATCH];
        // SAFETY: the ring belongs to the UMEM that these descriptors will name.
        let received = unsafe { self.rx.consume(descriptors) };
        self.receiving -= received;
        batch.extend(descriptors[..received].iter().map(|&descriptor| {
            let length = descriptor.lengths().data();
            (Frame { descriptor }, length)
        }));
    }

    /// Hands the staged frames to the TX ring and lets the kernel send. Frames that find no room are free again.
    ///
    /// # Errors
    /// If the kernel refuses to send at all.
    pub fn transmit(&mut self) -> io::Result<()> {
        let room = (self.tx.nb_free(TX_RING) as usize).min(TX_RING as usize);
        let excess = self.staged.len().saturating_sub(room);
        if excess > 0 {
            self.counters.add(Outcome::TxRingFull, excess as u64);
            self.free.extend(self.staged.drain(room..));
        }
        if !self.staged.is_empty() {
            let descriptors = &mut self.descriptors[..self.staged.len()];
            for (descriptor, frame) in descriptors.iter_mut().zip(self.staged.drain(..)) {
                *descriptor = frame.descriptor;
            }
            // SAFETY: each descriptor was a frame of this UMEM that is given up here.
            let produced = unsafe { self.tx.produce(descriptors) };
            debug_assert_eq!(produced, descriptors.len(), "the ring had room for all");
            self.sending += produced;
        }
        self.wake()
    }

    /// Has the kernel send what the TX ring holds. In copy mode one call sends but a batch.
    fn wake(&mut self) -> io::Result<()> {
        if self.sending == 0 || !self.tx.needs_wakeup() {
            return Ok(());
        }
        let mut waiting = TX_RING - self.tx.nb_free_exact();
        for _ in 0..=TX_RING / COPY_MODE_BATCH {
            if waiting == 0 {
                break;
            }
            match self.tx.wakeup() {
                // The interface is down. The frames wait in the ring until it is up again.
                Err(error) if error.raw_os_error() == Some(Errno::ENETDOWN as i32) => break,
                sent => sent?,
            }
            let left = TX_RING - self.tx.nb_free_exact();
            if left == waiting {
                // No progress: the device is busy. The next turn tries again.
                break;
            }
            waiting = left;
        }
        Ok(())
    }

    /// Takes back what the kernel has sent, and offers free frames for reception.
    #[inline]
    pub fn replenish(&mut self) {
        if self.sending > 0 {
            // SAFETY: the ring belongs to the UMEM that these descriptors will name.
            let completed = unsafe { self.completion.consume(&mut self.descriptors) };
            self.sending -= completed;
            self.free.extend(self.descriptors[..completed].iter().map(|&descriptor| Frame { descriptor }));
        }
        let room = super::umem::FILL_RING as usize - self.receiving;
        let offered = room.min(self.free.len().saturating_sub(RESERVE));
        if offered == 0 {
            return;
        }
        // The ring takes all or nothing; it has room, for it holds no more than `receiving`.
        let start = self.free.len() - offered;
        for (descriptor, frame) in self.descriptors.iter_mut().zip(self.free.drain(start..)) {
            *descriptor = frame.descriptor;
        }
        // SAFETY: each descriptor was a free frame of this UMEM that is given up here.
        let produced = unsafe { self.fill.produce(&self.descriptors[..offered]) };
        self.receiving += produced;
        // The descriptors are of free frames still if the ring would not have them.
        self.free.extend(self.descriptors[produced..offered].iter().map(|&descriptor| Frame { descriptor }));
        if self.fill.needs_wakeup() {
            // A driver that ran dry has stopped receiving until it is called. What poll reports is of no interest here.
            let _ = self.rx.poll(0);
        }
    }

    /// Has the kernel look for frames at once, in this thread; those that it finds are in the RX ring then.
    ///
    /// # Errors
    /// If the kernel refuses to look at all.
    pub fn poll_busily(&self) -> io::Result<()> {
        match recv(self.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EBUSY | Errno::EINTR | Errno::ENETDOWN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether frames are on their way out that may need another push.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.sending > 0
    }

    /// Where the frames are, between two turns of the loop.
    #[must_use]
    pub fn account(&self) -> FrameCounts {
        FrameCounts {
            free: self.free.len() + self.staged.len(),
            receiving: self.receiving,
            sending: self.sending,
        }
    }

    /// Whether frames are copied, as the kernel says of the bound socket: not what was asked for, but what is.
    ///
    /// # Errors
    /// If it does not tell.
    pub fn copy_mode(&self) -> io::Result<CopyMode> {
        let options = sockopt::get(self, libc::SOL_XDP, libc::XDP_OPTIONS)?;
        let zero_copy = options.cast_unsigned() & libc::XDP_OPTIONS_ZEROCOPY != 0;
        Ok(if zero_copy { CopyMode::ZeroCopy } else { CopyMode::Copy })
    }

    /// The kernel's own counters of this socket.
    ///
    /// # Errors
    /// If it does not tell.
    pub fn statistics(&self) -> io::Result<XdpStatistics> {
        self.rx.fd().xdp_statistics()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }
}

impl Frames for Socket {
    type Frame = Frame;

    #[inline]
    fn octets<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        self.umem.octets(frame)
    }

    #[inline]
    fn take(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    #[inline]
    fn send(&mut self, mut frame: Frame, length: usize) {
        self.umem.set_length(&mut frame, length);
        self.staged.push(frame);
    }

    #[inline]
    fn release(&mut self, frame: Frame) {
        self.free.push(frame);
    }
}

fn config(attach: AttachMode, copy: CopyMode) -> io::Result<SocketConfig> {
    let size = |size| QueueSize::new(size).map_err(|error| io::Error::other(error.to_string()));
    let copy = match copy {
        CopyMode::ZeroCopy => BindFlags::XDP_ZEROCOPY,
        CopyMode::Copy => BindFlags::XDP_COPY,
    };
    let mode = match attach {
        AttachMode::Generic => XdpFlags::XDP_FLAGS_SKB_MODE,
        AttachMode::Native | AttachMode::Hardware => XdpFlags::XDP_FLAGS_DRV_MODE,
    };
    Ok(SocketConfig::builder()
        .rx_queue_size(size(RX_RING)?)
        .tx_queue_size(size(TX_RING)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .xdp_flags(mode)
        .bind_flags(copy | BindFlags::XDP_USE_NEED_WAKEUP)
        .build())
}

/// The kernel's error behind an error of the library.
pub(super) fn cause(error: &dyn Error) -> io::Error {
    let kernel = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match kernel.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}

/// What usually stands behind the kernel's errno for a binding.
fn bind_hint(reason: &io::Error, copy: CopyMode) -> &'static str {
    match reason.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EBUSY) => "; another AF_XDP socket has this queue: stop the process that holds it",
        Some(Errno::EOPNOTSUPP) if copy == CopyMode::ZeroCopy => {
            "; the driver has no zero-copy in this mode: use --zero-copy auto or never"
        }
        Some(Errno::EPERM | Errno::EACCES) => "; run as root or with CAP_NET_RAW and CAP_NET_ADMIN",
        Some(Errno::EINVAL) => {
            "; usual causes: no such queue (`ethtool -l`), or queues that changed under way"
        }
        _ => "",
    }
}
