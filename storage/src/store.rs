//! The open store: one database of one storage node, shared by clones.

use crate::columns::{Column, meta, number_of};
use crate::config::StoreConfig;
use crate::damage::DamageNote;
use crate::error::StorageError;
use crate::journal::JournalTail;
use crate::mark::Mark;
use crate::open::{self, Identity, OpenError};
use crate::options;
use crate::space::{Disk, Space};
use floe_types::{Height, NetworkId};
use rocksdb::{Cache, ColumnFamily, DB, WriteBatch, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a write waits for the disk to catch up, how long when the disk is full, and how often it tries.
const PATIENCE: Duration = Duration::from_secs(10);
const FULL_DISK_PATIENCE: Duration = Duration::from_millis(500);
const GLANCE: Duration = Duration::from_millis(1);

/// What one storage node remembers. Cheap to clone; the database closes when the last clone and the last fragment
/// arriving through it are dropped. Every call blocks: a shell runs them on threads of their own.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// What opening found, for the log and the counters of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpeningReport {
    /// Times the store was opened, this one included. 1 for a new one.
    pub openings: u64,
    /// Acknowledged changes that are gone and that the operator accepted to lose.
    pub lost_writes: u64,
    /// Fragments that were arriving when the node stopped and that were removed.
    pub abandoned: u64,
    /// Whether damage had stopped an earlier run and its fragments have not been verified since:
    /// [`Store::fragments_verified`].
    pub damage_noted: bool,
    /// Kept fragments.
    pub fragments: u64,
    /// Their bytes.
    pub fragment_bytes: u64,
}

pub(crate) struct Inner {
    pub db: DB,
    pub cache: Cache,
    pub directory: PathBuf,
    pub config: StoreConfig,
    pub space: Space,
    pub chain: Mutex<Chain>,
    /// One at a time changes which fragments and confirmations are kept.
    pub keeping: Mutex<()>,
    /// Unfinished uploads remembered.
    pub uploads: Mutex<u64>,
    pub report: OpeningReport,
    pub damage: DamageNote,
    mark: Mark,
    identity: Identity,
}

/// How far the ledger has come.
#[derive(Default)]
pub(crate) struct Chain {
    /// The last committed height; `None` before genesis.
    pub last: Option<Height>,
    /// What the journal holds of heights above it.
    pub journal: JournalTail,
}

impl Store {
    /// Opens the store in `directory`, making directory and store when they are not there. Removes what was arriving
    /// when the node stopped.
    ///
    /// # Errors
    /// [`OpenError`], whose text says what the operator can do.
    pub fn open(directory: &Path, identity: Identity, config: StoreConfig) -> Result<Store, OpenError> {
        let opened = open::open(directory, identity, &config)?;
        let corrupt = |error: StorageError| match error {
            StorageError::NoSpace { .. } => OpenError::NoSpace { directory: directory.to_owned() },
            StorageError::Damaged { reason, .. } => OpenError::Corrupt { directory: directory.to_owned(), reason },
            other => OpenError::Io { directory: directory.to_owned(), reason: other.to_string() },
        };
        let damage = DamageNote::of(directory);
        let report = OpeningReport {
            openings: opened.openings,
            lost_writes: opened.lost_writes,
            damage_noted: damage.is_there(),
            ..OpeningReport::default()
        };
        let mut inner = Inner {
            db: opened.db,
            cache: opened.cache,
            directory: directory.to_owned(),
            space: Space::new(&config, opened.openings),
            config,
            chain: Mutex::new(Chain::default()),
            keeping: Mutex::new(()),
            uploads: Mutex::new(0),
            report,
            damage,
            mark: opened.mark,
            identity,
        };
        inner.report.abandoned = inner.remove_abandoned().map_err(corrupt)?;
        inner.load_totals().map_err(corrupt)?;
        let totals = inner.space.kept();
        inner.report.fragments = totals.count;
        inner.report.fragment_bytes = totals.bytes;
        inner.uploads = Mutex::new(inner.count_uploads().map_err(corrupt)?);
        let store = Store { inner: Arc::new(inner) };
        store.inner.finish_restoring(|| store.arriving()).map_err(corrupt)?;
        if store.inner.report.lost_writes > 0 {
            store.inner.note_lost_memory(None).map_err(corrupt)?;
        }
        *locked(&store.inner.chain) = store.inner.load_chain().map_err(corrupt)?;
        Ok(store)
    }

    /// What opening found.
    #[must_use]
    pub fn opening(&self) -> OpeningReport {
        self.inner.report
    }

    /// Whose store it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Says that every kept fragment was verified or replaced, so that the store may again move fragments together to
    /// give back space. Only needed when [`OpeningReport::damage_noted`].
    ///
    /// # Errors
    /// What the disk says.
    pub fn fragments_verified(&self) -> Result<(), StorageError> {
        let during = "clearing the note of damage";
        self.inner.damage.clear().map_err(|error| StorageError::Io { during, reason: error.to_string() })
    }

    /// Writes everything buffered into files, so that the next start has no log to read. For an orderly stop; nothing
    /// is lost without it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn flush(&self) -> Result<(), StorageError> {
        const DURING: &str = "writing buffers to files";
        if self.inner.is_disk_full() {
            // The database would wait for room, without end.
            return Err(StorageError::NoSpace { during: DURING });
        }
        let columns: Vec<&ColumnFamily> = Column::ALL.iter().map(|column| self.inner.column(*column)).collect();
        let mut options = rocksdb::FlushOptions::default();
        options.set_wait(true);
        self.inner.db.flush_cfs_opt(&columns, &options).map_err(|error| StorageError::of(DURING, &error))
    }
}

impl Inner {
    /// The network whose ledger this is.
    pub fn network(&self) -> NetworkId {
        self.identity.network
    }

    /// The handle of a column.
    pub fn column(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column is opened and none is ever dropped")
    }

    /// Reads one value.
    pub fn get(&self, column: Column, key: &[u8], during: &'static str) -> Result<Option<Vec<u8>>, StorageError> {
        self.db.get_cf(self.column(column), key).map_err(|error| StorageError::of(during, &error))
    }

    /// Writes all of `batch` or none of it. When this has returned it survives the loss of power, and so does every
    /// write that returned before this one began, synced or not: all columns share one log, which is written in order,
    /// and a synced write syncs every file of it that is not synced yet (RocksDB, `DBImpl::WriteGroupToWAL`).
    pub fn write_synced(&self, batch: WriteBatch, during: &'static str) -> Result<(), StorageError> {
        // Each change in a batch takes one number, and this batch gets its numbers after the one read here. So this many
        // are durable when it has returned, whatever others write unsynced meanwhile.
        let durable = self.db.latest_sequence_number().saturating_add(batch.len() as u64);
        self.write(&batch, &options::synced(), during)?;
        self.mark.raise(durable);
        Ok(())
    }

    /// Writes all of `batch` or none of it. It survives the process at once, the loss of power with the next synced write.
    pub fn write_unsynced(&self, batch: WriteBatch, during: &'static str) -> Result<(), StorageError> {
        self.write(&batch, &options::unsynced(), during)
    }

    /// Writes a part of a fragment as [`Inner::write_unsynced`] does, and waits before others do when the disk is behind.
    pub fn write_patiently(&self, batch: WriteBatch, during: &'static str) -> Result<(), StorageError> {
        self.write(&batch, &options::patient(), during)
    }

    /// The one place that writes. RocksDB would wait without end for buffers to become free, on a full disk until
    /// somebody makes room, and the node would hang; so it is told to refuse, and the waiting is done here, with a limit.
    fn write(&self, batch: &WriteBatch, options: &WriteOptions, during: &'static str) -> Result<(), StorageError> {
        let begun = Instant::now();
        loop {
            match self.db.write_opt(WriteBatch::from_data(batch.data()), options) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == rocksdb::ErrorKind::Incomplete => {}
                Err(error) => return Err(self.unwritten(during, &error)),
            }
            let waited = begun.elapsed();
            if waited > FULL_DISK_PATIENCE && self.is_disk_full() {
                return Err(StorageError::NoSpace { during });
            }
            if waited > PATIENCE {
                let reason = format!("the disk has not kept up for {} s", PATIENCE.as_secs());
                return Err(StorageError::Io { during, reason });
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Whether there is less room than RocksDB asks for before it writes again: one buffer.
    pub fn is_disk_full(&self) -> bool {
        Disk::of(&self.directory).is_ok_and(|disk| disk.free < self.config.buffer_bytes / 4)
    }

    /// Sorts what the database says to a write. A write meets no damage of its own: it is told of what stopped the
    /// database in the background.
    pub fn unwritten(&self, during: &'static str, error: &rocksdb::Error) -> StorageError {
        match StorageError::of(during, error) {
            StorageError::Damaged { during, reason } => {
                self.damage.write(&reason);
                StorageError::Stopped { during, reason }
            }
            other => other,
        }
    }

    /// Times the high-water mark could not be written.
    pub fn mark_failures(&self) -> u64 {
        self.mark.failures()
    }

    fn load_chain(&self) -> Result<Chain, StorageError> {
        const DURING: &str = "reading the last height";
        let damaged = |reason: String| StorageError::Damaged { during: DURING, reason };
        let last = match self.get(Column::Meta, meta::LAST_HEIGHT, DURING)? {
            None => None,
            Some(bytes) => {
                Some(Height(number_of(&bytes).ok_or_else(|| damaged("the last height is not a number".to_owned()))?))
            }
        };
        // A store that began with a snapshot has no block there.
        let base = self.meta_number(meta::BASE_HEIGHT)?.unwrap_or(0);
        if let Some(last) = last.filter(|last| last.0 > base)
            && self.read_block(last)?.is_none()
        {
            return Err(damaged(format!("block {last}, the last one, is missing")));
        }
        let journal = self.load_journal(last.unwrap_or_default())?;
        Ok(Chain { last, journal })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What was written unsynced is only a hint or may vanish; a failure here changes nothing that was promised.
        let _ = self.db.flush_wal(true);
        self.db.cancel_all_background_work(true);
    }
}

/// A lock whose holder never leaves things half done: what it guards is changed in one step, so a panic elsewhere while
/// it was held has not spoilt it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
