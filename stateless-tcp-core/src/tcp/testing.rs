//! An application and a cache for the tests of this module.

use super::application::{Answered, Application, Framing, RequestContext, Unavailable};
use super::conn_cache::{BufferedRange, ConnCache};
use super::conn_entry::{ConnEntry, SeqPair};
use super::epoch::{CONNECTION_LIFETIME as LIFETIME, Epochs};
use super::output::TxSegment;
use super::segment::Segment;
use super::{Assembly, Engine, Handled, RxSegment, Source, TcpConfig};
use crate::outcome::Outcome;
use core::time::Duration;
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

/// The present.
pub(crate) const NOW: Duration = Duration::from_secs(1_700_000_000);

/// The time slots of the present.
pub(crate) fn epochs() -> Epochs {
    Epochs::at(NOW, LIFETIME)
}

/// Takes each payload for one message, and answers it by so many bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FixedLength {
    /// Bytes of each response.
    pub(crate) each: usize,
    /// Of them those that may change.
    pub(crate) volatile: usize,
    /// Messages are of one byte each.
    pub(crate) bytewise: bool,
    /// Bytes of all responses.
    pub(crate) length: usize,
}

impl FixedLength {
    pub(crate) fn new(each: usize) -> Self {
        Self { each, ..Self::default() }
    }
}

impl Application for FixedLength {
    type FetchId = ();

    fn select(&mut self, _: u8, _: u16) -> bool {
        true
    }

    fn frame(&self, stream: &[u8]) -> Framing {
        Framing::Message(if self.bytewise { 1 } else { stream.len() })
    }

    fn starts_message(&self, _: &[u8]) -> bool {
        true
    }

    fn is_prefix(&self, _: &[u8]) -> bool {
        false
    }

    fn prefix(&self, _: &[u8]) -> Option<[u8; 2]> {
        None
    }

    /// Heeds no room: the protocol has to see by itself that a window is too small.
    fn answer(&mut self, _: &[u8], _: &RequestContext) -> Result<Answered, Unavailable<()>> {
        self.length += self.each;
        Ok(Answered { volatile: self.volatile, last: false })
    }

    fn prefetch(&mut self, _: &[u8], _: &RequestContext) {}

    fn log_query(&mut self, _: &[u8], _: usize) {}

    fn response_length(&self) -> usize {
        self.length
    }

    fn truncate_responses(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    fn drop_responses(&mut self, length: usize) {
        self.length -= length;
    }
}

/// Remembers everything.
#[derive(Debug, Default)]
pub(crate) struct Unlimited {
    /// Or nothing.
    pub(crate) refuses: bool,
    /// Takes every segment for one that came before.
    pub(crate) in_vain: bool,
    entries: HashMap<u64, ConnEntry>,
    buffers: HashMap<u64, (Vec<u8>, BufferedRange)>,
}

impl ConnCache for Unlimited {
    fn entry(&self, connection: u64) -> Option<&ConnEntry> {
        self.entries.get(&connection)
    }

    fn store(&mut self, connection: u64, entry: ConnEntry) {
        self.entries.insert(connection, entry);
    }

    fn can_buffer(&self, _: usize) -> bool {
        !self.refuses
    }

    fn buffer(&mut self, connection: u64, bytes: &[u8], range: BufferedRange) -> bool {
        self.buffers.insert(connection, (bytes.to_vec(), range));
        true
    }

    fn buffered_until(&self, connection: u64, end: u32) -> Option<(&[u8], BufferedRange)> {
        let (bytes, range) = self.buffers.get(&connection).filter(|(_, range)| range.end == end)?;
        Some((bytes, *range))
    }

    fn buffered_from(&self, connection: u64, pair: SeqPair) -> Option<&[u8]> {
        let (bytes, range) = self.buffers.get(&connection)?;
        let start = range.end.wrapping_sub(u32::try_from(bytes.len()).ok()?);
        (start == pair.rcv_nxt && range.snd_nxt == pair.snd_nxt).then_some(&bytes[..])
    }

    fn buffered_before(&self, connection: u64, seq: u32) -> Option<&[u8]> {
        let (bytes, range) = self.buffers.get(&connection)?;
        bytes.len().checked_sub(range.end.wrapping_sub(seq) as usize).map(|length| &bytes[..length])
    }

    fn drop_buffered(&mut self, connection: u64) {
        self.buffers.remove(&connection);
    }

    fn is_retry_loop(&mut self, _: u64, _: u8, _: Duration) -> bool {
        self.in_vain
    }

    fn allow_unproven(&mut self, _: Duration) -> bool {
        true
    }
}

/// Handles `segment`, with a payload of zeros.
pub(crate) fn handle<A: Application, C: ConnCache>(
    config: &TcpConfig,
    segment: &Segment,
    application: &mut A,
    cache: &mut C,
) -> Handled<A::FetchId> {
    handle_at(NOW, config, segment, application, cache)
}

/// The same at `now`.
pub(crate) fn handle_at<A: Application, C: ConnCache>(
    now: Duration,
    config: &TcpConfig,
    segment: &Segment,
    application: &mut A,
    cache: &mut C,
) -> Handled<A::FetchId> {
    let payload = vec![0; segment.length.into()];
    let mut memory = vec![0; Assembly::CAPACITY];
    let engine = Engine { config, application, cache, assembly: Assembly::new(&mut memory) };
    let epochs = Epochs::at(now, LIFETIME);
    let rx = RxSegment { now, epochs, segment, payload: &payload, source: Source::Client, crowded: false };
    engine.handle(&rx).expect("nothing is deferred")
}

/// The segments that answer `segment` with a response of `length` bytes, or the reason for silence.
pub(crate) fn answer(
    config: &TcpConfig,
    segment: &Segment,
    length: usize,
) -> Result<Vec<TxSegment>, Outcome> {
    let handled = handle(config, segment, &mut FixedLength::new(length), &mut Unlimited::default());
    let sent: Vec<_> = handled.transmit.collect();
    if sent.is_empty() { Err(handled.outcome) } else { Ok(sent) }
}
