//! The ledger from outside: blocks in, states and answers out.

mod blocks;
mod conformance;
mod epochs;
pub mod fixture;
mod measure;
mod random;
mod refusals;
mod versions;
