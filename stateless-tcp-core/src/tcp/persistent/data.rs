//! A payload of a connection with timestamps: its messages are parsed, answered, and what is not answered is buffered.

use super::super::application::{Application, FetchPolicy};
use super::super::conn_cache::{BufferedRange, ConnCache};
use super::super::conn_entry::{ConnEntry, SeqPair};
use super::super::isn::Key;
use super::super::output::{Reply, TxSegment};
use super::super::parser::{ParseLimits, Parsed};
use super::super::segment::{Flags, Segment};
use super::super::tcb::{Control, MAX_UNACKED, ParsedMessages, SegmentClass, Tcb};
use super::super::ts_cookie::TsState;
use super::super::{Assembly, Engine, Handled, Pending, RxSegment, Source, Stop, Transmit};
use super::{advance, learn_received, request_context};
use crate::outcome::Outcome;

/// Handles a segment with payload.
#[inline]
pub(super) fn on_data<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    tcb: Tcb,
) -> Result<Handled<A::FetchId>, Stop> {
    let mut handler = DataHandler::new(engine, *rx, tcb, rx.policy());
    match tcb.classify(rx.segment) {
        SegmentClass::Beyond => handler.answer_ahead(),
        SegmentClass::MidMessage => handler.go_on(),
        SegmentClass::AroundRcvNxt(offset) => match handler.parse_around(offset) {
            Some(messages) => handler.answer(&messages),
            None => handler.control(tcb.on_unparsable(rx.segment)?),
        },
        SegmentClass::Decided(control) => handler.control(control?),
    }
}

/// Handles the bytes in the assembly, which were buffered, as if the client had sent them again in `segment`.
pub(super) fn on_buffered<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    key: &Key,
    segment: &Segment,
) -> Result<Handled<A::FetchId>, Stop> {
    let Engine { config, application, cache, assembly } = engine;
    let tcb = Tcb::read(key, rx.epochs.persistent, segment).ok_or(Outcome::BadCookie)?;
    let tcb = advance(*cache, tcb, segment)?;
    let length = assembly.length;
    let (payload, memory) = assembly.memory.split_at_mut(length);
    let assembly = Assembly::new(memory);
    let mut engine = Engine { config, application: &mut **application, cache: &mut **cache, assembly };
    let again = RxSegment { segment, payload, source: Source::Reassembled, ..*rx };
    let mut handled = on_data(&mut engine, &again, tcb)?;
    if let Some(Pending { range, assembled, .. }) = &mut handled.pending {
        if *assembled {
            *range = range.start + length..range.end + length;
        }
        *assembled = true;
    }
    Ok(handled)
}

/// The response that answers all of the payload of `rx`, the first segment of a connection, which has not come yet. Nothing
/// is remembered of it: a SYN may be an old one, sent again by anybody.
pub(in super::super) fn early_reply<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
) -> Option<Reply> {
    let (config, segment) = (engine.config, rx.segment);
    let tcb = Tcb::read(&config.keys.current, rx.epochs.persistent, segment)?;
    if !engine.application.select(config.generations.current(), segment.tuple.server_port) {
        return None;
    }
    let mut handler = DataHandler::new(engine, *rx, tcb, FetchPolicy::CachedOnly);
    let messages = handler.parse(Stream::Payload, 0, 0)?;
    let whole = messages.last || messages.end == segment.length;
    if !whole || messages.new == 0 {
        return None;
    }
    tcb.build_reply(segment, &messages, &handler.parsed.spans, config.segment_size).ok()
}

/// Place of the bytes that are parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// The segment's payload.
    Payload,
    /// The assembly, which ends with the payload.
    Assembly,
}

/// One segment with payload, and its connection.
struct DataHandler<'e, 'a, A: Application, C> {
    engine: &'e mut Engine<'a, A, C>,
    rx: RxSegment<'e>,
    tcb: Tcb,
    policy: FetchPolicy,
    parsed: Parsed<A::FetchId>,
    pending: Option<Pending<A::FetchId>>,
}

impl<'e, 'a, A: Application, C: ConnCache> DataHandler<'e, 'a, A, C> {
    #[inline]
    fn new(engine: &'e mut Engine<'a, A, C>, rx: RxSegment<'e>, tcb: Tcb, policy: FetchPolicy) -> Self {
        Self { engine, rx, tcb, policy, parsed: Parsed::new(), pending: None }
    }

    #[inline]
    fn handled(&mut self, outcome: Outcome, transmit: Transmit) -> Handled<A::FetchId> {
        Handled { pending: self.pending.take(), ..Handled::new(outcome, transmit) }
    }

    fn control(&mut self, control: Control) -> Result<Handled<A::FetchId>, Stop> {
        if control.unproven && !self.engine.cache.allow_unproven(self.rx.now) {
            return Err(Outcome::Misaligned.into());
        }
        learn_received(self.engine.cache, self.rx.segment, &self.tcb);
        Ok(self.handled(Outcome::Confirmed, Transmit::One(control.segment)))
    }

    /// Parses the messages around RCV.NXT, which is `offset` bytes into the payload. If the payload begins inside a message,
    /// that message's beginning may be buffered.
    #[inline]
    fn parse_around(&mut self, offset: usize) -> Option<ParsedMessages> {
        if offset == 0 || self.engine.application.starts_message(self.rx.payload) {
            return self.parse(Stream::Payload, 0, offset);
        }
        let lead = self.assemble()?;
        self.parse(Stream::Assembly, lead, lead + offset)
    }

    /// Puts the payload, behind the bytes of its message that went before it, into the assembly. Returns their number.
    fn assemble(&mut self) -> Option<usize> {
        let Engine { application, cache, assembly, .. } = &mut *self.engine;
        assembly.clear();
        let buffered = cache.buffered_until(self.tcb.connection(), self.rx.segment.seq);
        if let Some((bytes, _)) = buffered.filter(|(_, range)| range.part) {
            assembly.append(bytes);
        } else {
            assembly.append(&application.prefix(self.rx.payload)?);
        }
        let lead = assembly.length;
        assembly.append(self.rx.payload);
        Some(lead)
    }

    /// Answers a payload that holds the messages around RCV.NXT.
    #[inline]
    fn answer(&mut self, messages: &ParsedMessages) -> Result<Handled<A::FetchId>, Stop> {
        let snd_nxt = self.tcb.snd_nxt(self.rx.segment);
        if self.stands_at_head(messages)
            && (self.buffer(messages, Stream::Payload, snd_nxt) || messages.prefix)
        {
            return Ok(self.acknowledge_part());
        }
        if self.tcb.is_unproven(messages) && !self.engine.cache.allow_unproven(self.rx.now) {
            return Err(Outcome::Misaligned.into());
        }
        let buffered = messages.incomplete && self.can_buffer(messages);
        let messages = ParsedMessages { buffered, ..*messages };
        let mut handled = match self.reply(&messages) {
            // A client that lacks nothing has more than anybody remembers: it cannot be answered, and nothing would change that.
            Err(Outcome::OutOfOrder)
                if self.tcb.unacked() > 0 && self.tcb.rcv_nxt(self.rx.segment) == self.rx.segment.seq =>
            {
                // It is answered when the client has the answers before it.
                let nothing = ParsedMessages { rest: self.rx.payload.len(), ..ParsedMessages::default() };
                if !self.buffer(&nothing, Stream::Payload, snd_nxt) {
                    return Err(Outcome::OutOfOrder.into());
                }
                return Ok(self.handled(Outcome::Buffered, Transmit::Nothing));
            }
            handled => handled?,
        };
        handled.pending = self.waiting(Stream::Payload, messages.end.into());
        if !self.buffer(&messages, Stream::Payload, snd_nxt.wrapping_add(messages.new))
            && self.rx.source == Source::Reassembled
        {
            self.engine.cache.drop_buffered(self.tcb.connection());
        }
        Ok(handled)
    }

    /// Answers a payload that goes on inside a message.
    fn go_on(&mut self) -> Result<Handled<A::FetchId>, Stop> {
        if let Some(end) = self.tcb.on_segment_after_fin(self.rx.segment) {
            return Ok(self.handled(Outcome::Confirmed, Transmit::One(end?)));
        }
        let Some(lead) = self.assemble() else { return self.reassembly_lost() };
        let messages = self.parse(Stream::Assembly, lead, 0).ok_or(Outcome::Misaligned)?;
        let buffered = messages.incomplete && self.can_buffer(&messages);
        let messages = ParsedMessages { prefix: false, buffered, ..messages };
        let mut handled = match messages.incomplete && messages.end == 0 {
            true if buffered && self.stands_at_head(&messages) => self.acknowledge_part(),
            true => return self.reassembly_lost(),
            false => self.reply(&messages)?,
        };
        handled.pending = self.waiting(Stream::Payload, messages.end.into());
        if messages.end > 0 || handled.pending.is_none() {
            let snd_nxt = self.tcb.snd_nxt(self.rx.segment).wrapping_add(messages.new);
            self.buffer(&messages, Stream::Assembly, snd_nxt);
        }
        Ok(handled)
    }

    /// Answers a payload that goes on inside a message whose beginning, or this part, is not buffered.
    fn reassembly_lost(&mut self) -> Result<Handled<A::FetchId>, Stop> {
        let fin = self.tcb.reassembly_lost(self.rx.segment, self.engine.config.segment_size)?;
        Ok(self.handled(Outcome::ReassemblyLost, Transmit::One(fin)))
    }

    /// Sends the answers to `messages`, as far as the client lacks them.
    #[inline]
    fn reply(&mut self, messages: &ParsedMessages) -> Result<Handled<A::FetchId>, Outcome> {
        let (segment, tcb) = (self.rx.segment, &self.tcb);
        if self.parsed.gone {
            return Err(Outcome::NonRepeatable);
        }
        let end = segment.seq.wrapping_add(u32::from(messages.end));
        if self.parsed.pending.is_some() && end == tcb.rcv_nxt(segment) && tcb.unacked() == 0 {
            learn_received(self.engine.cache, segment, tcb);
            return Ok(self.handled(Outcome::Pending, Transmit::Nothing));
        }
        // Its time is over: the first reply that leaves nothing unanswered is the last one.
        let over = self.rx.epochs.is_ending(tcb.slot()) && messages.new > 0 && messages.rest == 0;
        let messages = &ParsedMessages { last: messages.last || over, ..*messages };
        let reply =
            tcb.build_reply(segment, messages, &self.parsed.spans, self.engine.config.segment_size)?;
        if messages.new > 0 && !messages.last {
            self.learn_reply(end, &reply);
        }
        Ok(Handled {
            notes: [messages.incomplete.then_some(Outcome::Incomplete), None],
            messages: self.message_count(),
            ..Handled::new(
                if messages.new > 0 { Outcome::Answered } else { Outcome::Resumed },
                Transmit::Response(reply),
            )
        })
    }

    /// Remembers where the answers to the messages before `end` end, and whether a cookie covers them.
    #[inline]
    fn learn_reply(&mut self, end: u32, reply: &Reply) {
        let (tcb, connection) = (&self.tcb, self.tcb.connection());
        let (acknowledged, snd_nxt) = (reply.acknowledged(), reply.snd_nxt());
        let beyond = acknowledged.wrapping_sub(end).cast_signed();
        let state = if beyond >= 0 { TsState::Acked } else { TsState::AckPending };
        let covered = !tcb.is_mid_message() && reply.lacking() <= MAX_UNACKED;
        let sent = (beyond >= 0 || covered).then_some(state);
        self.engine.cache.learn(connection, SeqPair { rcv_nxt: end, snd_nxt }, sent);
        if beyond > 0 {
            // And the beginning of the next message.
            self.engine.cache.note_mid_message(connection, SeqPair { rcv_nxt: acknowledged, snd_nxt });
        }
        if sent.is_none() && tcb.is_mid_message() {
            self.engine.cache.note_mid_message(connection, tcb.pair(self.rx.segment));
        }
    }

    /// Answers a payload beyond RCV.NXT, if it is remembered where the answers before it end.
    fn answer_ahead(&mut self) -> Result<Handled<A::FetchId>, Stop> {
        let segment = self.rx.segment;
        let connection = self.tcb.connection();
        let entry = self.engine.cache.entry(connection).copied();
        if let Some(proven) = entry.as_ref().and_then(ConnEntry::proven)
            && self.tcb.precedes(proven.rcv_nxt, segment)
        {
            self.tcb = self.tcb.advanced_to(proven, segment);
        }
        let (stream, lead, snd_nxt, part);
        if let Some(pair) = entry.as_ref().and_then(|entry| entry.at(segment.seq)) {
            (stream, lead, snd_nxt, part) = (Stream::Payload, 0, pair.snd_nxt, true);
        } else {
            // Or it goes on behind buffered bytes.
            let Engine { cache, assembly, .. } = &mut *self.engine;
            let (bytes, range) = cache.buffered_until(connection, segment.seq).ok_or(Outcome::OutOfOrder)?;
            if range.part && segment.ack.wrapping_sub(range.snd_nxt).cast_signed() >= 0 {
                let pair = SeqPair { rcv_nxt: segment.seq, snd_nxt: range.snd_nxt };
                self.tcb = self.tcb.advanced_into(pair, segment);
                return self.go_on();
            }
            assembly.clear();
            assembly.append(bytes);
            assembly.append(self.rx.payload);
            (stream, lead, snd_nxt, part) = (Stream::Assembly, bytes.len(), range.snd_nxt, range.part);
        }
        let messages = if part { self.parse_beyond(snd_nxt, stream, lead) } else { None };
        let messages = messages.unwrap_or_else(|| {
            self.parsed.clear(self.engine.application);
            ParsedMessages::default()
        });
        let sent = entry.and_then(|entry| entry.sent());
        let size = self.engine.config.segment_size;
        if let Ok(reply) = self.tcb.reply_ahead(segment, snd_nxt, &messages, sent, size) {
            let rcv_nxt = segment.seq.wrapping_add(u32::from(messages.end));
            self.engine.cache.learn(connection, SeqPair { rcv_nxt, snd_nxt: reply.snd_nxt() }, None);
            learn_received(self.engine.cache, segment, &self.tcb);
            self.buffer(&messages, stream, reply.snd_nxt());
            self.pending = self.waiting(stream, self.parsed.reached);
            let messages = self.message_count();
            return Ok(Handled {
                messages,
                ..self.handled(Outcome::AnsweredAhead, Transmit::Response(reply))
            });
        }
        let nothing_parsed = self.parsed.spans.is_empty();
        if nothing_parsed {
            self.pending = self.waiting(stream, 0);
        }
        // It is answered when the client has the answers before it.
        let incomplete = part && messages.incomplete && nothing_parsed;
        let rest = self.bytes(stream).len();
        let nothing = ParsedMessages { incomplete, rest, ..ParsedMessages::default() };
        if self.buffer(&nothing, stream, snd_nxt) {
            return Ok(self.handled(Outcome::Buffered, Transmit::Nothing));
        }
        if self.pending.is_some() {
            return Ok(self.handled(Outcome::OutOfOrder, Transmit::Nothing));
        }
        Err(Outcome::OutOfOrder.into())
    }

    #[inline]
    fn bytes(&self, stream: Stream) -> &[u8] {
        match stream {
            Stream::Payload => self.rx.payload,
            Stream::Assembly => self.engine.assembly.bytes(),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most as many as a payload has bytes")]
    fn message_count(&self) -> u32 {
        self.parsed.spans.len() as u32
    }

    /// The message that begins `offset` bytes into `stream` waits, if it is pending. It is as if the client had sent the
    /// messages before it only: these are answered.
    fn waiting(&self, stream: Stream, offset: usize) -> Option<Pending<A::FetchId>> {
        let fetch = self.parsed.pending?;
        let range = offset..self.bytes(stream).len();
        let length = u16::try_from(range.len()).ok()?;
        let segment = self.rx.segment;
        let end = segment.seq.wrapping_add(segment.length.into());
        let segment = Segment { seq: end.wrapping_sub(length.into()), length, ..*segment };
        Some(Pending { fetch, segment, range, assembled: stream == Stream::Assembly })
    }

    /// Whether the payload ends in a message that stands at the head of the client's stream, and whose rest it will send
    /// only when this is acknowledged: a client resends as it sent.
    #[inline]
    fn stands_at_head(&self, messages: &ParsedMessages) -> bool {
        let fin = self.rx.segment.flags.contains(Flags::FIN);
        messages.incomplete && messages.end == 0 && !fin && self.tcb.is_idle()
    }

    /// Whether the bytes of the payload that were not answered can be buffered. FIN behind them is not: the client sends it
    /// again. But nothing comes before it that would go on with a part of a message.
    #[inline]
    fn can_buffer(&self, messages: &ParsedMessages) -> bool {
        let ends_inside = messages.incomplete && self.rx.segment.flags.contains(Flags::FIN);
        let goes_on = !messages.last && !ends_inside && !self.tcb.is_closing();
        messages.rest > 0 && goes_on && self.engine.cache.can_buffer(messages.rest)
    }

    /// Buffers the bytes of `stream` that were not answered, where the answers before them end at `snd_nxt`.
    #[inline]
    fn buffer(&mut self, messages: &ParsedMessages, stream: Stream, snd_nxt: u32) -> bool {
        let segment = self.rx.segment;
        // Not in the place of a beginning whose answer the window has no room for: it will be asked for again.
        let edge = segment.ack.wrapping_add(segment.window.into());
        let needed = self.tcb.is_mid_message() && snd_nxt.wrapping_sub(edge).cast_signed() > 0;
        if needed || !self.can_buffer(messages) {
            return false;
        }
        let Engine { cache, assembly, .. } = &mut *self.engine;
        let bytes = match stream {
            Stream::Payload => self.rx.payload,
            Stream::Assembly => assembly.bytes(),
        };
        let end = segment.seq.wrapping_add(u32::from(segment.length));
        let range = BufferedRange { end, snd_nxt, part: messages.incomplete };
        cache.buffer(self.tcb.connection(), &bytes[bytes.len() - messages.rest..], range)
    }

    fn acknowledge_part(&mut self) -> Handled<A::FetchId> {
        let (segment, connection) = (self.rx.segment, self.tcb.connection());
        let snd_nxt = self.tcb.snd_nxt(segment);
        if !self.tcb.is_mid_message() {
            self.engine.cache.learn(connection, SeqPair { rcv_nxt: segment.seq, snd_nxt }, None);
        }
        self.engine.cache.note_mid_message(connection, SeqPair { rcv_nxt: segment.next(), snd_nxt });
        let ack: TxSegment = self.tcb.acknowledge_part(segment);
        self.handled(Outcome::Buffered, Transmit::One(ack))
    }

    /// Parses `stream`, a payload behind the `lead` bytes that went before it, of all of which the first `rcv_nxt` bytes are
    /// covered by the cookie.
    #[inline]
    fn parse(&mut self, stream: Stream, lead: usize, rcv_nxt: usize) -> Option<ParsedMessages> {
        self.parse_with(stream, lead, rcv_nxt, self.tcb.stream_delta(), self.tcb.beyond())
    }

    /// Parses `stream`, a payload beyond RCV.NXT behind the `lead` bytes that went before it, whose answers begin at
    /// `snd_nxt`.
    fn parse_beyond(&mut self, snd_nxt: u32, stream: Stream, lead: usize) -> Option<ParsedMessages> {
        let segment = self.rx.segment;
        let beyond = segment.ack.wrapping_sub(snd_nxt).cast_signed().max(0).cast_unsigned();
        let stream_delta = self.tcb.stream_delta_at(snd_nxt, segment);
        let messages = self.parse_with(stream, lead, 0, stream_delta, beyond)?;
        // Bytes that change stay in one segment.
        let changes = self.parsed.spans.iter().any(|span| span.volatile > 0);
        (!changes || messages.new <= u32::from(self.segment_size())).then_some(messages)
    }

    #[inline]
    fn segment_size(&self) -> u16 {
        self.tcb.segment_size(self.engine.config.segment_size)
    }

    #[inline]
    fn parse_with(
        &mut self,
        stream: Stream,
        lead: usize,
        rcv_nxt: usize,
        stream_delta: i32,
        beyond: u32,
    ) -> Option<ParsedMessages> {
        let segment_size = self.segment_size();
        let mut context = request_context(&self.rx, self.policy, segment_size);
        #[expect(clippy::cast_possible_truncation, reason = "buffered bytes are few")]
        let seq = context.origin.seq.wrapping_sub(lead as u32);
        context.origin.seq = seq;
        let limits = ParseLimits {
            lead,
            rcv_nxt,
            closing: self.tcb.is_closing(),
            unacked: self.tcb.unacked() as usize,
            beyond: beyond as usize,
            stream_delta,
            segment_size: segment_size.into(),
            window: self.rx.segment.window.into(),
        };
        let Engine { application, assembly, .. } = &mut *self.engine;
        let bytes = match stream {
            Stream::Payload => self.rx.payload,
            Stream::Assembly => assembly.bytes(),
        };
        self.parsed.parse(*application, &context, bytes, &limits)
    }
}
