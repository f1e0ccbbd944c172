//! The way of a frame: from a ring through the engine to a ring.
//!
//! | module | task |
//! |---|---|
//! | [`worker`] | the loop of one queue: receive, respond, transmit |
//! | [`responder`] | a frame in, frames out; no I/O |
//! | [`engine`] | a segment in, segments out |
//! | [`conn_cache`] | what is remembered of connections, and never needed |
//! | [`pending`] | requests that wait for an upstream's answer |
//! | `query_log` | queries and responses of one segment, for taps |

pub mod conn_cache;
pub mod engine;
pub mod pending;
mod query_log;
pub mod responder;
pub mod worker;
