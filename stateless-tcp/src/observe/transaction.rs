//! A question and its answer, as a worker tells whoever listens of them.

use super::ring::Writer;
use super::tap::nanoseconds;
use crate::services::dns::wire::PREFIX;
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::time::{Duration, SystemTime};

/// What somebody is who answers questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has the zones.
    Authority,
    /// It asks others.
    Forwarder,
}

/// A question that was answered. Where the answer, or the whole connection, is lost on the way, the client asks again, and
/// is answered again: then there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// What answered it.
    pub role: Role,
    /// From whom to whom.
    pub tuple: FourTuple,
    /// When the last octet of the question came, as far as the worker knows: the time of its batch.
    pub asked: SystemTime,
    /// When the answer was sent, likewise.
    pub answered: SystemTime,
    /// The question, a DNS message.
    pub question: &'a [u8],
    /// The answer, another.
    pub answer: &'a [u8],
}

mod field {
    //! Where things stand in a record.
    use std::ops::Range;
    pub(super) const ROLE: usize = 0;
    pub(super) const ASKED: Range<usize> = 1..9;
    pub(super) const ANSWERED: Range<usize> = 9..17;
    pub(super) const SERVER: Range<usize> = 17..33;
    pub(super) const CLIENT: Range<usize> = 33..49;
    pub(super) const SERVER_PORT: Range<usize> = 49..51;
    pub(super) const CLIENT_PORT: Range<usize> = 51..53;
    /// Octets of the question, which follows; the rest is the answer.
    pub(super) const QUESTION: Range<usize> = 53..57;
    pub(super) const HEAD: usize = 57;
}

impl<'a> Transaction<'a> {
    /// The same of messages that each stand behind their length; none if there is none.
    #[must_use]
    pub fn message(self) -> Option<Self> {
        let (question, answer) = (self.question.get(PREFIX..)?, self.answer.get(PREFIX..)?);
        Some(Self { question, answer, ..self })
    }

    /// Puts it into `ring`.
    pub(super) fn write(&self, ring: &mut Writer) {
        let Self { role, tuple, asked, answered, question, answer } = self;
        let mut head = [0; field::HEAD];
        head[field::ROLE] = u8::from(*role == Role::Forwarder);
        head[field::ASKED].copy_from_slice(&nanoseconds(*asked).to_be_bytes());
        head[field::ANSWERED].copy_from_slice(&nanoseconds(*answered).to_be_bytes());
        head[field::SERVER].copy_from_slice(&tuple.server.0);
        head[field::CLIENT].copy_from_slice(&tuple.client.0);
        head[field::SERVER_PORT].copy_from_slice(&tuple.server_port.to_be_bytes());
        head[field::CLIENT_PORT].copy_from_slice(&tuple.client_port.to_be_bytes());
        let length = u32::try_from(question.len()).unwrap_or(u32::MAX);
        head[field::QUESTION].copy_from_slice(&length.to_be_bytes());
        ring.write(&[&head, question, answer]);
    }

    /// Reads what was put there.
    pub(super) fn read(record: &'a [u8]) -> Option<Self> {
        let (head, messages) = record.split_first_chunk::<{ field::HEAD }>()?;
        let length = u32::from_be_bytes(head[field::QUESTION].try_into().ok()?);
        let (question, answer) = messages.split_at_checked(length as usize)?;
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
            question,
            answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ring;
    use std::sync::Arc;

    #[test]
    fn what_is_written_is_read() {
        let tuple = FourTuple {
            server: Address::from_ipv4([192, 0, 2, 1]),
            client: Address([7; 16]),
            server_port: 53,
            client_port: 4_000,
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, 7);
        let whole = Transaction {
            role: Role::Forwarder,
            tuple,
            asked: at(1_700_000_000),
            answered: at(1_700_000_001),
            question: b"\0\x08question",
            answer: b"\0\x06answer",
        };
        let transaction = whole.message().unwrap();
        assert_eq!((transaction.question, transaction.answer), (&b"question"[..], &b"answer"[..]));
        assert_eq!(Transaction { answer: &[], ..whole }.message(), None);
        let (mut writer, mut reader) = ring::pair(&Arc::default());
        transaction.write(&mut writer);
        let record = reader.read().unwrap().to_vec();
        assert_eq!(Transaction::read(&record), Some(transaction));
        assert_eq!(Transaction::read(&record[..field::HEAD]), None, "cut off");
    }
}
