//! A load generator for DNS over TCP that is as light as the server: TCP clients played packet by packet from an AF_XDP
//! ring, and SYNs from forged senders beside them.
//!
//! ```text
//! pace -> SYN -> NIC        NIC -> XDP program -> RX ring -> clients -> same frame, rewritten -> NIC
//! ```
//!
//! It is a crate of its own so that nothing of it is in the server's binary.
//!
//! | module | its room |
//! |---|---|
//! | [`clients`], [`client`] | the TCP of the clients: a segment in, at most one out; no I/O, no clock |
//! | [`population`] | the number of a client to its address, port and sequence number, and back |
//! | [`questions`], [`answer`] | what is asked, and what is a right answer |
//! | [`forger`] | SYNs from senders that are not there |
//! | [`pace`] | how many are due |
//! | [`tally`], [`report`] | what came of it, and how that is told |
//! | [`path`] | the way to the server, and manners |
//! | [`rings`], [`run`] | the XDP program and the sockets, and the loop over all of the above |
//! | [`cli`], [`plan`] | what the user asks for |

pub mod answer;
pub mod cli;
pub mod client;
pub mod clients;
pub mod forger;
pub mod pace;
pub mod path;
pub mod plan;
pub mod population;
pub mod questions;
pub mod report;
pub mod rings;
pub mod run;
pub mod tally;
