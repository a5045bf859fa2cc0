//! A blob and its fragments in memory, for tests.

#![allow(dead_code, clippy::unwrap_used)] // Each test file uses a part of it.

use super::twin;
use floe_erasure::{
    Axis, BlobId, CheckedProof, Encoded, FragmentProof, Layout, MemorySink, Options, PairIndex, SliverHashes, SliverId,
    encode,
};

pub struct Stored {
    pub bytes: Vec<u8>,
    pub blob: BlobId,
    pub layout: Layout,
    pub encoded: Encoded,
    sink: MemorySink,
}

impl Stored {
    /// The blob of `twin::bytes`.
    pub fn new(n: u16, length: usize) -> Self {
        let bytes = twin::bytes(length);
        let layout = Layout::new(n, length as u64).unwrap();
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        let encoded = encode(&bytes, length as u64, n, &sink, &Options::default()).unwrap();
        Self { bytes, blob: encoded.blob_id(), layout, encoded, sink }
    }

    pub fn proof(&self, pair: u16) -> FragmentProof {
        self.encoded.proof(PairIndex(pair))
    }

    pub fn checked_proof(&self, pair: u16) -> CheckedProof {
        self.proof(pair).check(&self.blob, &self.layout, PairIndex(pair)).unwrap()
    }

    pub fn fragment(&self, pair: u16) -> Vec<u8> {
        let offset = self.encoded.fragment_offset(PairIndex(pair));
        self.sink.copy(offset, self.layout.fragment_bytes() as usize).unwrap()
    }

    pub fn sliver(&self, sliver: SliverId) -> Vec<u8> {
        let mut primary = self.fragment(sliver.pair.0);
        let secondary = primary.split_off(self.layout.primary_bytes() as usize);
        match sliver.axis {
            Axis::Primary => primary,
            Axis::Secondary => secondary,
        }
    }

    pub fn hashes(&self, sliver: SliverId) -> SliverHashes {
        let bytes = self.sliver(sliver);
        SliverHashes::of(&self.layout, sliver.pair, sliver.axis, &bytes, &Options::default()).unwrap()
    }
}

/// All of `0..count` in some order.
pub fn shuffled(count: u16, seed: u64) -> Vec<u16> {
    let mut all: Vec<u16> = (0..count).collect();
    let rank = |index: &u16| *blake3::hash(&[&seed.to_le_bytes()[..], &index.to_le_bytes()].concat()).as_bytes();
    all.sort_by_key(rank);
    all
}
