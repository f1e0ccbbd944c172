//! One worker's requests in flight, arrived responses and sent answers.

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

/// The time for which an arrived response keeps its entry at least. A waiting client takes it at once, so an older one
/// is abandoned.
const LINGER: Duration = Duration::from_secs(1);

/// The key of a request: its origin and a hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestKey {
    origin: Origin,
    message: u64,
}

/// The state of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestState {
    /// It is at the upstream.
    InFlight(FetchId),
    /// The response arrived at this time.
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
    /// A forwarder for this many requests, with a retransmission store of this many bytes.
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

    /// The usage of its tables.
    pub(super) fn occupancies(&self) -> Vec<Occupancy> {
        let in_flight = Occupancy::entries("http_in_flight", self.requests.len(), self.capacity);
        vec![in_flight, self.retransmit_store.occupancy("http_sent")]
    }

    pub(super) fn key(&self, message: &[u8], context: &Context) -> RequestKey {
        RequestKey { origin: context.origin, message: self.hasher.hash_one(message) }
    }

    /// The state of the request, if it is known.
    pub(super) fn find(&self, key: &RequestKey) -> Option<&RequestState> {
        self.requests.get(key)
    }

    /// Removes the request.
    pub(super) fn remove_request(&mut self, key: &RequestKey) {
        self.requests.remove(key);
    }

    /// Adds the request, if the limit allows it.
    pub(super) fn start(
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

    /// Receives all answers that have arrived.
    pub(super) fn collect(&mut self, now: SystemTime, ready: &mut Vec<FetchId>) {
        for (key, response) in self.mailbox.take() {
            if let Some(state) = self.requests.get_mut(&key)
                && let RequestState::InFlight(fetch_id) = *state
            {
                ready.push(fetch_id);
                *state = RequestState::Ready(response, now);
            }
        }
    }

    /// Readable when responses have arrived.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.mailbox.event.as_fd()
    }
}

/// Responses from the control plane for one worker.
pub(super) struct ResponseMailbox {
    responses: Mutex<Vec<(RequestKey, RelayedResponse)>>,
    /// Set when there may be responses. The worker polls often, and this flag saves system calls.
    filled: AtomicBool,
    event: EventFd,
}

impl ResponseMailbox {
    fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { responses: Mutex::default(), filled: AtomicBool::new(false), event })
    }

    /// Adds a response, and wakes the worker.
    pub(super) fn post(&self, key: RequestKey, response: RelayedResponse) {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner).push((key, response));
        self.filled.store(true, Release);
        // Writing fails only at 2^64 unread events: the worker is awake.
        let _ = self.event.write(1);
    }

    fn take(&self) -> Vec<(RequestKey, RelayedResponse)> {
        if !self.filled.swap(false, AcqRel) {
            return Vec::new();
        }
        // In this order, a response that arrives in between is taken now, and the event only causes one more look.
        let _ = self.event.read();
        std::mem::take(&mut *self.responses.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
