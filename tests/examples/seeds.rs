//! Writes what fuzzing begins with into corpora: `cargo run -p stateless-tcp-tests --example seeds -- tests/fuzz/corpus`.
//!
//! Made by the tests' own builders, so that none has to be kept.

use std::{env, fs, io, path::Path};

use stateless_tcp_tests::{
    in_memory_harness::script::query,
    packet::{MSS_1460, Packet, flags},
    seed::Random,
    topology::{GHOST_V4, GHOST_V6, SERVERS},
};

fn main() -> io::Result<()> {
    let corpus = env::args_os().nth(1).unwrap_or_else(|| "corpus".into());
    for (target, seeds) in [
        ("segment", segments()),
        ("options", options()),
        ("http_request", requests().iter().map(|stream| with_room(stream)).collect()),
        ("dns_message", queries().iter().map(|stream| with_room(stream)).collect()),
        ("responder", scripts()),
        ("zonefile", zones()?),
    ] {
        let directory = Path::new(&corpus).join(target);
        fs::create_dir_all(&directory)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(directory.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

/// Entries of many kinds that no fixture has.
const ENTRIES: &str = "$ORIGIN a.\n$TTL 1h\n@ 1d IN SOA n h ( 1 1h 2h ; c\n 3w 4m30s )\n  MX 10 @\n\\@ TXT \"a\\\"b\\007\" c\n\
    ( b LOC 52 22 23.5 N 4 E -2m 1m )\nc TYPE15 \\# 5 000a 016200\nc APL 1:192.0.2.0/24 !2:2001:db8::/32\n\
    d HTTPS 1 . alpn=\"h2,a\\\\,b\" mandatory=alpn port=8 key9=\\000\\001 ipv6hint=::1\ne NSEC f A TYPE999\n\
    f IPSECKEY 1 3 2 g. AAAA\nf WKS 192.0.2.1 TCP smtp 80\nf CAA 0 issue \"x\"\nf EUI48 00-00-5e-00-53-2a\n";

fn zones() -> io::Result<Vec<Vec<u8>>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = fs::read_dir(fixtures)?.map(|file| fs::read(file?.path()));
    files.chain([Ok(ENTRIES.into())]).collect()
}

fn segments() -> Vec<Vec<u8>> {
    let v4 = Packet::new(GHOST_V4.into(), 40_000, SERVERS[0], 53);
    let v6 = Packet::new(GHOST_V6.into(), 40_000, SERVERS[1], 80);
    let syn = Packet { flags: flags::SYN, options: MSS_1460.to_vec(), ..v4.clone() };
    let data = Packet { flags: flags::PSH | flags::ACK, payload: queries().concat(), ..v4 };
    [
        syn.octets(),
        Packet { tags: vec![(0x8100, 7)], ip_options: vec![1; 8], ..syn }.octets(),
        Packet { tags: vec![(0x88a8, 7), (0x8100, 8)], ..data.clone() }.octets(),
        data.octets(),
        Packet { flags: flags::FIN | flags::ACK, ..v6.clone() }.octets(),
        Packet { extensions: vec![(44, vec![0; 7])], ..v6 }.octets(),
    ]
    .to_vec()
}

fn options() -> Vec<Vec<u8>> {
    vec![
        MSS_1460.to_vec(),
        // What Linux offers: MSS, SACK permitted, timestamps, window scale.
        vec![2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
        vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        vec![5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0],
    ]
}

fn requests() -> Vec<Vec<u8>> {
    [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /20k.html HTTP/1.0\r\n\r\n",
        "GET /%72obots.txt HTTP/1.1\r\nHost: a:80\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn queries() -> Vec<Vec<u8>> {
    vec![
        query(1, 0x0100, "example.com", 1, None),
        query(2, 0x0110, "no.such.name.example.com", 255, Some(true)),
        query(3, 0, "child.example.com", 43, Some(false)),
        query(4, 0, "huge.example.com", 16, None),
    ]
}

fn with_room(stream: &[u8]) -> Vec<u8> {
    [&65_000_u16.to_le_bytes()[..], stream].concat()
}

/// Bytes from which scripts of some length are read; what they say does not matter.
fn scripts() -> Vec<Vec<u8>> {
    let mut random = Random::new("fuzz scripts");
    (0..8).map(|_| (0..400).map(|_| random.byte()).collect()).collect()
}
