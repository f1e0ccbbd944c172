//! Connections with timestamps: many requests, recovered whatever is lost (docs/protocol.md, "Connections with
//! timestamps").
//!
//! Both keys are tried whole: one that fits the numbers and fails the messages has not fitted.

mod data;
mod expired;

use super::application::{Application, FetchPolicy, MAX_RESPONSE, Origin, RequestContext};
use super::conn_cache::ConnCache;
use super::isn::{self, Key};
use super::retry::{ONCE_MORE, PATIENCE};
use super::segment::{Flags, Segment};
use super::tcb::Tcb;
use super::{Engine, Handled, RxSegment, Stop, TcpConfig, WHOLE};
use crate::outcome::Outcome;

pub(super) use data::early_reply;

#[inline(always)]
#[expect(clippy::inline_always, reason = "see Engine::handle")]
pub(super) fn on_segment<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
) -> Result<Handled<A::FetchId>, Stop> {
    let keys = engine.config.keys;
    let mut refusal = Outcome::BadCookie;
    for key in core::iter::once(&keys.current).chain(&keys.previous) {
        match attempt(engine, rx, key) {
            Err(Stop::Refuse(outcome)) if refusal == Outcome::BadCookie => {
                refusal = on_refusal(engine.config, engine.cache, rx, outcome)?;
            }
            Err(Stop::Refuse(_)) => {}
            decided => return decided,
        }
    }
    match refusal {
        // Silence would keep the client trying for a quarter of an hour.
        Outcome::GenerationGone | Outcome::NonRepeatable | Outcome::ReassemblyLost | Outcome::RetryLimit => {
            Ok(Handled::reset(refusal, rx.segment))
        }
        _ if !C::ELSEWHERE && asks(rx.segment) => {
            expired::on_segment(engine.config, engine.cache, rx).ok_or(refusal.into())
        }
        _ => Err(refusal.into()),
    }
}

/// Handles a segment under one key.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see Engine::handle")]
fn attempt<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    key: &Key,
) -> Result<Handled<A::FetchId>, Stop> {
    let segment = rx.segment;
    let tcb = Tcb::read(key, rx.epochs.persistent, segment).ok_or(Outcome::BadCookie)?;
    let generation = engine.config.generations.ending_in(tcb.generation());
    if !generation.is_some_and(|generation| engine.application.select(generation, segment.tuple.server_port))
    {
        return Err(on_gone_generation(engine, rx, &tcb));
    }
    let advanced = advance(engine.cache, tcb, segment)?;
    if segment.length > 0 {
        if A::DEFERS {
            return Err(Stop::Defer);
        }
        return data::on_data(engine, rx, advanced);
    }
    on_control_segment(engine, rx, key, &advanced)
}

/// Nothing can be parsed any more. A client that begins anew knows both its numbers and its cookie; any other that is no
/// forger comes again.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see Engine::handle")]
fn on_gone_generation<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    tcb: &Tcb,
) -> Stop {
    let segment = rx.segment;
    if !asks(segment) {
        return Outcome::BadCookie.into();
    }
    if C::ELSEWHERE {
        return Stop::Defer;
    }
    let certain = segment.length > 0 && tcb.is_idle();
    let told = certain
        || engine.cache.is_retry_loop(fingerprint(engine.config, segment), ONCE_MORE, rx.now)
            && engine.cache.allow_unproven(rx.now);
    if told { Outcome::GenerationGone.into() } else { Outcome::BadCookie.into() }
}

/// A client may send the same again and again that cannot be answered.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see Engine::handle")]
fn on_refusal<C: ConnCache>(
    config: &TcpConfig,
    cache: &mut C,
    rx: &RxSegment<'_>,
    outcome: Outcome,
) -> Result<Outcome, Stop> {
    if !matches!(outcome, Outcome::OutOfOrder | Outcome::Misaligned) || !asks(rx.segment) {
        return Ok(outcome);
    }
    if C::ELSEWHERE {
        return Err(Stop::Defer);
    }
    let in_vain = cache.is_retry_loop(fingerprint(config, rx.segment), PATIENCE, rx.now);
    Ok(if in_vain && cache.allow_unproven(rx.now) { Outcome::RetryLimit } else { outcome })
}

/// Whether the segment takes sequence numbers.
#[inline]
fn asks(segment: &Segment) -> bool {
    segment.length > 0 || segment.flags.contains(Flags::FIN)
}

/// ACK alone, or FIN.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see Engine::handle")]
fn on_control_segment<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    key: &Key,
    tcb: &Tcb,
) -> Result<Handled<A::FetchId>, Stop> {
    let answer = tcb.on_control_segment(rx.segment)?;
    if !C::ELSEWHERE
        && tcb.is_beyond_rcv_nxt()
        && let Some(segment) = buffered(engine, rx.segment, tcb)
    {
        return data::on_buffered(engine, rx, key, &segment);
    }
    learn_received(engine.cache, rx.segment, tcb);
    Ok(Handled::one(Outcome::Confirmed, answer))
}

/// Bytes behind RCV.NXT that are buffered, where an ACK alone says that the client has the answers to everything before.
/// They are as good as sent again, and put into the assembly; returns the segment that they would come in.
fn buffered<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    segment: &Segment,
    tcb: &Tcb,
) -> Option<Segment> {
    if segment.flags.contains(Flags::FIN) || tcb.is_closing() || tcb.is_mid_message() {
        return None;
    }
    let pair = tcb.pair(segment);
    let bytes = engine.cache.buffered_from(tcb.connection(), pair)?;
    let length = u16::try_from(bytes.len()).ok()?;
    let end = pair.rcv_nxt.wrapping_add(u32::from(length));
    let sent = segment.seq.wrapping_sub(end).cast_signed() >= 0;
    sent.then(|| {
        engine.assembly.clear();
        engine.assembly.append(bytes);
        Segment { seq: pair.rcv_nxt, length, ..*segment }
    })
}

/// The connection as the client would echo it if it echoed everything that it has, where that is more than it does.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see Engine::handle")]
fn advance<C: ConnCache>(cache: &C, tcb: Tcb, segment: &Segment) -> Result<Tcb, Stop> {
    if !tcb.is_behind() || tcb.is_closing() {
        return Ok(tcb);
    }
    if C::ELSEWHERE {
        return Err(Stop::Defer);
    }
    let Some(entry) = cache.entry(tcb.connection()) else { return Ok(tcb) };
    let pair = entry.received(segment.ack).filter(|pair| tcb.precedes(pair.rcv_nxt, segment));
    let Some(pair) = pair else { return Ok(tcb) };
    let advanced = tcb.advanced_to(pair, segment);
    Ok(if entry.newest().snd_nxt == segment.ack { advanced.at_rest() } else { advanced })
}

/// Remembers that the client has everything before SND.NXT, but not a position inside a message as if one began there.
#[inline]
fn learn_received<C: ConnCache>(cache: &mut C, segment: &Segment, tcb: &Tcb) {
    if !tcb.is_mid_message() {
        cache.prove(tcb.connection(), tcb.pair(segment));
    }
}

/// Everything that answers depend on, at the beginning of the payload. Segments of ours hold `segment_size` bytes.
#[inline]
fn request_context(rx: &RxSegment<'_>, policy: FetchPolicy, segment_size: u16) -> RequestContext {
    RequestContext {
        origin: Origin { tuple: rx.segment.tuple, seq: rx.segment.seq },
        policy,
        persistent: true,
        whole: segment_size.min(WHOLE).into(),
        room: MAX_RESPONSE as usize,
    }
}

/// Identifies a segment of a connection: a client that has heard anything new sends another.
#[inline]
fn fingerprint(config: &TcpConfig, segment: &Segment) -> u64 {
    let heard = segment.options.timestamps.map_or(0, |timestamps| u64::from(timestamps.echo));
    // The same in every time slot.
    isn::connection(&config.keys.current, &segment.tuple)
        ^ heard.rotate_right(16)
        ^ (u64::from(segment.seq) << 32 | u64::from(segment.ack))
}

#[cfg(test)]
mod tests;
