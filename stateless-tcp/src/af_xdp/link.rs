//! What holds an XDP program on an interface: a BPF link. The kernel takes the program off when the last process that
//! holds the link lets go of it, or ends.

use super::interface::{AttachMode, Interface};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// A BPF link to an interface. Dropped, it takes the program off, unless another process holds it too.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Attaches `program` to `interface`.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn create(program: BorrowedFd<'_>, interface: &Interface, mode: AttachMode) -> io::Result<Self> {
        // SAFETY: its fields are numbers, and pointers that may be null.
        let mut options: libxdp_sys::bpf_link_create_opts = unsafe { std::mem::zeroed() };
        options.sz = size_of_val(&options);
        options.flags = mode.flags().bits();
        let (program, index) = (program.as_raw_fd(), interface.index.cast_signed());
        // SAFETY: `options` lives through the call and states its own size.
        let file = unsafe {
            libxdp_sys::bpf_link_create(
                program,
                index,
                libxdp_sys::bpf_attach_type_BPF_XDP,
                &raw const options,
            )
        };
        if file < 0 {
            return Err(io::Error::from_raw_os_error(-file));
        }
        // SAFETY: the kernel has opened it for us just now.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(file) }))
    }

    /// Puts `program` in the place of the one that it holds, in one step: each frame meets the one or the other.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: plain numbers go in; a null pointer stands for no options.
        let status =
            unsafe { libxdp_sys::bpf_link_update(self.0.as_raw_fd(), program.as_raw_fd(), std::ptr::null()) };
        if status < 0 { Err(io::Error::from_raw_os_error(-status)) } else { Ok(()) }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    /// A link that another process has handed over.
    fn from(file: OwnedFd) -> Self {
        Self(file)
    }
}
