//! The model put through what a kernel client was put through.
//!
//! A real client's memory, clock and mood make the model ambiguous: whether an arrival is acknowledged
//! at once, which timer goes off when. So all the clients that the model allows are followed at once, and those that
//! would not have sent what the kernel sent are struck off. The kernel conforms as long as one is left.

use std::fmt::Write as _;

use stateless_tcp_core::tcp::segment::Flags;

use crate::sim::{
    client::{ConnectionState, Delay, SimClient, Timer},
    packet::{Micros, SimSegment},
};

/// More segments than the server's window has room for, where most of their payloads are not tiny.
const MOST_FLYING: usize = 48;
/// Least and most segments that leave as one.
const BURSTS: [usize; 2] = [4, 2];

/// The outcome of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// These bytes.
    Octets(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The server's FIN.
    End,
    /// The server's RST.
    Reset,
}

/// An event at a client.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A segment arrives.
    Arrive(SimSegment),
    /// So many bytes are written.
    Write(usize),
    /// At most so many bytes are read.
    Read(usize, Got),
    /// The application closes its direction.
    Shut,
    /// The application closes both directions.
    Close,
    /// The application resets the connection.
    Abort,
}

/// All clients that have sent, so far, what the kernel has sent.
#[derive(Debug)]
pub(super) struct Follower {
    clients: Vec<SimClient>,
}

/// A search for the clients that send what the kernel sent when `event` happens, before or after a timer.
struct Search<'a> {
    now: Micros,
    event: Option<&'a Event>,
    found: Vec<SimClient>,
}

impl Follower {
    /// Follows a client from its SYN on.
    pub(super) fn new(now: Micros, mut client: SimClient, syn: &SimSegment) -> Self {
        client.follow(now, syn);
        Self { clients: vec![client] }
    }

    /// `event` happened, or only time passed, and the kernel sent `sent`.
    ///
    /// # Errors
    /// No client that conformed so far would have sent it.
    pub(super) fn observe(
        &mut self,
        now: Micros,
        event: Option<&Event>,
        sent: &[SimSegment],
    ) -> Result<(), String> {
        let mut search = Search { now, event, found: Vec::new() };
        for client in &self.clients {
            search.go(client, sent, event.is_none());
        }
        // Congestion control is not modelled but for its being there: how much is sent at once is the kernel's to say.
        for (segments, burst) in (1..=MOST_FLYING).flat_map(|segments| BURSTS.map(|burst| (segments, burst)))
        {
            if !search.found.is_empty() {
                break;
            }
            for client in &self.clients {
                let mut client = client.clone();
                client.set_congestion_window(segments, burst);
                search.go(&client, sent, event.is_none());
            }
        }
        if search.found.is_empty() {
            return Err(self.explain(now, event, sent));
        }
        self.clients = search.found;
        Ok(())
    }

    /// Whether all of them agree on something.
    pub(super) fn all(&self, holds: impl Fn(&SimClient) -> bool) -> bool {
        self.clients.iter().all(holds)
    }

    /// The segments that the model would have sent.
    fn explain(&self, now: Micros, event: Option<&Event>, sent: &[SimSegment]) -> String {
        let mut text = "the model sends otherwise:\n".to_owned();
        for client in &self.clients {
            let line = |packets: &[SimSegment]| -> String {
                packets.iter().map(|packet| brief(client, packet)).collect()
            };
            let _ = writeln!(text, "  the kernel:{}", line(sent));
            let _ = writeln!(text, "  one of {} clients:", self.clients.len());
            for (client, out) in event.into_iter().flat_map(|event| alternatives(client, now, event)) {
                let _ = writeln!(text, "    then, {:?}:{}", client.state, line(&out));
            }
            for (_, out) in alone(client, now) {
                let _ = writeln!(text, "    by a timer:{}", line(&out));
            }
        }
        text
    }
}

impl Search<'_> {
    fn go(&mut self, client: &SimClient, rest: &[SimSegment], done: bool) {
        if done && rest.is_empty() {
            if !self.found.contains(client) {
                self.found.push(client.clone());
            }
            return;
        }
        if let Some(event) = self.event.filter(|_| !done) {
            for (client, out) in alternatives(client, self.now, event) {
                self.take(client, &out, rest, true);
            }
        }
        if rest.is_empty() {
            return;
        }
        for (client, out) in alone(client, self.now) {
            if !out.is_empty() {
                self.take(client, &out, rest, done);
            }
        }
    }

    /// Goes on behind what a client has sent, if the kernel has sent the same.
    fn take(&mut self, mut client: SimClient, out: &[SimSegment], rest: &[SimSegment], done: bool) {
        if out.len() > rest.len() || !out.iter().zip(rest).all(|(own, seen)| is_same(own, seen)) {
            return;
        }
        let (seen, rest) = rest.split_at(out.len());
        for packet in seen {
            client.follow(self.now, packet);
        }
        self.go(&client, rest, done);
    }
}

/// The clients that a client may be after `event`, and what it sends.
fn alternatives(client: &SimClient, now: Micros, event: &Event) -> Vec<(SimClient, Vec<SimSegment>)> {
    let with = |act: &dyn Fn(&mut SimClient, &mut Vec<SimSegment>)| {
        let (mut client, mut out) = (client.clone(), Vec::new());
        act(&mut client, &mut out);
        (client, out)
    };
    match event {
        Event::Arrive(packet) => {
            let spurious = if client.in_loss() { &[Some(false), Some(true)][..] } else { &[None] };
            let mut found = Vec::new();
            for (&spurious, delay, predicts) in moods(spurious) {
                found.push(with(&|client, out| {
                    client.delay(delay);
                    client.predict(predicts);
                    client.take_for_spurious(spurious);
                    client.receive(now, packet, out);
                    // Nothing else depends on them.
                    client.delay(Delay::Second);
                    client.predict(true);
                    client.take_for_spurious(None);
                }));
            }
            found
        }
        &Event::Write(length) => {
            let mut found = vec![with(&|client, out| client.write(now, length, out))];
            if client.may_be_full() {
                found.push(with(&|client, out| {
                    client.fill();
                    client.write(now, length, out);
                }));
            }
            found
        }
        Event::Shut => vec![with(&|client, out| client.shut(now, false, out))],
        Event::Close => vec![with(&|client, out| client.shut(now, true, out))],
        Event::Abort => vec![with(&|client, out| client.abort(now, true, out))],
        Event::Read(most, Got::Octets(bytes)) => {
            let mut read = Vec::new();
            let mut silent = client.clone();
            silent.take_bytes(*most, &mut read);
            if read != *bytes {
                return Vec::new();
            }
            // Whether a larger window is worth a segment depends on the kernel's memory.
            let (mut speaking, mut out) = (silent.clone(), Vec::new());
            speaking.send_ack(now, &mut out);
            vec![(silent, Vec::new()), (speaking, out)]
        }
        Event::Read(_, Got::Nothing) => same_if(client, client.unread() == 0 && !over(client)),
        Event::Read(_, Got::End) => same_if(client, client.unread() == 0 && client.fin_received),
        Event::Read(_, Got::Reset) => {
            same_if(client, client.unread() == 0 && client.state == ConnectionState::Reset)
        }
    }
}

/// All combinations of what is left open about an arrival.
fn moods<T>(spurious: &[T]) -> impl Iterator<Item = (&T, Delay, bool)> {
    spurious.iter().flat_map(|spurious| {
        [Delay::None, Delay::Second, Delay::Reader]
            .into_iter()
            .flat_map(move |delay| [true, false].map(|predicts| (spurious, delay, predicts)))
    })
}

/// The clients that a client may be after a timer, and what it sends.
fn alone(client: &SimClient, now: Micros) -> Vec<(SimClient, Vec<SimSegment>)> {
    let mut found = Vec::new();
    for timer in Timer::ALL.into_iter().filter(|&timer| client.due(timer).is_some()) {
        // What RACK spares depends on the time.
        let spared = if timer == Timer::Retransmit { client.outstanding().max(1) } else { 1 };
        let fragmented = if client.may_be_fragmented() { &[false, true][..] } else { &[false] };
        let moods = (0..spared).flat_map(|spared| [(spared, true), (spared, false)]);
        for ((spared, frto), &fragmented) in
            moods.flat_map(|mood| fragmented.iter().map(move |fragmented| (mood, fragmented)))
        {
            let (mut client, mut out) = (client.clone(), Vec::new());
            client.set_fragmented(fragmented);
            match timer {
                Timer::Retransmit => client.time_out_sparing(spared, frto, now, &mut out),
                _ => client.fire(timer, now, &mut out),
            }
            client.set_fragmented(false);
            found.push((client, out));
        }
    }
    found
}

fn over(client: &SimClient) -> bool {
    client.fin_received || client.state == ConnectionState::Reset
}

fn same_if(client: &SimClient, holds: bool) -> Vec<(SimClient, Vec<SimSegment>)> {
    if holds { vec![(client.clone(), Vec::new())] } else { Vec::new() }
}

/// Everything that the server looks at but the window; PSH means nothing to it, and TSval it only sends back.
fn is_same(own: &SimSegment, seen: &SimSegment) -> bool {
    let echo = |packet: &SimSegment| packet.timestamps.map(|timestamps| timestamps.echo);
    (own.seq, own.ack, own.flags | Flags::PSH, own.length)
        == (seen.seq, seen.ack, seen.flags | Flags::PSH, seen.length)
        && echo(own) == echo(seen)
        && own.mss == seen.mss
}

fn brief(client: &SimClient, packet: &SimSegment) -> String {
    let (isn, irs) = client.initial();
    let echo = packet.timestamps.map(|timestamps| timestamps.echo);
    format!(
        " [{:?} {}:+{} ack {} echo {echo:x?}]",
        packet.flags,
        packet.seq.wrapping_sub(isn),
        packet.length,
        packet.ack.wrapping_sub(irs)
    )
}
