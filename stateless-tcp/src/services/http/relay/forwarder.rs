//! What one worker has to do with the back end: requests in flight, responses that came, answers that were sent.

use super::response::RelayedResponse;
use crate::observe::snapshot::Occupancy;
use crate::services::retransmit_store::RetransmitStore;
use crate::services::{Context, FetchId, FetchIds, Origin};
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
pub(super) struct RequestKey {
    origin: Origin,
    message: u64,
}

/// Where a request stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestState {
    /// It is at the back end.
    InFlight(FetchId),
    /// The response is here since then.
    Ready(RelayedResponse, SystemTime),
}

pub(super) struct HttpForwarder {
    fetch_ids: FetchIds,
    hasher: RandomState,
    requests: HashMap<RequestKey, RequestState, RandomState>,
    capacity: usize,
    mailbox: Arc<ResponseMailbox>,
    pub(super) retransmit_store: RetransmitStore,
}

impl HttpForwarder {
    /// A desk with so many places, and so many octets for answers that were sent.
    pub(super) fn new(capacity: usize, retransmit_store: usize) -> io::Result<Self> {
        Ok(Self {
            fetch_ids: FetchIds::new(),
            hasher: RandomState::default(),
            requests: HashMap::default(),
            capacity,
            mailbox: Arc::new(ResponseMailbox::new()?),
            retransmit_store: RetransmitStore::new(retransmit_store),
        })
    }

    /// How full its tables are.
    pub(super) fn occupancies(&self) -> Vec<Occupancy> {
        let in_flight = Occupancy::entries("http_in_flight", self.requests.len(), self.capacity);
        vec![in_flight, self.retransmit_store.occupancy("http_sent")]
    }

    pub(super) fn key(&self, message: &[u8], context: &Context) -> RequestKey {
        RequestKey { origin: context.origin, message: self.hasher.hash_one(message) }
    }

    /// Where the request stands, if it has a place.
    pub(super) fn find(&self, key: &RequestKey) -> Option<&RequestState> {
        self.requests.get(key)
    }

    /// Gives up the request's place.
    pub(super) fn clear(&mut self, key: &RequestKey) {
        self.requests.remove(key);
    }

    /// Gives the request a place, if there is one.
    pub(super) fn begin(
        &mut self,
        key: RequestKey,
        now: SystemTime,
    ) -> Option<(FetchId, Arc<ResponseMailbox>)> {
        if self.requests.len() >= self.capacity {
            let fresh = |since| now.duration_since(since).is_ok_and(|age| age < LINGER);
            self.requests.retain(|_, state| match state {
                RequestState::InFlight(_) => true,
                RequestState::Ready(_, since) => fresh(*since),
            });
        }
        (self.requests.len() < self.capacity).then(|| {
            let fetch_id = self.fetch_ids.draw();
            self.requests.insert(key, RequestState::InFlight(fetch_id));
            (fetch_id, Arc::clone(&self.mailbox))
        })
    }

    /// Takes in what has come.
    pub(super) fn collect(&mut self, now: SystemTime, ready: &mut Vec<FetchId>) {
        for (key, response) in self.mailbox.empty() {
            if let Some(state) = self.requests.get_mut(&key)
                && let RequestState::InFlight(fetch_id) = *state
            {
                ready.push(fetch_id);
                *state = RequestState::Ready(response, now);
            }
        }
    }

    /// Readable when something has come.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.mailbox.event.as_fd()
    }
}

/// Where the control plane leaves responses for one worker.
pub(super) struct ResponseMailbox {
    letters: Mutex<Vec<(RequestKey, RelayedResponse)>>,
    /// There may be letters: a worker looks often, and the kernel need not be asked.
    filled: AtomicBool,
    event: EventFd,
}

impl ResponseMailbox {
    fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { letters: Mutex::default(), filled: AtomicBool::new(false), event })
    }

    /// Leaves a response, and wakes the worker.
    pub(super) fn post(&self, key: RequestKey, response: RelayedResponse) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push((key, response));
        self.filled.store(true, Release);
        // It fails only where 2^64 others were not looked at: the worker is awake.
        let _ = self.event.write(1);
    }

    fn empty(&self) -> Vec<(RequestKey, RelayedResponse)> {
        if !self.filled.swap(false, AcqRel) {
            return Vec::new();
        }
        // In this order: what comes between is found now, and looked for once more.
        let _ = self.event.read();
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
