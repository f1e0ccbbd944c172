//! SYN: its SYN,ACK, and by TCP Fast Open the answer to the request that it carries.

use super::converse::conversation;
use super::turn::MessageParser;
use super::{AnswerPolicy, RxSegment, TcpEngine, Transmit};
use crate::observe::counters::Counter;
use crate::services::{Context, FetchPolicy};
use stateless_tcp_core::tcp::fast_open::{self, Grant};
use stateless_tcp_core::tcp::input::{self, Reply, TxSegment, Verdict};
use stateless_tcp_core::tcp::tcb;

impl TcpEngine {
    /// What is to be sent in answer to `segment`, a SYN that gets `syn_ack` at least.
    #[inline]
    pub(super) fn synchronise(&mut self, arrival: RxSegment<'_>, syn_ack: TxSegment) -> Transmit {
        let RxSegment { segment, payload, counters, .. } = arrival;
        counters.add(Counter::SynAck, 1);
        if !self.offer.policy.fast_open || segment.options.fast_open.is_none() {
            return Transmit::One(syn_ack);
        }
        let Grant { accepted, cookie } = fast_open::grant(&self.offer.policy.keys, segment);
        let syn_ack = TxSegment { fast_open: cookie, ..syn_ack };
        counters.add(Counter::FastOpenCookie, cookie.is_some().into());
        if payload.is_empty() {
            return Transmit::One(syn_ack);
        }
        if !accepted {
            counters.add(Counter::FastOpenBadCookie, 1);
            return Transmit::One(syn_ack);
        }
        let first = fast_open::first(segment, &syn_ack);
        let (syn_ack, reply) = match self.early_reply(RxSegment { segment: &first, ..arrival }) {
            Some(reply) => fast_open::open(&first, syn_ack, reply),
            None => (syn_ack, None),
        };
        let answered = reply.is_some() || syn_ack.length > 0;
        counters.add(if answered { Counter::FastOpen } else { Counter::FastOpenLater }, 1);
        match reply {
            Some(reply) => Transmit::Opening(syn_ack, reply),
            None => Transmit::One(syn_ack),
        }
    }

    /// What answers all of the payload of `first`, the segment that has not come yet. Nothing is remembered of it: a SYN
    /// may be an old one, sent again by anybody.
    fn early_reply(&mut self, arrival: RxSegment<'_>) -> Option<Reply> {
        let RxSegment { segment: first, payload, .. } = arrival;
        let offer = &self.offer;
        let policy = &offer.policy;
        match input::decide(policy.rules, &policy.keys, offer.generations(), first) {
            Verdict::Converse => {
                let echo = tcb::read(&policy.keys.current, first)?;
                let service = offer.current.content.service(first.tuple.server_port)?;
                let single = echo.segment_size(policy.segment_size);
                let context =
                    Context { purpose: FetchPolicy::AtHand, ..conversation(self.worker, arrival, single) };
                let mut walker =
                    MessageParser { service, context, segment: first, single, answers: &mut self.answers };
                let walk = walker.walk(payload, 0, 0, &echo)?;
                let whole = walk.last || walk.end == first.length;
                (whole && walk.new > 0)
                    .then(|| echo.settle(first, &walk, &self.answers.parts, policy.segment_size).ok())?
            }
            Verdict::Answer(request) => {
                let response = self.find(arrival, payload, request, FetchPolicy::AtHand).ok()?.response;
                let AnswerPolicy { rules, segment_size, .. } = self.offer.policy;
                let whole = response.complete && response.length > 0;
                whole.then(|| request.reply(rules, first, response, segment_size).ok())?
            }
            Verdict::Send(_) | Verdict::Ignore(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
