use super::*;
use crate::files::tests::fifo;
use rstest::rstest;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A directory with a zone file and others beside it.
struct TestZone(TempDir);

impl TestZone {
    fn new(files: &[(&str, &str)]) -> Self {
        let zone = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = zone.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        zone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, policy: &IncludePolicy) -> (String, ReadOutcome) {
        let path = self.path("z/main");
        let source = ZoneInput { path: &path, origin: Some(ORIGIN), policy };
        let (records, reading) = collect(|sink| read(&source, sink));
        (show(&records), reading)
    }

    fn shown(&self) -> String {
        let (shown, reading) = self.read(&IncludePolicy::default());
        reading.result.unwrap();
        shown
    }

    /// The error, without the directory in its paths.
    fn wrong(&self, policy: &IncludePolicy) -> String {
        let error = self.read(policy).1.result.unwrap_err().to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn an_included_file_takes_over_and_gives_back() {
    let zone = TestZone::new(&[
        (
            "z/main",
            "$TTL 5\na A 192.0.2.1\n$INCLUDE \"sub/one\"\n A 192.0.2.4\nb NS @\n$INCLUDE sub/two p\n NS @\n",
        ),
        ("z/sub/one", " A 192.0.2.2\n$INCLUDE two\nc A 192.0.2.3\n$TTL 6\n$ORIGIN q.\nd NS @"),
        ("z/sub/two", "e NS @\n"),
    ]);
    let expected = "a.o. 5 A 192.0.2.1\na.o. 5 A 192.0.2.2\ne.o. 5 NS o.\nc.o. 5 A 192.0.2.3\nd.q. 6 NS q.\n\
                    a.o. 6 A 192.0.2.4\nb.o. 6 NS o.\ne.p.o. 6 NS p.o.\nb.o. 6 NS o.\n";
    assert_eq!(zone.shown(), expected);
}

#[test]
fn lists_all_files_and_sees_their_changes() {
    let zone = TestZone::new(&[
        ("z/main", "a 5 A 192.0.2.1\n$INCLUDE one\n$INCLUDE two\n"),
        ("z/one", "b 5 A 192.0.2.1"),
    ]);
    let (_, reading) = zone.read(&IncludePolicy::default());
    assert!(reading.result.is_err());
    let files = reading.files;
    let names: Vec<_> =
        files.iter().map(|(path, identity)| (path.to_path_buf(), identity.is_some())).collect();
    let names_are = [("z/main", true), ("z/one", true), ("z/two", false)];
    assert_eq!(names, names_are.map(|(name, was_there)| (zone.path(name), was_there)));
    assert!(!files.have_changed());
    fs::write(zone.path("z/two"), "c 5 A 192.0.2.1").unwrap();
    assert!(files.have_changed());
    let (_, reading) = zone.read(&IncludePolicy::default());
    reading.result.unwrap();
    assert!(!reading.files.have_changed());
    fs::write(zone.path("z/one"), "b 5 A 192.0.2.10").unwrap();
    assert!(reading.files.have_changed());
}

#[rstest]
#[case::missing(
    "$INCLUDE two",
    "z/main:1:1: $INCLUDE: cannot include z/two: No such file or directory (os error 2)"
)]
#[case::itself("\n$INCLUDE main", "z/main:2:1: $INCLUDE: cannot include z/main: it would include itself")]
#[case::through_another(
    "$INCLUDE loop",
    "z/loop:1:1: $INCLUDE: cannot include the file: it would include itself"
)]
#[case::too_deep(
    "$INCLUDE deep/1",
    "z/deep/128:1:1: $INCLUDE: nested too deep: at most 128 files include each other"
)]
#[case::directory(
    "$INCLUDE deep",
    "z/main:1:1: $INCLUDE: cannot include z/deep: a directory, not a regular file"
)]
#[case::fifo("$INCLUDE fifo", "z/main:1:1: $INCLUDE: cannot include z/fifo: a FIFO, not a regular file")]
#[case::above(
    "$INCLUDE ../key",
    "z/main:1:1: $INCLUDE: cannot include z/../key: \
    outside the directory of the zone file: move it there, or allow its directory"
)]
#[case::by_a_link(
    "$INCLUDE link",
    "z/main:1:1: $INCLUDE: cannot include z/link: \
    outside the directory of the zone file: move it there, or allow its directory"
)]
#[case::absolute(
    "$INCLUDE /etc/passwd",
    "z/main:1:1: $INCLUDE: cannot include /etc/passwd: \
    outside the directory of the zone file: move it there, or allow its directory"
)]
#[case::forbidden(
    "$INCLUDE key",
    "z/main:1:1: $INCLUDE: cannot include z/key: it holds a key or other configuration"
)]
#[case::forbidden_by_another_name(
    "$INCLUDE hard",
    "z/main:1:1: $INCLUDE: cannot include z/hard: \
    it holds a key or other configuration"
)]
#[case::says_nothing_of_it(
    "$INCLUDE secret",
    "z/secret:1:33: expected a record type, found the end of the entry"
)]
#[case::nor_of_its_types("$INCLUDE type", "z/type:2:5: unknown record type")]
#[case::nor_of_its_data("$INCLUDE data", "z/data:1:6: MX: expected a preference, 0 to 65535")]
#[case::nor_of_its_names("$INCLUDE name", "z/name:1:6: NS: a name server: it has an empty label")]
#[case::nor_of_its_directives(
    "$INCLUDE directive",
    "z/directive:1:1: unknown directive: there are $ORIGIN, $TTL, \
    $INCLUDE and $GENERATE"
)]
#[case::nor_of_what_it_includes(
    "$INCLUDE nested",
    "z/nested:1:1: $INCLUDE: cannot include the file: \
    No such file or directory (os error 2)"
)]
fn refuses_to_include(#[case] text: &str, #[case] expected: &str) {
    let zone = TestZone::new(&[
        ("z/main", text),
        ("key", "key"),
        ("z/key", "0123456789abcdef0123456789abcdef\n"),
        ("z/secret", "0123456789abcdef0123456789abcdef\n"),
        ("z/type", "\na 5 s3cret"),
        ("z/data", "a MX s3cret"),
        ("z/name", "a NS s3cret..x"),
        ("z/directive", "$s3cret"),
        ("z/nested", "$INCLUDE s3cret"),
        ("z/loop", "$INCLUDE main"),
    ]);
    fs::create_dir(zone.path("z/deep")).unwrap();
    for depth in 1..=128 {
        fs::write(zone.path(&format!("z/deep/{depth}")), format!("$INCLUDE {}", depth + 1)).unwrap();
    }
    fifo(&zone.path("z"));
    symlink("../key", zone.path("z/link")).unwrap();
    fs::hard_link(zone.path("z/key"), zone.path("z/hard")).unwrap();
    let mut policy = IncludePolicy::default();
    policy.forbid(&zone.path("z/key"));
    policy.forbid(Path::new("/nonexistent"));
    let wrong = zone.wrong(&policy);
    assert_eq!(wrong, expected);
}

#[test]
fn other_directories_may_be_allowed() {
    let zone = TestZone::new(&[("z/main", "$INCLUDE ../other/one\n"), ("other/one", "a 5 A 192.0.2.1")]);
    let mut policy = IncludePolicy::default();
    policy.allow(&zone.path("other"));
    let (shown, reading) = zone.read(&policy);
    reading.result.unwrap();
    assert_eq!(shown, "a.o. 5 A 192.0.2.1\n");
}

#[test]
fn a_zone_file_may_be_a_link_with_its_includes_beside_it_or_its_target() {
    let zone = TestZone::new(&[
        ("z/now/main", "$INCLUDE one\n$INCLUDE now/two\n"),
        ("z/now/two", "b 5 A 192.0.2.1"),
        ("z/one", "a 5 A 192.0.2.1"),
    ]);
    symlink("now/main", zone.path("z/main")).unwrap();
    assert_eq!(zone.shown(), "a.o. 5 A 192.0.2.1\nb.o. 5 A 192.0.2.1\n");
}

#[test]
fn a_zone_file_is_a_regular_file() {
    let zone = TestZone::new(&[]);
    fs::create_dir(zone.path("z")).unwrap();
    assert_eq!(
        zone.wrong(&IncludePolicy::default()),
        "z/main: cannot be read: No such file or directory (os error 2)"
    );
    fs::rename(fifo(zone.0.path()), zone.path("z/main")).unwrap();
    assert_eq!(zone.wrong(&IncludePolicy::default()), "z/main: cannot be read: a FIFO, not a regular file");
}
