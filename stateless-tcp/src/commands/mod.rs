//! The command line, and all commands besides `run`.

pub mod check;
pub mod cli;
pub mod doctor;
pub mod replay;
pub mod top;
pub mod trace;
