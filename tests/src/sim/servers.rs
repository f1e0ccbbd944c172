//! The servers: the real core, several of one key, and what must hold of everything they send.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc, time::Duration};

use stateless_tcp::dataplane::engine::{Arrival, DeferredSegment, Source, TcpEngine};
use stateless_tcp::dataplane::pending::{PendingRequest, PendingRequests};
use stateless_tcp::observe::counters::Counters;
use stateless_tcp::services::{Service, Upstream};
use stateless_tcp::serving::{AnswerPolicy, Content, History, ServingState};
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::isn::{Key, Keys, MssClass};
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::{Address, Flags, FourTuple, Options, Segment, Timestamps};
use stateless_tcp_core::tcp::ts_cookie::{Mask, TsCookie, TsState};

use super::{
    client::Profile,
    clocks::Clocks,
    packet::{Micros, Position, SimSegment, position},
    question::{Style, Toy, VOLATILE},
    relay::Relay,
    scenario::Scenario,
};
use crate::seed::Random;

/// The DNS-like service's address.
const DNS_PORT: u16 = 53;
/// The HTTP-like service's address.
const HTTP_PORT: u16 = 80;
/// Bytes of the timestamps option with its padding.
const TIMESTAMPS: u16 = 12;
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Servers that are interchangeable.
pub struct Servers {
    exchanges: Vec<TcpEngine>,
    counters: Counters,
    /// Requests that wait for the relay.
    parking: PendingRequests<()>,
    relay: Option<Arc<Relay>>,
    offer: Arc<ServingState>,
    segment_size: u16,
    server_port: u16,
    history: History,
    /// Which content new connections get.
    generation: u8,
    /// When other content took the place of each.
    replaced: HashMap<u8, Micros>,
    clocks: Clocks,
}

/// The time that replaced content is kept.
pub const KEEP: Micros = 60_000_000;

impl Servers {
    /// The servers of a scenario. What takes them how long is drawn from `random`.
    pub fn new(scenario: &Scenario, random: Random) -> Self {
        let &Scenario { servers, segment_size, hints, ref plan, ref clocks, .. } = scenario;
        let relay = scenario.relay.map(|manner| Arc::new(Relay::new(plan.style, manner, random)));
        let generation = 0;
        let keys = Keys { current: Key(*b"sixteen octets !"), previous: None };
        let policy = AnswerPolicy {
            rules: AckPolicy::Reliable,
            keys,
            segment_size,
            hints,
            fast_open: false,
            connection_lifetime: clocks.lifetime,
        };
        let offer = Arc::new(ServingState::new(content(generation, relay.as_ref()), policy));
        Self {
            exchanges: (0..servers).map(|_| TcpEngine::new(0, Arc::clone(&offer))).collect(),
            counters: Counters::default(),
            parking: PendingRequests::new(usize::MAX),
            relay,
            offer,
            history: History::new(Duration::from_micros(KEEP)),
            replaced: HashMap::new(),
            clocks: clocks.clone(),
            segment_size,
            server_port: if plan.style == Style::Dns { DNS_PORT } else { HTTP_PORT },
            generation,
        }
    }

    /// The sequence number that a SYN with `isn` from `port` gets.
    pub fn initial(&mut self, profile: &Profile, port: u16, isn: u32) -> Option<u32> {
        let timestamps = profile.timestamps.then_some(Timestamps { value: 0, echo: 0 });
        let syn = SimSegment::syn(port, isn, profile.mss, timestamps);
        let mut sent = Vec::new();
        self.answer(0, 0, &syn, &[], profile.mss, &mut sent).ok()?;
        sent.first().map(|packet| packet.seq)
    }

    /// Their counters.
    pub fn counted(&self) -> Vec<u64> {
        Outcome::ALL.iter().map(|&counter| self.counters.get(counter)).collect()
    }

    /// The names of what they have counted since.
    pub fn counted_since(&self, before: &[u64]) -> String {
        let names = Outcome::ALL.iter().zip(before).zip(self.counted());
        let names = names.filter(|((_, before), now)| *before != now).map(|((counter, _), _)| counter.name());
        names.collect::<Vec<_>>().join(" ")
    }

    /// Other content for new connections, on all of them; false if that has to wait.
    pub fn reload(&mut self, now: Micros, generation: u8) -> bool {
        let clock = Duration::from_micros(now);
        if self.history.limit(clock).is_some() {
            return false;
        }
        self.replaced.insert(self.generation, now);
        self.generation = generation;
        let (policy, content) = (self.offer.policy.clone(), content(generation, self.relay.as_ref()));
        let offer = self.history.replace(&self.offer, content, policy, clock);
        self.switch(offer);
        true
    }

    /// Forgets content whose time is over.
    pub fn tidy(&mut self, now: Micros) {
        if let Some((offer, _)) = self.history.expire(&self.offer, Duration::from_micros(now)) {
            self.switch(offer);
        }
    }

    /// Whether the time of a content is over.
    pub fn may_have_forgotten(&self, generation: u8, now: Micros) -> bool {
        let over = |&replaced: &Micros| now >= replaced + KEEP;
        generation != self.generation && self.replaced.get(&generation).is_some_and(over)
    }

    fn switch(&mut self, offer: ServingState) {
        self.offer = Arc::new(offer);
        for exchange in &mut self.exchanges {
            exchange.switch(Arc::clone(&self.offer));
        }
    }

    /// Writes noise over all that one of them remembers.
    pub fn poison(&mut self, which: usize, noise: impl FnMut() -> u32) {
        self.exchanges[which].cache().poison(noise);
    }

    /// Their number.
    pub fn count(&self) -> usize {
        self.exchanges.len()
    }

    /// Gives a segment to one of them at `now`; `sent` takes what it sends.
    ///
    /// # Errors
    /// The error in its segments.
    pub fn answer(
        &mut self,
        now: Micros,
        which: usize,
        packet: &SimSegment,
        stream: &[u8],
        mss: u16,
        sent: &mut Vec<SimSegment>,
    ) -> Result<(), String> {
        let segment = self.segment(packet);
        let payload = match usize::from(packet.length) {
            0 => &[],
            length => &stream[packet.from..packet.from + length],
        };
        self.consider(now, which, &segment, payload, Source::Client, mss, sent)
    }

    /// When the relay has something to be done, after `now`.
    pub fn next(&self, now: Micros) -> Option<Micros> {
        let due = self.relay.as_ref()?.poll_timeout(0, self.clocks.at(0, now))?;
        Some(now + Micros::try_from(due.as_micros()).expect("64 bits"))
    }

    /// What the relay asked for comes, and what waited for it is answered.
    ///
    /// # Errors
    /// The error in the sent segments.
    pub fn turn(&mut self, now: Micros, mss: u16, sent: &mut Vec<SimSegment>) -> Result<(), String> {
        let mut ready = Vec::new();
        if let Some(relay) = &self.relay {
            relay.poll(0, self.clocks.at(0, now), &mut ready);
        }
        for ticket in ready {
            for PendingRequest { waiting: DeferredSegment { segment, payload, .. }, .. } in
                self.parking.call(ticket)
            {
                self.consider(now, 0, &segment, &payload, Source::Resumed, mss, sent)?;
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what a segment is, and where its answer goes")]
    fn consider(
        &mut self,
        now: Micros,
        which: usize,
        segment: &Segment,
        payload: &[u8],
        source: Source,
        mss: u16,
        sent: &mut Vec<SimSegment>,
    ) -> Result<(), String> {
        let exchange = &mut self.exchanges[which];
        let arrival = Arrival::new(self.clocks.at(which, now), segment, payload);
        let answer = exchange.handle(Arrival { source, ..arrival }, &self.counters);
        if let Some(waiting) = exchange.take_waiting() {
            self.parking.park(waiting, self.clocks.at(which, now), ());
        }
        let before = sent.len();
        for outgoing in answer {
            let bytes = exchange.payload(&outgoing);
            check(segment, &outgoing, bytes, self.segment_size, mss)?;
            sent.push(SimSegment {
                to_server: false,
                port: segment.tuple.client_port,
                seq: outgoing.seq,
                ack: outgoing.ack,
                flags: outgoing.flags,
                window: outgoing.window,
                mss: outgoing.mss,
                timestamps: outgoing.timestamps,
                from: 0,
                length: outgoing.length,
                bytes: bytes.to_vec(),
                generation: self.generation,
            });
        }
        if self.relay.is_none() && self.server_port == HTTP_PORT && is_cut_where_it_changes(&sent[before..]) {
            return Err("a segment ends within octets that change".into());
        }
        Ok(())
    }

    fn segment(&self, packet: &SimSegment) -> Segment {
        Segment {
            tuple: FourTuple {
                server: Address::from_ipv4(SERVER.octets()),
                client: Address::from_ipv4(CLIENT.octets()),
                server_port: self.server_port,
                client_port: packet.port,
            },
            seq: packet.seq,
            ack: packet.ack,
            flags: packet.flags,
            window: packet.window,
            options: Options { mss: packet.mss, timestamps: packet.timestamps, ..Options::default() },
            length: packet.length,
        }
    }
}

fn content(generation: u8, relay: Option<&Arc<Relay>>) -> Content {
    let toy = |style| match relay {
        Some(relay) => Arc::clone(relay) as Arc<dyn Service>,
        None => Arc::new(Toy { style, generation }),
    };
    let services = vec![(DNS_PORT, toy(Style::Dns)), (HTTP_PORT, toy(Style::Http))];
    Content::new([Address::from_ipv4(SERVER.octets())], services)
}

/// Whether one of the segments of a reply ends within the bytes at an answer's front that are another each time: the rest of
/// them could not be sent again. They are all the same, and as many of one kind stand together nowhere else.
fn is_cut_where_it_changes(reply: &[SimSegment]) -> bool {
    let mut segments: Vec<_> = reply.iter().filter(|packet| packet.length > 0).collect();
    let Some(first) = segments.first().map(|packet| packet.seq) else { return false };
    // The last two change places.
    segments.sort_by_key(|packet| position(packet.seq, first));
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for packet in segments {
        bytes.extend_from_slice(&packet.bytes);
        ends.push(bytes.len());
    }
    let mut run = 0;
    bytes.chunk_by(|a, b| a == b).any(|same| {
        let begin = run;
        run += same.len();
        same.len() == VOLATILE && ends.iter().any(|end| (begin + 1..run).contains(end))
    })
}

/// The invariants of every segment sent, whatever it answers.
fn check(
    segment: &Segment,
    outgoing: &TxSegment,
    bytes: &[u8],
    segment_size: u16,
    mss: u16,
) -> Result<(), String> {
    let class = MssClass::offered(Some(mss), true).map_or(0, MssClass::bytes);
    let options = if outgoing.timestamps.is_some() { TIMESTAMPS } else { 0 };
    let most = segment_size.min(class.saturating_sub(options));
    if outgoing.length > most || usize::from(outgoing.length) != bytes.len() {
        return Err(format!("a payload of {} octets, at most {most} allowed", outgoing.length));
    }
    let syn = outgoing.flags.contains(Flags::SYN);
    if !outgoing.flags.contains(Flags::RST)
        && outgoing.timestamps.is_some() != segment.options.timestamps.is_some()
        && !syn
    {
        return Err("timestamps on one of two segments".into());
    }
    let end = position(outgoing.seq, segment.ack)
        + Position::from(outgoing.length)
        + Position::from(outgoing.flags.contains(Flags::FIN));
    let data = outgoing.length > 0 || outgoing.flags.contains(Flags::FIN);
    if !syn && data && end > segment.window.into() {
        return Err(format!("{end} octets into a window of {}", segment.window));
    }
    let says = outgoing.timestamps.map(|timestamps| TsCookie::decode(timestamps.value, Mask(0)).state);
    if outgoing.flags == Flags::ACK && !data && says == Some(TsState::AckPending) {
        return Err("ACK alone, and a promise that says that it withholds one".into());
    }
    let acknowledged = position(outgoing.ack, segment.seq);
    let sent = Position::from(segment.length)
        + Position::from(segment.flags.contains(Flags::FIN))
        + Position::from(segment.flags.contains(Flags::SYN));
    if outgoing.flags.contains(Flags::ACK) && acknowledged > sent && segment.options.timestamps.is_none() {
        return Err(format!("acknowledges {acknowledged} octets of {sent}"));
    }
    Ok(())
}
