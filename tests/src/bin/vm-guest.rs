//! The first process of a virtual machine: see [`stateless_tcp_tests::vm`].

fn main() {
    stateless_tcp_tests::vm::main();
}
