//! Random zones, signed in every way, and questions about them: what answers are compared over beyond what somebody has
//! thought of.
//!
//! [`zone`] makes a zone, [`sign`] has the tools of other name servers sign it, [`question`] asks, [`settle`] takes out of
//! two answers what servers may differ in.

pub mod exceptions;
pub mod question;
pub mod settle;
pub mod sign;
pub mod zone;
