//! TCP without state: each segment is answered from what it carries itself (docs/protocol.md).
//!
//! | module | task |
//! |---|---|
//! | [`segment`] | a TCP header as values |
//! | [`isn`] | initial sequence numbers that prove a connection |
//! | [`ts_cookie`] | timestamps that carry RCV.NXT and SND.NXT |
//! | [`tcb`] | a connection's state as one segment tells it, and what the segment gets |
//! | [`input`] | segments of connections without timestamps |
//! | [`fast_open`] | a request on the SYN |
//! | [`output`] | how a response is cut into segments |

pub mod fast_open;
pub mod input;
pub mod isn;
pub mod output;
pub mod segment;
pub mod tcb;
pub mod ts_cookie;
