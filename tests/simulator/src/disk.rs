//! The virtual disk of one node: what survives a fall, and what of it may not.
//!
//! It keeps the contract of the real one. A batch is written whole or not at all. What was written without a sync may be
//! lost in a power loss, from some point on; a sync makes everything written before it durable. Committing a block is
//! one synced batch: block, certificate, changes of state, end of the journal. Fragments and confirmations are synced
//! when the call that keeps them returns.
//!
//! # Not here
//! Damage to what was synced: the store's checksums are tested where the store is.

use crate::chance::Chance;
use crate::fragment_disk::FragmentDisk;
use crate::world::gateway::{Spool, UploadId};
use floe_consensus::JournalEntry;
use floe_ledger::{ChangeSet, MemoryState};
use floe_machines::wire::sync::{DecidedBlock, DecidedBlocks};
use floe_types::Height;
use std::collections::BTreeMap;

/// Everything one node keeps.
#[derive(Debug)]
pub struct Disk {
    /// The ledger's state at the newest block.
    pub state: MemoryState,
    /// Decided blocks by height.
    pub blocks: BTreeMap<Height, DecidedBlock>,
    journal: Vec<JournalEntry>,
    /// Entries of the journal, from the front, that are synced.
    journal_synced: usize,
    /// Fragments and confirmations.
    pub fragments: FragmentDisk,
    /// Blobs on their way in.
    pub(crate) spools: BTreeMap<UploadId, Spool>,
}

/// Whether a write waits until it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// It does.
    Now,
    /// It does not: a defect wherever something is said that rests on the write.
    Never,
}

impl Disk {
    /// A disk on which a network has just begun.
    #[must_use]
    pub fn new(state: MemoryState, fragments: FragmentDisk) -> Disk {
        Disk {
            state,
            blocks: BTreeMap::new(),
            journal: Vec::new(),
            journal_synced: 0,
            fragments,
            spools: BTreeMap::new(),
        }
    }

    /// Appends to the journal.
    pub fn append_journal(&mut self, entries: Vec<JournalEntry>, sync: Sync) {
        self.journal.extend(entries);
        if sync == Sync::Now {
            self.journal_synced = self.journal.len();
        }
    }

    /// The journal's entries above the newest block.
    #[must_use]
    pub fn journal_above(&self, height: Height) -> Vec<JournalEntry> {
        self.journal.iter().filter(|entry| entry.height.0 > height.0).cloned().collect()
    }

    /// Writes a decided block with all that follows from it, in one synced batch.
    pub fn commit(&mut self, height: Height, decided: DecidedBlock, changes: &ChangeSet) {
        self.state.apply(changes);
        self.blocks.insert(height, decided);
        self.journal.retain(|entry| entry.height.0 > height.0);
        self.journal_synced = self.journal.len();
    }

    /// Somebody deletes the journal: what a villain does that wants to sign twice.
    pub fn forget_journal(&mut self) {
        self.journal.clear();
        self.journal_synced = 0;
    }

    /// The machine lost power: of what was not synced, everything from some point on is gone.
    pub fn lose_power(&mut self, chance: &mut Chance) -> usize {
        let unsynced = self.journal.len() - self.journal_synced;
        let kept = chance.below(unsynced as u64 + 1) as usize;
        self.journal.truncate(self.journal_synced + kept);
        self.journal_synced = self.journal.len();
        unsynced - kept + self.fragments.lose_power(chance)
    }
}

impl DecidedBlocks for Disk {
    fn decided(&self, height: Height) -> Option<DecidedBlock> {
        self.blocks.get(&height).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Stream;
    use bytes::Bytes;

    fn entry(height: u64) -> JournalEntry {
        JournalEntry { height: floe_consensus::Height(height), bytes: Bytes::from_static(b"entry") }
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let mut chance = Chance::new(1, Stream::Process);
        let mut shortest = usize::MAX;
        for _ in 0..50 {
            let mut disk = Disk::new(MemoryState::new(), FragmentDisk::new(Sync::Now));
            disk.append_journal(vec![entry(1), entry(1)], Sync::Now);
            disk.append_journal(vec![entry(1), entry(1)], Sync::Never);
            disk.lose_power(&mut chance);
            let kept = disk.journal_above(Height(0)).len();
            assert!((2..=4).contains(&kept));
            shortest = shortest.min(kept);
        }
        assert_eq!(shortest, 2);
    }

    #[test]
    fn a_commit_ends_the_journal_of_its_height() {
        let mut disk = Disk::new(MemoryState::new(), FragmentDisk::new(Sync::Now));
        disk.append_journal(vec![entry(1), entry(2)], Sync::Now);
        let decided = DecidedBlock { block: vec![1], certificate: vec![2] };
        disk.commit(Height(1), decided.clone(), &ChangeSet::new());
        assert_eq!(disk.journal_above(Height(0)), vec![entry(2)]);
        assert_eq!(disk.decided(Height(1)), Some(decided));
    }
}
