//! The part of the dnstap schema that is written, with the field numbers of `dnstap.proto` (<https://dnstap.info>).

use crate::observe::transaction::{Role, Transaction};
use prost::{Enumeration, Message as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// One event.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DnstapEvent {
    /// The server's name.
    #[prost(bytes = "vec", optional, tag = "1")]
    identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    version: Option<Vec<u8>>,
    #[prost(enumeration = "EventType", required, tag = "15")]
    kind: i32,
    #[prost(message, optional, tag = "14")]
    message: Option<DnstapMessage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum EventType {
    Message = 1,
}

/// A query or a response, as seen by the responder.
#[derive(Clone, PartialEq, prost::Message)]
struct DnstapMessage {
    #[prost(enumeration = "MessageType", required, tag = "1")]
    kind: i32,
    #[prost(enumeration = "SocketFamily", optional, tag = "2")]
    family: Option<i32>,
    #[prost(enumeration = "SocketProtocol", optional, tag = "3")]
    protocol: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    query_address: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    response_address: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "6")]
    query_port: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    response_port: Option<u32>,
    #[prost(uint64, optional, tag = "8")]
    query_seconds: Option<u64>,
    #[prost(fixed32, optional, tag = "9")]
    query_nanoseconds: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "10")]
    query: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "12")]
    response_seconds: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    response_nanoseconds: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "14")]
    response: Option<Vec<u8>>,
}

/// `AUTH_*` are messages of an authoritative server (as Knot DNS, NSD and BIND write), `CLIENT_*` those of a forwarder (as
/// dnsdist writes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum MessageType {
    AuthQuery = 1,
    AuthResponse = 2,
    ClientQuery = 5,
    ClientResponse = 6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum SocketFamily {
    Inet = 1,
    Inet6 = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum SocketProtocol {
    Tcp = 2,
}

impl DnstapEvent {
    /// A template for events of a server with this name.
    pub(super) fn new(identity: Option<Vec<u8>>) -> Self {
        let version = concat!("stateless-tcp ", env!("CARGO_PKG_VERSION"));
        Self { identity, version: Some(version.into()), kind: EventType::Message.into(), message: None }
    }

    /// Calls `write` with the two events of `transaction`, query and response.
    pub(super) fn events(&mut self, transaction: &Transaction<'_>, mut write: impl FnMut(&[u8])) {
        let (query, response) = match transaction.role {
            Role::Authority => (MessageType::AuthQuery, MessageType::AuthResponse),
            Role::Forwarder => (MessageType::ClientQuery, MessageType::ClientResponse),
        };
        let common = DnstapMessage::new(transaction);
        let (response_seconds, response_nanoseconds) = since_1970(transaction.answered);
        let answered = DnstapMessage {
            kind: response.into(),
            response_seconds,
            response_nanoseconds,
            response: Some(transaction.response.to_vec()),
            ..common.clone()
        };
        let asked = DnstapMessage { kind: query.into(), query: Some(transaction.query.to_vec()), ..common };
        for message in [asked, answered] {
            self.message = Some(message);
            write(&self.encode_to_vec());
        }
    }
}

impl DnstapMessage {
    /// The fields that both messages have in common.
    fn new(transaction: &Transaction<'_>) -> Self {
        let tuple = &transaction.tuple;
        let (query_seconds, query_nanoseconds) = since_1970(transaction.asked);
        let family = if tuple.client.ipv4().is_some() { SocketFamily::Inet } else { SocketFamily::Inet6 };
        Self {
            family: Some(family.into()),
            protocol: Some(SocketProtocol::Tcp.into()),
            query_address: Some(address_bytes(tuple.client.into())),
            response_address: Some(address_bytes(tuple.server.into())),
            query_port: Some(tuple.client_port.into()),
            response_port: Some(tuple.server_port.into()),
            query_seconds,
            query_nanoseconds,
            ..Self::default()
        }
    }
}

/// 4 bytes of an IPv4 address, or 16 of an IPv6 address.
fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

/// Seconds since 1970, and the rest in nanoseconds.
fn since_1970(time: SystemTime) -> (Option<u64>, Option<u32>) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (Some(since.as_secs()), Some(since.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateless_tcp_core::tcp::segment::{Address, FourTuple};

    #[test]
    fn a_transaction_is_two_events() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, 5);
        let transaction = Transaction {
            role: Role::Forwarder,
            tuple: FourTuple {
                server: Address::from_ipv4([192, 0, 2, 1]),
                client: Address::from_ipv4([192, 0, 2, 2]),
                server_port: 53,
                client_port: 4_000,
            },
            asked: at(1),
            answered: at(2),
            query: b"Q",
            response: b"A",
        };
        let mut events = Vec::new();
        DnstapEvent::new(Some(b"me".to_vec())).events(&transaction, |event| events.push(event.to_vec()));
        let version = concat!("stateless-tcp ", env!("CARGO_PKG_VERSION"));
        let [asked, answered] = [
            (5, &b"\x52\x01Q"[..]),
            (6, b"\x60\x02\x6d\x05\0\0\0\x72\x01A"),
        ]
        .map(|(kind, end)| {
            // Number, type and value of each field.
            let common = b"\x10\x01\x18\x02\x22\x04\xc0\0\x02\x02\x2a\x04\xc0\0\x02\x01\x30\xa0\x1f\x38\x35\x40\x01\x4d\x05\0\0\0";
            let message = [&[8, kind][..], common, end].concat();
            let head = [b"\x0a\x02me\x12", &[u8::try_from(version.len()).unwrap()][..], version.as_bytes()];
            let length = u8::try_from(message.len()).unwrap();
            [&head.concat()[..], &[0x72, length], &message, b"\x78\x01"].concat()
        });
        assert_eq!(events, [asked, answered]);
    }
}
