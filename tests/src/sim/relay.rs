//! A service that has to ask for its answers, which take their time and are another each time.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use stateless_tcp::services::retransmit_store::RetransmitStore;
use stateless_tcp::services::{
    Answered, Context, FetchId, FetchIds, FetchPolicy, Framing, MAX_RESPONSE, Origin, Service, Unavailable,
    Upstream,
};

use super::{
    packet::Micros,
    question::{REFUSED, SimQuestion, Style, Toy},
};
use crate::seed::Random;

/// Answers to one question that can be told apart.
pub const VARIANTS: u8 = 8;
/// Bytes of answers sent that are kept: more than any run sends.
const CAPACITY: usize = 64 << 20;

/// The behaviour of a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayBehaviour {
    /// An answer takes this long at the most.
    pub delay: Micros,
    /// One in so many answers sent in one segment is not found again; 0: all are.
    pub forget: usize,
}

/// Answers [`SimQuestion`]s by asking for each.
pub struct Relay {
    toy: Toy,
    manner: RelayBehaviour,
    desk: Mutex<SimForwarder>,
}

struct SimForwarder {
    random: Random,
    tickets: FetchIds,
    sent: RetransmitStore,
    asked: HashMap<Vec<u8>, DueAnswer>,
    variant: u8,
}

struct DueAnswer {
    ticket: FetchId,
    due: SystemTime,
    /// Which answer came.
    came: Option<u8>,
}

impl Relay {
    /// Messages are delimited by `style`; how long each answer takes is drawn from `random`.
    pub fn new(style: Style, manner: RelayBehaviour, random: Random) -> Self {
        let desk = SimForwarder {
            random,
            tickets: FetchIds::new(),
            sent: RetransmitStore::new(CAPACITY),
            asked: HashMap::new(),
            variant: 0,
        };
        Self { toy: Toy { style, generation: 0 }, manner, desk: Mutex::new(desk) }
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, SimForwarder> {
        self.desk.lock().expect("no run goes on after a panic")
    }
}

impl SimForwarder {
    fn ask(&mut self, message: &[u8], now: SystemTime, delay: Micros) -> &DueAnswer {
        let Self { random, tickets, asked, .. } = self;
        asked.entry(message.to_vec()).or_insert_with(|| {
            let delay = 1 + random.below(usize::try_from(delay).expect("64 bits")) as u64;
            DueAnswer { ticket: tickets.draw(), due: now + Duration::from_micros(delay), came: None }
        })
    }

    fn find(&mut self, origin: &Origin, message: &[u8], forget: usize) -> Option<&[u8]> {
        let forgotten = forget > 0 && self.random.one_in(forget);
        if forgotten { None } else { self.sent.find(origin, message) }
    }
}

impl Service for Relay {
    fn frame(&self, stream: &[u8]) -> Framing {
        self.toy.frame(stream)
    }

    fn starts_message(&self, stream: &[u8]) -> bool {
        self.toy.starts_message(stream)
    }

    fn is_prefix(&self, tail: &[u8]) -> bool {
        self.toy.is_prefix(tail)
    }

    fn prefix(&self, stream: &[u8]) -> Option<[u8; 2]> {
        self.toy.prefix(stream)
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let Some(question) = SimQuestion::read(self.toy.style, message) else {
            return Ok(Answered::default());
        };
        let length = question.length();
        let refusal = Answered { volatile: 0, last: true };
        if length > context.room.min(MAX_RESPONSE) {
            response.extend((context.room > 0).then_some(REFUSED));
            return Ok(refusal);
        }
        let volatile = if length <= context.whole { length } else { 0 };
        let last = question.last || self.toy.style == Style::Http && !context.persistent;
        if length == 0 {
            // Nothing to ask for.
            return Ok(Answered { volatile, last });
        }
        let mut desk = self.desk();
        let forget = if volatile > 0 { self.manner.forget } else { 0 };
        if let Some(sent) = desk.find(&context.origin, message, forget) {
            response.extend_from_slice(sent);
            return Ok(Answered { volatile, last });
        }
        match context.policy {
            FetchPolicy::MayFetch => {}
            FetchPolicy::AnswerNow => unreachable!("no run has so many requests"),
            FetchPolicy::CachedOnly | FetchPolicy::Repeat => return Err(Unavailable::NotCached),
        }
        let asked = desk.ask(message, context.now, self.manner.delay);
        let Some(variant) = asked.came else { return Err(Unavailable::Pending(asked.ticket)) };
        let answer = question.bytes(variant);
        if volatile > 0 {
            desk.sent.remember(&context.origin, message, answer);
        } else if desk.sent.keep(context.now, &context.origin, message, answer).is_err() {
            response.push(REFUSED);
            return Ok(refusal);
        }
        response.extend_from_slice(answer);
        Ok(Answered { volatile, last })
    }

    fn prepare(&self, message: &[u8], context: &Context) {
        if SimQuestion::read(self.toy.style, message).is_some() {
            self.desk().ask(message, context.now, self.manner.delay);
        }
    }

    fn upstream(&self) -> Option<&dyn Upstream> {
        Some(self)
    }
}

impl Upstream for Relay {
    fn fds(&self, _: usize) -> Vec<i32> {
        Vec::new()
    }

    fn poll(&self, _: usize, now: SystemTime, ready: &mut Vec<FetchId>) {
        let SimForwarder { asked, variant, .. } = &mut *self.desk();
        // What came is there for whoever waits for it now, and then asked for anew.
        asked.retain(|_, asked| asked.came.is_none());
        let mut due: Vec<&mut DueAnswer> = asked.values_mut().filter(|asked| asked.due <= now).collect();
        due.sort_by_key(|asked| asked.due);
        for asked in due {
            *variant = (*variant + 1) % VARIANTS;
            asked.came = Some(*variant);
            ready.push(asked.ticket);
        }
    }

    fn poll_timeout(&self, _: usize, now: SystemTime) -> Option<Duration> {
        let desk = self.desk();
        let waiting = desk.asked.values().filter(|asked| asked.came.is_none());
        waiting.map(|asked| asked.due.duration_since(now).unwrap_or_default()).min()
    }
}
