//! The commands, and the command line that they are given by.

pub mod check;
pub mod cli;
pub mod doctor;
pub mod replay;
pub mod top;
pub mod trace;
