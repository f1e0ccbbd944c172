//! A copy of what passes a worker, for whoever wants to look at it: frames, or questions with their answers.
//!
//! Who listens hands each worker a [`Tap`], one end of a ring of octets, through the worker's [`TapRegistry`]. While nobody
//! does, that costs the worker one look at a flag for each turn. A worker never waits for who listens: what finds no room in
//! the ring, or is more than was asked for, is left out and counted.

use super::ring::{self, Reader, Writer};
use super::transaction::Transaction;
use crate::config::prefix::Prefix;
use crate::dataplane::mailbox::Mailbox;
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};
use stateless_tcp_core::tcp::segment::FourTuple;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// So often it is counted anew how many frames may be copied.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOWS_A_SECOND: u32 = 10;

/// Which frames are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Only of these clients.
    pub client: Option<Prefix>,
    /// Only of this port of ours.
    pub port: Option<u16>,
    /// One connection of so many, whole.
    pub sample: u32,
    /// Most frames a second and queue: beyond, they are left out.
    pub rate: u32,
}

/// Where a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came from a client.
    Received,
    /// It was sent to one.
    Sent,
}

/// A frame that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When, as far as the worker knows: the time of its batch. In whole nanoseconds since 1970.
    pub time: Duration,
    /// Where to.
    pub direction: Direction,
    /// From the Ethernet header on.
    pub octets: &'a [u8],
}

/// A worker's end of a ring.
#[derive(Debug)]
pub enum Tap {
    /// For frames.
    Frames(FrameTap),
    /// For questions and answers.
    Transactions(Writer),
}

impl Tap {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Frames(tap) => tap.ring.is_abandoned(),
            Self::Transactions(ring) => ring.is_abandoned(),
        }
    }
}

/// A ring for frames, and which.
#[derive(Debug)]
pub struct FrameTap {
    filter: Filter,
    ring: Writer,
    hasher: RandomState,
    /// When the present window began, and what was copied in it.
    window: SystemTime,
    copied: u32,
}

/// Octets before those of a frame: when, and where to.
const HEAD: usize = 9;

impl FrameTap {
    /// Copies a frame that passes the filter, if there is room. False if nobody listens any more.
    fn offer(
        &mut self,
        now: SystemTime,
        tuple: Option<&FourTuple>,
        direction: Direction,
        octets: &[u8],
    ) -> bool {
        if self.ring.is_abandoned() {
            return false;
        }
        if self.wants(tuple) {
            if self.has_time(now) {
                let time = nanoseconds(now).to_be_bytes();
                self.ring.write(&[&time, &[u8::from(direction == Direction::Sent)], octets]);
            } else {
                self.ring.lose();
            }
        }
        true
    }

    /// Whether a frame passes the filter. One that cannot be read is of no client and no port.
    fn wants(&self, tuple: Option<&FourTuple>) -> bool {
        let Filter { client, port, sample, .. } = self.filter;
        let Some(tuple) = tuple else { return client.is_none() && port.is_none() };
        client.is_none_or(|client| client.contains(&tuple.client))
            && port.is_none_or(|port| port == tuple.server_port)
            && (sample <= 1
                || self.hasher.hash_one((tuple.client, tuple.client_port)) % u64::from(sample) == 0)
    }

    fn has_time(&mut self, now: SystemTime) -> bool {
        // A clock that was set back begins a window.
        if now.duration_since(self.window).map_or(true, |since| since >= WINDOW) {
            (self.window, self.copied) = (now, 0);
        }
        self.copied += 1;
        self.copied <= self.filter.rate.div_ceil(WINDOWS_A_SECOND)
    }
}

/// Since 1970, as a ring has it.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

/// The taps of one worker, mostly none.
#[derive(Debug, Default)]
pub struct Taps {
    frames: Vec<FrameTap>,
    transactions: Vec<Writer>,
}

impl Taps {
    /// Whether nobody listens.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.transactions.is_empty()
    }

    /// Whether somebody wants questions and answers.
    #[inline]
    #[must_use]
    pub fn want_transactions(&self) -> bool {
        !self.transactions.is_empty()
    }

    /// More who listen.
    pub fn add(&mut self, taps: Vec<Tap>) {
        // Where nothing passes, nobody else looks who has gone.
        self.frames.retain(|tap| !tap.ring.is_abandoned());
        self.transactions.retain(|ring| !ring.is_abandoned());
        for tap in taps {
            match tap {
                Tap::Frames(tap) => self.frames.push(tap),
                Tap::Transactions(tap) => self.transactions.push(tap),
            }
        }
    }

    /// Copies a frame for all who want it.
    #[cold]
    pub fn frame(&mut self, now: SystemTime, tuple: Option<&FourTuple>, direction: Direction, octets: &[u8]) {
        self.frames.retain_mut(|tap| tap.offer(now, tuple, direction, octets));
    }

    /// Copies a question and its answer for all who want them.
    #[cold]
    pub fn transaction(&mut self, transaction: &Transaction<'_>) {
        self.transactions.retain(|tap| !tap.is_abandoned());
        self.transactions.iter_mut().for_each(|tap| transaction.write(tap));
    }
}

/// Where taps are left for one worker. Once it has taken them, it copies.
pub type TapRegistry = Mailbox<Tap>;

/// The other ends of the rings of several workers. Dropped, nothing is copied for it any more.
#[derive(Debug)]
pub struct Listener {
    rings: Vec<Reader>,
    lost: Arc<AtomicU64>,
}

impl Listener {
    /// Listens at `outlets` to the frames that pass `filter`.
    pub fn to_frames<'a>(outlets: impl Iterator<Item = &'a TapRegistry>, filter: Filter) -> Self {
        let hasher = RandomState::default();
        let tap = |ring| {
            let hasher = hasher.clone();
            Tap::Frames(FrameTap { filter, ring, hasher, window: UNIX_EPOCH, copied: 0 })
        };
        Self::attach(outlets, Arc::default(), tap)
    }

    /// Listens at `outlets` to questions and answers; `lost` counts those that are left out.
    pub fn to_transactions<'a>(outlets: impl Iterator<Item = &'a TapRegistry>, lost: Arc<AtomicU64>) -> Self {
        Self::attach(outlets, lost, Tap::Transactions)
    }

    fn attach<'a>(
        outlets: impl Iterator<Item = &'a TapRegistry>,
        lost: Arc<AtomicU64>,
        tap: impl Fn(Writer) -> Tap,
    ) -> Self {
        let attach = |outlet: &TapRegistry| {
            let (ring, other_end) = ring::pair(&lost);
            outlet.leave(|taps| {
                // Who listens may be gone before a worker that stands still has looked.
                taps.retain(|tap| !tap.is_abandoned());
                taps.push(tap(ring));
            });
            other_end
        };
        Self { rings: outlets.map(attach).collect(), lost }
    }

    /// Takes the frames that have passed, by the number of the outlet. False if there was none.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn frames<E>(&mut self, mut take: impl FnMut(usize, Record<'_>) -> Result<(), E>) -> Result<bool, E> {
        self.drain(|number, octets| {
            let Some((head, octets)) = octets.split_first_chunk::<HEAD>() else { return Ok(()) };
            let [time @ .., direction] = *head;
            let direction = if direction == 0 { Direction::Received } else { Direction::Sent };
            let time = Duration::from_nanos(u64::from_be_bytes(time));
            take(number, Record { time, direction, octets })
        })
    }

    /// Takes the questions that were answered. False if there was none.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn transactions<E>(
        &mut self,
        mut take: impl FnMut(&Transaction<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.drain(|_, octets| Transaction::read(octets).map_or(Ok(()), |transaction| take(&transaction)))
    }

    /// Takes whatever there is, and says how much it was.
    pub fn discard(&mut self) -> u64 {
        self.rings.iter_mut().map(|ring| std::iter::from_fn(|| ring.read().map(|_| ())).count() as u64).sum()
    }

    fn drain<E>(&mut self, mut take: impl FnMut(usize, &[u8]) -> Result<(), E>) -> Result<bool, E> {
        let mut any = false;
        for (number, ring) in self.rings.iter_mut().enumerate() {
            while let Some(octets) = ring.read() {
                take(number, octets)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// How many were left out that passed the filter.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
