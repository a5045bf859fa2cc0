//! Starts a node from a snapshot: from genesis and some peers alone, nobody of whom is believed.
//!
//! ```text
//!   terms ──► outlines ──► parts ──► chunks ──► complete
//!     ▲          │  the newest that checks       │ one does not fit
//!     └──────────┘  signed by unknown members    └──► its giver, or who gave the parts, is named
//! ```
//!
//! 1. **Terms.** Changes of committee are fetched and checked link by link from genesis, as an auditor does.
//! 2. **Outlines.** Every peer is asked what its newest snapshot is of. The header must be decided by the committee of its
//!    epoch. The greatest height is taken.
//! 3. **Parts.** The sums of all chunks come from one peer and must add up to the root that the header names.
//! 4. **Chunks.** Each is asked of some peer that offers this snapshot, several at a time, and must add up to its sum.
//!    What fits is kept on disk at once, so that a restart goes on where it was.
//!
//! # Who lied
//! Snapshots are cut alike everywhere, so whoever offers one has just these chunks. Parts that add up to the signed root can
//! still be false by pairs. So a chunk that does not fit is asked for again of the peer that gave the parts: if *its*
//! chunk fits, the first giver lied, if not, it lied itself and the parts are fetched from another. What was kept and fits the
//! new sums stays.
//!
//! # Limits
//! One request open with a peer and [`Config::open_max`] in all; 64 MiB of sums at the most ([`CHUNKS_MAX`]).
//!
//! # Not here
//! Putting the state together is storage's ([`floe_ledger::snapshot::derive`]); blocks after the snapshot come by
//! [`crate::coordinator`].

mod machine;
#[cfg(test)]
mod tests;

pub use machine::SnapshotSync;

use floe_ledger::evidence::TermLink;
use floe_ledger::snapshot::{Outline, Part};
use floe_types::{Height, NodeId};
use std::collections::BTreeSet;

/// What one operator may choose.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Requests open at a time, each with another peer.
    pub open_max: usize,
    /// How long a request may stay open: longer than the transport's own limit.
    pub patience_millis: u64,
    /// How long until peers that offered nothing are asked again.
    pub pause_millis: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { open_max: 8, patience_millis: 20_000, pause_millis: 5_000 }
    }
}

/// What an earlier life has kept of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What it is of.
    pub outline: Outline,
    /// All its parts.
    pub parts: Vec<Part>,
    /// Chunks that are kept.
    pub kept: BTreeSet<u32>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The peers there are now. Who is not among them is not asked any more.
    Peers(Vec<NodeId>),
    /// A peer answered.
    Answered {
        /// Who.
        from: NodeId,
        /// Its answer, unchecked.
        bytes: bytes::Bytes,
    },
    /// A request came to nothing.
    Failed {
        /// Whose answer was wanted.
        from: NodeId,
    },
    /// The timer ran out.
    TimerFired,
}

/// What the shell must do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask a peer on `/floe/sync/1`; answered by [`Input::Answered`] or [`Input::Failed`].
    Ask {
        /// Whom.
        to: NodeId,
        /// The encoded request.
        bytes: bytes::Bytes,
    },
    /// Keep this as the snapshot that is arriving, in place of any other. Chunks kept before stay when `anew` says so.
    Begin {
        /// What it is of.
        outline: Box<Outline>,
        /// Its sums.
        parts: Vec<Part>,
        /// The chunks, already kept, that belong to it.
        kept: BTreeSet<u32>,
    },
    /// Keep a chunk of it. Safe twice.
    Keep {
        /// Which.
        index: u32,
        /// Its encoding, checked.
        bytes: bytes::Bytes,
    },
    /// All chunks are kept: keep the headers, restore, and go on from there. The last effect.
    Complete {
        /// What it is of.
        outline: Box<Outline>,
        /// Changes of committee up to it, oldest first, for audits.
        terms: Vec<TermLink>,
    },
    /// No peer offers a snapshot above the height that this node has: blocks are the only way. Said again after each
    /// round of asking.
    NothingOffered,
    /// Answer with [`Input::TimerFired`] after this time; a timer already set starts anew.
    SetTimer {
        /// Milliseconds from now.
        after_millis: u64,
    },
    /// A peer gave what it should not have. For peer scores and logs.
    Blame {
        /// Who.
        node: NodeId,
        /// For what.
        cause: &'static str,
    },
}

/// How far it is, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The snapshot's height, once one is chosen.
    pub height: Option<Height>,
    /// Changes of committee checked.
    pub terms: u64,
    /// Chunks in all.
    pub chunks: u32,
    /// Chunks kept.
    pub kept: u32,
    /// Bytes of all chunks, as the outline says.
    pub bytes: u64,
    /// Members that signed the snapshot's header, and their shards.
    pub signed: (u16, u16),
}
