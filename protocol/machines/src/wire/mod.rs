//! What the machines of one node say to those of another: one module a protocol, each with its limits.

pub mod challenge;
pub mod fragment;
pub mod status;
pub mod sync;
pub mod units;
