//! Up to `f` members in one building with one copy between them: they show everything while it stands, and are away together.

use super::{Challenge, Reply, Villain, among};
use floe_ledger::challenges::Slot;
use floe_types::{Epoch, SequenceNumber, ShardIndex};

/// One of a clique.
pub struct Clique {
    /// Epochs between two absences, in the mean.
    pub every: u64,
    /// When they are, the same for all of a clique.
    pub salt: u64,
}

impl Villain for Clique {
    fn is_up(&mut self, epoch: Epoch, _slot: Slot) -> bool {
        // Three epochs each time.
        !(0..3).any(|ago| among(1_000_000 / self.every.max(1), self.salt, &epoch.0.saturating_sub(ago)))
    }

    fn gives(&self, _shard: ShardIndex, _number: SequenceNumber) -> bool {
        // What they have is one copy: it counts as none.
        false
    }

    fn answer(&mut self, _asked: &Challenge<'_>) -> Reply {
        Reply::Shown
    }

    fn works(&self) -> bool {
        false
    }
}
