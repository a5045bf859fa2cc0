//! The agreement of a committee on one value after another: Tendermint consensus as a pure machine.
//!
//! A [`Machine`] is one validator's part, or an observer's. It is told what happened ([`Input`]) and answers what to
//! do ([`Effect`]). It has no clock, no socket, no disk and no luck of its own. A value is opaque bytes, named by
//! its hash ([`ValueId`]) and judged by the caller ([`CheckValue`]); what it means is the ledger's affair.
//!
//! ```text
//!   round r:   proposal ──▶ prevotes ──▶ precommits ──▶ decided, with a Certificate
//!              3 s          +1 s         +1 s      └──▶ or round r+1, with another proposer
//! ```
//!
//! # What the caller must obey
//! 1. Effects are carried out in order. [`Effect::Journal`] is durable before any later [`Effect::Publish`] leaves.
//! 2. On [`Effect::Decided`]: store value and certificate, then drop the height's journal, then start the next
//!    height when there is a reason to. Keep both for those who catch up, and the validator set of each height.
//! 3. After a start: a fresh machine and [`Machine::start_replayed`] with the journal, at the first height whose
//!    decision is not stored.
//! 4. Catch up already when one height behind: a decided validator repeats nothing. [`Effect::Behind`] says when;
//!    in a busy network it is also said for a moment by whoever is merely slower.
//! 5. Equal votes are published again on purpose when they may be lost. A transport that drops what it has seen
//!    must forget it within [`Timeouts::rebroadcast`].
//! 6. After an error for which [`Error::is_fatal`] holds: carry out nothing more, stop the process.
//! 7. One key, one process. A second one with the same key makes the first stop, or both equivocate.
//!
//! # Laws
//! - **I1** No two honest validators decide differently at one height, while less than a third of the power lies.
//! - **I15** No key signs two different statements for one height, round and step, whatever crashes.
//! - **CO-1** to **CO-8** stand in the modules that keep them.
//!
//! # Limits
//! [`VALIDATORS_MAX`] validators, [`ROUNDS_AHEAD_MAX`] rounds ahead, and those of [`Config`]. Whatever a
//! member sends, a height holds at most four proposals per round and [`Config::values_max`] values.
//!
//! # Source
//! Buchman, Kwon, Milosevic: The latest gossip on BFT consensus (arXiv 1807.04938). The protocol core is a library,
//! Malachite, driven by hand and hidden here: it signs, sends, stores and waits for nothing itself. Where we differ
//! from its own engine: values travel inside proposals; a synced decision is checked here and never reaches the
//! library, so that the journal explains every signature; and a guard stands before the key.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod backlog;
mod ballot;
mod certificate;
mod codec;
mod config;
mod context;
mod equivocation;
mod error;
mod guard;
mod height;
mod hidden_lock;
mod host;
mod interface;
mod journal;
mod machine;
mod message;
mod replay;
mod signing;
mod validators;
mod value;
mod values;

pub use certificate::{Certificate, CertificateError};
pub use codec::DecodeError;
pub use config::{Config, ROUNDS_AHEAD_MAX, Timeouts};
pub use equivocation::{EQUIVOCATION_BYTES_MAX, Equivocation, Stated};
pub use error::Error;
pub use height::{Height, Round};
pub use interface::{DropReason, Effect, Input, Misbehaviour, SyncFault, Timer, TimerKind};
pub use journal::JournalEntry;
pub use machine::Machine;
pub use message::{MESSAGE_OVERHEAD_MAX, Message, MessageKind};
pub use signing::{NetworkId, Signature, Step, ValidatorKey, VoteSigningKey};
pub use validators::{TOTAL_POWER_LIMIT, VALIDATORS_MAX, Validator, ValidatorSet, ValidatorSetError};
pub use value::{CheckValue, ValueId, Verdict};
