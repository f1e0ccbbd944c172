//! Answers by a zone's records and by a query's extra records.

use super::*;

const NSEC: u16 = 47;
const RRSIG: u16 = 46;
const MX: u16 = 15;
const DNAME: u16 = 39;
const CNAME: u16 = 5;
const SERVFAIL: u8 = 2;

/// A zone with these lines behind its SOA and NS records.
fn zone_with(lines: &str) -> Dns {
    zone(&format!("$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n{lines}"))
}

/// Response code, and the types of the answer section.
fn types(dns: &Dns, name: &str, rtype: u16, signed: bool) -> (u8, Vec<u16>) {
    let response = answer(dns, &query(&wire(name), rtype, signed), MAX_RESPONSE).unwrap();
    let parsed = Parsed::from_octets(&response).unwrap();
    let records = parsed.answer().unwrap().map(|record| record.unwrap().rtype().to_int());
    (response[3] & 0xf, records.collect())
}

/// RFC 6672 section 3.2: an alias of an alias, by one DNAME; and one whose names grow for ever.
#[rstest]
#[case::crossed_twice("d DNAME e\nf CNAME y.d\nx.e CNAME f\ny.e A 192.0.2.1\n", "x.d", &[DNAME, CNAME, CNAME, CNAME, CNAME, A])]
#[case::for_ever("d DNAME b.d\n", "x.d", &[&[DNAME][..], &[CNAME; 20]].concat())]
fn a_dname_stands_once_in_an_answer(#[case] lines: &str, #[case] name: &str, #[case] expected: &[u16]) {
    let dns = zone_with(lines);
    let (rcode, types) = types(&dns, &format!("{name}.example"), A, false);
    assert_eq!((rcode, &*types), (0, expected));
    let length =
        answer(&dns, &query(&wire(&format!("{name}.example")), A, false), MAX_RESPONSE).unwrap().len();
    assert!(length < 800, "{length} bytes");
}

#[rstest]
#[case::itself(NSEC)]
#[case::its_signature(RRSIG)]
fn nsec_beside_an_alias_is_final(#[case] rtype: u16) {
    let lines = "@ NSEC a\na CNAME www\na NSEC www\na RRSIG NSEC 8 2 60 20300101000000 20200101000000 1 @ AwEAAQ==\n\
                 www NSEC @\nwww A 192.0.2.1\n";
    assert_eq!(types(&zone_with(lines), "a.example", rtype, false), (0, vec![rtype]));
}

#[rstest]
#[case::not_signed("")]
#[case::by_nsec3(
    "@ NSEC3PARAM 1 0 0 -\n0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n"
)]
fn where_no_nsec_is_there_an_alias_is_followed_for_it(#[case] lines: &str) {
    let dns = zone_with(&format!("{lines}a CNAME www\nwww A 192.0.2.1\n"));
    assert_eq!(types(&dns, "a.example", NSEC, false), (0, vec![CNAME]));
}

#[rstest]
#[case::same_signature(
    "a RRSIG A 8 2 60 20300101000000 20200101000000 1 @ AwEAAQ==\n\
     a RRSIG A 8 2 60 20300101000000 20200101000000 1 @ AwEAAQ==\na A 192.0.2.1\n",
    A,
    &[A, RRSIG]
)]
#[case::case_of_a_name("a MX 1 MAIL\na MX 1 mail\na MX 2 mail\n", MX, &[MX, MX])]
#[case::same_address("a A 192.0.2.1\nA A 192.0.2.1\n", A, &[A])]
#[case::case_of_text("a TXT x\na TXT X\na TXT x\n", TXT, &[TXT, TXT])]
fn a_record_that_is_given_twice_counts_once(
    #[case] lines: &str,
    #[case] rtype: u16,
    #[case] expected: &[u16],
) {
    assert_eq!(types(&zone_with(lines), "a.example", rtype, true), (0, expected.to_vec()));
}

/// More than are compared with each other.
#[test]
fn of_many_records_each_counts_once() {
    let line = |number| format!("a MX {} M{0}\n", number % 100);
    let lines = (0..400).map(line).collect::<Vec<_>>().concat();
    let lines = lines.clone() + &lines.to_lowercase();
    assert_eq!(types(&zone_with(&lines), "a.example", MX, false), (0, vec![MX; 100]));
}

#[test]
fn a_set_of_one_signature_alone_is_no_data() {
    let dns = zone_with("a RRSIG MX 8 2 60 20300101000000 20200101000000 1 @ AwEAAQ==\n");
    assert_eq!(types(&dns, "a.example", MX, true), (0, vec![]));
    assert_eq!(types(&dns, "a.example", RRSIG, false), (0, vec![RRSIG]));
}

#[test]
fn ns_beside_a_dname_delegates() {
    let dns = zone_with("d NS ns.test.\nd DNAME e\n");
    let response = answer(&dns, &query(&wire("x.d.example"), A, false), MAX_RESPONSE).unwrap();
    // Not authoritative, no answer, one record of authority.
    assert_eq!((response[2] & 4, response[7], response[9]), (0, 0, 1));
}

/// Zones on both sides of a chain: names of the second are compressed by those of the first.
#[test]
fn names_are_compressed_across_zones() {
    let directory = tempfile::tempdir().unwrap();
    let texts = [
        "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\na CNAME b.child\n",
        "$ORIGIN child.example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nb MX 1 MAIL\nmail A 192.0.2.9\n",
    ];
    let sources = [0, 1].map(|number| {
        let file = directory.path().join(number.to_string());
        std::fs::write(&file, texts[number]).unwrap();
        ZoneSource::from(file)
    });
    let dns = Dns::load(&sources, &DnsOptions::default()).unwrap();
    let response = answer(&dns, &query(&wire("a.example"), MX, false), MAX_RESPONSE).unwrap();
    let text = Parsed::from_octets(&response).unwrap();
    let records: Vec<String> = text
        .answer()
        .unwrap()
        .chain(text.additional().unwrap())
        .map(|record| record.unwrap().to_record::<AllRecordData<_, _>>().unwrap().unwrap().to_string())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "a.example. 60 IN CNAME b.child.example.",
        "b.child.example. 60 IN MX 1 mail.child.example.",
        "mail.child.example. 60 IN A 192.0.2.9",
    ];
    assert_eq!(records, expected);
    // Header, question, and three records of which each but the first label of a name is a pointer.
    assert_eq!(response.len(), 12 + 15 + (2 + 10 + 10) + (2 + 10 + 9) + (2 + 10 + 4));
}

/// A TSIG record of key `key.` with the algorithm hmac-sha256 (RFC 8945 section 4.2).
fn tsig(class: u8) -> Vec<u8> {
    let data =
        [&b"\x0bhmac-sha256\0"[..], &[1, 2, 3, 4, 5, 6, 0, 7], &[0, 2, 9, 9], &[0x12, 0x34, 0, 0, 0, 0]]
            .concat();
    let length = u8::try_from(data.len()).unwrap();
    [&b"\x03key\0"[..], &[0, 250, 0, class, 0, 0, 0, 0, 0, length], &data].concat()
}

/// RFC 8945 section 5.2.1: NOTAUTH, and BADKEY in a record without a signature.
#[test]
fn a_key_that_is_not_known_is_said_to_be_bad() {
    let question = [&wire("example.com")[..], &[0, 1, 0, 1]].concat();
    let asked = message(0x0100, 1, 2, &[&question, &OPT, &tsig(255)]);
    let response = answer(&builtin(), &asked, MAX_RESPONSE).unwrap();
    assert_eq!(response[2..12], [0x81, 9, 0, 1, 0, 0, 0, 0, 0, 2]);
    let data = [&b"\x0bhmac-sha256\0"[..], &[1, 2, 3, 4, 5, 6, 0, 7, 0, 0, 0x12, 0x34, 0, 17, 0, 0]].concat();
    let length = u8::try_from(data.len()).unwrap();
    let expected = [&OPT[..], b"\x03key\0", &[0, 250, 0, 255, 0, 0, 0, 0, 0, length], &data].concat();
    assert!(response.ends_with(&expected), "{response:x?}");
}

#[rstest]
#[case::not_last([tsig(255), OPT.to_vec()])]
#[case::two([tsig(255), tsig(255)])]
#[case::of_another_class([OPT.to_vec(), tsig(1)])]
#[case::cut_off([OPT.to_vec(), vec![0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 3, 1, b'x', 0]])]
fn a_misplaced_signature_is_an_error(#[case] additional: [Vec<u8>; 2]) {
    let question = [&wire("example.com")[..], &[0, 1, 0, 1]].concat();
    let asked = message(0x0100, 1, 2, &[&question, &additional.concat()]);
    let response = answer(&builtin(), &asked, MAX_RESPONSE).unwrap();
    assert_eq!((response[3] & 0xf, response[7]), (1, 0));
}

#[test]
fn a_set_of_forty_thousand_records_is_servfail() {
    let line = |number: u32| {
        let [_, high, middle, low] = number.to_be_bytes();
        format!("a A 10.{high}.{middle}.{low}\n")
    };
    let lines = (0..40_000).map(line).collect::<Vec<_>>().concat();
    let response = answer(&zone_with(&lines), &query(&wire("a.example"), A, false), MAX_RESPONSE).unwrap();
    assert_eq!(response[3] & 0xf, SERVFAIL);
}

/// 4,000 addresses do not fit beside the MX record that they belong to, which does by itself.
#[rstest]
#[case::fits(1_000, 1_000)]
#[case::does_not(4_090, 0)]
fn addresses_never_cost_the_answer(#[case] count: u32, #[case] added: u16) {
    let line = |number: u32| {
        let [_, high, middle, low] = number.to_be_bytes();
        format!("a A 10.{high}.{middle}.{low}\n")
    };
    let lines = (0..count).map(line).collect::<Vec<_>>().concat();
    let dns = zone_with(&format!("{lines}@ MX 1 a\n"));
    let response = answer(&dns, &query(&wire("example"), MX, true), MAX_RESPONSE).unwrap();
    assert_eq!((response[3] & 0xf, response[7]), (0, 1));
    // The OPT record is one of them.
    assert_eq!(u16::from_be_bytes([response[10], response[11]]), added + 1);
    assert!(response.ends_with(&OPT));
}

#[test]
fn a_target_that_is_the_owner_has_no_other_addresses() {
    let dns = zone(". 60 SOA ns. h. 1 2 3 4 5\n. 60 NS ns.\n. 60 A 192.0.2.1\na. 60 HTTPS 1 . alpn=h2\n");
    let response = answer(&dns, &query(&wire("a"), 65, false), MAX_RESPONSE).unwrap();
    assert_eq!((response[7], response[11]), (1, 0));
}

#[test]
fn any_has_each_set_once() {
    let dns = zone_with("@ MX 1 @\n@ A 192.0.2.1\n");
    let response = answer(&dns, &query(&wire("example"), ANY, false), MAX_RESPONSE).unwrap();
    assert_eq!((response[7], response[11]), (4, 0));
}

/// The parent zone answers for DS, even if the child zone is served too.
#[test]
fn the_parent_has_the_ds_record_of_a_broken_zone() {
    const DS: u16 = 43;
    let directory = tempfile::tempdir().unwrap();
    let text = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nchild NS ns.child\n\
                child DS 1 8 2 0101010101010101010101010101010101010101010101010101010101010101\n";
    let paths = ["parent", "child"].map(|name| directory.path().join(name));
    std::fs::write(&paths[0], text).unwrap();
    std::fs::write(&paths[1], "broken").unwrap();
    let [parent, child] = paths;
    let files = vec![parent.into(), ZoneSource { name: Some("child.example".parse().unwrap()), file: child }];
    let zones = Library::default().load(&ZoneOptions { files, ..ZoneOptions::default() }, &[]).unwrap();
    let dns = Dns::new(zones, DnsOptions::default());
    assert_eq!(answer(&dns, &query(&wire("child.example"), DS, false), MAX_RESPONSE).unwrap()[7], 1);
}

#[test]
fn a_name_has_at_most_256_types() {
    let lines = |count: u32| {
        (0..count).map(|number| format!("a TYPE{} \\# 0\n", 1_000 + number)).collect::<Vec<_>>().concat()
    };
    zone_with(&lines(256));
    let text = format!("$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n{}", lines(257));
    let error = Dns::from_text(&text, DnsOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("more than 256 types of records at one name"), "{error}");
}
