//! How long a generation is served after another has taken its place, and how long its number means nothing else.
//!
//! Times are durations since some beginning, of a clock that never goes back.

use super::{RetiredGeneration, ServingState};
use crate::dataplane::engine::{Content, Policy};
use stateless_tcp_core::tcp::isn::GENERATION_MASK;
use std::collections::VecDeque;
use std::time::Duration;

/// Most generations that are served at once, the current one included. A guess is right as many times as often
/// (docs/protocol.md, "Generations").
pub const MAX_GENERATIONS: usize = 8;

/// Numbers that connections with timestamps can tell apart.
const NUMBERS: usize = GENERATION_MASK as usize + 1;

/// How long a client sends its request again before it gives up (Linux: `net.ipv4.tcp_retries2`), and the minute for which
/// its generation is served.
pub const PATIENCE_OF_CLIENTS: Duration = Duration::from_mins(16);

/// Why no further generation can begin yet, and when it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many are served as may be.
    Places(Duration),
    /// Clients may remember so many that no number is left.
    Numbers(Duration),
}

/// The generations that connections may still be of, besides the current one.
#[derive(Debug)]
pub struct History {
    keep: Duration,
    /// Numbers of those that are served, and until when. The oldest is the first.
    kept: VecDeque<(u8, Duration)>,
    /// Those, and others that are not served any more: until when nothing else has their numbers.
    recent: Vec<(RetiredGeneration, Duration)>,
}

impl History {
    /// A generation is kept for `keep` after another has taken its place.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self { keep, kept: VecDeque::new(), recent: Vec::new() }
    }

    /// The same, where `offer` follows generations that another process served, which are not to be taken for others until
    /// then.
    #[must_use]
    pub fn after(
        self,
        former: impl IntoIterator<Item = (RetiredGeneration, Duration)>,
        offer: &ServingState,
    ) -> Self {
        let others = former.into_iter().filter(|(former, _)| former.generation != offer.current.generation);
        Self { recent: others.collect(), ..self }
    }

    /// What clients may still be of, and for how long from `now` on.
    pub fn former(&self, now: Duration) -> impl Iterator<Item = (RetiredGeneration, Duration)> {
        let rest =
            move |&(former, until): &(RetiredGeneration, Duration)| (former, until.saturating_sub(now));
        self.recent.iter().map(rest).filter(|(_, rest)| !rest.is_zero())
    }

    /// Whether a further generation has to wait.
    #[must_use]
    pub fn full(&self, now: Duration) -> Option<Full> {
        let numbers = self.recent.iter().filter(|(_, until)| *until > now);
        let number = (numbers.clone().count() + 1 >= NUMBERS).then(|| numbers.map(|&(_, until)| until).min());
        let place = (self.kept.len() + 1 >= MAX_GENERATIONS).then(|| self.ends());
        let number = number.flatten().map(Full::Numbers);
        number.or_else(|| place.flatten().map(Full::Places))
    }

    /// When the oldest generation that is kept ends.
    #[must_use]
    pub fn ends(&self) -> Option<Duration> {
        self.kept.front().map(|&(_, until)| until)
    }

    /// Generations that are served besides the current one.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// What `offer` becomes when `content` takes the place of its own; not to be asked while it is [`History::full`].
    pub fn succeed(
        &mut self,
        offer: &ServingState,
        content: Content,
        policy: Policy,
        now: Duration,
    ) -> ServingState {
        self.recent.retain(|(_, until)| *until > now);
        let recent: Vec<RetiredGeneration> = self.recent.iter().map(|&(former, _)| former).collect();
        let next = offer.succeeded_by(content, policy, &recent);
        let (before, after) = (offer.current.former(), next.current.generation);
        // Of content that stayed the same nothing has to be kept.
        if before.generation != after {
            self.kept.retain(|&(number, _)| number != after);
            self.recent.retain(|(former, _)| former.generation != after);
            self.kept.push_back((before.generation, now + self.keep));
            self.recent.push((before, now + PATIENCE_OF_CLIENTS));
        }
        next
    }

    /// What `offer` becomes without the generations whose time is over, if there are any; and their numbers.
    pub fn expire(&mut self, offer: &ServingState, now: Duration) -> Option<(ServingState, Vec<u8>)> {
        let over = self.kept.iter().take_while(|&&(_, until)| until <= now).count();
        let gone: Vec<u8> = self.kept.drain(..over).map(|(number, _)| number).collect();
        (over > 0).then(|| (offer.keeping(|number| !gone.contains(&number)), gone))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{known, policy};
    use super::*;

    const KEEP: Duration = Duration::from_mins(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn numbers(offer: &ServingState) -> Vec<u8> {
        offer.editions().map(|edition| edition.generation).collect()
    }

    #[test]
    fn seven_former_generations_are_kept_each_for_its_time() {
        let (mut history, mut offer) = (History::new(KEEP), ServingState::first(known(0), policy()));
        for number in 1..8 {
            assert_eq!(history.full(number * SECOND), None);
            offer = history.succeed(&offer, known(number.into()), policy(), number * SECOND);
        }
        assert_eq!(numbers(&offer).len(), MAX_GENERATIONS);
        assert_eq!(history.full(8 * SECOND), Some(Full::Places(61 * SECOND)));
        assert!(history.expire(&offer, 60 * SECOND).is_none());
        let served = numbers(&offer);
        let (left, gone) = history.expire(&offer, 62 * SECOND).expect("the two oldest are over");
        assert_eq!(numbers(&left), served[..6], "the latest is the first");
        assert_eq!(gone, [served[7], served[6]]);
        assert_eq!(history.full(62 * SECOND), None);
        assert_eq!(history.ends(), Some(63 * SECOND));
    }

    #[test]
    fn what_comes_back_takes_its_own_place() {
        let (mut history, first) = (History::new(KEEP), ServingState::first(known(1), policy()));
        let second = history.succeed(&first, known(2), policy(), SECOND);
        let back = history.succeed(&second, known(1), policy(), 2 * SECOND);
        assert_eq!(numbers(&back), [numbers(&first)[0], numbers(&second)[0]]);
        assert_eq!((history.kept(), history.ends()), (1, Some(62 * SECOND)));
        let same = history.succeed(&back, known(1), policy(), 3 * SECOND);
        assert_eq!((numbers(&same), history.kept()), (numbers(&back), 1), "and is replaced in it");
        // It is not over when it would have been had it not come back.
        let (left, _) = history.expire(&same, 62 * SECOND).expect("the second is over");
        assert_eq!(numbers(&left), numbers(&first));
    }

    #[test]
    fn no_number_is_given_twice_while_clients_remember_it() {
        let (mut history, mut offer) = (History::new(SECOND), ServingState::first(known(0), policy()));
        let mut now = Duration::ZERO;
        for number in 1..64 {
            now += 2 * SECOND;
            offer = history.expire(&offer, now).map_or(offer, |(offer, _)| offer);
            assert_eq!(history.full(now), None, "{number}");
            offer = history.succeed(&offer, known(number), policy(), now);
        }
        now += 2 * SECOND;
        let free = 2 * SECOND + PATIENCE_OF_CLIENTS;
        assert_eq!(history.full(now), Some(Full::Numbers(free)));
        let former = history.former(now).map(|(former, _)| former).chain([offer.current.former()]);
        let mut seen: Vec<u8> = former.map(|former| former.generation & GENERATION_MASK).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..64).collect::<Vec<u8>>());
        assert_eq!(history.full(free), None);
    }

    #[test]
    fn a_successor_spares_its_predecessors_numbers() {
        let offer = ServingState::first(known(1), policy());
        let mut history = History::new(KEEP);
        history.succeed(&offer, known(2), policy(), SECOND);
        let former: Vec<_> =
            history.former(6 * SECOND).map(|(former, rest)| (former, rest + 5 * SECOND)).collect();
        assert_eq!(former, [(offer.current.former(), PATIENCE_OF_CLIENTS)]);
        let other = RetiredGeneration {
            generation: ServingState::first(known(3), policy()).current.generation,
            fingerprint: None,
        };
        let mut history = History::new(KEEP).after([(other, 9 * SECOND)], &offer);
        let next = history.succeed(&offer, known(3), policy(), SECOND);
        assert_ne!(numbers(&next)[0] & GENERATION_MASK, other.generation & GENERATION_MASK);
        let next = history.succeed(&offer, known(3), policy(), 9 * SECOND);
        assert_eq!(numbers(&next)[0], other.generation);
    }
}
