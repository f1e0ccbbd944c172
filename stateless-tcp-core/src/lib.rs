//! The protocol core of stateless-tcp: everything that is decided about a frame or a segment is decided here, once, for
//! the XDP programs and for user space alike.
//!
//! | module | task |
//! |---|---|
//! | [`wire`] | frames as bytes: one table of offsets and one checksum a protocol |
//! | [`steering`] | decides whether a frame is ours to answer, the kernel's, or nobody's |
//! | [`admission`] | rate limits by client network |
//! | [`tcp`] | answers segments |
//! | [`udp`] | answers queries over UDP by a truncated response |
//! | [`outcome`] | everything that can become of a frame, with its counter |
//!
//! Nothing here does I/O, reads a clock or keeps anything: frames, keys, time and content are arguments.
#![cfg_attr(not(test), no_std)]

pub mod admission;
pub mod outcome;
pub mod steering;
pub mod tcp;
pub mod udp;
pub mod wire;
