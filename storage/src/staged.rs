//! A fragment on its way in.
//!
//! 1. [`Staged::begin`] sets room aside and writes a marker, before any chunk.
//! 2. Chunks are written as they fill, unsynced, under a stage that nothing else uses: a stranger's bytes never touch
//!    what is kept, however often he sends the same fragment.
//! 3. `keep` writes the last chunk and the record and takes the marker away, synced, in one step.
//!
//! Whatever is dropped or dies before 3 leaves a marker, and at the latest the next opening follows it and removes the
//! chunks. Marker and chunks are in one log in this order, and before a file of one column is finished RocksDB syncs the
//! closed parts of the log for the sake of the others; so no chunk is ever found without its marker or record.

use crate::chunk::{CHUNK_BYTES, Extent, VALUE_BYTES_MAX};
use crate::columns::{Column, StagedMarker, number};
use crate::options;
use crate::space::Disk;
use crate::store::Inner;
use floe_machines::fragments::{FragmentKey, StagedFragment, StoreError};
use floe_types::codec;
use rocksdb::{WriteBatch, properties};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest fragment in bytes.
const FRAGMENT_BYTES_MAX: u64 = 1 << 40;
/// How long an arriving fragment waits for a disk that is behind, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(2);
/// Full buffers at which arriving fragments wait. RocksDB halts *every* write when all its buffers are full; fragments
/// stop before that, so that votes go on.
const FULL_BUFFERS: u64 = 2;

const _: () = assert!(FULL_BUFFERS < options::FRAGMENT_BUFFERS as u64, "fragments wait before the database does");

pub(crate) struct Staged {
    pub inner: Arc<Inner>,
    pub extent: Extent,
    /// Bytes in chunks already written: a multiple of the chunk.
    written: u64,
    /// What follows them, less than a chunk. Kept at its largest so that it is allocated once.
    buffer: Vec<u8>,
    /// Whether dropping it still has to remove what was written.
    removal: Removal,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Removal {
    Due,
    NotDue,
}

impl Staged {
    /// Sets room aside and writes the marker.
    pub fn begin(inner: Arc<Inner>, key: FragmentKey, bytes: u64) -> Result<Staged, StoreError> {
        if bytes > FRAGMENT_BYTES_MAX {
            return Err(StoreError::Full { needed: bytes });
        }
        if inner.space.is_dropped(key.group) {
            return Err(StoreError::Dropped { group: key.group });
        }
        let disk = inner.disk()?;
        let stage = inner.space.admit(disk, bytes)?;
        let extent = Extent { key, stage, bytes };
        let staged = Staged { inner, extent, written: 0, buffer: Vec::new(), removal: Removal::Due };
        let mut batch = WriteBatch::default();
        let marker = codec::encode(&StagedMarker { key, bytes });
        batch.put_cf(staged.inner.column(Column::Staging), number(stage), marker);
        staged.inner.write_unsynced(batch, "beginning a fragment").map_err(|error| error.for_fragments(bytes))?;
        Ok(staged)
    }

    /// Adds to `batch` what is still in the buffer.
    pub fn finish(&mut self, batch: &mut WriteBatch) -> Result<(), StoreError> {
        if self.staged_bytes() != self.extent.bytes {
            return Err(self.extent.beyond(self.staged_bytes(), self.extent.bytes));
        }
        if !self.buffer.is_empty() {
            let chunk = self.chunks_written();
            let mut value = self.buffer.clone();
            self.extent.seal(chunk, &mut value);
            batch.put_cf(self.inner.column(Column::FragmentData), self.extent.chunk_key(chunk), value);
        }
        Ok(())
    }

    /// From now on dropping it removes nothing: it is kept, or the next opening has to find out whether it is.
    pub fn leave(&mut self) {
        self.removal = Removal::NotDue;
    }

    fn chunks_written(&self) -> u32 {
        Extent { bytes: self.written, ..self.extent }.chunks()
    }

    fn write_chunk(&mut self) -> Result<(), StoreError> {
        let needed = self.buffer.len() as u64;
        let disk = self.inner.disk()?;
        if disk.free < self.inner.space.floor(disk).saturating_add(needed) {
            return Err(StoreError::Full { needed });
        }
        self.inner.wait_for_buffers()?;
        let chunk = self.chunks_written();
        self.extent.seal(chunk, &mut self.buffer);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.column(Column::FragmentData), self.extent.chunk_key(chunk), &self.buffer);
        self.buffer.truncate(CHUNK_BYTES);
        self.inner.write_patiently(batch, "writing a fragment").map_err(|error| error.for_fragments(needed))?;
        self.written = self.written.saturating_add(needed);
        self.inner.space.wrote(needed);
        self.buffer.clear();
        Ok(())
    }

    /// Removes the chunks written and the marker. Failing leaves them to the next opening.
    fn remove(&self) {
        let mut batch = WriteBatch::default();
        let written = Extent { bytes: self.written, ..self.extent };
        self.inner.remove_chunks(&mut batch, &written);
        batch.delete_cf(self.inner.column(Column::Staging), number(self.extent.stage));
        let _ = self.inner.write_unsynced(batch, "abandoning a fragment");
    }
}

impl StagedFragment for Staged {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.staged_bytes().saturating_add(bytes.len() as u64);
        if end > self.extent.bytes {
            return Err(self.extent.beyond(self.staged_bytes(), end));
        }
        if self.buffer.capacity() == 0 && !bytes.is_empty() {
            self.buffer.reserve_exact(VALUE_BYTES_MAX);
        }
        let mut rest = bytes;
        loop {
            // A full buffer may be left from an append that failed.
            if self.buffer.len() == CHUNK_BYTES {
                self.write_chunk()?;
            }
            if rest.is_empty() {
                return Ok(());
            }
            let (part, after) = rest.split_at(rest.len().min(CHUNK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(part);
            rest = after;
        }
    }

    fn staged_bytes(&self) -> u64 {
        self.written.saturating_add(self.buffer.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.staged_bytes() {
            return Err(StoreError::Beyond { offset, end, length: self.staged_bytes() });
        }
        let from_chunks = self.written.saturating_sub(offset).min(buffer.len() as u64);
        let split = usize::try_from(from_chunks).unwrap_or(buffer.len());
        let (chunks, tail) = buffer.split_at_mut(split);
        self.extent.read_at(&self.inner, chunks, offset)?;
        let skip = usize::try_from(offset.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let held = self.buffer.get(skip..skip.saturating_add(tail.len()));
        tail.copy_from_slice(held.ok_or_else(|| self.extent.beyond(offset, end))?);
        Ok(())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.removal == Removal::Due {
            self.remove();
        }
        self.inner.space.arrived(self.extent.bytes, self.extent.bytes.saturating_sub(self.written));
    }
}

impl Inner {
    /// The disk as it is now.
    pub fn disk(&self) -> Result<Disk, StoreError> {
        Disk::of(&self.directory).map_err(|error| StoreError::Io(format!("asking for free space: {error}")))
    }

    /// Adds to `batch` the removal of every chunk of `extent`. One by one: ranges would be asked by every read until
    /// they are merged away.
    pub fn remove_chunks(&self, batch: &mut WriteBatch, extent: &Extent) {
        let column = self.column(Column::FragmentData);
        for chunk in 0..extent.chunks() {
            batch.delete_cf(column, extent.chunk_key(chunk));
        }
    }

    /// Waits until the disk has caught up with the fragments that arrived.
    fn wait_for_buffers(&self) -> Result<(), StoreError> {
        let column = self.column(Column::FragmentData);
        let begun = Instant::now();
        loop {
            let full = self.db.property_int_value_cf(column, properties::NUM_IMMUTABLE_MEM_TABLE);
            if !matches!(full, Ok(Some(full)) if full >= FULL_BUFFERS) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(StoreError::Io(format!("the disk has not kept up for {} s", PATIENCE.as_secs())));
            }
            std::thread::sleep(GLANCE);
        }
    }
}
