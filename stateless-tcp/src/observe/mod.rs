//! What the program shows of itself while it runs.
//!
//! | module | what it holds |
//! |---|---|
//! | [`histogram`] | how long something took, counted by classes |
//! | [`snapshot`] | everything that can be read off at one moment |
//! | [`metrics`] | a snapshot as Prometheus reads it |
//! | [`exporter`] | the HTTP server that Prometheus asks |
//! | [`ring`] | records on their way from a worker to who listens |
//! | [`tap`] | a copy of what passes a worker: frames, questions and answers |
//! | [`transaction`] | a question and its answer |
//! | [`dnstap`] | these, as DNS operators' tools read them |
//! | [`packet`] | such a frame as people read it |
//!
//! None of it is waited for by a worker: what workers count are numbers that anyone may read, and the rest they leave where
//! it can be found.

pub mod counters;
pub mod dnstap;
pub mod exporter;
pub mod histogram;
pub mod metrics;
pub mod packet;
pub mod ring;
pub mod snapshot;
pub mod tap;
pub mod transaction;
