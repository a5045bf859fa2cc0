//! The bytes of evidence: one spelling for each, every length known before it is read.
//!
//! ```text
//!   kind  u8            1 extension   2 column   3 row   4 roots   5 padding          little-endian throughout
//!   extension           axis u8 (0 primary, 1 secondary), pair u16, proof
//!   column, row         pair u16 of the target, leaf, then for each of p, or c, helpers by pair:
//!                       pair u16, proof, path from its symbol
//!   roots               for each of p pairs, in order: pair u16, leaf
//!   padding             axis u8, pair u16, symbol u16, chunk u64, proof, opening
//!   leaf                primary root, secondary root, piece, path from the pair
//!   proof               stored root, extension root, root of the pair's other sliver, piece, path from the pair
//! ```
//!
//! The body is no part of it.

use crate::error::EvidenceError;
use crate::evidence::{Claim, Evidence, LineOpening, symbol_for};
use crate::hash::{HASH_BYTES, Hash};
use crate::id::{BlobId, PairIndex};
use crate::layout::{Axis, Layout, SliverId};
use crate::merkle;
use crate::opening::{Opening, Place};
use crate::proof::SliverRoots;
use crate::roots::{PairLeaf, SliverProof, sliver_root};

const EXTENSION: u8 = 1;
const COLUMN: u8 = 2;
const ROW: u8 = 3;
const ROOTS: u8 = 4;
const PADDING: u8 = 5;

impl Evidence {
    /// Most bytes of a head for this layout, whatever the kind.
    pub fn head_bytes_max(layout: &Layout) -> usize {
        let pair_path = merkle::path_length_max(usize::from(layout.shards())) * HASH_BYTES;
        let proof = 3 * HASH_BYTES + layout.piece_bytes() + pair_path;
        // Of all symbols the first has the longest path, and the larger tree of a sliver is the one over what it stores.
        let path = merkle::path_length_max(usize::from(layout.columns())) * HASH_BYTES;
        let inside = (u64::BITS as usize) * HASH_BYTES;
        let lines = usize::from(layout.columns()) * (2 + proof + path);
        1 + 13 + proof + path + inside + lines
    }

    /// The bytes of the head.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.claim {
            Claim::Extension { sliver, proof } => {
                bytes.extend_from_slice(&[EXTENSION, axis_byte(sliver.axis)]);
                bytes.extend_from_slice(&sliver.pair.0.to_le_bytes());
                put_proof(&mut bytes, sliver.axis, proof);
            }
            Claim::Line { target, leaf, openings } => {
                bytes.push(if target.axis == Axis::Secondary { COLUMN } else { ROW });
                bytes.extend_from_slice(&target.pair.0.to_le_bytes());
                put_leaf(&mut bytes, leaf);
                for opening in openings {
                    bytes.extend_from_slice(&opening.pair.0.to_le_bytes());
                    put_proof(&mut bytes, target.axis.other(), &opening.proof);
                    bytes.extend_from_slice(&opening.opening.encode());
                }
            }
            Claim::Roots { leaves } => {
                bytes.push(ROOTS);
                for (pair, leaf) in leaves {
                    bytes.extend_from_slice(&pair.0.to_le_bytes());
                    put_leaf(&mut bytes, leaf);
                }
            }
            Claim::Padding { pair, place, proof, opening } => {
                bytes.extend_from_slice(&[PADDING, axis_byte(place.axis)]);
                bytes.extend_from_slice(&pair.0.to_le_bytes());
                bytes.extend_from_slice(&place.symbol.to_le_bytes());
                bytes.extend_from_slice(&place.part.to_le_bytes());
                put_proof(&mut bytes, place.axis, proof);
                bytes.extend_from_slice(&opening.encode());
            }
        }
        bytes
    }

    /// Reads the head of evidence against `blob`, whose length and shards are those of `layout`. Lengths are compared
    /// before memory is given; whether it shows anything is for [`Evidence::verify`].
    ///
    /// # Errors
    /// [`EvidenceError::Shape`]: these bytes are not such a head.
    pub fn decode(bytes: &[u8], blob: &BlobId, layout: &Layout) -> Result<Self, EvidenceError> {
        let mut reader = Reader { rest: bytes, layout };
        let claim = reader.claim().filter(|_| reader.rest.is_empty()).ok_or(EvidenceError::Shape)?;
        Ok(Self { blob: *blob, layout: *layout, claim })
    }
}

fn axis_byte(axis: Axis) -> u8 {
    match axis {
        Axis::Primary => 0,
        Axis::Secondary => 1,
    }
}

fn put_leaf(bytes: &mut Vec<u8>, leaf: &PairLeaf) {
    bytes.extend_from_slice(&leaf.primary);
    bytes.extend_from_slice(&leaf.secondary);
    bytes.extend_from_slice(&leaf.piece);
    bytes.extend_from_slice(leaf.path.as_flattened());
}

fn put_proof(bytes: &mut Vec<u8>, axis: Axis, proof: &SliverProof) {
    bytes.extend_from_slice(&proof.roots.stored);
    bytes.extend_from_slice(&proof.roots.extension);
    bytes.extend_from_slice(&proof.leaf.root(axis.other()));
    bytes.extend_from_slice(&proof.leaf.piece);
    bytes.extend_from_slice(proof.leaf.path.as_flattened());
}

/// Takes a head apart from the front. `None` wherever something is missing or out of range.
struct Reader<'a> {
    rest: &'a [u8],
    layout: &'a Layout,
}

impl<'a> Reader<'a> {
    fn claim(&mut self) -> Option<Claim> {
        match self.array::<1>()? {
            [EXTENSION] => {
                let axis = self.axis()?;
                let pair = self.pair()?;
                Some(Claim::Extension { sliver: SliverId { pair, axis }, proof: self.proof(pair, axis)? })
            }
            [COLUMN] => self.line(Axis::Secondary),
            [ROW] => self.line(Axis::Primary),
            [ROOTS] => {
                let mut leaves = Vec::new();
                for _ in 0..self.layout.rows() {
                    let pair = self.pair_after(leaves.last().map(|(pair, _)| *pair))?;
                    leaves.push((pair, self.leaf(pair)?));
                }
                Some(Claim::Roots { leaves })
            }
            [PADDING] => {
                let (axis, pair) = (self.axis()?, self.pair()?);
                let place = Place::chunk(axis, u16::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
                if !place.exists(self.layout) {
                    return None;
                }
                let proof = self.proof(pair, axis)?;
                Some(Claim::Padding { pair, place, proof, opening: self.opening(&place)? })
            }
            _ => None,
        }
    }

    fn line(&mut self, axis: Axis) -> Option<Claim> {
        let pair = self.pair()?;
        let target = SliverId { pair, axis };
        let leaf = self.leaf(pair)?;
        let place = symbol_for(self.layout, target);
        let mut openings: Vec<LineOpening> = Vec::new();
        for _ in 0..self.layout.sliver_symbols(axis) {
            let pair = self.pair_after(openings.last().map(|opening| opening.pair))?;
            let proof = self.proof(pair, place.axis)?;
            openings.push(LineOpening { pair, proof, opening: self.opening(&place)? });
        }
        Some(Claim::Line { target, leaf, openings })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn axis(&mut self) -> Option<Axis> {
        match self.array::<1>()? {
            [0] => Some(Axis::Primary),
            [1] => Some(Axis::Secondary),
            _ => None,
        }
    }

    fn pair(&mut self) -> Option<PairIndex> {
        let pair = u16::from_le_bytes(self.array()?);
        (pair < self.layout.shards()).then_some(PairIndex(pair))
    }

    /// A pair beyond the one before it, so that a set of pairs has one spelling.
    fn pair_after(&mut self, before: Option<PairIndex>) -> Option<PairIndex> {
        self.pair().filter(|pair| before.is_none_or(|before| before < *pair))
    }

    fn proof(&mut self, pair: PairIndex, axis: Axis) -> Option<SliverProof> {
        let roots = SliverRoots { stored: self.array()?, extension: self.array()? };
        let (own, other) = (sliver_root(axis, &roots), self.array()?);
        let (primary, secondary) = match axis {
            Axis::Primary => (own, other),
            Axis::Secondary => (other, own),
        };
        let (piece, path) = self.piece_and_path(pair)?;
        Some(SliverProof { roots, leaf: PairLeaf { primary, secondary, piece, path } })
    }

    fn piece_and_path(&mut self, pair: PairIndex) -> Option<(Vec<u8>, Vec<Hash>)> {
        let piece = self.take(self.layout.piece_bytes())?.to_vec();
        let length = merkle::path_length(usize::from(pair.0), usize::from(self.layout.shards()));
        let (path, _) = self.take(length * HASH_BYTES)?.as_chunks::<HASH_BYTES>();
        Some((piece, path.to_vec()))
    }

    fn opening(&mut self, place: &Place) -> Option<Opening> {
        let bytes = self.take(place.opening_bytes(self.layout))?;
        Opening::decode(bytes, self.layout, place).ok()
    }

    fn leaf(&mut self, pair: PairIndex) -> Option<PairLeaf> {
        let (primary, secondary) = (self.array::<HASH_BYTES>()?, self.array::<HASH_BYTES>()?);
        let (piece, path) = self.piece_and_path(pair)?;
        Some(PairLeaf { primary, secondary, piece, path })
    }
}
