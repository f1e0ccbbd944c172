//! Queries over TCP, for answers that do not fit a datagram. They run on the control plane, which may wait.

use super::proxy_protocol;
use super::upstream_query::UpstreamQuery;
use super::upstreams::DnsUpstream;
use nix::sys::eventfd::{EfdFlags, EventFd};
use stateless_tcp_core::tcp::segment::FourTuple;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Limit on one worker's connections.
const CONNECTIONS: usize = 64;

/// One worker's queries over TCP.
#[derive(Debug)]
pub(super) struct TcpFallback {
    runtime: Handle,
    mailbox: Arc<TcpMailbox>,
    connections: Arc<Semaphore>,
    timeout: Duration,
}

/// Answers for the worker, and an eventfd that announces them.
#[derive(Debug)]
struct TcpMailbox {
    answers: Mutex<Vec<TcpAnswer>>,
    event: EventFd,
}

/// The result of a query over TCP.
#[derive(Debug)]
pub(super) struct TcpAnswer {
    /// The query's slot and serial number in the table.
    pub(super) entry: (usize, u64),
    /// The message; its ID has been checked.
    pub(super) outcome: io::Result<Vec<u8>>,
}

impl TcpFallback {
    pub(super) fn new(runtime: Handle, timeout: Duration) -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let mailbox = Arc::new(TcpMailbox { answers: Mutex::default(), event });
        Ok(Self { runtime, mailbox, connections: Arc::new(Semaphore::new(CONNECTIONS)), timeout })
    }

    /// Readable when there are answers.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.mailbox.event.as_fd()
    }

    /// Sends the query of `entry` to `upstream`; the result comes as a [`TcpAnswer`].
    pub(super) fn send(
        &self,
        entry: (usize, u64),
        upstream: &DnsUpstream,
        query: &UpstreamQuery,
        id: u16,
        client: Option<&FourTuple>,
    ) {
        let mut request = Vec::new();
        if let Some(tuple) = client {
            proxy_protocol::push(tuple, &mut request);
        }
        let length = request.len();
        request.extend_from_slice(&[0; 2]);
        query.write(id, upstream.payload, &mut request);
        #[expect(clippy::cast_possible_truncation, reason = "no more than fits a datagram")]
        let bytes = (request.len() - length - 2) as u16;
        request[length..][..2].copy_from_slice(&bytes.to_be_bytes());

        let (mailbox, connections) = (Arc::clone(&self.mailbox), Arc::clone(&self.connections));
        let (address, timeout) = (upstream.address, self.timeout);
        self.runtime.spawn(async move {
            let exchange = async {
                let _permit = connections.acquire().await.map_err(io::Error::other)?;
                exchange(address, &request, id).await
            };
            let outcome = tokio::time::timeout(timeout, exchange);
            let outcome = outcome.await.unwrap_or_else(|late| Err(late.into()));
            mailbox.put(TcpAnswer { entry, outcome });
        });
    }

    /// Takes the answers out.
    pub(super) fn take_answers(&self) -> Vec<TcpAnswer> {
        // The event is cleared first: an answer that arrives now is announced again.
        let _ = self.mailbox.event.read();
        std::mem::take(&mut *self.mailbox.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TcpMailbox {
    fn put(&self, tcp_answer: TcpAnswer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(tcp_answer);
        // Writing fails only if the event is set already.
        let _ = self.event.write(1);
    }
}

/// One query on a connection of its own (RFC 7766).
async fn exchange(address: SocketAddr, request: &[u8], id: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    if !message.starts_with(&id.to_be_bytes()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "another ID"));
    }
    Ok(message)
}
