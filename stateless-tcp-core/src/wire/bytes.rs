//! Octets of a frame, wherever they lie: in a slice, or in a packet that the kernel lends to the XDP program.

/// Octets that can be read. Every read is checked; the verifier sees the check in place.
pub trait Frame {
    /// The `N` octets from `offset` on, if the frame reaches that far.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// `offset`, which is less than 65,536. In BPF the verifier forgets what it knows about it, and so goes through what
    /// follows once, not once for every offset that it can be.
    #[inline]
    fn forget(&self, offset: usize) -> usize {
        offset
    }
}

/// Octets that can be written too.
pub trait FrameMut: Frame {
    /// Writes `octets` from `offset` on; none, and nothing written, if the frame does not reach that far.
    fn write<const N: usize>(&mut self, offset: usize, octets: [u8; N]) -> Option<()>;
}

impl Frame for [u8] {
    #[inline]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

impl FrameMut for [u8] {
    #[inline]
    fn write<const N: usize>(&mut self, offset: usize, octets: [u8; N]) -> Option<()> {
        *self.get_mut(offset..)?.first_chunk_mut()? = octets;
        Some(())
    }
}
