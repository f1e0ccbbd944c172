//! Which version of a file a client has, and what it gets for that.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rstest::rstest;

use super::super::Http;
use super::files::{serve, tree};
use super::{TestResponse, at, get, get_path};

/// The first half of what `printf 'p {}' | sha1sum` prints.
const TAG: &str = "\"dba69ee8cea5f641bd3f858d028a5d1a\"";
const TIME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn get_if(http: &Http, path: &str, conditions: &str) -> TestResponse {
    get(http, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n{conditions}\r\n\r\n"))
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// In `conditions` TAG stands for the file's tag.
#[rstest]
#[case::same_time("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 304)]
#[case::rfc_850("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304)]
#[case::asctime("If-Modified-Since: Sun Nov  6 08:49:37 1994", 304)]
#[case::earlier("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200)]
#[case::later("If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT", 200)]
#[case::no_time("If-Modified-Since: yesterday", 200)]
#[case::two_times("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-Modified-Since: a", 200)]
#[case::tag("If-None-Match: TAG", 304)]
#[case::weak_tag("If-None-Match: W/TAG", 304)]
#[case::any_tag("If-None-Match: *", 304)]
#[case::tag_in_list("If-None-Match: \"a\", TAG", 304)]
#[case::tag_in_second_line("If-None-Match: \"a\"\r\nIf-None-Match: TAG", 304)]
#[case::other_tag("If-None-Match: \"a\"", 200)]
#[case::other_tag_wins("If-None-Match: \"a\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200)]
#[case::tag_wins("If-None-Match: TAG\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 304)]
#[case::match_tag("If-Match: TAG", 200)]
#[case::match_any("If-Match: *", 200)]
#[case::match_in_list("If-Match: \"a\",TAG", 200)]
#[case::match_weak("If-Match: W/TAG", 412)]
#[case::match_other("If-Match: \"a\"", 412)]
#[case::unmodified("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200)]
#[case::unmodified_later("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:38 GMT", 200)]
#[case::modified_since("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 412)]
#[case::unmodified_nonsense("If-Unmodified-Since: yesterday", 200)]
#[case::match_wins("If-Match: TAG\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200)]
#[case::match_goes_first("If-Match: \"a\"\r\nIf-None-Match: TAG", 412)]
#[case::both("If-Match: TAG\r\nIf-None-Match: TAG", 304)]
#[case::field_in_capitals("IF-NONE-MATCH: TAG", 304)]
fn conditions_decide(#[case] conditions: &str, #[case] status: u16) {
    let reply = get_if(&serve(&tree()), "/a.css", &conditions.replace("TAG", TAG));
    assert_eq!(reply.status, status);
    let validators = (status != 412).then_some((TAG, TIME));
    assert_eq!(reply.field("ETag").zip(reply.field("Last-Modified")), validators);
    if status == 304 {
        assert_eq!((reply.body.len(), reply.field("Content-Length")), (0, None));
    }
}

#[test]
fn what_is_not_there_has_no_version() {
    let http = serve(&tree());
    for condition in ["If-None-Match: *", "If-Match: *"] {
        assert_eq!(get_if(&http, "/none", condition).status, 404, "{condition}");
        assert_eq!(get_if(&http, "/with%20index", condition).status, 301, "{condition}");
    }
}

/// The one to whom a newer version was given gets the older one, and nobody a 304 for the other.
#[test]
fn content_put_back_is_sent() {
    let tree = tree();
    let path = tree.path().join("root/a.css");
    let old = get_path(&serve(&tree), "/a.css");
    fs::write(&path, "p { color: red }").unwrap();
    set_time(&path, at(1_000));
    let new = get_path(&serve(&tree), "/a.css");
    let has = |reply: &TestResponse| {
        let (tag, time) = (reply.field("ETag").unwrap(), reply.field("Last-Modified").unwrap());
        [
            format!("If-None-Match: {tag}"),
            format!("If-Modified-Since: {time}"),
            format!("If-None-Match: {tag}\r\nIf-Modified-Since: {time}"),
        ]
    };
    fs::write(&path, "p {}").unwrap();
    set_time(&path, at(0));
    let http = serve(&tree);
    for condition in has(&new) {
        let reply = get_if(&http, "/a.css", &condition);
        assert_eq!((reply.status, reply.text().as_str()), (200, "p {}"), "{condition}");
    }
    for condition in has(&old) {
        assert_eq!(get_if(&http, "/a.css", &condition).status, 304, "{condition}");
    }
}

#[test]
fn same_content_has_the_same_tag_wherever_it_is() {
    let (one, other) = (tree(), tree());
    set_time(&other.path().join("root/a.css"), at(7));
    fs::copy(other.path().join("root/a.css"), other.path().join("root/b.css")).unwrap();
    let (one, other) = (serve(&one), serve(&other));
    let tag = |http, path| get_path(http, path).field("ETag").map(str::to_owned);
    assert_eq!(tag(&one, "/a.css").as_deref(), Some(TAG));
    assert_eq!(tag(&other, "/a.css").as_deref(), Some(TAG));
    assert_eq!(tag(&other, "/b.css").as_deref(), Some(TAG));
    assert_ne!(tag(&other, "/a.json").as_deref(), Some(TAG));
    assert_eq!(tag(&Http::builtin(), "/"), tag(&Http::builtin(), "/index.html"));
}

/// Times that stay the same whatever the content.
#[rstest]
#[case::unset(SystemTime::UNIX_EPOCH)]
#[case::nix(SystemTime::UNIX_EPOCH + Duration::from_secs(1))]
#[case::zip(SystemTime::UNIX_EPOCH + Duration::from_hours(87_648))]
#[case::npm(SystemTime::UNIX_EPOCH + Duration::from_mins(8_319_375))]
#[case::before_1970(SystemTime::UNIX_EPOCH - Duration::from_secs(5))]
#[case::future(SystemTime::now() + Duration::from_hours(1))]
fn time_that_tells_nothing_is_not_sent(#[case] time: SystemTime) {
    let tree = tree();
    let path = tree.path().join("root/a.css");
    set_time(&path, time);
    let before = get_path(&serve(&tree), "/a.css");
    assert_eq!(before.field("Last-Modified"), None);
    fs::write(&path, "p { color: red }").unwrap();
    set_time(&path, time);
    let http = serve(&tree);
    let date = httpdate::fmt_http_date(time.max(SystemTime::UNIX_EPOCH));
    assert_eq!(get_if(&http, "/a.css", &format!("If-Modified-Since: {date}")).status, 200);
    assert_eq!(get_if(&http, "/a.css", &format!("If-None-Match: {TAG}")).status, 200);
    assert_eq!(get_if(&http, "/a.css", &format!("If-Unmodified-Since: {date}")).status, 200);
}

/// As from an archive whose times are all one constant.
#[test]
fn time_that_all_files_have_tells_nothing() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().join("root");
    fs::create_dir(&root).unwrap();
    let write = |name: &str, time| {
        fs::write(root.join(name), name).unwrap();
        set_time(&root.join(name), time);
    };
    let sent = |name: &str| get_path(&serve(&tree), name).field("Last-Modified").map(str::to_owned);
    write("a", at(0));
    assert_eq!(sent("/a").as_deref(), Some(TIME), "of one file nothing is known");
    write("b", at(0));
    assert_eq!((sent("/a"), sent("/b")), (None, None));
    write("c", at(1));
    assert_eq!(sent("/a").as_deref(), Some(TIME));
    for name in ["a", "b", "c"] {
        write(name, at(0) + Duration::from_millis(1));
    }
    assert_eq!(sent("/a").as_deref(), Some(TIME), "a clock set it");
}
