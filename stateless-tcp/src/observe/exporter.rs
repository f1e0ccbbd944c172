//! The HTTP server that Prometheus asks: `GET /metrics`.

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

/// Somebody's wish for a snapshot, which goes to it.
pub type Look = oneshot::Sender<Snapshot>;

/// Most connections at a time: with one more, the oldest ends, so that the newest scrape is always answered.
const CONNECTIONS: usize = 64;

/// A connection has so long to say what it wants, and so long to take some of what it gets.
const PATIENCE: Duration = Duration::from_secs(10);

/// After a connection that the system did not give, the next is waited for: it lacks descriptors.
const PAUSE: Duration = Duration::from_secs(1);

const PATH: &str = "/metrics";

/// A listener at `address`.
///
/// # Errors
/// The system's reason for refusing it.
pub fn listen(address: SocketAddr) -> io::Result<net::TcpListener> {
    let listener = net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers who connects to `listener` from what `looks` gives, for ever.
pub async fn serve(listener: TcpListener, looks: mpsc::UnboundedSender<Look>) {
    serve_patiently(listener, looks, PATIENCE).await;
}

async fn serve_patiently(listener: TcpListener, looks: mpsc::UnboundedSender<Look>, patience: Duration) {
    // The oldest first.
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("metrics: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let looks = looks.clone();
        connections.push_back(tokio::spawn(attend(stream, looks, patience)).abort_handle());
    }
}

/// Answers one connection to its end.
async fn attend(stream: TcpStream, looks: mpsc::UnboundedSender<Look>, patience: Duration) {
    // The kernel ends the connection of a reader that takes nothing for so long, or is gone.
    let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(&stream, sockopt::TcpUserTimeout, &milliseconds) {
        tracing::debug!("metrics: {error}");
    }
    let service = service_fn(|request| answer(request, &looks));
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("metrics: {error}");
    }
}

async fn answer(
    request: Request<Incoming>,
    looks: &mpsc::UnboundedSender<Look>,
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
    let snapshot = match looks.send(sender) {
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

    /// Listens, and answers all who ask.
    fn begin(patience: Duration) -> SocketAddr {
        let listener = TcpListener::from_std(listen("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (looks, mut wishes) = mpsc::unbounded_channel::<Look>();
        tokio::spawn(serve_patiently(listener, looks, patience));
        tokio::spawn(async move {
            while let Some(look) = wishes.recv().await {
                let _ = look.send(Snapshot::default());
            }
        });
        address
    }

    /// However many wait, or ask more and more and read nothing.
    #[test]
    fn the_newest_scrape_is_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // Nobody is given up for want of patience.
            let address = begin(Duration::from_hours(1));
            let pipelined = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
            let mut others = Vec::new();
            for said in ["", "GET /metrics", &pipelined] {
                for _ in 0..100 {
                    let stream = TcpStream::connect(address).await.unwrap();
                    // As much as fits: nobody need read it.
                    let _ = stream.try_write(said.as_bytes());
                    others.push(stream);
                }
                let asked = tokio::time::timeout(Duration::from_mins(1), ask(address, "GET /metrics")).await;
                assert!(
                    asked.expect("it is not waited for others").starts_with("HTTP/1.1 200"),
                    "{said:.20}"
                );
            }
            // The oldest make room.
            let ended = tokio::time::timeout(Duration::from_mins(1), others[0].read_u8()).await;
            assert!(ended.expect("it has ended").is_err());
        });
    }

    #[test]
    fn a_slow_reader_is_answered_and_one_that_stopped_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = begin(Duration::from_secs(1));
            // Octet by octet, and longer than that in all.
            let mut slow = TcpStream::connect(address).await.unwrap();
            slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while let Ok(octet) = slow.read_u8().await {
                answer.push(octet);
                if answer.len() % 200 == 0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"\n"));
            let mut stopped = TcpStream::connect(address).await.unwrap();
            let request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50);
            let end = tokio::time::Instant::now() + Duration::from_mins(1);
            let given_up = loop {
                // Once nothing more fits, only the end of the connection ends this.
                match stopped.try_write(request.as_bytes()) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => break true,
                    _ if tokio::time::Instant::now() > end => break false,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            assert!(given_up, "it is waited for still");
            let _ = stopped.shutdown().await;
        });
    }

    #[test]
    fn metrics_can_be_read_and_nothing_else() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let address = listener.local_addr().unwrap();
            let (looks, mut wishes) = mpsc::unbounded_channel::<Look>();
            tokio::spawn(serve(listener, looks));
            tokio::spawn(async move {
                let snapshot = Snapshot { generation: 77, ..Snapshot::default() };
                wishes.recv().await.unwrap().send(snapshot).unwrap();
            });
            let answer = ask(address, "GET /metrics").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{answer}");
            assert!(answer.contains("\nstateless_tcp_generation 77\n"), "{answer}");
            assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
            assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
            // Whoever could tell is gone.
            assert!(ask(address, "GET /metrics").await.starts_with("HTTP/1.1 503"));
        });
    }
}
