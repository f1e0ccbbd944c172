//! The frames of one queue: memory that is shared with the kernel, chunk by chunk.

use super::XdpError;
use super::interface::Interface;
use nix::errno::Errno;
use std::io;
use std::num::NonZeroU32;
use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::{FrameDesc, Umem as XskUmem};

/// Octets of a chunk: a page, so that any frame that XDP takes in one buffer fits.
pub const CHUNK: u32 = 4096;

/// Frames of a queue.
pub const FRAMES: u32 = 4096;

/// Size of the fill ring: as many frames as may wait for reception. The others carry long responses.
pub const FILL_RING: u32 = 2048;

/// Size of the completion ring: room for every frame.
pub const COMPLETION_RING: u32 = FRAMES;

/// One frame in our hands.
///
/// It is made only when the kernel gives a chunk to us (at the beginning, from the RX ring, from the completion ring)
/// and ends only when we give it back (fill ring, TX ring); being no copy type, it cannot be in two places.
#[derive(Debug)]
#[must_use = "a frame that is not sent or released is lost"]
pub struct Frame {
    pub(super) descriptor: FrameDesc,
}

/// The frames of a queue, before it has a socket.
#[derive(Debug)]
pub struct Pool {
    pub(super) umem: Umem,
    pub(super) free: Vec<Frame>,
}

impl Pool {
    /// Frames for `queue` of `interface`.
    ///
    /// # Errors
    /// The kernel's reason for refusing the memory.
    pub fn new(interface: &Interface, queue: u32) -> Result<Self, XdpError> {
        let (umem, free) = Umem::new().map_err(|error| XdpError::Memory {
            interface: interface.name.clone(),
            queue,
            octets: (FRAMES * CHUNK) as usize,
            reason: error.to_string(),
        })?;
        Ok(Self { umem, free })
    }
}

/// Memory of one queue.
#[derive(Debug)]
pub struct Umem {
    pub(super) inner: XskUmem,
}

impl Umem {
    /// Maps and registers [`FRAMES`] chunks, all of them in our hands.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn new() -> io::Result<(Self, Vec<Frame>)> {
        let invalid =
            |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(CHUNK).map_err(|error| invalid(&error))?)
            .fill_queue_size(QueueSize::new(FILL_RING).map_err(|error| invalid(&error))?)
            .comp_queue_size(QueueSize::new(COMPLETION_RING).map_err(|error| invalid(&error))?)
            .build()
            .map_err(|error| invalid(&error))?;
        let count = NonZeroU32::new(FRAMES).ok_or(Errno::EINVAL)?;
        let (inner, descriptors) =
            XskUmem::new(config, count, false).map_err(|error| super::socket::cause(&error))?;
        Ok((Self { inner }, descriptors.into_iter().map(|descriptor| Frame { descriptor }).collect()))
    }

    /// All octets from where the frame's data begin to the end of its chunk.
    #[inline]
    pub fn octets<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        // SAFETY: the descriptor is of this UMEM, for frames of one queue never leave its worker. A `Frame` exists only
        // while the chunk is ours, and both borrows are exclusive, so nobody else touches these octets meanwhile.
        let mut data = unsafe { self.inner.data_mut(&mut frame.descriptor) };
        // The library shows only as many octets as the descriptor states: let it state all that the chunk has.
        data.cursor().set_pos(CHUNK as usize);
        let octets: *mut [u8] = data.contents_mut();
        // SAFETY: the octets belong to the chunk, not to the view that named them; the borrows of the UMEM and the frame
        // that guard them last as long as the result.
        unsafe { &mut *octets }
    }

    /// States how many octets of the frame are to be sent.
    #[inline]
    pub(super) fn set_length(&mut self, frame: &mut Frame, length: usize) {
        // SAFETY: as in `octets`.
        unsafe { self.inner.data_mut(&mut frame.descriptor) }.cursor().set_pos(length);
    }
}
