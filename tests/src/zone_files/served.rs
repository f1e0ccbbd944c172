//! Comparison of all records of a zone with another server's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::ours::Ours;
use super::wire::{Message, WireRecord, difference, plain_name, query, receive};

const A: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const AAAA: u16 = 28;
const DNAME: u16 = 39;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC3: u16 = 50;
const AXFR: u16 = 252;

/// Asks for all sets of records that another server has, and says what is served otherwise. `comparable` takes out of a
/// record what may differ.
///
/// # Errors
///
/// An answer is malformed, or the other server has no SOA record.
pub fn served(
    ours: &Ours,
    records: &[WireRecord],
    comparable: impl Fn(&WireRecord) -> WireRecord,
) -> anyhow::Result<Vec<String>> {
    let mut sets = BTreeMap::<(Vec<u8>, u16), BTreeSet<WireRecord>>::new();
    let mut spelled = HashMap::new();
    for record in records {
        let key = (record.owner.to_ascii_lowercase(), record.rtype);
        spelled.entry(key.0.clone()).or_insert(&record.owner);
        sets.entry(key).or_default().insert(comparable(record));
    }
    let apex = sets.keys().find(|(_, rtype)| *rtype == SOA).context("no SOA record")?.0.clone();
    let holds = |owner: &[u8], rtype: u16| sets.contains_key(&(owner.to_vec(), rtype));
    let mut lines = Vec::new();
    for ((owner, rtype), expected) in &sets {
        // The topmost cut hides all others.
        let cut = ancestors(owner, &apex).filter(|name| *name != apex && holds(name, NS)).last();
        let hidden = ancestors(owner, &apex).any(|name| name != owner && holds(name, DNAME));
        // Nobody can ask for what a cut or a DNAME hides but for the addresses of name servers (RFC 1034 section 4.2.1), nor
        // for NSEC3 records (RFC 5155 section 7.2.8).
        let askable = match cut {
            Some(cut) if cut == owner => matches!(*rtype, NS | DS),
            Some(cut) => matches!(*rtype, A | AAAA) && is_target(&sets[&(cut.to_vec(), NS)], owner),
            None => true,
        };
        let hashed = *rtype == NSEC3 || *rtype == RRSIG && holds(owner, NSEC3);
        if hidden || !askable || hashed {
            continue;
        }
        let actual: BTreeSet<WireRecord> =
            ours.set(spelled[owner], *rtype)?.iter().map(&comparable).collect();
        lines.extend(difference(expected, &actual));
    }
    Ok(lines)
}

/// The name, its parent and so on, down to the apex.
fn ancestors<'a>(name: &'a [u8], apex: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let parent = |name: &&'a [u8]| name.get(1 + usize::from(*name.first()?)..);
    std::iter::successors(Some(name), parent).take_while(|name| name.len() >= apex.len())
}

/// Whether one of the NS records names the name.
fn is_target(servers: &BTreeSet<WireRecord>, name: &[u8]) -> bool {
    servers.iter().any(|server| server.rdata.eq_ignore_ascii_case(name))
}

/// All records of a zone, by AXFR; the SOA record twice.
///
/// # Errors
///
/// The server refuses, or answers with something else.
pub fn transfer(server: SocketAddr, zone: &str) -> anyhow::Result<Vec<WireRecord>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let query = query(7, &plain_name(zone), AXFR);
    stream.write_all(&[&u16::try_from(query.len())?.to_be_bytes(), &query[..]].concat())?;
    let mut records = Vec::new();
    while records.iter().filter(|record: &&WireRecord| record.rtype == SOA).count() < 2 {
        let message = Message::read(&receive(&mut stream)?)?;
        ensure!(message.rcode == 0, "it refuses to transfer {zone}: code {}", message.rcode);
        let [answer, ..] = message.sections;
        records.extend(answer);
    }
    Ok(records)
}
