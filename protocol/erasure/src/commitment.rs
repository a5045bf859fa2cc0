//! All that the proofs of a blob's fragments are made of: the two roots of every sliver, and what follows from them.

use crate::id::{BlobId, PairIndex};
use crate::layout::{Axis, Layout};
use crate::proof::{FragmentProof, SliverRoots};
use crate::roots::{RootVector, sliver_root};

/// The commitment to one encoding: about 530 bytes a pair.
#[derive(Clone, Debug)]
pub(crate) struct Commitment {
    layout: Layout,
    /// By sliver index.
    primaries: Vec<SliverRoots>,
    secondaries: Vec<SliverRoots>,
    vector: RootVector,
}

impl Commitment {
    /// The commitment to slivers with these roots, each by sliver index.
    pub(crate) fn new(layout: &Layout, primaries: Vec<SliverRoots>, secondaries: Vec<SliverRoots>) -> Self {
        let primary_roots = primaries.iter().map(|roots| sliver_root(Axis::Primary, roots)).collect();
        let secondary_roots = secondaries.iter().map(|roots| sliver_root(Axis::Secondary, roots)).collect();
        let vector = RootVector::of(layout, primary_roots, secondary_roots);
        Self { layout: *layout, primaries, secondaries, vector }
    }

    pub(crate) fn blob(&self) -> BlobId {
        self.vector.blob()
    }

    /// The proof of a pair below `n`.
    pub(crate) fn proof(&self, pair: PairIndex) -> FragmentProof {
        let secondary = usize::from(self.layout.sliver_of(Axis::Secondary, pair));
        let (primary, secondary) = (self.primaries[usize::from(pair.0)], self.secondaries[secondary]);
        let leaf = self.vector.leaf(pair).expect("the caller has a pair below n");
        FragmentProof { primary, secondary, piece: leaf.piece, path: leaf.path }
    }
}
