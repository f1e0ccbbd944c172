mod entries;
mod included;
mod refused;

use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

/// Owner, type, TTL and data of each record.
type Records = Vec<(Vec<u8>, u16, u32, Vec<u8>)>;

const ORIGIN: &[u8] = b"\x01o\0";

fn collect(read: impl FnOnce(RecordSink<'_>) -> ReadOutcome) -> (Records, ReadOutcome) {
    let mut records = Vec::new();
    let reading = read(&mut |record| {
        records.push((record.owner.to_vec(), record.rtype, record.ttl, record.rdata.to_vec()));
        Ok(())
    });
    (records, reading)
}

/// The records of a text in presentation form.
fn shown(text: &str) -> String {
    let (records, reading) = collect(|sink| read_text(Path::new("z"), text.as_bytes(), Some(ORIGIN), sink));
    reading.result.unwrap();
    show(&records)
}

fn show(records: &Records) -> String {
    let mut shown = String::new();
    let place = Position { file: 0, line: 1, column: 1 };
    for (owner, rtype, ttl, rdata) in records {
        ZoneRecord { owner, rtype: *rtype, ttl: *ttl, rdata, place }.present(&mut shown);
    }
    shown.replace(" IN ", " ")
}

/// The error of a text.
fn wrong(text: &[u8], origin: Option<&[u8]>) -> String {
    read_text(Path::new("z"), text, origin, &mut |_| Ok(())).result.unwrap_err().to_string()
}

#[test]
fn reads_the_fixtures() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    for entry in fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        let policy = IncludePolicy::default();
        let (records, reading) =
            collect(|sink| read(&ZoneInput { path: &path, origin: None, policy: &policy }, sink));
        reading.result.unwrap();
        assert!(!records.is_empty(), "{}", path.display());
    }
}

#[test]
fn a_record_has_its_place() {
    let mut places = Vec::new();
    let text = b"$TTL 1\n\n( a\n A 192.0.2.1 )\n  A 192.0.2.2\n$GENERATE 1-2 $ A 192.0.2.$\n";
    let reading = read_text(Path::new("z"), text, Some(ORIGIN), &mut |record| {
        places.push((record.place.line, record.place.column));
        Ok(())
    });
    reading.result.unwrap();
    assert_eq!(places, [(3, 3), (5, 3), (6, 1), (6, 1)]);
}

#[test]
fn a_sink_may_refuse() {
    let text = b"a 60 A 192.0.2.1\n  60 A 192.0.2.2\n";
    let reading = read_text(Path::new("z"), text, Some(ORIGIN), &mut |record| {
        if record.rdata[3] == 2 { Err(RecordRejected("no".to_owned())) } else { Ok(()) }
    });
    assert_eq!(reading.result.unwrap_err().to_string(), "z:2:3: no");
}

#[test]
fn the_zone_has_a_name_whatever_is_wrong() {
    let name = |text: &str, origin| {
        let reading = read_text(Path::new("z"), text.as_bytes(), origin, &mut |_| Ok(()));
        assert!(reading.result.is_err());
        reading.name
    };
    assert_eq!(name("$ORIGIN p.\n?", None), None, "that may be anything");
    assert_eq!(name("$ORIGIN p.\n?", Some(ORIGIN)).unwrap(), ORIGIN);
    assert_eq!(name("$ORIGIN p.\nx.y. SOA a b 1 2 3 4 5\n?", Some(ORIGIN)).unwrap(), b"\x01x\x01y\0");
    assert_eq!(name("?", None), None);
}

#[test]
fn presented_text_reads_to_itself() {
    let text = "$ORIGIN o.\n$TTL 1h\n@ SOA @ a\\.b 1 2h 3 4 5\nw TXT \"\\\"\" x\n\\@ MX 1 \\$\n";
    let once = zonefile_text(text.as_bytes()).unwrap();
    let expected = [
        "o. 3600 IN SOA o. a\\.b.o. 1 7200 3 4 5",
        "w.o. 3600 IN TXT \"\\\"\" \"x\"",
        "\\@.o. 3600 IN MX 1 \\$.o.",
        "",
    ];
    assert_eq!(once, expected.join("\n"));
    assert_eq!(zonefile_text(once.as_bytes()).unwrap(), once);
    assert_eq!(count_records(text.as_bytes()).unwrap(), 3);
    assert_eq!(count_records(ENTRIES.as_bytes()).unwrap(), 15);
}

/// Entries of many kinds, to be changed at random.
const ENTRIES: &str = "$ORIGIN a.\n$TTL 1h\n@ 1d IN SOA n h ( 1 1h 2h ; c\n 3w 4m30s )\n  MX 10 @\n\\@ TXT \"a\\\"b\\007\" c\n\
    ( b LOC 52 22 23.5 N 4 E -2m 1m )\nc TYPE15 \\# 5 000a 016200\nc APL 1:192.0.2.0/24 !2:2001:db8::/32\n\
    d HTTPS 1 . alpn=\"h2,a\\\\,b\" mandatory=alpn port=8 key9=\\000\\001 ipv6hint=::1\ne NSEC f A TYPE999\n\
    f IPSECKEY 1 3 2 g. AAAA\nf WKS 192.0.2.1 TCP smtp 80\nf CAA 0 issue \"x\"\n$GENERATE 1-2 g${1,2,x} A 192.0.2.$\n\
    h RRSIG A 8 1 60 20300101000000 0 1 @ AAAA\ni NSEC3 1 0 0 ab 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n";

proptest! {
    /// The written form of any text reads as the same records, and no text makes the reader panic.
    #[test]
    fn changed_text_reads_to_itself(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..8),
    ) {
        let mut text = ENTRIES.as_bytes().to_vec();
        for (at, from, byte, kind) in changes {
            let at = at.index(text.len());
            let from = from.index(text.len());
            match kind {
                0 => text[at] = byte,
                1 => text[at] = text[from],
                2 => drop(text.remove(at)),
                _ => text.insert(at, ENTRIES.as_bytes()[from.min(ENTRIES.len() - 1)]),
            }
        }
        if let Ok(once) = zonefile_text(&text) {
            prop_assert_eq!(zonefile_text(once.as_bytes()).map_err(|error| error.to_string()), Ok(once.clone()));
        }
    }
}
