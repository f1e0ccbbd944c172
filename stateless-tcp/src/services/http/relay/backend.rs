//! The back end: connections to it, and exchanges on them.

use super::counts::{Count, Counts};
use super::reply::{Begun, Reply};
use crate::observe::histogram::Histogram;
use crate::observe::snapshot;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;
use tokio::net::TcpStream;

/// Most connections that are kept without a request.
const MAX_IDLE: usize = 128;

/// How long they are: less than servers are used to.
const IDLE: Duration = Duration::from_secs(30);

/// Most octets of a response's header section.
const MAX_HEAD: usize = 32 << 10;

type Connection = SendRequest<Full<Bytes>>;

/// A server that speaks HTTP/1.1, and the connections to it that can be used again.
pub(super) struct BackEnd {
    address: SocketAddr,
    timeout: Duration,
    idle: Mutex<Vec<(Connection, Instant)>>,
    failing: AtomicBool,
    counts: Counts,
    /// From a request to the whole response.
    duration: Histogram,
}

/// Why there is no response. Shown to the client: it says nothing of addresses.
#[derive(Debug, Error)]
enum Failure {
    #[error("The back end cannot be reached: {0}.")]
    Unreachable(io::Error),
    #[error("The back end did not give a whole response within {0:?}.")]
    Slow(Duration),
    #[error("The back end did not give a whole response: {0}.")]
    Broken(String),
    #[error("The back end wants to speak another protocol.")]
    Upgrade,
    #[error("The back end's response has {0} octets, which is too large: {room} can be relayed.", room = .1)]
    TooLarge(u64, usize),
    #[error("The back end's response is too large: {0} octets can be relayed.")]
    Endless(usize),
}

impl BackEnd {
    /// The server at `address`, which has `timeout` for each response.
    pub(super) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self {
            address,
            timeout,
            idle: Mutex::default(),
            failing: AtomicBool::new(false),
            counts: Counts::default(),
            duration: Histogram::default(),
        }
    }

    /// What is counted of it.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How it does.
    pub(super) fn look(&self) -> snapshot::UpstreamSnapshot {
        let up = !self.failing.load(Relaxed);
        snapshot::UpstreamSnapshot { address: self.address.to_string(), up, duration: self.duration.read() }
    }

    /// Gives `deliver` the response to `request`, or one that says why there is none.
    pub(super) async fn fetch(&self, request: Request<Full<Bytes>>, deliver: impl FnOnce(Reply)) {
        self.counts.add(Count::Requests);
        let head_only = request.method() == Method::HEAD;
        let begun = Instant::now();
        let outcome = tokio::time::timeout(self.timeout, self.ask(request)).await;
        match outcome.unwrap_or(Err(Failure::Slow(self.timeout))) {
            Ok((reply, connection)) => {
                if self.failing.swap(false, Relaxed) {
                    tracing::info!("back end {} answers again", self.address);
                }
                self.counts.add(Count::Responses);
                self.duration.record(begun.elapsed(), 1);
                deliver(reply);
                self.keep(connection).await;
            }
            Err(failure) => {
                self.report(&failure);
                deliver(Reply::refusal(failure.status(), &failure.to_string(), head_only, SystemTime::now()));
            }
        }
    }

    /// The response, and the connection if it can be used again.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(Reply, Option<Connection>), Failure> {
        // A connection that was idle may have been closed before the request came. Then it is asked again, if it may be
        // (RFC 9110 9.2.2); if not, a connection of its own keeps it from that.
        if request.method().is_safe()
            && let Some(mut connection) = self.take_idle().await
        {
            match connection.send_request(request.clone()).await {
                Err(error) if !error.is_parse() => {
                    tracing::debug!("back end {}: idle connection: {error}", self.address);
                }
                response => return read(request.method(), response, connection).await,
            }
        }
        let mut connection = self.connect().await.map_err(Failure::Unreachable)?;
        let method = request.method().clone();
        let response = connection.send_request(request).await;
        read(&method, response, connection).await
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        self.counts.add(Count::Connections);
        stream.set_nodelay(true)?;
        let mut builder = Builder::new();
        builder.title_case_headers(true).max_buf_size(MAX_HEAD);
        let (connection, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // How it ends, the connection tells who uses it.
        tokio::spawn(async move { drop(driver.await) });
        Ok(connection)
    }

    async fn take_idle(&self) -> Option<Connection> {
        if self.idle().is_empty() {
            return None;
        }
        // What came on an idle connection meanwhile is no response to anything, and ends it. It is seen to when others had
        // their turn, before a request goes out.
        tokio::task::yield_now().await;
        let mut idle = self.idle();
        while let Some((connection, since)) = idle.pop() {
            if connection.is_ready() && since.elapsed() < IDLE {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, once nothing more comes on it that is not a response.
    async fn keep(&self, connection: Option<Connection>) {
        let Some(mut connection) = connection else { return };
        if connection.ready().await.is_err() {
            return;
        }
        let mut idle = self.idle();
        idle.retain(|(connection, since)| connection.is_ready() && since.elapsed() < IDLE);
        if idle.len() < MAX_IDLE {
            idle.push((connection, Instant::now()));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure, and says the first of several in a row.
    fn report(&self, failure: &Failure) {
        let count = failure.count();
        self.counts.add(count);
        // That is a response like any other.
        let failing = !matches!(count, Count::TooLarge);
        if failing && !self.failing.swap(true, Relaxed) {
            tracing::warn!("back end {}: {failure}", self.address);
        } else {
            tracing::debug!("back end {}: {failure}", self.address);
        }
    }
}

/// The whole of a response, and its connection if nothing speaks against using it again.
async fn read(
    method: &Method,
    response: hyper::Result<Response<Incoming>>,
    connection: Connection,
) -> Result<(Reply, Option<Connection>), Failure> {
    let (parts, mut incoming) = response.map_err(|error| Failure::broken(&error))?.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::Upgrade);
    }
    let length = parts.headers.get(header::CONTENT_LENGTH).cloned();
    // RFC 9112 6.3: an attempt to smuggle a response, maybe.
    let doubtful = length.is_some() && parts.headers.contains_key(header::TRANSFER_ENCODING);
    let begun = Begun::new(parts, method == Method::HEAD, SystemTime::now());
    let room = begun.room();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        // Trailers have no place in a response of known length.
        let Ok(data) = frame.map_err(|error| Failure::broken(&error))?.into_data() else { continue };
        if data.len() > room - body.len() {
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            return Err(length.map_or(Failure::Endless(room), |length| Failure::TooLarge(length, room)));
        }
        body.extend_from_slice(&data);
    }
    Ok((begun.end(body), (!doubtful).then_some(connection)))
}

impl Failure {
    fn broken(error: &hyper::Error) -> Self {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        Self::Broken(format!("{error}{}", cause.unwrap_or_default()))
    }

    fn count(&self) -> Count {
        match self {
            Self::Unreachable(_) => Count::Unreachable,
            Self::Slow(_) => Count::TimedOut,
            Self::Broken(_) | Self::Upgrade => Count::Broken,
            Self::TooLarge(..) | Self::Endless(_) => Count::TooLarge,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Upgrade => StatusCode::BAD_GATEWAY,
            Self::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
            // As for a file that is too large.
            Self::TooLarge(..) | Self::Endless(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
