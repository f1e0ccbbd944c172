//! DNS and HTTP over TCP, answered packet by packet from an AF_XDP ring, with nothing kept for each connection.
//!
//! ```text
//! NIC -> XDP verdict -> XSKMAP[queue] -> RX ring -> responder -> (same frame, rewritten) -> TX ring -> completion -> fill
//! ```
//!
//! | module | its room |
//! |---|---|
//! | [`stateless_tcp_ebpf`] | every protocol decision, shared with the XDP program |
//! | [`wire`] | frames as octets |
//! | [`service`] | request octets to response octets: DNS, HTTP |
//! | [`exchange`] | a segment in, segments out: rules and services together |
//! | [`hints`] | what is remembered of connections, and never needed |
//! | [`fingerprint`] | whether two contents are the same |
//! | [`offer`] | the generations of content, and how workers change to another |
//! | [`parking`] | requests that wait for an answer that is being fetched |
//! | [`responder`] | the path of a frame through the four above; no I/O |
//! | [`xdp`] | rings, UMEM, the XDP program: the only unsafe code |
//! | [`counters`] | what became of each frame |
//! | [`observe`] | what all that shows of itself |
//! | [`mailbox`] | what is left for a worker to take |
//! | [`cli`], [`config`], [`prefix`], [`clients`], [`keys`], [`content`] | what the user asks for |
//! | [`serve`], [`replay`], [`doctor`], [`trace`], [`top`], [`check`] | the commands |
//! | [`netlink`] | what the kernel is asked of links, routes and filters |
//! | [`confine`] | what the process gives up |
//! | `files` | reading what the operator names |
//! | [`control`] | how a running instance is found and spoken to |

pub mod check;
pub mod cli;
pub mod clients;
pub mod config;
pub mod confine;
pub mod content;
pub mod control;
pub mod counters;
pub mod doctor;
pub mod exchange;
mod files;
pub mod fingerprint;
pub mod hints;
pub mod keys;
pub mod mailbox;
pub mod netlink;
pub mod observe;
pub mod offer;
pub mod parking;
pub mod prefix;
pub mod replay;
pub mod responder;
pub mod serve;
pub mod service;
pub mod top;
pub mod trace;
pub mod wire;
pub mod xdp;
