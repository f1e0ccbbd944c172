//! The shared parts of the XDP program: its maps with user space ([`abi`]), its access to packets with other programs.
#![cfg_attr(target_arch = "bpf", no_std, expect(unsafe_code, reason = "packet access in BPF"))]

pub mod abi;
#[cfg(target_arch = "bpf")]
pub mod packet;
#[cfg(target_arch = "bpf")]
pub mod runtime;
