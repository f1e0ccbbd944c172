//! What one worker has to do with the back end: requests in flight, responses that came, answers that were sent.

use super::reply::Reply;
use crate::observe::snapshot::Occupancy;
use crate::services::{Context, FetchId, FetchIds, Origin, Sent};
use foldhash::fast::RandomState;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long a response waits at least to be given, where its place is needed: it is asked for as soon as it is there, or
/// nobody waits for it any more.
const LINGER: Duration = Duration::from_secs(1);

/// A request: its origin, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    origin: Origin,
    message: u64,
}

/// Where a request stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is at the back end.
    InFlight(FetchId),
    /// The response is here since then.
    Here(Reply, SystemTime),
}

pub(super) struct Desk {
    tickets: FetchIds,
    hasher: RandomState,
    places: HashMap<Key, Place, RandomState>,
    capacity: usize,
    mailbox: Arc<Mailbox>,
    pub(super) sent: Sent,
}

impl Desk {
    /// A desk with so many places, and so many octets for answers that were sent.
    pub(super) fn new(capacity: usize, store: usize) -> io::Result<Self> {
        Ok(Self {
            tickets: FetchIds::new(),
            hasher: RandomState::default(),
            places: HashMap::default(),
            capacity,
            mailbox: Arc::new(Mailbox::new()?),
            sent: Sent::new(store),
        })
    }

    /// How full its tables are.
    pub(super) fn occupancies(&self) -> Vec<Occupancy> {
        let in_flight = Occupancy::entries("http_in_flight", self.places.len(), self.capacity);
        vec![in_flight, self.sent.occupancy("http_sent")]
    }

    pub(super) fn key(&self, message: &[u8], context: &Context) -> Key {
        Key { origin: context.origin, message: self.hasher.hash_one(message) }
    }

    /// Where the request stands, if it has a place.
    pub(super) fn find(&self, key: &Key) -> Option<&Place> {
        self.places.get(key)
    }

    /// Gives up the request's place.
    pub(super) fn clear(&mut self, key: &Key) {
        self.places.remove(key);
    }

    /// Gives the request a place, if there is one.
    pub(super) fn begin(&mut self, key: Key, now: SystemTime) -> Option<(FetchId, Arc<Mailbox>)> {
        if self.places.len() >= self.capacity {
            let fresh = |since| now.duration_since(since).is_ok_and(|age| age < LINGER);
            self.places.retain(|_, place| match place {
                Place::InFlight(_) => true,
                Place::Here(_, since) => fresh(*since),
            });
        }
        (self.places.len() < self.capacity).then(|| {
            let ticket = self.tickets.draw();
            self.places.insert(key, Place::InFlight(ticket));
            (ticket, Arc::clone(&self.mailbox))
        })
    }

    /// Takes in what has come.
    pub(super) fn collect(&mut self, now: SystemTime, ready: &mut Vec<FetchId>) {
        for (key, reply) in self.mailbox.empty() {
            if let Some(place) = self.places.get_mut(&key)
                && let Place::InFlight(ticket) = *place
            {
                ready.push(ticket);
                *place = Place::Here(reply, now);
            }
        }
    }

    /// Readable when something has come.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.mailbox.event.as_fd()
    }
}

/// Where the control plane leaves responses for one worker.
pub(super) struct Mailbox {
    letters: Mutex<Vec<(Key, Reply)>>,
    /// There may be letters: a worker looks often, and the kernel need not be asked.
    filled: AtomicBool,
    event: EventFd,
}

impl Mailbox {
    fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { letters: Mutex::default(), filled: AtomicBool::new(false), event })
    }

    /// Leaves a response, and wakes the worker.
    pub(super) fn post(&self, key: Key, reply: Reply) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push((key, reply));
        self.filled.store(true, Release);
        // It fails only where 2^64 others were not looked at: the worker is awake.
        let _ = self.event.write(1);
    }

    fn empty(&self) -> Vec<(Key, Reply)> {
        if !self.filled.swap(false, AcqRel) {
            return Vec::new();
        }
        // In this order: what comes between is found now, and looked for once more.
        let _ = self.event.read();
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
