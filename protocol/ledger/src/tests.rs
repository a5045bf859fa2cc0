//! The ledger from outside: blocks in, states and answers out.

mod blocks;
mod conformance;
mod epochs;
pub mod fixture;
mod model;
mod money;
mod random;
mod refusals;
