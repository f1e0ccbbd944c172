//! Records on their way from a worker to who listens, by a ring of octets at which neither end waits.
//!
//! ```text
//! length of the rest (4 octets, network byte order) | octets
//! ```

use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Octets that each worker may be ahead of who listens.
pub const SIZE: usize = 1 << 20;

/// Octets before those of a record.
pub const HEADER: usize = 4;

/// The worker's end.
#[derive(Debug)]
pub struct Writer {
    ring: Producer<u8>,
    lost: Arc<AtomicU64>,
}

/// The other end. Dropped, the ring is abandoned.
#[derive(Debug)]
pub struct Reader {
    ring: Consumer<u8>,
    octets: Vec<u8>,
}

/// Both ends of a ring. Records that find no room in it are counted in `lost`.
#[must_use]
pub fn pair(lost: &Arc<AtomicU64>) -> (Writer, Reader) {
    let (ring, other_end) = RingBuffer::new(SIZE);
    (Writer { ring, lost: Arc::clone(lost) }, Reader { ring: other_end, octets: Vec::new() })
}

impl Writer {
    /// Whether nobody listens any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Writes one record of `parts`, one behind the other, or counts it as lost.
    pub fn write(&mut self, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let header = u32::try_from(length).map(u32::to_be_bytes);
        let (Ok(header), Ok(mut chunk)) = (header, self.ring.write_chunk(HEADER + length)) else {
            return self.lose();
        };
        let (mut front, mut back) = chunk.as_mut_slices();
        for part in [&header[..]].iter().chain(parts) {
            let (first, second) = part.split_at(part.len().min(front.len()));
            // There is room for all of them.
            if let Some(place) = front.split_off_mut(..first.len()) {
                place.copy_from_slice(first);
            }
            if let Some(place) = back.split_off_mut(..second.len()) {
                place.copy_from_slice(second);
            }
        }
        // In one piece: who reads sees all of a record or nothing.
        chunk.commit_all();
    }

    /// Counts a record that is not written.
    pub fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
    }
}

impl Reader {
    /// The oldest record, if there is any.
    pub fn read(&mut self) -> Option<&[u8]> {
        let mut header = [0; HEADER];
        self.ring.pop_entire_slice(&mut header).ok()?;
        self.octets.resize(u32::from_be_bytes(header) as usize, 0);
        // It came with its header.
        self.ring.pop_entire_slice(&mut self.octets).ok()?;
        Some(&self.octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_in_order_and_whole() {
        let lost = Arc::default();
        let (mut writer, mut reader) = pair(&lost);
        for round in 0..3_000_u32 {
            let part = vec![round.to_le_bytes()[0]; 700];
            writer.write(&[&part, &[], b"end"]);
            writer.write(&[]);
            let expected = [&part[..], b"end"].concat();
            assert_eq!(reader.read(), Some(&expected[..]), "more than the ring holds, all in all");
            assert_eq!(reader.read(), Some(&[][..]));
            assert_eq!(reader.read(), None);
        }
        assert_eq!(lost.load(Relaxed), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let lost = Arc::default();
        let (mut writer, mut reader) = pair(&lost);
        for _ in 0..1_000 {
            writer.write(&[&[7; 2_000]]);
        }
        let read = std::iter::from_fn(|| reader.read().map(<[u8]>::len)).collect::<Vec<_>>();
        assert_eq!(read, [2_000].repeat(SIZE / (HEADER + 2_000)));
        assert_eq!(read.len() as u64 + lost.load(Relaxed), 1_000);
        assert!(!writer.is_abandoned());
        drop(reader);
        assert!(writer.is_abandoned(), "nobody listens any more");
    }
}
