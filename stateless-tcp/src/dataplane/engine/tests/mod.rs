//! The protocol together with the services.

mod fast_open;
mod split;
