//! Tickets: what a boundary decided to rebuild, by whom, and who may ask for the symbols of it.
//!
//! Recovery symbols are served to nobody but who has a right to them, or what was dropped could be fetched when it is
//! asked for. There are four rights, all of which every holder can look up for itself:
//!
//! | right | who has it | until |
//! | --- | --- | --- |
//! | [`Right::Ticket`] | the target that the plan of a boundary named, for its blobs | the next decided boundary |
//! | [`Right::Standing`] | a seat's holder, for a blob that was certified lately without it | it covers the blob |
//! | [`Right::Rebuild`] | a seat's holder that withdrew fragments or whose gauge tripped, for its gaps, once in a window | as long after as for a certificate |
//! | [`Right::Trickle`] | a seat's holder that answered, for a gap whose turn the running epoch is | the next boundary |
//!
//! A plan names a shard, a target and blobs. Blobs are runs of numbers, of which only those count whose *rotation* is the
//! ticket's: stand-ins take turns by runs of blobs, and naming each run would make a ticket as long as what is stored.
//! Tickets with the same blobs are kept together as one [`Batch`].
//!
//! # Not here
//! Who plans: [`crate::boundary`]. Carrying a ticket out, and serving symbols: machines of the node.

use crate::coverage::Run;
use crate::rows::RowKind;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_risk::Params as Constants;
use floe_risk::planner;
use floe_types::{Epoch, EpochCount, NodeId, SequenceNumber, ShardIndex};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most runs of numbers that tickets of one batch name. What is beyond them waits for a later boundary.
pub const RUNS_MAX: usize = 1024;
/// The most tickets at a time. What is beyond them waits for a later boundary, the least urgent first.
pub const TICKETS_MAX: usize = 16_384;
/// The most batches at a time.
pub const BATCHES_MAX: usize = 1024;

/// The most runs in all batches together, so that a plan that is kept stays below a mebibyte.
pub const RUNS_IN_ALL_MAX: usize = 65_536;

/// A ticket's number, counted over the life of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketNumber(pub u64);

impl fmt::Display for TicketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a fragment is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Nobody has it.
    Missing,
    /// Its holder withdrew it.
    Withdrawn {
        /// So many epochs ago.
        ago: EpochCount,
    },
    /// Its holder is silent.
    Silent {
        /// For so many decided epochs.
        age: EpochCount,
    },
}

/// Whether the cap of a boundary held for a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Haste {
    /// It counts against the cap.
    Capped,
    /// Its risk is so far above its bound, or so little is held, that the cap does not hold it up: it goes before others.
    Urgent,
}

/// Which blobs a ticket is about: those numbers of the runs whose rotation is the one named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Runs of numbers, ascending, at most [`RUNS_MAX`].
    pub runs: Vec<Run>,
    /// Which turn of the rotation.
    pub rotation: u16,
}

impl Scope {
    /// Whether blob `number` is meant, in a network with these constants.
    #[must_use]
    pub fn contains(&self, constants: &Constants, number: SequenceNumber) -> bool {
        let at = self.runs.partition_point(|run| run.last < number);
        self.runs.get(at).is_some_and(|run| run.contains(number))
            && planner::rotation(constants, number) == self.rotation
    }
}

/// A rebuild of one shard's fragments of some blobs: every holder serves its symbols to the target while it is valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its number. A ticket that goes on over a boundary gets a new one.
    pub number: TicketNumber,
    /// The shard whose fragments are rebuilt.
    pub shard: ShardIndex,
    /// Who rebuilds them.
    pub target: NodeId,
    /// What the target is to the shard: [`RowKind::Seat`] for who fills its own gap, else [`RowKind::StandIn`]. It has a row
    /// of the shard with which it can attest, of whatever kind.
    pub kind: RowKind,
    /// Why.
    pub why: Why,
    /// Whose gap it is, when it is not the target's own: it owes what the reserve pays for it.
    pub owes: Option<NodeId>,
    /// Since when the target has had tickets for this shard at every boundary.
    pub since: Epoch,
    /// The epoch at whose beginning it was given.
    pub issued: Epoch,
    /// The last epoch in which it is valid; moved on while epochs are not decided.
    pub until: Epoch,
    /// Whether the cap held for it.
    pub haste: Haste,
    /// The blobs.
    pub scope: Scope,
}

impl Ticket {
    /// Whether it is valid in `epoch`.
    #[must_use]
    pub fn is_valid(&self, epoch: Epoch) -> bool {
        self.issued <= epoch && epoch <= self.until
    }
}

/// One ticket of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The shard.
    pub shard: ShardIndex,
    /// Who rebuilds it.
    pub target: NodeId,
    /// See [`Ticket::kind`].
    pub kind: RowKind,
    /// Why.
    pub why: Why,
    /// See [`Ticket::owes`].
    pub owes: Option<NodeId>,
    /// See [`Ticket::since`].
    pub since: Epoch,
}

/// Tickets for the same blobs: what was planned for one group of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The number of its first ticket; the others follow.
    pub first: TicketNumber,
    /// See [`Ticket::issued`].
    pub issued: Epoch,
    /// See [`Ticket::until`].
    pub until: Epoch,
    /// See [`Ticket::haste`].
    pub haste: Haste,
    /// The blobs.
    pub scope: Scope,
    /// So many of them when it was issued.
    pub blobs: u64,
    /// What is rebuilt of each blob.
    pub entries: Vec<Entry>,
}

impl Batch {
    /// Its tickets.
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        (self.first.0..).zip(&self.entries).map(|(number, entry)| Ticket {
            number: TicketNumber(number),
            shard: entry.shard,
            target: entry.target,
            kind: entry.kind,
            why: entry.why,
            owes: entry.owes,
            since: entry.since,
            issued: self.issued,
            until: self.until,
            haste: self.haste,
            scope: self.scope.clone(),
        })
    }
}

/// Why somebody may be served recovery symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// A boundary decided that it rebuilds.
    Ticket {
        /// By this ticket.
        number: TicketNumber,
    },
    /// The blob was certified lately, and its seat's holder did not get the fragment.
    Standing,
    /// The running epoch is the one in which this gap of a seat is filled.
    Trickle,
    /// Its seat's holder lost it honestly and may make everything again that it lacks, for a while and once in a window.
    Rebuild,
}

/// The batches that there are, by number.
pub(crate) fn batches(state: &dyn StateRead) -> Result<Vec<Batch>, StateError> {
    let entries = Table::Tickets.all(state, &[])?;
    entries.iter().map(|(_, value)| Table::Tickets.parse(value)).collect()
}

/// The batch that has this ticket, if it is still there.
pub(crate) fn batch_of(state: &dyn StateRead, number: TicketNumber) -> Result<Option<Batch>, StateError> {
    // A batch is kept at its last number, so that the first at or after a ticket's is the one that has it.
    let found = Table::Tickets.page(state, &[], &number.0.to_be_bytes(), 1)?;
    let Some((_, value)) = found.first() else { return Ok(None) };
    let batch: Batch = Table::Tickets.parse(value)?;
    Ok(Some(batch).filter(|batch| batch.first <= number))
}

/// Where a batch with at least one entry is kept.
pub(crate) fn key(batch: &Batch) -> Vec<u8> {
    let more = (batch.entries.len() as u64).saturating_sub(1);
    Table::Tickets.number(batch.first.0.saturating_add(more))
}

pub(crate) fn put(overlay: &mut Overlay<'_>, batch: &Batch) {
    Table::Tickets.store(overlay, key(batch), batch);
}
