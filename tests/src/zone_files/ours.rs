//! The product's side: it reads a zone file and answers from it, in process.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use stateless_tcp::services::dns::{Dns, DnsOptions, ZoneSource};
use stateless_tcp::services::{Context, MAX_RESPONSE, Service};

use super::wire::{Message, WireRecord, query, receive};

/// Zones that are served.
pub struct Ours {
    dns: Dns,
}

impl Ours {
    /// Reads `file` as the zone `zone`, as `check-zone ZONE FILE` does.
    ///
    /// # Errors
    ///
    /// It is no file of that zone, or cannot be read; the message is for the operator.
    pub fn load(zone: &str, file: &Path) -> anyhow::Result<Self> {
        let name = Some(zone.parse().map_err(anyhow::Error::msg)?);
        let source = ZoneSource { name, file: file.to_owned() };
        Ok(Self { dns: Dns::load(&[source], &DnsOptions::default())? })
    }

    /// Reads files that each begin with their zone's name, `NAME.zone`.
    ///
    /// # Errors
    ///
    /// As [`Ours::load`].
    pub fn load_all(files: &[std::path::PathBuf]) -> anyhow::Result<Self> {
        let sources: Vec<ZoneSource> = files.iter().cloned().map(Into::into).collect();
        Ok(Self { dns: Dns::load(&sources, &DnsOptions::default())? })
    }

    /// The answer to a query; both without their length.
    ///
    /// # Panics
    ///
    /// There is no answer.
    #[must_use]
    pub fn answer(&self, query: &[u8]) -> Vec<u8> {
        let length = u16::try_from(query.len()).expect("a query is short").to_be_bytes();
        let mut response = Vec::with_capacity(MAX_RESPONSE);
        let framed = [&length, query].concat();
        self.dns.answer(&framed, &Context::default(), &mut response).expect("an answer");
        response.split_off(2)
    }

    /// The records of one type that are served at a name: in an answer, or in a referral.
    ///
    /// # Errors
    ///
    /// The answer is malformed.
    pub fn set(&self, owner: &[u8], rtype: u16) -> anyhow::Result<BTreeSet<WireRecord>> {
        let message = Message::read(&self.answer(&query(1, owner, rtype)))?;
        let wanted = |record: &WireRecord| record.rtype == rtype && record.owner.eq_ignore_ascii_case(owner);
        Ok(message.sections.into_iter().flatten().filter(wanted).collect())
    }
}

/// A name server on TCP, for programs that have to be answered: a thread for each connection, until the process ends.
///
/// # Errors
///
/// No address is left.
pub fn listen(ours: Ours) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let ours = Arc::new(ours);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let ours = Arc::clone(&ours);
            thread::spawn(move || converse(&ours, stream));
        }
    });
    Ok(address)
}

/// Answers on a connection until the other side closes it.
fn converse(ours: &Ours, mut stream: TcpStream) -> anyhow::Result<()> {
    loop {
        let answer = ours.answer(&receive(&mut stream)?);
        stream.write_all(&[&u16::try_from(answer.len())?.to_be_bytes(), &answer[..]].concat())?;
    }
}
