//! Copies of a worker's frames, or of its DNS transactions, for listeners.
//!
//! A listener passes a [`Tap`], the writer of a ring, to each worker through the worker's [`TapRegistry`]. Without listeners
//! a worker checks one flag a turn. A worker never waits for a listener: a record that finds no room in the ring, or exceeds
//! the requested rate, is left out and counted.

use super::ring::{self, RingReader, RingWriter};
use super::transaction::Transaction;
use crate::acl::Prefix;
use crate::mailbox::Mailbox;
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};
use stateless_tcp_core::tcp::segment::FourTuple;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Rate-limit window.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOWS_PER_SECOND: u32 = 10;

/// The frames to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapFilter {
    /// Frames of these clients only.
    pub client: Option<Prefix>,
    /// Frames of this served port only.
    pub port: Option<u16>,
    /// Frames of one in this many connections.
    pub sample: u32,
    /// Most frames for each second and queue; further ones are left out.
    pub rate: u32,
}

/// The direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client.
    Received,
    /// To a client.
    Sent,
}

/// A copied frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRecord<'a> {
    /// Time of its batch, since 1970.
    pub time: Duration,
    /// Its direction.
    pub direction: Direction,
    /// The frame, from the Ethernet header on.
    pub bytes: &'a [u8],
}

/// The worker's end of a listener's ring.
#[derive(Debug)]
pub enum Tap {
    /// Of a listener to frames.
    Frames(FrameTap),
    /// Of a listener to DNS transactions.
    Transactions(RingWriter),
}

impl Tap {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Frames(tap) => tap.ring.is_abandoned(),
            Self::Transactions(ring) => ring.is_abandoned(),
        }
    }
}

/// A ring for frames, with its filter.
#[derive(Debug)]
pub struct FrameTap {
    filter: TapFilter,
    ring: RingWriter,
    hasher: RandomState,
    /// Start of the rate-limit window, and the number of frames copied in it.
    window: SystemTime,
    copied: u32,
}

/// Bytes of time and direction before a frame.
const HEAD: usize = 9;

impl FrameTap {
    /// Copies a frame that passes the filter, if there is room. Returns false if the listener is gone.
    fn copy(
        &mut self,
        now: SystemTime,
        tuple: Option<&FourTuple>,
        direction: Direction,
        bytes: &[u8],
    ) -> bool {
        if self.ring.is_abandoned() {
            return false;
        }
        if self.wants(tuple) {
            if self.is_within_rate(now) {
                let time = nanoseconds(now).to_be_bytes();
                self.ring.write(&[&time, &[u8::from(direction == Direction::Sent)], bytes]);
            } else {
                self.ring.lose();
            }
        }
        true
    }

    /// Whether a frame passes the filter. A frame that cannot be parsed has no client and no port.
    fn wants(&self, tuple: Option<&FourTuple>) -> bool {
        let TapFilter { client, port, sample, .. } = self.filter;
        let Some(tuple) = tuple else { return client.is_none() && port.is_none() };
        client.is_none_or(|client| client.contains(&tuple.client))
            && port.is_none_or(|port| port == tuple.server_port)
            && (sample <= 1
                || self.hasher.hash_one((tuple.client, tuple.client_port)) % u64::from(sample) == 0)
    }

    fn is_within_rate(&mut self, now: SystemTime) -> bool {
        // A clock that was set back begins a new window.
        if now.duration_since(self.window).map_or(true, |since| since >= WINDOW) {
            (self.window, self.copied) = (now, 0);
        }
        self.copied += 1;
        self.copied <= self.filter.rate.div_ceil(WINDOWS_PER_SECOND)
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

/// The taps of one worker, usually none.
#[derive(Debug, Default)]
pub struct Taps {
    frames: Vec<FrameTap>,
    transactions: Vec<RingWriter>,
}

impl Taps {
    /// Whether there are no listeners.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.transactions.is_empty()
    }

    /// Whether there is a listener to DNS transactions.
    #[inline]
    #[must_use]
    pub fn want_transactions(&self) -> bool {
        !self.transactions.is_empty()
    }

    /// Adds taps.
    pub fn add(&mut self, taps: Vec<Tap>) {
        // Without traffic nothing else removes the taps of listeners that are gone.
        self.frames.retain(|tap| !tap.ring.is_abandoned());
        self.transactions.retain(|ring| !ring.is_abandoned());
        for tap in taps {
            match tap {
                Tap::Frames(tap) => self.frames.push(tap),
                Tap::Transactions(tap) => self.transactions.push(tap),
            }
        }
    }

    /// Copies a frame for all listeners whose filter it passes.
    #[cold]
    pub fn frame(&mut self, now: SystemTime, tuple: Option<&FourTuple>, direction: Direction, bytes: &[u8]) {
        self.frames.retain_mut(|tap| tap.copy(now, tuple, direction, bytes));
    }

    /// Copies a DNS transaction for all listeners.
    #[cold]
    pub fn transaction(&mut self, transaction: &Transaction<'_>) {
        self.transactions.retain(|tap| !tap.is_abandoned());
        self.transactions.iter_mut().for_each(|tap| transaction.write(tap));
    }
}

/// New taps for one worker.
pub type TapRegistry = Mailbox<Tap>;

/// The listener's ends of the rings of several workers. Dropping it ends the copying.
#[derive(Debug)]
pub struct TapListener {
    rings: Vec<RingReader>,
    lost: Arc<AtomicU64>,
}

impl TapListener {
    /// Listens to the frames of these workers that pass `filter`.
    pub fn to_frames<'a>(registries: impl Iterator<Item = &'a TapRegistry>, filter: TapFilter) -> Self {
        let hasher = RandomState::default();
        let tap = |ring| {
            let hasher = hasher.clone();
            Tap::Frames(FrameTap { filter, ring, hasher, window: UNIX_EPOCH, copied: 0 })
        };
        Self::attach(registries, Arc::default(), tap)
    }

    /// Listens to the DNS transactions of these workers. `lost` counts those that are left out.
    pub fn to_transactions<'a>(
        registries: impl Iterator<Item = &'a TapRegistry>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Self::attach(registries, lost, Tap::Transactions)
    }

    fn attach<'a>(
        registries: impl Iterator<Item = &'a TapRegistry>,
        lost: Arc<AtomicU64>,
        tap: impl Fn(RingWriter) -> Tap,
    ) -> Self {
        let attach = |registry: &TapRegistry| {
            let (writer, reader) = ring::pair(&lost);
            registry.update(|taps| {
                // Listeners may be gone before a stuck worker takes their taps.
                taps.retain(|tap| !tap.is_abandoned());
                taps.push(tap(writer));
            });
            reader
        };
        Self { rings: registries.map(attach).collect(), lost }
    }

    /// Passes the copied frames to `take`, with the index of their worker. Returns false if there was none.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn frames<E>(
        &mut self,
        mut take: impl FnMut(usize, FrameRecord<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.drain(|number, record| {
            let Some((head, bytes)) = record.split_first_chunk::<HEAD>() else { return Ok(()) };
            let [time @ .., direction] = *head;
            let direction = if direction == 0 { Direction::Received } else { Direction::Sent };
            let time = Duration::from_nanos(u64::from_be_bytes(time));
            take(number, FrameRecord { time, direction, bytes })
        })
    }

    /// Passes the copied transactions to `take`. Returns false if there was none.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn transactions<E>(
        &mut self,
        mut take: impl FnMut(&Transaction<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.drain(|_, record| Transaction::read(record).map_or(Ok(()), |transaction| take(&transaction)))
    }

    /// Discards all records, and returns their number.
    pub fn discard(&mut self) -> u64 {
        self.rings.iter_mut().map(|ring| std::iter::from_fn(|| ring.read().map(|_| ())).count() as u64).sum()
    }

    fn drain<E>(&mut self, mut take: impl FnMut(usize, &[u8]) -> Result<(), E>) -> Result<bool, E> {
        let mut any = false;
        for (number, ring) in self.rings.iter_mut().enumerate() {
            while let Some(record) = ring.read() {
                take(number, record)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Number of records that passed the filter and were left out.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
