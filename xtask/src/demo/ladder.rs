//! One connection as text: the way tcpdump writes it, and as a ladder of arrows between client and server.

use crate::demo::capture::{Flags, Packet, Side};

/// Columns between the two lifelines.
const SPAN: usize = 54;

/// One line for each packet, with relative sequence numbers, as `tcpdump` writes them.
pub(crate) fn lines(packets: &[Packet]) -> Vec<String> {
    let origin = Origin::of(packets);
    packets.iter().map(|packet| line(packet, &origin)).collect()
}

/// One arrow for each packet, and beside it what the server makes of it.
pub(crate) fn ladder(packets: &[Packet]) -> Vec<String> {
    let origin = Origin::of(packets);
    let gap = SPAN - "client".len() - "server".len() + 2;
    let mut rows = vec![format!("client{:gap$}server", "")];
    for (index, packet) in packets.iter().enumerate() {
        let label = format!(" {} ", label(packet, &origin));
        let arrow = match packet.side {
            Side::Client => format!("──{label:─<width$}▶", width = SPAN - 3),
            Side::Server => format!("◀{label:─>width$}──", width = SPAN - 3),
        };
        let row = format!("│{arrow}│  {}", remark(packet, packets.get(index + 1)));
        rows.push(row.trim_end().to_owned());
    }
    rows
}

/// Both sides' initial sequence numbers.
#[derive(Default)]
struct Origin {
    client: u32,
    server: u32,
}

impl Origin {
    fn of(packets: &[Packet]) -> Self {
        let first = |side| packets.iter().find(|packet| packet.side == side && packet.flags.syn);
        let seq = |side| first(side).map_or(0, |packet: &Packet| packet.seq);
        Self { client: seq(Side::Client), server: seq(Side::Server) }
    }

    fn relative(&self, packet: &Packet) -> (u32, u32) {
        let (mine, theirs) = match packet.side {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        };
        (packet.seq.wrapping_sub(mine), packet.ack.wrapping_sub(theirs))
    }
}

fn line(packet: &Packet, origin: &Origin) -> String {
    let (seq, ack) = origin.relative(packet);
    let mut parts = vec![format!("Flags [{}]", letters(packet.flags))];
    match packet.len {
        0 if packet.flags.syn || packet.flags.fin || packet.flags.rst => parts.push(format!("seq {seq}")),
        0 => {}
        len => parts.push(format!("seq {seq}:{}", u64::from(seq) + len as u64)),
    }
    if packet.flags.ack {
        parts.push(format!("ack {ack}"));
    }
    parts.push(format!("win {}", packet.window));
    if !packet.options.is_empty() {
        parts.push(format!("options [{}]", packet.options.join(",")));
    }
    parts.push(format!("length {}", packet.len));
    let endpoint = |address: std::net::SocketAddr| format!("{}.{}", address.ip(), address.port());
    let (source, destination) = (endpoint(packet.source), endpoint(packet.destination));
    format!("{:.6} {source} > {destination}: {}", packet.time.as_secs_f64(), parts.join(", "))
}

/// The flags as tcpdump abbreviates them.
fn letters(flags: Flags) -> String {
    let all = [(flags.syn, 'S'), (flags.fin, 'F'), (flags.rst, 'R'), (flags.psh, 'P'), (flags.ack, '.')];
    all.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect()
}

fn label(packet: &Packet, origin: &Origin) -> String {
    let (seq, ack) = origin.relative(packet);
    let flags = packet.flags;
    let all =
        [(flags.syn, "SYN"), (flags.fin, "FIN"), (flags.rst, "RST"), (flags.psh, "PSH"), (flags.ack, "ACK")];
    let names: Vec<&str> = all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let mut parts = vec![names.join(","), format!("seq {seq}")];
    if flags.ack {
        parts.push(format!("ack {ack}"));
    }
    parts.push(format!("len {}", packet.len));
    if flags.syn {
        parts.extend(packet.options.iter().find(|option| option.starts_with("mss")).cloned());
    }
    parts.join(" ")
}

/// The event at the server, in few words.
fn remark(packet: &Packet, next: Option<&Packet>) -> &'static str {
    let flags = packet.flags;
    let answered = next.is_some_and(|next| next.side == Side::Server);
    match packet.side {
        Side::Client if flags.syn => "answered and forgotten",
        Side::Client if packet.len > 0 => "cookie right? answered and forgotten",
        Side::Client if flags.fin && answered => "acknowledged and forgotten",
        Side::Client => "nothing to do",
        Side::Server if flags.syn => "seq is a keyed hash: the cookie",
        Side::Server if packet.len > 0 => "the answer, at the seq that ack asks for",
        Side::Server => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    fn packet(side: Side, flags: &str, seq: u32, ack: u32, len: usize) -> Packet {
        let client = SocketAddr::from(([192, 0, 2, 1], 40_000));
        let server = SocketAddr::from(([192, 0, 2, 53], 53));
        let (source, destination) = if side == Side::Client { (client, server) } else { (server, client) };
        let has = |letter| flags.contains(letter);
        Packet {
            time: Duration::from_micros(1500),
            side,
            source,
            destination,
            flags: Flags { syn: has('S'), fin: has('F'), rst: has('R'), psh: has('P'), ack: has('.') },
            seq,
            ack,
            window: 512,
            options: if has('S') { vec!["mss 1220".to_owned()] } else { Vec::new() },
            len,
            fragment: false,
        }
    }

    /// Both initial sequence numbers lie just below 2^32, so that everything after them wraps.
    fn transaction() -> Vec<Packet> {
        vec![
            packet(Side::Client, "S", u32::MAX, 0, 0),
            packet(Side::Server, "S.", u32::MAX - 1, 0, 0),
            packet(Side::Client, "P.", 0, u32::MAX, 34),
            packet(Side::Server, "F.", u32::MAX, 34, 231),
        ]
    }

    #[test]
    fn lines_are_relative_across_the_wrap() {
        let expected = [
            "0.001500 192.0.2.1.40000 > 192.0.2.53.53: Flags [S], seq 0, win 512, options [mss 1220], length 0",
            "0.001500 192.0.2.53.53 > 192.0.2.1.40000: Flags [S.], seq 0, ack 1, win 512, options [mss 1220], length 0",
            "0.001500 192.0.2.1.40000 > 192.0.2.53.53: Flags [P.], seq 1:35, ack 1, win 512, length 34",
            "0.001500 192.0.2.53.53 > 192.0.2.1.40000: Flags [F.], seq 1:232, ack 35, win 512, length 231",
        ];
        assert_eq!(lines(&transaction()), expected);
    }

    #[test]
    fn ladder_keeps_its_lifelines() {
        let rows = ladder(&transaction());
        assert_eq!(rows.len(), 5);
        for row in &rows[1..] {
            let bars: Vec<usize> =
                row.chars().enumerate().filter(|(_, one)| *one == '│').map(|(column, _)| column).collect();
            assert_eq!(bars, [0, SPAN + 1], "{row}");
        }
        assert!(rows[1].contains("── SYN seq 0 len 0 mss 1220 ─") && rows[1].contains("▶│"), "{}", rows[1]);
        assert!(
            rows[4].starts_with("│◀─") && rows[4].contains("─ FIN,ACK seq 1 ack 35 len 231 ──│"),
            "{}",
            rows[4]
        );
    }
}
