//! A snapshot in Prometheus's text format, with names, units and help by its conventions.
//!
//! A counter with a fixed set of names has a sample of each, zeros too, so that a rate exists before the first event. A
//! family without samples, as of relays that are not configured, is left out.

use super::histogram::{BOUNDS, Distribution};
use super::snapshot::{DnstapSnapshot, NamedCounts, Occupancy, QueueSnapshot, Snapshot, Unit, ZonesSnapshot};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The labels of a sample.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// The snapshot in Prometheus's text format.
///
/// # Errors
/// Never: every family has a name and a sample.
pub fn text(snapshot: &Snapshot) -> prometheus::Result<Vec<u8>> {
    let mut families = vec![
        gauge("build_info", "The version, as a label of a constant 1.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0),
        gauge("start_time_seconds", "Time when the process began to serve, in seconds since 1970.")
            .sample(&[], snapshot.started),
        gauge("generation", "Number of the content for new connections, 0 to 255 and then again from 0.")
            .sample(&[], snapshot.generation.into()),
        gauge("generation_start_time_seconds", "Time when that content was activated, in seconds since 1970.")
            .sample(&[], snapshot.generation_since),
        gauge("former_generations", "Earlier contents that are served to connections which began with them.")
            .sample(&[], float(snapshot.former_generations)),
        gauge(
            "key_start_time_seconds",
            "Time when the key file was last written, in seconds since 1970; without one, when the key was made.",
        )
        .sample(&[], snapshot.key_since),
    ];
    families.extend(interfaces(snapshot));
    families.extend(queues(snapshot));
    families.extend(tables(snapshot));
    families.extend(relays(snapshot));
    families.extend(snapshot.zones.iter().flat_map(zones));
    families.extend(snapshot.dnstap.iter().flat_map(dnstap));
    let families: Vec<MetricFamily> = families
        .into_iter()
        .map(|family| family.0)
        .filter(|family| !family.get_metric().is_empty())
        .collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}

fn interfaces(snapshot: &Snapshot) -> [Family; 6] {
    let mut info = gauge(
        "interface_info",
        "XDP mode and copy mode of an interface, and the place where handshakes are answered.",
    );
    let mut steered =
        counter("xdp_frames_total", "Frames that the XDP program received, by the reason of their steering.");
    let mut answered =
        counter("driver_answers_total", "Segments that the XDP program answered itself, by rule.");
    let mut refused =
        counter("driver_refusals_total", "Segments that the XDP program dropped itself, by reason.");
    let mut partial =
        counter("driver_partial_checksums_total", "Segments of both kinds with a partial checksum.");
    let mut up = gauge(
        "interface_up",
        "1 if frames can arrive on the interface; 0 if it is gone, down, or without carrier.",
    );
    for interface in &snapshot.interfaces {
        let name = [("interface", &*interface.name)];
        up = up.sample(&name, if interface.condition == "up" { 1.0 } else { 0.0 });
        let modes = [
            ("xdp_mode", &*interface.xdp_mode),
            ("copy_mode", &*interface.copy),
            ("handshake", &*interface.handshake),
        ];
        info = info.sample(&[&name[..], &modes].concat(), 1.0);
        steered = steered.counts(&name, "reason", &interface.steered);
        answered = answered.counts(&name, "rule", &interface.answered);
        refused = refused.counts(&name, "reason", &interface.refused);
        partial = partial.sample(&name, float(interface.partial_checksums));
    }
    [info, up, steered, answered, refused, partial]
}

fn queues(snapshot: &Snapshot) -> Vec<Family> {
    let mut answered = counter("answers_total", "Segments by the rule that answered or accepted them.");
    let mut refused =
        counter("refusals_total", "Segments that were not answered, and answers not sent, by reason.");
    let mut socket = counter("socket_events_total", "Events of the AF_XDP socket in the kernel.");
    let mut frames = gauge("frames", "Frames of packet memory, by place.");
    let mut duration = histogram(
        "answer_duration_seconds",
        "Time from taking a frame off the RX ring to putting its answer into the TX ring, by batch.",
    );
    let mut traffic: Vec<(&str, Family)> = [
        ("received", "frames_received_total", "Frames taken off the RX ring."),
        ("sent", "segments_sent_total", "Segments sent."),
        ("messages", "messages_total", "Requests answered; a segment may hold several."),
        (
            "partial_checksum",
            "partial_checksums_total",
            "Segments with the partial checksum of a local sender.",
        ),
    ]
    .map(|(name, family, help)| (name, counter(family, help)))
    .into();
    for queue in &snapshot.queues {
        let number = queue.queue.to_string();
        let labels = labels(queue, &number);
        for (name, family) in &mut traffic {
            let count = queue.traffic.iter().find(|(of, _)| of == name).map_or(0, |&(_, count)| count);
            *family = std::mem::take(family).sample(&labels, float(count));
        }
        answered = answered.counts(&labels, "rule", &queue.answered);
        refused = refused.counts(&labels, "reason", &queue.refused);
        socket = socket.counts(&labels, "event", &queue.socket);
        frames = frames.counts(&labels, "place", &queue.frames);
        duration = duration.distribution(&labels, &queue.duration);
    }
    traffic
        .into_iter()
        .map(|(_, family)| family)
        .chain([answered, refused, socket, frames, duration])
        .collect()
}

fn tables(snapshot: &Snapshot) -> [Family; 4] {
    let mut families = [
        gauge("table_entries", "Entries in use of a table of fixed size."),
        gauge("table_limit_entries", "Capacity of the table in entries."),
        gauge("store_bytes", "Bytes in use of a store of fixed size."),
        gauge("store_limit_bytes", "Capacity of the store in bytes."),
    ];
    let mut add = |labels: Labels<'_>, table: &Occupancy| {
        let (used, label) = match table.unit {
            Unit::Entries => (0, "table"),
            Unit::Bytes => (2, "store"),
        };
        let labels = [labels, &[(label, &*table.table)]].concat();
        for (family, value) in [(used, table.used), (used + 1, table.limit)] {
            families[family] = std::mem::take(&mut families[family]).sample(&labels, float(value));
        }
    };
    for (index, queue) in snapshot.queues.iter().enumerate() {
        let number = queue.queue.to_string();
        let of_relays = snapshot.relays.iter().filter_map(|relay| relay.tables_by_queue.get(index)).flatten();
        queue.tables.iter().chain(of_relays).for_each(|table| add(&labels(queue, &number), table));
    }
    snapshot.relays.iter().flat_map(|relay| &relay.tables).for_each(|table| add(&[], table));
    families
}

fn relays(snapshot: &Snapshot) -> [Family; 3] {
    let mut events = counter("relay_events_total", "Events of relays.");
    let mut up = gauge("back_end_up", "1 if the upstream answers, 0 if it is skipped or fails.");
    let mut duration =
        histogram("back_end_duration_seconds", "Time from a query to an upstream until its response.");
    for relay in &snapshot.relays {
        let service = [("service", &*relay.service)];
        events = events.counts(&service, "event", &relay.counts);
        for (queue, counts) in snapshot.queues.iter().zip(&relay.by_queue) {
            let number = queue.queue.to_string();
            events = events.counts(&[&labels(queue, &number)[..], &service].concat(), "event", counts);
        }
        for upstream in &relay.upstreams {
            let labels = [service[0], ("back_end", &upstream.address)];
            up = up.sample(&labels, u8::from(upstream.up).into());
            duration = duration.distribution(&labels, &upstream.duration);
        }
    }
    [events, up, duration]
}

fn zones(zones: &ZonesSnapshot) -> [Family; 3] {
    let ZonesSnapshot { current, older, broken, unknown, names, memory } = *zones;
    let states = [("current", current), ("older", older), ("broken", broken), ("unknown", unknown)];
    let count = states.into_iter().fold(
        gauge("zones", "Zones by state. The files of all but current ones cannot be loaded."),
        |family, (state, count)| family.sample(&[("state", state)], float(count)),
    );
    let names = gauge("zone_names", "Names in all zones, owners and targets.").sample(&[], float(names));
    let memory = gauge("zone_memory_bytes", "Memory of all zones.").sample(&[], float(memory));
    [count, names, memory]
}

fn dnstap(dnstap: &DnstapSnapshot) -> [Family; 2] {
    let DnstapSnapshot { connected, written, lost } = *dnstap;
    let connected = gauge("dnstap_connected", "1 if a dnstap reader is connected, else 0.")
        .sample(&[], u8::from(connected).into());
    let help = "Queries with their responses while a dnstap reader was connected, by outcome.";
    let transactions = [("written", written), ("lost", lost)]
        .into_iter()
        .fold(counter("dnstap_transactions_total", help), |family, (outcome, count)| {
            family.sample(&[("outcome", outcome)], float(count))
        });
    [connected, transactions]
}

fn labels<'a>(queue: &'a QueueSnapshot, number: &'a str) -> [(&'a str, &'a str); 2] {
    [("interface", &queue.interface), ("queue", number)]
}

/// A family of samples that is being built.
#[derive(Default)]
struct Family(MetricFamily);

fn counter(name: &str, help: &str) -> Family {
    Family::new(MetricType::COUNTER, name, help)
}

fn gauge(name: &str, help: &str) -> Family {
    Family::new(MetricType::GAUGE, name, help)
}

fn histogram(name: &str, help: &str) -> Family {
    Family::new(MetricType::HISTOGRAM, name, help)
}

/// A value of the format.
#[expect(clippy::cast_precision_loss, reason = "the format has 53 bits, which suffice for rates")]
fn float(value: u64) -> f64 {
    value as f64
}

impl Family {
    fn new(kind: MetricType, name: &str, help: &str) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(format!("stateless_tcp_{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }

    fn sample(self, labels: Labels<'_>, value: f64) -> Self {
        let mut metric = Metric::default();
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(labels, metric)
    }

    /// Adds a sample for each of `counts`, with its name as the value of `label`.
    fn counts(self, labels: Labels<'_>, label: &str, counts: &NamedCounts) -> Self {
        counts.iter().fold(self, |family, (name, count)| {
            family.sample(&[labels, &[(label, &**name)]].concat(), float(*count))
        })
    }

    fn distribution(self, labels: Labels<'_>, distribution: &Distribution) -> Self {
        let mut below = 0;
        let bucket = |(&bound, count): (&u64, &u64)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(float(bound) / 1e6);
            bucket.set_cumulative_count(below);
            bucket
        };
        let buckets = BOUNDS.iter().zip(&distribution.classes).map(bucket).collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_sum(distribution.seconds);
        histogram.set_sample_count(distribution.count());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.push(labels, metric)
    }

    fn push(mut self, labels: Labels<'_>, mut metric: Metric) -> Self {
        let pair = |&(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        metric.set_label(labels.iter().map(pair).collect());
        self.0.mut_metric().push(metric);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::snapshot::{Label, RelaySnapshot, UpstreamSnapshot};

    fn queue(queue: u32) -> QueueSnapshot {
        QueueSnapshot {
            interface: Label::Borrowed("eth0"),
            queue,
            traffic: vec![(Label::Borrowed("received"), 7)],
            answered: vec![(Label::Borrowed("syn_ack"), 1)],
            refused: vec![(Label::Borrowed("bad_cookie"), 2)],
            duration: Distribution::default(),
            frames: vec![(Label::Borrowed("free"), 3)],
            socket: vec![(Label::Borrowed("rx_ring_full"), 4)],
            tables: vec![Occupancy::entries("hints", 5, 6)],
        }
    }

    #[test]
    fn each_value_has_its_labels() {
        let mut duration = Distribution { seconds: 0.003, ..Distribution::default() };
        (duration.classes[0], duration.classes[2]) = (2, 3);
        let upstream = UpstreamSnapshot { address: "192.0.2.1:53".to_owned(), up: true, duration };
        let relay = RelaySnapshot {
            service: Label::Borrowed("dns"),
            counts: vec![],
            by_queue: vec![vec![(Label::Borrowed("queries"), 8)], vec![(Label::Borrowed("queries"), 9)]],
            tables: vec![Occupancy::bytes("dns_cache", 10, 11)],
            tables_by_queue: vec![vec![], vec![Occupancy::entries("dns_in_flight", 12, 13)]],
            upstreams: vec![upstream],
        };
        let snapshot = Snapshot {
            queues: vec![queue(0), queue(1)],
            relays: vec![relay],
            zones: Some(ZonesSnapshot {
                current: 3,
                older: 1,
                broken: 2,
                unknown: 0,
                names: 77,
                memory: 4_096,
            }),
            dnstap: Some(DnstapSnapshot { connected: true, written: 14, lost: 15 }),
            ..Snapshot::default()
        };
        let text = String::from_utf8(text(&snapshot).unwrap()).unwrap();
        for line in [
            "# TYPE stateless_tcp_refusals_total counter",
            "stateless_tcp_frames_received_total{interface=\"eth0\",queue=\"1\"} 7",
            "stateless_tcp_answers_total{interface=\"eth0\",queue=\"1\",rule=\"syn_ack\"} 1",
            "stateless_tcp_refusals_total{interface=\"eth0\",queue=\"0\",reason=\"bad_cookie\"} 2",
            "stateless_tcp_frames{interface=\"eth0\",queue=\"0\",place=\"free\"} 3",
            "stateless_tcp_socket_events_total{interface=\"eth0\",queue=\"0\",event=\"rx_ring_full\"} 4",
            "stateless_tcp_table_entries{interface=\"eth0\",queue=\"0\",table=\"hints\"} 5",
            "stateless_tcp_table_limit_entries{interface=\"eth0\",queue=\"0\",table=\"hints\"} 6",
            "stateless_tcp_relay_events_total{interface=\"eth0\",queue=\"1\",service=\"dns\",event=\"queries\"} 9",
            "stateless_tcp_store_bytes{store=\"dns_cache\"} 10",
            "stateless_tcp_store_limit_bytes{store=\"dns_cache\"} 11",
            "stateless_tcp_table_entries{interface=\"eth0\",queue=\"1\",table=\"dns_in_flight\"} 12",
            "stateless_tcp_dnstap_connected 1",
            "stateless_tcp_zones{state=\"older\"} 1",
            "stateless_tcp_zones{state=\"broken\"} 2",
            "stateless_tcp_zone_names 77",
            "stateless_tcp_zone_memory_bytes 4096",
            "stateless_tcp_dnstap_transactions_total{outcome=\"written\"} 14",
            "stateless_tcp_dnstap_transactions_total{outcome=\"lost\"} 15",
            "stateless_tcp_back_end_up{service=\"dns\",back_end=\"192.0.2.1:53\"} 1",
            "stateless_tcp_back_end_duration_seconds_bucket{service=\"dns\",back_end=\"192.0.2.1:53\",le=\"0.000002\"} 2",
            "stateless_tcp_back_end_duration_seconds_bucket{service=\"dns\",back_end=\"192.0.2.1:53\",le=\"0.000005\"} 5",
            "stateless_tcp_back_end_duration_seconds_bucket{service=\"dns\",back_end=\"192.0.2.1:53\",le=\"+Inf\"} 5",
            "stateless_tcp_back_end_duration_seconds_sum{service=\"dns\",back_end=\"192.0.2.1:53\"} 0.003",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
