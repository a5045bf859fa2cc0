//! The vector of all sliver roots, and the way from it to the blob id: the upper half of the commitment.
//!
//! 1. The `2n` sliver roots, primaries by index, then secondaries by index, are a vector of `64n` bytes. Cut
//!    into `p` pieces of even length, the last ones padded with zeros, it is coded to `n` pieces.
//! 2. The leaf of pair `i` hashes the root of primary `i`, the root of secondary `n-1-i` and the hash of
//!    piece `i`.
//! 3. The leaves are the leaves of a Merkle tree. Its root, the number of shards, the length, the version
//!    and a digest kept for a later consistency check make the id.
//!
//! So the vector determines the id. That is what makes it whole again from any `p` fragments' pieces: decode them,
//! derive the id anew, and compare. When it is another one, those `p` pieces are the evidence that the blob is
//! inconsistent; when it is the same, every leaf is what the vector says, with its path.

use std::collections::BTreeMap;

use crate::code::{Code, Lanes};
use crate::engine::Machine;
use crate::error::RootsError;
use crate::evidence::Evidence;
use crate::hash::{Domain, HASH_BYTES, Hash, Kernel};
use crate::id::{BlobId, PairIndex};
use crate::layout::{Axis, Layout, SliverId};
use crate::merkle::{self, Tree};
use crate::proof::{CheckedProof, FragmentProof, SliverRoots};
use crate::solve::{SolveScratch, Solver};

/// The version of the encoding and its commitment.
const VERSION: u8 = 1;
/// In version 1 nothing; later a linear digest for checking consistency.
const CHECK_DIGEST: Hash = [0; 32];

/// The roots of all `2n` slivers of a blob, as its id commits to them: about 400 bytes a pair.
///
/// Needed only when a sliver is rebuilt, to know what it must be and to make its proof. Made from the pieces of any
/// `p` fragments and checked against every leaf.
#[derive(Clone, Debug)]
pub struct RootVector {
    layout: Layout,
    blob: BlobId,
    /// By sliver index.
    primaries: Vec<Hash>,
    secondaries: Vec<Hash>,
    /// All pieces, one after the other.
    pieces: Vec<u8>,
    tree: Tree,
}

impl RootVector {
    /// The vector of these roots, each by sliver index, with all that follows from it.
    pub(crate) fn of(layout: &Layout, primaries: Vec<Hash>, secondaries: Vec<Hash>) -> Self {
        let n = usize::from(layout.shards());
        let pieces = code_roots(layout, &primaries, &secondaries);
        let leaves = pieces
            .chunks(layout.piece_bytes())
            .enumerate()
            .map(|(pair, piece)| pair_leaf(&primaries[pair], &secondaries[n - 1 - pair], piece))
            .collect();
        let tree = Tree::new(Kernel::detect(), Domain::PairNode, leaves);
        let blob = blob_id(layout, &tree.root());
        Self { layout: *layout, blob, primaries, secondaries, pieces, tree }
    }

    /// Decodes the vector from the pieces of any `p` different fragments of one blob, and derives the blob's id from it.
    /// More proofs than needed, and repeated ones, are ignored.
    ///
    /// # Errors
    /// Too few, or of different blobs; or [`RootsError::Inconsistent`]: the blob's uploader committed to pieces that
    /// are not those of the roots.
    pub fn from_proofs<'a>(proofs: impl IntoIterator<Item = &'a CheckedProof>) -> Result<Self, RootsError> {
        let mut chosen: BTreeMap<PairIndex, &CheckedProof> = BTreeMap::new();
        let mut first: Option<&CheckedProof> = None;
        for proof in proofs {
            let of = *first.get_or_insert(proof);
            if proof.blob() != of.blob() || proof.layout() != of.layout() {
                return Err(RootsError::Mixed { pair: proof.pair() });
            }
            if chosen.len() < usize::from(of.layout().rows()) {
                chosen.insert(proof.pair(), proof);
            }
        }
        let Some(first) = first else {
            return Err(RootsError::TooFew { needed: 1, given: 0 });
        };
        let (blob, layout) = (first.blob(), first.layout());
        let needed = usize::from(layout.rows());
        if chosen.len() < needed {
            return Err(RootsError::TooFew { needed, given: chosen.len() });
        }
        let leaves: Vec<(PairIndex, PairLeaf)> =
            chosen.into_iter().map(|(pair, proof)| (pair, PairLeaf::of(proof))).collect();
        let vector = Self::decoded(&layout, &leaves);
        if vector.blob != blob {
            return Err(RootsError::Inconsistent { evidence: Box::new(Evidence::roots(&blob, &layout, leaves)) });
        }
        Ok(vector)
    }

    /// The vector that exactly `p` different pieces decode to, and the id that follows from it.
    pub(crate) fn decoded(layout: &Layout, leaves: &[(PairIndex, PairLeaf)]) -> Self {
        let (n, p, bytes) = (usize::from(layout.shards()), usize::from(layout.rows()), layout.piece_bytes());
        let known: Vec<usize> = leaves.iter().map(|(pair, _)| usize::from(pair.0)).collect();
        let wanted: Vec<usize> = (0..p).collect();
        let solver = Solver::new(&Code::new(p, n), &known, &wanted);
        let solver = solver.expect("the caller has p different pairs below n");
        let pieces: Vec<&[u8]> = leaves.iter().map(|(_, leaf)| leaf.piece.as_slice()).collect();
        let mut vector = vec![0; p * bytes];
        let mut parts: Vec<&mut [u8]> = vector.chunks_mut(bytes).collect();
        solver.solve(bytes, &pieces, &mut parts, &mut SolveScratch::default());
        // p pieces hold the 64n bytes of the vector: see `Layout::piece_bytes`.
        let (roots, _) = vector.as_chunks::<HASH_BYTES>();
        Self::of(layout, roots[..n].to_vec(), roots[n..2 * n].to_vec())
    }

    /// The blob it is of.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// The layout of that blob.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The root of a sliver. `None` when there is no such pair.
    pub fn root(&self, sliver: SliverId) -> Option<[u8; 32]> {
        if sliver.pair.0 >= self.layout.shards() {
            return None;
        }
        let index = usize::from(self.layout.sliver_of(sliver.axis, sliver.pair));
        match sliver.axis {
            Axis::Primary => self.primaries.get(index).copied(),
            Axis::Secondary => self.secondaries.get(index).copied(),
        }
    }

    /// The proof of a fragment whose slivers have these roots. `None` when they are not the committed ones, or there is
    /// no such pair.
    pub fn proof(&self, pair: PairIndex, primary: SliverRoots, secondary: SliverRoots) -> Option<FragmentProof> {
        let committed = |axis, roots| self.root(SliverId { pair, axis }) == Some(sliver_root(axis, roots));
        if !committed(Axis::Primary, &primary) || !committed(Axis::Secondary, &secondary) {
            return None;
        }
        let PairLeaf { piece, path, .. } = self.leaf(pair)?;
        Some(FragmentProof { primary, secondary, piece, path })
    }

    /// The leaf of a pair, with its path. `None` when there is no such pair.
    pub(crate) fn leaf(&self, pair: PairIndex) -> Option<PairLeaf> {
        let primary = self.root(SliverId { pair, axis: Axis::Primary })?;
        let secondary = self.root(SliverId { pair, axis: Axis::Secondary })?;
        let (index, bytes) = (usize::from(pair.0), self.layout.piece_bytes());
        let piece = self.pieces[index * bytes..(index + 1) * bytes].to_vec();
        Some(PairLeaf { primary, secondary, piece, path: self.tree.path(index) })
    }
}

/// What the leaf of a pair is made of, and its way to the blob id: a proof that does not open the sliver roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairLeaf {
    pub(crate) primary: Hash,
    pub(crate) secondary: Hash,
    pub(crate) piece: Vec<u8>,
    pub(crate) path: Vec<Hash>,
}

impl PairLeaf {
    /// That of a fragment's proof.
    pub(crate) fn of(checked: &CheckedProof) -> Self {
        let proof = checked.proof();
        Self {
            primary: sliver_root(Axis::Primary, &proof.primary),
            secondary: sliver_root(Axis::Secondary, &proof.secondary),
            piece: proof.piece.clone(),
            path: proof.path.clone(),
        }
    }

    /// The root of the sliver of `axis`.
    pub(crate) fn root(&self, axis: Axis) -> Hash {
        match axis {
            Axis::Primary => self.primary,
            Axis::Secondary => self.secondary,
        }
    }

    /// The id to which it leads from `pair`, if it has the shape it must have.
    pub(crate) fn leads_to(&self, layout: &Layout, pair: PairIndex) -> Option<BlobId> {
        blob_of(layout, pair, (&self.primary, &self.secondary), &self.piece, &self.path)
    }
}

/// What ties one sliver to its blob: its two roots and the leaf of its pair, in which the other sliver is a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliverProof {
    pub(crate) roots: SliverRoots,
    pub(crate) leaf: PairLeaf,
}

impl SliverProof {
    /// That of the sliver of `axis`, from its fragment's proof.
    pub(crate) fn of(checked: &CheckedProof, axis: Axis) -> Self {
        Self { roots: checked.roots(axis), leaf: PairLeaf::of(checked) }
    }

    /// Whether it leads from this sliver to `blob`.
    pub(crate) fn leads_to(&self, blob: &BlobId, layout: &Layout, sliver: SliverId) -> bool {
        sliver_root(sliver.axis, &self.roots) == self.leaf.root(sliver.axis)
            && self.leaf.leads_to(layout, sliver.pair) == Some(*blob)
    }
}

/// The id to which the two sliver roots of a pair with its piece and path lead, if all have the shape they must have.
pub(crate) fn blob_of(
    layout: &Layout,
    pair: PairIndex,
    (primary, secondary): (&Hash, &Hash),
    piece: &[u8],
    path: &[Hash],
) -> Option<BlobId> {
    if piece.len() != layout.piece_bytes() {
        return None;
    }
    let leaf = pair_leaf(primary, secondary, piece);
    let (index, leaves) = (usize::from(pair.0), usize::from(layout.shards()));
    let root = merkle::root_of_path(Domain::PairNode, leaf, index, leaves, path)?;
    Some(blob_id(layout, &root))
}

/// The root of a sliver: stored tree and extension tree joined.
pub(crate) fn sliver_root(axis: Axis, roots: &SliverRoots) -> Hash {
    let domain = match axis {
        Axis::Primary => Domain::PrimarySliver,
        Axis::Secondary => Domain::SecondarySliver,
    };
    domain.hash(&[&roots.stored, &roots.extension])
}

fn pair_leaf(primary: &Hash, secondary: &Hash, piece: &[u8]) -> Hash {
    Domain::Pair.hash(&[primary, secondary, &Domain::Piece.hash(&[piece])])
}

fn blob_id(layout: &Layout, root: &Hash) -> BlobId {
    let shards = layout.shards().to_le_bytes();
    let length = layout.blob_bytes().to_le_bytes();
    BlobId(Domain::Blob.hash(&[&[VERSION], &shards, &length, root, &CHECK_DIGEST]))
}

/// The `n` pieces of the vector of sliver roots, one after the other.
fn code_roots(layout: &Layout, primary: &[Hash], secondary: &[Hash]) -> Vec<u8> {
    let (n, p) = (usize::from(layout.shards()), usize::from(layout.rows()));
    let bytes = layout.piece_bytes();
    let mut pieces = Vec::with_capacity(n * bytes);
    pieces.extend_from_slice(primary.as_flattened());
    pieces.extend_from_slice(secondary.as_flattened());
    pieces.resize(n * bytes, 0);
    // What is beyond the vector in the first p pieces is its padding, and must not be cut off above.
    debug_assert!(p * bytes >= 64 * n);
    let (code, lanes) = (Code::new(p, n), Lanes::new(bytes));
    let blocks = lanes.blocks();
    let mut work = vec![[0; 64]; code.work_symbols() * blocks];
    for (symbol, piece) in work.chunks_mut(blocks).zip(pieces.chunks(bytes).take(p)) {
        lanes.put(symbol, 0, piece);
    }
    code.extend(Machine::detect(), &mut work, blocks);
    for (symbol, piece) in work.chunks(blocks).zip(pieces.chunks_mut(bytes).skip(p)) {
        lanes.take(symbol, 0, piece);
    }
    pieces
}
