//! Stateless TCP over AF_XDP.
pub mod service;
