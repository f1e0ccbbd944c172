//! TCP Fast Open (RFC 7413): a request that comes with the SYN is answered before the client has said anything else
//! (docs/protocol.md, "TCP Fast Open").
//!
//! Nothing is proven by the ISS yet: that the client can be reached where it says it is, it proves by a cookie that it got
//! on an earlier connection. All else is as ever: the request gets the answer that it would get in the connection's
//! [`first`] segment, so that whatever of it is lost, the request comes again as that segment and is answered alike.

use super::application::Application;
use super::conn_cache::ConnCache;
use super::{Engine, Handled, RxSegment, Transmit, persistent, single_request};
use crate::outcome::Outcome;
use crate::tcp::epoch::Slots;
use crate::tcp::isn::{self, Key, Keys, MssClass};
use crate::tcp::output::{Reply, TxSegment};
use crate::tcp::segment::{Address, FastOpen, Flags, Segment, Timestamps};
use crate::tcp::siphash::SipHash;

/// Most segments sent behind a SYN,ACK: the initial window of RFC 3390 (4,380 octets), which RFC 7413 section 4.2.2 asks
/// for, and all that a replayed SYN can bring upon the host that the cookie was given to.
pub const MAX_SEGMENTS: usize = 3;

/// Keeps the hash apart from the others under the same key.
const LABEL: [u64; 2] = [u64::from_le_bytes(*b"tcp fast"), u64::from_le_bytes(*b" open\0\0\0")];

/// Octets of the options of a SYN,ACK, each with its padding.
const MSS: u16 = 4;
const TIMESTAMPS: u16 = 12;
const COOKIE: u16 = 12;

/// The grant for a SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Its payload may be answered.
    pub accepted: bool,
    /// A cookie for the next connection, if the client lacks the right one.
    pub cookie: Option<[u8; 8]>,
}

/// The cookie of the client at `address` in `slot`: 63 bits that nobody can tell who lacks the key, and the slot's last bit.
#[inline]
#[must_use]
pub fn cookie(key: &Key, address: Address, slot: u32) -> [u8; 8] {
    let hash = SipHash::new(key).word(LABEL[0]).word(LABEL[1]).address(&address);
    let hash = hash.finish(isn::slot_octets(slot), isn::SLOT);
    (hash & !1 | u64::from(slot & 1)).to_be_bytes()
}

/// What the Fast Open option of `segment`, a SYN, gets.
#[inline]
#[must_use]
pub fn grant(keys: &Keys, slots: Slots, segment: &Segment) -> Grant {
    let Some(option) = segment.options.fast_open else { return Grant::default() };
    let address = segment.tuple.client;
    let current = cookie(&keys.current, address, slots.current);
    let FastOpen::Cookie(presented) = option else { return Grant { accepted: false, cookie: Some(current) } };
    if presented == current {
        return Grant { accepted: true, cookie: None };
    }
    let [.., last] = presented;
    let slot = slots.ending_in(last.into());
    let mut keys = core::iter::once(&keys.current).chain(&keys.previous);
    Grant { accepted: keys.any(|key| presented == cookie(key, address, slot)), cookie: Some(current) }
}

/// The segment in which the payload of `segment`, a SYN, would come again after our `syn_ack`.
#[inline]
#[must_use]
pub fn first(segment: &Segment, syn_ack: &TxSegment) -> Segment {
    let mut first = Segment {
        seq: segment.seq.wrapping_add(1),
        ack: syn_ack.seq.wrapping_add(1),
        flags: Flags::ACK,
        ..*segment
    };
    // Those of a client whom we have told nothing are none of the connection's (RFC 7323 section 3.2).
    first.options.timestamps = segment
        .options
        .timestamps
        .zip(syn_ack.timestamps)
        .map(|(theirs, ours)| Timestamps { value: theirs.value, echo: ours.value });
    first
}

/// Answers SYN with a Fast Open option, whose `syn_ack` is sent in any case.
pub(super) fn on_syn<A: Application, C: ConnCache>(
    engine: &mut Engine<'_, A, C>,
    rx: &RxSegment<'_>,
    syn_ack: TxSegment,
) -> Handled<A::FetchId> {
    let Grant { accepted, cookie } = grant(&engine.config.keys, rx.epochs.persistent, rx.segment);
    let syn_ack = TxSegment { fast_open: cookie, ..syn_ack };
    let handed_out = cookie.map(|_| Outcome::FastOpenCookie);
    if rx.payload.is_empty() || !accepted {
        let refused = (!rx.payload.is_empty()).then_some(Outcome::FastOpenBadCookie);
        return Handled { notes: [handed_out, refused], ..Handled::one(Outcome::SynAck, syn_ack) };
    }
    let first = first(rx.segment, &syn_ack);
    let rx = RxSegment { segment: &first, ..*rx };
    let early = if first.options.timestamps.is_some() {
        persistent::early_reply(engine, &rx)
    } else {
        single_request::early_reply(engine, &rx)
    };
    let (syn_ack, reply) = match early {
        Some(reply) => open(&first, syn_ack, reply),
        None => (syn_ack, None),
    };
    let answered = reply.is_some() || syn_ack.length > 0;
    let note = if answered { Outcome::FastOpen } else { Outcome::FastOpenLater };
    let transmit = match reply {
        Some(reply) => Transmit::SynAckAndResponse(syn_ack, reply),
        None => Transmit::One(syn_ack),
    };
    Handled { notes: [handed_out, Some(note)], ..Handled::new(Outcome::SynAck, transmit) }
}

/// How `syn_ack` and `reply`, which answers all of the payload of `first`, go out.
///
/// - On the SYN,ACK, where one segment says all: whole or absent, it may acknowledge the request. It is not so with a FIN:
///   firewalls let no SYN with FIN pass.
/// - Else behind a SYN,ACK that acknowledges SYN alone. The client sends its request again at once, in `first`: that its
///   answer is on the way already saves the round trip, and that it comes twice makes up for any loss.
/// - Not at all, if there is more of it than a replayed SYN should bring about: the request comes again, and is answered.
#[inline]
#[must_use]
pub fn open(first: &Segment, syn_ack: TxSegment, reply: Reply) -> (TxSegment, Option<Reply>) {
    let mut segments = reply.clone();
    if let (Some(only), None) = (segments.next(), segments.next())
        && only.flags == Flags::ACK
        && only.ack == first.next()
        && only.length <= room(first, &syn_ack)
    {
        let TxSegment { ack, timestamps, offset, length, .. } = only;
        return (TxSegment { ack, timestamps, offset, length, ..syn_ack }, None);
    }
    let few = reply.clone().nth(MAX_SEGMENTS).is_none();
    (syn_ack, few.then_some(reply))
}

/// Most octets of payload on the SYN,ACK (RFC 9293 section 3.7.1: options count as payload there).
#[inline]
fn room(first: &Segment, syn_ack: &TxSegment) -> u16 {
    let ipv4 = first.tuple.server.ipv4().is_some();
    let class = MssClass::offered(first.options.mss, ipv4).map_or(0, MssClass::bytes);
    let options = syn_ack.mss.map_or(0, |_| MSS)
        + syn_ack.timestamps.map_or(0, |_| TIMESTAMPS)
        + syn_ack.fast_open.map_or(0, |_| COOKIE);
    class.saturating_sub(options)
}

#[cfg(test)]
mod tests;
