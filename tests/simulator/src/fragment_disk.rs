//! The fragment store on a virtual disk: what a holder's shell keeps fragments in.
//!
//! Everything kept is synced when the call returns; a mutant's disk says so of fragments and does not sync them, and then
//! a power loss takes them, though not the confirmations that rest on them. Reading sees what was written whether synced or not, as a page cache would show it.

use crate::chance::Chance;
use crate::disk::Sync;
use floe_erasure::PairIndex;
use floe_machines::fragments::{
    ConfirmationRecord, FragmentKey, FragmentRecord, FragmentStore, StagedFragment, StoreError,
};
use floe_types::{BlobId, Epoch, RegistrationNumber};
use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A fragment store. Cheap to clone: clones are the same store.
#[derive(Clone, Debug)]
pub struct FragmentDisk {
    kept: Arc<Mutex<Kept>>,
    sync: Sync,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    fragments: BTreeMap<FragmentKey, (FragmentRecord, Vec<u8>)>,
    confirmations: BTreeMap<RegistrationNumber, ConfirmationRecord>,
    /// What was written and not synced, batch by batch.
    unsynced: Vec<Vec<FragmentKey>>,
}

impl FragmentDisk {
    /// An empty store that syncs what it keeps, or (a mutant's) does not.
    #[must_use]
    pub fn new(sync: Sync) -> FragmentDisk {
        FragmentDisk { kept: Arc::default(), sync }
    }

    /// Another store with the same in it.
    #[must_use]
    pub fn copied(&self) -> FragmentDisk {
        FragmentDisk { kept: Arc::new(Mutex::new(self.kept().clone())), sync: self.sync }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, kept: &mut Kept, batch: Vec<FragmentKey>) {
        if self.sync == Sync::Never {
            kept.unsynced.push(batch);
        }
    }

    /// The machine lost power. Answers how many writes are gone.
    pub fn lose_power(&self, chance: &mut Chance) -> usize {
        let mut kept = self.kept();
        let durable = chance.below(kept.unsynced.len() as u64 + 1) as usize;
        let gone = kept.unsynced.split_off(durable);
        kept.unsynced.clear();
        for key in gone.iter().flatten() {
            kept.fragments.remove(key);
        }
        gone.len()
    }

    /// Keeps a copy of a fragment under another group, unless there is a later one.
    ///
    /// # Errors
    /// [`StoreError::Absent`] when there is no such fragment.
    pub fn refile(&self, key: FragmentKey, group: Epoch) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let absent = StoreError::Absent { blob: key.blob, pair: key.pair };
        let (record, bytes) = kept.fragments.get(&key).cloned().ok_or(absent)?;
        let copy = FragmentKey { group, ..key };
        if kept.fragments.insert(copy, (FragmentRecord { key: copy, ..record }, bytes)).is_none() {
            self.written(&mut kept, vec![copy]);
        }
        Ok(())
    }

    /// Where the kept fragments of a blob lie, the latest group of each pair.
    #[must_use]
    pub fn of_blob(&self, blob: &BlobId) -> Vec<FragmentKey> {
        let mut latest = BTreeMap::new();
        for key in self.kept().fragments.keys().filter(|key| key.blob == *blob) {
            latest.insert(key.pair, *key);
        }
        latest.into_values().collect()
    }
}

/// A fragment on its way in, in memory.
struct Staging {
    key: FragmentKey,
    announced: u64,
    bytes: Vec<u8>,
}

fn piece(bytes: &[u8], offset: u64, length: usize) -> Result<&[u8], StoreError> {
    let end = offset.saturating_add(length as u64);
    let beyond = StoreError::Beyond { offset, end, length: bytes.len() as u64 };
    let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    range.and_then(|(from, to)| bytes.get(from..to)).ok_or(beyond)
}

impl StagedFragment for Staging {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let (offset, end) = (self.bytes.len() as u64, (self.bytes.len() + bytes.len()) as u64);
        if end > self.announced {
            return Err(StoreError::Beyond { offset, end, length: self.announced });
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        buffer.copy_from_slice(piece(&self.bytes, offset, buffer.len())?);
        Ok(())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

impl FragmentStore for FragmentDisk {
    fn stage(&self, key: FragmentKey, bytes: u64) -> Result<Box<dyn StagedFragment>, StoreError> {
        Ok(Box::new(Staging { key, announced: bytes, bytes: Vec::new() }))
    }

    fn keep(&self, fragments: Vec<(FragmentRecord, Box<dyn StagedFragment>)>) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let mut fresh = Vec::new();
        for (record, staged) in fragments {
            let staging = staged.into_any().downcast::<Staging>();
            let staging = staging.map_err(|_| StoreError::Io("staged by another store".to_owned()))?;
            if staging.key != record.key {
                return Err(StoreError::Io("staged under another key".to_owned()));
            }
            if kept.fragments.insert(record.key, (record.clone(), staging.bytes)).is_none() {
                fresh.push(record.key);
            }
        }
        self.written(&mut kept, fresh);
        Ok(())
    }

    fn record(&self, blob: &BlobId, pair: PairIndex) -> Result<Option<FragmentRecord>, StoreError> {
        let kept = self.kept();
        let of_pair = kept.fragments.values().filter(|(record, _)| record.key.blob == *blob && record.key.pair == pair);
        Ok(of_pair.map(|(record, _)| record).max_by_key(|record| record.key.group).cloned())
    }

    fn read_at(&self, record: &FragmentRecord, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let kept = self.kept();
        let found = kept.fragments.get(&record.key);
        let (_, bytes) = found.ok_or_else(|| StoreError::Io("the fragment was dropped".to_owned()))?;
        buffer.copy_from_slice(piece(bytes, offset, buffer.len())?);
        Ok(())
    }

    fn records_after(&self, after: Option<FragmentKey>, limit: usize) -> Result<Vec<FragmentRecord>, StoreError> {
        let kept = self.kept();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(kept.fragments.range((from, Bound::Unbounded)).take(limit).map(|(_, (record, _))| record.clone()).collect())
    }

    fn keep_confirmation(&self, confirmation: &ConfirmationRecord) -> Result<(), StoreError> {
        self.kept().confirmations.insert(confirmation.registration, confirmation.clone());
        Ok(())
    }

    fn confirmations_after(
        &self,
        after: Option<RegistrationNumber>,
        limit: usize,
    ) -> Result<Vec<ConfirmationRecord>, StoreError> {
        let kept = self.kept();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(kept.confirmations.range((from, Bound::Unbounded)).take(limit).map(|(_, record)| record.clone()).collect())
    }

    fn discard(&self, key: &FragmentKey) -> Result<(), StoreError> {
        self.kept().fragments.remove(key);
        Ok(())
    }

    fn drop_groups(&self, up_to: Epoch) -> Result<u64, StoreError> {
        let mut kept = self.kept();
        let before: usize = kept.fragments.values().map(|(_, bytes)| bytes.len()).sum();
        kept.fragments.retain(|key, _| key.group > up_to);
        kept.confirmations.retain(|_, record| record.group > up_to);
        let after: usize = kept.fragments.values().map(|(_, bytes)| bytes.len()).sum();
        Ok((before - after) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Stream;

    fn keep_one(disk: &FragmentDisk, pair: u16) {
        let key = FragmentKey { group: Epoch(4), blob: BlobId([7; 32]), pair: PairIndex(pair) };
        let mut staged = disk.stage(key, 3).unwrap();
        staged.append(b"abc").unwrap();
        assert!(staged.append(b"d").is_err());
        let record = FragmentRecord { key, registration: RegistrationNumber(1), blob_bytes: 3, proof: Vec::new() };
        disk.keep(vec![(record, staged)]).unwrap();
    }

    #[test]
    fn what_is_kept_survives_power_loss_unless_the_disk_lies() {
        let mut chance = Chance::new(1, Stream::Process);
        let honest = FragmentDisk::new(Sync::Now);
        keep_one(&honest, 1);
        assert_eq!(honest.lose_power(&mut chance), 0);
        assert!(honest.record(&BlobId([7; 32]), PairIndex(1)).unwrap().is_some());

        let lying = FragmentDisk::new(Sync::Never);
        (0..20).for_each(|pair| keep_one(&lying, pair));
        assert_eq!(lying.of_blob(&BlobId([7; 32])).len(), 20);
        assert!(lying.lose_power(&mut chance) > 0);
        assert!(lying.of_blob(&BlobId([7; 32])).len() < 20);
    }

    #[test]
    fn a_dropped_group_is_gone() {
        let disk = FragmentDisk::new(Sync::Now);
        keep_one(&disk, 1);
        assert_eq!(disk.drop_groups(Epoch(3)).unwrap(), 0);
        assert_eq!(disk.drop_groups(Epoch(4)).unwrap(), 3);
        assert!(disk.records_after(None, 9).unwrap().is_empty());
    }
}
