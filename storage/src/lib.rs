//! What one storage node remembers: ledger state, blocks, journal, fragments and two small books, in one RocksDB.
//! The only place that says RocksDB.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`columns`] | what is on disk: every column, key and value |
//! | [`config`] | what one operator may choose |
//! | `open` | whose directory it is, whether it is whole, words for the operator |
//! | `store` | the open store, and the one way to write durably |
//! | [`chain`] | state, blocks, snapshots; one atomic step for each block |
//! | [`journal`] | what consensus must remember of undecided heights |
//! | `fragments`, `staged`, `chunk`, `space` | fragments: arriving, kept, read, dropped; room for them |
//! | [`check`] | what was signed for against what is there |
//! | [`snapshots`] | the snapshot that is offered, the one that arrives, starting over from it, dropping old blocks |
//! | [`book`] | peers and unfinished uploads |
//! | [`succession`] | going on in the network that succeeds this one |
//! | `damage` | the note that damage was met, beside the database |
//! | `mark` | how far the database had acknowledged, beside the database |
//! | [`statistics`] | what the store says about itself |
//!
//! All calls block. One thread appends to the journal and commits; any number stage, read and keep fragments.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod accounts;
pub mod book;
pub mod chain;
pub mod check;
mod chunk;
pub mod columns;
pub mod config;
mod damage;
mod error;
pub mod evidence;
mod fragments;
pub mod journal;
mod mark;
mod open;
mod options;
pub mod report;
pub mod snapshots;
mod space;
mod staged;
pub mod statistics;
mod store;
pub mod succession;

pub use accounts::{AccountIndex, Brought};
pub use book::Upload;
pub use chain::{StateSnapshot, StoredBlock};
pub use check::{ConfirmationCheck, Gap, MissingFragment, Thoroughness};
pub use columns::Column;
pub use config::{ConfigError, LostWrites, StoreConfig};
pub use error::StorageError;
pub use fragments::{BlobFiles, RECORD_BYTES_MAX};
pub use open::{Holder, Identity, OpenError};
pub use report::REPORT_BYTES_MAX;
pub use space::{Disk, Totals};
pub use statistics::{RoomLeft, Statistics, Writes};
pub use store::{OpeningReport, Store};
