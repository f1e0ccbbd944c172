//! The upstream server: connections and exchanges.

use super::counters::{HttpCounter, HttpCounters};
use super::response::{RelayedResponse, ResponseHead};
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

/// Limit on idle connections.
const MAX_IDLE: usize = 128;

/// The time for which they are kept, shorter than servers usually keep them.
const IDLE: Duration = Duration::from_secs(30);

/// Longest header section of a response in bytes.
const MAX_HEAD: usize = 32 << 10;

type UpstreamConnection = SendRequest<Full<Bytes>>;

/// An HTTP/1.1 server, and idle connections to it.
pub(super) struct HttpUpstream {
    address: SocketAddr,
    timeout: Duration,
    idle: Mutex<Vec<(UpstreamConnection, Instant)>>,
    failing: AtomicBool,
    counts: HttpCounters,
    /// Time from a request to the whole response.
    duration: Histogram,
}

/// The reason why there is no response. The client sees it, so it does not contain addresses.
#[derive(Debug, Error)]
enum UpstreamError {
    #[error("The upstream server cannot be reached: {0}.")]
    Unreachable(io::Error),
    #[error("The upstream server did not give a whole response within {0:?}.")]
    TimedOut(Duration),
    #[error("The upstream server did not give a whole response: {0}.")]
    Broken(String),
    #[error("The upstream server switched to another protocol.")]
    Upgrade,
    #[error("The upstream server's response has {0} bytes, which is too large: {room} can be relayed.", room = .1)]
    TooLarge(u64, usize),
    #[error("The upstream server's response is too large: {0} bytes can be relayed.")]
    Endless(usize),
}

impl HttpUpstream {
    /// The server at `address`, with this timeout for each response.
    pub(super) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self {
            address,
            timeout,
            idle: Mutex::default(),
            failing: AtomicBool::new(false),
            counts: HttpCounters::default(),
            duration: Histogram::default(),
        }
    }

    /// Its counters.
    pub(super) fn counts(&self) -> &HttpCounters {
        &self.counts
    }

    /// Its state, for snapshots.
    pub(super) fn report(&self) -> snapshot::UpstreamSnapshot {
        let up = !self.failing.load(Relaxed);
        snapshot::UpstreamSnapshot { address: self.address.to_string(), up, duration: self.duration.read() }
    }

    /// Passes the response to `request`, or an error response, to `deliver`.
    pub(super) async fn fetch(&self, request: Request<Full<Bytes>>, deliver: impl FnOnce(RelayedResponse)) {
        self.counts.add(HttpCounter::Requests);
        let head_only = request.method() == Method::HEAD;
        let started_at = Instant::now();
        let outcome = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        match outcome.unwrap_or(Err(UpstreamError::TimedOut(self.timeout))) {
            Ok((response, connection)) => {
                if self.failing.swap(false, Relaxed) {
                    tracing::info!("upstream {} answers again", self.address);
                }
                self.counts.add(HttpCounter::Responses);
                self.duration.record(started_at.elapsed(), 1);
                deliver(response);
                self.keep(connection).await;
            }
            Err(error) => {
                self.log_failure(&error);
                deliver(RelayedResponse::refusal(
                    error.status(),
                    &error.to_string(),
                    head_only,
                    SystemTime::now(),
                ));
            }
        }
    }

    /// Gets the response, and the connection if it is reusable.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(RelayedResponse, Option<UpstreamConnection>), UpstreamError> {
        // The server may have closed an idle connection before the request arrives. A safe request is sent again then
        // (RFC 9110 9.2.2); any other request gets a new connection.
        if request.method().is_safe()
            && let Some(mut connection) = self.take_idle().await
        {
            match connection.send_request(request.clone()).await {
                Err(error) if !error.is_parse() => {
                    tracing::debug!("upstream {}: idle connection: {error}", self.address);
                }
                response => return read(request.method(), response, connection).await,
            }
        }
        let mut connection = self.connect().await.map_err(UpstreamError::Unreachable)?;
        let method = request.method().clone();
        let response = connection.send_request(request).await;
        read(&method, response, connection).await
    }

    async fn connect(&self) -> io::Result<UpstreamConnection> {
        let stream = TcpStream::connect(self.address).await?;
        self.counts.add(HttpCounter::Connections);
        stream.set_nodelay(true)?;
        let mut builder = Builder::new();
        builder.title_case_headers(true).max_buf_size(MAX_HEAD);
        let (connection, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // The user of the connection learns how it ends.
        tokio::spawn(async move { drop(driver.await) });
        Ok(connection)
    }

    async fn take_idle(&self) -> Option<UpstreamConnection> {
        if self.idle().is_empty() {
            return None;
        }
        // Data on an idle connection is no response to anything, and ends it. Yielding lets the driver notice that
        // before a request goes out.
        tokio::task::yield_now().await;
        let mut idle = self.idle();
        while let Some((connection, since)) = idle.pop() {
            if connection.is_ready() && since.elapsed() < IDLE {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, once it is ready for one.
    async fn keep(&self, connection: Option<UpstreamConnection>) {
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

    fn idle(&self) -> MutexGuard<'_, Vec<(UpstreamConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure, and logs the first of several in a row.
    fn log_failure(&self, error: &UpstreamError) {
        let count = error.count();
        self.counts.add(count);
        // A response that is too large proves that the server works.
        let failing = !matches!(count, HttpCounter::TooLarge);
        if failing && !self.failing.swap(true, Relaxed) {
            tracing::warn!("upstream {}: {error}", self.address);
        } else {
            tracing::debug!("upstream {}: {error}", self.address);
        }
    }
}

/// Reads a whole response, and returns the connection if it is reusable.
async fn read(
    method: &Method,
    response: hyper::Result<Response<Incoming>>,
    connection: UpstreamConnection,
) -> Result<(RelayedResponse, Option<UpstreamConnection>), UpstreamError> {
    let (parts, mut incoming) = response.map_err(|error| UpstreamError::broken(&error))?.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::Upgrade);
    }
    let length = parts.headers.get(header::CONTENT_LENGTH).cloned();
    // RFC 9112 6.3: possibly an attempt to smuggle a response.
    let doubtful = length.is_some() && parts.headers.contains_key(header::TRANSFER_ENCODING);
    let started_at = ResponseHead::new(parts, method == Method::HEAD, SystemTime::now());
    let room = started_at.room();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        // Trailers have no place in a response of known length.
        let Ok(data) = frame.map_err(|error| UpstreamError::broken(&error))?.into_data() else { continue };
        if data.len() > room - body.len() {
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            return Err(
                length.map_or(UpstreamError::Endless(room), |length| UpstreamError::TooLarge(length, room))
            );
        }
        body.extend_from_slice(&data);
    }
    Ok((started_at.end(body), (!doubtful).then_some(connection)))
}

impl UpstreamError {
    fn broken(error: &hyper::Error) -> Self {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        Self::Broken(format!("{error}{}", cause.unwrap_or_default()))
    }

    fn count(&self) -> HttpCounter {
        match self {
            Self::Unreachable(_) => HttpCounter::Unreachable,
            Self::TimedOut(_) => HttpCounter::TimedOut,
            Self::Broken(_) | Self::Upgrade => HttpCounter::Broken,
            Self::TooLarge(..) | Self::Endless(_) => HttpCounter::TooLarge,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Upgrade => StatusCode::BAD_GATEWAY,
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            // The same as for a file that is too large.
            Self::TooLarge(..) | Self::Endless(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
