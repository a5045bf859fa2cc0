//! Snapshots: the one this node offers, the one that is arriving, and how a store starts over from it.
//!
//! ```text
//!  offered    a boundary is committed ──► cut on a thread of its own from a frozen view ──► outline written last
//!  arriving   sums, then chunks as they come ──► complete: a mark is written, the node restarts
//!  at opening with the mark: state emptied ──► chunks put in ──► what does not travel built ──► mark gone, one step
//! ```
//!
//! # Laws
//! - **SS-1** An offered snapshot is whole: its outline is written after its last chunk.
//! - **SS-2** Between the mark and its end every opening begins the restoring anew: a store is never half of two states.
//! - **SS-3** Each chunk is checked against its sum when it is put in, whatever was checked before it was kept.

use crate::columns::{Column, Piece, Whose, meta, number, number_of, piece_key, piece_range};
use crate::error::StorageError;
use crate::store::{Inner, Store};
use floe_ledger::digest::Sum;
use floe_ledger::evidence::{Headers, Sealed, TermLink, links};
use floe_ledger::snapshot::{self, CHUNK_BYTES_MAX, CHUNKS_MAX, Cutter, Outline, PART_BYTES_MAX, PART_CHUNKS, Part};
use floe_ledger::{StateError, StateRead};
use floe_machines::certificates::CommitCertificates;
use floe_machines::snapshot::Resumed;
use floe_types::{Epoch, Height, codec};
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};
use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

/// Offered snapshots that are kept: the newest, and the one before for those who are in the middle of it.
pub const OFFERED_MAX: usize = 2;
/// Bytes of changes that are written at a time while a state is restored.
const BATCH_BYTES: usize = 4 << 20;
/// Above every key of the state: tags are below 255.
const STATE_END: [u8; 1] = [255];

fn damaged(during: &'static str, reason: impl std::fmt::Display) -> StorageError {
    StorageError::Damaged { during, reason: reason.to_string() }
}

fn unreadable(during: &'static str) -> impl Fn(StateError) -> StorageError {
    move |error| damaged(during, error)
}

impl Store {
    /// Cuts the state as it stands now into an offered snapshot, on a thread of its own. When this returns the view is
    /// frozen, and the next block may be committed. The last block must be a boundary: ask
    /// [`floe_ledger::snapshot::is_due`].
    ///
    /// # Errors
    /// [`StorageError::Io`] when no thread can be started.
    pub fn offer_snapshot(&self) -> Result<JoinHandle<Result<Outline, StorageError>>, StorageError> {
        const DURING: &str = "starting to cut a snapshot";
        let (frozen, wait) = sync_channel(1);
        let store = self.clone();
        let cutting = std::thread::Builder::new().name("floe-snapshot".to_owned()).spawn(move || {
            let view = store.snapshot();
            // The caller waits for this; should it be gone, the snapshot is as good.
            let _ = frozen.send(());
            store.cut(&view)
        });
        let cutting = cutting.map_err(|error| StorageError::Io { during: DURING, reason: error.to_string() })?;
        // An error means that the thread has ended, and then it says why.
        let _ = wait.recv();
        Ok(cutting)
    }

    fn cut(&self, view: &crate::chain::StateSnapshot<'_>) -> Result<Outline, StorageError> {
        const DURING: &str = "cutting a snapshot";
        let height = view.height().map_err(unreadable(DURING))?.unwrap_or_default();
        let sealed = self.inner.header(height)?.ok_or_else(|| damaged(DURING, format!("no header at {height}")))?;
        let mut cutter = Cutter::default();
        let (mut chunks, mut bytes, mut part) = (0u32, 0u64, Part::default());
        while let Some(chunk) = cutter.cut(view).map_err(unreadable(DURING))? {
            if chunks >= CHUNKS_MAX {
                return Err(StorageError::TooMany { what: "chunks of a snapshot", max: u64::from(CHUNKS_MAX) });
            }
            bytes += chunk.bytes.len() as u64;
            self.put_piece(Whose::Offered(height), Piece::Chunk(chunks), &chunk.bytes)?;
            part.sums.push(chunk.sum);
            chunks += 1;
            if part.sums.len() == PART_CHUNKS {
                let place = Piece::Part((chunks - 1) / PART_CHUNKS as u32);
                self.put_piece(Whose::Offered(height), place, &codec::encode(&std::mem::take(&mut part)))?;
            }
        }
        let outline = Outline { sealed, chunks, bytes };
        if !part.sums.is_empty() {
            let place = Piece::Part(outline.parts().saturating_sub(1));
            self.put_piece(Whose::Offered(height), place, &codec::encode(&part))?;
        }
        self.put_piece(Whose::Offered(height), Piece::Outline, &codec::encode(&outline))?;
        self.drop_old_snapshots(height)?;
        Ok(outline)
    }

    fn put_piece(&self, whose: Whose, piece: Piece, bytes: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.column(Column::Snapshots), piece_key(whose, piece), bytes);
        self.inner.write_patiently(batch, "keeping a piece of a snapshot")
    }

    fn drop_old_snapshots(&self, newest: Height) -> Result<(), StorageError> {
        let mut whole = self.offered()?;
        whole.retain(|height| *height <= newest);
        let kept: BTreeSet<Height> = whole.into_iter().rev().take(OFFERED_MAX).collect();
        let column = self.inner.column(Column::Snapshots);
        let mut batch = WriteBatch::default();
        let mut from = Height(0);
        for keep in kept {
            // Everything between two that are kept, pieces of those cut short included.
            batch.delete_range_cf(column, piece_range(Whose::Offered(from)).0, piece_range(Whose::Offered(keep)).0);
            from = keep.next();
        }
        self.inner.write_unsynced(batch, "dropping old snapshots")
    }

    /// Heights of whole offered snapshots, ascending.
    fn offered(&self) -> Result<Vec<Height>, StorageError> {
        const DURING: &str = "listing snapshots";
        let mut found = Vec::new();
        let mut from = Height(0);
        loop {
            let (start, _) = piece_range(Whose::Offered(from));
            let mut options = ReadOptions::default();
            options.set_iterate_upper_bound(piece_range(Whose::Arriving).0);
            let column = self.inner.column(Column::Snapshots);
            let mode = IteratorMode::From(&start, Direction::Forward);
            let Some(entry) = self.inner.db.iterator_cf_opt(column, options, mode).next() else { return Ok(found) };
            let (key, _) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            let height = key.get(1..9).and_then(number_of).map(Height);
            let height = height.ok_or_else(|| damaged(DURING, "a key is too short"))?;
            if self.piece(Whose::Offered(height), Piece::Outline)?.is_some() {
                found.push(height);
            }
            from = height.next();
        }
    }

    fn piece(&self, whose: Whose, piece: Piece) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(Column::Snapshots, &piece_key(whose, piece), "reading a piece of a snapshot")
    }

    /// The newest offered snapshot.
    ///
    /// # Errors
    /// What the disk says, or [`StorageError::Damaged`].
    pub fn snapshot_outline(&self) -> Result<Option<Outline>, StorageError> {
        let Some(height) = self.offered()?.pop() else { return Ok(None) };
        self.outline_of(Whose::Offered(height))
    }

    fn outline_of(&self, whose: Whose) -> Result<Option<Outline>, StorageError> {
        let Some(bytes) = self.piece(whose, Piece::Outline)? else { return Ok(None) };
        codec::decode(&bytes, 1 << 20).map(Some).map_err(|error| damaged("reading a snapshot's outline", error))
    }

    /// A part of the offered snapshot at `height`, encoded.
    ///
    /// # Errors
    /// What the disk says.
    pub fn snapshot_part(&self, height: Height, index: u32) -> Result<Option<Vec<u8>>, StorageError> {
        self.piece(Whose::Offered(height), Piece::Part(index))
    }

    /// A chunk of the offered snapshot at `height`, encoded.
    ///
    /// # Errors
    /// What the disk says.
    pub fn snapshot_chunk(&self, height: Height, index: u32) -> Result<Option<Vec<u8>>, StorageError> {
        self.piece(Whose::Offered(height), Piece::Chunk(index))
    }

    /// Changes of committee with first epochs above `after`, for those who follow the chain of terms; none when a header
    /// is not here.
    #[must_use]
    pub fn terms(&self, after: Epoch, bytes_max: usize) -> Vec<TermLink> {
        let certificates = CommitCertificates::of(self.identity().network);
        links(after, bytes_max, self, self, &certificates).unwrap_or_default()
    }

    // What is arriving.

    /// Begins to keep a snapshot that is arriving, in place of any other. Of chunks that were kept only `kept` stay.
    ///
    /// # Errors
    /// What the disk says.
    pub fn arriving_begin(&self, outline: &Outline, parts: &[Part], kept: &BTreeSet<u32>) -> Result<(), StorageError> {
        let column = self.inner.column(Column::Snapshots);
        let mut batch = WriteBatch::default();
        for index in self.arriving_chunks()?.difference(kept) {
            batch.delete_cf(column, piece_key(Whose::Arriving, Piece::Chunk(*index)));
        }
        batch.put_cf(column, piece_key(Whose::Arriving, Piece::Outline), codec::encode(outline));
        for (index, part) in (0u32..).zip(parts) {
            batch.put_cf(column, piece_key(Whose::Arriving, Piece::Part(index)), codec::encode(part));
        }
        self.inner.write_unsynced(batch, "beginning to keep a snapshot")
    }

    /// Keeps a chunk of it.
    ///
    /// # Errors
    /// [`StorageError::TooLong`], or what the disk says.
    pub fn arriving_chunk(&self, index: u32, bytes: &[u8]) -> Result<(), StorageError> {
        if bytes.len() > CHUNK_BYTES_MAX {
            let (found, max) = (bytes.len() as u64, CHUNK_BYTES_MAX as u64);
            return Err(StorageError::TooLong { what: "chunk of a snapshot", found, max });
        }
        self.put_piece(Whose::Arriving, Piece::Chunk(index), bytes)
    }

    fn arriving_chunks(&self) -> Result<BTreeSet<u32>, StorageError> {
        const DURING: &str = "listing the chunks that have arrived";
        let (from, to) = (piece_key(Whose::Arriving, Piece::Chunk(0)), piece_range(Whose::Arriving).1);
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let mode = IteratorMode::From(&from, Direction::Forward);
        let mut found = BTreeSet::new();
        for entry in self.inner.db.iterator_cf_opt(self.inner.column(Column::Snapshots), options, mode) {
            let (key, _) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            let index = key.last_chunk::<4>().ok_or_else(|| damaged(DURING, "a key is too short"))?;
            found.insert(u32::from_be_bytes(*index));
        }
        Ok(found)
    }

    /// What has arrived so far, for [`floe_machines::snapshot::SnapshotSync::new`].
    ///
    /// # Errors
    /// What the disk says, or [`StorageError::Damaged`].
    pub fn arriving(&self) -> Result<Option<Resumed>, StorageError> {
        let Some(outline) = self.outline_of(Whose::Arriving)? else { return Ok(None) };
        let parts = self.arriving_parts(&outline)?;
        Ok(Some(Resumed { outline, parts, kept: self.arriving_chunks()? }))
    }

    fn arriving_parts(&self, outline: &Outline) -> Result<Vec<Part>, StorageError> {
        const DURING: &str = "reading the sums of a snapshot";
        let part = |index| {
            let bytes = self.piece(Whose::Arriving, Piece::Part(index))?;
            let bytes = bytes.ok_or_else(|| damaged(DURING, format!("part {index} is missing")))?;
            debug_assert!(bytes.len() <= PART_BYTES_MAX);
            Part::decode(&bytes).map_err(|error| damaged(DURING, error))
        };
        (0..outline.parts()).map(part).collect()
    }

    /// All chunks are there: from the next opening on the store stands after the snapshot's block. Keeps the headers of
    /// `terms` for audits. Durable when it returns; close the store and open it again.
    ///
    /// # Errors
    /// What the disk says, or [`StorageError::Damaged`] when something is missing.
    pub fn restore_at_next_opening(&self, terms: &[TermLink]) -> Result<(), StorageError> {
        const DURING: &str = "preparing to restore a snapshot";
        let Some(arrived) = self.arriving()? else { return Err(damaged(DURING, "none has arrived")) };
        if arrived.kept != (0..arrived.outline.chunks).collect() {
            return Err(damaged(DURING, "chunks are missing"));
        }
        let mut batch = WriteBatch::default();
        let sealed = terms.iter().map(|link| &link.sealed).chain([&arrived.outline.sealed]);
        for sealed in sealed {
            let opened = sealed.open().map_err(|error| damaged(DURING, error))?;
            batch.put_cf(self.inner.column(Column::Headers), number(opened.header.height.0), codec::encode(sealed));
        }
        batch.put_cf(self.inner.column(Column::Meta), meta::RESTORING, []);
        self.inner.write_synced(batch, DURING)
    }

    // Blocks that are old.

    /// The oldest height of which the block is here; one above the last when there is none.
    ///
    /// # Errors
    /// What the disk says.
    pub fn oldest_height(&self) -> Result<Height, StorageError> {
        let found = self.inner.meta_number(meta::OLDEST)?;
        Ok(Height(found.unwrap_or(1)))
    }

    /// Drops blocks below `below` with what the index of accounts has of them, the oldest first and at most `count_max` of
    /// them, so that a caller can pace it; never the last one. Headers and certificates of boundaries stay for good. Answers how many went.
    ///
    /// # Errors
    /// What the disk says.
    pub fn prune_blocks(&self, below: Height, count_max: u64) -> Result<u64, StorageError> {
        let oldest = self.oldest_height()?;
        let last = self.last_height().unwrap_or_default();
        let end = Height(below.min(last).0.min(oldest.0.saturating_add(count_max)));
        if end <= oldest {
            return Ok(0);
        }
        let mut batch = WriteBatch::default();
        // One by one: ranges stay in memory and are asked by every read until they are merged away.
        for height in oldest.0..end.0 {
            batch.delete_cf(self.inner.column(Column::Blocks), number(height));
            self.inner.drop_history(&mut batch, Height(height))?;
        }
        batch.put_cf(self.inner.column(Column::Meta), meta::OLDEST, number(end.0));
        self.inner.write_patiently(batch, "dropping old blocks")?;
        Ok(end.0 - oldest.0)
    }
}

impl Headers for Store {
    fn sealed(&self, height: Height) -> Result<Option<Sealed>, StateError> {
        self.inner.header(height).map_err(|error| StateError::Read { reason: error.to_string() })
    }
}

/// The state as it is while it is restored.
struct Current<'a>(&'a Inner);

impl StateRead for Current<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.0.read_state(ReadOptions::default(), key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<floe_ledger::Entry>, StateError> {
        self.0.read_range(ReadOptions::default(), from, to, limit)
    }
}

impl Inner {
    /// The header at `height`: of a boundary, or of a block that is here.
    pub fn header(&self, height: Height) -> Result<Option<Sealed>, StorageError> {
        const DURING: &str = "reading a header";
        if let Some(bytes) = self.get(Column::Headers, &number(height.0), DURING)? {
            return codec::decode(&bytes, 1 << 20).map(Some).map_err(|error| damaged(DURING, error));
        }
        let Some(stored) = self.read_block(height)? else { return Ok(None) };
        Sealed::of(&stored.block, &stored.certificate).map(Some).map_err(|error| damaged(DURING, error))
    }

    /// Notes that votes may be forgotten, in a store that has lost writes or is an old copy: at heights below `below`, or nobody
    /// knows which.
    pub fn note_lost_memory(&self, below: Option<Height>) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let value = below.map(|height| number(height.0).to_vec()).unwrap_or_default();
        batch.put_cf(self.column(Column::Meta), meta::MEMORY_LOST, value);
        self.write_synced(batch, "noting that memory is lost")
    }

    pub fn meta_number(&self, name: &'static [u8]) -> Result<Option<u64>, StorageError> {
        const DURING: &str = "reading a height";
        let bytes = self.get(Column::Meta, name, DURING)?;
        bytes.map(|bytes| number_of(&bytes).ok_or_else(|| damaged(DURING, "it is not a number"))).transpose()
    }

    /// Puts the arrived snapshot in place of the state, when an earlier life decided to (SS-2).
    pub fn finish_restoring(
        &self,
        arrived: impl Fn() -> Result<Option<Resumed>, StorageError>,
    ) -> Result<(), StorageError> {
        const DURING: &str = "restoring a snapshot";
        if self.get(Column::Meta, meta::RESTORING, DURING)?.is_none() {
            return Ok(());
        }
        let arrived = arrived()?.ok_or_else(|| damaged(DURING, "it is gone"))?;
        let opened = arrived.outline.sealed.open().map_err(|error| damaged(DURING, error))?;
        let mut empty = WriteBatch::default();
        empty.delete_range_cf(self.column(Column::State), [0u8].as_slice(), STATE_END.as_slice());
        self.write_unsynced(empty, DURING)?;
        let mut total = Sum::default();
        let sums = arrived.parts.iter().flat_map(|part| &part.sums);
        for (index, sum) in (0u32..arrived.outline.chunks).zip(sums) {
            self.put_chunk(index, sum)?;
            total.plus(sum);
        }
        let mut batch = WriteBatch::default();
        let mut put = |key: Vec<u8>, value: Vec<u8>| {
            batch.put_cf(self.column(Column::State), key, value);
            if batch.size_in_bytes() < BATCH_BYTES {
                return Ok(());
            }
            let full = std::mem::take(&mut batch);
            self.write_unsynced(full, DURING).map_err(|error| StateError::Read { reason: error.to_string() })
        };
        let network = self.network();
        snapshot::derive(&Current(self), &network, &opened.header, &total, &mut put)
            .map_err(|error| damaged(DURING, error))?;
        self.end_restoring(batch, opened.header.height)
    }

    fn put_chunk(&self, index: u32, sum: &Sum) -> Result<(), StorageError> {
        const DURING: &str = "putting in a chunk of a snapshot";
        let bytes = self.get(Column::Snapshots, &piece_key(Whose::Arriving, Piece::Chunk(index)), DURING)?;
        let bytes = bytes.ok_or_else(|| damaged(DURING, format!("chunk {index} is gone")))?;
        let entries =
            snapshot::open(&bytes, sum).map_err(|error| damaged(DURING, format!("chunk {index}: {error}")))?;
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put_cf(self.column(Column::State), key, value);
        }
        self.write_unsynced(batch, DURING)
    }

    /// The last step: from here on the store stands after the block at `height`, and remembers none before it. Of its votes it knows
    /// what it knew: those at heights that are decided are of no use to anybody, and those above stay.
    fn end_restoring(&self, mut batch: WriteBatch, height: Height) -> Result<(), StorageError> {
        let (meta_column, blocks) = (self.column(Column::Meta), self.column(Column::Blocks));
        batch.put_cf(meta_column, meta::LAST_HEIGHT, number(height.0));
        batch.put_cf(meta_column, meta::BASE_HEIGHT, number(height.0));
        batch.put_cf(meta_column, meta::OLDEST, number(height.0.saturating_add(1)));
        if self.get(Column::Meta, meta::LAST_HEIGHT, "ending the restoring of a snapshot")?.is_none() {
            batch.put_cf(meta_column, meta::MEMORY_LOST, []);
        }
        batch.delete_cf(meta_column, meta::RESTORING);
        batch.delete_range_cf(blocks, number(0), number(u64::MAX));
        batch.delete_range_cf(self.column(Column::History), [0u8].as_slice(), [255u8].as_slice());
        let journal_end = crate::columns::journal_key(height.next(), 0);
        batch.delete_range_cf(self.column(Column::Journal), crate::columns::journal_key(Height(0), 0), journal_end);
        let (from, to) = piece_range(Whose::Arriving);
        batch.delete_range_cf(self.column(Column::Snapshots), from, to);
        self.write_synced(batch, "ending the restoring of a snapshot")
    }
}
