//! The bench of one fragment: where what helpers give lies, what of it is proven, and the arithmetic.
//!
//! A bench keeps bytes in a [`Scratch`] that its shell gives: a file, or memory for a fragment that is small. In memory it has
//! proofs, the vector of roots and the working memory of [`Options`]; none of these grows with the blob.
//!
//! ```text
//!  scratch:  primary sliver | secondary sliver | slot 0 | slot 1 | ...
//!            what is made, as a fragment lies    symbols of helpers, or in the wide form whole primary slivers
//! ```
//!
//! Symbols come bare. A fragment's proof comes with each and is checked at once: the roots in it say what the sliver must be.
//! That a symbol is what its helper's sliver has is looked at only when what was made of it is not what it must be.
//!
//! Calls that compute are long and block; a shell makes them on a thread of its own.

use super::{Attempted, Rebuild, Slot, Trouble};
use crate::custody::{Offer, ReceiveFailure, verify_staged};
use crate::fragments::{FragmentKey, FragmentRecord, FragmentStore, StoreError};
use floe_erasure::{
    Axis, CheckedPrimary, CheckedProof, FragmentError, FragmentProof, Layout, LayoutError, Opening, OpeningError,
    Options, Part, ProofDecodeError, ReadAt, RecoveredSliver, RecoveryError, RootVector, RootsError, SliverId, WriteAt,
    pair_of, recover_primary, recover_sliver, recovered_fragment, recovery_place, recovery_symbol, verify_primary,
};
use floe_types::{PairIndex, ShardIndex};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

/// Bytes copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// Room for bytes at any offset: a file, or memory.
pub trait Scratch: ReadAt + WriteAt + Send + Sync {}
impl<T: ReadAt + WriteAt + Send + Sync> Scratch for T {}

/// Why something at a bench did not go well.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no layout for a blob of this length.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The bytes are not a proof of such a fragment.
    #[error(transparent)]
    Encoding(#[from] ProofDecodeError),
    /// The proof, or a whole sliver, does not lead to the blob.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// The opening does not lead from the symbol that was given to the blob.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// Nothing was given of this shard, or for another sliver.
    #[error("shard {shard} is not asked for this")]
    Unasked {
        /// Whose.
        shard: ShardIndex,
    },
    /// Bytes beyond a slot.
    #[error("more bytes than the {bytes} of a slot")]
    Beyond {
        /// Bytes of the slot.
        bytes: u64,
    },
    /// Too little is there, or the disk failed.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Too few proofs are there.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The fragment is not whole yet.
    #[error("not both slivers are rebuilt")]
    Unfinished,
    /// What was rebuilt does not verify where it is staged: the scratch does not give back what was written.
    #[error("the rebuilt fragment does not verify: {0:?}")]
    Unverified(ReceiveFailure),
    /// The fragment store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scratch failed.
    #[error(transparent)]
    Scratch(#[from] io::Error),
}

impl BenchError {
    /// What it means for whoever gave the bytes.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            BenchError::Encoding(_) => Trouble::Wrong,
            BenchError::Fragment(error) if !error.is_undecided() => Trouble::Wrong,
            BenchError::Opening(OpeningError::Read { .. }) => Trouble::NoRoom,
            BenchError::Opening(_) | BenchError::Beyond { .. } => Trouble::Wrong,
            BenchError::Unasked { .. } => Trouble::NotThere,
            _ => Trouble::NoRoom,
        }
    }
}

/// How an attempt ended, with what is known then.
#[derive(Debug)]
pub enum Attempt {
    /// The sliver is what the blob commits to.
    Recovered,
    /// It is not, and these have not opened their symbols.
    Mismatch {
        /// Who.
        unproven: Vec<PairIndex>,
    },
    /// The blob is inconsistent.
    Inconsistent,
}

impl From<&Result<Attempt, BenchError>> for Attempted {
    fn from(attempt: &Result<Attempt, BenchError>) -> Attempted {
        match attempt {
            Ok(Attempt::Recovered) => Attempted::Recovered,
            Ok(Attempt::Mismatch { .. }) => Attempted::Mismatch,
            Ok(Attempt::Inconsistent) => Attempted::Inconsistent,
            Err(_) => Attempted::Failed,
        }
    }
}

/// What is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sliver(Axis),
    Lines,
}

/// What lies in a slot.
#[derive(Clone, Copy, Debug)]
enum Given {
    Symbol { is_proven: bool },
    Line(CheckedPrimary),
}

/// The bench of one job.
pub struct Bench {
    rebuild: Rebuild,
    layout: Layout,
    pair: PairIndex,
    scratch: Arc<dyn Scratch>,
    stage: Stage,
    proofs: BTreeMap<PairIndex, CheckedProof>,
    given: BTreeMap<PairIndex, (Slot, Given)>,
    vector: Option<RootVector>,
    secondary: Option<RecoveredSliver>,
    primary: Option<RecoveredSliver>,
}

/// Takes the bytes of one slot, from its start.
pub struct SlotWriter {
    scratch: Arc<dyn Scratch>,
    offset: u64,
    left: u64,
    bytes: u64,
}

impl SlotWriter {
    /// Bytes that are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Write for SlotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        if length > self.left {
            return Err(io::Error::other(BenchError::Beyond { bytes: self.bytes }.to_string()));
        }
        self.scratch.write_all_at(bytes, self.offset)?;
        self.offset += length;
        self.left -= length;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A scratch from an offset on.
struct Shifted<'a>(&'a dyn Scratch, u64);

impl WriteAt for Shifted<'_> {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, self.1.saturating_add(offset))
    }

    fn write_strided_at(&self, parts: &[&[u8]], offset: u64, stride: u64) -> io::Result<()> {
        self.0.write_strided_at(parts, self.1.saturating_add(offset), stride)
    }
}

impl Bench {
    /// Bytes of the scratch with which a fragment of this layout is begun: what is made and the symbols for one sliver.
    #[must_use]
    pub fn scratch_bytes(layout: &Layout) -> u64 {
        layout.fragment_bytes().saturating_add(layout.primary_bytes())
    }

    /// Bytes of the scratch in the wide form: what is made and `p` whole primary slivers, about the blob.
    #[must_use]
    pub fn wide_bytes(layout: &Layout) -> u64 {
        let lines = layout.primary_bytes().saturating_mul(u64::from(layout.rows()));
        layout.fragment_bytes().saturating_add(lines.max(layout.primary_bytes()))
    }

    /// The bench of `rebuild`, with a scratch of [`Bench::scratch_bytes`].
    ///
    /// # Errors
    /// [`BenchError::Layout`].
    pub fn new(rebuild: Rebuild, scratch: Arc<dyn Scratch>) -> Result<Bench, BenchError> {
        let layout = Layout::new(rebuild.shards, rebuild.blob_bytes)?;
        let pair = pair_of(&rebuild.blob, rebuild.shard, rebuild.shards);
        Ok(Bench {
            rebuild,
            layout,
            pair,
            scratch,
            stage: Stage::Sliver(Axis::Secondary),
            proofs: BTreeMap::new(),
            given: BTreeMap::new(),
            vector: None,
            secondary: None,
            primary: None,
        })
    }

    /// The layout of the blob.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Goes on with whole primary slivers, in a scratch of [`Bench::wide_bytes`].
    ///
    /// # Errors
    /// [`BenchError::Scratch`].
    pub fn widen(&mut self, scratch: Arc<dyn Scratch>) -> Result<(), BenchError> {
        let (start, end) = (self.layout.primary_bytes(), self.layout.fragment_bytes());
        self.copied(start..end, |bytes, at| Ok(scratch.write_all_at(bytes, at)?))?;
        self.scratch = scratch;
        self.stage = Stage::Lines;
        self.given.clear();
        Ok(())
    }

    /// Gives a range of the scratch to `take`, piece by piece.
    fn copied(
        &self,
        range: std::ops::Range<u64>,
        mut take: impl FnMut(&[u8], u64) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let mut at = range.start;
        let mut buffer = vec![0; (range.end - range.start).min(COPY_BYTES as u64) as usize];
        while at < range.end {
            let length = (range.end - at).min(COPY_BYTES as u64) as usize;
            let part = buffer.get_mut(..length).unwrap_or_default();
            self.scratch.read_exact_at(part, at)?;
            take(part, at)?;
            at += length as u64;
        }
        Ok(())
    }

    fn slot_bytes(&self) -> u64 {
        match self.stage {
            Stage::Sliver(_) => self.layout.symbol_bytes(),
            Stage::Lines => self.layout.primary_bytes(),
        }
    }

    fn slot_start(&self, slot: Slot) -> u64 {
        self.layout.fragment_bytes().saturating_add(self.slot_bytes().saturating_mul(u64::from(slot.0)))
    }

    /// What takes the bytes of a slot: a symbol's, or a primary sliver's.
    #[must_use]
    pub fn slot(&self, slot: Slot) -> SlotWriter {
        let bytes = self.slot_bytes();
        SlotWriter { scratch: Arc::clone(&self.scratch), offset: self.slot_start(slot), left: bytes, bytes }
    }

    fn checked(&self, shard: ShardIndex, proof: &[u8]) -> Result<CheckedProof, BenchError> {
        let pair = pair_of(&self.rebuild.blob, shard, self.rebuild.shards);
        Ok(FragmentProof::decode(proof, &self.layout)?.check(&self.rebuild.blob, &self.layout, pair)?)
    }

    /// The symbol of `shard` for the sliver of `axis` lies whole in `slot`; `proof` came with it.
    ///
    /// # Errors
    /// [`BenchError::Encoding`] or [`BenchError::Fragment`] when the proof is not one of this blob, [`BenchError::Unasked`].
    pub fn took_symbol(
        &mut self,
        shard: ShardIndex,
        (axis, slot): (Axis, Slot),
        proof: &[u8],
    ) -> Result<(), BenchError> {
        if self.stage != Stage::Sliver(axis) {
            return Err(BenchError::Unasked { shard });
        }
        let proof = self.checked(shard, proof)?;
        self.given.insert(proof.pair(), (slot, Given::Symbol { is_proven: false }));
        self.proofs.insert(proof.pair(), proof);
        Ok(())
    }

    /// The primary sliver of `shard` lies whole in `slot`: reads it once and checks it.
    ///
    /// # Errors
    /// As [`Bench::took_symbol`].
    pub fn took_line(
        &mut self,
        shard: ShardIndex,
        slot: Slot,
        proof: &[u8],
        options: &Options<'_>,
    ) -> Result<(), BenchError> {
        if self.stage != Stage::Lines {
            return Err(BenchError::Unasked { shard });
        }
        let proof = self.checked(shard, proof)?;
        let start = self.slot_start(slot);
        let line = verify_primary(
            &self.rebuild.blob,
            &self.layout,
            proof.pair(),
            proof.proof(),
            &Part::new(&*self.scratch, start),
            options,
        )?;
        self.given.insert(proof.pair(), (slot, Given::Line(line)));
        self.proofs.insert(proof.pair(), proof);
        Ok(())
    }

    /// The helper of `shard` opens the symbol that it gave.
    ///
    /// # Errors
    /// [`BenchError::Opening`] or [`BenchError::Fragment`]: it gave something else; [`BenchError::Unasked`].
    pub fn open(&mut self, shard: ShardIndex, proof: &[u8], opening: &[u8]) -> Result<(), BenchError> {
        let proof = self.checked(shard, proof)?;
        let unasked = BenchError::Unasked { shard };
        let Stage::Sliver(axis) = self.stage else { return Err(unasked) };
        let Some((slot, Given::Symbol { .. })) = self.given.get(&proof.pair()).copied() else { return Err(unasked) };
        let place = recovery_place(&self.layout, SliverId { pair: self.pair, axis }).ok_or(unasked)?;
        let opening = Opening::decode(opening, &self.layout, &place)?;
        proof.check_symbol(place, &Part::new(&*self.scratch, self.slot_start(slot)), &opening)?;
        self.given.insert(proof.pair(), (slot, Given::Symbol { is_proven: true }));
        Ok(())
    }

    /// Takes a helper's symbol for not given.
    pub fn forget(&mut self, pair: PairIndex) {
        self.given.remove(&pair);
    }

    /// Tries to make the sliver that is next.
    ///
    /// # Errors
    /// [`BenchError::Recovery`] when too little is there or the scratch fails, [`BenchError::Roots`] likewise.
    pub fn attempt(&mut self, options: &Options<'_>) -> Result<Attempt, BenchError> {
        if self.vector.is_none() {
            self.vector = match RootVector::from_proofs(self.proofs.values()) {
                Ok(vector) => Some(vector),
                Err(RootsError::Inconsistent { .. }) => return Ok(Attempt::Inconsistent),
                Err(error) => return Err(error.into()),
            };
        }
        let (axis, recovered) = match self.stage {
            Stage::Sliver(axis) => (axis, self.sliver_of_symbols(axis, options)),
            Stage::Lines => (Axis::Primary, self.sliver_of_lines(options)),
        };
        match recovered {
            Ok(sliver) => {
                self.given.clear();
                match axis {
                    Axis::Secondary => {
                        (self.secondary, self.stage) = (Some(sliver), Stage::Sliver(Axis::Primary));
                    }
                    Axis::Primary => self.primary = Some(sliver),
                }
                Ok(Attempt::Recovered)
            }
            Err(BenchError::Recovery(RecoveryError::Mismatch { .. })) => {
                let unproven = |given: &Given| matches!(given, Given::Symbol { is_proven: false });
                let open = self.given.iter().filter(|(_, (_, given))| unproven(given));
                let unproven: Vec<PairIndex> = open.map(|(pair, _)| *pair).collect();
                let is_proven = unproven.is_empty();
                Ok(if is_proven { Attempt::Inconsistent } else { Attempt::Mismatch { unproven } })
            }
            Err(BenchError::Recovery(RecoveryError::Padding { .. })) => Ok(Attempt::Inconsistent),
            Err(error) => Err(error),
        }
    }

    fn vector(&self) -> Result<&RootVector, BenchError> {
        self.vector.as_ref().ok_or(BenchError::Unfinished)
    }

    fn sliver_of_symbols(&self, axis: Axis, options: &Options<'_>) -> Result<RecoveredSliver, BenchError> {
        let target = SliverId { pair: self.pair, axis };
        let mut slots: Vec<(PairIndex, Slot)> = self.given.iter().map(|(pair, (slot, _))| (*pair, *slot)).collect();
        if axis == Axis::Primary {
            // The secondary sliver is a helper too; its symbol goes where nobody else's does.
            let slot = Slot(self.layout.columns().saturating_sub(1));
            let own = (&*self.scratch as &dyn ReadAt, &mut self.slot(slot) as &mut dyn Write);
            recovery_symbol(&self.layout, self.pair, target, own, options)?;
            slots.push((self.pair, slot));
        }
        let parts = slots.iter().map(|(pair, slot)| (*pair, Part::new(&*self.scratch, self.slot_start(*slot))));
        let parts: Vec<(PairIndex, Part<'_>)> = parts.collect();
        let symbols: Vec<(PairIndex, &dyn ReadAt)> =
            parts.iter().map(|(pair, part)| (*pair, part as &dyn ReadAt)).collect();
        let start = match axis {
            Axis::Primary => 0,
            Axis::Secondary => self.layout.primary_bytes(),
        };
        Ok(recover_sliver(self.vector()?, target, &symbols, &Shifted(&*self.scratch, start), options)?)
    }

    fn sliver_of_lines(&self, options: &Options<'_>) -> Result<RecoveredSliver, BenchError> {
        let line = |(slot, given): &(Slot, Given)| match given {
            Given::Line(checked) => Some((*checked, Part::new(&*self.scratch, self.slot_start(*slot)))),
            Given::Symbol { .. } => None,
        };
        let lines: Vec<(CheckedPrimary, Part<'_>)> = self.given.values().filter_map(line).collect();
        let lines: Vec<(CheckedPrimary, &dyn ReadAt)> =
            lines.iter().map(|(checked, part)| (*checked, part as &dyn ReadAt)).collect();
        Ok(recover_primary(self.vector()?, self.pair, &lines, &Shifted(&*self.scratch, 0), options)?)
    }

    /// Stages the rebuilt fragment, verifies it where it lies as one that was uploaded, and makes it durable.
    ///
    /// # Errors
    /// [`BenchError::Unfinished`], [`BenchError::Store`], [`BenchError::Unverified`] or [`BenchError::Scratch`].
    pub fn keep(&self, store: &dyn FragmentStore, options: &Options<'_>) -> Result<(), BenchError> {
        let slivers = self.primary.as_ref().zip(self.secondary.as_ref()).ok_or(BenchError::Unfinished)?;
        let made = recovered_fragment(self.vector()?, slivers.0, slivers.1);
        let (proof, _) = made.ok_or(BenchError::Unfinished)?;
        let Rebuild { blob, blob_bytes, registration, group, shard, shards, .. } = self.rebuild;
        let key = FragmentKey { group, blob, pair: self.pair };
        let bytes = self.layout.fragment_bytes();
        let mut staged = store.stage(key, bytes)?;
        self.copied(0..bytes, |part, _| Ok(staged.append(part)?))?;
        let offer = Offer { registration, blob, blob_bytes, shard, proof: proof.encode() };
        verify_staged(staged.as_ref(), &offer, shards, options).map_err(BenchError::Unverified)?;
        let record = FragmentRecord { key, registration, blob_bytes, proof: offer.proof };
        Ok(store.keep(vec![(record, staged)])?)
    }
}
