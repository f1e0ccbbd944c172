//! A random zone: few labels, so that names meet as owners, targets, empty non-terminals, wildcards, cuts and aliases.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::seed::Random;

/// Labels of random names.
const LABELS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "www", "mail", "ns", "_tcp", "_sip", "x0"];

/// A zone before it is signed.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name, without a final dot.
    pub name: String,
    /// Records as text by their owner, which is relative to the zone; the apex is `@`.
    pub nodes: BTreeMap<String, Node>,
    /// Names of other zones and of nobody, which aliases may lead to.
    elsewhere: Vec<String>,
}

/// The records of a name.
#[derive(Clone, Debug, Default)]
pub struct Node {
    records: Vec<String>,
    kind: NodeKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum NodeKind {
    #[default]
    Data,
    Alias,
    Redirection,
    Cut,
}

impl Zone {
    /// A zone with about `size` names. Its aliases may lead to the zones `elsewhere`.
    #[must_use]
    pub fn random(name: &str, size: usize, elsewhere: &[String], random: &mut Random) -> Self {
        let mut zone = Self { name: name.to_owned(), nodes: BTreeMap::new(), elsewhere: elsewhere.to_vec() };
        let apex = [
            "SOA ns1 hostmaster 1 7200 3600 1209600 300",
            "NS ns1",
            "NS ns.elsewhere.test.",
            "MX 10 mail",
            "TXT \"apex\"",
        ];
        zone.nodes
            .insert("@".to_owned(), Node { records: apex.map(str::to_owned).to_vec(), kind: NodeKind::Data });
        zone.add("ns1", &["A 192.0.2.1", "AAAA 2001:db8::1"]);
        for _ in 0..size {
            zone.add_node(random);
        }
        zone
    }

    /// Delegates `label` to a zone that is served as well, with its DS records if it is signed.
    pub fn delegate(&mut self, label: &str, signed: &[String]) {
        let below = format!(".{label}");
        self.nodes.retain(|name, _| name != label && !name.ends_with(&below));
        let mut records = vec![format!("NS ns1.{label}")];
        records.extend(signed.iter().map(|ds| format!("DS {ds}")));
        self.nodes.insert(label.to_owned(), Node { records, kind: NodeKind::Cut });
        self.add(&format!("ns1.{label}"), &["A 192.0.2.1", "AAAA 2001:db8::1"]);
    }

    /// The zone file, which begins with the zone's name.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("$ORIGIN {}.\n$TTL 3600\n", self.name);
        let apex = self.nodes.get_key_value("@");
        let others = self.nodes.iter().filter(|(name, _)| *name != "@");
        for (name, node) in apex.into_iter().chain(others) {
            for record in &node.records {
                let _ = writeln!(text, "{name} {record}");
            }
        }
        text
    }

    /// The names that the zone's file has, each without a final dot.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let whole = |name: &String| {
            if name == "@" { self.name.clone() } else { format!("{name}.{}", self.name) }
        };
        self.nodes.keys().map(whole).collect()
    }

    fn add(&mut self, name: &str, records: &[&str]) {
        let node = self.nodes.entry(name.to_owned()).or_default();
        node.records.extend(records.iter().map(|record| (*record).to_owned()));
    }

    /// Adds a name of some kind, unless another hides it or excludes it.
    fn add_node(&mut self, random: &mut Random) {
        let mut name = relative(random);
        let kind = match random.below(20) {
            0..=3 => NodeKind::Alias,
            4 => NodeKind::Redirection,
            5..=7 => NodeKind::Cut,
            _ => NodeKind::Data,
        };
        if random.one_in(6) && matches!(kind, NodeKind::Data | NodeKind::Alias) {
            name = format!("*.{name}");
        }
        let below = format!(".{name}");
        let hides = matches!(kind, NodeKind::Cut | NodeKind::Redirection)
            && self.nodes.keys().any(|other| other.ends_with(&below));
        let excluded = self.nodes.contains_key(&name) || self.is_hidden(&name) || hides;
        if excluded {
            return;
        }
        let records = match kind {
            NodeKind::Data => self.data(random),
            NodeKind::Alias => vec![format!("CNAME {}", self.target(random))],
            NodeKind::Redirection => vec![format!("DNAME {}", self.target(random))],
            NodeKind::Cut => self.cut(&name, random),
        };
        self.nodes.insert(name, Node { records, kind });
    }

    /// Whether a cut or a DNAME stands above the name.
    fn is_hidden(&self, name: &str) -> bool {
        let above = |(other, node): (&String, &Node)| {
            matches!(node.kind, NodeKind::Cut | NodeKind::Redirection) && name.ends_with(&format!(".{other}"))
        };
        self.nodes.iter().any(above)
    }

    fn cut(&mut self, name: &str, random: &mut Random) -> Vec<String> {
        let mut records = Vec::new();
        if random.one_in(2) {
            // Below the cut, with its addresses.
            records.push(format!("NS ns.{name}"));
            self.add(&format!("ns.{name}"), &["A 192.0.2.77"]);
            if random.one_in(2) {
                self.add(&format!("ns.{name}"), &["AAAA 2001:db8::77"]);
            }
        }
        if random.one_in(3) || records.is_empty() {
            records.push(format!("NS {}", random.pick(&["ns1", "ns.elsewhere.test.", "ns.a", "nowhere"])));
        }
        if random.one_in(2) {
            records.push(format!("DS {} 13 2 {}", 1 + random.below(60_000), "e2d3".repeat(16)));
        }
        records
    }

    /// Some sets of records, each of at least one.
    fn data(&self, random: &mut Random) -> Vec<String> {
        let mut records = Vec::new();
        for _ in 0..=random.below(3) {
            let target = self.target(random);
            let number = random.below(200);
            let record = match random.below(16) {
                0..=3 => format!("A 192.0.2.{number}"),
                4 | 5 => format!("AAAA 2001:db8::{number:x}"),
                6 => format!("MX {number} {target}"),
                7 => format!("SRV 0 {number} 5060 {target}"),
                8 => format!("SVCB {} {target}", number % 2),
                9 => format!("HTTPS 1 {} alpn=h2", random.pick(&[".", "www", "a"])),
                10 => format!("TXT \"text {number}\""),
                11 => format!("CAA 0 issue \"{number}.example.net\""),
                12 => format!("NAPTR 1 {number} \"s\" \"x\" \"\" {target}"),
                13 => format!("PTR {target}"),
                14 => format!("TYPE65400 \\# 2 00{number:02x}"),
                _ => format!("HINFO \"machine {number}\" \"Linux\""),
            };
            if !records.contains(&record) {
                records.push(record);
            }
        }
        records
    }

    /// A name that a record leads to, mostly one that is likely to be there.
    fn target(&self, random: &mut Random) -> String {
        match random.below(12) {
            0 => format!("{}.", self.name),
            1 => "nowhere.test.".to_owned(),
            2 if !self.elsewhere.is_empty() => {
                format!("{}.{}.", relative(random), self.elsewhere[random.below(self.elsewhere.len())])
            }
            3..=7 => {
                let names: Vec<&String> = self.nodes.keys().filter(|name| *name != "@").collect();
                names[random.below(names.len())].replacen('*', "w", 1)
            }
            _ => relative(random),
        }
    }
}

/// A name of one to four labels, relative to a zone.
#[must_use]
pub fn relative(random: &mut Random) -> String {
    let depth = 1 + random.below(3) + usize::from(random.one_in(4));
    let labels: Vec<&str> = (0..depth).map(|_| random.pick(&LABELS)).collect();
    labels.join(".")
}
