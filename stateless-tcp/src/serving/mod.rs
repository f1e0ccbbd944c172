//! The content and keys that workers answer from, and their replacement while the workers run.
//!
//! A [`ServingState`] never changes. A reload stores a new one in the [`ActiveState`]; each worker compares a pointer once
//! a batch, at the cost of one atomic load, and takes the new state if there is one. Nothing else of a reload reaches a
//! worker.

pub mod build;
mod content;
mod history;

pub use content::Content;
pub use history::{CLIENT_RETRY_TIME, GenerationLimit, History, MAX_GENERATIONS};

use crate::fingerprint::Fingerprint;
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use stateless_tcp_core::tcp::epoch::Epochs;
use stateless_tcp_core::tcp::isn::{GENERATION_MASK, Generations, Keys};
use stateless_tcp_core::tcp::{AckPolicy, TcpConfig};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The state that new segments are answered from.
///
/// Dropping the last reference to a state frees its content, which takes time. After a replacement the caller keeps the
/// previous state until the workers have taken the new one, so that no worker frees it.
pub type ActiveState = ArcSwap<ServingState>;

/// The content of one generation.
#[derive(Clone)]
pub struct ContentGeneration {
    /// Its number, which is part of the cookie of every connection that begins with it.
    pub generation: u8,
    /// The content.
    pub content: Arc<Content>,
}

/// A generation that was replaced, and that connections of clients may still belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredGeneration {
    /// Its number.
    pub generation: u8,
    /// The fingerprint of its content.
    pub fingerprint: Option<Fingerprint>,
}

impl ContentGeneration {
    /// The record of this generation once it is replaced.
    #[must_use]
    pub fn retired(&self) -> RetiredGeneration {
        RetiredGeneration { generation: self.generation, fingerprint: self.content.fingerprint() }
    }
}

/// The options of the TCP engine.
#[derive(Clone, Debug)]
pub struct AnswerPolicy {
    /// Rule set.
    pub rules: AckPolicy,
    /// Cookie keys.
    pub keys: Keys,
    /// Largest payload of a sent segment, in bytes. All servers that share a key use the same: a client acknowledges
    /// segment ends.
    pub segment_size: u16,
    /// Entries of each worker's connection cache.
    pub hints: usize,
    /// Answer requests that come with the SYN (RFC 7413).
    pub fast_open: bool,
    /// Most time that a connection with timestamps, and a Fast Open cookie, lives. The same on all servers that share a key.
    pub connection_lifetime: Duration,
}

impl AnswerPolicy {
    /// The epochs at `now`.
    #[must_use]
    pub fn epochs(&self, now: SystemTime) -> Epochs {
        Epochs::at(now.duration_since(UNIX_EPOCH).unwrap_or_default(), self.connection_lifetime)
    }
}

/// Everything that determines an answer besides the segment: content and keys.
#[derive(Clone)]
pub struct ServingState {
    /// The engine's options.
    pub policy: AnswerPolicy,
    /// The content for new connections.
    pub current: ContentGeneration,
    /// The content for connections that began with it, the latest first.
    retained: Vec<ContentGeneration>,
    /// The engine's configuration, with the numbers of all these generations.
    tcp: TcpConfig,
}

impl ServingState {
    fn assemble(policy: AnswerPolicy, current: ContentGeneration, retained: Vec<ContentGeneration>) -> Self {
        let only = Generations::only(current.generation);
        let generations = retained.iter().fold(only, |set, content| set.and(content.generation));
        let AnswerPolicy { rules, keys, segment_size, fast_open, .. } = policy;
        let tcp = TcpConfig { ack_policy: rules, keys, generations, segment_size, fast_open };
        Self { policy, current, retained, tcp }
    }

    /// A state with `content` alone. Its generation number is the same on every server.
    #[must_use]
    pub fn new(content: Content, policy: AnswerPolicy) -> Self {
        let generation = content.fingerprint().map_or(0, Fingerprint::first_byte);
        let current = ContentGeneration { generation, content: Arc::new(content) };
        Self::assemble(policy, current, Vec::new())
    }

    /// This state with another number for the current content.
    ///
    /// Only the process that fetched an answer from an upstream knows it. Another process with the same key, or the same
    /// after a restart, would send other bytes to a client that has a part of the answer: its connections must belong to
    /// another generation.
    #[must_use]
    pub fn with_generation(self, generation: u8) -> Self {
        let current = ContentGeneration { generation, ..self.current };
        Self::assemble(self.policy, current, self.retained)
    }

    /// This state with a generation number that connections of `others` do not have, unless the content is the same.
    #[must_use]
    pub fn distinct_from(self, others: &[RetiredGeneration]) -> Self {
        let RetiredGeneration { generation, fingerprint } = self.current.retired();
        let generation = choose_number(generation, fingerprint, others);
        self.with_generation(generation)
    }

    /// The state after a reload: `content` becomes current, and this state's content is retained, unless both are the
    /// same.
    ///
    /// Content has the number that it has on every server, unless connections of other content may have it: those of this
    /// state, or of `recent` generations. Content that comes back gets its number back, and replaces its retained copy.
    /// Content without a fingerprint gets the next number.
    ///
    /// The caller ensures that there is a free number ([`History::limit`]).
    #[must_use]
    pub fn with_content(&self, content: Content, policy: AnswerPolicy, recent: &[RetiredGeneration]) -> Self {
        let (before, after) = (self.current.content.fingerprint(), content.fingerprint());
        let content = Arc::new(content);
        let generation = self.current.generation;
        if before.is_some() && before == after {
            let current = ContentGeneration { generation, content };
            return Self::assemble(policy, current, self.retained.clone());
        }
        let known: Vec<RetiredGeneration> =
            self.contents().map(ContentGeneration::retired).chain(recent.iter().copied()).collect();
        let own = after.map_or(generation.wrapping_add(1), Fingerprint::first_byte);
        let generation = choose_number(own, after, &known);
        let kept = self.retained.iter().filter(|retained| retained.generation != generation);
        let retained = std::iter::once(&self.current).chain(kept).cloned().collect();
        Self::assemble(policy, ContentGeneration { generation, content }, retained)
    }

    /// This state without the retained generations that `keep` refuses.
    #[must_use]
    pub fn retaining(&self, mut keep: impl FnMut(u8) -> bool) -> Self {
        let retained = self.retained.iter().filter(|content| keep(content.generation)).cloned().collect();
        Self::assemble(self.policy.clone(), self.current.clone(), retained)
    }

    /// All served content, the current first.
    pub fn contents(&self) -> impl Iterator<Item = &ContentGeneration> {
        std::iter::once(&self.current).chain(&self.retained)
    }

    /// The numbers of all served generations.
    #[inline]
    #[must_use]
    pub fn generations(&self) -> &Generations {
        &self.tcp.generations
    }

    /// Everything that determines an answer besides the segment and the content.
    #[inline]
    #[must_use]
    pub fn tcp_config(&self) -> &TcpConfig {
        &self.tcp
    }

    /// The content of a served generation.
    #[inline]
    #[must_use]
    pub fn content(&self, generation: u8) -> Option<&Content> {
        self.contents().find(|content| content.generation == generation).map(|content| &*content.content)
    }
}

/// The number for content whose preferred number is `own`. That is the number of the one among `others` with the same
/// fingerprint, else the first from `own` on that no other resembles, else `own`.
fn choose_number(own: u8, fingerprint: Option<Fingerprint>, others: &[RetiredGeneration]) -> u8 {
    let same = others.iter().find(|other| fingerprint.is_some() && other.fingerprint == fingerprint);
    if let Some(same) = same {
        return same.generation;
    }
    let free = |number: &u8| !others.iter().any(|other| look_alike(other.generation, *number));
    (0..=GENERATION_MASK).map(|step| own.wrapping_add(step)).find(free).unwrap_or(own)
}

/// Whether the cookies of connections with timestamps are the same for both generations.
const fn look_alike(one: u8, other: u8) -> bool {
    (one ^ other) & GENERATION_MASK == 0
}

#[cfg(test)]
mod tests;
