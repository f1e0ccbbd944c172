//! A query as it goes to upstreams, independent of the client. It is the key of queries in flight and of cached
//! answers.

use crate::services::dns::edns::{self, Edns, FIXED, OPTION_HEAD, SIZE};
use crate::services::dns::name::DomainName;
use crate::services::dns::query::{DnsQuestion, ParsedQuery};
use crate::services::dns::rtype;
use crate::services::dns::wire::{ADDITIONALS, CLASS_IN, HEADER, QUESTIONS, TYPE_CLASS, flag};
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::ops::Range;

/// Longest query in bytes, which every path carries in one datagram (RFC 9715).
pub(super) const MOST: usize = 1232;

/// EDNS options (RFC 7871 section 6, RFC 7830 section 3).
pub(super) const CLIENT_SUBNET: u16 = 8;
const PADDING: u16 = 12;

/// Prefix lengths of IPv4 and IPv6 addresses for upstreams (RFC 7871 section 11.1).
const SUBNET_V4: u8 = 24;
const SUBNET_V6: u8 = 56;

/// The query is too long to be forwarded.
#[derive(Debug)]
pub(super) struct QueryTooLong;

/// The policy for the client subnet option in queries to upstreams (RFC 7871).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientSubnet {
    /// The client's own option, if any.
    #[default]
    PassThrough,
    /// The network of the client's address. A client can only opt out (source prefix length 0).
    FromAddress,
    /// The client's own option, else the network of its address.
    FromClientOrAddress,
}

/// Information about the client for the upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientInfo {
    /// The policy for its network.
    pub(super) subnet: ClientSubnet,
    /// Send its address and the server's (PROXY protocol).
    pub(super) addresses: bool,
}

/// A query without its ID and payload size, which differ between tries and are 0 here.
#[derive(Clone, Debug, Default)]
pub(super) struct UpstreamQuery {
    /// The addresses for the PROXY protocol, then the query.
    bytes: Vec<u8>,
    query: usize,
    question: usize,
}

/// Whether an option is hop-by-hop, so that it is never passed on.
pub(super) fn is_hop_by_hop(code: u16) -> bool {
    matches!(code, edns::NSID | edns::COOKIE | edns::KEEPALIVE | PADDING)
}

impl UpstreamQuery {
    /// Composes the query for the upstream from a client's query.
    pub(super) fn compose(
        &mut self,
        query: &ParsedQuery<'_>,
        question: &DnsQuestion,
        tuple: &FourTuple,
        client_info: ClientInfo,
    ) -> Result<(), QueryTooLong> {
        let Self { bytes, .. } = self;
        bytes.clear();
        if client_info.addresses {
            bytes.extend_from_slice(&tuple.client.0);
            bytes.extend_from_slice(&tuple.server.0);
        }
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        let flags = query.flags & (flag::RD | flag::AD | flag::CD);
        let type_class = &query.question[query.question.len() - TYPE_CLASS..];
        self.append(flags, question.name.wire(), type_class, dnssec_ok);
        let Self { bytes, .. } = self;
        let options = bytes.len();
        let told = query.edns.is_some_and(|edns| pass_on(&edns, client_info.subnet, bytes));
        if client_info.subnet != ClientSubnet::PassThrough && !told {
            push_subnet(tuple.client, bytes);
        }
        if bytes.len() - self.query > MOST {
            return Err(QueryTooLong);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most MOST")]
        let length = (bytes.len() - options) as u16;
        bytes[options - 2..options].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// A query that every name server answers at once, in one way or another: for the root's name servers, without recursion.
    pub(super) fn probe() -> Self {
        let mut probe = Self::default();
        let type_class = [rtype::NS, CLASS_IN].map(u16::to_be_bytes);
        probe.append(0, DomainName::root().wire(), type_class.as_flattened(), false);
        probe
    }

    /// Appends the header, the question, and an OPT record without options.
    fn append(&mut self, flags: u16, name: &[u8], type_class: &[u8], dnssec_ok: bool) {
        let Self { bytes, query, question } = self;
        *query = bytes.len();
        bytes.extend_from_slice(&[0; HEADER]);
        let header = &mut bytes[*query..];
        header[2..4].copy_from_slice(&flags.to_be_bytes());
        header[QUESTIONS + 1] = 1;
        header[ADDITIONALS + 1] = 1;
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(type_class);
        *question = bytes.len() - *query;
        bytes.extend_from_slice(&[0, 0, 41, 0, 0, 0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    }

    /// The key that identifies this query.
    pub(super) fn key(&self) -> &[u8] {
        &self.bytes
    }

    /// The question, in lowercase, type and class.
    pub(super) fn question(&self) -> &[u8] {
        &self.bytes[self.query..][..self.question][HEADER..]
    }

    /// Copies `other`, reusing this buffer.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.bytes.clone_from(&other.bytes);
        (self.query, self.question) = (other.query, other.question);
    }

    /// Appends the message, with this ID and payload size.
    pub(super) fn write(&self, id: u16, payload: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes[self.query..]);
        out[start..][..2].copy_from_slice(&id.to_be_bytes());
        let size: Range<usize> = self.question + SIZE..self.question + SIZE + 2;
        debug_assert!(self.question + FIXED <= out.len() - start, "there is an OPT");
        out[start..][size].copy_from_slice(&payload.to_be_bytes());
    }
}

impl ClientSubnet {
    /// Whether the client's CLIENT-SUBNET option is passed on.
    fn passes(self, option: &[u8]) -> bool {
        // RFC 7871 section 7.1.2: a source prefix length of 0 means that no address may be sent.
        let asks_for_none = option.get(OPTION_HEAD + 2) == Some(&0);
        self != Self::FromAddress || asks_for_none
    }

    /// Whether the client's own subnet option is passed on.
    pub(super) fn forwards_client_subnet(self, edns: &Edns<'_>) -> bool {
        edns::options(edns.options).any(|(code, option)| code == CLIENT_SUBNET && self.passes(option))
    }
}

/// Appends the client's options that are passed on, and returns true if its subnet is among them.
fn pass_on(edns: &Edns<'_>, subnet: ClientSubnet, bytes: &mut Vec<u8>) -> bool {
    let passes = |code, option: &[u8]| match code {
        CLIENT_SUBNET => subnet.passes(option),
        _ => !is_hop_by_hop(code),
    };
    for (_, option) in edns::options(edns.options).filter(|&(code, option)| passes(code, option)) {
        bytes.extend_from_slice(option);
    }
    subnet.forwards_client_subnet(edns)
}

/// RFC 7871 section 6: family, source prefix length, scope prefix length (0), and the bytes of the prefix.
fn push_subnet(client: Address, bytes: &mut Vec<u8>) {
    let v4 = client.ipv4();
    let (family, bits, address) =
        v4.as_ref().map_or((2, SUBNET_V6, &client.0[..]), |bytes| (1, SUBNET_V4, &bytes[..]));
    let address = &address[..usize::from(bits / 8)];
    #[expect(clippy::cast_possible_truncation, reason = "at most 7 bytes of address")]
    let length = 4 + address.len() as u8;
    bytes.extend_from_slice(&CLIENT_SUBNET.to_be_bytes());
    bytes.extend_from_slice(&[0, length, 0, family, bits, 0]);
    bytes.extend_from_slice(address);
}
