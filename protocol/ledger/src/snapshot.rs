//! Snapshots: the state after a boundary block cut into chunks that are each checked alone, and put together again.
//!
//! ```text
//!   outline   the boundary's header with its certificate, how many chunks, how many bytes
//!   parts     a sum for each chunk, 256 to a part        Σ sums = the sum under the header's state root
//!   chunks    entries in the order of their keys, about half a MiB each
//! ```
//!
//! Nothing in a snapshot is believed. The certificate is checked against the committee that the chain of terms gives, the
//! sums of all parts must add up to the root that the header names, and a chunk's entries must add up to the chunk's sum. So a
//! chunk that is not the one of this state is found when it comes, whoever gave it ([`crate::digest`]).
//!
//! Entries of tables that follow from others travel not: [`derive`] builds them again and compares the roots of the maps with
//! the header's.
//!
//! # Laws
//! - **SN-1** Equal states are cut into equal chunks on every node, so that chunks of one snapshot can come from several.
//! - **SN-2** A restored state is the state it was cut from, to the byte.

use crate::blobs;
use crate::block::BlockHeader;
use crate::digest::{self, Expander, Sum};
use crate::evidence::Sealed;
use crate::merkle::{self, Leaf, Map, Weight, value_hash};
use crate::pages;
use crate::records::Head;
use crate::state::{Entry, StateError, StateRead};
use crate::tables::{Table, number_at};
use floe_types::codec::{self, DecodeError};
use floe_types::{Height, NetworkId, SequenceNumber};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

/// Bytes of keys and values after which a chunk takes no further entry.
pub const CHUNK_BYTES: usize = 512 << 10;
/// The longest chunk. The longest entry, a committee of a thousand, is below half of it.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Chunks whose sums are in one part.
pub const PART_CHUNKS: usize = 256;
/// The longest part.
pub const PART_BYTES_MAX: usize = PART_CHUNKS * (digest::SUM_BYTES + 8) + 64;
/// The most chunks: 16 GiB of state and more. Far fewer than 2^16, so that no entry can be counted until its sum wraps.
pub const CHUNKS_MAX: u32 = 1 << 15;
/// Entries read at a time.
const PAGE: usize = 1024;

/// What a snapshot is of, and how long it is. Unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The boundary block after which the state stood.
    pub sealed: Sealed,
    /// Chunks.
    pub chunks: u32,
    /// Bytes of all chunks.
    pub bytes: u64,
}

impl Outline {
    /// Parts with the sums of the chunks.
    #[must_use]
    pub fn parts(&self) -> u32 {
        self.chunks.div_ceil(PART_CHUNKS as u32)
    }

    /// Sums in the part at `index`.
    #[must_use]
    pub fn sums_in(&self, index: u32) -> usize {
        let before = u64::from(index) * PART_CHUNKS as u64;
        u64::from(self.chunks).saturating_sub(before).min(PART_CHUNKS as u64) as usize
    }
}

/// The sums of [`PART_CHUNKS`] chunks in a row; the last part may have fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// One a chunk.
    pub sums: Vec<Sum>,
}

impl Part {
    /// The part in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] when they are too many or not exactly one.
    pub fn decode(bytes: &[u8]) -> Result<Part, DecodeError> {
        codec::decode(bytes, PART_BYTES_MAX)
    }
}

/// A chunk that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not the encoding of one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its entries are not ascending, or of a table that does not travel.
    #[error("the entries are not in order or do not belong into a snapshot")]
    Entries,
    /// It adds up to another sum than was said.
    #[error("the entries add up to another sum")]
    OtherSum,
}

/// A chunk cut from a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its encoding.
    pub bytes: Vec<u8>,
    /// The sum of its entries.
    pub sum: Sum,
}

/// Cuts a state into chunks, one call a chunk. The state must stand still meanwhile.
#[derive(Default)]
pub struct Cutter {
    next: Vec<u8>,
    page: std::collections::VecDeque<Entry>,
    expander: Expander,
}

/// Above every key: tags are below 255.
const END: [u8; 1] = [255];

impl Cutter {
    fn fill(&mut self, state: &dyn StateRead) -> Result<(), StateError> {
        while self.page.is_empty() && self.next.as_slice() < END.as_slice() {
            let entries = state.range(&self.next, &END, PAGE)?;
            let Some((last, _)) = entries.last() else {
                self.next = END.to_vec();
                return Ok(());
            };
            // A table that does not travel is passed over as a whole.
            self.next = if digest::is_counted(last) { [last.as_slice(), &[0]].concat() } else { after_table(last) };
            self.page.extend(entries.into_iter().filter(|(key, _)| digest::is_counted(key)));
        }
        Ok(())
    }

    /// The next chunk; none when all is cut.
    ///
    /// # Errors
    /// [`StateError`] when the state cannot be read.
    pub fn cut(&mut self, state: &dyn StateRead) -> Result<Option<Chunk>, StateError> {
        let (mut entries, mut bytes, mut sum) = (Vec::new(), 0, Sum::default());
        loop {
            self.fill(state)?;
            let Some((key, value)) = self.page.front() else { break };
            let longer = bytes + key.len() + value.len();
            if longer > CHUNK_BYTES && !entries.is_empty() {
                break;
            }
            self.expander.put(&mut sum, key, value);
            bytes = longer;
            entries.extend(self.page.pop_front());
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let encoded: Vec<_> = entries.iter().map(|(key, value)| (Bytes::new(key), Bytes::new(value))).collect();
        Ok(Some(Chunk { bytes: codec::encode(&encoded), sum }))
    }
}

fn after_table(key: &[u8]) -> Vec<u8> {
    key.first().map_or(END.to_vec(), |tag| vec![tag.saturating_add(1)])
}

/// The entries of a chunk that adds up to `sum`.
///
/// # Errors
/// [`ChunkError`] with what is wrong.
pub fn open(bytes: &[u8], sum: &Sum) -> Result<Vec<Entry>, ChunkError> {
    let entries: Vec<(ByteBuf, ByteBuf)> = codec::decode(bytes, CHUNK_BYTES_MAX)?;
    let ascending = entries.windows(2).all(|pair| matches!(pair, [one, two] if one.0 < two.0));
    if !ascending || !entries.iter().all(|(key, _)| digest::is_counted(key)) {
        return Err(ChunkError::Entries);
    }
    let (mut found, mut expander) = (Sum::default(), Expander::default());
    entries.iter().for_each(|(key, value)| expander.put(&mut found, key, value));
    if found != *sum {
        return Err(ChunkError::OtherSum);
    }
    Ok(entries.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect())
}

/// A state that was not restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// What was put together is not what the header names.
    #[error("the restored state has another root {which}")]
    OtherRoot {
        /// Which root.
        which: &'static str,
    },
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Where a snapshot may be taken: the block is a boundary, and every `every`-th epoch has one.
#[must_use]
pub fn is_due(header: &BlockHeader, every: u64) -> bool {
    header.boundary.as_ref().is_some_and(|boundary| boundary.ended.0.checked_rem(every) == Some(0))
}

/// Builds what did not travel: the nodes of the maps, the sum, the head. `state` holds all entries of the chunks, which add up to
/// `sum`; what is to be added goes to `put`, in no order.
///
/// # Errors
/// [`RestoreError::OtherRoot`] when this is not the state after the block with `header`.
pub fn derive(
    state: &dyn StateRead,
    network: &NetworkId,
    header: &BlockHeader,
    sum: &Sum,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<(), StateError>,
) -> Result<Head, RestoreError> {
    if sum.root(network) != header.state_root {
        return Err(RestoreError::OtherRoot { which: "of the state" });
    }
    // A committee has as many shards as blobs have fragments.
    let shards = crate::views::committee(state)?.shards();
    if rebuild(state, Map::BySequence, shards, put)? != header.blobs_by_sequence_root {
        return Err(RestoreError::OtherRoot { which: "of blobs by number" });
    }
    if rebuild(state, Map::ById, shards, put)? != header.blobs_by_id_root {
        return Err(RestoreError::OtherRoot { which: "of blobs by id" });
    }
    // Its table is part of the state's root.
    rebuild(state, Map::Segments, shards, put)?;
    put(Table::Digest.key(&[]), sum.to_bytes())?;
    let head = Head {
        height: header.height,
        block: header.id(),
        time: header.time,
        epoch: header.epoch,
        // The block is a boundary: the epoch began with it.
        epoch_began: header.time,
        state_root: header.state_root,
    };
    put(Table::Head.key(&[]), codec::encode(&head))?;
    Ok(head)
}

/// Builds a map's pages from the table of its values.
fn rebuild(state: &dyn StateRead, map: Map, shards: u16, put: pages::Sink<'_>) -> Result<merkle::Root, StateError> {
    let mut builder = pages::Builder::new(map);
    let (table, _) = pages::table(map);
    let mut from = Vec::new();
    loop {
        let page = table.page(state, &[], &from, PAGE)?;
        let complete = page.len() < PAGE;
        for (key, stored) in page {
            let (value, weight) = match map {
                Map::ById | Map::Segments => (stored, Weight::default()),
                Map::BySequence => {
                    let life = blobs::life(state, SequenceNumber(number_at(table, &key, 0)?))?;
                    let life = life.ok_or_else(|| table.damaged("an entry is gone"))?;
                    (codec::encode(&life), blobs::weight(shards, &life))
                }
            };
            let leaf = Leaf { value: value_hash(&value), weight, key };
            from = [leaf.key.as_slice(), &[0]].concat();
            builder.add(leaf, put)?;
        }
        if complete {
            return builder.finish(put);
        }
    }
}

/// The sum over the state's entries as the state itself keeps it, for whoever offers a snapshot.
///
/// # Errors
/// [`StateError`].
pub fn sum_of(state: &dyn StateRead) -> Result<Sum, StateError> {
    digest::kept(state)
}

/// The height of a header, for files and keys.
#[must_use]
pub fn height_of(outline: &Outline) -> Option<Height> {
    outline.sealed.open().ok().map(|opened| opened.header.height)
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
