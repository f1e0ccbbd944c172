//! Frames that are handed to a worker beside its ring, to see whether it answers them (`check`).
//!
//! The RX ring and the fill ring have one producer and one consumer in the kernel: the queue's NAPI, which takes no lock.
//! Frames that were put in there by BPF_PROG_TEST_RUN (`BPF_F_TEST_XDP_LIVE_FRAMES`) would race with it, and what they
//! can break is the kernel's. So a frame that the XDP program has redirected in a trial is handed over here.

use crate::mailbox::Mailbox;

/// More frames than this are not kept for a worker that takes none.
const MOST: usize = 64;

/// Where frames are left for one worker.
#[derive(Debug, Default)]
pub struct Inlet(Mailbox<Vec<u8>>);

impl Inlet {
    /// Leaves a frame. False if the worker has taken none for long.
    pub fn post(&self, frame: Vec<u8>) -> bool {
        self.0.update(|frames| {
            let room = frames.len() < MOST;
            if room {
                frames.push(frame);
            }
            room
        })
    }

    /// Those that were left since last time.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Vec<Vec<u8>> {
        self.0.take().unwrap_or_default()
    }

    /// Whether the worker has taken all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_once_and_not_heaped_up() {
        let inlet = Inlet::default();
        assert!(inlet.take().is_empty() && inlet.is_empty());
        assert!(inlet.post(vec![1]) && inlet.post(vec![2]) && !inlet.is_empty());
        assert_eq!(inlet.take(), [[1], [2]]);
        assert!(inlet.take().is_empty() && inlet.is_empty());
        assert!((0..MOST).all(|_| inlet.post(Vec::new())) && !inlet.post(Vec::new()));
    }
}
