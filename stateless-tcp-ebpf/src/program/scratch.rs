//! Room beside the packet, as octets that can be read and written.

use core::ptr;

use stateless_tcp_core::wire::bytes::{Frame, FrameMut};
use stateless_tcp_core::wire::control_segment;

use stateless_tcp_ebpf::packet::Packet;

/// Room for options, where they can be read at any offset, and for one number behind them.
pub(super) struct OptionScratch(pub(super) *mut [u8; OptionScratch::OCTETS]);

impl OptionScratch {
    /// No option begins beyond offset 63.
    const MASK: usize = 63;
    /// Where [`Frame::forget`] puts a number: behind the longest field at the last offset.
    const FORGOTTEN: usize = 127;
    pub(super) const OCTETS: usize = Self::FORGOTTEN + 1;
    const _ENOUGH: () = assert!(control_segment::ROOM <= Self::MASK);
}

impl Frame for OptionScratch {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: the range lies within the map's value, which is this CPU's own; an array of octets has no alignment.
        Some(unsafe { *self.0.cast::<u8>().add(offset & Self::MASK).cast() })
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        // SAFETY: as in `read`. Volatile, as the way through memory is all that there is to it.
        unsafe {
            let place = self.0.cast::<u8>().add(Self::FORGOTTEN);
            ptr::write_volatile(place, offset as u8);
            usize::from(ptr::read_volatile(place))
        }
    }
}

impl FrameMut for OptionScratch {
    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, octets: [u8; N]) -> Option<()> {
        // SAFETY: as in `read`.
        unsafe { *self.0.cast::<u8>().add(offset & Self::MASK).cast() = octets };
        Some(())
    }
}

/// The packet, with a place beside it to forget numbers through.
pub(super) struct Datagram<'a> {
    pub(super) packet: Packet<'a>,
    pub(super) place: *mut u16,
}

impl Frame for Datagram<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.packet.read(offset)
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        // SAFETY: the place lies within the map's value, which is this CPU's own. Volatile, as in `OptionScratch`.
        unsafe {
            ptr::write_volatile(self.place, offset as u16);
            usize::from(ptr::read_volatile(self.place))
        }
    }
}

impl FrameMut for Datagram<'_> {
    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, octets: [u8; N]) -> Option<()> {
        self.packet.write(offset, octets)
    }
}
