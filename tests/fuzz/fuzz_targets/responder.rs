//! The whole responder in conversations with clients that are mostly honest; what must hold is asserted at each frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stateless_tcp_tests::in_memory_harness::script::Script;

fuzz_target!(|bytes: &[u8]| Script::read(bytes).play());
