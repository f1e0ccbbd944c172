//! A wire that takes its time: what comes out of an interface goes back into it, later and perhaps changed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::netns::Netns;
use crate::raw::Port;

/// Time limit to notice that it is to end.
const NAP: Duration = Duration::from_millis(20);

/// Holds frames and gives them back to whom they came from. Ends when dropped.
#[derive(Debug)]
pub struct DelayLink {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DelayLink {
    /// Takes what arrives at `interface` in `namespace`; `hold` says for how long, and may change the frame.
    pub fn start(
        namespace: &Netns,
        interface: &str,
        mut hold: impl FnMut(&mut Vec<u8>) -> Duration + Send + 'static,
    ) -> Self {
        let port = Port::open(namespace, interface);
        let ends = Arc::new(AtomicBool::new(false));
        let noticed = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let mut waiting: BinaryHeap<Reverse<(Instant, Vec<u8>)>> = BinaryHeap::new();
            while !noticed.load(Ordering::Relaxed) {
                let now = Instant::now();
                while waiting.peek().is_some_and(|Reverse((due, _))| *due <= now) {
                    if let Some(Reverse((_, frame))) = waiting.pop() {
                        port.send(&frame);
                    }
                }
                let next = waiting.peek().map_or(NAP, |Reverse((due, _))| *due - now);
                if let Some(mut frame) = port.receive(next.min(NAP)) {
                    let due = Instant::now() + hold(&mut frame);
                    // Back to its sender, which then routes it on.
                    let (to, rest) = frame.split_at_mut(6);
                    to.swap_with_slice(&mut rest[..6]);
                    waiting.push(Reverse((due, frame)));
                }
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for DelayLink {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong in it shows in what did not get through; a second panic here would hide that.
            let _ = thread.join();
        }
    }
}
