//! What the documentation says of drivers and kernels is what is tried on them.

use stateless_tcp_tests::vm::EXPECTED;

const OPERATIONS: &str = include_str!("../../docs/operations.md");

#[test]
fn drivers_and_kernels_are_those_tried() {
    let (_, table) = OPERATIONS.split_once("| driver | kernel |").expect("the table");
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows, EXPECTED.map(|expected| expected.to_string()));
}
