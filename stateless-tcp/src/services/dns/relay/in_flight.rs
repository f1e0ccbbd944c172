//! The table of one worker's queries in flight, of fixed size, indexed by key and by the IDs of sent queries.

use super::cached_answer::CachedAnswer;
use super::upstream_query::UpstreamQuery;
use super::upstreams::UpstreamSet;
use crate::observe::snapshot::Occupancy;
use crate::services::FetchId;
use foldhash::quality::RandomState;
use stateless_tcp_core::tcp::segment::FourTuple;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

/// One query in flight. Its slot is reused, with its buffers.
#[derive(Debug)]
pub(super) struct InFlightQuery {
    pub(super) query: UpstreamQuery,
    hash: u64,
    /// Distinguishes successive queries in the same slot.
    pub(super) serial: u64,
    pub(super) state: QueryState,
    /// The waiting fetch; `None` for a probe.
    pub(super) fetch_id: Option<FetchId>,
    /// The connection of the first client.
    pub(super) tuple: FourTuple,
    pub(super) started: Duration,
    /// Time of the current try.
    pub(super) sent_at: Duration,
    /// Deadline of the current try.
    pub(super) deadline: Duration,
    /// Sent queries by socket and ID, each without an answer yet.
    tries: Vec<(u16, u16)>,
    pub(super) tried: UpstreamSet,
    /// An upstream could not be reached, or broke off its answer.
    pub(super) network_error: bool,
    /// The upstream of the current try.
    pub(super) upstream: usize,
}

/// The state of a query in flight.
#[derive(Clone, Debug)]
pub(super) enum QueryState {
    Free,
    Waiting,
    /// Waiting for the answer over TCP, which did not fit a datagram.
    OverTcp,
    /// Ended, with this answer or without; kept for waiting requests until the next poll.
    Ended(Option<Arc<CachedAnswer>>),
}

/// The table.
#[derive(Debug)]
pub(super) struct InFlightTable {
    slots: Vec<InFlightQuery>,
    free: Vec<usize>,
    capacity: usize,
    last_serial: u64,
    hasher: RandomState,
    by_key: HashMap<u64, usize, RandomState>,
    by_id: HashMap<(u16, u16), usize, RandomState>,
    /// Queries that have not ended.
    active: usize,
}

impl InFlightTable {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            capacity,
            last_serial: 0,
            hasher: RandomState::default(),
            by_key: HashMap::default(),
            by_id: HashMap::default(),
            active: 0,
        }
    }

    /// The number of queries that have not ended.
    pub(super) fn occupancy(&self) -> Occupancy {
        Occupancy::entries("dns_in_flight", self.active, self.capacity)
    }

    /// Whether any query has not ended.
    pub(super) fn any_active(&self) -> bool {
        self.active > 0
    }

    pub(super) fn get(&mut self, slot: usize) -> &mut InFlightQuery {
        &mut self.slots[slot]
    }

    /// The slot of a query in flight with the same key.
    pub(super) fn find(&self, query: &UpstreamQuery) -> Option<usize> {
        if self.by_key.is_empty() {
            return None;
        }
        let slot = *self.by_key.get(&self.hasher.hash_one(query.key()))?;
        (self.slots[slot].query.key() == query.key()).then_some(slot)
    }

    /// Adds a query, for `fetch_id` or as a probe. `None` if the table is full.
    pub(super) fn insert_query(
        &mut self,
        query: &UpstreamQuery,
        fetch_id: Option<FetchId>,
        tuple: FourTuple,
        now: Duration,
    ) -> Option<usize> {
        let slot = self.free.pop().or_else(|| self.grow())?;
        self.last_serial += 1;
        let entry = &mut self.slots[slot];
        entry.query.copy_from(query);
        entry.hash = self.hasher.hash_one(query.key());
        entry.serial = self.last_serial;
        entry.state = QueryState::Waiting;
        entry.fetch_id = fetch_id;
        entry.tuple = tuple;
        (entry.started, entry.sent_at, entry.deadline) = (now, now, now);
        entry.tried = UpstreamSet::default();
        entry.network_error = false;
        if fetch_id.is_some() {
            self.by_key.insert(entry.hash, slot);
        }
        self.active += 1;
        Some(slot)
    }

    fn grow(&mut self) -> Option<usize> {
        if self.slots.len() >= self.capacity {
            return None;
        }
        self.slots.push(InFlightQuery {
            query: UpstreamQuery::default(),
            hash: 0,
            serial: 0,
            state: QueryState::Free,
            fetch_id: None,
            tuple: crate::services::Context::default().origin.tuple,
            started: Duration::ZERO,
            sent_at: Duration::ZERO,
            deadline: Duration::ZERO,
            tries: Vec::new(),
            tried: UpstreamSet::default(),
            network_error: false,
            upstream: 0,
        });
        Some(self.slots.len() - 1)
    }

    /// Registers the ID of a query sent by `socket`. False if the socket already uses this ID.
    pub(super) fn register_id(&mut self, slot: usize, socket: u16, id: u16) -> bool {
        if self.by_id.contains_key(&(socket, id)) {
            return false;
        }
        self.by_id.insert((socket, id), slot);
        self.slots[slot].tries.push((socket, id));
        true
    }

    /// The slot of the query that waits for this ID at `socket`.
    pub(super) fn find_by_id(&self, socket: u16, id: u16) -> Option<usize> {
        self.by_id.get(&(socket, id)).copied()
    }

    /// Ends a query, and calls `closed` for each socket that it used. Its slot is free after
    /// [`InFlightTable::release`].
    pub(super) fn end(
        &mut self,
        slot: usize,
        outcome: Option<Arc<CachedAnswer>>,
        mut closed: impl FnMut(u16),
    ) -> Option<FetchId> {
        let entry = &mut self.slots[slot];
        for query in entry.tries.drain(..) {
            self.by_id.remove(&query);
            closed(query.0);
        }
        entry.state = QueryState::Ended(outcome);
        self.active -= 1;
        entry.fetch_id
    }

    /// Frees the slot of an ended query.
    pub(super) fn release(&mut self, slot: usize) {
        let entry = &mut self.slots[slot];
        debug_assert!(matches!(entry.state, QueryState::Ended(_)), "it is in flight");
        entry.state = QueryState::Free;
        if self.by_key.get(&entry.hash) == Some(&slot) && entry.fetch_id.is_some() {
            self.by_key.remove(&entry.hash);
        }
        self.free.push(slot);
    }

    /// The first slot from `from` on whose deadline has passed at `now`.
    pub(super) fn next_overdue(&self, from: usize, now: Duration) -> Option<usize> {
        let active = |entry: &InFlightQuery| matches!(entry.state, QueryState::Waiting | QueryState::OverTcp);
        (from..self.slots.len()).find(|&slot| {
            let entry = &self.slots[slot];
            entry.deadline <= now && active(entry)
        })
    }

    /// The first slot from `from` on that waits for `upstream`.
    pub(super) fn next_waiting_for(&self, from: usize, upstream: usize) -> Option<usize> {
        (from..self.slots.len()).find(|&slot| {
            let entry = &self.slots[slot];
            entry.upstream == upstream && matches!(entry.state, QueryState::Waiting)
        })
    }
}
