//! Letting go: a group whose epoch has long passed is dropped, after what is still defended has been moved out of it.
//!
//! A fragment is filed under the last paid epoch known when it came. A later registration of the same blob extends it and
//! moves nothing. So before a group goes, its records are walked page by page, and what the ledger still defends is
//! *refiled* under its present last epoch. Only when the whole walk succeeded is the group dropped; else the next epoch
//! tries again. What is not refiled for a day is only late: the group is still there.
//!
//! What is forgotten stays for a number of epochs, and shorter when room is scarce: then every group that has passed goes.

use super::{Custody, Effect, Room, StoreFailure};
use crate::fragments::FragmentKey;
use crate::ledger_view::LedgerView;
use floe_types::Epoch;
use std::collections::BTreeSet;

/// Where the walk is.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Every group up to this one is gone.
    dropped: Epoch,
    pub(super) room: Room,
    walk: Option<Walk>,
}

/// One walk over the groups that are to go.
#[derive(Debug)]
struct Walk {
    up_to: Epoch,
    after: Option<FragmentKey>,
    refiling: BTreeSet<FragmentKey>,
    /// Whether the page under way is the last.
    at_end: bool,
    failed: bool,
}

impl Collector {
    /// The last group that is gone or about to go: copies in it are not to be relied on.
    pub(super) fn line(&self) -> Epoch {
        self.walk.as_ref().map_or(self.dropped, |walk| walk.up_to)
    }
}

impl Custody {
    /// Starts a walk when a group's epoch has passed, and the time after it for which there is room.
    pub(super) fn begin_collecting(&mut self, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let passed = view.epoch().0.saturating_sub(1);
        let kept = match self.collector.room {
            Room::Ample => self.config.reclaim_after.0,
            Room::Scarce => 0,
        };
        let up_to = Epoch(passed.saturating_sub(kept));
        if self.collector.walk.is_some() || up_to <= self.collector.dropped {
            return;
        }
        let walk = Walk { up_to, after: None, refiling: BTreeSet::new(), at_end: false, failed: false };
        self.collector.walk = Some(walk);
        effects.push(Effect::ListRecords { after: None, limit: self.config.refile_page });
    }

    /// A page of records: refiles what is defended in the groups that go.
    pub(super) fn listed(
        &mut self,
        view: &dyn LedgerView,
        keys: Result<Vec<FragmentKey>, StoreFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(walk) = self.collector.walk.as_mut() else { return };
        walk.failed |= keys.is_err();
        let keys = keys.unwrap_or_default();
        walk.at_end = keys.len() < self.config.refile_page;
        for key in &keys {
            if key.group > walk.up_to {
                // Records come by group: nothing that goes is left.
                walk.at_end = true;
                break;
            }
            walk.after = Some(*key);
            let last_paid = view.blob(&key.blob).map(|facts| facts.last_paid).filter(|last| *last >= view.epoch());
            if let Some(group) = last_paid
                && walk.refiling.insert(*key)
            {
                effects.push(Effect::Refile { key: *key, group });
            }
        }
        self.walk_on(effects);
    }

    /// A fragment was refiled, or could not be.
    pub(super) fn refiled(&mut self, key: &FragmentKey, is_durable: Result<(), ()>, effects: &mut Vec<Effect>) {
        let Some(walk) = self.collector.walk.as_mut() else { return };
        if walk.refiling.remove(key) {
            walk.failed |= is_durable.is_err();
            self.walk_on(effects);
        }
    }

    fn walk_on(&mut self, effects: &mut Vec<Effect>) {
        let Some(walk) = self.collector.walk.as_ref().filter(|walk| walk.refiling.is_empty()) else { return };
        if !walk.at_end && !walk.failed {
            return effects.push(Effect::ListRecords { after: walk.after, limit: self.config.refile_page });
        }
        if !walk.failed {
            self.collector.dropped = walk.up_to;
            effects.push(Effect::DropGroups { up_to: walk.up_to });
        }
        self.collector.walk = None;
    }
}
