//! Frames of any bytes: steering and parsing read them as an independent reader does, or refuse what it refuses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stateless_tcp_tests::in_memory_harness::agreement;

fuzz_target!(|frame: &[u8]| {
    agreement::assert_segment(frame);
    // Hardly any mutation keeps a checksum right, so the same frame once more with the right ones.
    let mut repaired = frame.to_vec();
    agreement::repair(&mut repaired);
    agreement::assert_segment(&repaired);
});
