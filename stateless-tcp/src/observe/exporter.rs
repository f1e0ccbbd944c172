//! The HTTP server for Prometheus: `GET /metrics`.

use super::metrics::{self, CONTENT_TYPE};
use super::snapshot::Snapshot;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::VecDeque;
use std::io;
use std::net::{self, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// The sender for a requested snapshot.
pub type SnapshotRequest = oneshot::Sender<Snapshot>;

/// Most connections at a time. A further one ends the oldest, so that the newest scrape is always answered.
const MAX_CONNECTIONS: usize = 64;

/// Time limit for a client to send its request, and to accept a part of the response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, for which file descriptors are missing.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

const PATH: &str = "/metrics";

/// Listens at `address`.
///
/// # Errors
/// The system's error.
pub fn listen(address: SocketAddr) -> io::Result<net::TcpListener> {
    let listener = net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the clients of `listener`, with snapshots from `requests`, for ever.
pub async fn serve(listener: TcpListener, requests: mpsc::UnboundedSender<SnapshotRequest>) {
    serve_with_timeout(listener, requests, TIMEOUT).await;
}

async fn serve_with_timeout(
    listener: TcpListener,
    requests: mpsc::UnboundedSender<SnapshotRequest>,
    timeout: Duration,
) {
    // The oldest first.
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("metrics: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let requests = requests.clone();
        connections.push_back(tokio::spawn(serve_connection(stream, requests, timeout)).abort_handle());
    }
}

/// Serves one connection to its end.
async fn serve_connection(
    stream: TcpStream,
    requests: mpsc::UnboundedSender<SnapshotRequest>,
    timeout: Duration,
) {
    // The kernel ends the connection of a client that accepts nothing for this time.
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(&stream, sockopt::TcpUserTimeout, &milliseconds) {
        tracing::debug!("metrics: {error}");
    }
    let service = service_fn(|request| answer(request, &requests));
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("metrics: {error}");
    }
}

async fn answer(
    request: Request<Incoming>,
    requests: &mpsc::UnboundedSender<SnapshotRequest>,
) -> hyper::http::Result<Response<Full<Bytes>>> {
    let plain =
        |status: StatusCode, text: &'static str| Response::builder().status(status).body(Full::from(text));
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "The metrics are at /metrics.\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Metrics can only be read.\n");
    }
    let (sender, receiver) = oneshot::channel();
    let snapshot = match requests.send(sender) {
        Ok(()) => receiver.await.ok(),
        Err(_) => None,
    };
    let Some(text) = snapshot.and_then(|snapshot| metrics::text(&snapshot).ok()) else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "The process is ending.\n");
    };
    Response::builder().header(header::CONTENT_TYPE, CONTENT_TYPE).body(Full::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Starts a server of empty snapshots.
    fn begin(timeout: Duration) -> SocketAddr {
        let listener = TcpListener::from_std(listen("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut requests) = mpsc::unbounded_channel::<SnapshotRequest>();
        tokio::spawn(serve_with_timeout(listener, sender, timeout));
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                let _ = request.send(Snapshot::default());
            }
        });
        address
    }

    /// The number of connections that wait, or read nothing, does not matter.
    #[test]
    fn the_newest_scrape_is_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // No connection times out.
            let address = begin(Duration::from_hours(1));
            let pipelined = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
            let mut others = Vec::new();
            for sent in ["", "GET /metrics", &pipelined] {
                for _ in 0..100 {
                    let stream = TcpStream::connect(address).await.unwrap();
                    // As much as fits.
                    let _ = stream.try_write(sent.as_bytes());
                    others.push(stream);
                }
                let asked = tokio::time::timeout(Duration::from_mins(1), ask(address, "GET /metrics")).await;
                assert!(
                    asked.expect("other connections do not delay it").starts_with("HTTP/1.1 200"),
                    "{sent:.20}"
                );
            }
            // The oldest connections end.
            let ended = tokio::time::timeout(Duration::from_mins(1), others[0].read_u8()).await;
            assert!(ended.expect("it has ended").is_err());
        });
    }

    #[test]
    fn a_slow_client_is_served_and_a_stopped_one_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = begin(Duration::from_secs(1));
            // Byte by byte, and longer than the timeout in total.
            let mut slow = TcpStream::connect(address).await.unwrap();
            slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while let Ok(byte) = slow.read_u8().await {
                answer.push(byte);
                if answer.len() % 200 == 0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"\n"));
            let mut stopped = TcpStream::connect(address).await.unwrap();
            let request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50);
            let end = tokio::time::Instant::now() + Duration::from_mins(1);
            let ended = loop {
                // Once the buffers are full, only the end of the connection ends this loop.
                match stopped.try_write(request.as_bytes()) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => break true,
                    _ if tokio::time::Instant::now() > end => break false,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            assert!(ended, "the server still waits");
            let _ = stopped.shutdown().await;
        });
    }

    #[test]
    fn only_metrics_can_be_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let address = listener.local_addr().unwrap();
            let (sender, mut requests) = mpsc::unbounded_channel::<SnapshotRequest>();
            tokio::spawn(serve(listener, sender));
            tokio::spawn(async move {
                let snapshot = Snapshot { generation: 77, ..Snapshot::default() };
                requests.recv().await.unwrap().send(snapshot).unwrap();
            });
            let answer = ask(address, "GET /metrics").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{answer}");
            assert!(answer.contains("\nstateless_tcp_generation 77\n"), "{answer}");
            assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
            assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
            // The supervisor is gone.
            assert!(ask(address, "GET /metrics").await.starts_with("HTTP/1.1 503"));
        });
    }
}
