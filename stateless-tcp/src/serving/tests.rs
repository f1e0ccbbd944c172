//! Generations and their numbers.

use super::*;
use crate::services::dns::{Dns, DnsOptions};
use crate::services::{Answered, Context, Framing, Service, Unavailable};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::CONNECTION_LIFETIME;
use stateless_tcp_core::tcp::isn::{Key, Keys};

/// A service with this fingerprint, if any.
struct FixedService(Option<u64>);

impl Service for FixedService {
    fn frame(&self, _: &[u8]) -> Framing {
        Framing::Incomplete
    }

    fn starts_message(&self, _: &[u8]) -> bool {
        false
    }

    fn answer(&self, _: &[u8], _: &Context, _: &mut Vec<u8>) -> Result<Answered, Unavailable> {
        Err(Unavailable::NotCached)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.0.map(|number| Fingerprint::new(&number))
    }
}

fn content(port: u16) -> Content {
    Content::new([], vec![(port, Arc::new(FixedService(None)))])
}

pub(super) fn known(number: u64) -> Content {
    Content::new([], vec![(53, Arc::new(FixedService(Some(number))))])
}

pub(super) fn policy() -> AnswerPolicy {
    let keys = Keys { current: Key([1; 16]), previous: None };
    AnswerPolicy {
        rules: AckPolicy::Reliable,
        keys,
        segment_size: 1220,
        hints: 64,
        fast_open: false,
        connection_lifetime: CONNECTION_LIFETIME,
    }
}

fn ports(state: &ServingState, generation: u8) -> Option<Vec<u16>> {
    state.content(generation).map(|content| content.ports().collect())
}

#[test]
fn each_generation_has_its_own_content() {
    let first = ServingState::new(content(1), policy());
    assert_eq!((ports(&first, 0), ports(&first, 1)), (Some(vec![1]), None));
    let second = first.with_content(content(2), policy(), &[]);
    assert_eq!((ports(&second, 0), ports(&second, 1)), (Some(vec![1]), Some(vec![2])));
    let third = second.with_content(content(3), policy(), &[]);
    assert_eq!([0, 1, 2].map(|number| ports(&third, number)), [Some(vec![1]), Some(vec![2]), Some(vec![3])]);
    assert_eq!(*third.generations(), Generations::only(2).and(1).and(0));
    let two = third.retaining(|number| number == 0);
    assert_eq!([0, 1, 2].map(|number| ports(&two, number)), [Some(vec![1]), None, Some(vec![3])]);
    assert_eq!(*two.generations(), Generations::only(2).and(0));
}

#[test]
fn a_number_can_be_given() {
    let state = ServingState::new(content(1), policy()).with_generation(200);
    assert_eq!((ports(&state, 0), ports(&state, 200)), (None, Some(vec![1])));
    assert_eq!(state.with_content(content(2), policy(), &[]).generations().current(), 201);
    let retired = |generation| RetiredGeneration { generation, fingerprint: None };
    let apart =
        |other| ServingState::new(content(1), policy()).with_generation(200).distinct_from(&[retired(other)]);
    assert_eq!([200, 8, 9].map(|other| apart(other).current.generation), [201, 201, 200]);
}

/// Servers are reloaded, restarted and added at different times.
#[test]
fn the_same_content_has_the_same_number_on_every_server() {
    let first = ServingState::new(known(1), policy());
    let number = |state: &ServingState| *state.generations();
    let same = first.with_content(known(1), policy(), &[]);
    assert_eq!(number(&same), number(&first), "there is nothing that would have to be kept");
    let second = same.with_content(known(2), policy(), &[]);
    assert_eq!(number(&second).current(), number(&ServingState::new(known(2), policy())).current());
    assert!(number(&second).hold(number(&first).current()));
    let third = second.with_content(known(2), policy(), &[]);
    assert_eq!(number(&third), number(&second), "what was there before is kept on");
    let back = third.retaining(|_| false).with_content(known(1), policy(), &[first.current.retired()]);
    assert_eq!(number(&back).current(), number(&first).current(), "what comes back is what it was");
    let sooner = third.with_content(known(1), policy(), &[]);
    assert_eq!(number(&sooner), number(&back), "nor is it there twice");
}

#[test]
fn no_number_has_two_contents_within_a_while() {
    let (mut state, mut recent) = (ServingState::new(known(0), policy()), Vec::new());
    for number in 1..60 {
        let before = state.current.retired();
        state = state.with_content(known(number), policy(), &recent);
        recent.push(before);
        let last_bits = |number: u8| number & GENERATION_MASK;
        let now = last_bits(state.current.generation);
        assert!(recent.iter().all(|retired| last_bits(retired.generation) != now));
    }
}

#[test]
fn zones_and_options_tell_contents_apart() {
    let of = |minimal_any| Dns::builtin(DnsOptions { minimal_any, ..DnsOptions::default() }).fingerprint();
    assert_eq!(of(true), of(true));
    assert!(of(true) != of(false) && of(true).is_some());
}

#[test]
fn numbers_begin_again_after_the_last() {
    let mut state = ServingState::new(content(1), policy());
    for _ in 0..256 {
        state = state.retaining(|_| false).with_content(content(1), policy(), &[]);
    }
    assert_eq!(*state.generations(), Generations::only(0).and(255));
}
