//! Is there for some epochs and away for some, for ever.

use super::Villain;
use floe_ledger::challenges::Slot;
use floe_types::Epoch;

/// One that comes and goes.
pub struct Flapper {
    /// Epochs there.
    pub on: u64,
    /// Epochs away.
    pub off: u64,
}

impl Villain for Flapper {
    fn is_up(&mut self, epoch: Epoch, _slot: Slot) -> bool {
        epoch.0 % (self.on + self.off) < self.on
    }
}

/// Is away once: from an epoch on, for some.
pub struct Away {
    /// The first epoch.
    pub from: u64,
    /// How many.
    pub epochs: u64,
}

impl Villain for Away {
    fn is_up(&mut self, epoch: Epoch, _slot: Slot) -> bool {
        !(self.from..self.from + self.epochs).contains(&epoch.0)
    }
}
