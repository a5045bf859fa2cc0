//! What this node has a right to rebuild, as the ledger says: its tickets, then the gaps of its seats that it may fill.

use super::Rebuild;
use crate::fragments::FragmentStore;
use floe_types::{SequenceNumber, ShardIndex};

/// Where a look over the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Among the tickets: the one at this place of the list, urgent ones first, from this number on.
    Tickets {
        /// Which ticket.
        at: usize,
        /// The number.
        sequence: SequenceNumber,
    },
    /// Among the gaps of this node's seats: from this shard and number on.
    Refills {
        /// The shard.
        shard: ShardIndex,
        /// The number.
        sequence: SequenceNumber,
    },
}

impl Place {
    /// Where every look begins.
    pub const START: Place = Place::Tickets { at: 0, sequence: SequenceNumber(0) };
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Fragments that are missing here and may be rebuilt, the most urgent first.
    pub rebuilds: Vec<Rebuild>,
    /// Fragments that were rebuilt and that the ledger does not know of yet.
    pub held: Vec<(ShardIndex, SequenceNumber)>,
    /// Where the next page begins; none when there is none.
    pub next: Option<Place>,
}
