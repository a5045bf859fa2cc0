//! The machines that act for one storage node: pure, each with its inputs, effects and one verb.
//!
//! An actor of the node is a shell round one of these, the simulator is the other shell.
//!
//! | module | decides |
//! | --- | --- |
//! | [`certificates`] | whether votes prove what evidence says, for audits and snapshots |
//! | [`challenges`] | what members ask each other to show, what came of it, what is reported of it |
//! | [`coordinator`] | when heights begin, what a block holds, what is asked of whom to catch up, what is reported |
//! | [`fragments`] | what a fragment store must be able to do: RocksDB in production, a virtual disk in simulation |
//! | [`ledger_view`] | what the data path needs to know of the ledger |
//! | [`offence`] | telling the ledger of an equivocation that consensus found |
//! | [`custody`] | which fragments a holder accepts, when it confirms, what it serves and attests |
//! | [`upload`] | who gets which fragments of a blob, when it is certified, who is sent to again |
//! | [`download`] | which holders are asked, when a hedge starts, when a blob is whole |
//! | [`handover`] | from whom the fragments of shards that came to this node are fetched, and how fast |
//! | [`repair`] | what this node rebuilds from recovery symbols, of whom it asks them, how fast, and when it attests |
//! | [`inconsistency`] | whether evidence against a blob's encoding holds, and who has signed that it does |
//! | [`scrub`] | when which fragment is read through, and what is withdrawn |
//! | [`snapshot`] | how a node starts from a snapshot that nobody vouches for but the signatures |
//! | [`wire`] | what these say to their like on other nodes |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod certificates;
pub mod challenges;
pub mod coordinator;
pub mod custody;
pub mod download;
pub mod fragments;
pub mod handover;
pub mod inconsistency;
pub mod ledger_view;
pub mod offence;
pub mod repair;
pub mod scrub;
pub mod snapshot;
pub mod upload;
pub mod wire;

#[cfg(test)]
mod testing;
