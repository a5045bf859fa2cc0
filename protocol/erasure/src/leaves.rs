//! The hashes of all symbols of one sliver: what a holder keeps beside a fragment.
//!
//! With them a symbol, or a chunk of one, is opened by reading that symbol alone. They are 32 bytes for each of the `n`
//! symbols, stored ones first, and can be had again from the sliver's bytes at any time: a holder that keeps none
//! pays one pass over the sliver.
//!
//! A holder of long symbols may also keep the hashes of their *units* of 64 KiB, a two-thousandth of the sliver
//! ([`SliverHashes::with_units`]): then a part is opened by reading one unit, however long the symbol is.
//!
//! Nobody else ever takes them on trust: an opening made of wrong hashes does not lead to the blob.

use crate::error::FragmentError;
use crate::hash::{Domain, HASH_BYTES, Hash, Kernel};
use crate::id::PairIndex;
use crate::io::ReadAt;
use crate::layout::{Axis, Layout};
use crate::merkle::Tree;
use crate::opening::{self, Grain, UNIT_BYTES};
use crate::options::Options;
use crate::proof::SliverRoots;
use crate::sliver;

/// The hashes of all `n` symbols of one sliver, stored ones first. `32n` bytes, and 32 for each unit where those are
/// kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliverHashes {
    axis: Axis,
    stored: usize,
    hashes: Vec<Hash>,
    /// Chaining values of the units of all stored symbols, one symbol after the other; nothing when they are not kept, or a
    /// symbol is but one.
    units: Vec<Hash>,
}

impl SliverHashes {
    /// The hashes of the sliver of `axis` in `pair` that begins where `sliver` does: reads it once in stripes, extends
    /// it and hashes all of it. What the sliver should be is not asked.
    ///
    /// # Errors
    /// [`FragmentError::Pair`], [`FragmentError::Read`] or [`FragmentError::Cancelled`].
    pub fn of(
        layout: &Layout,
        pair: PairIndex,
        axis: Axis,
        sliver: &dyn ReadAt,
        options: &Options<'_>,
    ) -> Result<Self, FragmentError> {
        if pair.0 >= layout.shards() {
            return Err(FragmentError::Pair { pair, shards: layout.shards() });
        }
        let whole = sliver::check_whole(layout, pair, axis, (sliver, 0), options)?;
        Ok(Self::new(layout, axis, whole.hashes))
    }

    /// From the hashes of all `n` symbols.
    pub(crate) fn new(layout: &Layout, axis: Axis, hashes: Vec<Hash>) -> Self {
        debug_assert_eq!(hashes.len(), usize::from(layout.shards()));
        Self { axis, stored: layout.sliver_symbols(axis), hashes, units: Vec::new() }
    }

    /// Hashes that were kept: the bytes of [`SliverHashes::as_bytes`]. `None` unless they are `32n`. Whether they are
    /// those of the sliver shows when [`SliverHashes::roots`] is compared.
    pub fn from_bytes(layout: &Layout, axis: Axis, bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        let right = rest.is_empty() && hashes.len() == usize::from(layout.shards());
        right.then(|| Self::new(layout, axis, hashes.to_vec()))
    }

    /// The hashes one after the other: `32n` bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.hashes.as_flattened()
    }

    /// Keeps the hashes of the units of all stored symbols too, 32 bytes for each [`UNIT_BYTES`]: reads the `sliver` once.
    /// Openings are the same ones, but only the unit that a part is in is read for them. Keeps nothing when symbols
    /// are no longer than a unit.
    ///
    /// # Errors
    /// [`FragmentError::Read`] or [`FragmentError::Cancelled`].
    pub fn with_units(
        mut self,
        layout: &Layout,
        sliver: &dyn ReadAt,
        options: &Options<'_>,
    ) -> Result<Self, FragmentError> {
        let (units, size) = (Grain::Unit.parts(layout), layout.symbol_bytes());
        self.units.clear();
        if units == 1 {
            return Ok(self);
        }
        let mut buffer = Vec::new();
        for symbol in 0..self.stored as u64 {
            for start in (0..units).map(|unit| unit * UNIT_BYTES) {
                if options.is_cancelled() {
                    return Err(FragmentError::Cancelled);
                }
                // At most a unit.
                buffer.resize((size - start).min(UNIT_BYTES) as usize, 0);
                sliver::read(sliver, &mut buffer, symbol * size + start)?;
                self.units.push(opening::subtree(&buffer, start, false));
            }
            options.report((symbol + 1) * size);
        }
        Ok(self)
    }

    /// The hashes of units that were kept, one after the other: to be kept elsewhere.
    pub fn unit_bytes(&self) -> &[u8] {
        self.units.as_flattened()
    }

    /// With hashes of units that were kept: the bytes of [`SliverHashes::unit_bytes`]. `None` unless they are none, or 32 for
    /// each unit of each stored symbol. Wrong ones make openings that lead nowhere.
    pub fn with_unit_bytes(mut self, layout: &Layout, bytes: &[u8]) -> Option<Self> {
        let (units, rest) = bytes.as_chunks::<HASH_BYTES>();
        let expected = (self.stored as u64).checked_mul(Grain::Unit.parts(layout))?;
        if !rest.is_empty() || !units.is_empty() && units.len() as u64 != expected {
            return None;
        }
        self.units = units.to_vec();
        Some(self)
    }

    /// The hashes of the units of a stored symbol; nothing when they are not kept.
    pub(crate) fn units_of(&self, symbol: u16) -> &[Hash] {
        let count = self.units.len() / self.stored.max(1);
        self.units.get(usize::from(symbol) * count..(usize::from(symbol) + 1) * count).unwrap_or(&[])
    }

    /// Which kind of sliver it is.
    pub fn axis(&self) -> Axis {
        self.axis
    }

    /// The sliver's two roots.
    pub fn roots(&self) -> SliverRoots {
        sliver::roots_of(Kernel::detect(), &self.hashes, self.stored)
    }

    /// The path of `symbol`, below `n`, in the tree it is in: over the stored symbols or over the others.
    pub(crate) fn path(&self, symbol: u16) -> Vec<Hash> {
        let symbol = usize::from(symbol);
        let (leaves, leaf) = match symbol.checked_sub(self.stored) {
            None => (&self.hashes[..self.stored], symbol),
            Some(beyond) => (&self.hashes[self.stored..], beyond),
        };
        Tree::new(Kernel::detect(), Domain::SymbolNode, leaves.to_vec()).path(leaf)
    }
}
