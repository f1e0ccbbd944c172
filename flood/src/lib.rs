//! A load generator for DNS over TCP that is as light as the server: TCP clients played packet by packet from an AF_XDP
//! ring, and SYNs from forged senders beside them.
//!
//! ```text
//! rate -> SYN -> NIC        NIC -> XDP program -> RX ring -> clients -> same frame, rewritten -> NIC
//! ```
//!
//! It is a crate of its own so that nothing of it is in the server's binary.
//!
//! | module | its room |
//! |---|---|
//! | [`clients`], [`client`] | the TCP of the clients: a segment in, at most one out; no I/O, no clock |
//! | [`population`] | the number of a client to its address, port and sequence number, and back |
//! | [`questions`], [`answer`] | what is asked, and what is a right answer |
//! | [`syn_flood`] | SYNs from senders that are not there |
//! | [`rate`] | how many are due |
//! | [`stats`], [`report`] | what came of it, and how that is told |
//! | [`route`] | the way to the server, and manners |
//! | [`xdp_sockets`], [`run`] | the XDP program and the sockets, and the loop over all of the above |
//! | [`cli`], [`plan`] | what the user asks for |

pub mod answer;
pub mod cli;
pub mod client;
pub mod clients;
pub mod plan;
pub mod population;
pub mod questions;
pub mod rate;
pub mod report;
pub mod route;
pub mod run;
pub mod stats;
pub mod syn_flood;
pub mod xdp_sockets;
