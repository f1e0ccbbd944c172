//! What the program shows of itself while it runs.
//!
//! | module | what it holds |
//! |---|---|
//! | [`histogram`] | how long something took, counted by classes |
//! | [`snapshot`] | everything that can be read off at one moment |
//! | [`metrics`] | a snapshot as Prometheus reads it |
//! | [`exporter`] | the HTTP server that Prometheus asks |
//! | [`tap`] | a copy of the frames that pass a worker |
//! | [`packet`] | such a frame as people read it |
//!
//! None of it is waited for by a worker: what workers count are numbers that anyone may read, and the rest they leave where
//! it can be found.

pub mod exporter;
pub mod histogram;
pub mod metrics;
pub mod packet;
pub mod snapshot;
pub mod tap;
