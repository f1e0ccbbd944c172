//! A stream of any bytes at the HTTP service: one well-formed response with the body it announces, within its room.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stateless_tcp_tests::in_memory_harness::{self, content};

fuzz_target!(|input: (u16, &[u8])| {
    let (room, stream) = input;
    content::ask(&*in_memory_harness::http(), stream, room.into(), content::assert_http);
});
