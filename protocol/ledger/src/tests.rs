//! The ledger from outside: blocks in, states and answers out.

mod blocks;
mod conformance;
mod epochs;
mod evidence;
pub mod fixture;
mod measure;
mod random;
mod refusals;
