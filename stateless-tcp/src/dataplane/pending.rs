//! Requests that wait for an answer that is being fetched, until it is there.

use crate::dataplane::engine::DeferredSegment;
use crate::observe::snapshot::Occupancy;
use crate::services::{FetchId, Origin};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::SystemTime;

/// A table of fixed size. With each request goes what its reply takes besides.
#[derive(Debug)]
pub struct PendingRequests<T> {
    capacity: usize,
    requests: HashMap<Origin, PendingRequest<T>, RandomState>,
    /// In the order in which they came. May name requests that wait for another ticket by now.
    by_ticket: HashMap<FetchId, Vec<Origin>, RandomState>,
}

/// A request that waits.
#[derive(Debug)]
pub struct PendingRequest<T> {
    /// What is left of it.
    pub waiting: DeferredSegment,
    /// When it came first.
    pub since: SystemTime,
    /// What its reply takes besides.
    pub with: T,
}

impl<T> PendingRequests<T> {
    /// Room for `capacity` requests.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, requests: HashMap::default(), by_ticket: HashMap::default() }
    }

    /// Whether no further request finds room.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.requests.len() >= self.capacity
    }

    /// How many requests wait.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy::entries("waiting", self.requests.len(), self.capacity)
    }

    /// Takes in a request that came at `since`, in the place of an earlier one that begins at the same octet: a resend, or
    /// it and what came behind it.
    pub fn park(&mut self, waiting: DeferredSegment, since: SystemTime, with: T) {
        let origin = Origin { tuple: waiting.segment.tuple, seq: waiting.segment.seq };
        let ticket = waiting.ticket;
        let full = self.is_full();
        match self.requests.entry(origin) {
            Entry::Occupied(mut place) => {
                let since = place.get().since;
                let before = place.insert(PendingRequest { waiting, since, with });
                if before.waiting.ticket == ticket {
                    return;
                }
            }
            Entry::Vacant(_) if full => return,
            Entry::Vacant(place) => _ = place.insert(PendingRequest { waiting, since, with }),
        }
        self.by_ticket.entry(ticket).or_default().push(origin);
    }

    /// Takes out what waits for `ticket`.
    pub fn call(&mut self, ticket: FetchId) -> Vec<PendingRequest<T>> {
        let origins = self.by_ticket.remove(&ticket).unwrap_or_default();
        let take = |origin| match self.requests.entry(origin) {
            Entry::Occupied(place) if place.get().waiting.ticket == ticket => Some(place.remove()),
            _ => None,
        };
        origins.into_iter().filter_map(take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::FetchIds;
    use stateless_tcp_core::tcp::segment::{Address, Flags, FourTuple, Options, Segment};
    use std::time::{Duration, UNIX_EPOCH};

    fn waiting(ticket: FetchId, client_port: u16, seq: u32, payload: &[u8]) -> DeferredSegment {
        let [server, client] = [1, 2].map(|last| Address::from_ipv4([192, 0, 2, last]));
        let segment = Segment {
            tuple: FourTuple { server, client, server_port: 53, client_port },
            seq,
            ack: 0,
            flags: Flags::ACK,
            window: 0,
            length: 0,
            options: Options::default(),
        };
        DeferredSegment { ticket, segment, payload: payload.to_vec() }
    }

    fn called(parking: &mut PendingRequests<u8>, ticket: FetchId) -> Vec<(Vec<u8>, u8)> {
        parking.call(ticket).into_iter().map(|parked| (parked.waiting.payload, parked.with)).collect()
    }

    #[test]
    fn each_is_called_once_in_order() {
        let mut tickets = FetchIds::new();
        let [one, other] = [tickets.draw(), tickets.draw()];
        let mut parking = PendingRequests::new(8);
        parking.park(waiting(one, 1, 100, b"a"), UNIX_EPOCH, 1);
        parking.park(waiting(other, 1, 200, b"b"), UNIX_EPOCH, 2);
        parking.park(waiting(one, 2, 100, b"c"), UNIX_EPOCH, 3);
        assert_eq!(called(&mut parking, one), [(b"a".to_vec(), 1), (b"c".to_vec(), 3)]);
        assert_eq!(called(&mut parking, one), []);
        assert_eq!(called(&mut parking, other), [(b"b".to_vec(), 2)]);
        assert!(parking.requests.is_empty() && parking.by_ticket.is_empty());
    }

    #[test]
    fn a_resend_takes_the_place_of_the_first() {
        let mut tickets = FetchIds::new();
        let [one, other] = [tickets.draw(), tickets.draw()];
        let mut parking = PendingRequests::new(1);
        parking.park(waiting(one, 1, 100, b"a"), UNIX_EPOCH, 1);
        assert!(parking.is_full());
        let later = UNIX_EPOCH + Duration::from_secs(1);
        parking.park(waiting(one, 1, 100, b"ab"), later, 2);
        parking.park(waiting(one, 1, 300, b"no room"), UNIX_EPOCH, 9);
        parking.park(waiting(other, 1, 100, b"abc"), later, 3);
        assert_eq!(called(&mut parking, one), [], "it waits for another by now");
        let [PendingRequest { waiting: DeferredSegment { payload, .. }, since, with: 3 }] =
            &parking.call(other)[..]
        else {
            panic!("it waits")
        };
        assert_eq!((&payload[..], *since), (&b"abc"[..], UNIX_EPOCH), "it has waited since it came first");
        assert!(!parking.is_full());
    }
}
