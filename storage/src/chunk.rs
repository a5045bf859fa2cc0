//! How the bytes of a fragment lie in the database: in chunks, each with a checksum bound to its place.
//!
//! ```text
//! key    group | blob | pair | stage | chunk index
//! value  up to 256 KiB of fragment | checksum, 16 bytes
//! ```
//!
//! RocksDB has checksums of its own and finds a flipped bit. What they cannot find is right bytes in the wrong place: a
//! write that the disk led astray, a value joined to another key by damaged references. So ours covers the whole key.
//! It is BLAKE3 cut to 16 bytes rather than a CRC, because it is here already, costs a small part of what the network
//! and the disk do, and leaves nothing to the shape of the error. Nobody is kept out by it: who can write to the disk
//! can compute it. Against forgery there are the proofs.
//!
//! 256 KiB: a challenge for 1 KiB reads and hashes one chunk, about 0.1 ms; larger chunks write no faster.

use crate::columns::{Column, chunk_key};
use crate::store::Inner;
use floe_machines::fragments::{FragmentKey, StoreError};
use rocksdb::ErrorKind;

/// Bytes of fragment in one chunk; the last one of a fragment is shorter.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
const CHUNK: u64 = CHUNK_BYTES as u64;
const CHECKSUM_BYTES: usize = 16;

/// A value of `fragment_data` at its largest.
pub(crate) const VALUE_BYTES_MAX: usize = CHUNK_BYTES + CHECKSUM_BYTES;

/// A fragment's bytes: under which keys they lie, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub key: FragmentKey,
    pub stage: u64,
    pub bytes: u64,
}

impl Extent {
    /// Chunks of the whole fragment.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.bytes.div_ceil(CHUNK)).expect("a fragment is at most 1 TiB, checked when it was announced")
    }

    /// The key of one chunk.
    pub fn chunk_key(&self, chunk: u32) -> [u8; 54] {
        chunk_key(&self.key, self.stage, chunk)
    }

    /// Turns bytes into a value: the checksum is put behind them.
    pub fn seal(&self, chunk: u32, value: &mut Vec<u8>) {
        let checksum = checksum(&self.chunk_key(chunk), value);
        value.extend_from_slice(&checksum);
    }

    fn damaged(&self, offset: u64) -> StoreError {
        StoreError::Damaged { blob: self.key.blob, pair: self.key.pair, offset }
    }

    /// Reads `buffer.len()` bytes from `offset`; the caller has checked that they are there.
    pub fn read_at(&self, inner: &Inner, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let chunk = u32::try_from(at / CHUNK).map_err(|_| self.beyond(offset, at))?;
            // The remainder is below 256 Ki.
            let skip = (at % CHUNK) as usize;
            let taken = rest.len().min(CHUNK_BYTES - skip);
            let (part, after) = rest.split_at_mut(taken);
            self.read_chunk(inner, chunk, skip, part)?;
            at = at.saturating_add(taken as u64);
            rest = after;
        }
        Ok(())
    }

    fn read_chunk(&self, inner: &Inner, chunk: u32, skip: usize, part: &mut [u8]) -> Result<(), StoreError> {
        let at = u64::from(chunk) * CHUNK;
        let key = self.chunk_key(chunk);
        let value = match inner.db.get_pinned_cf(inner.column(Column::FragmentData), key) {
            Ok(Some(value)) => value,
            Ok(None) => return Err(self.damaged(at)),
            Err(error) if error.kind() == ErrorKind::Corruption => return Err(self.damaged(at)),
            Err(error) => return Err(StoreError::Io(error.to_string())),
        };
        let (bytes, found) = value.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| self.damaged(at))?;
        if checksum(&key, bytes) != *found {
            return Err(self.damaged(at));
        }
        let end = skip.saturating_add(part.len());
        part.copy_from_slice(bytes.get(skip..end).ok_or_else(|| self.damaged(at))?);
        Ok(())
    }

    /// The error for bytes from `offset` to `end`.
    pub fn beyond(&self, offset: u64, end: u64) -> StoreError {
        StoreError::Beyond { offset, end, length: self.bytes }
    }
}

fn checksum(key: &[u8; 54], bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("floe 1 storage: a chunk of a fragment in its place");
    hasher.update(key).update(bytes);
    let mut checksum = [0u8; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::{BlobId, Epoch, PairIndex};

    #[test]
    fn the_checksum_is_bound_to_bytes_and_place() {
        let key = FragmentKey { group: Epoch(1), blob: BlobId([2; 32]), pair: PairIndex(3) };
        let bytes = [7u8; 100];
        let one = checksum(&chunk_key(&key, 4, 5), &bytes);
        assert_ne!(one, checksum(&chunk_key(&key, 4, 6), &bytes));
        assert_ne!(one, checksum(&chunk_key(&key, 5, 5), &bytes));
        assert_ne!(one, checksum(&chunk_key(&FragmentKey { group: Epoch(2), ..key }, 4, 5), &bytes));
        assert_ne!(one, checksum(&chunk_key(&key, 4, 5), &bytes[..99]));
    }

    #[test]
    fn chunks_cover_the_bytes_and_no_more() {
        let extent = |bytes| Extent {
            key: FragmentKey { group: Epoch(1), blob: BlobId([2; 32]), pair: PairIndex(3) },
            stage: 1,
            bytes,
        };
        assert_eq!(extent(0).chunks(), 0);
        assert_eq!(extent(1).chunks(), 1);
        assert_eq!(extent(CHUNK).chunks(), 1);
        assert_eq!(extent(CHUNK + 1).chunks(), 2);
    }
}
