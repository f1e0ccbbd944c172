//! Many connections with many questions each, of which every byte of every answer is known beforehand.

use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::query;
use crate::netns::Netns;
use crate::seed::Random;

/// Payload of a full segment with timestamps in it.
pub const SEGMENT: usize = 1208;
/// Segments of the longest answer that is asked for on a path where most gets through: 60,000 bytes. From 54 on an answer
/// would be refused as too large.
pub const LONGEST: usize = 50;
/// Segments of a short answer, at most.
const SHORT: usize = 5;
/// Bytes of an answer besides its TXT records, at most: header, question, authority, addresses.
const AROUND: usize = 120;
/// A TXT record in an answer: compressed owner, type, class, TTL, length, and the longest string there is.
const RECORD: usize = 2 + 10 + 256;
/// More than a thread with a buffer or two needs.
const STACK: usize = 256 << 10;

const TXT: u16 = 16;

/// A master file for `load.example.`: `s1` to `s{largest}`, each with an answer of so many segments.
pub fn zone(largest: usize) -> String {
    let mut zone =
        "$ORIGIN load.example.\n$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n".to_owned();
    for segments in 1..=largest {
        for text in texts(segments) {
            writeln!(zone, "s{segments} TXT \"{text}\"").expect("into a string");
        }
    }
    zone
}

/// The strings at `s{segments}`: as many as go into so many segments, no two alike, so that no byte can stand in for
/// another.
fn texts(segments: usize) -> Vec<String> {
    let mut random = Random::new(&format!("texts of s{segments}"));
    let fit = (SEGMENT * segments - AROUND) / RECORD;
    let letter = |random: &mut Random| char::from(b'a' + u8::try_from(random.below(26)).expect("a letter"));
    (0..fit).map(|_| (0..255).map(|_| letter(&mut random)).collect()).collect()
}

/// A server's answers without loss: the right bytes to compare with.
#[derive(Debug)]
pub struct Catalogue {
    /// By segments less one: the answer with its length, and id 0.
    answers: Vec<Vec<u8>>,
}

impl Catalogue {
    /// Asks for every name of [`zone`] once, each on a connection of its own, and holds the answers against the zone.
    pub fn fetch(client: &Netns, server: SocketAddr, largest: usize) -> Self {
        let fetch = |segments| {
            let mut stream = TcpStream::connect(server).expect("connect over a good path");
            stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
            stream.write_all(&question(segments, 0)).expect("ask over a good path");
            let mut answer = vec![0; 2];
            stream.read_exact(&mut answer).expect("an answer over a good path");
            answer.resize(2 + usize::from(u16::from_be_bytes([answer[0], answer[1]])), 0);
            stream.read_exact(&mut answer[2..]).expect("a whole answer over a good path");
            assert_answers(segments, &answer);
            answer
        };
        Self { answers: client.enter(|| (1..=largest).map(fetch).collect()) }
    }

    fn answer(&self, segments: usize, id: u16) -> Vec<u8> {
        let mut answer = self.answers[segments - 1].clone();
        answer[2..4].copy_from_slice(&id.to_be_bytes());
        answer
    }

    /// Reads the answer to such a question.
    ///
    /// # Errors
    /// It is another, or ends early.
    pub fn take_answer(&self, stream: &mut TcpStream, segments: usize, id: u16) -> std::io::Result<()> {
        let right = self.answer(segments, id);
        let mut got = vec![0; right.len()];
        let mut length = 0;
        while length < got.len() {
            let read = stream.read(&mut got[length..])?;
            if got[length..length + read] != right[length..length + read] {
                let at = (length..length + read).find(|&at| got[at] != right[at]).expect("they differ");
                let what = format!("wrong octets from {at} on in an answer of {} (s{segments})", right.len());
                return Err(Error::new(ErrorKind::InvalidData, what));
            }
            if read == 0 {
                let what =
                    format!("the end of the stream at {length} of {} octets (s{segments})", right.len());
                return Err(Error::new(ErrorKind::UnexpectedEof, what));
            }
            length += read;
        }
        Ok(())
    }
}

/// The query for the answer of so many segments, with its length before it.
pub fn question(segments: usize, id: u16) -> Vec<u8> {
    query(id, &format!("s{segments}.load.example"), TXT)
}

/// Asserts that an answer has the records of the zone and the size that its name promises.
fn assert_answers(segments: usize, answer: &[u8]) {
    assert_eq!(answer.len().div_ceil(SEGMENT), segments, "an answer of {} octets", answer.len());
    let mut missing: std::collections::BTreeSet<_> = texts(segments).into_iter().collect();
    for at in 0..answer.len().saturating_sub(255) {
        // A string of 255 bytes, and its length before it.
        if answer[at] == 255
            && let Ok(text) = std::str::from_utf8(&answer[at + 1..at + 256])
        {
            missing.remove(text);
        }
    }
    assert!(missing.is_empty(), "{} records are not in the answer for s{segments}", missing.len());
}

/// A client's way to ask on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskMode {
    /// Each question when the one before is answered.
    InTurn,
    /// All at once, in one write.
    Together,
    /// All at once, each in a segment of its own.
    Apart,
    /// So many unanswered at a time.
    Outstanding(usize),
}

/// One connection.
#[derive(Clone, Debug)]
pub struct ConnectionPlan {
    manner: AskMode,
    /// (segments of the answer, id)
    questions: Vec<(usize, u16)>,
    /// Closes its half as soon as it has asked, not when it has all answers.
    closes_early: bool,
}

/// `connections` plans, each of at most so many questions with answers of at most `largest` segments.
pub fn plans(
    random: &mut Random,
    connections: usize,
    questions: usize,
    largest: usize,
) -> Vec<ConnectionPlan> {
    let mut plan = || {
        let manner = match random.below(6) {
            0..3 => AskMode::InTurn,
            3 => AskMode::Together,
            4 => AskMode::Apart,
            _ => AskMode::Outstanding(2 + random.below(4)),
        };
        let count = 1 + random.below(questions);
        // Half of the answers are short, as most are.
        let segments = |random: &mut Random| {
            let longest = if random.one_in(2) { largest } else { largest.min(SHORT) };
            1 + random.below(longest)
        };
        let questions = (0..count).map(|_| (segments(random), random.short())).collect();
        ConnectionPlan { manner, questions, closes_early: random.one_in(4) }
    };
    (0..connections).map(|_| plan()).collect()
}

/// The results of all connections.
#[derive(Debug, Default)]
pub struct LoadOutcome {
    /// Connections that got bytes which are not the answer's, and what they got.
    pub wrong: Vec<String>,
    /// Connections that ended, or stood still, before they had all.
    pub failed: Vec<String>,
    /// Connections whose client gave up trying (`ETIMEDOUT`).
    pub given_up: Vec<String>,
    /// Questions answered.
    pub answered: usize,
    /// From SYN to the last answer, for those that got it, sorted.
    pub times: Vec<Duration>,
}

impl LoadOutcome {
    /// Asserts that every byte was right and nobody was let down.
    pub fn assert_good(&self) {
        let first = |list: &[String]| list.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        let all = [
            ("got wrong octets", &self.wrong),
            ("failed", &self.failed),
            ("were given up by their clients", &self.given_up),
        ];
        for (what, list) in all {
            assert!(list.is_empty(), "{} connections {what}:\n{}", list.len(), first(list));
        }
    }

    /// The time within which so many of a hundred connections had everything.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.times.len().checked_sub(1).expect("some connection got all its answers");
        self.times[(self.times.len() * percent / 100).min(last)]
    }
}

/// Runs all `plans` from `client`, `at_once` of them at a time. A connection on which nothing comes for `patience` has
/// failed.
pub fn run(
    client: &Netns,
    server: SocketAddr,
    catalogue: &Catalogue,
    plans: &[ConnectionPlan],
    at_once: usize,
    patience: Duration,
) -> LoadOutcome {
    let (next, outcome) = (AtomicUsize::new(0), Mutex::new(LoadOutcome::default()));
    let work = || {
        while let Some((number, plan)) = plans.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let mut talk = Talk { catalogue, plan, answered: 0, took: None };
            let ended = talk.hold(server, began, patience);
            let describe = |what: &str| {
                format!(
                    "connection {number}: {what} after {} of {} answers, {:?}{}, {:?}",
                    talk.answered,
                    plan.questions.len(),
                    plan.manner,
                    if plan.closes_early { ", closes early" } else { "" },
                    began.elapsed()
                )
            };
            let mut outcome = outcome.lock().expect("no thread panicked");
            outcome.answered += talk.answered;
            outcome.times.extend(talk.took);
            if let Err(error) = ended {
                let list = match error.kind() {
                    ErrorKind::InvalidData => &mut outcome.wrong,
                    ErrorKind::TimedOut => &mut outcome.given_up,
                    _ => &mut outcome.failed,
                };
                list.push(describe(&error.to_string()));
            }
        }
    };
    // Threads begin in the namespace of whoever starts them.
    client.enter(|| {
        std::thread::scope(|scope| {
            for _ in 0..at_once.min(plans.len()) {
                std::thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, work)
                    .expect("start a thread");
            }
        });
    });
    let mut outcome = outcome.into_inner().expect("no thread panicked");
    outcome.times.sort();
    outcome
}

/// One connection under way.
struct Talk<'load> {
    catalogue: &'load Catalogue,
    plan: &'load ConnectionPlan,
    answered: usize,
    took: Option<Duration>,
}

impl Talk<'_> {
    fn hold(&mut self, server: SocketAddr, began: Instant, patience: Duration) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        let questions = &self.plan.questions;
        let ahead = match self.plan.manner {
            AskMode::InTurn => 1,
            AskMode::Together | AskMode::Apart => questions.len(),
            AskMode::Outstanding(count) => count,
        };
        let mut asked = 0;
        while self.answered < questions.len() {
            let mut batch = Vec::new();
            while asked < questions.len() && asked < self.answered + ahead {
                let (segments, id) = questions[asked];
                batch.extend(question(segments, id));
                asked += 1;
                if self.plan.manner != AskMode::Together {
                    stream.write_all(&std::mem::take(&mut batch))?;
                }
            }
            stream.write_all(&batch)?;
            if asked == questions.len() && self.plan.closes_early && self.answered + ahead >= asked {
                close_half(&stream)?;
            }
            let (segments, id) = questions[self.answered];
            self.catalogue.take_answer(&mut stream, segments, id)?;
            self.answered += 1;
        }
        self.took = Some(began.elapsed());
        close_half(&stream)?;
        match stream.read(&mut [0; 1])? {
            0 => Ok(()),
            _ => Err(Error::new(ErrorKind::InvalidData, "an octet behind the last answer")),
        }
    }
}

/// Says that nothing more is asked. To say it twice does no harm.
fn close_half(stream: &TcpStream) -> std::io::Result<()> {
    match stream.shutdown(Shutdown::Write) {
        // The other end is closed as well, by then.
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}
