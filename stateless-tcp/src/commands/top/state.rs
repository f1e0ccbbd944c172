//! What is shown: rates between two snapshots, and names and clients as sampled.

use crate::observe::histogram::{BOUNDS, Distribution};
use crate::observe::packet::Packet;
use crate::observe::snapshot::{Counts, Interface, Name, Queue, Snapshot, name_of};
use crate::observe::tap::Direction;
use stateless_tcp_core::steering::{Action, SteeringReason};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names and clients that are counted between two snapshots; further ones are not.
const MOST: usize = 4_096;

/// What clients of one network have in common, in bits.
const NETWORK_V4: u32 = 24;
const NETWORK_V6: u32 = 56;

/// Something, and how often a second.
pub(super) type Rates = Vec<(String, f64)>;

/// All that is shown.
#[derive(Debug, Default)]
pub(super) struct State {
    before: Snapshot,
    pub(super) now: Snapshot,
    names: HashMap<String, u32>,
    clients: HashMap<String, u32>,
    /// Of what was sampled between the last two snapshots.
    pub(super) by_name: Rates,
    pub(super) by_client: Rates,
}

/// What is shown of a queue.
pub(super) struct QueueRow {
    pub(super) name: String,
    pub(super) received: f64,
    pub(super) sent: f64,
    pub(super) messages: f64,
    /// Seconds below which 50 % and 99 % are.
    pub(super) quantiles: [Option<f64>; 2],
    pub(super) free: u64,
    /// Frames lost by the kernel, and answers not sent, a second.
    pub(super) lost: f64,
}

impl State {
    /// Takes in a snapshot, one second or so after the last.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        self.before = std::mem::replace(&mut self.now, snapshot);
        let seconds = self.seconds();
        let rates = |counts: &mut HashMap<String, u32>| {
            sorted(counts.drain().map(|(of, count)| (of, f64::from(count) / seconds)).collect())
        };
        (self.by_name, self.by_client) = (rates(&mut self.names), rates(&mut self.clients));
    }

    /// Takes in a frame that passed.
    pub(super) fn sample(&mut self, direction: Direction, octets: &[u8]) {
        let Some(packet) = Packet::read(direction, octets) else { return };
        if direction != Direction::Received || packet.payload.is_empty() {
            return;
        }
        let client = network(packet.segment.tuple.client.into());
        packet.questions().for_each(|name| count(&mut self.names, name.to_ascii_lowercase()));
        count(&mut self.clients, client);
    }

    /// Whether there are two snapshots, and so rates.
    pub(super) fn is_ready(&self) -> bool {
        self.before.time > 0.0
    }

    fn seconds(&self) -> f64 {
        (self.now.time - self.before.time).max(0.001)
    }

    /// How often each rule answered, by workers and driver together.
    pub(super) fn by_rule(&self) -> Rates {
        self.rates(|queue| &queue.answered, |interface| &interface.answered)
    }

    /// How often each reason kept from answering, likewise, those among them for which the XDP program drops whatever it is.
    pub(super) fn by_reason(&self) -> Rates {
        self.rates(|queue| &queue.refused, |interface| interface.refused.iter().chain(dropped(interface)))
    }

    fn rates<'a, I: IntoIterator<Item = &'a (Name, u64)>>(
        &'a self,
        of_queue: impl Fn(&'a Queue) -> &'a Counts,
        of_interface: impl Fn(&'a Interface) -> I,
    ) -> Rates {
        let totals = |snapshot: &'a Snapshot| {
            let mut totals: HashMap<String, u64> = HashMap::new();
            let queues = snapshot.queues.iter().flat_map(&of_queue);
            for (name, count) in queues.chain(snapshot.interfaces.iter().flat_map(&of_interface)) {
                *totals.entry(name.to_string()).or_default() += count;
            }
            totals
        };
        let before = totals(&self.before);
        let rate = |(name, count): (String, u64)| {
            let rate = per_second(before.get(&name).copied().unwrap_or_default(), count, self.seconds());
            (name, rate)
        };
        sorted(totals(&self.now).into_iter().map(rate).collect())
    }

    /// The queues.
    pub(super) fn queues(&self) -> Vec<QueueRow> {
        let before = |queue: &Queue| {
            self.before
                .queues
                .iter()
                .find(|other| (&other.interface, other.queue) == (&queue.interface, queue.queue))
        };
        let row = |queue: &Queue| {
            let before = before(queue);
            let rate = |counts: fn(&Queue) -> &Counts, names: &[&str]| {
                let sum = |queue: &Queue| total(counts(queue), names);
                per_second(before.map(sum).unwrap_or_default(), sum(queue), self.seconds())
            };
            QueueRow {
                name: format!("{}/{}", queue.interface, queue.queue),
                received: rate(|queue| &queue.traffic, &["received"]),
                sent: rate(|queue| &queue.traffic, &["sent"]),
                messages: rate(|queue| &queue.traffic, &["messages"]),
                quantiles: [0.5, 0.99]
                    .map(|share| quantile(before.map(|queue| &queue.duration), &queue.duration, share)),
                free: total(&queue.frames, &["free"]),
                lost: rate(|queue| &queue.socket, &["rx_ring_full", "rx_dropped"])
                    + rate(|queue| &queue.refused, &["no_frame", "tx_ring_full"]),
            }
        };
        self.now.queues.iter().map(row).collect()
    }
}

/// What goes to nobody, such as what denied clients send.
fn dropped(interface: &Interface) -> impl Iterator<Item = &(Name, u64)> {
    let drops = |name: &str| {
        SteeringReason::ALL.iter().any(|&reason| reason.action() == Action::Drop && name_of(reason) == name)
    };
    interface.steered.iter().filter(move |(name, _)| drops(name))
}

fn count(counts: &mut HashMap<String, u32>, of: String) {
    if counts.len() < MOST || counts.contains_key(&of) {
        *counts.entry(of).or_default() += 1;
    }
}

/// The most frequent first, and of equals the first by name; without what there is none of.
fn sorted(mut rates: Rates) -> Rates {
    rates.retain(|(_, rate)| *rate > 0.0);
    rates.sort_by(|(name, rate), (other, more)| more.total_cmp(rate).then_with(|| name.cmp(other)));
    rates
}

fn total(counts: &Counts, names: &[&str]) -> u64 {
    counts.iter().filter(|(name, _)| names.contains(&&**name)).map(|(_, count)| count).sum()
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn per_second(before: u64, now: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds
}

/// The bound, in seconds, below which this share of what came since `before` is.
#[expect(clippy::cast_precision_loss, reason = "as above")]
fn quantile(before: Option<&Distribution>, now: &Distribution, share: f64) -> Option<f64> {
    let former = before.cloned().unwrap_or_default();
    let classes: Vec<u64> =
        now.classes.iter().zip(former.classes).map(|(now, before)| now.saturating_sub(before)).collect();
    let wanted = classes.iter().sum::<u64>() as f64 * share;
    let mut below = 0;
    let class = classes.iter().position(|class| {
        below += class;
        below > 0 && below as f64 >= wanted
    })?;
    Some(BOUNDS.get(class).or(BOUNDS.last()).copied().unwrap_or_default() as f64 / 1e6)
}

/// The client's network.
fn network(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => {
            let mask = u32::MAX << (32 - NETWORK_V4);
            format!("{}/{NETWORK_V4}", Ipv4Addr::from(u32::from(address) & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - NETWORK_V6);
            format!("{}/{NETWORK_V6}", Ipv6Addr::from(u128::from(address) & mask))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A snapshot at `time`, with `count` of everything until then.
    pub(in crate::commands::top) fn snapshot(time: f64, count: u64, queues: u32) -> Snapshot {
        let counts = |names: &[&'static str]| -> Counts {
            names.iter().map(|&name| (Name::Borrowed(name), count)).collect()
        };
        let mut duration = Distribution::default();
        (duration.classes[3], duration.classes[9]) = (count * 9, count);
        let queue = |queue| Queue {
            interface: Name::Borrowed("eth0"),
            queue,
            traffic: counts(&["received", "sent", "messages"]),
            answered: counts(&["syn_ack", "answered"]),
            refused: counts(&["bad_cookie", "tx_ring_full"]),
            duration: duration.clone(),
            frames: vec![(Name::Borrowed("free"), 2_048)],
            socket: counts(&["rx_ring_full"]),
            tables: vec![],
        };
        let interface = Interface {
            name: Name::Borrowed("eth0"),
            xdp_mode: Name::Borrowed("native"),
            copy: Name::Borrowed("copy"),
            handshake: Name::Borrowed("driver"),
            steered: counts(&["served", "denied"]),
            answered: counts(&["syn_ack"]),
            refused: vec![],
            partial_checksums: 0,
        };
        let queues = (0..queues).map(queue).collect();
        Snapshot { time, started: 1.0, queues, interfaces: vec![interface], ..Snapshot::default() }
    }

    #[test]
    fn rates_are_of_what_came_between() {
        let mut state = State::default();
        state.update(snapshot(100.0, 1_000, 2));
        assert!(!state.is_ready());
        state.update(snapshot(102.0, 1_500, 2));
        assert!(state.is_ready());
        let expected = [("syn_ack", 750.0), ("answered", 500.0)].map(|(name, rate)| (name.to_owned(), rate));
        assert_eq!(state.by_rule(), expected, "two workers, and the driver");
        let expected = [("bad_cookie", 500.0), ("tx_ring_full", 500.0), ("denied", 250.0)];
        assert_eq!(state.by_reason(), expected.map(|(name, rate)| (name.to_owned(), rate)));
        let [row, _] = &state.queues()[..] else { panic!("two queues") };
        assert_eq!((row.name.as_str(), row.received, row.lost, row.free), ("eth0/0", 250.0, 500.0, 2_048));
        assert_eq!(row.quantiles, [Some(1e-5), Some(1e-3)]);
    }

    #[test]
    fn clients_are_counted_by_network() {
        assert_eq!(network("192.0.2.77".parse().unwrap()), "192.0.2.0/24");
        assert_eq!(network("2001:db8:1:2ff::7".parse().unwrap()), "2001:db8:1:200::/56");
    }
}
