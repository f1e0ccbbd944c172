//! The shown state: rates between two snapshots, and sampled names and clients.

use crate::observe::histogram::{BOUNDS, Distribution};
use crate::observe::packet::TracedPacket;
use crate::observe::snapshot::{
    InterfaceSnapshot, Label, NamedCounts, QueueSnapshot, Snapshot, steering_label,
};
use crate::observe::tap::Direction;
use stateless_tcp_core::steering::{Action, SteeringReason};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most names, and most clients, that are counted between two snapshots.
const MAX_COUNTED: usize = 4_096;

/// Prefix lengths by which clients are counted.
const NETWORK_V4: u32 = 24;
const NETWORK_V6: u32 = 56;

/// Names and their rates for each second.
pub(super) type Rates = Vec<(String, f64)>;

/// The shown state.
#[derive(Debug, Default)]
pub(super) struct TopState {
    before: Snapshot,
    pub(super) now: Snapshot,
    names: HashMap<String, u32>,
    clients: HashMap<String, u32>,
    /// Rates of names and clients between the last two snapshots, sampled.
    pub(super) by_name: Rates,
    pub(super) by_client: Rates,
}

/// A row of the table of queues.
pub(super) struct QueueRow {
    pub(super) name: String,
    pub(super) received: f64,
    pub(super) sent: f64,
    pub(super) messages: f64,
    /// The 50th and 99th percentile of durations, in seconds.
    pub(super) quantiles: [Option<f64>; 2],
    pub(super) free: u64,
    /// Frames that the kernel lost, and answers that were not sent, for each second.
    pub(super) lost: f64,
}

impl TopState {
    /// Takes the next snapshot.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        self.before = std::mem::replace(&mut self.now, snapshot);
        let seconds = self.seconds();
        let rates = |counts: &mut HashMap<String, u32>| {
            sorted(counts.drain().map(|(name, count)| (name, f64::from(count) / seconds)).collect())
        };
        (self.by_name, self.by_client) = (rates(&mut self.names), rates(&mut self.clients));
    }

    /// Counts the names and the client of a frame.
    pub(super) fn sample(&mut self, direction: Direction, frame: &[u8]) {
        let Some(packet) = TracedPacket::read(direction, frame) else { return };
        if direction != Direction::Received || packet.payload.is_empty() {
            return;
        }
        let client = network(packet.segment.tuple.client.into());
        packet.query_names().for_each(|name| count(&mut self.names, name.to_ascii_lowercase()));
        count(&mut self.clients, client);
    }

    /// Whether there are two snapshots.
    pub(super) fn is_ready(&self) -> bool {
        self.before.time > 0.0
    }

    fn seconds(&self) -> f64 {
        (self.now.time - self.before.time).max(0.001)
    }

    /// The rate of each rule, of workers and XDP programs together.
    pub(super) fn by_rule(&self) -> Rates {
        self.rates(|queue| &queue.answered, |interface| &interface.answered)
    }

    /// The rate of each reason of a refusal, likewise, with those for which the XDP program drops frames.
    pub(super) fn by_reason(&self) -> Rates {
        self.rates(|queue| &queue.refused, |interface| interface.refused.iter().chain(dropped(interface)))
    }

    fn rates<'a, I: IntoIterator<Item = &'a (Label, u64)>>(
        &'a self,
        queue_counts: impl Fn(&'a QueueSnapshot) -> &'a NamedCounts,
        interface_counts: impl Fn(&'a InterfaceSnapshot) -> I,
    ) -> Rates {
        let totals = |snapshot: &'a Snapshot| {
            let mut totals: HashMap<String, u64> = HashMap::new();
            let queues = snapshot.queues.iter().flat_map(&queue_counts);
            for (name, count) in queues.chain(snapshot.interfaces.iter().flat_map(&interface_counts)) {
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

    /// The table of queues.
    pub(super) fn queues(&self) -> Vec<QueueRow> {
        let before = |queue: &QueueSnapshot| {
            self.before
                .queues
                .iter()
                .find(|other| (&other.interface, other.queue) == (&queue.interface, queue.queue))
        };
        let row = |queue: &QueueSnapshot| {
            let before = before(queue);
            let rate = |counts: fn(&QueueSnapshot) -> &NamedCounts, names: &[&str]| {
                let sum = |queue: &QueueSnapshot| total(counts(queue), names);
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

/// Counts of frames that the XDP program drops, as those of denied clients.
fn dropped(interface: &InterfaceSnapshot) -> impl Iterator<Item = &(Label, u64)> {
    let drops = |name: &str| {
        SteeringReason::ALL
            .iter()
            .any(|&reason| reason.action() == Action::Drop && steering_label(reason) == name)
    };
    interface.steered.iter().filter(move |(name, _)| drops(name))
}

fn count(counts: &mut HashMap<String, u32>, name: String) {
    if counts.len() < MAX_COUNTED || counts.contains_key(&name) {
        *counts.entry(name).or_default() += 1;
    }
}

/// Sorts by rate, then by name, and removes rates of zero.
fn sorted(mut rates: Rates) -> Rates {
    rates.retain(|(_, rate)| *rate > 0.0);
    rates.sort_by(|(name, rate), (other, more)| more.total_cmp(rate).then_with(|| name.cmp(other)));
    rates
}

fn total(counts: &NamedCounts, names: &[&str]) -> u64 {
    counts.iter().filter(|(name, _)| names.contains(&&**name)).map(|(_, count)| count).sum()
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn per_second(before: u64, now: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds
}

/// The quantile `share` of the durations since `before`, in seconds, as the upper bound of its class.
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

/// The network of a client.
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

    /// A snapshot at `time` with `count` for every counter.
    pub(in crate::commands::top) fn snapshot(time: f64, count: u64, queues: u32) -> Snapshot {
        let counts = |names: &[&'static str]| -> NamedCounts {
            names.iter().map(|&name| (Label::Borrowed(name), count)).collect()
        };
        let mut duration = Distribution::default();
        (duration.classes[3], duration.classes[9]) = (count * 9, count);
        let queue = |queue| QueueSnapshot {
            interface: Label::Borrowed("eth0"),
            queue,
            traffic: counts(&["received", "sent", "messages"]),
            answered: counts(&["syn_ack", "answered"]),
            refused: counts(&["bad_cookie", "tx_ring_full"]),
            duration: duration.clone(),
            frames: vec![(Label::Borrowed("free"), 2_048)],
            socket: counts(&["rx_ring_full"]),
            tables: vec![],
        };
        let interface = InterfaceSnapshot {
            condition: "up".into(),
            name: Label::Borrowed("eth0"),
            xdp_mode: Label::Borrowed("native"),
            copy: Label::Borrowed("copy"),
            handshake: Label::Borrowed("driver"),
            handshake_reason: Label::Borrowed("as configured"),
            steered: counts(&["served", "denied"]),
            answered: counts(&["syn_ack"]),
            refused: vec![],
            partial_checksums: 0,
        };
        let queues = (0..queues).map(queue).collect();
        Snapshot { time, started: 1.0, queues, interfaces: vec![interface], ..Snapshot::default() }
    }

    #[test]
    fn rates_are_between_two_snapshots() {
        let mut state = TopState::default();
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
