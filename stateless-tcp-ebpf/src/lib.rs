//! The protocol core of stateless-tcp: everything that is decided about a frame or a segment is decided here, once, for
//! the XDP program and for user space alike.
//!
//! | module | what it decides |
//! |---|---|
//! | [`steer`] | whether a frame is ours to answer, the kernel's, or nobody's |
//! | [`segment`] | what a TCP header says, as values |
//! | [`cookie`] | the initial sequence number, and whether a segment proves that it knows it |
//! | [`promise`] | what our timestamps say |
//! | [`rule`] | what is sent in answer to a segment |
//! | [`converse`] | the same, on connections with timestamps |
//! | [`fast_open`] | what a request on the SYN gets |
//! | [`reply`] | how a response is cut into segments |
//! | [`driver`] | what the XDP program may answer by itself |
//! | [`truncate`] | what a question over UDP gets |
//! | [`limit`] | how much clients may ask for |
//! | [`frame`], [`bare`] | octets, and segments without payload read from and written to them |
//! | [`catch`] | which frames are the load generator's |
//! | [`abi`] | the maps that the XDP program and user space share |
//!
//! Nothing here does I/O, reads a clock or keeps anything: frames, keys and content lengths are arguments.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod bare;
pub mod catch;
pub mod converse;
pub mod cookie;
pub mod driver;
pub mod fast_open;
pub mod frame;
mod ip;
pub mod limit;
pub mod promise;
pub mod reply;
pub mod rule;
pub mod segment;
pub mod steer;
pub mod truncate;
