//! Observation of the running process. It never makes a worker wait: workers count in atomics, and leave copies of frames
//! in rings.
//!
//! | module | task |
//! |---|---|
//! | [`counters`] | counters of outcomes |
//! | [`histogram`] | histograms of durations |
//! | [`snapshot`] | the state of the process at one moment |
//! | [`metrics`] | a snapshot in Prometheus's text format |
//! | [`exporter`] | the HTTP server for Prometheus |
//! | [`ring`] | a ring of records from a worker to a listener |
//! | [`tap`] | copies of a worker's frames and DNS transactions |
//! | [`transaction`] | a DNS query and its response |
//! | [`dnstap`] | the dnstap output |
//! | [`packet`] | a copied frame in words |

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
