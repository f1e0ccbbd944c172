//! The number of instructions that the kernel's verifier goes through for each XDP program. It refuses a program at a
//! million, and the number for the same program differs between kernels, so each stays far below.

use aya::{EbpfLoader, programs::Xdp};
use stateless_tcp_ebpf::abi::{self, FastPathProgram};

const OBJECT: &[u8] = aya::include_bytes_aligned!("../../stateless-tcp-ebpf/stateless-tcp.bpf.o");

/// Instructions that no program may exceed.
pub const BUDGET: u32 = 250_000;

/// Loads every program with the handshake in the driver and, as the object has it, all log messages: the most that there is
/// to verify. Prints the instructions of each, and panics if one is over [`BUDGET`]. Linux before 5.16 does not tell the number.
///
/// Without `fast_path` only the program that is attached.
pub fn assert_within_budget(fast_path: bool) {
    let mut ebpf =
        EbpfLoader::new().override_global(abi::HANDSHAKE, &1_u8, true).load(OBJECT).expect("load the object");
    let names = FastPathProgram::ALL.map(FastPathProgram::name).into_iter().filter(|_| fast_path);
    let names = names.chain([abi::PROGRAM]);
    let counts: Vec<_> = names
        .map(|name| {
            let program: &mut Xdp =
                ebpf.program_mut(name).expect("the program").try_into().expect("an XDP program");
            program.load().unwrap_or_else(|error| panic!("the verifier does not accept {name}: {error}"));
            (name, program.info().expect("about the program").verified_instruction_count())
        })
        .collect();
    for (name, count) in &counts {
        println!("verified: {name} {}", count.map_or("not told".to_owned(), |count| count.to_string()));
    }
    for (name, count) in counts {
        assert!(count.is_none_or(|count| count < BUDGET), "{name}: {count:?}, budget {BUDGET}");
    }
}
