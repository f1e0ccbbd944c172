//! docs/options.md is the page that the generator writes.

#[path = "../examples/manual/options.rs"]
mod options;

use stateless_tcp::commands::cli;

#[test]
fn the_page_of_options_is_current() {
    let page = options::page(&cli::definition());
    let committed = include_str!("../../docs/options.md");
    let remedy = "run cargo run --example manual -- --options docs/options.md";
    for (number, (now, then)) in (1..).zip(page.lines().zip(committed.lines())) {
        assert_eq!(then, now, "docs/options.md:{number} is out of date: {remedy}");
    }
    assert_eq!(committed, page, "docs/options.md is out of date: {remedy}");
}
