//! A stream of any octets at the DNS service: well-formed answers to its queries, in order, each within its room.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stateless_tcp_tests::lab::{self, content};

fuzz_target!(|input: (u16, &[u8])| {
    let (room, stream) = input;
    content::ask(&*lab::dns(), stream, room.into(), content::assert_dns);
});
