//! Clients of the kernel's TCP that ask one question a connection, one connection after the other, as fast as they are
//! answered: connect, ask, read, close.
//!
//! dnsperf (2.10) has a mode for that, in which it mostly waits for a timer of its own. For other loads it is called, or
//! kxdpgun, and what they print is read here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::netns::{Netns, text};

/// Time limit for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Number of starts of a generator until it works.
const TRIES: usize = 5;

/// The result.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryTotals {
    /// Questions that were answered.
    pub answered: u64,
    /// Those that were not: refused, reset, or out of time.
    pub failed: u64,
    /// Time from SYN to answer, all together.
    pub waited: Duration,
}

/// Has `clients` at a time ask `server` the queries in turn, for so long.
///
/// # Errors
/// An answer is to another question, or has another code than NOERROR.
pub fn run(
    client: &Netns,
    server: SocketAddr,
    queries: &[Vec<u8>],
    clients: usize,
    time: Duration,
) -> anyhow::Result<QueryTotals> {
    let end = Instant::now() + time;
    let one = |first: usize| move || ask_on(server, queries, first, end);
    let all = client.enter(|| {
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..clients).map(|number| scope.spawn(one(number * queries.len() / clients))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a client"))
                .collect::<anyhow::Result<Vec<_>>>()
        })
    })?;
    Ok(all.into_iter().fold(QueryTotals::default(), |sum, one| QueryTotals {
        answered: sum.answered + one.answered,
        failed: sum.failed + one.failed,
        waited: sum.waited + one.waited,
    }))
}

/// The output of a generator. Both give up at once, now and then, where the kernel has not yet let go of what was before them.
///
/// # Errors
/// It does so again and again.
pub fn until(generator: &mut Command, mark: &str) -> anyhow::Result<String> {
    for _ in 0..TRIES {
        let output = text(&generator.output()?.stdout);
        if output.contains(mark) {
            return Ok(output);
        }
    }
    bail!("it does not work: {generator:?}")
}

/// The first number behind `label` in what dnsperf printed.
///
/// # Errors
/// There is none.
pub fn number(output: &str, label: &str) -> anyhow::Result<f64> {
    let (_, rest) =
        output.split_once(label).with_context(|| format!("dnsperf does not say {label}:\n{output}"))?;
    let word = rest.split_whitespace().next().unwrap_or_default();
    word.parse().with_context(|| format!("{label} {word}"))
}

/// A query for the address of `name`.
pub fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

fn ask_on(
    server: SocketAddr,
    queries: &[Vec<u8>],
    first: usize,
    end: Instant,
) -> anyhow::Result<QueryTotals> {
    let mut asked = QueryTotals::default();
    let mut answer = [0; 2 + 1_232];
    for query in queries.iter().cycle().skip(first) {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let Ok(length) = ask(server, query, &mut answer) else {
            asked.failed += 1;
            continue;
        };
        asked.waited += began.elapsed();
        asked.answered += 1;
        let message = answer[..length].get(2..).context("an empty answer")?;
        let question = 12..query.len();
        ensure!(message.get(question.clone()) == Some(&query[question]), "an answer to another question");
        ensure!(message[3] % 16 == 0 && message[7] > 0, "not the answer: {message:x?}");
    }
    Ok(asked)
}

/// Returns how many bytes the answer has, with its length before it.
fn ask(server: SocketAddr, query: &[u8], answer: &mut [u8]) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(query.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let mut read = 0;
    loop {
        match stream.read(&mut answer[read..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            bytes => read += bytes,
        }
        let [high, low, ..] = *answer else { return Ok(read) };
        if read >= 2 && read >= 2 + usize::from(u16::from_be_bytes([high, low])) {
            return Ok(read);
        }
    }
}
