//! Connections that have outlived their proofs: they end, and get no byte of an answer (docs/protocol.md, "Proofs expire").
//!
//! Nobody remembers them, but their cookies still say the same, read as of an older slot. What they prove is the strongest
//! that there is: both sequence numbers and the timestamp cookie of a client that has received everything.

use super::super::conn_cache::ConnCache;
use super::super::epoch::Slots;
use super::super::retry::ONCE_MORE;
use super::super::tcb::Tcb;
use super::super::{Handled, RxSegment, TcpConfig};
use super::fingerprint;
use crate::outcome::Outcome;

/// A segment that is sent once more is read as of so many older slots, and as many to come: a clock may have been set back.
const FORMER: u32 = 48;

/// Ends the connection of a segment that takes sequence numbers and proves nothing by a present slot.
///
/// A connection that ended a moment ago is recognised at once: the client gets FIN, or its FIN acknowledged, like everybody
/// whom a server has closed for being idle. An older one gets RST when the client asks once more.
pub(super) fn on_segment<C: ConnCache, F>(
    config: &TcpConfig,
    cache: &mut C,
    rx: &RxSegment<'_>,
) -> Option<Handled<F>> {
    let segment = rx.segment;
    let slot = Tcb::read(&config.keys.current, rx.epochs.persistent, segment)?.slot();
    if let Some(tcb) = read(config, rx, slot.wrapping_sub(2)) {
        let end =
            if segment.length > 0 { tcb.end_unanswered(segment) } else { tcb.on_control_segment(segment) };
        return Some(match end {
            Ok(end) => Handled::one(Outcome::Expired, end),
            Err(_) => Handled::reset(Outcome::Expired, segment),
        });
    }
    if !cache.is_retry_loop(!fingerprint(config, segment), ONCE_MORE, rx.now) {
        return None;
    }
    let mut distances = (1..=FORMER / 2).map(|pairs| 2 * pairs);
    let is_former = |distance: u32| {
        [slot.wrapping_sub(distance), slot.wrapping_add(distance)]
            .iter()
            .any(|&slot| read(config, rx, slot).is_some())
    };
    distances.any(is_former).then(|| Handled::reset(Outcome::Expired, segment))
}

/// The connection as of `slot`, if that is what the segment proves beyond doubt.
fn read(config: &TcpConfig, rx: &RxSegment<'_>, slot: u32) -> Option<Tcb> {
    let slots = Slots { current: slot, other: slot };
    let keys = core::iter::once(&config.keys.current).chain(&config.keys.previous);
    keys.filter_map(|key| Tcb::read(key, slots, rx.segment)).find(Tcb::has_received_all)
}
