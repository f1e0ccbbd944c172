//! The application above the client's TCP: it asks, reads, compares each byte, closes, and asks again where a connection ended.

use super::{
    client::{ConnectionState, SimClient},
    packet::{Micros, SimSegment},
    question::{REFUSED, SimQuestion, Style, VOLATILE},
    relay::VARIANTS,
};

/// The application's way to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Closes when it has every answer.
    Close,
    /// Closes its direction right after the last question.
    HalfClose,
    /// Closes after so many answers, whatever is under way.
    Early(usize),
    /// Resets after so many answers.
    Abort(usize),
}

/// The application's plan.
#[derive(Clone, Debug)]
pub struct ApplicationConfig {
    /// The delimiters of messages.
    pub style: Style,
    /// The server asks for each answer: no two are the same.
    pub relayed: bool,
    /// The questions.
    pub questions: Vec<SimQuestion>,
    /// All messages.
    pub bytes: Vec<u8>,
    /// The end of each message.
    pub ends: Vec<usize>,
    /// The end of a write.
    pub cuts: Vec<usize>,
    /// On the first so many connections; later each write is as many whole messages as may be asked.
    pub messy: u32,
    /// Questions asked ahead of their answers.
    pub depth: usize,
    /// Between two writes.
    pub pause: Micros,
    /// Writes before the connection is open.
    pub eager: bool,
    /// Reads so many bytes at once, so often; everything at once if none.
    pub reading: Option<(usize, Micros)>,
    /// Its way to leave.
    pub ending: Ending,
    /// Time that it keeps an unused connection.
    pub linger: Micros,
}

/// A larger answer may be refused to a client without timestamps: so many of its windows.
const MOST_WINDOWS: usize = 4;
/// Or if its window is smaller than our largest segment, and what may change at the front of an answer.
const SEGMENT: usize = 1_220 + 96;
/// Waiting time of an application without timestamps where docs/protocol.md's limits are reached.
const PATIENCE: Micros = 30_000_000;
/// Waiting time of a closed connection for the server's FIN (Linux's `tcp_fin_timeout`).
const ORPHAN: Micros = 60_000_000;

/// The application while it runs.
#[derive(Debug)]
pub struct Application {
    plan: ApplicationConfig,
    /// Questions answered.
    pub answered: usize,
    matched: usize,
    /// The changing bytes of the present answer.
    changing: u8,
    /// Which answers of a relay the bytes that were read of the present one may be of, a bit each.
    possible: u8,
    /// All bytes of complete answers, those that change as zeros; if anybody wants to know.
    pub received: Option<Vec<u8>>,
    /// Connections opened.
    pub connections: u32,
    /// Answers that were refused for want of room.
    pub refused: u32,
    /// Number of times that a documented limit was reached.
    pub limits: u32,
    /// Connections whose server's FIN never came.
    pub orphans: u32,
    /// Such a connection had timestamps: its FIN must come.
    pub abandoned: bool,
    begun: usize,
    written: usize,
    write_at: Micros,
    read_at: Micros,
    moved_at: Micros,
    leaving: bool,
    buffer: Vec<u8>,
}

/// The application's next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To wait, at most until then.
    Wait(Option<Micros>),
    /// A new connection.
    Open,
    /// Nothing more.
    Done,
}

impl Application {
    /// Before its first connection.
    pub fn new(plan: ApplicationConfig) -> Self {
        Self {
            plan,
            answered: 0,
            matched: 0,
            changing: 0,
            possible: u8::MAX,
            received: None,
            connections: 0,
            refused: 0,
            limits: 0,
            orphans: 0,
            abandoned: false,
            begun: 0,
            written: 0,
            write_at: 0,
            read_at: 0,
            moved_at: 0,
            leaving: false,
            buffer: Vec::new(),
        }
    }

    /// All that it ever writes.
    pub fn octets(&self) -> &[u8] {
        &self.plan.bytes
    }

    /// A new connection begins; where in all that is written.
    pub fn opened(&mut self, now: Micros) -> usize {
        self.connections += 1;
        if let Some(received) = &mut self.received {
            received.truncate(received.len() - self.matched);
        }
        self.matched = 0;
        self.possible = u8::MAX;
        self.begun = if self.answered == 0 { 0 } else { self.plan.ends[self.answered - 1] };
        self.written = self.begun;
        (self.write_at, self.read_at, self.moved_at) = (now, now, now);
        self.begun
    }

    fn everything(&self) -> bool {
        self.answered == self.plan.questions.len()
    }

    /// Does what can be done now.
    ///
    /// # Errors
    /// The bytes that arrived and are not the answer.
    pub fn step(
        &mut self,
        now: Micros,
        client: &mut SimClient,
        least_window: usize,
        out: &mut Vec<SimSegment>,
    ) -> Result<Want, String> {
        self.read(now, client, least_window, out)?;
        self.skip_empty(client);
        match client.state {
            // What arrived before RST can be read (Linux, BSD).
            ConnectionState::Reset | ConnectionState::Closed if client.unread() > 0 && !client.deaf() => {
                return Ok(Want::Wait(Some(self.read_at)));
            }
            ConnectionState::Reset | ConnectionState::Closed if self.everything() || self.leaving => {
                return Ok(Want::Done);
            }
            ConnectionState::Reset | ConnectionState::Closed => return Ok(Want::Open),
            ConnectionState::Opening | ConnectionState::Open => {}
        }
        self.leave(now, client, out);
        self.write(now, client, out);
        if matches!(client.state, ConnectionState::Reset | ConnectionState::Closed) {
            return self.step(now, client, least_window, out);
        }
        Ok(self.wait(now, client, out))
    }

    fn read(
        &mut self,
        now: Micros,
        client: &mut SimClient,
        least_window: usize,
        out: &mut Vec<SimSegment>,
    ) -> Result<(), String> {
        if client.unread() == 0 || now < self.read_at || client.deaf() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let most = self.plan.reading.map_or(usize::MAX, |(bytes, _)| bytes);
        client.read(now, most, &mut buffer, out);
        self.read_at = now + self.plan.reading.map_or(0, |(_, pause)| pause);
        self.moved_at = now;
        let timestamps = client.timestamps.is_some();
        let compared = self.compare(&buffer, client.generation, timestamps, least_window);
        self.buffer = buffer;
        compared
    }

    fn compare(
        &mut self,
        mut bytes: &[u8],
        generation: u8,
        timestamps: bool,
        least_window: usize,
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            let (index, offset) = (self.answered, self.matched);
            let asked = self.plan.ends.get(index).is_some_and(|&end| end <= self.written);
            let Some(question) = self.plan.questions.get(index).filter(|_| asked) else {
                return Err(format!("{} octets though no question is open", bytes.len()));
            };
            let length = question.length();
            let refusable =
                length > MOST_WINDOWS * least_window || least_window < SEGMENT && length >= least_window;
            if offset == 0 && length > 0 && bytes[0] == REFUSED && refusable && !timestamps {
                self.refused += 1;
                self.answered += 1;
                bytes = &bytes[1..];
                if let Some(received) = &mut self.received {
                    received.push(REFUSED);
                }
                continue;
            }
            let volatile =
                if self.plan.style == Style::Http && !self.plan.relayed { VOLATILE.min(length) } else { 0 };
            if offset < volatile {
                if offset == 0 {
                    self.changing = bytes[0];
                }
                if bytes[0] != self.changing {
                    return Err(format!("answer {index} is of two times"));
                }
                bytes = &bytes[1..];
                self.matched += 1;
                if let Some(received) = &mut self.received {
                    received.push(0);
                }
                if self.matched == length {
                    self.answered += 1;
                    self.matched = 0;
                }
                continue;
            }
            let common = (length - offset).min(bytes.len());
            let expected = |variant| &question.bytes(variant)[offset..offset + common];
            if self.plan.relayed {
                self.possible &= (0..VARIANTS)
                    .filter(|&variant| bytes[..common] == *expected(variant))
                    .fold(0, |possible, variant| possible | 1 << variant);
                if self.possible == 0 {
                    return Err(format!("octets {offset} and on of answer {index} are of no or another one"));
                }
            } else if bytes[..common] != *expected(generation) {
                let differ = bytes.iter().zip(expected(generation)).position(|(a, b)| a != b);
                return Err(format!("octet {} of answer {index} is wrong", offset + differ.unwrap_or(0)));
            }
            if let Some(received) = &mut self.received {
                received.extend(&bytes[..common]);
            }
            bytes = &bytes[common..];
            self.matched += common;
            if self.matched == length {
                self.possible = u8::MAX;
                self.answered += 1;
                self.matched = 0;
            }
        }
        Ok(())
    }

    /// An empty answer has arrived when its question is acknowledged.
    fn skip_empty(&mut self, client: &SimClient) {
        let acknowledged = self.begun + usize::try_from(client.acknowledged()).unwrap_or(0);
        while self.matched == 0
            && self.plan.questions.get(self.answered).is_some_and(|question| question.answer == 0)
            && self.plan.ends[self.answered] <= acknowledged
        {
            self.answered += 1;
        }
    }

    fn leave(&mut self, now: Micros, client: &mut SimClient, out: &mut Vec<SimSegment>) {
        match self.plan.ending {
            Ending::Early(after) if self.answered >= after && self.written > 0 => {
                self.leaving = true;
                client.shut(now, true, out);
            }
            Ending::Abort(after) if self.answered >= after && self.written > 0 => {
                self.leaving = true;
                client.abort(now, true, out);
            }
            Ending::HalfClose if self.written == self.plan.bytes.len() && self.limits == 0 => {
                client.shut(now, false, out);
            }
            _ => {}
        }
        let ended = client.fin_received && client.unread() == 0;
        let satisfied = self.everything() && now >= self.moved_at + self.plan.linger;
        if client.state == ConnectionState::Open && (satisfied || ended) {
            client.shut(now, true, out);
        }
    }

    fn write(&mut self, now: Micros, client: &mut SimClient, out: &mut Vec<SimSegment>) {
        let ready = client.state == ConnectionState::Open || self.plan.eager;
        while ready && now >= self.write_at && !client.fin_sent() && !client.fin_received {
            let newest = (self.answered + self.plan.depth).min(self.plan.ends.len());
            let allowed = if newest == 0 { 0 } else { self.plan.ends[newest - 1] };
            if self.written >= allowed {
                return;
            }
            let cut = if self.connections <= self.plan.messy {
                let next = self.plan.cuts.partition_point(|&cut| cut <= self.written);
                self.plan.cuts.get(next).map_or(allowed, |&cut| cut.min(allowed))
            } else {
                allowed
            };
            client.write(now, cut - self.written, out);
            self.written = cut;
            self.write_at = now + self.plan.pause;
            self.moved_at = now;
            if self.written == self.plan.bytes.len() && self.plan.ending == Ending::HalfClose {
                self.leave(now, client, out);
            }
        }
    }

    fn wait(&mut self, now: Micros, client: &mut SimClient, out: &mut Vec<SimSegment>) -> Want {
        let mut give_up = None;
        if client.deaf() || (client.timestamps.is_none() && client.fin_sent()) {
            let orphaned = client.deaf() && client.fin_sent() && !client.waits() && !client.fin_received;
            let patience = if orphaned { ORPHAN } else { PATIENCE };
            let patient = client.timestamps.is_some() && !orphaned;
            if !patient && now >= self.moved_at + patience {
                self.orphans += u32::from(orphaned);
                self.abandoned |= orphaned && client.timestamps.is_some();
                self.limits += u32::from(!orphaned);
                client.abort(now, false, out);
                return if self.everything() || self.leaving { Want::Done } else { Want::Open };
            }
            give_up = (!patient).then_some(self.moved_at + patience);
        }
        let more_to_write = self.written < self.plan.bytes.len() && self.write_at > now;
        let write = more_to_write.then_some(self.write_at);
        let read = (client.unread() > 0 && self.read_at > now).then_some(self.read_at);
        let leave = (self.everything() && !client.fin_sent()).then_some(self.moved_at + self.plan.linger);
        Want::Wait([write, read, give_up, leave].into_iter().flatten().min())
    }
}
