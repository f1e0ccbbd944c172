//! What workers answer from, and how another takes its place while they run.
//!
//! An [`ServingState`] never changes. To change what is served, a new one is put into the [`Switch`]; each worker looks at a
//! counter there once a batch, and only when that has grown takes a lock and the new offer. Nothing else of a reload
//! reaches a worker.

pub mod build;
pub mod clients;
pub mod fingerprint;
mod history;

use crate::dataplane::engine::{Content, Policy};
use crate::serving::fingerprint::Fingerprint;
pub use history::{Full, History, MAX_GENERATIONS, PATIENCE_OF_CLIENTS};
use serde::{Deserialize, Serialize};
use stateless_tcp_core::tcp::TcpConfig;
use stateless_tcp_core::tcp::isn::{GENERATION_MASK, Generations};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The content of one generation.
#[derive(Clone)]
pub struct ContentGeneration {
    /// Its number, which goes into the cookie of every connection that begins with it.
    pub generation: u8,
    /// What is served.
    pub content: Arc<Content>,
}

/// A generation that was served, and that clients may still be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredGeneration {
    /// Its number.
    pub generation: u8,
    /// Of its content.
    pub fingerprint: Option<Fingerprint>,
}

impl ContentGeneration {
    /// What is remembered of it when it is served no more.
    #[must_use]
    pub fn former(&self) -> RetiredGeneration {
        RetiredGeneration { generation: self.generation, fingerprint: self.content.fingerprint() }
    }
}

/// Everything that an answer is made from but the segment: content and keys.
#[derive(Clone)]
pub struct ServingState {
    /// How segments are answered.
    pub policy: Policy,
    /// What new connections get.
    pub current: ContentGeneration,
    /// What connections get that began with it. The latest is the first.
    former: Vec<ContentGeneration>,
    /// How segments are answered, by the numbers of all of these.
    tcp: TcpConfig,
}

impl ServingState {
    fn new(policy: Policy, current: ContentGeneration, former: Vec<ContentGeneration>) -> Self {
        let only = Generations::only(current.generation);
        let generations = former.iter().fold(only, |set, edition| set.and(edition.generation));
        let Policy { rules, keys, segment_size, fast_open, .. } = policy;
        let tcp = TcpConfig { ack_policy: rules, keys, generations, segment_size, fast_open };
        Self { policy, current, former, tcp }
    }

    /// The first generation of `content`, by the number that it has on every server.
    #[must_use]
    pub fn first(content: Content, policy: Policy) -> Self {
        let generation = content.fingerprint().map_or(0, Fingerprint::octet);
        Self::new(policy, ContentGeneration { generation, content: Arc::new(content) }, Vec::new())
    }

    /// This offer under another number.
    ///
    /// An answer that was fetched is known to the process that fetched it. Another one of the same key, or the same after a
    /// restart, would go on with other octets where the client has a part: its connections have to be those of another generation.
    #[must_use]
    pub fn numbered(self, generation: u8) -> Self {
        Self::new(self.policy, ContentGeneration { generation, ..self.current }, self.former)
    }

    /// This offer under the number that one of the `others` had which is the same; else under the next one that no
    /// connection of theirs seems to be of.
    #[must_use]
    pub fn apart_from(self, others: &[RetiredGeneration]) -> Self {
        let RetiredGeneration { generation, fingerprint } = self.current.former();
        let generation = number(generation, fingerprint, others);
        self.numbered(generation)
    }

    /// This offer's content made a former one by `content`; or replaced by it, if that is the same.
    ///
    /// Content has the number that it has on every server, unless connections of other content may still have that: of
    /// this offer's, or one of the `recent`. What has come back gets its number back, and takes the place of what was kept
    /// of it. Where it cannot be told what is the same, it gets the next number.
    ///
    /// There must be such a number ([`History::full`]).
    #[must_use]
    pub fn succeeded_by(&self, content: Content, policy: Policy, recent: &[RetiredGeneration]) -> Self {
        let (before, after) = (self.current.content.fingerprint(), content.fingerprint());
        let content = Arc::new(content);
        let generation = self.current.generation;
        if before.is_some() && before == after {
            return Self::new(policy, ContentGeneration { generation, content }, self.former.clone());
        }
        let known: Vec<RetiredGeneration> =
            self.editions().map(ContentGeneration::former).chain(recent.iter().copied()).collect();
        let own = after.map_or(generation.wrapping_add(1), Fingerprint::octet);
        let generation = number(own, after, &known);
        let kept = self.former.iter().filter(|edition| edition.generation != generation);
        let former = std::iter::once(&self.current).chain(kept).cloned().collect();
        Self::new(policy, ContentGeneration { generation, content }, former)
    }

    /// This offer with only those of the former generations that are to be kept.
    #[must_use]
    pub fn keeping(&self, mut keep: impl FnMut(u8) -> bool) -> Self {
        let former = self.former.iter().filter(|edition| keep(edition.generation)).cloned().collect();
        Self::new(self.policy.clone(), self.current.clone(), former)
    }

    /// What is served, the current content first.
    pub fn editions(&self) -> impl Iterator<Item = &ContentGeneration> {
        std::iter::once(&self.current).chain(&self.former)
    }

    /// The generations that are served.
    #[inline]
    #[must_use]
    pub fn generations(&self) -> &Generations {
        &self.tcp.generations
    }

    /// Everything but the content that answers are made from.
    #[inline]
    #[must_use]
    pub fn tcp_config(&self) -> &TcpConfig {
        &self.tcp
    }

    /// The content of a served generation.
    #[inline]
    #[must_use]
    pub fn content(&self, generation: u8) -> Option<&Content> {
        self.editions().find(|edition| edition.generation == generation).map(|edition| &*edition.content)
    }
}

/// The number of content that would have `own`, among the `others`: of one that is the same, or the first from `own` on
/// that looks like none of theirs; `own` itself, if all are taken.
fn number(own: u8, fingerprint: Option<Fingerprint>, others: &[RetiredGeneration]) -> u8 {
    let same = others.iter().find(|other| fingerprint.is_some() && other.fingerprint == fingerprint);
    if let Some(same) = same {
        return same.generation;
    }
    let free = |number: &u8| !others.iter().any(|other| look_alike(other.generation, *number));
    (0..=GENERATION_MASK).map(|step| own.wrapping_add(step)).find(free).unwrap_or(own)
}

/// Whether a connection with timestamps cannot tell them apart.
const fn look_alike(one: u8, other: u8) -> bool {
    (one ^ other) & GENERATION_MASK == 0
}

/// Where the offer in force is found.
pub struct Switch {
    /// Grows with each offer.
    version: AtomicU64,
    offer: Mutex<Arc<ServingState>>,
}

impl Switch {
    /// A switch that stands at `offer`.
    #[must_use]
    pub fn new(offer: ServingState) -> Self {
        Self { version: AtomicU64::new(0), offer: Mutex::new(Arc::new(offer)) }
    }

    /// The offer in force.
    #[must_use]
    pub fn offer(&self) -> Arc<ServingState> {
        Arc::clone(&self.offer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `offer` in force and returns the one before.
    ///
    /// Whoever lets go of an offer last frees its content, which takes time: the caller is to keep what it gets until
    /// the workers have moved on, so that none of them has that work.
    pub fn put(&self, offer: ServingState) -> Arc<ServingState> {
        let before = {
            let mut place = self.offer.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, Arc::new(offer))
        };
        self.version.fetch_add(1, Ordering::Release);
        before
    }
}

/// One worker's view of a [`Switch`].
pub struct Follower {
    switch: Arc<Switch>,
    seen: u64,
}

impl Follower {
    /// Follows `switch`, from the offer in force on, which comes with it.
    #[must_use]
    pub fn new(switch: Arc<Switch>) -> (Self, Arc<ServingState>) {
        // Looked at first: an offer that comes between the two is taken twice, not missed.
        let seen = switch.version.load(Ordering::Acquire);
        let offer = switch.offer();
        (Self { switch, seen }, offer)
    }

    /// The offer in force, if it is another than last time. Costs one load if not.
    #[inline]
    pub fn news(&mut self) -> Option<Arc<ServingState>> {
        let version = self.switch.version.load(Ordering::Acquire);
        (version != self.seen).then(|| {
            self.seen = version;
            self.switch.offer()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::dns::{Dns, DnsOptions};
    use crate::services::{Answered, Context, Framing, Service, Unavailable};
    use stateless_tcp_core::tcp::AckPolicy;
    use stateless_tcp_core::tcp::isn::{Key, Keys};

    /// A service that has this fingerprint, if any.
    struct Known(Option<u64>);

    impl Service for Known {
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
            self.0.map(|number| Fingerprint::of(&number))
        }
    }

    fn content(port: u16) -> Content {
        Content::new([], vec![(port, Arc::new(Known(None)))])
    }

    pub(super) fn known(number: u64) -> Content {
        Content::new([], vec![(53, Arc::new(Known(Some(number))))])
    }

    pub(super) fn policy() -> Policy {
        let keys = Keys { current: Key([1; 16]), previous: None };
        Policy { rules: AckPolicy::Reliable, keys, segment_size: 1220, hints: 64, fast_open: false }
    }

    fn ports(offer: &ServingState, generation: u8) -> Option<Vec<u16>> {
        offer.content(generation).map(|content| content.ports().collect())
    }

    #[test]
    fn each_generation_has_its_own_content() {
        let first = ServingState::first(content(1), policy());
        assert_eq!((ports(&first, 0), ports(&first, 1)), (Some(vec![1]), None));
        let second = first.succeeded_by(content(2), policy(), &[]);
        assert_eq!((ports(&second, 0), ports(&second, 1)), (Some(vec![1]), Some(vec![2])));
        let third = second.succeeded_by(content(3), policy(), &[]);
        assert_eq!([0, 1, 2].map(|of| ports(&third, of)), [Some(vec![1]), Some(vec![2]), Some(vec![3])]);
        assert_eq!(*third.generations(), Generations::only(2).and(1).and(0));
        let two = third.keeping(|number| number == 0);
        assert_eq!([0, 1, 2].map(|of| ports(&two, of)), [Some(vec![1]), None, Some(vec![3])]);
        assert_eq!(*two.generations(), Generations::only(2).and(0));
    }

    #[test]
    fn a_number_can_be_given() {
        let offer = ServingState::first(content(1), policy()).numbered(200);
        assert_eq!((ports(&offer, 0), ports(&offer, 200)), (None, Some(vec![1])));
        assert_eq!(offer.succeeded_by(content(2), policy(), &[]).generations().current(), 201);
        let former = |generation| RetiredGeneration { generation, fingerprint: None };
        let apart =
            |other| ServingState::first(content(1), policy()).numbered(200).apart_from(&[former(other)]);
        assert_eq!([200, 8, 9].map(|other| apart(other).current.generation), [201, 201, 200]);
    }

    /// Servers that were reloaded, restarted and added, each in its own time.
    #[test]
    fn the_same_content_has_the_same_number_everywhere() {
        let first = ServingState::first(known(1), policy());
        let number = |offer: &ServingState| *offer.generations();
        let same = first.succeeded_by(known(1), policy(), &[]);
        assert_eq!(number(&same), number(&first), "there is nothing that would have to be kept");
        let second = same.succeeded_by(known(2), policy(), &[]);
        assert_eq!(number(&second).current(), number(&ServingState::first(known(2), policy())).current());
        assert!(number(&second).hold(number(&first).current()));
        let third = second.succeeded_by(known(2), policy(), &[]);
        assert_eq!(number(&third), number(&second), "what was there before is kept on");
        let back = third.keeping(|_| false).succeeded_by(known(1), policy(), &[first.current.former()]);
        assert_eq!(number(&back).current(), number(&first).current(), "what comes back is what it was");
        let sooner = third.succeeded_by(known(1), policy(), &[]);
        assert_eq!(number(&sooner), number(&back), "nor is it there twice");
    }

    #[test]
    fn no_number_has_two_contents_within_a_while() {
        let (mut offer, mut recent) = (ServingState::first(known(0), policy()), Vec::new());
        for number in 1..60 {
            let before = offer.current.former();
            offer = offer.succeeded_by(known(number), policy(), &recent);
            recent.push(before);
            let last_bits = |number: u8| number & GENERATION_MASK;
            let now = last_bits(offer.current.generation);
            assert!(recent.iter().all(|former| last_bits(former.generation) != now));
        }
    }

    #[test]
    fn zones_and_options_tell_contents_apart() {
        let of =
            |minimal_any| Dns::builtin(DnsOptions { minimal_any, ..DnsOptions::default() }).fingerprint();
        assert_eq!(of(true), of(true));
        assert!(of(true) != of(false) && of(true).is_some());
    }

    #[test]
    fn numbers_begin_again_after_the_last() {
        let mut offer = ServingState::first(content(1), policy());
        for _ in 0..256 {
            offer = offer.keeping(|_| false).succeeded_by(content(1), policy(), &[]);
        }
        assert_eq!(*offer.generations(), Generations::only(0).and(255));
    }

    #[test]
    fn a_follower_hears_of_each_offer_once() {
        let switch = Arc::new(Switch::new(ServingState::first(content(1), policy())));
        let (mut follower, offer) = Follower::new(Arc::clone(&switch));
        assert_eq!(offer.current.generation, 0);
        assert!(follower.news().is_none(), "nothing new");
        let before = switch.put(offer.succeeded_by(content(2), policy(), &[]));
        assert!(Arc::ptr_eq(&before, &offer));
        let news = follower.news().expect("another offer");
        assert_eq!(news.current.generation, 1);
        assert!(follower.news().is_none(), "heard of already");
    }
}
