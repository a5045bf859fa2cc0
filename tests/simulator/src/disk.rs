//! The virtual disk of one node: what survives a fall, and what of it may not.
//!
//! It keeps the contract of the real one. A batch is written whole or not at all. What was written without a sync may be
//! lost in a power loss, from some batch on; a sync makes everything written before it durable. A block is one batch:
//! block, certificate, changes of state, end of the journal; it is written at once and synced with the journal's next
//! entry (decision 007). Fragments and confirmations are synced when the call that keeps them returns.
//!
//! # Not here
//! Damage to what was synced: the store's checksums are tested where the store is.

use crate::chance::Chance;
use crate::fragment_disk::FragmentDisk;
use crate::snapshot_disk::Snapshots;
use crate::world::gateway::{Spool, UploadId};
use floe_consensus::JournalEntry;
use floe_ledger::evidence::{Sealed, TermLink, links};
use floe_ledger::snapshot::Outline;
use floe_ledger::{ChangeSet, MemoryState, StateRead, views};
use floe_machines::certificates::CommitCertificates;
use floe_machines::coordinator::Memory;
use floe_machines::wire::sync::{DecidedBlock, DecidedBlocks, Served};
use floe_types::{Epoch, Height, NetworkId};
use std::collections::BTreeMap;

/// Everything one node keeps.
#[derive(Debug)]
pub struct Disk {
    /// The ledger's state at the newest block.
    pub state: MemoryState,
    /// Decided blocks by height.
    pub blocks: BTreeMap<Height, DecidedBlock>,
    journal: Vec<JournalEntry>,
    /// What was written since the last sync, in order.
    unsynced: Vec<Batch>,
    /// Fragments and confirmations.
    pub fragments: FragmentDisk,
    /// Blobs on their way in.
    pub(crate) spools: BTreeMap<UploadId, Spool>,
    /// Snapshots and the headers that stay.
    pub snapshots: Snapshots,
    /// The network, for whoever follows its terms.
    pub network: NetworkId,
    /// What was kept for the closing of an epoch. Synced when it is written.
    pub sealed: Option<Vec<u8>>,
    /// What is noted of votes that may have been forgotten with what was here before.
    pub memory: Memory,
}

/// Whether a write waits until it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// It does.
    Now,
    /// It does not: a defect wherever something is said that rests on the write.
    Never,
}

/// A batch that was written and not synced, with what undoes it.
#[derive(Debug)]
enum Batch {
    /// So many entries at the end of the journal.
    Journal(usize),
    /// A block.
    Commit(Box<Undo>),
}

/// What a disk had before a block was written.
#[derive(Debug)]
struct Undo {
    height: Height,
    values: ChangeSet,
    journal: Vec<JournalEntry>,
}

impl Disk {
    /// A disk on which a network has just begun.
    #[must_use]
    pub fn new(state: MemoryState, fragments: FragmentDisk) -> Disk {
        let (blocks, spools) = (BTreeMap::new(), BTreeMap::new());
        let (journal, unsynced) = (Vec::new(), Vec::new());
        let (snapshots, network) = (Snapshots::default(), NetworkId([0; 32]));
        let (sealed, memory) = (None, Memory::Kept);
        Disk { state, blocks, journal, unsynced, fragments, spools, snapshots, network, sealed, memory }
    }

    /// The newest height.
    #[must_use]
    pub fn height(&self) -> Height {
        views::head(&self.state).map_or(Height(0), |head| head.height)
    }

    /// A boundary was written: the state is offered as a snapshot, and blocks that are old are dropped.
    pub fn offer_snapshot(&mut self, height: Height) {
        let sealed = self.blocks.get(&height).and_then(|kept| Sealed::of(&kept.block, &kept.certificate).ok());
        if let Some(sealed) = sealed {
            let below = self.snapshots.offer(height, sealed, &self.state);
            self.blocks = self.blocks.split_off(&below);
        }
    }

    /// Puts the snapshot that has arrived in place of the state, with the headers of the terms before it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn restore(&mut self, network: &NetworkId, terms: &[TermLink]) -> Result<(), String> {
        let (_, sealed, state) = self.snapshots.restored(network)?;
        self.state = state;
        self.blocks.clear();
        // What was voted above stays, and with it what is known of that memory.
        let height = self.height();
        self.journal.retain(|entry| entry.height.0 > height.0);
        self.unsynced.clear();
        terms.iter().map(|link| link.sealed.clone()).chain([sealed]).for_each(|one| self.snapshots.keep_header(one));
        Ok(())
    }

    /// A copy of everything that is on it, as a backup takes it. Blobs on their way in stay with the original.
    #[must_use]
    pub fn copied(&self) -> Disk {
        Disk {
            state: self.state.clone(),
            blocks: self.blocks.clone(),
            journal: self.journal.clone(),
            unsynced: Vec::new(),
            fragments: self.fragments.copied(),
            spools: BTreeMap::new(),
            snapshots: self.snapshots.clone(),
            network: self.network,
            sealed: self.sealed.clone(),
            memory: self.memory,
        }
    }

    /// Appends to the journal. A sync makes everything written before it durable, too.
    pub fn append_journal(&mut self, entries: Vec<JournalEntry>, sync: Sync) {
        self.unsynced.push(Batch::Journal(entries.len()));
        self.journal.extend(entries);
        if sync == Sync::Now {
            self.unsynced.clear();
        }
    }

    /// The journal's entries above the newest block.
    #[must_use]
    pub fn journal_above(&self, height: Height) -> Vec<JournalEntry> {
        self.journal.iter().filter(|entry| entry.height.0 > height.0).cloned().collect()
    }

    /// Writes a decided block with all that follows from it, in one batch. It is not synced: the journal's next sync
    /// covers it.
    pub fn commit(&mut self, height: Height, decided: DecidedBlock, changes: &ChangeSet) {
        let before = changes.0.keys().map(|key| (key.clone(), self.state.get(key).ok().flatten()));
        let values = ChangeSet(before.collect());
        let journal = self.journal_above(height);
        let journal = std::mem::replace(&mut self.journal, journal);
        self.state.apply(changes);
        self.blocks.insert(height, decided);
        self.unsynced.push(Batch::Commit(Box::new(Undo { height, values, journal })));
    }

    /// Somebody deletes the journal: what a villain does that wants to sign twice.
    pub fn forget_journal(&mut self) {
        self.journal.clear();
        self.unsynced.clear();
    }

    /// The machine lost power: of what was not synced, everything from some batch on is gone. Answers how many batches.
    pub fn lose_power(&mut self, chance: &mut Chance) -> usize {
        let durable = chance.below(self.unsynced.len() as u64 + 1) as usize;
        let gone = self.unsynced.split_off(durable);
        self.unsynced.clear();
        let count = gone.len();
        for batch in gone.into_iter().rev() {
            match batch {
                Batch::Journal(entries) => self.journal.truncate(self.journal.len() - entries),
                Batch::Commit(undo) => {
                    self.state.apply(&undo.values);
                    self.blocks.remove(&undo.height);
                    self.journal = undo.journal;
                }
            }
        }
        count + self.fragments.lose_power(chance)
    }
}

impl Served for Disk {
    fn terms(&self, after: Epoch, bytes_max: usize) -> Vec<TermLink> {
        let certificates = CommitCertificates::of(self.network);
        links(after, bytes_max, &self.state, &self.snapshots, &certificates).unwrap_or_default()
    }

    fn outline(&self) -> Option<Outline> {
        self.snapshots.newest().map(|offered| offered.outline.clone())
    }

    fn part(&self, height: Height, index: u32) -> Option<Vec<u8>> {
        self.snapshots.at(height)?.parts.get(index as usize).cloned()
    }

    fn chunk(&self, height: Height, index: u32) -> Option<Vec<u8>> {
        self.snapshots.at(height)?.chunks.get(index as usize).cloned()
    }
}

impl DecidedBlocks for Disk {
    fn decided(&self, height: Height) -> Option<DecidedBlock> {
        self.blocks.get(&height).cloned()
    }

    fn oldest(&self) -> Height {
        self.blocks.first_key_value().map_or(self.height().next(), |(oldest, _)| *oldest)
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
    fn a_block_that_was_not_synced_goes_whole_and_brings_its_journal_back() {
        let mut chance = Chance::new(1, Stream::Process);
        let changes = |value: u8| ChangeSet([(vec![1], Some(vec![value]))].into());
        let decided = DecidedBlock { block: vec![1], certificate: vec![2] };
        let mut heights = [0; 3];
        for _ in 0..100 {
            let mut disk = Disk::new(MemoryState::new(), FragmentDisk::new(Sync::Now));
            disk.append_journal(vec![entry(1)], Sync::Now);
            disk.commit(Height(1), decided.clone(), &changes(1));
            disk.append_journal(vec![entry(2)], Sync::Never);
            disk.commit(Height(2), decided.clone(), &changes(2));
            disk.lose_power(&mut chance);
            let height = disk.blocks.len();
            heights[height] += 1;
            let value = disk.state.get(&[1]).unwrap();
            assert_eq!(value, (height > 0).then(|| vec![height as u8]));
            let expected: &[_] = if height == 0 { &[entry(1)] } else { &[] };
            let journal = disk.journal_above(Height(height as u64));
            assert!(journal == expected || (height == 1 && journal == [entry(2)]));
        }
        assert!(heights.iter().all(|count| *count > 0), "{heights:?}");
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
