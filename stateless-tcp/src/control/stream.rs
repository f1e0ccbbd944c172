//! Replies that go on until the client closes: frames that pass the workers, or snapshots.
//!
//! The reply to `trace FILTER` is a line with the traced queues ([`TracedQueues`]), and then records:
//!
//! ```text
//! kind (1 byte) | index of the queue in that line (2) | nanoseconds since 1970 (8) | length (4) | content
//! ```
//!
//! Numbers are in network byte order. The content of kind 2 is the number of frames that were left out so far (8 bytes).
//! Such a record comes twice a second, so that each side notices when the other is gone. The reply to `top` is a snapshot a
//! second, each a line of JSON.

use super::{CommandResult, reply};
use crate::observe::exporter::SnapshotRequest;
use crate::observe::tap::{Direction, FrameRecord, TapFilter, TapListener, TapRegistry};
use serde::{Deserialize, Serialize};
use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, oneshot};

/// Interval at which the rings are emptied.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Interval of the records that count lost frames.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Time limit for the workers to take their taps: they do so once a turn, and when they are idle.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for the client to accept a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// A queue whose frames can be traced.
#[derive(Clone, Debug)]
pub struct TapSource {
    /// The name of its interface.
    pub interface: String,
    /// Its number.
    pub queue: u32,
    /// The XDP program answers handshakes, which pass no worker then.
    pub driver: bool,
    /// The worker's new taps.
    pub taps: Arc<TapRegistry>,
}

/// A request for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// The frames to send.
    pub filter: TapFilter,
    /// Trace the queues of this number only.
    pub queue: Option<u32>,
}

/// The queues of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedQueues {
    /// Interface and queue, as in `eth0/0`.
    pub queues: Vec<String>,
    /// Interfaces whose XDP program answers handshakes, which a trace does not show.
    pub driver: Vec<String>,
}

/// An event of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// A frame passed a queue.
    Frame {
        /// The queue's index in [`TracedQueues::queues`].
        queue: usize,
        /// Time since 1970.
        time: Duration,
        /// Its direction.
        direction: Direction,
        /// The frame, from the Ethernet header on.
        bytes: Vec<u8>,
    },
    /// Number of frames that were left out so far.
    Lost(u64),
}

const RECEIVED: u8 = 0;
const SENT: u8 = 1;
const LOST: u8 = 2;

/// Sends the requested frames until the client closes.
pub(super) fn send_frames(
    mut stream: &UnixStream,
    request: TraceRequest,
    sources: &[TapSource],
) -> io::Result<()> {
    let chosen = |source: &&TapSource| request.queue.is_none_or(|queue| queue == source.queue);
    let sources: Vec<&TapSource> = sources.iter().filter(chosen).collect();
    if sources.is_empty() {
        let text = format!("no queue {} is served", request.queue.unwrap_or_default());
        return reply(stream, &Err(text));
    }
    let mut listener = TapListener::to_frames(sources.iter().map(|source| &*source.taps), request.filter);
    let end = Instant::now() + ATTACH_TIMEOUT;
    while !sources.iter().all(|source| source.taps.is_empty()) && Instant::now() < end {
        sleep(POLL_INTERVAL);
    }
    let mut driver: Vec<String> =
        sources.iter().filter(|source| source.driver).map(|source| source.interface.clone()).collect();
    driver.dedup();
    let queues = sources.iter().map(|source| format!("{}/{}", source.interface, source.queue)).collect();
    let shown = serde_json::to_string(&TracedQueues { queues, driver }).map_err(io::Error::other)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    reply(stream, &Ok(shown + "\n"))?;
    let mut out = BufWriter::new(&mut stream);
    let mut heartbeat = Instant::now();
    loop {
        let any = listener.frames(|number, FrameRecord { time, direction, bytes }| {
            let kind = if direction == Direction::Received { RECEIVED } else { SENT };
            write(&mut out, kind, number, time, bytes)
        })?;
        if heartbeat <= Instant::now() {
            heartbeat = Instant::now() + HEARTBEAT;
            write(&mut out, LOST, 0, Duration::ZERO, &listener.lost().to_be_bytes())?;
        }
        out.flush()?;
        if !any {
            sleep(POLL_INTERVAL);
        }
    }
}

fn write(out: &mut impl Write, kind: u8, number: usize, time: Duration, content: &[u8]) -> io::Result<()> {
    let number = u16::try_from(number).map_err(io::Error::other)?;
    let time = u64::try_from(time.as_nanos()).map_err(io::Error::other)?;
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    out.write_all(&[kind])?;
    out.write_all(&number.to_be_bytes())?;
    out.write_all(&time.to_be_bytes())?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(content)
}

/// Reads an event of a trace; `None` at the end of the stream.
///
/// # Errors
/// The connection broke, or the record is not one of these.
pub async fn read_event(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<TraceEvent>> {
    let Ok(kind) = from.read_u8().await else { return Ok(None) };
    let queue = from.read_u16().await?.into();
    let time = Duration::from_nanos(from.read_u64().await?);
    let length = from.read_u32().await?;
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes).await?;
    let direction = match kind {
        RECEIVED => Direction::Received,
        SENT => Direction::Sent,
        LOST => {
            let lost = bytes.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
            return Ok(Some(TraceEvent::Lost(u64::from_be_bytes(lost))));
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Some(TraceEvent::Frame { queue, time, direction, bytes }))
}

/// Sends a snapshot a second until the client closes.
pub(super) fn send_snapshots(
    mut stream: &UnixStream,
    requests: &mpsc::UnboundedSender<SnapshotRequest>,
) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    reply(stream, &CommandResult::Ok("\n".to_owned()))?;
    loop {
        let (sender, receiver) = oneshot::channel();
        let snapshot = requests.send(sender).ok().and_then(|()| receiver.blocking_recv().ok());
        let Some(snapshot) = snapshot else { return Ok(()) };
        let mut line = serde_json::to_vec(&snapshot).map_err(io::Error::other)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        sleep(SNAPSHOT_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_written() {
        let frame = TraceEvent::Frame {
            queue: 3,
            time: Duration::from_nanos(1_700_000_000_000_000_007),
            direction: Direction::Sent,
            bytes: vec![1, 2, 3],
        };
        let mut stream = Vec::new();
        if let TraceEvent::Frame { queue, time, bytes, .. } = &frame {
            write(&mut stream, SENT, *queue, *time, bytes).unwrap();
        }
        write(&mut stream, LOST, 0, Duration::ZERO, &77_u64.to_be_bytes()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut from = stream.as_slice();
            assert_eq!(read_event(&mut from).await.unwrap(), Some(frame));
            assert_eq!(read_event(&mut from).await.unwrap(), Some(TraceEvent::Lost(77)));
            assert_eq!(read_event(&mut from).await.unwrap(), None, "the end");
            assert!(read_event(&mut &[9; 15][..]).await.is_err(), "an unknown kind");
            assert!(read_event(&mut &stream[..9]).await.is_err(), "cut off");
        });
    }
}
