//! The questions in flight at one worker: a table of fixed size, entered by key and by the IDs of its queries.

use super::ask::Ask;
use super::backends::Several;
use super::stored::Stored;
use crate::observe::snapshot::Occupancy;
use crate::services::FetchId;
use foldhash::quality::RandomState;
use stateless_tcp_core::tcp::segment::FourTuple;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

/// One question in flight. Its place is used again, with the room that it has.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) ask: Ask,
    hash: u64,
    /// Tells it from others in the same place.
    pub(super) serial: u64,
    pub(super) state: State,
    /// Who waits; none where only the back end's health is of interest.
    pub(super) ticket: Option<FetchId>,
    /// Of the first client that asked.
    pub(super) tuple: FourTuple,
    pub(super) began: Duration,
    /// When the present try was made.
    pub(super) asked: Duration,
    /// When the present try has taken long enough.
    pub(super) deadline: Duration,
    /// The queries sent, by channel and ID: each may still be answered.
    tries: Vec<(u16, u16)>,
    pub(super) tried: Several,
    /// The back end asked last.
    pub(super) back_end: usize,
}

/// Where a flight stands.
#[derive(Clone, Debug)]
pub(super) enum State {
    Free,
    Waiting,
    /// The answer did not fit a datagram.
    OverTcp,
    /// What became of it; kept for those that wait until the next turn.
    Ended(Option<Arc<Stored>>),
}

/// The table.
#[derive(Debug)]
pub(super) struct Flights {
    places: Vec<Flight>,
    free: Vec<usize>,
    capacity: usize,
    begun: u64,
    hasher: RandomState,
    by_key: HashMap<u64, usize, RandomState>,
    by_id: HashMap<(u16, u16), usize, RandomState>,
    /// In flight, not ended.
    active: usize,
}

impl Flights {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            capacity,
            begun: 0,
            hasher: RandomState::default(),
            by_key: HashMap::default(),
            by_id: HashMap::default(),
            active: 0,
        }
    }

    /// How many have not ended.
    pub(super) fn occupancy(&self) -> Occupancy {
        Occupancy::entries("dns_in_flight", self.active, self.capacity)
    }

    /// Whether any has not ended.
    pub(super) fn any_active(&self) -> bool {
        self.active > 0
    }

    pub(super) fn get(&mut self, place: usize) -> &mut Flight {
        &mut self.places[place]
    }

    /// Where the question `ask` is in flight.
    pub(super) fn find(&self, ask: &Ask) -> Option<usize> {
        if self.by_key.is_empty() {
            return None;
        }
        let place = *self.by_key.get(&self.hasher.hash_one(ask.key()))?;
        (self.places[place].ask.key() == ask.key()).then_some(place)
    }

    /// Begins a flight, for `ticket` or for nobody. None where the table is full.
    pub(super) fn begin(
        &mut self,
        ask: &Ask,
        ticket: Option<FetchId>,
        tuple: FourTuple,
        now: Duration,
    ) -> Option<usize> {
        let place = self.free.pop().or_else(|| self.grow())?;
        self.begun += 1;
        let flight = &mut self.places[place];
        flight.ask.copy_from(ask);
        flight.hash = self.hasher.hash_one(ask.key());
        flight.serial = self.begun;
        flight.state = State::Waiting;
        flight.ticket = ticket;
        flight.tuple = tuple;
        (flight.began, flight.asked, flight.deadline) = (now, now, now);
        flight.tried = Several::default();
        if ticket.is_some() {
            self.by_key.insert(flight.hash, place);
        }
        self.active += 1;
        Some(place)
    }

    fn grow(&mut self) -> Option<usize> {
        if self.places.len() >= self.capacity {
            return None;
        }
        self.places.push(Flight {
            ask: Ask::default(),
            hash: 0,
            serial: 0,
            state: State::Free,
            ticket: None,
            tuple: crate::services::Context::default().origin.tuple,
            began: Duration::ZERO,
            asked: Duration::ZERO,
            deadline: Duration::ZERO,
            tries: Vec::new(),
            tried: Several::default(),
            back_end: 0,
        });
        Some(self.places.len() - 1)
    }

    /// Notes that a query with this ID went out by `channel`. False where such a one is out already.
    pub(super) fn expect(&mut self, place: usize, channel: u16, id: u16) -> bool {
        if self.by_id.contains_key(&(channel, id)) {
            return false;
        }
        self.by_id.insert((channel, id), place);
        self.places[place].tries.push((channel, id));
        true
    }

    /// The flight that waits for an answer with this ID at `channel`.
    pub(super) fn waits(&self, channel: u16, id: u16) -> Option<usize> {
        self.by_id.get(&(channel, id)).copied()
    }

    /// Ends a flight; `closed` hears of each channel that it waited at. Its place is free after [`Flights::release`].
    pub(super) fn end(
        &mut self,
        place: usize,
        outcome: Option<Arc<Stored>>,
        mut closed: impl FnMut(u16),
    ) -> Option<FetchId> {
        let flight = &mut self.places[place];
        for query in flight.tries.drain(..) {
            self.by_id.remove(&query);
            closed(query.0);
        }
        flight.state = State::Ended(outcome);
        self.active -= 1;
        flight.ticket
    }

    /// Frees the place of a flight that has ended.
    pub(super) fn release(&mut self, place: usize) {
        let flight = &mut self.places[place];
        debug_assert!(matches!(flight.state, State::Ended(_)), "it is in flight");
        flight.state = State::Free;
        if self.by_key.get(&flight.hash) == Some(&place) && flight.ticket.is_some() {
            self.by_key.remove(&flight.hash);
        }
        self.free.push(place);
    }

    /// A flight at or behind `from` whose present try has taken long enough at `now`.
    pub(super) fn overdue(&self, from: usize, now: Duration) -> Option<usize> {
        let active = |flight: &Flight| matches!(flight.state, State::Waiting | State::OverTcp);
        (from..self.places.len()).find(|&place| {
            let flight = &self.places[place];
            flight.deadline <= now && active(flight)
        })
    }

    /// A flight at or behind `from` that waits for `back_end` and no other since.
    pub(super) fn waiting_for(&self, from: usize, back_end: usize) -> Option<usize> {
        (from..self.places.len()).find(|&place| {
            let flight = &self.places[place];
            flight.back_end == back_end && matches!(flight.state, State::Waiting)
        })
    }
}
