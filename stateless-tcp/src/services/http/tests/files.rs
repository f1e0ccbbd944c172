//! Files that are served from a directory, and files that are not.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rstest::rstest;

use super::super::load::pages;
use super::super::{FileOptions, Http, HttpRootError, Page};
use super::{at, get_path};
use crate::services::MAX_RESPONSE;

/// A directory with a `root` to serve and a secret beside it.
pub(super) fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().join("root");
    fs::create_dir_all(root.join("with index")).unwrap();
    fs::create_dir_all(root.join("without")).unwrap();
    for (name, body) in [
        ("secret", "SECRET"),
        ("root/index.html", "<p>start"),
        ("root/a.css", "p {}"),
        ("root/a.svg", "<svg/>"),
        ("root/a.json", "{}"),
        ("root/none-known", "?"),
        ("root/\u{e4}.txt", "umlaut"),
        ("root/empty.txt", ""),
        ("root/with index/index.html", "<p>inside"),
        ("root/without/b.txt", "b"),
    ] {
        fs::write(tree.path().join(name), body).unwrap();
        let file = fs::File::options().write(true).open(tree.path().join(name)).unwrap();
        file.set_modified(at(0) + Duration::from_millis(700)).unwrap();
    }
    tree
}

pub(super) fn serve(tree: &tempfile::TempDir) -> Http {
    serve_as(tree, &FileOptions::default())
}

pub(super) fn serve_as(tree: &tempfile::TempDir, options: &FileOptions) -> Http {
    Http::load(&tree.path().join("root"), options).unwrap()
}

#[rstest]
#[case::start("/", 200, "text/html; charset=utf-8", "<p>start")]
#[case::index("/index.html", 200, "text/html; charset=utf-8", "<p>start")]
#[case::css("/a.css", 200, "text/css; charset=utf-8", "p {}")]
#[case::svg("/a.svg", 200, "image/svg+xml", "<svg/>")]
#[case::json("/a.json", 200, "application/json", "{}")]
#[case::unknown("/none-known", 200, "application/octet-stream", "?")]
#[case::umlaut("/%c3%a4.txt", 200, "text/plain; charset=utf-8", "umlaut")]
#[case::empty("/empty.txt", 200, "text/plain; charset=utf-8", "")]
#[case::inside("/without/b.txt", 200, "text/plain; charset=utf-8", "b")]
#[case::directory("/with%20index/", 200, "text/html; charset=utf-8", "<p>inside")]
#[case::no_index("/without/", 404, "text/plain; charset=utf-8", "There is no such page here.\n")]
#[case::no_index_no_slash("/without", 404, "text/plain; charset=utf-8", "There is no such page here.\n")]
fn file_is_served(#[case] path: &str, #[case] status: u16, #[case] content: &str, #[case] body: &str) {
    let reply = get_path(&serve(&tree()), path);
    assert_eq!((reply.status, reply.text().as_str()), (status, body));
    assert_eq!(reply.field("Content-Type"), Some(content));
    let modified = (status == 200).then_some("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(reply.field("Last-Modified"), modified);
}

#[test]
fn links_are_followed_inside_the_root_only() {
    let tree = tree();
    let root = tree.path().join("root");
    let link = |target: &Path, name: &str| symlink(target, root.join(name)).unwrap();
    link(Path::new("a.css"), "file");
    link(Path::new("with index"), "directory");
    link(Path::new("../secret"), "out");
    link(Path::new("/etc"), "away");
    link(Path::new("."), "loop");
    link(Path::new("nothing"), "dangling");
    symlink("../..", root.join("without/up")).unwrap();
    let http = serve(&tree);
    for (path, status) in [
        ("/file", 200),
        ("/directory/", 200),
        ("/directory", 301),
        ("/out", 404),
        ("/away/passwd", 404),
        ("/loop/a.css", 404),
        ("/dangling", 404),
        ("/without/up/secret", 404),
    ] {
        assert_eq!(get_path(&http, path).status, status, "{path}");
    }
}

#[test]
fn special_files_are_left_out() {
    let tree = tree();
    let fifo = tree.path().join("root/fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _socket = UnixListener::bind(tree.path().join("root/socket")).unwrap();
    symlink("/dev/zero", tree.path().join("root/zero")).unwrap();
    let http = serve(&tree);
    for path in ["/fifo", "/socket", "/zero"] {
        assert_eq!(get_path(&http, path).status, 404, "{path}");
    }
}

#[test]
fn file_beyond_what_can_be_sent_is_named_but_not_kept() {
    let tree = tree();
    let root = tree.path().join("root");
    fs::write(root.join("large.bin"), vec![0; 1_000_000]).unwrap();
    let http = serve(&tree);
    let Page::File(file) = &http.pages[&b"/large.bin"[..]] else { panic!("no file") };
    assert!(file.too_large().is_some_and(|len| len > 1_000_000) && file.size() < 1_000);
    let reply = get_path(&http, "/large.bin");
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("at most 65537"), "{}", reply.text());

    // The limit itself.
    let head = get_path(&http, "/none-known").bytes.len() - 1 + "64999".len() - "1".len();
    for (len, status) in [(MAX_RESPONSE - head, 200), (MAX_RESPONSE - head + 1, 503)] {
        let file = fs::File::create(root.join("edge")).unwrap();
        file.set_len(len as u64).unwrap();
        assert_eq!(get_path(&serve(&tree), "/edge").status, status, "{len}");
    }
}

/// A file that is too large takes nothing of the memory.
#[test]
fn large_files_do_not_count() {
    let tree = tree();
    let root = tree.path().join("root");
    for number in 0..10 {
        fs::write(root.join(format!("{number}.bin")), vec![0; 100_000]).unwrap();
    }
    assert!(pages(&root, &FileOptions::default(), at(0), 100_000).is_ok());
}

#[test]
fn what_is_not_served_is_named() {
    let tree = tree();
    let root = tree.path().join("root");
    let said = || {
        let (_, report) = pages(&root, &FileOptions::default(), at(0), 1 << 20).unwrap();
        (report.lines().collect::<Vec<_>>(), report.hidden())
    };
    assert_eq!(said(), (Vec::new(), None));
    fs::write(root.join("large.bin"), vec![0; 1_000_000]).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("nothing", root.join("dangling")).unwrap();
    fs::write(root.join("lines.txt"), vec![b'a'; 100_000]).unwrap();
    fs::write(root.join("lines.txt.gz"), "compressed").unwrap();
    fs::write(root.join(".htpasswd"), "").unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    fs::write(root.join(".git/config"), "").unwrap();
    let (lines, hidden) = said();
    let expected = [
        ("dangling", "No such file or directory"),
        ("out", "leads out of the root"),
        ("large.bin", "would have 1000"),
        ("lines.txt", "would have 100"),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for ((name, reason), line) in expected.into_iter().zip(&lines) {
        let names = line.contains(&format!("{}: ", root.join(name).display()));
        assert!(names && line.contains(reason), "{name} {reason}: {line}");
    }
    assert!(lines[3].contains("but compressed"), "{}", lines[3]);
    let hidden = hidden.unwrap();
    assert!(hidden.contains("2 of them") && hidden.contains("root/.git:"), "{hidden}");
    // Of many only the number is said.
    for number in 0..100 {
        symlink("nothing", root.join(format!("link{number}"))).unwrap();
    }
    let (lines, _) = said();
    assert_eq!(lines.len(), 21);
    assert_eq!(lines[20], "not served: 84 more files or directories");
}

#[rstest]
#[case::file("/.htpasswd", false)]
#[case::directory("/.git/config", false)]
#[case::inside("/without/.hidden", false)]
#[case::well_known("/.well-known/security.txt", true)]
#[case::hidden_there("/.well-known/.hidden", false)]
#[case::well_known_elsewhere("/without/.well-known/a", false)]
fn dot_files_are_served_if_asked_for(#[case] path: &str, #[case] always: bool) {
    let tree = tree();
    let file = tree.path().join("root").join(&path[1..]);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, "hidden").unwrap();
    for (dot_files, served) in [(false, always), (true, true)] {
        let options = FileOptions { dot_files, ..FileOptions::default() };
        let status = get_path(&serve_as(&tree, &options), path).status;
        assert_eq!(status, if served { 200 } else { 404 }, "{options:?}");
    }
}

#[test]
fn memory_is_limited() {
    let tree = tree();
    let root = tree.path().join("root");
    let load = |limit| pages(&root, &FileOptions::default(), at(0), limit);
    assert!(load(100_000).is_ok());
    let error = load(1_000).err().unwrap();
    assert!(matches!(error, HttpRootError::TooMuch { limit: 1_000, .. }), "{error}");
}

#[rstest]
#[case::missing("nowhere")]
#[case::file("secret")]
fn root_must_be_a_directory(#[case] name: &str) {
    let tree = tree();
    let error = Http::load(&tree.path().join(name), &FileOptions::default()).err().unwrap();
    assert!(error.to_string().contains(name), "{error}");
}
