use super::*;
use crate::services::dns::{Dns, DnsOptions};
use crate::services::{Context, MAX_RESPONSE, Service as _};
use rstest::rstest;
use std::fs;
use tempfile::TempDir;

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

/// Zone files, and a library that loads them.
struct LoadCase {
    directory: TempDir,
    library: Library,
    options: ZoneOptions,
}

impl LoadCase {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, library: Library::default(), options: ZoneOptions::default() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Writes a file under another inode, as editors and deployments do.
    fn write(&self, file: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(file)).unwrap();
    }

    /// Adds a zone file to those configured.
    fn zone(&mut self, name: Option<&str>, file: &str, text: &str) {
        self.write(file, text);
        let name = name.map(|name| name.parse().unwrap());
        self.options.files.push(ZoneSource { name, file: self.path(file) });
    }

    fn load(&self) -> Result<Loaded, String> {
        let zones =
            self.library.load(&self.options, &[]).map_err(|error| self.shorten(&error.to_string()))?;
        let report = zones.report.clone();
        self.library.commit();
        Ok(Loaded { dns: Dns::new(zones, DnsOptions::default()), report })
    }

    /// Without the directory's name.
    fn shorten(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

struct Loaded {
    dns: Dns,
    report: ZoneReport,
}

impl Loaded {
    /// The response code for `name`'s address, and that address's last byte.
    fn ask(&self, name: &str) -> (u8, Option<u8>) {
        let name: ZoneName = name.parse().unwrap();
        let query = [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name.name().wire(), &[0, 1, 0, 1]].concat();
        let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes(), &query[..]].concat();
        let mut response = Vec::with_capacity(MAX_RESPONSE);
        self.dns.answer(&framed, &Context::default(), &mut response).unwrap();
        let has_answer = response[2 + 7] > 0;
        (response[2 + 3] & 0xf, has_answer.then(|| *response.last().unwrap()))
    }
}

/// A zone without `$ORIGIN`, with an address that ends in `number`.
fn anonymous(number: u8) -> String {
    format!("@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nwww 60 A 192.0.2.{number}\n")
}

fn named(name: &str, number: u8) -> String {
    format!("$ORIGIN {name}.\n{}", anonymous(number))
}

#[test]
fn the_configuration_names_a_zone() {
    let mut case = LoadCase::new();
    case.zone(Some("one.example"), "zone", &anonymous(1));
    case.options
        .files
        .push(ZoneSource { name: Some("two.example.".parse().unwrap()), file: case.path("zone") });
    let loaded = case.load().unwrap();
    assert_eq!(loaded.ask("www.one.example"), (NOERROR, Some(1)));
    assert_eq!(loaded.ask("www.two.example"), (NOERROR, Some(1)), "one file, two zones");
    assert_eq!(loaded.ask("www.three.example").0, REFUSED);
}

#[test]
fn files_in_a_directory_are_named_after_their_zones() {
    let mut case = LoadCase::new();
    case.options.directories.push(case.directory.path().to_owned());
    case.write("b.example.zone", &anonymous(2));
    case.write("a.example.zone", &named("a.example", 1));
    case.write("notes.txt", "not a zone");
    case.write(".hidden.zone", "not one either");
    case.write(".zone", "nor this");
    case.write("c..example.zone", "nor this");
    let loaded = case.load().unwrap();
    assert_eq!(loaded.report.count(), 2);
    let ignored: Vec<String> = loaded.report.warnings().map(|line| case.shorten(&line)).collect();
    assert!(
        ignored[0].starts_with("c..example.zone: ignored: \"c..example\" is no domain name: "),
        "{ignored:?}"
    );
    assert_eq!(loaded.ask("www.a.example"), (NOERROR, Some(1)));
    assert_eq!(loaded.ask("www.b.example"), (NOERROR, Some(2)));
    case.write("c.example.zone", &anonymous(3));
    fs::remove_file(case.path("a.example.zone")).unwrap();
    let loaded = case.load().unwrap();
    assert_eq!(
        ["a", "b", "c"].map(|zone| loaded.ask(&format!("www.{zone}.example")).0),
        [REFUSED, NOERROR, NOERROR]
    );
    assert_eq!(loaded.report.read, 1, "only what is new");
}

#[test]
fn a_broken_zone_costs_nobody_else_anything() {
    let mut case = LoadCase::new();
    case.zone(None, "good", &named("good.example", 1));
    case.zone(Some("bad.example"), "bad", "@ 60 SOA ns h 1 2 3 4 5\nwww 60 A 192.0.2.256\n");
    case.zone(None, "origin", "$ORIGIN origin.example.\n@ 60 NS ns\n");
    case.zone(None, "nothing", "");
    case.options.files.push(ZoneSource { name: None, file: case.path("missing") });
    let loaded = case.load().unwrap();
    assert_eq!(loaded.ask("www.good.example"), (NOERROR, Some(1)));
    assert_eq!(loaded.ask("www.bad.example"), (SERVFAIL, None));
    assert_eq!(loaded.ask("www.origin.example").0, REFUSED, "an origin may be anything");
    let fallback: Vec<Fallback> = loaded.report.failures.iter().map(|failure| failure.fallback).collect();
    assert_eq!(fallback, [Fallback::ServFail, Fallback::NotServed, Fallback::NotServed, Fallback::NotServed]);
    let numbers = loaded.report.numbers().unwrap();
    assert_eq!((numbers.current, numbers.older, numbers.broken, numbers.unknown), (1, 0, 1, 3));
    let lines: Vec<String> = loaded.report.failures().map(|line| case.shorten(&line)).collect();
    assert!(lines[0].starts_with("bad:2:10: "), "{lines:?}");
    assert!(lines[0].ends_with(" (queries for this zone get SERVFAIL)"), "{lines:?}");
    assert!(lines[3].starts_with("missing: cannot be read: No such file"), "{lines:?}");
    assert!(lines[3].contains("give it as NAME=FILE"), "{lines:?}");
}

#[test]
fn a_zone_that_breaks_is_served_as_it_was_until_it_is_mended() {
    let mut case = LoadCase::new();
    case.zone(None, "zone", &named("a.example", 1));
    case.zone(None, "other", &named("b.example", 1));
    let first = case.load().unwrap();
    let fingerprint = first.dns.fingerprint;
    case.write("zone", "nothing of the kind");
    case.write("other", &named("b.example", 2));
    let second = case.load().unwrap();
    assert_eq!(second.ask("www.a.example"), (NOERROR, Some(1)), "as it was");
    assert_eq!(second.ask("www.b.example"), (NOERROR, Some(2)), "as it is now");
    assert_eq!(second.report.failures[0].fallback, Fallback::Previous);
    assert_eq!(second.report.numbers().unwrap().older, 1);
    assert_ne!(second.dns.fingerprint, fingerprint);
    // Still broken, and nothing has changed: not read again, and told again.
    let third = case.load().unwrap();
    assert_eq!((third.report.read, third.report.failures.len()), (0, 1));
    assert_eq!(third.ask("www.a.example"), (NOERROR, Some(1)));
    fs::remove_file(case.path("zone")).unwrap();
    assert_eq!(case.load().unwrap().ask("www.a.example"), (NOERROR, Some(1)), "gone altogether");
    case.write("zone", &named("a.example", 3));
    case.write("other", &named("b.example", 1));
    let last = case.load().unwrap();
    assert_eq!(last.ask("www.a.example"), (NOERROR, Some(3)), "mended");
    assert!(last.report.failures.is_empty());
}

#[test]
fn only_what_has_changed_is_read_again() {
    let mut case = LoadCase::new();
    case.write("common", "common 60 A 192.0.2.7\n");
    case.zone(None, "a", &format!("{}$INCLUDE common\n", named("a.example", 1)));
    case.zone(None, "b", &named("b.example", 2));
    assert_eq!(case.load().unwrap().report.read, 2);
    let again = case.load().unwrap();
    assert_eq!((again.report.read, again.report.served), (0, 2));
    case.write("common", "common 60 A 192.0.2.8\n");
    let changed = case.load().unwrap();
    assert_eq!(changed.report.read, 1, "what it includes has changed");
    assert_eq!(changed.ask("common.a.example"), (NOERROR, Some(8)));
    case.options.files.remove(0);
    assert_eq!(case.load().unwrap().ask("www.a.example").0, REFUSED, "configured no more");
}

#[test]
fn what_may_be_included_now_is_included() {
    let mut case = LoadCase::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("common"), "common 60 A 192.0.2.7\n").unwrap();
    let include = format!("$INCLUDE {}/common\n", elsewhere.path().display());
    case.zone(None, "a", &format!("{}{include}", named("a.example", 1)));
    case.zone(None, "b", &named("b.example", 2));
    let loaded = case.load().unwrap();
    assert_eq!(loaded.ask("www.a.example").0, SERVFAIL);
    case.options.include.push(elsewhere.path().to_owned());
    let loaded = case.load().unwrap();
    assert_eq!(loaded.ask("common.a.example"), (NOERROR, Some(7)), "no file has changed");
    case.options.include.clear();
    assert_eq!(case.load().unwrap().report.failures[0].fallback, Fallback::Previous);
}

#[test]
fn what_no_answer_can_hold_is_warned_of() {
    let mut case = LoadCase::new();
    let addresses = |count: u16| -> String {
        let line = |[high, low]: [u8; 2]| format!("www 60 A 10.0.{high}.{low}\n");
        (0..count).map(|number| line(number.to_be_bytes())).collect::<Vec<_>>().concat()
    };
    case.zone(
        None,
        "fits",
        &format!("$ORIGIN a.example.\n@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\n{}", addresses(4_093)),
    );
    case.zone(None, "not", &format!("$ORIGIN b.example.\n@ 60 SOA ns h 1 2 3 4 5\n{}", addresses(4_096)));
    case.zone(
        None,
        "orphan",
        &format!(
            "{}www 60 RRSIG MX 8 3 60 20300101000000 20200101000000 1 @ AwEAAQ==\n",
            named("c.example", 1)
        ),
    );
    case.zone(
        None,
        "outside",
        &format!("{}a.example. 60 A 192.0.2.1\nb.example. 60 A 192.0.2.1\n", named("d.example", 1)),
    );
    let warnings: Vec<String> =
        case.load().unwrap().report.warnings().map(|line| case.shorten(&line)).collect();
    let expected = [
        "not:3:1: the 4096 A records at this name take more than 65,535 bytes, too many for an answer: queries get SERVFAIL",
        "not:2:1: no NS record at the apex: resolvers and other servers may refuse the zone",
        "orphan:5:1: an RRSIG record of MX records, but this name has none: only queries for RRSIG get it",
        "outside:5:1: a.example. lies outside the zone d.example.: ignored, and 1 more such records",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn nothing_begins_without_any_zone() {
    let mut case = LoadCase::new();
    case.zone(Some("a.example"), "zone", "@ 60 NS ns\n");
    assert_eq!(case.load().err().unwrap(), "zone: no SOA record of a.example.: a zone begins with one");
    case.write("zone", &anonymous(1));
    case.load().unwrap();
    case.write("zone", "");
    assert_eq!(case.load().unwrap().ask("www.a.example"), (NOERROR, Some(1)), "what has begun goes on");
}

#[test]
fn each_zone_is_given_once() {
    let mut case = LoadCase::new();
    case.zone(None, "one", &named("a.example", 1));
    case.zone(None, "two", &named("A.Example", 1));
    case.zone(Some("a.example"), "three", "broken");
    let loaded = case.load().unwrap();
    assert_eq!(loaded.ask("www.a.example"), (NOERROR, Some(1)));
    let lines: Vec<String> = loaded.report.failures().map(|line| case.shorten(&line)).collect();
    assert_eq!(
        lines[0],
        "two: zone a.example. is already served from one (that one is served; give each zone once)"
    );
    assert!(lines[1].starts_with("three:1:7: "), "{lines:?}");
    // A file that loads takes precedence over a broken one.
    case.write("one", "broken");
    assert_eq!(
        case.load().unwrap().ask("www.a.example"),
        (NOERROR, Some(1)),
        "the second has the same content"
    );
}

/// Zones loaded for a reload that fails elsewhere are not served.
#[test]
fn what_is_not_served_in_the_end_is_forgotten() {
    let mut case = LoadCase::new();
    case.zone(None, "a", &named("a.example", 1));
    case.zone(None, "b", &named("b.example", 1));
    case.load().unwrap();
    case.write("a", "broken");
    assert_eq!(case.load().unwrap().report.failures[0].fallback, Fallback::Previous);
    let without = ZoneOptions { files: vec![case.options.files[1].clone()], ..ZoneOptions::default() };
    drop(case.library.load(&without, &[]).unwrap());
    assert_eq!(case.library.report().numbers().unwrap().older, 1, "still served");
    assert_eq!(case.load().unwrap().ask("www.a.example"), (NOERROR, Some(1)));
}

#[test]
fn a_key_file_is_no_zone() {
    let mut case = LoadCase::new();
    case.zone(None, "a", &named("a.example", 1));
    case.zone(None, "key", "0123456789abcdef0123456789abcdef\n");
    let key = case.path("key");
    let zones = case.library.load(&case.options, &[&key]).unwrap();
    let error = case.shorten(&zones.report.failures[0].error.to_string());
    assert_eq!(error, "key: cannot be read: it holds a key or other configuration");
}

#[test]
fn hundreds_of_zones_are_loaded_side_by_side() {
    let mut case = LoadCase::new();
    for number in 0..300 {
        let number = u8::try_from(number % 250).unwrap();
        let (name, file) =
            (format!("z{}.example", case.options.files.len()), case.options.files.len().to_string());
        case.zone(Some(&name), &file, &anonymous(number));
    }
    let loaded = case.load().unwrap();
    assert_eq!((loaded.report.served, loaded.report.read), (300, 300));
    for zone in [0, 1, 17, 249, 299] {
        let number = u8::try_from(zone % 250).unwrap();
        assert_eq!(loaded.ask(&format!("www.z{zone}.example")), (NOERROR, Some(number)));
    }
}

#[rstest]
#[case::file("a.zone", None, "a.zone")]
#[case::named("example.org=a.zone", Some("example.org."), "a.zone")]
#[case::root(".=root.zone", Some("."), "root.zone")]
#[case::path_with_equals_sign("zones/a=b/c.zone", None, "zones/a=b/c.zone")]
#[case::file_with_equals_sign("example.org=zones/a=b", Some("example.org."), "zones/a=b")]
#[case::case_does_not_count("EXAMPLE.org=a.zone", Some("example.org."), "a.zone")]
fn sources_are_a_file_and_perhaps_a_name(#[case] text: &str, #[case] name: Option<&str>, #[case] file: &str) {
    let source: ZoneSource = text.parse().unwrap();
    assert_eq!(source.name.map(|name| name.to_string()).as_deref(), name);
    assert_eq!(source.file, Path::new(file));
}

#[rstest]
#[case::no_file("example.org=", "names no file")]
#[case::nothing("", "names no file")]
#[case::empty_label("a..b=zone", "no domain name")]
#[case::label_too_long(&format!("{}=zone", "x".repeat(64)), "no domain name")]
fn bad_sources_are_refused(#[case] text: &str, #[case] says: &str) {
    let error = text.parse::<ZoneSource>().unwrap_err();
    assert!(error.contains(says), "{error}");
}
