use super::*;

/// A record at `www.example.`, and the error: its column, and what it says.
const REFUSED: &[(&str, &str)] = &[
    ("HINFO a", "15: HINFO: expected an operating system, found the end of the entry"),
    ("DS 1 8 2 00", "1: DS: expected a digest of 32 bytes, as digest type 2 has, found 1"),
    ("DS 1 8 2", "16: DS: expected a digest, found the end of the entry"),
    (
        "DS 1 8 1 00000000000000000000000000000000000000",
        "1: DS: expected a digest of 20 bytes, as digest type 1 has, found 19",
    ),
    ("SSHFP 1 1 00", "1: SSHFP: expected a digest of 20 bytes, as fingerprint type 1 has, found 1"),
    ("DNSKEY 256 3 8", "22: DNSKEY: expected a public key, found the end of the entry"),
    ("TLSA 3 1 0", "18: TLSA: expected certificate data, found the end of the entry"),
    ("CDS 0 0 0 0", "18: CDS: expected a digest, in pairs of hexadecimal digits, found \"0\""),
    ("CDS 1 8 2 00", "1: CDS: expected a digest of 32 bytes, as digest type 2 has, found 1"),
    ("ZONEMD 1 1 1 00", "1: ZONEMD: expected a digest of 48 bytes, as hash algorithm 1 has, found 1"),
    ("HTTPS 1 . key1=h2", "18: HTTPS: alpn: expected protocols, none of them empty"),
    ("HTTPS 1 . mandatory=alpn", "1: HTTPS: alpn is mandatory but not there"),
    (
        "HTTPS 1 . mandatory=alpn,alpn alpn=h2",
        "18: HTTPS: mandatory: expected keys, each once, without mandatory itself",
    ),
    (
        "HTTPS 1 . mandatory=mandatory,alpn alpn=h2",
        "18: HTTPS: mandatory: expected keys, each once, without mandatory itself",
    ),
    ("HTTPS 1 . no-default-alpn", "1: HTTPS: no-default-alpn without alpn"),
    ("HTTPS 1 . no-default-alpn=x alpn=h2", "18: HTTPS: no-default-alpn: it takes no value"),
    ("HTTPS 1 . no-default-alpn= alpn=h2", "18: HTTPS: no-default-alpn: it takes no value"),
    ("HTTPS 1 . alpn=", "18: HTTPS: alpn: expected protocols, none of them empty"),
    ("HTTPS 1 . alpn", "18: HTTPS: alpn: it takes a value"),
    ("HTTPS 1 . port=", "18: HTTPS: port: expected a number, 0 to 65535"),
    ("HTTPS 1 . alpn=h2 alpn=h3", "26: HTTPS: alpn stands here twice"),
    ("HTTPS 1 . port=1 key3=\\000\\001", "25: HTTPS: port stands here twice"),
    ("HTTPS 1 . alpn=h2,,h3", "18: HTTPS: alpn: expected protocols, none of them empty"),
    ("HTTPS 1 . ipv4hint=", "18: HTTPS: ipv4hint: expected IPv4 addresses with commas between them"),
    (
        "HTTPS 1 . ipv4hint=192.0.2.1,",
        "18: HTTPS: ipv4hint: expected IPv4 addresses with commas between them",
    ),
    ("HTTPS 1 . ohttp=", "18: HTTPS: ohttp: it takes no value"),
    ("HTTPS 1 . ohttp=x", "18: HTTPS: ohttp: it takes no value"),
    ("HTTPS 1 . tls-supported-groups=29,29", "18: HTTPS: tls-supported-groups: expected numbers, each once"),
    (
        "HTTPS 1 . key0667=hello",
        "18: HTTPS: expected a parameter, as in alpn=h2 or key667=value, found \"key0667=hello\"",
    ),
    (
        "HTTPS 1 . KEY667=hello",
        "18: HTTPS: expected a parameter, as in alpn=h2 or key667=value, found \"KEY667=hello\"",
    ),
    (
        "HTTPS 1 . ALPN=h2",
        "18: HTTPS: expected a parameter, as in alpn=h2 or key667=value, found \"ALPN=h2\"",
    ),
    (
        "HTTPS 1 . key65536=x",
        "18: HTTPS: expected a parameter, as in alpn=h2 or key667=value, found \"key65536=x\"",
    ),
    (
        "HTTPS 1 . unknown=x",
        "18: HTTPS: expected a parameter, as in alpn=h2 or key667=value, found \"unknown=x\"",
    ),
    (
        "SVCB 1 foo \"port=53\"",
        "19: SVCB: expected a parameter, as in alpn=h2 or key667=value, found \"port=53\"",
    ),
    (
        "SVCB 1 foo port=\"5\"\"3\"",
        "27: SVCB: expected a parameter, as in alpn=h2 or key667=value, found \"3\"",
    ),
    ("UINFO a", "14: UINFO: expected \\# LENGTH HEXADECIMAL: its data has no other form, found \"a\""),
    ("UID 1", "12: UID: expected \\# LENGTH HEXADECIMAL: its data has no other form, found \"1\""),
    ("GID 1", "12: GID: expected \\# LENGTH HEXADECIMAL: its data has no other form, found \"1\""),
    (
        "UNSPEC AAAA",
        "15: UNSPEC: expected \\# LENGTH HEXADECIMAL: its data has no other form, found \"AAAA\"",
    ),
    (
        "EUI48 0-0-5e-0-53-2a",
        "14: EUI48: expected six bytes, as in 00-00-5e-00-53-2a, found \"0-0-5e-0-53-2a\"",
    ),
    ("URI 10 1 ftp://x", "17: URI: expected a target in quotes, found \"ftp://x\""),
    ("CAA 0 \"issue\" \"x\"", "14: CAA: expected a tag, found \"issue\""),
    ("CAA 0 is-sue \"x\"", "14: CAA: expected a tag of letters and digits, found \"is-sue\""),
    ("CAA 256 issue x", "12: CAA: expected flags, 0 to 255, found \"256\""),
    ("CAA 0 issue", "19: CAA: expected a value, found the end of the entry"),
    (
        "DOA 1234567890 1234567890 1 \"image/gif\" R0lGODlhKAAZAOMCAGZmZgBmmf",
        "48: DOA: expected data, in base64, found \"R0lGODlhKAAZAOMCAGZmZgBmmf\"",
    ),
    ("AMTRELAY 0 0 0", "22: AMTRELAY: expected . for no gateway, found the end of the entry"),
    (
        "TYPE65000 abcd",
        "18: record data: expected \\# LENGTH HEXADECIMAL: its data has no other form, found \"abcd\"",
    ),
    ("A \\# 5 c000020101", "1: A: 1 byte more than it should have"),
    ("A \\# 3 c00002", "1: A: expected an IPv4 address, found the end of the data"),
    (
        "LOC",
        "11: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found the end of the entry",
    ),
    ("MX 10", "13: MX: expected a mail exchange, found the end of the entry"),
    ("MX 10 a b", "16: MX: expected the end of the entry, found \"b\""),
    ("MX \"10\" a", "11: MX: expected a preference, 0 to 65535, found \"10\""),
    ("MX 65536 a", "11: MX: expected a preference, 0 to 65535, found \"65536\""),
    ("MX -1 a", "11: MX: expected a preference, 0 to 65535, found \"-1\""),
    ("A 192.0.2.01", "10: A: expected an IPv4 address, found \"192.0.2.01\""),
    ("A 192.0.2", "10: A: expected an IPv4 address, found \"192.0.2\""),
    ("OPT \\# 0", "8: expected a type of records: this one is of messages or questions only, found \"OPT\""),
    (
        "TSIG \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"TSIG\"",
    ),
    (
        "TKEY \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"TKEY\"",
    ),
    ("ANY \\# 0", "8: expected a type of records: this one is of messages or questions only, found \"ANY\""),
    (
        "AXFR \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"AXFR\"",
    ),
    (
        "TYPE0 \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"TYPE0\"",
    ),
    (
        "TYPE128 \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"TYPE128\"",
    ),
    (
        "TYPE255 \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"TYPE255\"",
    ),
    (
        "TYPE254 \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"TYPE254\"",
    ),
    (
        "NXNAME \\# 0",
        "8: expected a type of records: this one is of messages or questions only, found \"NXNAME\"",
    ),
    ("NS \\# 3 c00c00", "1: NS: a name server has a label that is compressed or too long"),
    ("NSEC \\# 6 000001400001", "1: NSEC: expected the bits of record types, found the end of the data"),
    ("NSEC \\# 7 00010140000140", "1: NSEC: the windows of record types are not in ascending order"),
    (
        "NSEC \\# 5 0000020000",
        "1: NSEC: a window of record types is empty, longer than 32 bytes or ends with 0",
    ),
    ("DNSKEY 65536 3 8 AAAA", "15: DNSKEY: expected flags, 0 to 65535 or mnemonics, found \"65536\""),
    ("DS 1 300 2 00", "13: DS: expected an algorithm, 0 to 255 or a mnemonic, found \"300\""),
    (
        "RRSIG A 8 3 60 2020010100000 20190101000000 1 @ AAAA",
        "23: RRSIG: expected an expiration, as YYYYMMDDHHmmSS or in seconds since 1970, found \"2020010100000\"",
    ),
    (
        "RRSIG A 8 3 60 20200132000000 20190101000000 1 @ AAAA",
        "23: RRSIG: expected an expiration, as YYYYMMDDHHmmSS or in seconds since 1970, found \"20200132000000\"",
    ),
    (
        "RRSIG A 8 3 1h 20200101000000 20190101000000 1 @ AAAA",
        "20: RRSIG: expected the original TTL, 0 to 4294967295, found \"1h\"",
    ),
    (
        "RRSIG A 8 3 60 20200101000000 20190101000000 1 @",
        "56: RRSIG: expected a signature, found the end of the entry",
    ),
    ("DNSKEY 256 3 8 AAA", "23: DNSKEY: expected a public key, in base64, found \"AAA\""),
    ("DNSKEY 256 3 8 AA==AAAA", "23: DNSKEY: expected a public key, in base64, found \"AA==AAAA\""),
    ("DS 1 8 99 000", "18: DS: expected a digest, in pairs of hexadecimal digits, found \"000\""),
    (
        "NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojrz A",
        "22: NSEC3: expected a hashed owner name, in base32, found \"2t7b4g4vsa5smi47k61mv5bv1a22bojrz\"",
    ),
    (
        "NSEC3 1 0 0 \"\" 2t7b4g4vsa5smi47k61mv5bv1a22bojr A",
        "20: NSEC3: expected a salt, in pairs of hexadecimal digits or - for none, found \"\"",
    ),
    (
        "NSEC3 1 0 0 a 2t7b4g4vsa5smi47k61mv5bv1a22bojr A",
        "20: NSEC3: expected a salt, in pairs of hexadecimal digits or - for none, found \"a\"",
    ),
    ("TXT", "11: TXT: expected a string, found the end of the entry"),
    ("TXT a\\", "12: TXT: a backslash with nothing behind it: \"a\\\\\""),
    ("TXT a\\25", "12: TXT: a backslash and digits must be three digits, \\000 to \\255: \"a\\\\25\""),
    ("TXT a\\256", "12: TXT: a backslash and digits must be three digits, \\000 to \\255: \"a\\\\256\""),
    ("TXT \"a\\\"", "12: a quoted string that does not end on its line"),
    ("NS \"x\"", "11: NS: expected a name server, found \"x\""),
    ("NS a..b", "11: NS: a name server: it has an empty label: \"a..b\""),
    ("NS .a", "11: NS: a name server: it has an empty label: \".a\""),
    ("X25 123", "1: X25: expected an X.121 address of four or more digits"),
    ("X25 abcde", "1: X25: expected an X.121 address of four or more digits"),
    (
        "LOC 91 N 4 E 10",
        "12: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found \"91\"",
    ),
    (
        "LOC 90 1 N 4 E 10",
        "12: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found \"90\"",
    ),
    (
        "LOC 52 60 N 4 E 10",
        "15: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found \"60\"",
    ),
    (
        "LOC 52 22 60 N 4 E 10",
        "18: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found \"60\"",
    ),
    (
        "LOC 52 22 59.9999 N 4 E 10",
        "18: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found \"59.9999\"",
    ),
    (
        "LOC 52 N 181 E 10",
        "17: LOC: expected a longitude, as in 180 0 0.000 E: degrees up to 180, minutes and seconds below 60, then E or W, found \"181\"",
    ),
    (
        "LOC 52 N 4 E",
        "20: LOC: expected an altitude, -100000.00m to 42849672.95m, found the end of the entry",
    ),
    (
        "LOC 52 N 4 E 42849672.96m",
        "21: LOC: expected an altitude, -100000.00m to 42849672.95m, found \"42849672.96m\"",
    ),
    (
        "LOC 52 N 4 E 1 90000001m",
        "23: LOC: expected a size or precision, 0.00m to 90000000.00m, found \"90000001m\"",
    ),
    (
        "LOC 52 n 4 e 1",
        "15: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found \"n\"",
    ),
    ("LOC 52 N 4 E 1m 1m 1m 1m 1m", "33: LOC: expected the end of the entry, found \"1m\""),
    (
        "LOC 52 22 .5 N 4 E 1",
        "18: LOC: expected a latitude, as in 90 0 0.000 N: degrees up to 90, minutes and seconds below 60, then N or S, found \".5\"",
    ),
];

#[test]
fn says_what_is_expected_of_each_type() {
    for &(text, expected) in REFUSED {
        let error = read(text).unwrap_err();
        assert_eq!(error, format!("z:1:{expected}"), "{text}");
    }
}
