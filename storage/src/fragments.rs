//! Fragments in RocksDB: the store that custody is given.
//!
//! ```text
//! stage    marker             unsynced   room is set aside
//! append   chunks             unsynced
//! keep     last chunks, records, index, markers gone    one synced batch
//! drop     records and index by the thousand, then the chunks of the groups as one range
//! ```
//!
//! # Laws
//! - **FR-1** When `keep` has returned, fragments and records survive the loss of power: the chunks were written before
//!   the batch and the batch syncs the log up to its own end, see [`Inner::write_synced`].
//! - **FR-2** Bytes read are the bytes staged, or an error: [`crate::chunk`].
//! - **FR-3** What was staged and not kept is not listed and leaves nothing: [`crate::staged`].
//!
//! # Not here
//! Which fragments to accept, and when a group may go: custody. A second copy of the same fragment in another group is
//! kept beside the first; in the same group it takes its place.

use crate::chunk::Extent;
use crate::columns::{
    Column, StoredFragment, confirmation_group_key, confirmation_group_of, confirmation_key, fragment_key, index_group,
    index_key, index_range, number, number_of,
};
use crate::columns::{StagedMarker, chunk_key};
use crate::error::StorageError;
use crate::staged::Staged;
use crate::store::{Inner, Store, locked};
use floe_machines::fragments::{
    ConfirmationRecord, FragmentKey, FragmentRecord, FragmentStore, StagedFragment, StoreError,
};
use floe_types::{BlobId, Epoch, PairIndex, RegistrationNumber, codec};
use rocksdb::{BottommostLevelCompaction, CompactOptions, Direction, IteratorMode, ReadOptions, WriteBatch};
use std::sync::Arc;

/// The longest encoded record in bytes: the proof is a few hundred, in the largest network some thousand.
pub const RECORD_BYTES_MAX: usize = 256 << 10;
/// Records removed by one batch while groups are dropped.
const DROP_STEP: usize = 1_000;
/// Fragments are moved together while more than one in this many bytes of their files is garbage.
const GARBAGE_SHARE: u64 = 4;
/// Below so many files all of them are looked at when fragments are moved together, else the older half.
const FEW_FILES: u64 = 8;

/// How room is won back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reclaiming {
    /// As the database sorts anyway.
    InPassing,
    /// All files should be gone through: there are few, and much in them is garbage.
    AllFiles,
}

type Staging = Vec<(FragmentRecord, Box<dyn StagedFragment>)>;

impl FragmentStore for Store {
    fn stage(&self, key: FragmentKey, bytes: u64) -> Result<Box<dyn StagedFragment>, StoreError> {
        Ok(Box::new(Staged::begin(Arc::clone(&self.inner), key, bytes)?))
    }

    fn keep(&self, fragments: Staging) -> Result<(), StoreError> {
        let mut arrived = Vec::with_capacity(fragments.len());
        for (record, staged) in fragments {
            arrived.push((record, self.own(staged)?));
        }
        let needed = arrived.iter().map(|(_, staged)| staged.extent.bytes).fold(0, u64::saturating_add);
        let _keeping = locked(&self.inner.keeping);
        let mut batch = WriteBatch::default();
        let mut replaced = Vec::new();
        for (record, staged) in &mut arrived {
            replaced.extend(self.inner.keep_one(&mut batch, record, staged)?);
        }
        for (_, staged) in &mut arrived {
            // From here on a failure does not tell whether the batch is in the log. The next opening finds out.
            staged.leave();
        }
        self.inner.write_synced(batch, "keeping fragments").map_err(|error| error.for_fragments(needed))?;
        for (record, staged) in &arrived {
            self.inner.space.keep(record.key.group, staged.extent.bytes);
        }
        for extent in replaced {
            self.inner.space.release(extent.key.group, extent.bytes);
        }
        Ok(())
    }

    fn record(&self, blob: &BlobId, pair: PairIndex) -> Result<Option<FragmentRecord>, StoreError> {
        let Some(key) = self.inner.latest(blob, pair)? else { return Ok(None) };
        Ok(self.inner.stored(&key)?.map(|stored| stored.record))
    }

    fn read_at(&self, record: &FragmentRecord, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let FragmentKey { blob, pair, .. } = record.key;
        let stored = self.inner.stored(&record.key)?.ok_or(StoreError::Absent { blob, pair })?;
        let extent = stored.extent();
        let end = offset.saturating_add(buffer.len() as u64);
        if end > extent.bytes {
            return Err(extent.beyond(offset, end));
        }
        extent.read_at(&self.inner, buffer, offset)
    }

    fn records_after(&self, after: Option<FragmentKey>, limit: usize) -> Result<Vec<FragmentRecord>, StoreError> {
        let stored = self.inner.stored_after(after.as_ref(), limit).map_err(|error| error.for_fragments(0))?;
        Ok(stored.into_iter().map(|stored| stored.record).collect())
    }

    fn keep_confirmation(&self, confirmation: &ConfirmationRecord) -> Result<(), StoreError> {
        let _keeping = locked(&self.inner.keeping);
        self.inner.put_confirmation(confirmation).map_err(|error| error.for_fragments(0))
    }

    fn confirmations_after(
        &self,
        after: Option<RegistrationNumber>,
        limit: usize,
    ) -> Result<Vec<ConfirmationRecord>, StoreError> {
        self.inner.list_confirmations(after, limit).map_err(|error| error.for_fragments(0))
    }

    fn discard(&self, key: &FragmentKey) -> Result<(), StoreError> {
        let _keeping = locked(&self.inner.keeping);
        let Some(stored) = self.inner.stored(key)? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.inner.column(Column::Fragments), fragment_key(key));
        batch.delete_cf(self.inner.column(Column::FragmentIndex), index_key(key));
        self.inner.remove_chunks(&mut batch, &stored.extent());
        self.inner.write_synced(batch, "removing a damaged fragment").map_err(|error| error.for_fragments(0))?;
        self.inner.space.release(key.group, stored.bytes);
        Ok(())
    }

    fn drop_groups(&self, up_to: Epoch) -> Result<u64, StoreError> {
        // Before waiting for a keep under way: what it keeps is then dropped too.
        self.inner.space.drop_up_to(up_to);
        let _keeping = locked(&self.inner.keeping);
        self.inner.drop_groups(up_to).map_err(|error| error.for_fragments(0))
    }
}

impl Store {
    /// The staged fragment as this store made it.
    fn own(&self, staged: Box<dyn StagedFragment>) -> Result<Staged, StoreError> {
        let foreign = || StoreError::Io("a fragment staged by another store".to_owned());
        let staged = staged.into_any().downcast::<Staged>().map_err(|_| foreign())?;
        if Arc::ptr_eq(&staged.inner, &self.inner) { Ok(*staged) } else { Err(foreign()) }
    }
}

impl StoredFragment {
    fn extent(&self) -> Extent {
        Extent { key: self.record.key, stage: self.stage, bytes: self.bytes }
    }
}

fn decoded<T>(bytes: &[u8], max: usize, during: &'static str) -> Result<T, StorageError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    codec::decode(bytes, max).map_err(|error| StorageError::Damaged { during, reason: error.to_string() })
}

fn bad_key(during: &'static str) -> StorageError {
    StorageError::Damaged { during, reason: "a key of the wrong length".to_owned() }
}

impl Inner {
    /// Adds one fragment to `batch`; answers the extent whose place it takes.
    fn keep_one(
        &self,
        batch: &mut WriteBatch,
        record: &FragmentRecord,
        staged: &mut Staged,
    ) -> Result<Option<Extent>, StoreError> {
        let Extent { key, stage, bytes } = staged.extent;
        if record.key != key {
            return Err(StoreError::Io(format!("the record of {:?} for the bytes of {key:?}", record.key)));
        }
        if self.space.is_dropped(key.group) {
            return Err(StoreError::Dropped { group: key.group });
        }
        staged.finish(batch)?;
        let value = codec::encode(&StoredFragment { record: record.clone(), stage, bytes });
        if value.len() > RECORD_BYTES_MAX {
            return Err(StoreError::Io(format!("a record of {} bytes, at most {RECORD_BYTES_MAX}", value.len())));
        }
        let replaced = self.stored(&key)?.map(|stored| stored.extent());
        if let Some(extent) = &replaced {
            self.remove_chunks(batch, extent);
        }
        batch.put_cf(self.column(Column::Fragments), fragment_key(&key), value);
        batch.put_cf(self.column(Column::FragmentIndex), index_key(&key), number(bytes));
        batch.delete_cf(self.column(Column::Staging), number(stage));
        Ok(replaced)
    }

    /// Where the copy of the latest group lies.
    fn latest(&self, blob: &BlobId, pair: PairIndex) -> Result<Option<FragmentKey>, StoreError> {
        const DURING: &str = "looking for a fragment";
        let (first, last) = index_range(blob, pair);
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(first);
        let mode = IteratorMode::From(&last, Direction::Reverse);
        let mut entries = self.db.iterator_cf_opt(self.column(Column::FragmentIndex), options, mode);
        let Some(entry) = entries.next() else { return Ok(None) };
        let (key, _) = entry.map_err(|error| StorageError::of(DURING, &error).for_fragments(0))?;
        let group = index_group(&key).ok_or_else(|| bad_key(DURING).for_fragments(0))?;
        Ok(Some(FragmentKey { group, blob: *blob, pair }))
    }

    /// What is kept under `key`.
    pub fn stored(&self, key: &FragmentKey) -> Result<Option<StoredFragment>, StoreError> {
        const DURING: &str = "reading a record";
        let read = || -> Result<Option<StoredFragment>, StorageError> {
            let bytes = self.get(Column::Fragments, &fragment_key(key), DURING)?;
            bytes.map(|bytes| decoded(&bytes, RECORD_BYTES_MAX, DURING)).transpose()
        };
        read().map_err(|error| error.for_fragments(0))
    }

    fn stored_after(&self, after: Option<&FragmentKey>, limit: usize) -> Result<Vec<StoredFragment>, StorageError> {
        const DURING: &str = "listing fragments";
        let start = after.map(fragment_key);
        let mode = start.as_ref().map_or(IteratorMode::Start, |key| IteratorMode::From(key, Direction::Forward));
        let mut listed = Vec::new();
        for entry in self.db.iterator_cf(self.column(Column::Fragments), mode) {
            let (key, value) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            if start.as_ref().is_some_and(|start| key.as_ref() == start) {
                continue;
            }
            if listed.len() >= limit {
                break;
            }
            listed.push(decoded(&value, RECORD_BYTES_MAX, DURING)?);
        }
        Ok(listed)
    }

    /// Adds up what is kept.
    pub fn load_totals(&self) -> Result<(), StorageError> {
        const DURING: &str = "adding up fragments";
        for entry in self.db.iterator_cf(self.column(Column::FragmentIndex), IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            let group = index_group(&key).ok_or_else(|| bad_key(DURING))?;
            let bytes = number_of(&value).ok_or_else(|| bad_key(DURING))?;
            self.space.keep(group, bytes);
        }
        Ok(())
    }

    /// Removes what was arriving when the store was closed (FR-3); answers how many fragments that were.
    pub fn remove_abandoned(&self) -> Result<u64, StorageError> {
        const DURING: &str = "removing what was arriving";
        let mut count = 0u64;
        for entry in self.db.iterator_cf(self.column(Column::Staging), IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            let stage = number_of(&key).ok_or_else(|| bad_key(DURING))?;
            let marker: StagedMarker = decoded(&value, 256, DURING)?;
            let stored = self.get(Column::Fragments, &fragment_key(&marker.key), DURING)?;
            let stored: Option<StoredFragment> =
                stored.map(|bytes| decoded(&bytes, RECORD_BYTES_MAX, DURING)).transpose()?;
            let mut batch = WriteBatch::default();
            // The marker goes with the batch that keeps, so a kept fragment has none. Looking costs nothing.
            if stored.is_none_or(|stored| stored.stage != stage) {
                self.remove_chunks(&mut batch, &Extent { key: marker.key, stage, bytes: marker.bytes });
                count = count.saturating_add(1);
            }
            batch.delete_cf(self.column(Column::Staging), key);
            self.write_unsynced(batch, DURING)?;
        }
        Ok(count)
    }

    fn put_confirmation(&self, confirmation: &ConfirmationRecord) -> Result<(), StorageError> {
        const DURING: &str = "keeping a confirmation";
        let column = self.column(Column::Confirmations);
        let key = confirmation_key(confirmation.registration);
        let mut batch = WriteBatch::default();
        if let Some(bytes) = self.get(Column::Confirmations, &key, DURING)? {
            let old: ConfirmationRecord = decoded(&bytes, RECORD_BYTES_MAX, DURING)?;
            batch.delete_cf(column, confirmation_group_key(old.group, old.registration));
        }
        let value = codec::encode(confirmation);
        if value.len() > RECORD_BYTES_MAX {
            let (found, max) = (value.len() as u64, RECORD_BYTES_MAX as u64);
            return Err(StorageError::TooLong { what: "confirmation", found, max });
        }
        batch.put_cf(column, key, value);
        batch.put_cf(column, confirmation_group_key(confirmation.group, confirmation.registration), []);
        self.write_synced(batch, DURING)
    }

    fn list_confirmations(
        &self,
        after: Option<RegistrationNumber>,
        limit: usize,
    ) -> Result<Vec<ConfirmationRecord>, StorageError> {
        const DURING: &str = "listing confirmations";
        let first = match after {
            None => RegistrationNumber(0),
            Some(RegistrationNumber(u64::MAX)) => return Ok(Vec::new()),
            Some(after) => RegistrationNumber(after.0.saturating_add(1)),
        };
        let start = confirmation_key(first);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let entries = self.db.iterator_cf(self.column(Column::Confirmations), mode);
        entries
            .take(limit)
            .map(|entry| {
                let (_, value) = entry.map_err(|error| StorageError::of(DURING, &error))?;
                decoded(&value, RECORD_BYTES_MAX, DURING)
            })
            .collect()
    }

    /// Drops groups in steps, each whole, so that dying in between leaves a store in which some are dropped: records go
    /// before their bytes, and asking again finishes the work.
    fn drop_groups(&self, up_to: Epoch) -> Result<u64, StorageError> {
        const DURING: &str = "dropping groups";
        let mut given_up = 0u64;
        loop {
            let mut step = self.stored_after(None, DROP_STEP)?;
            step.retain(|stored| stored.record.key.group <= up_to);
            if step.is_empty() {
                break;
            }
            let mut batch = WriteBatch::default();
            for stored in &step {
                batch.delete_cf(self.column(Column::Fragments), fragment_key(&stored.record.key));
                batch.delete_cf(self.column(Column::FragmentIndex), index_key(&stored.record.key));
            }
            self.write_unsynced(batch, DURING)?;
            for stored in &step {
                self.space.release(stored.record.key.group, stored.bytes);
                given_up = given_up.saturating_add(stored.bytes);
            }
        }
        self.drop_confirmations(up_to)?;
        self.drop_chunks(up_to)?;
        Ok(given_up)
    }

    fn drop_confirmations(&self, up_to: Epoch) -> Result<(), StorageError> {
        const DURING: &str = "dropping confirmations";
        let column = self.column(Column::Confirmations);
        let mut options = ReadOptions::default();
        // Keys with `g` come before those with `r`.
        options.set_iterate_upper_bound(b"h".to_vec());
        let mut batch = WriteBatch::default();
        for entry in self.db.iterator_cf_opt(column, options, IteratorMode::Start) {
            let (key, _) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            let Some((group, registration)) = confirmation_group_of(&key) else { return Err(bad_key(DURING)) };
            if group > up_to {
                break;
            }
            batch.delete_cf(column, &key);
            batch.delete_cf(column, confirmation_key(registration));
            if batch.len() >= DROP_STEP {
                self.write_unsynced(std::mem::take(&mut batch), DURING)?;
            }
        }
        self.write_synced(batch, DURING)
    }

    /// Removes the chunks of all groups up to `up_to` as one range and has the database give up their files.
    fn drop_chunks(&self, up_to: Epoch) -> Result<(), StorageError> {
        const DURING: &str = "dropping the bytes of groups";
        let column = self.column(Column::FragmentData);
        let least = |group| FragmentKey { group, blob: BlobId([0; 32]), pair: PairIndex(0) };
        let from = chunk_key(&least(Epoch(0)), 0, 0).to_vec();
        // A key longer than any chunk's lies behind every chunk of the last group.
        let to = match up_to.0.checked_add(1) {
            Some(next) => chunk_key(&least(Epoch(next)), 0, 0).to_vec(),
            None => vec![u8::MAX; 55],
        };
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(column, &from, &to);
        self.write_synced(batch, DURING)?;
        if self.is_disk_full() {
            // Sorting would wait for room, without end. The database does it when there is some.
            return Ok(());
        }
        self.db.compact_range_cf(column, Some(&from), Some(&to));
        if self.tune_reclaiming()? == Reclaiming::AllFiles {
            // What shares a file with what is gone is moved now: a store that is idle would wait for it without end.
            let mut options = CompactOptions::default();
            options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
            self.db.compact_range_cf_opt(column, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    /// Has the database move fragments together while much of their files is garbage, and not otherwise, nor after it has
    /// met damage. Files in which everything is garbage it removes by itself.
    fn tune_reclaiming(&self) -> Result<Reclaiming, StorageError> {
        const DURING: &str = "reclaiming space";
        let column = self.column(Column::FragmentData);
        let files = self.blob_files()?;
        let much = files.garbage > files.bytes / GARBAGE_SHARE && !self.damage.is_there();
        let choice = if much { "true" } else { "false" };
        // The older half of few files may be none at all, and the one file that two groups share would stay for good.
        let few = files.count < FEW_FILES;
        let oldest = if few { "1.0" } else { "0.5" };
        self.db
            .set_options_cf(
                column,
                &[("blob_garbage_collection_age_cutoff", oldest), ("enable_blob_garbage_collection", choice)],
            )
            .map_err(|error| StorageError::of(DURING, &error))?;
        Ok(if much && few { Reclaiming::AllFiles } else { Reclaiming::InPassing })
    }

    /// The files of fragments.
    pub fn blob_files(&self) -> Result<BlobFiles, StorageError> {
        const DURING: &str = "measuring files of fragments";
        let column = self.column(Column::FragmentData);
        let ask = |name: &std::ffi::CStr| {
            let found = self.db.property_int_value_cf(column, name);
            found.map(Option::unwrap_or_default).map_err(|error| StorageError::of(DURING, &error))
        };
        Ok(BlobFiles {
            count: ask(c"rocksdb.num-blob-files")?,
            bytes: ask(c"rocksdb.live-blob-file-size")?,
            garbage: ask(c"rocksdb.live-blob-file-garbage-size")?,
        })
    }
}

/// The files in which fragments lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobFiles {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of those that nothing refers to.
    pub garbage: u64,
}
