//! A payload of a connection without timestamps: the first message, whole or in several segments.

use super::super::application::{
    Application, FetchPolicy, Framing, MAX_RESPONSE, Origin, RequestContext, Unavailable,
};
use super::super::conn_cache::{BufferedRange, ConnCache};
use super::super::isn;
use super::super::output::Reply;
use super::super::parser::prefetch;
use super::super::retry::PATIENCE;
use super::super::segment::{Flags, Segment};
use super::super::{AckPolicy, Assembly, Engine, Handled, Pending, RxSegment, Source, Stop, Transmit, WHOLE};
use super::{Request, Response, prove};
use crate::outcome::Outcome;

/// Bytes of a DNS length that is written by itself.
const PREFIX: u32 = 2;

/// Handles a segment with payload.
#[inline]
pub(in super::super) fn on_data<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
) -> Result<Handled<A::FetchId>, Stop> {
    let config = engine.config;
    let first = prove(&config.keys, &rx.epochs, &config.generations, rx.segment, 0)
        .and_then(|request| answer(engine, rx, false, request));
    let decided = first.or_else(|outcome| on_later_segment(engine, rx, outcome));
    match decided {
        Err(Outcome::RetryLimit) => Ok(Handled::reset(Outcome::RetryLimit, rx.segment)),
        decided => decided.map_err(Stop::Refuse),
    }
}

/// The response that answers all of the payload of `rx`, the first segment of a connection, which has not come yet.
pub(in super::super) fn early_reply<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
) -> Option<Reply> {
    let config = engine.config;
    let request = prove(&config.keys, &rx.epochs, &config.generations, rx.segment, 0).ok()?;
    let Found { response, .. } = find(engine, rx, false, request, FetchPolicy::CachedOnly).ok()?;
    let whole = response.complete && response.length > 0;
    whole.then(|| request.reply(config.ack_policy, rx.segment, response, config.segment_size).ok())?
}

/// Answers a stream, everything of the connection up to the end of the segment: the assembly, or the payload alone.
#[inline]
fn answer<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    assembled: bool,
    request: Request,
) -> Result<Handled<A::FetchId>, Outcome> {
    let (config, segment) = (engine.config, rx.segment);
    let ack_policy = config.ack_policy;
    let Found { response, messages, cut } = match find(engine, rx, assembled, request, rx.policy()) {
        Ok(found) => found,
        Err(Unavailable::NotCached) => return Err(Outcome::NonRepeatable),
        Err(Unavailable::Pending(fetch)) => {
            let acknowledges = ack_policy == AckPolicy::Classic && rx.source == Source::Client;
            let transmit = if acknowledges {
                Transmit::One(request.acknowledge_part(ack_policy, segment))
            } else {
                Transmit::Nothing
            };
            let pending = Pending { fetch, segment: *segment, range: 0..rx.payload.len(), assembled: false };
            return Ok(Handled { pending: Some(pending), ..Handled::new(Outcome::Pending, transmit) });
        }
    };
    // With bytes of an answer it is most likely a later segment that passes for the first one by chance.
    let part = cut && response.length == 0 && request.received == 0;
    if part
        && ack_policy == AckPolicy::Reliable
        && !segment.flags.contains(Flags::FIN)
        && buffer(engine, rx, assembled)
    {
        let ack = request.acknowledge_part(ack_policy, segment);
        return Ok(Handled { messages, ..Handled::one(Outcome::Buffered, ack) });
    }
    let mut reply = request.reply(ack_policy, segment, response, config.segment_size)?;
    if ack_policy == AckPolicy::Classic && rx.source == Source::Resumed {
        // It was acknowledged when it came.
        reply.next();
    }
    let outcome = if request.received == 0 { Outcome::Answered } else { Outcome::Resumed };
    let notes = [cut.then_some(Outcome::Incomplete), None];
    Ok(Handled { notes, messages, ..Handled::new(outcome, Transmit::Response(reply)) })
}

/// Buffers the beginning of a message. A client sends the rest only when this is acknowledged, or without waiting for it.
fn buffer<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    assembled: bool,
) -> bool {
    let Engine { config, application, cache, assembly } = engine;
    let stream = stream(assembly, rx, assembled);
    let connection = isn::connection(&config.keys.current, &rx.segment.tuple);
    let end = rx.segment.next();
    let range = BufferedRange { end, snd_nxt: rx.segment.ack, part: true };
    application.frame(stream) == Framing::Incomplete
        && (cache.buffered_before(connection, end) == Some(stream)
            || cache.buffer(connection, stream, range)
            || application.is_prefix(stream))
}

#[inline]
fn stream<'a>(assembly: &'a Assembly<'_>, rx: &RxSegment<'a>, assembled: bool) -> &'a [u8] {
    if assembled { assembly.bytes() } else { rx.payload }
}

/// Answers a segment that is not the first of its connection, and was refused with `outcome` as such, if it goes on inside
/// the first message.
fn on_later_segment<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    outcome: Outcome,
) -> Result<Handled<A::FetchId>, Outcome> {
    // One in some thousand looks like a first segment that acknowledges too much, one in 130 like one of old content.
    let may_be_later = matches!(
        outcome,
        Outcome::BadCookie
            | Outcome::GenerationGone
            | Outcome::BeyondResponse
            | Outcome::Misaligned
            | Outcome::NonRepeatable
    );
    if !may_be_later || engine.config.ack_policy != AckPolicy::Reliable {
        return Err(outcome);
    }
    match assemble(engine, rx) {
        Some((request, true)) => match answer(engine, rx, true, request) {
            Err(Outcome::NonRepeatable | Outcome::BeyondResponse) if is_retry_loop(engine, rx) => {
                Err(Outcome::RetryLimit)
            }
            decided => decided,
        },
        Some((request, false)) => reassembly_lost(engine, rx.segment, request),
        None if outcome != Outcome::Misaligned && is_retry_loop(engine, rx) => Err(Outcome::RetryLimit),
        None => Err(outcome),
    }
}

/// Ends a connection whose message is not known any more, and of whose answer the client has nothing.
fn reassembly_lost<A: Application, C: ConnCache>(
    engine: &Engine<'_, A, C>,
    segment: &Segment,
    request: Request,
) -> Result<Handled<A::FetchId>, Outcome> {
    let nothing = Response { length: 0, volatile: 0, complete: false };
    let reply = request.reply(engine.config.ack_policy, segment, nothing, engine.config.segment_size)?;
    Ok(Handled::new(Outcome::ReassemblyLost, Transmit::Response(reply)))
}

/// Puts the payload, behind the bytes of its connection before it, into the assembly. False if those are not known, none if
/// nothing is proven.
fn assemble<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
) -> Option<(Request, bool)> {
    let Engine { config, application, cache, assembly } = engine;
    let segment = rx.segment;
    let prove = |lead| prove(&config.keys, &rx.epochs, &config.generations, segment, lead).ok();
    assembly.clear();
    let connection = isn::connection(&config.keys.current, &segment.tuple);
    if let Some(before) = cache.buffered_before(connection, segment.seq) {
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_BUFFERED")]
        if let Some(request) = prove(before.len() as u32) {
            assembly.append(before);
            assembly.append(rx.payload);
            return Some((request, true));
        }
    }
    let request = prove(PREFIX)?;
    let served = application.select(request.generation, segment.tuple.server_port);
    if let Some(prefix) = application.prefix(rx.payload).filter(|_| served) {
        assembly.append(&prefix);
        assembly.append(rx.payload);
    }
    let known = assembly.length > 0;
    // It is too easily guessed that a client has bytes of an answer to be told to anybody.
    (request.received == 0 || known).then_some((request, known))
}

/// Whether a client sends the same again and again in vain: the bytes before it are not known, a middlebox merged the parts
/// that it sends, or it resends in other cuts. It need not be proven that there is a connection: RST is the answer of any
/// host to such a segment (RFC 9293 section 3.5.2), and is sent no more often than for others in doubt.
fn is_retry_loop<A, C: ConnCache>(engine: &mut Engine<'_, A, C>, rx: &RxSegment<'_>) -> bool {
    let segment = rx.segment;
    let sent = u64::from(segment.seq) << 32 | u64::from(segment.ack);
    // Segments that are the same from many addresses are no retries.
    let connection = isn::connection(&engine.config.keys.current, &segment.tuple);
    engine.cache.is_retry_loop(connection ^ sent, PATIENCE, rx.now) && engine.cache.allow_unproven(rx.now)
}

/// The messages of a stream.
struct Found {
    response: Response,
    /// Messages answered.
    messages: u32,
    /// The stream ends inside a message.
    cut: bool,
}

/// Answers all whole messages of the stream, as far as there is room: behind the first one, as much as the client's window
/// takes at once.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a response is at most MAX_RESPONSE bytes")]
fn find<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    assembled: bool,
    request: Request,
    policy: FetchPolicy,
) -> Result<Found, Unavailable<A::FetchId>> {
    let Engine { config, application, assembly, .. } = engine;
    let segment = rx.segment;
    application.truncate_responses(0);
    if !application.select(request.generation, segment.tuple.server_port) {
        let response = Response { length: 0, volatile: 0, complete: true };
        return Ok(Found { response, messages: 0, cut: false });
    }
    let stream = stream(assembly, rx, assembled);
    let seq = segment.seq.wrapping_add(segment.length.into()).wrapping_sub(stream.len() as u32);
    let whole = request.segment_size(config.segment_size).min(WHOLE);
    let context = RequestContext {
        origin: Origin { tuple: segment.tuple, seq },
        policy,
        persistent: false,
        whole: whole.into(),
        room: request.room(config.ack_policy, segment, config.segment_size) as usize,
    };
    let at_once = request.at_once(segment) as usize;
    let received = request.received as usize;
    let (mut at, mut volatile, mut messages) = (0, 0, 0);
    let (mut complete, mut cut) = (true, false);
    while at < stream.len() {
        let rest = &stream[at..];
        let Framing::Message(length) = application.frame(rest) else {
            cut = true;
            break;
        };
        let before = application.response_length();
        // Only the first answer may be refused for want of room. A refusal behind others would be taken back when the
        // request comes again with a larger window, while the client has bytes of the answers that followed it. And the
        // others may be cut anywhere.
        let (room, whole) =
            if messages == 0 { (context.room, context.whole) } else { (MAX_RESPONSE as usize, 0) };
        let policy = if before < received { FetchPolicy::Repeat } else { context.policy };
        let message = RequestContext { policy, whole, room, ..context.behind(at) };
        let answered = application.answer(&rest[..length], &message).inspect_err(|unavailable| {
            if matches!(unavailable, Unavailable::Pending(_)) {
                prefetch(*application, &context.behind(at), rest, length);
            }
        })?;
        let end = application.response_length();
        if end > at_once && messages > 0 {
            // No room for this one behind the others: the connection closes, and the client asks again for the answers
            // that it lacks (RFC 7766 section 6.2.4).
            application.truncate_responses(before);
            complete = false;
            break;
        }
        messages += 1;
        if before >= received {
            application.log_query(&rest[..length], before);
        }
        if answered.volatile > 0 {
            volatile = before + answered.volatile;
        }
        if answered.last {
            break;
        }
        at += length;
    }
    let length = application.response_length() as u32;
    let response = Response { length, volatile: volatile as u32, complete: complete && !cut };
    Ok(Found { response, messages, cut })
}
