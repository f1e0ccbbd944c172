//! A DNS query and its response, as copied to listeners.

use super::ring::RingWriter;
use super::tap::nanoseconds;
use crate::dns_framing::LENGTH_PREFIX;
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::time::{Duration, SystemTime};

/// The role of a DNS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers from its own zones.
    Authority,
    /// It forwards queries to upstreams.
    Forwarder,
}

/// A query that was answered. If the response is lost in the network, the client asks again: then there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// The role of the service that answered.
    pub role: Role,
    /// The connection.
    pub tuple: FourTuple,
    /// Time of the batch with the last byte of the query.
    pub asked: SystemTime,
    /// Time of the batch in which the response was sent.
    pub answered: SystemTime,
    /// The query, a DNS message.
    pub query: &'a [u8],
    /// The response, a DNS message.
    pub response: &'a [u8],
}

mod field {
    //! Positions in a record.
    use std::ops::Range;
    pub(super) const ROLE: usize = 0;
    pub(super) const ASKED: Range<usize> = 1..9;
    pub(super) const ANSWERED: Range<usize> = 9..17;
    pub(super) const SERVER: Range<usize> = 17..33;
    pub(super) const CLIENT: Range<usize> = 33..49;
    pub(super) const SERVER_PORT: Range<usize> = 49..51;
    pub(super) const CLIENT_PORT: Range<usize> = 51..53;
    /// Length of the query, which follows; the rest is the response.
    pub(super) const QUERY: Range<usize> = 53..57;
    pub(super) const HEAD: usize = 57;
}

impl<'a> Transaction<'a> {
    /// Strips the length before both messages; `None` if a message is missing.
    #[must_use]
    pub fn unframed(self) -> Option<Self> {
        let (query, response) = (self.query.get(LENGTH_PREFIX..)?, self.response.get(LENGTH_PREFIX..)?);
        Some(Self { query, response, ..self })
    }

    /// Writes it to `ring`.
    pub(super) fn write(&self, ring: &mut RingWriter) {
        let Self { role, tuple, asked, answered, query, response } = self;
        let mut head = [0; field::HEAD];
        head[field::ROLE] = u8::from(*role == Role::Forwarder);
        head[field::ASKED].copy_from_slice(&nanoseconds(*asked).to_be_bytes());
        head[field::ANSWERED].copy_from_slice(&nanoseconds(*answered).to_be_bytes());
        head[field::SERVER].copy_from_slice(&tuple.server.0);
        head[field::CLIENT].copy_from_slice(&tuple.client.0);
        head[field::SERVER_PORT].copy_from_slice(&tuple.server_port.to_be_bytes());
        head[field::CLIENT_PORT].copy_from_slice(&tuple.client_port.to_be_bytes());
        let length = u32::try_from(query.len()).unwrap_or(u32::MAX);
        head[field::QUERY].copy_from_slice(&length.to_be_bytes());
        ring.write(&[&head, query, response]);
    }

    /// Parses a record.
    pub(super) fn read(record: &'a [u8]) -> Option<Self> {
        let (head, messages) = record.split_first_chunk::<{ field::HEAD }>()?;
        let length = u32::from_be_bytes(head[field::QUERY].try_into().ok()?);
        let (query, response) = messages.split_at_checked(length as usize)?;
        let time = |at: std::ops::Range<usize>| {
            let nanoseconds = u64::from_be_bytes(head[at].try_into().ok()?);
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
        };
        let port = |at: std::ops::Range<usize>| head[at].try_into().ok().map(u16::from_be_bytes);
        Some(Self {
            role: if head[field::ROLE] == 0 { Role::Authority } else { Role::Forwarder },
            tuple: FourTuple {
                server: Address(head[field::SERVER].try_into().ok()?),
                client: Address(head[field::CLIENT].try_into().ok()?),
                server_port: port(field::SERVER_PORT)?,
                client_port: port(field::CLIENT_PORT)?,
            },
            asked: time(field::ASKED)?,
            answered: time(field::ANSWERED)?,
            query,
            response,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ring;
    use std::sync::Arc;

    #[test]
    fn a_transaction_is_read_as_it_was_written() {
        let tuple = FourTuple {
            server: Address::from_ipv4([192, 0, 2, 1]),
            client: Address([7; 16]),
            server_port: 53,
            client_port: 4_000,
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, 7);
        let framed = Transaction {
            role: Role::Forwarder,
            tuple,
            asked: at(1_700_000_000),
            answered: at(1_700_000_001),
            query: b"\0\x08question",
            response: b"\0\x06answer",
        };
        let transaction = framed.unframed().unwrap();
        assert_eq!((transaction.query, transaction.response), (&b"question"[..], &b"answer"[..]));
        assert_eq!(Transaction { response: &[], ..framed }.unframed(), None);
        let (mut writer, mut reader) = ring::pair(&Arc::default());
        transaction.write(&mut writer);
        let record = reader.read().unwrap().to_vec();
        assert_eq!(Transaction::read(&record), Some(transaction));
        assert_eq!(Transaction::read(&record[..field::HEAD]), None, "cut off");
    }
}
