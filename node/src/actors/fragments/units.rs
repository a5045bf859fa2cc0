//! Opens units of kept slivers, and remembers the hashes that this takes.
//!
//! The first unit of a sliver costs one pass over it; after that a unit is opened by reading that unit alone, for as long
//! as the sliver's hashes are remembered. Hashes are never stale: a fragment's bytes never change.
//!
//! # Memory
//! [`HASHES_BYTES_MAX`] for all slivers together. What was used longest ago goes first; a sliver whose hashes are longer
//! than that is hashed for each request.

use floe_erasure::{Axis, FragmentError, Layout, OpeningError, Options, Part, Place, SliverHashes};
use floe_machines::challenges::SliverKey;
use floe_machines::custody::KeptFragment;
use floe_machines::fragments::FragmentRecord;
use floe_storage::Store;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of hashes that are remembered: at 28 shards those of some ten thousand slivers of short symbols, or of 128 GiB
/// of slivers of long ones.
const HASHES_BYTES_MAX: u64 = 64 << 20;

/// Why a unit could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnitsError {
    /// The sliver could not be hashed.
    #[error(transparent)]
    Hash(#[from] FragmentError),
    /// The unit could not be opened.
    #[error(transparent)]
    Open(#[from] OpeningError),
}

#[derive(Default)]
struct Remembered {
    slivers: BTreeMap<SliverKey, (u64, Arc<SliverHashes>)>,
    bytes: u64,
    uses: u64,
}

/// The hashes of slivers that were lately asked for.
#[derive(Default)]
pub(super) struct HashesBook(Mutex<Remembered>);

fn bytes_of(hashes: &SliverHashes) -> u64 {
    (hashes.as_bytes().len() + hashes.unit_bytes().len()) as u64
}

impl HashesBook {
    fn find(&self, key: &SliverKey) -> Option<Arc<SliverHashes>> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.uses += 1;
        let uses = book.uses;
        let (used, hashes) = book.slivers.get_mut(key)?;
        *used = uses;
        Some(Arc::clone(hashes))
    }

    fn keep(&self, key: SliverKey, hashes: &Arc<SliverHashes>, bytes_max: u64) {
        let bytes = bytes_of(hashes);
        if bytes > bytes_max {
            return;
        }
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while book.bytes + bytes > bytes_max {
            let Some(oldest) = book.slivers.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key) else {
                break;
            };
            if let Some((_, hashes)) = book.slivers.remove(&oldest) {
                book.bytes -= bytes_of(&hashes);
            }
        }
        book.uses += 1;
        let uses = book.uses;
        match book.slivers.insert(key, (uses, Arc::clone(hashes))) {
            // Two asked at the same time: the same hashes.
            Some(_) => {}
            None => book.bytes += bytes,
        }
    }
}

/// The unit at `place` of a kept fragment, followed by its opening. Blocks.
pub(super) fn open(
    book: &HashesBook,
    store: &Store,
    record: &FragmentRecord,
    layout: &Layout,
    place: Place,
) -> Result<Vec<u8>, UnitsError> {
    let start = match place.axis {
        Axis::Primary => 0,
        Axis::Secondary => layout.primary_bytes(),
    };
    let fragment = KeptFragment::new(store, record);
    let (sliver, options) = (Part::new(&fragment, start), Options::default());
    let key = SliverKey { blob: record.key.blob, pair: record.key.pair, axis: place.axis };
    let hashes = match book.find(&key) {
        Some(hashes) => hashes,
        None => {
            let hashes = SliverHashes::of(layout, record.key.pair, place.axis, &sliver, &options)?;
            let hashes = Arc::new(hashes.with_units(layout, &sliver, &options)?);
            book.keep(key, &hashes, HASHES_BYTES_MAX);
            hashes
        }
    };
    let (mut unit, opening) = hashes.open_part(layout, place, &sliver)?;
    unit.extend(opening.encode());
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::{BlobId, PairIndex};

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let layout = Layout::new(4, 24).unwrap();
        let sliver = vec![0u8; 100];
        let hashes = SliverHashes::of(&layout, PairIndex(0), Axis::Primary, &sliver, &Options::default()).unwrap();
        let hashes = Arc::new(hashes);
        let each = bytes_of(&hashes);
        let key = |pair| SliverKey { blob: BlobId([1; 32]), pair: PairIndex(pair), axis: Axis::Primary };
        let book = HashesBook::default();
        for pair in 0..2 {
            book.keep(key(pair), &hashes, each * 2);
        }
        assert!(book.find(&key(0)).is_some());
        book.keep(key(2), &hashes, each * 2);
        assert!(book.find(&key(1)).is_none() && book.find(&key(0)).is_some() && book.find(&key(2)).is_some());
        assert_eq!(book.0.lock().unwrap().bytes, each * 2);
        book.keep(key(3), &hashes, each - 1);
        assert!(book.find(&key(3)).is_none());
    }
}
