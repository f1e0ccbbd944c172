//! The back end: connections to it, and exchanges on them.

use super::counters::{HttpRelayCounter, HttpRelayCounters};
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

/// Most connections that are kept without a request.
const MAX_IDLE: usize = 128;

/// How long they are: less than servers are used to.
const IDLE: Duration = Duration::from_secs(30);

/// Most octets of a response's header section.
const MAX_HEAD: usize = 32 << 10;

type UpstreamConnection = SendRequest<Full<Bytes>>;

/// A server that speaks HTTP/1.1, and the connections to it that can be used again.
pub(super) struct HttpUpstream {
    address: SocketAddr,
    timeout: Duration,
    idle: Mutex<Vec<(UpstreamConnection, Instant)>>,
    failing: AtomicBool,
    counts: HttpRelayCounters,
    /// From a request to the whole response.
    duration: Histogram,
}

/// Why there is no response. Shown to the client: it says nothing of addresses.
#[derive(Debug, Error)]
enum UpstreamError {
    #[error("The back end cannot be reached: {0}.")]
    Unreachable(io::Error),
    #[error("The back end did not give a whole response within {0:?}.")]
    TimedOut(Duration),
    #[error("The back end did not give a whole response: {0}.")]
    Broken(String),
    #[error("The back end wants to speak another protocol.")]
    Upgrade,
    #[error("The back end's response has {0} octets, which is too large: {room} can be relayed.", room = .1)]
    TooLarge(u64, usize),
    #[error("The back end's response is too large: {0} octets can be relayed.")]
    Endless(usize),
}

impl HttpUpstream {
    /// The server at `address`, which has `timeout` for each response.
    pub(super) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self {
            address,
            timeout,
            idle: Mutex::default(),
            failing: AtomicBool::new(false),
            counts: HttpRelayCounters::default(),
            duration: Histogram::default(),
        }
    }

    /// What is counted of it.
    pub(super) fn counts(&self) -> &HttpRelayCounters {
        &self.counts
    }

    /// How it does.
    pub(super) fn report(&self) -> snapshot::BackEnd {
        let up = !self.failing.load(Relaxed);
        snapshot::BackEnd { address: self.address.to_string(), up, duration: self.duration.read() }
    }

    /// Gives `deliver` the response to `request`, or one that says why there is none.
    pub(super) async fn fetch(&self, request: Request<Full<Bytes>>, deliver: impl FnOnce(RelayedResponse)) {
        self.counts.add(HttpRelayCounter::Requests);
        let head_only = request.method() == Method::HEAD;
        let begun = Instant::now();
        let outcome = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        match outcome.unwrap_or(Err(UpstreamError::TimedOut(self.timeout))) {
            Ok((response, connection)) => {
                if self.failing.swap(false, Relaxed) {
                    tracing::info!("back end {} answers again", self.address);
                }
                self.counts.add(HttpRelayCounter::Responses);
                self.duration.record(begun.elapsed(), 1);
                deliver(response);
                self.keep(connection).await;
            }
            Err(failure) => {
                self.log_failure(&failure);
                deliver(RelayedResponse::refusal(
                    failure.status(),
                    &failure.to_string(),
                    head_only,
                    SystemTime::now(),
                ));
            }
        }
    }

    /// The response, and the connection if it can be used again.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(RelayedResponse, Option<UpstreamConnection>), UpstreamError> {
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
        let mut connection = self.connect().await.map_err(UpstreamError::Unreachable)?;
        let method = request.method().clone();
        let response = connection.send_request(request).await;
        read(&method, response, connection).await
    }

    async fn connect(&self) -> io::Result<UpstreamConnection> {
        let stream = TcpStream::connect(self.address).await?;
        self.counts.add(HttpRelayCounter::Connections);
        stream.set_nodelay(true)?;
        let mut builder = Builder::new();
        builder.title_case_headers(true).max_buf_size(MAX_HEAD);
        let (connection, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // How it ends, the connection tells who uses it.
        tokio::spawn(async move { drop(driver.await) });
        Ok(connection)
    }

    async fn take_idle(&self) -> Option<UpstreamConnection> {
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

    /// Counts a failure, and says the first of several in a row.
    fn log_failure(&self, failure: &UpstreamError) {
        let count = failure.count();
        self.counts.add(count);
        // That is a response like any other.
        let failing = !matches!(count, HttpRelayCounter::TooLarge);
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
    connection: UpstreamConnection,
) -> Result<(RelayedResponse, Option<UpstreamConnection>), UpstreamError> {
    let (parts, mut incoming) = response.map_err(|error| UpstreamError::broken(&error))?.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::Upgrade);
    }
    let length = parts.headers.get(header::CONTENT_LENGTH).cloned();
    // RFC 9112 6.3: an attempt to smuggle a response, maybe.
    let doubtful = length.is_some() && parts.headers.contains_key(header::TRANSFER_ENCODING);
    let begun = ResponseHead::new(parts, method == Method::HEAD, SystemTime::now());
    let room = begun.room();
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
    Ok((begun.end(body), (!doubtful).then_some(connection)))
}

impl UpstreamError {
    fn broken(error: &hyper::Error) -> Self {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        Self::Broken(format!("{error}{}", cause.unwrap_or_default()))
    }

    fn count(&self) -> HttpRelayCounter {
        match self {
            Self::Unreachable(_) => HttpRelayCounter::Unreachable,
            Self::TimedOut(_) => HttpRelayCounter::TimedOut,
            Self::Broken(_) | Self::Upgrade => HttpRelayCounter::Broken,
            Self::TooLarge(..) | Self::Endless(_) => HttpRelayCounter::TooLarge,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Upgrade => StatusCode::BAD_GATEWAY,
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            // As for a file that is too large.
            Self::TooLarge(..) | Self::Endless(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
