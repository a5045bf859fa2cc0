//! Snapshots on a virtual disk: the one that is offered, the one that arrives, and headers that stay when blocks go.

use floe_ledger::digest::Sum;
use floe_ledger::evidence::{Headers, Sealed};
use floe_ledger::snapshot::{self, Cutter, Outline, Part};
use floe_ledger::{ChangeSet, MemoryState, StateError};
use floe_machines::snapshot::Resumed;
use floe_types::{Height, NetworkId, codec};
use std::collections::{BTreeMap, BTreeSet};

/// Boundaries after which a block is dropped.
const KEPT_BOUNDARIES: usize = 3;

/// A snapshot that others may fetch.
#[derive(Clone, Debug)]
pub struct Offered {
    /// After which block.
    pub height: Height,
    /// What it is of.
    pub outline: Outline,
    /// Its parts, encoded.
    pub parts: Vec<Vec<u8>>,
    /// Its chunks, encoded.
    pub chunks: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Kept {
    outline: Outline,
    parts: Vec<Part>,
    chunks: BTreeMap<u32, Vec<u8>>,
}

/// Everything of a node's that has to do with snapshots.
#[derive(Clone, Debug, Default)]
pub struct Snapshots {
    /// The newest and the one before.
    offered: Vec<Offered>,
    headers: BTreeMap<Height, Sealed>,
    arriving: Option<Kept>,
    /// Whether the node is to begin with one.
    pub is_wanted: bool,
}

impl Headers for Snapshots {
    fn sealed(&self, height: Height) -> Result<Option<Sealed>, StateError> {
        Ok(self.headers.get(&height).cloned())
    }
}

impl Snapshots {
    /// A boundary was written: its header is kept and the state offered. Answers below which height blocks may go.
    pub fn offer(&mut self, height: Height, sealed: Sealed, state: &MemoryState) -> Height {
        self.headers.insert(height, sealed.clone());
        let mut cutter = Cutter::default();
        let mut cut = Vec::new();
        while let Ok(Some(chunk)) = cutter.cut(state) {
            cut.push(chunk);
        }
        let bytes = cut.iter().map(|chunk| chunk.bytes.len() as u64).sum();
        let outline = Outline { sealed, chunks: cut.len() as u32, bytes };
        let sums: Vec<Sum> = cut.iter().map(|chunk| chunk.sum.clone()).collect();
        let parts =
            sums.chunks(snapshot::PART_CHUNKS).map(|sums| codec::encode(&Part { sums: sums.to_vec() })).collect();
        let chunks = cut.into_iter().map(|chunk| chunk.bytes).collect();
        self.offered.insert(0, Offered { height, outline, parts, chunks });
        self.offered.truncate(2);
        self.headers.keys().rev().nth(KEPT_BOUNDARIES).copied().unwrap_or_default()
    }

    /// The newest that is offered.
    #[must_use]
    pub fn newest(&self) -> Option<&Offered> {
        self.offered.first()
    }

    /// The one offered at this height.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<&Offered> {
        self.offered.iter().find(|offered| offered.height == height)
    }

    /// Begins to keep one that arrives; chunks that were kept and are named stay.
    pub fn begin(&mut self, outline: Outline, parts: Vec<Part>, kept: &BTreeSet<u32>) {
        let mut chunks = self.arriving.take().map(|before| before.chunks).unwrap_or_default();
        chunks.retain(|index, _| kept.contains(index));
        self.arriving = Some(Kept { outline, parts, chunks });
    }

    /// Keeps a chunk of it.
    pub fn keep(&mut self, index: u32, bytes: Vec<u8>) {
        if let Some(arriving) = &mut self.arriving {
            arriving.chunks.insert(index, bytes);
        }
    }

    /// What an earlier life has kept.
    #[must_use]
    pub fn resumed(&self) -> Option<Resumed> {
        let Kept { outline, parts, chunks } = self.arriving.clone()?;
        Some(Resumed { outline, parts, kept: chunks.into_keys().collect() })
    }

    /// The state of the snapshot that has arrived, each chunk checked once more, and its height.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn restored(&mut self, network: &NetworkId) -> Result<(Height, Sealed, MemoryState), String> {
        let Kept { outline, parts, chunks } = self.arriving.take().ok_or("nothing has arrived")?;
        let opened = outline.sealed.open().map_err(|error| error.to_string())?;
        let (mut state, mut total) = (MemoryState::new(), Sum::default());
        for (index, sum) in (0u32..).zip(parts.iter().flat_map(|part| &part.sums)) {
            let bytes = chunks.get(&index).ok_or_else(|| format!("chunk {index} is missing"))?;
            let entries = snapshot::open(bytes, sum).map_err(|error| error.to_string())?;
            total.plus(sum);
            let put = entries.into_iter().map(|(key, value)| (key, Some(value)));
            state.apply(&ChangeSet(put.collect()));
        }
        let mut derived = BTreeMap::new();
        let mut put = |key: Vec<u8>, value: Vec<u8>| {
            derived.insert(key, Some(value));
            Ok(())
        };
        snapshot::derive(&state, network, &opened.header, &total, &mut put).map_err(|error| error.to_string())?;
        state.apply(&ChangeSet(derived));
        self.is_wanted = false;
        Ok((opened.header.height, outline.sealed, state))
    }

    /// Keeps a header for those who follow the terms.
    pub fn keep_header(&mut self, sealed: Sealed) {
        if let Ok(opened) = sealed.open() {
            self.headers.insert(opened.header.height, sealed);
        }
    }
}
