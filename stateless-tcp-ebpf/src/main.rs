//! The XDP program. It asks [`stateless_tcp_core::steering`] and acts: redirect, drop or pass.
//!
//! Built for `bpfel-unknown-none` by `cargo xtask build-ebpf`; elsewhere it is an empty program.
#![cfg_attr(
    target_arch = "bpf",
    no_std,
    no_main,
    expect(unsafe_code, reason = "packet and map access in BPF")
)]

#[cfg(target_arch = "bpf")]
mod program;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
