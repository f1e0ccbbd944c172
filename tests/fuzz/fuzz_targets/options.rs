//! TCP options of any octets: read, or refused, as an independent reader does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stateless_tcp_tests::lab::agreement;

/// As many as a header has room for.
const MOST: usize = 40;

fuzz_target!(|octets: &[u8]| agreement::assert_options(&octets[..octets.len().min(MOST)]));
