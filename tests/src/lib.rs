//! The ground the namespace tests stand on: network namespaces, links, the responder as a process, frames built and
//! read by code that knows nothing of the code under test.
//!
//! A test takes [`topology::Topology`], starts a [`responder::Responder`] in its server namespace and talks to it from the
//! client's, with real programs or, through [`raw::Port`], with [`packet::Packet`]s of its own. Everything ends with
//! its guard. Root is needed, and its absence is a failure.
#![expect(
    clippy::missing_panics_doc,
    reason = "a harness reports what is wrong by panicking: that is its purpose"
)]
#![expect(clippy::must_use_candidate, reason = "nothing here is called for its value and then forgotten")]

pub mod asker;
pub mod browser;
pub mod capture;
pub mod client;
pub mod compare;
pub mod connection_opener;
pub mod container;
pub mod cores;
pub mod datagram;
pub mod delay_link;
pub mod dnstap;
pub mod exceptions;
pub mod fast_open;
pub mod faulty_server;
pub mod fleet;
pub mod flooder;
pub mod forge;
pub mod handbook;
pub mod in_memory_harness;
pub mod interrupts;
pub mod load;
pub mod lossy_network;
pub mod nameserver;
pub mod netns;
pub mod ongoing;
pub mod packet;
pub mod peers;
pub mod prober;
pub mod pty;
pub mod questions;
pub mod random_zones;
pub mod raw;
pub mod responder;
pub mod seed;
pub mod sim;
pub mod steady;
pub mod topology;
pub mod upstream;
pub mod verifier;
pub mod veth_xdp_peer;
pub mod vm;
pub mod web;
pub mod zone_files;
