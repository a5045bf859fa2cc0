//! From sliver roots to the blob id: the upper half of the commitment.
//!
//! 1. The `2n` sliver roots, primaries by index, then secondaries by index, are a vector of `64n` bytes. Cut
//!    into `p` pieces of even length, the last ones padded with zeros, it is coded to `n` pieces.
//! 2. The leaf of pair `i` hashes the root of primary `i`, the root of secondary `n-1-i` and the hash of
//!    piece `i`.
//! 3. The leaves are the leaves of a Merkle tree. Its root, the number of shards, the length, the version
//!    and a digest kept for a later consistency check make the id.

use crate::code::{Code, Lanes};
use crate::engine::Machine;
use crate::hash::{Domain, Hash, Kernel};
use crate::id::{BlobId, PairIndex};
use crate::layout::{Axis, Layout};
use crate::merkle::{self, Tree};
use crate::proof::{FragmentProof, SliverRoots};

/// The version of the encoding and its commitment.
const VERSION: u8 = 1;
/// In version 1 nothing; later a linear digest for checking consistency.
const CHECK_DIGEST: Hash = [0; 32];

/// All that proofs are made of: about 450 bytes a pair.
#[derive(Clone, Debug)]
pub(crate) struct Commitment {
    layout: Layout,
    blob: BlobId,
    /// By sliver index.
    primaries: Vec<SliverRoots>,
    secondaries: Vec<SliverRoots>,
    /// All pieces, one after the other.
    pieces: Vec<u8>,
    tree: Tree,
}

impl Commitment {
    /// The commitment to slivers with these roots, each by sliver index.
    pub(crate) fn new(layout: &Layout, primaries: Vec<SliverRoots>, secondaries: Vec<SliverRoots>) -> Self {
        let n = usize::from(layout.shards());
        let primary_roots: Vec<Hash> = primaries.iter().map(|roots| sliver_root(Axis::Primary, roots)).collect();
        let secondary_roots: Vec<Hash> = secondaries.iter().map(|roots| sliver_root(Axis::Secondary, roots)).collect();
        let pieces = code_roots(layout, &primary_roots, &secondary_roots);
        let leaves = pieces
            .chunks(layout.piece_bytes())
            .enumerate()
            .map(|(pair, piece)| pair_leaf(&primary_roots[pair], &secondary_roots[n - 1 - pair], piece))
            .collect();
        let tree = Tree::new(Kernel::detect(), Domain::PairNode, leaves);
        let blob = blob_id(layout, &tree.root());
        Self { layout: *layout, blob, primaries, secondaries, pieces, tree }
    }

    pub(crate) fn blob(&self) -> BlobId {
        self.blob
    }

    /// The proof of a pair below `n`.
    pub(crate) fn proof(&self, pair: PairIndex) -> FragmentProof {
        let index = usize::from(pair.0);
        let secondary = usize::from(self.layout.sliver_of(Axis::Secondary, pair));
        let piece_bytes = self.layout.piece_bytes();
        FragmentProof {
            primary: self.primaries[index],
            secondary: self.secondaries[secondary],
            piece: self.pieces[index * piece_bytes..(index + 1) * piece_bytes].to_vec(),
            path: self.tree.path(index),
        }
    }
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

/// The id to which a proof of `pair` leads, if it has the shape it must have.
pub(crate) fn blob_of_path(layout: &Layout, pair: PairIndex, proof: &FragmentProof) -> Option<BlobId> {
    let primary = sliver_root(Axis::Primary, &proof.primary);
    let secondary = sliver_root(Axis::Secondary, &proof.secondary);
    let leaf = pair_leaf(&primary, &secondary, &proof.piece);
    let (index, leaves) = (usize::from(pair.0), usize::from(layout.shards()));
    let root = merkle::root_of_path(Domain::PairNode, leaf, index, leaves, &proof.path)?;
    Some(blob_id(layout, &root))
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
