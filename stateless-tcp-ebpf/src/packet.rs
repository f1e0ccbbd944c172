//! The packet that a program was called with, as octets.

use core::ptr;

use aya_ebpf::programs::XdpContext;
use stateless_tcp_core::udp;
use stateless_tcp_core::wire::bytes::{Frame, FrameMut};

/// The packet as it lies at the moment: its ends move when it is cut.
pub struct Packet<'a>(pub &'a XdpContext);

impl Packet<'_> {
    /// Nothing is looked at beyond offset 1023: no header reaches so far, nor does a question over UDP. To the verifier a mask
    /// is a bound that it does not lose sight of.
    const MASK: usize = 1023;
    const _ENOUGH: () = assert!(14 + 8 + 40 + 8 + udp::MAX_MESSAGE <= Self::MASK);

    /// Its begin and end. Asked for by each access anew: kept, LLVM would calculate with them in ways that make
    /// mere numbers of them for the verifier.
    #[inline(always)]
    pub fn ends(&self) -> (usize, usize) {
        let context = self.0.ctx;
        // SAFETY: the context is the one that this program was called with.
        let (start, end) = unsafe {
            (
                ptr::read_volatile(&raw const (*context).data),
                ptr::read_volatile(&raw const (*context).data_end),
            )
        };
        (start as usize, end as usize)
    }
}

impl Frame for Packet<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let (start, end) = self.ends();
        let offset = offset & Self::MASK;
        if start + offset + N > end {
            return None;
        }
        // SAFETY: the kernel owns the packet from `start` to `end` while the program runs, and the range lies within,
        // as the verifier checks again; an array of octets has no alignment.
        Some(unsafe { *((start + offset) as *const [u8; N]) })
    }
}

impl FrameMut for Packet<'_> {
    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, octets: [u8; N]) -> Option<()> {
        let (start, end) = self.ends();
        let offset = offset & Self::MASK;
        if start + offset + N > end {
            return None;
        }
        // SAFETY: as in `read`; and nobody else has the packet meanwhile.
        unsafe { *((start + offset) as *mut [u8; N]) = octets };
        Some(())
    }
}
