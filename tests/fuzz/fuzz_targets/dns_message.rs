//! A stream of any bytes at the DNS service: well-formed answers to its queries, in order, each within its room.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stateless_tcp_tests::in_memory_harness::{self, content};

fuzz_target!(|input: (u16, &[u8])| {
    let (room, stream) = input;
    content::ask(&*in_memory_harness::dns(), stream, room.into(), content::assert_dns);
});
