//! All clients: a table of fixed size, in which each has its place by its number. Nothing is allocated for a client, there is
//! no list of timers: clients of equal patience expire in the order in which they began.

use crate::answer::Codes;
use crate::client::{Client, Heard, Say, Terms};
use crate::population::Population;
use crate::questions::Questions;
use crate::stats::Stats;
use anyhow::{Result, bail};
use stateless_tcp_core::steering::Layout;
use stateless_tcp_core::tcp::segment::{Address, FourTuple, Segment};
use stateless_tcp_core::wire::Reply;
use std::time::Duration;

/// The options that all clients share.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The server.
    pub server: (Address, u16),
    /// Clients that begin in a second.
    pub rate: u64,
    /// Time that each waits for its answer.
    pub timeout: Duration,
    /// Retransmissions: after a second, and then twice as long each time.
    pub retries: u32,
    /// It offers timestamps.
    pub timestamps: bool,
    /// It acknowledges the SYN,ACK by itself before it asks.
    pub bare_ack: bool,
    /// Bytes of payload that a segment for it may have.
    pub mss: u16,
    /// Codes that a right answer may have.
    pub codes: Codes,
}

/// A segment that a client is about to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The client's number.
    pub number: u64,
    /// The segment.
    pub say: Say,
}

/// A pass over the clients, up to those that began `age` nanoseconds ago.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    age: u64,
    at: u64,
}

/// The clients.
#[derive(Debug)]
pub struct Clients {
    options: ClientOptions,
    population: Population,
    questions: Questions,
    places: Box<[Client]>,
    /// The number of the next one.
    next: u64,
    /// One for each time that something is said again.
    reminders: Vec<Cursor>,
    expiry: Cursor,
    /// The results.
    pub stats: Stats,
}

/// Before the first retransmission (RFC 6298 section 2.1).
const FIRST_REMINDER: Duration = Duration::from_secs(1);

impl Clients {
    /// None yet, but with room for as many as can be waiting at that rate.
    ///
    /// # Errors
    /// If there are fewer addresses and ports than clients that can be waiting, or a retransmission would come too late.
    pub fn new(options: ClientOptions, population: Population, questions: Questions) -> Result<Self> {
        let timeout = nanoseconds(options.timeout);
        // A tenth more than can be waiting, since they do not begin evenly.
        let waiting = u128::from(options.rate) * u128::from(timeout) / 1_000_000_000;
        let places = u64::try_from(waiting + waiting / 10 + 1_024)?;
        if places > population.size() {
            bail!(
                "at {} clients a second that wait for {} s, {places} addresses and ports are needed, but there are \
                 {}: a larger prefix (--clients), a lower rate (--rate), or less patience (--timeout)",
                options.rate,
                options.timeout.as_secs_f64(),
                population.size()
            );
        }
        let reminders: Vec<Cursor> = (1..=options.retries)
            .map(|time| Cursor { age: nanoseconds(FIRST_REMINDER) * ((1 << time) - 1), at: 0 })
            .collect();
        if let Some(last) = reminders.last().filter(|last| last.age >= timeout) {
            bail!(
                "the last retransmission is due after {} s, but clients give up after {} s: fewer --retries, or a \
                 longer --timeout",
                last.age / 1_000_000_000,
                options.timeout.as_secs_f64()
            );
        }
        let stats = Stats::new(timeout)?;
        let places = vec![Client::NONE; usize::try_from(places)?].into_boxed_slice();
        let expiry = Cursor { age: timeout, at: 0 };
        Ok(Self { options, population, questions, places, next: 0, reminders, expiry, stats })
    }

    /// Begins one, unless all places are taken.
    #[inline]
    pub fn begin(&mut self, now: u64) -> Option<Said> {
        let number = self.next;
        if number - self.expiry.at >= self.places.len() as u64 {
            return None;
        }
        *self.place(number) = Client::begin(now);
        self.next += 1;
        self.stats.offered += 1;
        Some(Said { number, say: Say::Syn })
    }

    /// Hears a segment, in which the receiver is the "server".
    #[inline]
    pub fn hear(&mut self, now: u64, segment: &Segment, payload: &[u8]) -> Option<Said> {
        let Some((number, heard)) = self.heard(segment, payload) else {
            self.stats.stray += 1;
            return None;
        };
        let began = self.at(number).began;
        match heard.end {
            Some(Ok(())) => self.stats.answer(now - began),
            Some(Err(failure)) => self.stats.fail(failure),
            None => {}
        }
        if let Some(code) = heard.code {
            self.stats.codes[usize::from(code)] += 1;
        }
        heard.say.map(|say| Said { number, say })
    }

    /// The segment that a client sends before `said`, the answer to a segment.
    #[inline]
    #[must_use]
    pub fn before(&self, said: Said) -> Option<Said> {
        let opens = self.options.bare_ack && said.say == Say::Question;
        opens.then_some(Said { say: Say::Opened, ..said })
    }

    fn heard(&mut self, segment: &Segment, payload: &[u8]) -> Option<(u64, Heard)> {
        let FourTuple { server: address, server_port: port, .. } = segment.tuple;
        let number = self.population.last_at(address, port, self.next)?;
        // Older ones have lost their place to another.
        if number < self.expiry.at {
            return None;
        }
        let terms = self.terms(number);
        self.place(number).hear(&terms, segment, payload).map(|heard| (number, heard))
    }

    /// The next segment that is due again now, or for the last time, if any. To be asked until then.
    #[inline]
    pub fn remind(&mut self, now: u64) -> Option<Said> {
        for index in 0..self.reminders.len() {
            while let Some(number) = self.due(self.reminders[index], now) {
                self.reminders[index].at += 1;
                if let Some(say) = self.at(number).remind() {
                    self.stats.resent += 1;
                    return Some(Said { number, say });
                }
            }
        }
        while let Some(number) = self.due(self.expiry, now) {
            self.expiry.at += 1;
            if let Some(say) = self.expire(number) {
                return Some(Said { number, say });
            }
        }
        None
    }

    /// The next of a cursor, if its time has come.
    fn due(&self, cursor: Cursor, now: u64) -> Option<u64> {
        let due = cursor.at < self.next && self.at(cursor.at).began + cursor.age <= now;
        due.then_some(cursor.at)
    }

    /// Lets go of a client. It resets the connection that is left at the server.
    fn expire(&mut self, number: u64) -> Option<Say> {
        let client = *self.at(number);
        if let Some(failure) = client.expire() {
            self.stats.fail(failure);
        } else if client.is_busy() {
            self.stats.unclosed += 1;
        }
        client.is_connected().then_some(Say::Reset)
    }

    /// When there is something to be said again at the earliest.
    #[must_use]
    pub fn next_reminder(&self) -> u64 {
        let cursors = self.reminders.iter().chain([&self.expiry]).filter(|cursor| cursor.at < self.next);
        cursors.map(|cursor| self.at(cursor.at).began + cursor.age).min().unwrap_or(u64::MAX)
    }

    /// Number of clients that still wait for their answers.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.stats.offered - self.stats.answered - self.stats.failed.iter().sum::<u64>()
    }

    /// The results, once none waits any more.
    #[must_use]
    pub fn finish(mut self) -> Stats {
        let unclosed = (self.expiry.at..self.next).filter(|&number| self.at(number).is_busy()).count();
        self.stats.unclosed += unclosed as u64;
        self.stats
    }

    /// Writes what is said, behind the link header of `link`, a frame from the server, and says how long the frame is.
    #[inline]
    pub fn write(&mut self, now: u64, said: Said, link: &[u8], layout: &Layout, frame: &mut [u8]) -> usize {
        let Said { number, say } = said;
        let terms = self.terms(number);
        #[expect(clippy::cast_possible_truncation, reason = "a clock that wraps (RFC 7323 section 5.4)")]
        let clock = (now / 1_000_000) as u32;
        let outgoing = self.at(number).segment(&terms, say, clock);
        let (address, port) = self.population.endpoint(number);
        let (server, server_port) = self.options.server;
        // What is written goes from the "server" of these four to the "client".
        let tuple =
            FourTuple { server: address, client: server, server_port: port, client_port: server_port };
        let payload = if say == Say::Question { self.questions.message(number, terms.id) } else { &[] };
        Reply::to(link, layout, tuple).emit(frame, &outgoing, payload)
    }

    #[inline]
    fn terms(&self, number: u64) -> Terms {
        let began = self.at(number).began;
        let ClientOptions { codes, mss, timestamps, .. } = self.options;
        Terms {
            iss: self.population.initial_sequence(number, began),
            asked: self.questions.length(number),
            id: self.population.id(number),
            codes,
            mss,
            timestamps,
        }
    }

    #[inline]
    fn at(&self, number: u64) -> &Client {
        &self.places[self.index(number)]
    }

    #[inline]
    fn place(&mut self, number: u64) -> &mut Client {
        &mut self.places[self.index(number)]
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of places")]
    fn index(&self, number: u64) -> usize {
        (number % self.places.len() as u64) as usize
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
