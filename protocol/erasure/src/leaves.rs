//! The hashes of all symbols of one sliver: what a holder keeps beside a fragment.
//!
//! With them a symbol, or a chunk of one, is opened by reading that symbol alone. They are 32 bytes for each of the `n`
//! symbols, stored ones first, and can be had again from the sliver's bytes at any time: a holder that keeps none
//! pays one pass over the sliver.
//!
//! Nobody else ever takes them on trust: an opening made of wrong hashes does not lead to the blob.

use crate::error::FragmentError;
use crate::hash::{Domain, HASH_BYTES, Hash, Kernel};
use crate::id::PairIndex;
use crate::io::ReadAt;
use crate::layout::{Axis, Layout};
use crate::merkle::Tree;
use crate::options::Options;
use crate::proof::SliverRoots;
use crate::sliver;

/// The hashes of all `n` symbols of one sliver, stored ones first. `32n` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliverHashes {
    axis: Axis,
    stored: usize,
    hashes: Vec<Hash>,
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
        Self { axis, stored: layout.sliver_symbols(axis), hashes }
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
