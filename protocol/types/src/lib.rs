//! The words of Floe: what every other room of the protocol counts, names, signs and agrees on beforehand.
//!
//! Nothing here decides anything. A type lives here when more than one room speaks of it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`units`] | points and lengths: epochs, heights, sequence numbers, FROST, block time |
//! | [`names`] | who and what: node, account, network, block, registration |
//! | [`codec`] | the one binary encoding: canonical, bounded, nothing left over |
//! | [`keys`] | ed25519 keys for accounts and votes |
//! | [`bls`] | BLS keys for storage confirmations, which aggregate |
//! | [`params`] | what all must agree on, with unit, default and reason |
//! | [`committee`] | who holds which shards, and thresholds counted in shards |
//! | [`double_vote`] | proof that a vote key signed two things where it may sign one |
//! | [`genesis`] | the document a network begins with |
//! | [`laws`] | the invariants by name, cited by tests and simulator alike |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod bls;
pub mod codec;
pub mod committee;
pub mod double_vote;
pub mod genesis;
pub mod keys;
pub mod laws;
pub mod names;
pub mod params;
pub mod units;

pub use committee::{Committee, Member, MemberIndex};
pub use double_vote::DoubleVote;
pub use floe_erasure::{BlobId, Layout, PairIndex, ShardIndex};
pub use genesis::{Genesis, Parent};
pub use names::{AccountId, BlockId, NetworkId, NodeId, RegistrationNumber, TransactionId, VoteKey};
pub use params::Params;
pub use units::{BlockTime, Epoch, EpochCount, Frost, Height, SequenceNumber};
