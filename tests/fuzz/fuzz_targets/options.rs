//! TCP options of any bytes: read, or refused, as an independent reader does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stateless_tcp_tests::in_memory_harness::agreement;

/// As many as a header has room for.
const MOST: usize = 40;

fuzz_target!(|bytes: &[u8]| agreement::assert_options(&bytes[..bytes.len().min(MOST)]));
