//! DNS and HTTP over TCP, answered packet by packet from an AF_XDP ring, with nothing kept for each connection.
//!
//! ```text
//! NIC -> XDP program -> XSKMAP[queue] -> RX ring -> worker -> engine -> (same frame, rewritten) -> TX ring -> completion -> fill
//! ```
//!
//! | module | task |
//! |---|---|
//! | [`stateless_tcp_core`] | every protocol decision, shared with the XDP program |
//! | [`af_xdp`] | rings, UMEM, sockets, loading of the XDP program: the only unsafe code |
//! | [`dataplane`] | the way of a frame from ring to ring |
//! | [`services`] | request in, response out: DNS, HTTP, and relays of both |
//! | [`serving`] | what is served: generations of content, and how workers change to another |
//! | [`config`] | what the operator asks for |
//! | [`serve`] | a running instance: start, reload, takeover, end |
//! | [`control`] | how a running instance is found and spoken to |
//! | [`observe`] | counters, metrics, taps, dnstap |
//! | [`commands`] | the command line, and the commands besides `run` |
//! | [`confine`] | privileges that the process gives up |

pub mod af_xdp;
pub mod commands;
pub mod config;
pub mod confine;
pub mod control;
pub mod dataplane;
mod files;
pub mod observe;
pub mod serve;
pub mod services;
pub mod serving;
