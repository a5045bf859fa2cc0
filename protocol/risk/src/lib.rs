//! The mathematics of availability: from what members saw of each other to what is rebuilt, in integers.
//!
//! Pure functions and small records. Nothing here reads a ledger, a clock or a network; the ledger's boundary calls it.
//!
//! ```text
//!  passes of a slot ──► holding ──► reliability ─┐
//!  re-asked samples ──► integrity                ├──► hazard ──► planner::Network ─┐
//!  onsets of silence ─► correlation ─ domains ───┘                                 ├─► planner::decide ──► verdicts, tickets
//!  classes of blobs (rows, gaps, flag, groups) ────────────────────────────────────┘        │
//!  pass ratios ───────► service (pay only)                                   loss, probability (Q63, rounded up)
//! ```
//!
//! | module | what it answers |
//! | --- | --- |
//! | [`probability`] | arithmetic of upper bounds |
//! | [`loss`] | how likely is it that so many shards are lost at once |
//! | [`hazard`] | how likely is a node, a domain lost within the horizon |
//! | [`holding`], [`integrity`], [`reliability`], [`service`] | who held, who has what it says, who stays, who is paid |
//! | [`correlation`] | who falls silent together |
//! | [`planner`] | verdict, numbers and repair plan of each class |
//! | [`params`] | the constants of all of it |
//!
//! # Not here
//! Gathering reports, rows, money, carrying plans out. Laws are cited by their names in `reliability`'s list.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod correlation;
pub mod hazard;
pub mod holding;
pub mod integrity;
pub mod loss;
pub mod params;
pub mod planner;
pub mod probability;
pub mod reliability;
pub mod service;

pub use params::Params;
pub use probability::Probability;
