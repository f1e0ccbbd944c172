//! A copy of the frames that pass a worker, for whoever wants to look at them.
//!
//! Who listens hands each worker a [`Tap`], one end of a ring of octets, through the worker's [`Outlet`]. While nobody
//! does, that costs the worker one look at a flag for each turn. A worker never waits for who listens: what finds no room in
//! the ring, or is more than was asked for, is left out and counted.

use crate::prefix::Prefix;
use foldhash::fast::RandomState;
use rtrb::{Consumer, Producer, RingBuffer};
use serde::{Deserialize, Serialize};
use stateless_tcp_ebpf::segment::FourTuple;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Octets that each worker may be ahead of who listens.
const RING: usize = 1 << 20;

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

mod field {
    //! Where things stand before the octets of a frame, in a ring.
    use std::ops::Range;
    pub(super) const TIME: Range<usize> = 0..8;
    pub(super) const DIRECTION: usize = 8;
    pub(super) const LENGTH: Range<usize> = 9..11;
    pub(super) const HEADER: usize = 11;
}

/// The worker's end of a ring.
#[derive(Debug)]
pub struct Tap {
    filter: Filter,
    ring: Producer<u8>,
    lost: Arc<AtomicU64>,
    hasher: RandomState,
    /// When the present window began, and what was copied in it.
    window: SystemTime,
    copied: u32,
}

impl Tap {
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
        if self.wants(tuple) && !(self.has_time(now) && self.write(now, direction, octets)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
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

    fn write(&mut self, now: SystemTime, direction: Direction, octets: &[u8]) -> bool {
        let Ok(length) = u16::try_from(octets.len()) else { return false };
        let Ok(mut chunk) = self.ring.write_chunk(field::HEADER + octets.len()) else { return false };
        let time = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let mut header = [0; field::HEADER];
        header[field::TIME].copy_from_slice(&u64::try_from(time).unwrap_or_default().to_be_bytes());
        header[field::DIRECTION] = u8::from(direction == Direction::Sent);
        header[field::LENGTH].copy_from_slice(&length.to_be_bytes());
        let (front, back) = chunk.as_mut_slices();
        let mut rest = front.iter_mut().chain(back);
        rest.by_ref().zip(header).for_each(|(place, octet)| *place = octet);
        rest.zip(octets).for_each(|(place, octet)| *place = *octet);
        // In one piece: who reads sees all of a record or nothing.
        chunk.commit_all();
        true
    }
}

/// The taps of one worker, mostly none.
#[derive(Debug, Default)]
pub struct Taps(Vec<Tap>);

impl Taps {
    /// Whether nobody listens.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// More who listen.
    pub fn add(&mut self, taps: Vec<Tap>) {
        self.0.extend(taps);
    }

    /// Copies a frame for all who want it.
    #[cold]
    pub fn offer(&mut self, now: SystemTime, tuple: Option<&FourTuple>, direction: Direction, octets: &[u8]) {
        self.0.retain_mut(|tap| tap.offer(now, tuple, direction, octets));
    }
}

/// Where taps are left for one worker.
#[derive(Debug, Default)]
pub struct Outlet {
    /// There are some: a worker looks often.
    posted: AtomicBool,
    taps: Mutex<Vec<Tap>>,
}

impl Outlet {
    fn post(&self, tap: Tap) {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).push(tap);
        self.posted.store(true, Ordering::Release);
    }

    /// Those that were left since last time. Costs one load if there are none.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Option<Vec<Tap>> {
        if !self.posted.load(Ordering::Relaxed) {
            return None;
        }
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        self.posted.store(false, Ordering::Release);
        Some(std::mem::take(&mut taps))
    }

    /// Whether all were taken: from then on the worker copies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.posted.load(Ordering::Acquire)
    }
}

/// The other end of the rings of several workers. Dropped, nothing is copied for it any more.
#[derive(Debug)]
pub struct Listener {
    rings: Vec<Consumer<u8>>,
    lost: Arc<AtomicU64>,
    octets: Vec<u8>,
}

impl Listener {
    /// Listens at `outlets` to what passes `filter`.
    pub fn attach<'a>(outlets: impl Iterator<Item = &'a Outlet>, filter: Filter) -> Self {
        let lost = Arc::new(AtomicU64::new(0));
        let hasher = RandomState::default();
        let attach = |outlet: &Outlet| {
            let (ring, other_end) = RingBuffer::new(RING);
            let (lost, hasher, window) = (Arc::clone(&lost), hasher.clone(), UNIX_EPOCH);
            outlet.post(Tap { filter, ring, lost, hasher, window, copied: 0 });
            other_end
        };
        Self { rings: outlets.map(attach).collect(), lost, octets: Vec::new() }
    }

    /// Takes what has passed, by the number of the outlet. False if there was nothing.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn drain<E>(&mut self, mut take: impl FnMut(usize, Record<'_>) -> Result<(), E>) -> Result<bool, E> {
        let mut any = false;
        for (number, ring) in self.rings.iter_mut().enumerate() {
            let mut header = [0; field::HEADER];
            while ring.pop_entire_slice(&mut header).is_ok() {
                let [time @ .., _, _, _] = header;
                let length =
                    u16::from_be_bytes([header[field::LENGTH.start], header[field::LENGTH.start + 1]]);
                self.octets.resize(length.into(), 0);
                // It came with its header.
                let _ = ring.pop_entire_slice(&mut self.octets);
                let direction =
                    if header[field::DIRECTION] == 0 { Direction::Received } else { Direction::Sent };
                let time = Duration::from_nanos(u64::from_be_bytes(time));
                take(number, Record { time, direction, octets: &self.octets })?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Frames that passed the filter, and were left out.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use stateless_tcp_ebpf::segment::Address;

    const ALL: Filter = Filter { client: None, port: None, sample: 1, rate: 1_000_000 };

    fn tuple(client: [u8; 4], client_port: u16) -> FourTuple {
        FourTuple {
            server: Address::from_ipv4([192, 0, 2, 1]),
            client: Address::from_ipv4(client),
            server_port: 53,
            client_port,
        }
    }

    fn listen(filter: Filter) -> (Taps, Listener) {
        let outlet = Outlet::default();
        assert!(outlet.take().is_none());
        let listener = Listener::attach([&outlet].into_iter(), filter);
        assert!(!outlet.is_empty());
        let mut taps = Taps::default();
        taps.add(outlet.take().unwrap());
        assert!(outlet.is_empty() && !taps.is_empty());
        (taps, listener)
    }

    fn heard(listener: &mut Listener) -> Vec<(Duration, Direction, Vec<u8>)> {
        let mut heard = Vec::new();
        let take = |number, record: Record<'_>| {
            assert_eq!(number, 0);
            heard.push((record.time, record.direction, record.octets.to_vec()));
            Ok::<_, ()>(())
        };
        listener.drain(take).unwrap();
        heard
    }

    #[test]
    fn frames_are_heard_in_order_and_whole() {
        let (mut taps, mut listener) = listen(ALL);
        let at = |nanoseconds| Duration::from_nanos(nanoseconds);
        let tuple = tuple([192, 0, 2, 9], 1);
        for round in 0..3_000_u64 {
            let frame = vec![round.to_le_bytes()[0]; 700];
            taps.offer(UNIX_EPOCH + at(round), Some(&tuple), Direction::Received, &frame);
            taps.offer(UNIX_EPOCH + at(round + 1), None, Direction::Sent, &[]);
            let expected =
                [(at(round), Direction::Received, frame), (at(round + 1), Direction::Sent, vec![])];
            assert_eq!(heard(&mut listener), expected, "more than the ring holds, all in all");
        }
        assert_eq!(listener.lost(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let (mut taps, mut listener) = listen(ALL);
        for _ in 0..1_000 {
            taps.offer(UNIX_EPOCH, None, Direction::Sent, &[7; 2_000]);
        }
        let heard = heard(&mut listener).len() as u64;
        assert_eq!(heard, (RING / 2_011) as u64);
        assert_eq!(heard + listener.lost(), 1_000);
        drop(listener);
        taps.offer(UNIX_EPOCH, None, Direction::Sent, &[7; 2_000]);
        assert!(taps.is_empty(), "nobody listens any more");
    }

    #[test]
    fn no_more_are_copied_than_was_asked_for() {
        let (mut taps, mut listener) = listen(Filter { rate: 50, ..ALL });
        for tenth in 0..10 {
            for _ in 0..20 {
                let now = UNIX_EPOCH + Duration::from_secs(9) + tenth * WINDOW;
                taps.offer(now, None, Direction::Sent, &[1]);
            }
        }
        assert_eq!((heard(&mut listener).len(), listener.lost()), (50, 150));
    }

    #[rstest]
    #[case::client(Filter { client: Some("192.0.2.0/25".parse().unwrap()), ..ALL }, [true, false, false])]
    #[case::port(Filter { port: Some(53), ..ALL }, [true, true, false])]
    #[case::other_port(Filter { port: Some(80), ..ALL }, [false, false, false])]
    #[case::all(ALL, [true, true, true])]
    fn a_filter_is_kept_to(#[case] filter: Filter, #[case] expected: [bool; 3]) {
        let (mut taps, mut listener) = listen(filter);
        let tuples = [Some(tuple([192, 0, 2, 9], 1)), Some(tuple([192, 0, 2, 200], 1)), None];
        let mut hears = |tuple: Option<FourTuple>| {
            taps.offer(UNIX_EPOCH, tuple.as_ref(), Direction::Sent, &[1]);
            !heard(&mut listener).is_empty()
        };
        assert_eq!(tuples.map(&mut hears), expected);
        assert_eq!(listener.lost(), 0, "what is not wanted is not left out");
    }

    #[test]
    fn connections_are_sampled_whole() {
        let (mut taps, mut listener) = listen(Filter { sample: 8, ..ALL });
        let mut counts = std::collections::HashMap::new();
        for port in 0..4_000_u16 {
            for _ in 0..3 {
                let octets = port.to_be_bytes();
                taps.offer(UNIX_EPOCH, Some(&tuple([192, 0, 2, 9], port)), Direction::Sent, &octets);
            }
            for (.., octets) in heard(&mut listener) {
                *counts.entry(octets).or_insert(0) += 1;
            }
        }
        assert!((350..650).contains(&counts.len()), "{} of 4000", counts.len());
        assert!(counts.values().all(|&count| count == 3));
    }
}
