//! The HTTP server that Prometheus asks: `GET /metrics`.

use super::metrics::{self, CONTENT_TYPE};
use super::snapshot::Snapshot;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Somebody's wish for a snapshot, which goes to it.
pub type Look = oneshot::Sender<Snapshot>;

/// Most connections at a time: whoever finds no place waits for one.
const CONNECTIONS: usize = 16;

/// A connection has so long to say what it wants.
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("metrics: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let looks = looks.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| answer(request, &looks));
            let connection = Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!("metrics: {error}");
            }
        });
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
