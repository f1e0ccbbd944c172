//! The lifetime of replaced generations: how long they are served, and how long their numbers are reserved.
//!
//! Times are durations since an arbitrary start of a monotonic clock.

use super::{AnswerPolicy, Content, RetiredGeneration, ServingState};
use stateless_tcp_core::tcp::isn::GENERATION_MASK;
use std::collections::VecDeque;
use std::time::Duration;

/// Most generations that are served at once, the current one included. An attacker's guess succeeds as many times as often
/// (docs/protocol.md, "Generations").
pub const MAX_GENERATIONS: usize = 8;

/// Distinct generation numbers in cookies of connections with timestamps.
const NUMBERS: usize = GENERATION_MASK as usize + 1;

/// The time for which a client may remember a generation: its retransmissions until it gives up (Linux:
/// `net.ipv4.tcp_retries2`), and the minute for which the generation is served.
pub const CLIENT_RETRY_TIME: Duration = Duration::from_mins(16);

/// The reason why no further generation can begin yet, and the time when it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationLimit {
    /// [`MAX_GENERATIONS`] are served.
    Generations(Duration),
    /// Clients may remember every number.
    Numbers(Duration),
}

/// The replaced generations that connections may still belong to.
#[derive(Debug)]
pub struct History {
    keep: Duration,
    /// Numbers of the served ones, and the time when each expires; the oldest first.
    retained: VecDeque<(u8, Duration)>,
    /// The served ones and expired ones, and the time until which each number is reserved.
    reserved: Vec<(RetiredGeneration, Duration)>,
}

impl History {
    /// Serves a generation for `keep` after its replacement.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self { keep, retained: VecDeque::new(), reserved: Vec::new() }
    }

    /// The history of a process whose first state is `state` and that took over from a process with the generations
    /// `reserved`, each for this time.
    #[must_use]
    pub fn with_predecessor(
        self,
        reserved: impl IntoIterator<Item = (RetiredGeneration, Duration)>,
        state: &ServingState,
    ) -> Self {
        let current = state.current.generation;
        let others = reserved.into_iter().filter(|(retired, _)| retired.generation != current);
        Self { reserved: others.collect(), ..self }
    }

    /// The generations that clients may remember, and for how long from `now` on.
    pub fn reserved(&self, now: Duration) -> impl Iterator<Item = (RetiredGeneration, Duration)> {
        let rest =
            move |&(retired, until): &(RetiredGeneration, Duration)| (retired, until.saturating_sub(now));
        self.reserved.iter().map(rest).filter(|(_, rest)| !rest.is_zero())
    }

    /// The limit that a further generation has to wait for, if there is one.
    #[must_use]
    pub fn limit(&self, now: Duration) -> Option<GenerationLimit> {
        let numbers = self.reserved.iter().filter(|(_, until)| *until > now);
        let number = (numbers.clone().count() + 1 >= NUMBERS).then(|| numbers.map(|&(_, until)| until).min());
        let place = (self.retained.len() + 1 >= MAX_GENERATIONS).then(|| self.next_expiry());
        let number = number.flatten().map(GenerationLimit::Numbers);
        number.or_else(|| place.flatten().map(GenerationLimit::Generations))
    }

    /// The time when the oldest retained generation expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.retained.front().map(|&(_, until)| until)
    }

    /// Number of generations that are served besides the current one.
    #[must_use]
    pub fn retained(&self) -> usize {
        self.retained.len()
    }

    /// The state after `state` whose current content is `content`. There must be no [`History::limit`].
    pub fn replace(
        &mut self,
        state: &ServingState,
        content: Content,
        policy: AnswerPolicy,
        now: Duration,
    ) -> ServingState {
        self.reserved.retain(|(_, until)| *until > now);
        let reserved: Vec<RetiredGeneration> = self.reserved.iter().map(|&(retired, _)| retired).collect();
        let next = state.with_content(content, policy, &reserved);
        let (before, after) = (state.current.retired(), next.current.generation);
        // The same content is still current.
        if before.generation != after {
            self.retained.retain(|&(number, _)| number != after);
            self.reserved.retain(|(retired, _)| retired.generation != after);
            self.retained.push_back((before.generation, now + self.keep));
            self.reserved.push((before, now + CLIENT_RETRY_TIME));
        }
        next
    }

    /// The state after `state` without the generations that have expired, and their numbers; `None` if none has expired.
    pub fn expire(&mut self, state: &ServingState, now: Duration) -> Option<(ServingState, Vec<u8>)> {
        let expired = self.retained.iter().take_while(|&&(_, until)| until <= now).count();
        let gone: Vec<u8> = self.retained.drain(..expired).map(|(number, _)| number).collect();
        (expired > 0).then(|| (state.retaining(|number| !gone.contains(&number)), gone))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{known, policy};
    use super::*;

    const KEEP: Duration = Duration::from_mins(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn numbers(state: &ServingState) -> Vec<u8> {
        state.contents().map(|content| content.generation).collect()
    }

    #[test]
    fn seven_replaced_generations_are_served_each_for_its_time() {
        let (mut history, mut state) = (History::new(KEEP), ServingState::new(known(0), policy()));
        for number in 1..8 {
            assert_eq!(history.limit(number * SECOND), None);
            state = history.replace(&state, known(number.into()), policy(), number * SECOND);
        }
        assert_eq!(numbers(&state).len(), MAX_GENERATIONS);
        assert_eq!(history.limit(8 * SECOND), Some(GenerationLimit::Generations(61 * SECOND)));
        assert!(history.expire(&state, 60 * SECOND).is_none());
        let served = numbers(&state);
        let (left, gone) = history.expire(&state, 62 * SECOND).expect("the two oldest have expired");
        assert_eq!(numbers(&left), served[..6], "the latest is the first");
        assert_eq!(gone, [served[7], served[6]]);
        assert_eq!(history.limit(62 * SECOND), None);
        assert_eq!(history.next_expiry(), Some(63 * SECOND));
    }

    #[test]
    fn content_that_comes_back_replaces_its_retained_copy() {
        let (mut history, first) = (History::new(KEEP), ServingState::new(known(1), policy()));
        let second = history.replace(&first, known(2), policy(), SECOND);
        let back = history.replace(&second, known(1), policy(), 2 * SECOND);
        assert_eq!(numbers(&back), [numbers(&first)[0], numbers(&second)[0]]);
        assert_eq!((history.retained(), history.next_expiry()), (1, Some(62 * SECOND)));
        let same = history.replace(&back, known(1), policy(), 3 * SECOND);
        assert_eq!((numbers(&same), history.retained()), (numbers(&back), 1), "and replaces itself");
        // It does not expire at the time of its earlier replacement.
        let (left, _) = history.expire(&same, 62 * SECOND).expect("the second has expired");
        assert_eq!(numbers(&left), numbers(&first));
    }

    #[test]
    fn no_number_is_given_twice_while_clients_remember_it() {
        let (mut history, mut state) = (History::new(SECOND), ServingState::new(known(0), policy()));
        let mut now = Duration::ZERO;
        for number in 1..64 {
            now += 2 * SECOND;
            state = history.expire(&state, now).map_or(state, |(state, _)| state);
            assert_eq!(history.limit(now), None, "{number}");
            state = history.replace(&state, known(number), policy(), now);
        }
        now += 2 * SECOND;
        let free = 2 * SECOND + CLIENT_RETRY_TIME;
        assert_eq!(history.limit(now), Some(GenerationLimit::Numbers(free)));
        let reserved = history.reserved(now).map(|(retired, _)| retired).chain([state.current.retired()]);
        let mut seen: Vec<u8> = reserved.map(|retired| retired.generation & GENERATION_MASK).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..64).collect::<Vec<u8>>());
        assert_eq!(history.limit(free), None);
    }

    #[test]
    fn a_successor_reserves_its_predecessors_numbers() {
        let state = ServingState::new(known(1), policy());
        let mut history = History::new(KEEP);
        history.replace(&state, known(2), policy(), SECOND);
        let reserved: Vec<_> =
            history.reserved(6 * SECOND).map(|(retired, rest)| (retired, rest + 5 * SECOND)).collect();
        assert_eq!(reserved, [(state.current.retired(), CLIENT_RETRY_TIME)]);
        let other = RetiredGeneration {
            generation: ServingState::new(known(3), policy()).current.generation,
            fingerprint: None,
        };
        let mut history = History::new(KEEP).with_predecessor([(other, 9 * SECOND)], &state);
        let next = history.replace(&state, known(3), policy(), SECOND);
        assert_ne!(numbers(&next)[0] & GENERATION_MASK, other.generation & GENERATION_MASK);
        let next = history.replace(&state, known(3), policy(), 9 * SECOND);
        assert_eq!(numbers(&next)[0], other.generation);
    }
}
