//! What the store says about itself, for metrics and the status page.

use crate::columns::Column;
use crate::error::StorageError;
use crate::fragments::BlobFiles;
use crate::space::{Disk, Totals};
use crate::store::{Inner, Store, locked};
use floe_types::{Epoch, Height};
use rocksdb::properties;

/// A look at the store. Bytes and counts are of now and not of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The last committed height; `None` before genesis.
    pub last_height: Option<Height>,
    /// Entries of the journal for heights not decided yet.
    pub journal_entries: u64,
    /// Their bytes.
    pub journal_bytes: u64,
    /// Kept fragments.
    pub kept: Totals,
    /// Fragments arriving, with the bytes announced for them.
    pub arriving: Totals,
    /// Kept fragments by group, in order.
    pub groups: Vec<(Epoch, Totals)>,
    /// Unfinished uploads.
    pub uploads: u64,
    /// The disk.
    pub disk: Disk,
    /// Bytes of the disk that fragments leave free.
    pub reserve_bytes: u64,
    /// Bytes that fragments may still use.
    pub room_bytes: u64,
    /// Bytes of files by column, without the files of fragments.
    pub table_bytes: Vec<(Column, u64)>,
    /// The files of fragments.
    pub blob_files: BlobFiles,
    /// Bytes in memory that are not in files yet.
    pub buffer_bytes: u64,
    /// Bytes of the cache in use.
    pub cache_bytes: u64,
    /// Bytes that sorting is behind.
    pub pending_compaction_bytes: u64,
    /// Whether the database takes writes at full speed.
    pub writes: Writes,
    /// Background work that failed since opening. Above zero: look at the disk.
    pub background_errors: u64,
    /// Times the high-water mark could not be written since opening.
    pub mark_failures: u64,
}

/// How the database takes writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// As they come.
    #[default]
    Free,
    /// Slowed down, so that sorting keeps up.
    Slowed {
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// Not at all, until sorting has caught up or the disk has room.
    Stopped,
}

/// How full the disk is with fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLeft {
    /// Bytes of kept fragments.
    pub used: u64,
    /// Bytes that fragments may still use.
    pub left: u64,
}

impl Store {
    /// How full the disk is with fragments. Asks the system, nothing else.
    ///
    /// # Errors
    /// What the disk says.
    pub fn room(&self) -> Result<RoomLeft, StorageError> {
        let disk = self.inner.disk_for("asking for room")?;
        Ok(RoomLeft { used: self.inner.space.kept().bytes, left: self.inner.space.room(disk) })
    }

    /// A look at the store. Costs well below a millisecond.
    ///
    /// # Errors
    /// What the disk says.
    pub fn statistics(&self) -> Result<Statistics, StorageError> {
        let inner = &self.inner;
        let disk = inner.disk_for("asking for free space")?;
        let (last_height, journal_entries, journal_bytes) = {
            let chain = locked(&inner.chain);
            (chain.last, chain.journal.entries(), chain.journal.bytes())
        };
        let over_columns = |name| inner.sum_property(name);
        Ok(Statistics {
            last_height,
            journal_entries,
            journal_bytes,
            kept: inner.space.kept(),
            arriving: inner.space.arriving(),
            groups: inner.space.groups(),
            uploads: *locked(&inner.uploads),
            disk,
            reserve_bytes: inner.space.reserve(disk),
            room_bytes: inner.space.room(disk),
            table_bytes: Column::ALL
                .map(|column| (column, inner.property(column, properties::LIVE_SST_FILES_SIZE)))
                .to_vec(),
            blob_files: inner.blob_files()?,
            buffer_bytes: over_columns(properties::CUR_SIZE_ALL_MEM_TABLES),
            cache_bytes: inner.cache.get_usage() as u64,
            pending_compaction_bytes: over_columns(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            writes: inner.writes(),
            background_errors: inner.property(Column::Meta, properties::BACKGROUND_ERRORS),
            mark_failures: inner.mark_failures(),
        })
    }
}

impl Inner {
    fn disk_for(&self, during: &'static str) -> Result<Disk, StorageError> {
        Disk::of(&self.directory).map_err(|error| StorageError::Io { during, reason: error.to_string() })
    }

    /// A number the database keeps of a column; 0 when it does not say.
    fn property(&self, column: Column, name: &rocksdb::properties::PropName) -> u64 {
        self.db.property_int_value_cf(self.column(column), name).ok().flatten().unwrap_or(0)
    }

    fn sum_property(&self, name: &rocksdb::properties::PropName) -> u64 {
        Column::ALL.iter().fold(0, |sum, column| sum.saturating_add(self.property(*column, name)))
    }

    fn writes(&self) -> Writes {
        if self.property(Column::Meta, properties::IS_WRITE_STOPPED) > 0 {
            return Writes::Stopped;
        }
        match self.property(Column::Meta, properties::ACTUAL_DELAYED_WRITE_RATE) {
            0 => Writes::Free,
            bytes_per_second => Writes::Slowed { bytes_per_second },
        }
    }
}
