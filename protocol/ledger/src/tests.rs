//! The ledger from outside: blocks in, states and answers out.

mod attendance;
mod blocks;
mod candidacy;
mod catalogue;
mod challenges;
mod churn;
mod claims;
mod classes;
mod conformance;
mod election;
mod epochs;
mod evidence;
pub mod fixture;
mod handover;
mod invalid;
mod model;
mod money;
pub mod net;
mod pauses;
mod random;
mod refusals;
mod repair;
mod successor;
mod versions;
