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
//! | [`committees`] | answers about committees, candidates and hand-overs; in [`views`] too |
//! | [`quotes`] | answers about prices, budgets and an account's history; in [`views`] too |
//! | `explain`, `rights` | answers about risk, standing and repair; in [`views`] too |
//! | [`history`] | which accounts a block touched: an index beside the state |
//! | [`memo`] | what need not be computed twice |
//! | [`mempool`] | transactions that wait for a block |
//! | [`coverage`], `classes` | which rows attested which blobs; what is covered by the same rows |
//! | [`rows`] | who covers a shard: its seat's holder, former and incoming ones |
//! | [`standing`] | what is remembered of nodes: reliability, silence, integrity, rank |
//! | [`plan`], [`repairs`] | what classes risk, and what is rebuilt by whom |
//! | [`candidates`], [`candidacy`] | who stands for seats, with what at stake; how one comes and goes |
//! | [`challenges`], [`reports`] | what members must show each other, and what they say of it |
//! | [`election`] | who gets which seats |
//! | `lifecycle` | terms: choosing a committee, handing over, letting go |
//! | [`verdict`] | what an epoch decides, from coverage and from who took part |
//! | [`merkle`] | the maps and lists that headers commit to, and their proofs |
//! | [`version`] | which rules are in force, and how later ones come into force |
//! | [`money`], [`fund`], [`prices`] | WAL and its conservation; the storage fund; how the price moves |
//! | [`claims`], `debts` | what the reserve pays for repair, and what holders of gaps owe it |
//! | [`invalid`] | what becomes of a blob whose encoding is inconsistent |
//! | [`terms`] | registering, extending, deleting, renewing, and quotes |
//! | [`digest`] | the state root: a sum over all entries |
//! | [`evidence`] | answers about blobs that anyone can check offline |
//! | [`snapshot`] | the state cut into chunks that are checked alone, and put together again |
//! | [`successor`] | going on with a new network when too many shards of one are gone for good |
//! | [`records`], [`sets`], [`event`], [`refusal`] | what is kept, sets as bitmaps, what happened, why not |
//!
//! # Laws
//! - **I7** Accounts, stakes, pending, buckets, budgets, reserve and fees sum to the supply after every transaction.
//! - **I14** Equal prefixes of blocks give equal verdicts, whether executed at once, replayed or caught up with.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod actions;
mod blobs;
pub mod block;
mod boundary;
pub mod candidacy;
pub mod candidates;
pub mod challenges;
pub mod claims;
mod classes;
pub mod committees;
pub mod coverage;
mod debts;
pub mod digest;
pub mod election;
pub mod event;
pub mod evidence;
pub mod execute;
mod explain;
mod foresight;
pub mod fund;
pub mod history;
pub mod invalid;
mod lifecycle;
pub mod memo;
pub mod mempool;
pub mod merkle;
pub mod money;
mod pages;
pub mod plan;
pub mod prices;
pub mod quotes;
mod recall;
pub mod records;
pub mod refusal;
pub mod repairs;
pub mod reports;
mod rights;
pub mod rows;
pub mod sets;
pub mod snapshot;
pub mod standing;
pub mod state;
pub mod successor;
#[cfg(feature = "synthetic")]
pub mod synthetic;
mod tables;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod transaction;
pub mod verdict;
pub mod version;
pub mod views;

pub use block::{Block, BlockHeader, BoundaryHeader, genesis_block};
pub use candidacy::{Announcement, Description, Join, StakeChange};
pub use candidates::Candidate;
pub use coverage::Run;
pub use event::{Event, Standing};
pub use execute::{Context, Executed, begin, build_block, check_block, execute_decided};
pub use fund::Payout;
pub use invalid::{Inconsistency, InconsistencyStatement, InvalidRecord};
pub use mempool::{Mempool, MempoolError, MempoolLimits};
pub use merkle::{MapProof, Presence, Root, Weight};
pub use money::{Price, conservation, price};
pub use plan::{Planned, Ruler};
pub use records::{
    Account, BlobRecord, Defence, EpochRecord, Head, Load, Piece, Prices, RateFrom, Registration, RegistrationStatus,
    SequenceRecord, Totals,
};
pub use refusal::{BlockError, Refusal};
pub use repairs::{Right, Ticket, TicketNumber};
pub use reports::{Attendance, MemberAttendance, Report};
pub use rows::{Row, RowId, RowKind, RowSet, Rows};
pub use sets::{MemberSet, ShardSet};
pub use state::{ChangeSet, Entry, MemoryState, Overlay, StateError, StateRead};
pub use terms::{Deal, Quote};
pub use transaction::{
    Action, Attributes, CheckedTransaction, Persistence, SignedTransaction, Transaction, TransactionError,
    confirmation_message, fee_min,
};
pub use verdict::{Decision, Participation, Verdict, VerdictRecord};
pub use version::{Activation, Protocol};
