//! A ring of records from a worker to a listener. Neither end waits.
//!
//! ```text
//! length of the content (4 bytes, network byte order) | content
//! ```

use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Size of a ring in bytes.
pub const SIZE: usize = 1 << 20;

/// Bytes before a record's content.
pub const HEADER: usize = 4;

/// The worker's end.
#[derive(Debug)]
pub struct RingWriter {
    ring: Producer<u8>,
    lost: Arc<AtomicU64>,
}

/// The listener's end. Dropping it abandons the ring.
#[derive(Debug)]
pub struct RingReader {
    ring: Consumer<u8>,
    record: Vec<u8>,
}

/// Both ends of a new ring. `lost` counts the records that found no room.
#[must_use]
pub fn pair(lost: &Arc<AtomicU64>) -> (RingWriter, RingReader) {
    let (producer, consumer) = RingBuffer::new(SIZE);
    (RingWriter { ring: producer, lost: Arc::clone(lost) }, RingReader { ring: consumer, record: Vec::new() })
}

impl RingWriter {
    /// Whether the listener is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Writes one record of all `parts`, or counts it as lost.
    pub fn write(&mut self, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let header = u32::try_from(length).map(u32::to_be_bytes);
        let (Ok(header), Ok(mut chunk)) = (header, self.ring.write_chunk(HEADER + length)) else {
            return self.lose();
        };
        let (mut front, mut back) = chunk.as_mut_slices();
        for part in [&header[..]].iter().chain(parts) {
            let (first, second) = part.split_at(part.len().min(front.len()));
            // The chunk has room for all parts.
            if let Some(place) = front.split_off_mut(..first.len()) {
                place.copy_from_slice(first);
            }
            if let Some(place) = back.split_off_mut(..second.len()) {
                place.copy_from_slice(second);
            }
        }
        // All at once, so that a reader never sees a part of a record.
        chunk.commit_all();
    }

    /// Counts a lost record.
    pub fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
    }
}

impl RingReader {
    /// The oldest record, if there is one.
    pub fn read(&mut self) -> Option<&[u8]> {
        let mut header = [0; HEADER];
        self.ring.pop_entire_slice(&mut header).ok()?;
        self.record.resize(u32::from_be_bytes(header) as usize, 0);
        // It was written together with its header.
        self.ring.pop_entire_slice(&mut self.record).ok()?;
        Some(&self.record)
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
            assert_eq!(reader.read(), Some(&expected[..]), "more than the ring holds in total");
            assert_eq!(reader.read(), Some(&[][..]));
            assert_eq!(reader.read(), None);
        }
        assert_eq!(lost.load(Relaxed), 0);
    }

    #[test]
    fn records_without_room_are_counted_and_nobody_waits() {
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
        assert!(writer.is_abandoned(), "the listener is gone");
    }
}
