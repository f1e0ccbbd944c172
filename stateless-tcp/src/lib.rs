//! DNS and HTTP over TCP, answered packet by packet from an AF_XDP ring, with no state per connection.
//!
//! ```text
//! NIC -> XDP program -> XSKMAP[queue] -> RX ring -> worker -> engine -> (same frame, rewritten) -> TX ring -> completion -> fill
//! ```
//!
//! | module | task |
//! |---|---|
//! | [`stateless_tcp_core`] | every protocol decision, shared with the XDP program |
//! | [`af_xdp`] | rings, UMEM, sockets, the loader of the XDP program: the only unsafe code |
//! | [`dataplane`] | the path of a frame from ring to ring |
//! | [`services`] | DNS, HTTP, and relays of both: request in, response out |
//! | [`serving`] | content, its generations, and their replacement while workers run |
//! | [`config`] | options and their validation |
//! | [`serve`] | the `run` command: start, reload, takeover, end |
//! | [`control`] | the control socket of a running instance |
//! | [`observe`] | counters, metrics, taps, dnstap |
//! | [`commands`] | the command line, and all commands besides `run` |
//! | [`confine`] | giving up privileges |
//! | `system` | facts of the kernel and its interfaces |
//! | [`acl`], [`fingerprint`], `dns_framing`, `files`, [`mailbox`] | small parts that several modules use |

pub mod acl;
pub mod af_xdp;
pub mod commands;
pub mod config;
pub mod confine;
pub mod control;
pub mod dataplane;
mod dns_framing;
mod files;
pub mod fingerprint;
pub mod mailbox;
pub mod observe;
pub mod serve;
pub mod services;
pub mod serving;
mod system;
