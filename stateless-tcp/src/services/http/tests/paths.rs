//! Which paths lead where, and that none leads out of the root.

use rstest::rstest;

use super::files::{serve, tree};
use super::get_path;

#[rstest]
#[case::dots("/../secret", 400)]
#[case::dots_deeper("/without/../../secret", 400)]
#[case::encoded_dots("/%2e%2e/secret", 400)]
#[case::encoded_slash("/..%2fsecret", 400)]
#[case::all_encoded("/%2e%2e%2f%73ecret", 400)]
#[case::encoded_twice("/%252e%252e%252fsecret", 404)]
#[case::backslash("/..\\secret", 404)]
#[case::encoded_backslash("/..%5csecret", 404)]
#[case::nul("/a.css%00.txt", 400)]
#[case::overlong_utf8("/%c0%ae%c0%ae/secret", 404)]
#[case::double_slash("//secret", 404)]
#[case::absolute_path("//etc/passwd", 404)]
#[case::absolute_form("http://a/../secret", 400)]
#[case::by_what_is_not_there("/none/../../secret", 400)]
#[case::three_dots("/.../secret", 404)]
#[case::file_as_directory("/a.css/", 404)]
fn no_path_leaves_the_root(#[case] path: &str, #[case] status: u16) {
    let reply = get_path(&serve(&tree()), path);
    assert_eq!(reply.status, status, "{}", reply.text());
}

/// As apt asks for in repositories without a structure, and as links are put together carelessly.
#[rstest]
#[case::dot("/./a.css", "p {}")]
#[case::dot_dot("/without/../a.css", "p {}")]
#[case::by_what_is_not_there("/none/../a.css", "p {}")]
#[case::slashes("//a.css", "p {}")]
#[case::slashes_inside("/without//b.txt", "b")]
#[case::encoded_slash("/without%2fb.txt", "b")]
#[case::encoded_dots("/without/%2e%2e/a.css", "p {}")]
#[case::query("/./a.css?/../b", "p {}")]
#[case::absolute_form("http://a//a.css", "p {}")]
#[case::directory("/with%20index/.", "<p>inside")]
#[case::up_to_the_start("/without/..", "<p>start")]
#[case::start("//", "<p>start")]
fn path_is_normalised(#[case] path: &str, #[case] body: &str) {
    let reply = get_path(&serve(&tree()), path);
    assert_eq!((reply.status, reply.text().as_str()), (200, body));
}

#[rstest]
#[case::plain("/with%20index", "/with%20index/")]
#[case::query("/with%20index?a=b&c=%20/", "/with%20index/?a=b&c=%20/")]
#[case::empty_query("/with%20index?", "/with%20index/")]
#[case::second_question_mark("/with%20index?a?b", "/with%20index/?a?b")]
#[case::absolute_form("http://a/with%20index?b", "/with%20index/?b")]
#[case::slashes("//with%20index", "/with%20index/")]
fn directory_without_slash_is_redirected(#[case] path: &str, #[case] location: &str) {
    let reply = get_path(&serve(&tree()), path);
    assert_eq!((reply.status, reply.field("Location")), (301, Some(location)));
    assert_eq!(reply.text(), "This page is at /with%20index/\n");
}
