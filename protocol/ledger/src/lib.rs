//! The ledger of Floe: a replicated state machine, pure. State in, block in, change set and events out.
//!
//! No clock, socket, disk, thread, float or luck: equal states and equal blocks give equal changes on every node, to the
//! byte. The only time is the block's. What consensus does with a block, and who keeps the state, is not known here.
//!
//! ```text
//!  candidates ──► build_block ──► Executed { block, changes, events }      a proposer
//!  foreign block ─► check_block ─► the same, or BlockError                  a voter
//!  decided block ─► execute_decided ─► the same, without a clock            catching up
//! ```
//!
//! | module | what it does |
//! | --- | --- |
//! | [`state`] | reading, overlays, change sets, state in memory |
//! | [`transaction`] | what accounts ask for; decoding, checking, signing |
//! | [`block`] | blocks, headers, boundary headers |
//! | [`execute`] | building and checking blocks, genesis |
//! | [`views`] | reading answers out of a state |
//! | [`mempool`] | transactions that wait for a block |
//! | [`coverage`] | which shards attested which blobs |
//! | [`verdict`] | what an epoch decides, from coverage and from who took part |
//! | [`merkle`] | the maps and lists that headers commit to, and their proofs |
//! | [`digest`] | the state root: a sum over all entries |
//! | [`evidence`] | answers about blobs that anyone can check offline |
//! | [`snapshot`] | the state cut into chunks that are checked alone, and put together again |
//! | [`money`] | WAL and its conservation |
//! | [`records`], [`sets`], [`event`], [`refusal`] | what is kept, sets as bitmaps, what happened, why not |
//!
//! # Laws
//! - **I7** Accounts, pending, buckets, reserve and fees sum to the supply after every transaction.
//! - **I14** Equal prefixes of blocks give equal verdicts, whether executed at once, replayed or caught up with.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod actions;
mod blobs;
pub mod block;
mod boundary;
pub mod coverage;
pub mod digest;
pub mod event;
pub mod evidence;
pub mod execute;
pub mod mempool;
pub mod merkle;
pub mod money;
pub mod records;
pub mod refusal;
pub mod sets;
pub mod snapshot;
pub mod state;
mod tables;
#[cfg(test)]
mod tests;
pub mod transaction;
pub mod verdict;
pub mod views;

pub use block::{BLOCK_VERSION, Block, BlockHeader, BoundaryHeader, genesis_block};
pub use coverage::Run;
pub use event::{Event, Standing};
pub use execute::{Context, Executed, begin, build_block, check_block, execute_decided};
pub use mempool::{Mempool, MempoolError, MempoolLimits};
pub use merkle::{MapProof, Presence, Root, Weight};
pub use money::{Price, conservation, price};
pub use records::{
    Account, BlobRecord, Defence, EpochRecord, Head, Registration, RegistrationStatus, SequenceRecord, Totals,
};
pub use refusal::{BlockError, Refusal};
pub use sets::{MemberSet, ShardSet};
pub use state::{ChangeSet, Entry, MemoryState, Overlay, StateError, StateRead};
pub use transaction::{
    Action, Attributes, CheckedTransaction, SignedTransaction, Transaction, TransactionError, confirmation_message,
    fee_min,
};
pub use verdict::{Decision, Participation, Verdict, VerdictRecord};
