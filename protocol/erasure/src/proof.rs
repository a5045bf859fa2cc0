//! The proof that travels with a fragment and ties its two slivers to the blob's id.
//!
//! ```text
//!   primary:  stored root --+
//!             extension  ---+--> primary root ---+
//!   secondary: stored root -+                    |
//!             extension  ---+--> secondary root -+--> pair --path--> blob root --> BlobId
//!   piece of the coded vector of roots ----------+                (with n and length)
//! ```
//!
//! A reader computes the stored root of the sliver it got and takes the rest from the proof. Nothing in a
//! proof is trusted before its chain has led to the id; then all of it is, as the uploader's word.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::FragmentError;
use crate::hash::{HASH_BYTES, Hash};
use crate::id::{BlobId, PairIndex};
use crate::layout::{Axis, Layout, PIECE_BYTES_MAX};
use crate::merkle;
use crate::roots::{blob_of, sliver_root};

/// Bytes before the piece: four roots and the length of the piece.
const HEAD_BYTES: usize = 4 * HASH_BYTES + 1;
/// Longest path of all: a tree of 65,535 leaves.
const PATH_MAX: usize = 16;
/// Most bytes of a proof for any layout.
const PROOF_BYTES_MAX: usize = HEAD_BYTES + PIECE_BYTES_MAX + PATH_MAX * HASH_BYTES;

/// The two Merkle roots of one sliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliverRoots {
    /// Over the symbols that are stored.
    pub stored: [u8; 32],
    /// Over the symbols that the stored ones extend to, up to `n`.
    pub extension: [u8; 32],
}

/// What ties a fragment to its blob: the roots of both slivers, a piece of the coded vector of all sliver
/// roots, and the Merkle path of the pair. A few hundred bytes: 640 and a length byte at 1,000 shards.
///
/// On the wire: the four roots (primary stored, primary extension, secondary stored, secondary extension),
/// one byte with the length of the piece, the piece, the path from the leaf up. In serde a byte string of
/// that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentProof {
    pub(crate) primary: SliverRoots,
    pub(crate) secondary: SliverRoots,
    pub(crate) piece: Vec<u8>,
    pub(crate) path: Vec<Hash>,
}

/// Why bytes are not a proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofDecodeError {
    /// The number of bytes cannot be that of a proof for this layout.
    #[error("a proof of {actual} bytes, where {least} to {most} in steps of 32 are possible")]
    Length {
        /// Bytes there were.
        actual: usize,
        /// Fewest possible.
        least: usize,
        /// Most possible.
        most: usize,
    },
    /// The piece has another length than the layout gives.
    #[error("a piece of {actual} bytes, where the layout has {expected}")]
    Piece {
        /// Bytes the proof says.
        actual: usize,
        /// Bytes the layout says.
        expected: usize,
    },
}

impl FragmentProof {
    /// Bytes of the proof of `pair`, which must be below `n`, of this layout.
    pub(crate) fn bytes_of(layout: &Layout, pair: PairIndex) -> usize {
        let path = merkle::path_length(usize::from(pair.0), usize::from(layout.shards()));
        HEAD_BYTES + layout.piece_bytes() + path * HASH_BYTES
    }

    /// Most bytes of a proof of a fragment of this layout.
    pub fn max_bytes(layout: &Layout) -> usize {
        let path = merkle::path_length_max(usize::from(layout.shards()));
        HEAD_BYTES + layout.piece_bytes() + path * HASH_BYTES
    }

    /// The roots of the sliver of `axis`.
    pub fn roots(&self, axis: Axis) -> SliverRoots {
        match axis {
            Axis::Primary => self.primary,
            Axis::Secondary => self.secondary,
        }
    }

    /// The fragment's piece of the coded vector of all sliver roots.
    pub fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// The bytes of the proof.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.piece.len() + self.path.len() * HASH_BYTES);
        for roots in [&self.primary, &self.secondary] {
            bytes.extend_from_slice(&roots.stored);
            bytes.extend_from_slice(&roots.extension);
        }
        // No piece is longer than PIECE_BYTES_MAX.
        bytes.push(self.piece.len() as u8);
        bytes.extend_from_slice(&self.piece);
        bytes.extend_from_slice(self.path.as_flattened());
        bytes
    }

    /// Reads a proof of a fragment of this layout. Sizes are compared before any memory is given; whether the
    /// proof proves anything is for [`crate::verify_fragment`] and its kin.
    ///
    /// # Errors
    /// Not as many bytes as such a proof can have.
    pub fn decode(bytes: &[u8], layout: &Layout) -> Result<Self, ProofDecodeError> {
        let (least, most) = (HEAD_BYTES + layout.piece_bytes(), Self::max_bytes(layout));
        let length_error = ProofDecodeError::Length { actual: bytes.len(), least, most };
        if bytes.len() > most {
            return Err(length_error);
        }
        let proof = Self::parse(bytes).ok_or(length_error)?;
        if proof.piece.len() != layout.piece_bytes() {
            let (actual, expected) = (proof.piece.len(), layout.piece_bytes());
            return Err(ProofDecodeError::Piece { actual, expected });
        }
        Ok(proof)
    }

    /// Reads a proof of any layout.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > PROOF_BYTES_MAX {
            return None;
        }
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (roots, _) = head.as_chunks::<HASH_BYTES>();
        let piece_bytes = usize::from(head[HEAD_BYTES - 1]);
        let (piece, path) = rest.split_at_checked(piece_bytes)?;
        let (path, left_over) = path.as_chunks::<HASH_BYTES>();
        if piece_bytes > PIECE_BYTES_MAX || path.len() > PATH_MAX || !left_over.is_empty() {
            return None;
        }
        Some(Self {
            primary: SliverRoots { stored: roots[0], extension: roots[1] },
            secondary: SliverRoots { stored: roots[2], extension: roots[3] },
            piece: piece.to_vec(),
            path: path.to_vec(),
        })
    }

    /// Whether the proof leads from `pair` to `blob`.
    fn leads_to(&self, blob: &BlobId, layout: &Layout, pair: PairIndex) -> bool {
        let primary = sliver_root(Axis::Primary, &self.primary);
        let secondary = sliver_root(Axis::Secondary, &self.secondary);
        blob_of(layout, pair, (&primary, &secondary), &self.piece, &self.path) == Some(*blob)
    }
}

/// A proof that was seen to lead from its pair to its blob. Made by [`FragmentProof::check`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedProof {
    blob: BlobId,
    layout: Layout,
    pair: PairIndex,
    proof: FragmentProof,
}

impl FragmentProof {
    /// Checks that the proof leads from `pair` to `blob`, whose length and shards are those of `layout`.
    ///
    /// # Errors
    /// [`FragmentError::Pair`] or [`FragmentError::Proof`].
    pub fn check(self, blob: &BlobId, layout: &Layout, pair: PairIndex) -> Result<CheckedProof, FragmentError> {
        self.look(blob, layout, pair)?;
        Ok(CheckedProof { blob: *blob, layout: *layout, pair, proof: self })
    }

    /// As [`FragmentProof::check`], without making anything of it.
    pub(crate) fn look(&self, blob: &BlobId, layout: &Layout, pair: PairIndex) -> Result<(), FragmentError> {
        if pair.0 >= layout.shards() {
            return Err(FragmentError::Pair { pair, shards: layout.shards() });
        }
        if !self.leads_to(blob, layout, pair) {
            return Err(FragmentError::Proof { pair });
        }
        Ok(())
    }
}

impl CheckedProof {
    /// The blob it leads to.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// The layout of that blob.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The pair it leads from.
    pub fn pair(&self) -> PairIndex {
        self.pair
    }

    /// The proof itself.
    pub fn proof(&self) -> &FragmentProof {
        &self.proof
    }

    /// The roots of the sliver of `axis`: the uploader's word.
    pub fn roots(&self, axis: Axis) -> SliverRoots {
        self.proof.roots(axis)
    }
}

impl Serialize for FragmentProof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode())
    }
}

impl<'de> Deserialize<'de> for FragmentProof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(ProofVisitor)
    }
}

struct ProofVisitor;

impl<'de> Visitor<'de> for ProofVisitor {
    type Value = FragmentProof;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the bytes of a fragment's proof, at most {PROOF_BYTES_MAX}")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<FragmentProof, E> {
        FragmentProof::parse(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<FragmentProof, A::Error> {
        let mut bytes = Vec::with_capacity(PROOF_BYTES_MAX);
        while let Some(byte) = sequence.next_element()? {
            if bytes.len() == PROOF_BYTES_MAX {
                return Err(A::Error::invalid_length(bytes.len() + 1, &self));
            }
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}
