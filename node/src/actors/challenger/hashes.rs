//! The hashes of slivers that were shown lately: with them an answer reads one symbol instead of a whole sliver.
//!
//! Samples are drawn by bytes, so that large slivers are asked for again and again and small ones cost little to hash: only
//! the large ones are kept. The oldest goes first when there are too many bytes.

use floe_erasure::{Layout, SliverHashes};
use floe_machines::challenges::{KeptHashes, SliverKey};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Bytes of hashes that are kept: those of two million symbols.
const HASHES_BYTES_MAX: usize = 64 << 20;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// Slivers below this are hashed each time.
const SLIVER_BYTES_MIN: u64 = 64 << 10;

/// What is kept.
#[derive(Default)]
pub(super) struct Hashes(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    of: BTreeMap<SliverKey, SliverHashes>,
    order: VecDeque<(SliverKey, usize)>,
    bytes: usize,
}

impl KeptHashes for Hashes {
    fn hashes(&self, _layout: &Layout, sliver: &SliverKey) -> Option<SliverHashes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of.get(sliver).cloned()
    }

    fn keep(&self, sliver: &SliverKey, (layout, hashes): (&Layout, &SliverHashes)) {
        if layout.sliver_bytes(sliver.axis) < SLIVER_BYTES_MIN {
            return;
        }
        let bytes = usize::from(layout.shards()) * HASH_BYTES;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.of.insert(*sliver, hashes.clone()).is_none() {
            kept.order.push_back((*sliver, bytes));
            kept.bytes = kept.bytes.saturating_add(bytes);
        }
        while kept.bytes > HASHES_BYTES_MAX {
            let Some((oldest, bytes)) = kept.order.pop_front() else { break };
            kept.of.remove(&oldest);
            kept.bytes = kept.bytes.saturating_sub(bytes);
        }
    }
}
