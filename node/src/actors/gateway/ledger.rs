//! The ledger as the gateway's machines see it: epoch and committee remembered, the rest read from the state.

use crate::run::Shared;
use floe_ledger::{StateError, views};
use floe_machines::ledger_view::LedgerAt;
use floe_types::{Committee, Epoch};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Epoch and committee as of the newest block that somebody told of.
pub(super) struct LedgerNow {
    shared: Shared,
    now: Mutex<(Epoch, Arc<Committee>)>,
}

impl LedgerNow {
    /// As the state has them.
    pub(super) fn read(shared: &Shared) -> Result<LedgerNow, StateError> {
        let snapshot = shared.store.snapshot();
        let now = (views::head(&snapshot)?.epoch, Arc::new(views::committee(&snapshot)?));
        Ok(LedgerNow { shared: shared.clone(), now: Mutex::new(now) })
    }

    /// A block was decided that leaves the ledger in `epoch`.
    pub(super) fn follow(&self, epoch: Epoch) {
        if self.locked().0 >= epoch {
            return;
        }
        match LedgerNow::read(&self.shared) {
            Ok(newer) => *self.locked() = newer.locked().clone(),
            Err(error) => tracing::error!(%error, "the ledger cannot be read"),
        }
    }

    /// The epoch.
    pub(super) fn epoch(&self) -> Epoch {
        self.locked().0
    }

    /// The committee.
    pub(super) fn committee(&self) -> Arc<Committee> {
        Arc::clone(&self.locked().1)
    }

    /// Lets `step` look at the ledger.
    pub(super) fn look<T>(&self, step: impl FnOnce(&LedgerAt<'_>) -> T) -> T {
        let (epoch, committee) = self.locked().clone();
        let view = LedgerAt::new(&self.shared.store, &self.shared.context, epoch, &committee);
        let result = step(&view);
        if let Some(error) = view.trouble() {
            tracing::error!(%error, "the ledger cannot be read");
        }
        result
    }

    fn locked(&self) -> MutexGuard<'_, (Epoch, Arc<Committee>)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
