//! Master files (RFC 1035 section 5) to records, each with the place where it stands.

use super::name::Name;
use super::source::Source;
pub(super) use super::zonefile::ZoneError;
use domain::base::iana::Class;
use domain::base::name::ToName;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

/// How deep `$INCLUDE` may nest: deeper is taken for a loop.
const MAX_INCLUDES: usize = 8;

/// Where a record stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Arc<Path>,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    /// The error of the entry that stands here.
    pub(super) fn error(&self, what: impl Into<String>) -> ZoneError {
        ZoneError::Entry {
            file: self.file.to_path_buf(),
            line: self.line,
            column: self.column,
            what: what.into(),
        }
    }
}

/// One record of a master file, names uncompressed and in the file's case.
#[derive(Debug)]
pub(super) struct RawRecord {
    pub(super) owner: Vec<u8>,
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    pub(super) rdata: Vec<u8>,
    pub(super) place: Place,
}

/// Where it stands makes no difference to what it says.
impl Hash for RawRecord {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { owner, rtype, ttl, rdata, place: _ } = self;
        (owner, rtype, ttl, rdata).hash(hasher);
    }
}

/// Reads the records of the master file at `path` and of those that it includes.
pub(super) fn read_file(path: &Path) -> Result<Vec<RawRecord>, ZoneError> {
    let mut records = Vec::new();
    Reader { records: &mut records }.file(path, &State::default(), 0)?;
    Ok(records)
}

/// Reads the records of a master file given as text; `name` stands for its path in errors.
pub(super) fn read_text(name: &Path, text: &str) -> Result<Vec<RawRecord>, ZoneError> {
    let mut records = Vec::new();
    Reader { records: &mut records }.text(name, text.as_bytes(), &State::default(), 0)?;
    Ok(records)
}

/// What an included file takes over from the one that includes it (RFC 1035 section 5.1).
#[derive(Clone, Default)]
struct State {
    /// Wire form.
    origin: Option<Vec<u8>>,
    /// The `$TTL` in force.
    default_ttl: Option<u32>,
    /// Some record or `$TTL` has stated a TTL: one that states none has one to take over.
    ttl_stated: bool,
}

struct Reader<'a> {
    records: &'a mut Vec<RawRecord>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, state: &State, depth: usize) -> Result<State, ZoneError> {
        let text =
            fs::read(path).map_err(|cause| ZoneError::Unreadable { file: path.to_path_buf(), cause })?;
        self.text(path, &text, state, depth)
    }

    fn text(&mut self, path: &Path, text: &[u8], state: &State, depth: usize) -> Result<State, ZoneError> {
        let file: Arc<Path> = path.into();
        let mut state = state.clone();
        // The library has no setter for the $TTL in force: an included file gets it as a line of its own.
        let head = state.default_ttl.map_or(String::new(), |ttl| format!("$TTL {ttl}\n"));
        let mut source = Source::new(&file, text)?;
        let mut zonefile = Zonefile::from(head.as_bytes());
        zonefile.extend_from_slice(source.in_seconds());
        if !text.ends_with(b"\n") {
            zonefile.extend_from_slice(b"\n");
        }
        zonefile.set_default_class(Class::IN);
        if let Some(Ok(origin)) =
            state.origin.clone().map(|wire| domain::base::Name::from_octets(wire.into()))
        {
            zonefile.set_origin(origin);
        }
        let head_lines = usize::from(!head.is_empty());
        loop {
            let entry =
                zonefile.next_entry().map_err(|error| source.explain(head_lines, &error.to_string()))?;
            let Some(entry) = entry else { return Ok(state) };
            let (place, stated) = source.advance(&mut state.default_ttl);
            state.ttl_stated |= stated;
            match entry {
                Entry::Record(record) => {
                    if !state.ttl_stated {
                        return Err(place.error("no TTL: state one, or begin the file with $TTL"));
                    }
                    self.records.push(convert(&record, place)?);
                }
                Entry::Include { path: included, origin } => {
                    if depth == MAX_INCLUDES {
                        return Err(place.error("$INCLUDE nested too deep: does a file include itself?"));
                    }
                    let included = path.parent().unwrap_or(Path::new("")).join(&*included);
                    let origin =
                        origin.or_else(|| zonefile.origin().ok()).map(|name| name.as_slice().to_vec());
                    let inner = self.file(&included, &State { origin, ..state.clone() }, depth + 1);
                    state.ttl_stated |= match inner {
                        Ok(inner) => inner.ttl_stated,
                        Err(ZoneError::Unreadable { file, cause }) => {
                            return Err(place.error(format!("cannot include {}: {cause}", file.display())));
                        }
                        Err(other) => return Err(other),
                    };
                }
            }
        }
    }
}

fn convert(record: &ScannedRecord, place: Place) -> Result<RawRecord, ZoneError> {
    let mut owner: Vec<u8> = Vec::new();
    owner.extend_from_slice(record.owner().to_name::<Vec<u8>>().as_slice());
    let mut rdata: Vec<u8> = Vec::new();
    let Ok(()) = record.data().compose_rdata(&mut rdata);
    if record.class() != Class::IN {
        return Err(place.error(format!("class {}: only IN is served", record.class())));
    }
    if rdata.len() > usize::from(u16::MAX) {
        return Err(place.error("record data of more than 65535 octets"));
    }
    Ok(RawRecord { owner, rtype: record.rtype().to_int(), ttl: record.ttl().as_secs(), rdata, place })
}

/// The name in presentation form, for messages.
pub(super) fn display(wire: &[u8]) -> String {
    Name::read(wire).map_or_else(|| "(no name)".to_owned(), |(name, _)| name.to_string())
}

#[cfg(test)]
mod tests {
    use crate::service::dns::{Dns, DnsOptions};
    use rstest::rstest;
    use std::fs;

    const HEAD: &str = "$ORIGIN a.example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n";

    #[rstest]
    #[case::unknown_type("www FOO 1", "x.zone:5:5: unknown record type \"FOO\"")]
    #[case::second_soa(
        "@ SOA ns h 1 2 3 4 5\n@ SOA ns h 2 2 3 4 5",
        "x.zone:5:1: a second SOA record: a zone has one"
    )]
    #[case::out_of_zone(
        "\n; note\nb.example. A 192.0.2.1",
        "x.zone:7:1: b.example. lies outside the zone a.example."
    )]
    #[case::apex_of_a_suffix(
        "xa.example. A 192.0.2.1",
        "x.zone:5:1: xa.example. lies outside the zone a.example."
    )]
    #[case::cname_and_other(
        "w A 192.0.2.1\nw CNAME v",
        "x.zone:6:1: w.a.example.: CNAME and other data at one name"
    )]
    #[case::two_cnames("w CNAME v\nw CNAME u", "x.zone:5:1: w.a.example.: more than one at a name")]
    #[case::two_dnames("w DNAME v\nw DNAME u", "x.zone:5:1: w.a.example.: more than one at a name")]
    #[case::dname_at_a_cut("w NS v\nw DNAME u", "x.zone:6:1: w.a.example.: DNAME at a zone cut")]
    #[case::below_a_dname(
        "w DNAME v\nb.a.w A 192.0.2.1",
        "x.zone:6:1: b.a.w.a.example. lies below the DNAME at w.a.example., which hides it"
    )]
    #[case::bad_address("w A 192.0.2.256", "x.zone:5:5: expected IPv4 address, at \"192.0.2.256\"")]
    #[case::multi_line_before(
        "t TXT ( \"a ; (\"\n \"b\" ) ; )\n\n  A 192.0.2.1\nb.example. A 192.0.2.1",
        "x.zone:9:1: b.example. lies"
    )]
    #[case::other_class("w CH A 192.0.2.1", "x.zone:5:6: different class: CH != IN")]
    #[case::orphan_signature(
        "w A 192.0.2.1\nw RRSIG AAAA 8 3 60 20900101000000 20260101000000 1 a.example. AAAA",
        "x.zone:6:1: RRSIG of a set that w.a.example. does not have (type 28)"
    )]
    #[case::behind_a_unit("w 1h30m A 192.0.2.256", "x.zone:5:11: expected IPv4 address, at \"192.0.2.256\"")]
    #[case::below_a_unit(
        "w 1w A 192.0.2.1\nw 1W A 192.0.2.256\nv A 192.0.2.1",
        "x.zone:6:8: expected IPv4 address"
    )]
    #[case::too_long_a_time("w 7102w A 192.0.2.1", "x.zone:5:3: 7102w is more than 4294967295 seconds")]
    #[case::no_unit("w 1x A 192.0.2.1", "x.zone:5:3: unknown record type \"1x\"")]
    #[case::malformed_data("w MX \\# 3 000a03", "x.zone:5:")]
    #[case::unreadable_include("$INCLUDE nothing.zone", "x.zone:5:1: cannot include")]
    fn says_where_and_what(#[case] text: &str, #[case] expected: &str) {
        fails(&format!("{HEAD}{text}\n"), expected);
    }

    #[rstest]
    #[case::no_soa("a.example. 60 NS ns.a.example.\n", "x.zone: no SOA record: a zone begins with one")]
    #[case::empty("", "x.zone: no SOA record: a zone begins with one")]
    #[case::no_origin(
        "@ 60 SOA ns h 1 2 3 4 5\n",
        "x.zone:1:1: relative name \"@\", and no $ORIGIN before it"
    )]
    #[case::no_ttl_but_a_number(
        "a.example. MX 10 b.\na.example. 60 SOA ns. h. 1 2 3 4 5\n",
        "x.zone:1:1: no TTL: state one, or begin the file with $TTL"
    )]
    #[case::no_ttl(
        "a.example. SOA ns. h. 1 2 3 4 5\n",
        "x.zone:1:1: no TTL: state one, or begin the file with $TTL"
    )]
    fn says_what_is_missing(#[case] text: &str, #[case] expected: &str) {
        fails(text, expected);
    }

    #[test]
    fn times_may_have_units() {
        let read = |text: &str| {
            let records = super::read_text(std::path::Path::new("x.zone"), text).unwrap();
            records.into_iter().map(|record| (record.owner, record.ttl, record.rdata)).collect::<Vec<_>>()
        };
        let units = "$ORIGIN a.\n$TTL 1W2d ; 3h\n@ SOA 1h 2h ( 3 1D 2H ; 5m\n 30m 90S )\n1m TXT 1h \"2d 3h\"\n\
                     1h 1H30m IN TXT 1w\n IN 2m A 192.0.2.1\nin 3 in MX 10 1d\n";
        let seconds = "$ORIGIN a.\n$TTL 777600\n@ SOA 1h 2h 3 86400 7200 1800 90\n1m TXT 1h \"2d 3h\"\n\
                       1h 5400 IN TXT 1w\n1h IN 120 A 192.0.2.1\nin 3 IN MX 10 1d\n";
        assert_eq!(read(units), read(seconds));
        assert_eq!(
            read(units).iter().map(|record| record.1).collect::<Vec<_>>(),
            [777_600, 777_600, 5_400, 120, 3]
        );
    }

    fn fails(text: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.zone");
        fs::write(&file, text).unwrap();
        let error = Dns::load(&[file], &DnsOptions::default()).unwrap_err().to_string();
        let error = error.strip_prefix(&format!("{}/", dir.path().display())).unwrap();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_zone_is_given_once_and_must_be_readable() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["x.zone", "y.zone"].map(|name| dir.path().join(name));
        for file in &files {
            fs::write(file, HEAD).unwrap();
        }
        let error = Dns::load(&files, &DnsOptions::default()).unwrap_err().to_string();
        assert!(error.ends_with("y.zone: zone a.example. is loaded already: give each zone once"), "{error}");
        let missing = dir.path().join("z.zone");
        let error = Dns::load(&[missing], &DnsOptions::default()).unwrap_err().to_string();
        assert!(error.contains("z.zone: cannot be read: No such file"), "{error}");
    }

    #[test]
    fn included_files_take_over_origin_and_ttl() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.zone");
        fs::write(&file, format!("{HEAD}$INCLUDE y.zone\n$INCLUDE y.zone sub.a.example.\n")).unwrap();
        fs::write(dir.path().join("y.zone"), "w A 192.0.2.1\n").unwrap();
        let dns = Dns::load(std::slice::from_ref(&file), &DnsOptions::default()).unwrap();
        let zone = &dns.catalog.zones[0];
        for owner in [&b"\x01w\x01a\x07example\0"[..], b"\x01w\x03sub\x01a\x07example\0"] {
            assert!(zone.index.contains_key(owner));
        }
        fs::write(dir.path().join("y.zone"), "\nw FOO\n").unwrap();
        let error = Dns::load(&[file], &DnsOptions::default()).unwrap_err().to_string();
        assert!(error.ends_with("y.zone:2:3: unknown record type \"FOO\""), "{error}");
    }
}
