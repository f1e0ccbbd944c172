//! Where one worker keeps what it has asked and not yet been told.

use super::RelayOptions;
use super::ask::{Ask, Disclosure, TooLong};
use super::backends::BackEnds;
use super::cache::Cache;
use super::channel::{Buffers, Channels};
use super::counts::{Count, Counts};
use super::flights::{Flights, State};
use super::proxy;
use super::stored::{Stored, Unfit};
use super::stream::{Letter, Stream};
use super::unpredictable::Unpredictable;
use crate::observe::snapshot::Occupancy;
use crate::services::dns::query::{Envelope, Question, Rcode};
use crate::services::retransmit_store::Sent;
use crate::services::{Context, FetchId, FetchIds};
use nix::errno::Errno;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// How often flights are looked through for those that take too long.
const SWEEP: Duration = Duration::from_millis(10);

/// How often a back end that is taken for dead is asked.
const PROBE: Duration = Duration::from_millis(500);

/// How often sockets are looked at while nothing is waited for: what comes then is late, and only to be thrown away.
const IDLE: Duration = Duration::from_millis(1);

/// IDs tried until one is free. That so many are taken is all but impossible.
const DRAWS: u32 = 64;

/// One worker's questions in flight, and its means to ask.
pub(super) struct Desk {
    /// The query at hand.
    pub(super) ask: Ask,
    /// Answers that clients may have a part of.
    pub(super) sent: Sent,
    pub(super) counts: Counts,
    disclosure: Disclosure,
    flights: Flights,
    channels: Channels,
    stream: Stream,
    back_ends: Arc<BackEnds>,
    tickets: FetchIds,
    random: Unpredictable,
    clock: Clock,
    patience: Duration,
    total: Duration,
    next_sweep: Duration,
    next_probe: Duration,
    next_idle: Duration,
    /// Flights that have ended, whose places are free at the next turn.
    ended: Vec<usize>,
    readable: Vec<u16>,
    buffers: Buffers,
}

/// What there is about the query at hand.
pub(super) enum Found {
    InFlight(FetchId),
    /// It was asked, and this is the answer, or none came.
    Ended(Option<Arc<Stored>>),
}

/// What a turn works on besides the desk.
pub(super) struct Surroundings<'a> {
    pub(super) cache: &'a Cache,
    /// Seconds since 1970.
    pub(super) seconds: u64,
    pub(super) ready: &'a mut Vec<FetchId>,
}

impl Desk {
    /// A desk with its sockets.
    pub(super) fn open(
        options: &RelayOptions,
        back_ends: Arc<BackEnds>,
        runtime: Handle,
    ) -> io::Result<Self> {
        let stream = Stream::new(runtime, options.patience)?;
        let buffers = Buffers::new(&back_ends);
        Ok(Self {
            ask: Ask::default(),
            sent: Sent::new(options.sent),
            counts: Counts::default(),
            disclosure: Disclosure { subnet: options.client_subnet, addresses: options.proxy },
            flights: Flights::new(options.in_flight),
            channels: Channels::open(&back_ends, stream.descriptor())?,
            stream,
            back_ends,
            tickets: FetchIds::new(),
            random: Unpredictable::new()?,
            clock: Clock::default(),
            patience: options.patience,
            total: options.total,
            next_sweep: Duration::ZERO,
            next_probe: Duration::ZERO,
            next_idle: Duration::ZERO,
            ended: Vec::new(),
            readable: Vec::new(),
            buffers,
        })
    }

    /// Readable when there is something to be done.
    pub(super) fn descriptor(&self) -> RawFd {
        self.channels.descriptor()
    }

    /// How full its tables are.
    pub(super) fn occupancies(&self) -> Vec<Occupancy> {
        vec![self.flights.occupancy(), self.sent.occupancy("dns_sent")]
    }

    /// Takes a query to hand, unless there is a code that answers it at once.
    pub(super) fn read(
        &mut self,
        envelope: &Envelope<'_>,
        question: &Result<Question, Rcode>,
        context: &Context,
    ) -> Result<(), Rcode> {
        let question = question.as_ref().map_err(|&rcode| rcode)?.of_anyone()?;
        // A signature (TSIG, SIG(0)) would not fit what goes on.
        if envelope.others {
            return Err(Rcode::Refused);
        }
        let composed = self.ask.compose(envelope, question, &context.origin.tuple, self.disclosure);
        composed.map_err(|TooLong| Rcode::Refused)
    }

    /// What there is about the query at hand.
    pub(super) fn find(&mut self) -> Option<Found> {
        let place = self.flights.find(&self.ask)?;
        let flight = self.flights.get(place);
        match (&flight.state, flight.ticket) {
            (State::Ended(outcome), _) => Some(Found::Ended(outcome.clone())),
            (_, Some(ticket)) => Some(Found::InFlight(ticket)),
            (_, None) => None,
        }
    }

    /// Asks the query at hand. None where no more can be in flight.
    pub(super) fn fetch(&mut self, context: &Context) -> Option<FetchId> {
        let now = self.clock.tell(context.now);
        let ticket = self.tickets.draw();
        let Some(place) = self.flights.begin(&self.ask, Some(ticket), context.origin.tuple, now) else {
            self.counts.add(Count::TableFull);
            return None;
        };
        self.try_next(place, now);
        self.probe(context);
        Some(ticket)
    }

    /// Asks the query at hand of a back end that is taken for dead, if it is time to, to see whether it answers.
    pub(super) fn probe(&mut self, context: &Context) {
        let now = self.clock.tell(context.now);
        if now < self.next_probe {
            return;
        }
        let Some(dead) = self.back_ends.dead(&mut self.random) else { return };
        self.next_probe = now + PROBE;
        if let Some(place) = self.flights.begin(&self.ask, None, context.origin.tuple, now) {
            self.send(place, dead, now);
        }
    }

    /// Sends, takes in, gives up; never waits.
    pub(super) fn turn(&mut self, now: SystemTime, around: &mut Surroundings<'_>) {
        let now = self.clock.tell(now);
        for place in self.ended.drain(..) {
            self.flights.release(place);
        }
        self.flush(now);
        if self.flights.any_active() || now >= self.next_idle {
            self.next_idle = now + IDLE;
            self.hear(now, around);
        }
        if now >= self.next_sweep && self.flights.any_active() {
            self.next_sweep = now + SWEEP;
            self.sweep(now, around);
        }
        self.flush(now);
    }

    /// Takes in what has come.
    fn hear(&mut self, now: Duration, around: &mut Surroundings<'_>) {
        let mut ready = std::mem::take(&mut self.readable);
        let mail = self.channels.poll(&mut ready);
        for channel in ready.drain(..) {
            self.receive(channel, now, around);
        }
        self.readable = ready;
        if mail {
            for letter in self.stream.letters() {
                self.open_letter(letter, now, around);
            }
        }
    }

    /// How long the worker may wait.
    pub(super) fn due(&mut self, now: SystemTime) -> Option<Duration> {
        let now = self.clock.tell(now);
        if self.channels.any_posted() {
            return Some(Duration::ZERO);
        }
        self.flights.any_active().then(|| self.next_sweep.saturating_sub(now))
    }

    fn flush(&mut self, now: Duration) {
        if !self.channels.any_posted() {
            return;
        }
        let mut refused = Vec::new();
        self.channels.flush(|back_end| refused.push(back_end));
        for back_end in refused {
            self.refused(back_end, now);
        }
    }

    fn receive(&mut self, channel: u16, now: Duration, around: &mut Surroundings<'_>) {
        let mut buffers = std::mem::take(&mut self.buffers);
        match self.channels.receive(channel, &mut buffers) {
            Ok(()) => buffers.iter().for_each(|datagram| self.take(channel, datagram, now, around)),
            Err(Errno::ECONNREFUSED) => self.refused(self.channels.back_end(channel), now),
            Err(_) => {}
        }
        self.buffers = buffers;
    }

    /// Takes in a datagram that came from a back end, or in its name.
    fn take(&mut self, channel: u16, datagram: &[u8], now: Duration, around: &mut Surroundings<'_>) {
        let Some(&id) = datagram.first_chunk() else { return self.counts.add(Count::Malformed) };
        let id = u16::from_be_bytes(id);
        let Some(place) = self.flights.waits(channel, id) else { return self.counts.add(Count::Late) };
        let flight = self.flights.get(place);
        let read = Stored::read(datagram, flight.ask.question(), around.seconds);
        let is_probe = flight.ticket.is_none();
        let is_over_tcp = matches!(flight.state, State::OverTcp);
        let after = now.saturating_sub(flight.asked);
        match read {
            Err(Unfit::Mismatched) => return self.counts.add(Count::Forged),
            Err(Unfit::Malformed) => return self.counts.add(Count::Malformed),
            Err(Unfit::Truncated) | Ok(_) => {}
        }
        let back_end = self.channels.back_end(channel);
        self.back_ends.answered(back_end, after);
        self.counts.add(Count::Answers);
        match read {
            Ok(stored) => self.end(place, Some(Arc::new(stored)), around),
            Err(_) if is_probe => self.end(place, None, around),
            Err(_) if is_over_tcp => {}
            Err(_) => self.ask_over_tcp(place, back_end, now),
        }
    }

    fn ask_over_tcp(&mut self, place: usize, back_end: usize, now: Duration) {
        self.counts.add(Count::OverTcp);
        let [high, low, ..] = self.random.draw().to_be_bytes();
        let flight = self.flights.get(place);
        flight.state = State::OverTcp;
        flight.deadline = (now + self.patience).min(flight.began + self.total);
        let client = self.disclosure.addresses.then_some(&flight.tuple);
        let id = u16::from_be_bytes([high, low]);
        self.stream.ask((place, flight.serial), self.back_ends.get(back_end), &flight.ask, id, client);
    }

    fn open_letter(&mut self, letter: Letter, now: Duration, around: &mut Surroundings<'_>) {
        let (place, serial) = letter.flight;
        let flight = self.flights.get(place);
        if flight.serial != serial || matches!(flight.state, State::Ended(_) | State::Free) {
            return self.counts.add(Count::Late);
        }
        let read =
            letter.outcome.ok().map(|message| Stored::read(&message, flight.ask.question(), around.seconds));
        if let Some(Ok(stored)) = read {
            self.counts.add(Count::Answers);
            return self.end(place, Some(Arc::new(stored)), around);
        }
        self.counts.add(Count::TcpFailed);
        if matches!(flight.state, State::OverTcp) {
            self.carry_on(place, now, around);
        }
    }

    /// Nobody listens at a back end: what waits for it is asked elsewhere at once, if there is anybody else alive.
    fn refused(&mut self, back_end: usize, now: Duration) {
        self.counts.add(Count::Unreachable);
        self.back_ends.failed(back_end);
        let mut from = 0;
        while let Some(place) = self.flights.waiting_for(from, back_end) {
            from = place + 1;
            let flight = self.flights.get(place);
            if flight.ticket.is_some() && self.back_ends.has_another(flight.tried) {
                self.try_next(place, now);
            }
        }
    }

    fn sweep(&mut self, now: Duration, around: &mut Surroundings<'_>) {
        let mut from = 0;
        while let Some(place) = self.flights.overdue(from, now) {
            from = place + 1;
            let flight = self.flights.get(place);
            if matches!(flight.state, State::Waiting) {
                self.counts.add(Count::TimedOut);
                self.back_ends.failed(flight.back_end);
            }
            self.carry_on(place, now, around);
        }
    }

    /// The present try of a flight has come to nothing.
    fn carry_on(&mut self, place: usize, now: Duration, around: &mut Surroundings<'_>) {
        let flight = self.flights.get(place);
        let in_time = now < flight.began + self.total;
        // While nobody answers, what is kept is given rather than nothing, and rather soon than late (RFC 8767 section 5).
        let kept = || !self.back_ends.any_alive() && around.cache.get(flight.ask.key()).is_some();
        if flight.ticket.is_none() {
            self.end(place, None, around);
        } else if in_time && !kept() {
            self.try_next(place, now);
        } else {
            self.counts.add(Count::Failed);
            self.end(place, None, around);
        }
    }

    /// Asks the next back end.
    fn try_next(&mut self, place: usize, now: Duration) {
        let tried = self.flights.get(place).tried;
        let back_end = self.back_ends.choose(&mut self.random, tried);
        self.send(place, back_end, now);
    }

    fn send(&mut self, place: usize, back_end: usize, now: Duration) {
        let flight = self.flights.get(place);
        flight.state = State::Waiting;
        flight.back_end = back_end;
        flight.asked = now;
        flight.tried.add(back_end);
        flight.deadline = (now + self.patience).min(flight.began + self.total);
        let channel = self.channels.choose(back_end, now, &mut self.random);
        // Where no ID is free, the try is one that was lost.
        let mut ids = (0..DRAWS)
            .map(|_| self.random.draw().to_be_bytes())
            .map(|[high, low, ..]| u16::from_be_bytes([high, low]));
        let Some(id) = ids.find(|&id| self.flights.expect(place, channel, id)) else { return };
        let flight = self.flights.get(place);
        let payload = self.back_ends.get(back_end).payload;
        let told = self.disclosure.addresses;
        self.channels.post(channel, |out| {
            if told {
                proxy::push(&flight.tuple, out);
            }
            flight.ask.write(id, payload, out);
        });
        self.counts.add(Count::Queries);
    }

    /// Ends a flight: whoever waits for it is called.
    fn end(&mut self, place: usize, outcome: Option<Arc<Stored>>, around: &mut Surroundings<'_>) {
        if let Some(stored) = &outcome {
            around.cache.put(self.flights.get(place).ask.key(), stored);
        }
        let ticket = self.flights.end(place, outcome, |channel| self.channels.close(channel));
        self.ended.push(place);
        around.ready.extend(ticket);
    }
}

/// Time that only goes forward, told by a clock that may be set: what it loses does not count.
#[derive(Debug, Default)]
struct Clock {
    last: Option<SystemTime>,
    passed: Duration,
}

impl Clock {
    /// How long it has been going.
    fn tell(&mut self, now: SystemTime) -> Duration {
        let step = self.last.and_then(|last| now.duration_since(last).ok());
        self.passed += step.unwrap_or_default();
        self.last = Some(now);
        self.passed
    }
}
