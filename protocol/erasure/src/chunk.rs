//! One chunk of a stored symbol, opened up to the blob id: the answer to a challenge.
//!
//! ```text
//!   proof     the fragment's: its length follows from layout and pair       641 bytes at 1,000 shards, at most
//!   opening   within the symbol, then from symbol to sliver root             320 and 32 for each doubling of the symbol
//!   chunk     1 KiB, or what the symbol has left                            little more than 2 KiB in all
//! ```
//!
//! The holder reads the one symbol, and with the sliver's [`SliverHashes`] nothing else; with those of its units, 64 KiB of it.
//! The judge needs the blob id and
//! the layout and hashes about 3 KiB. Both axes can be asked for: who keeps only one of its slivers is caught.

use crate::error::OpeningError;
use crate::hash::{CHUNK_BYTES, HASH_BYTES};
use crate::id::{BlobId, PairIndex};
use crate::io::{Part, ReadAt};
use crate::layout::{Axis, Layout};
use crate::leaves::SliverHashes;
use crate::merkle;
use crate::opening::{CheckedPart, Grain, Opening, Place};
use crate::proof::FragmentProof;

/// A chunk with all that leads from it to its blob. Nothing in it is trusted before [`verify_chunk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkOpening {
    proof: FragmentProof,
    opening: Opening,
    chunk: Vec<u8>,
}

/// How many chunks can be asked for of a sliver of `axis`: those of all its stored symbols.
pub fn chunk_count(layout: &Layout, axis: Axis) -> u64 {
    // A sliver has fewer than 2^63 bytes, and no chunk fewer than 2.
    layout.sliver_symbols(axis) as u64 * Grain::Chunk.parts(layout)
}

/// The chunk with this number, in the order of the sliver's bytes. `None` from [`chunk_count`] on.
pub fn nth_chunk(layout: &Layout, axis: Axis, number: u64) -> Option<Place> {
    let parts = Grain::Chunk.parts(layout);
    let symbol = u16::try_from(number / parts).ok()?;
    let place = Place::chunk(axis, symbol, number % parts);
    (place.exists(layout) && place.is_stored(layout)).then_some(place)
}

/// Opens a chunk of the fragment of `pair`, reading the symbol that it is in, or only its unit
/// ([`SliverHashes::with_units`]).
///
/// `hashes` are those of the sliver that the place is in; `fragment` is the primary sliver, then the secondary one.
///
/// # Errors
/// [`OpeningError::Place`] when the sliver stores no such chunk, [`OpeningError::Read`].
pub fn open_chunk(
    layout: &Layout,
    proof: &FragmentProof,
    place: Place,
    hashes: &SliverHashes,
    fragment: &dyn ReadAt,
) -> Result<ChunkOpening, OpeningError> {
    if place.grain != Grain::Chunk {
        return Err(OpeningError::Place { place });
    }
    let start = match place.axis {
        Axis::Primary => 0,
        Axis::Secondary => layout.primary_bytes(),
    };
    let (chunk, opening) = hashes.open_part(layout, place, &Part::new(fragment, start))?;
    Ok(ChunkOpening { proof: proof.clone(), opening, chunk })
}

/// Checks that a chunk is the one at `place` of `pair` of `blob`.
///
/// # Errors
/// [`OpeningError`]: whoever sent it is wrong.
pub fn verify_chunk(
    blob: &BlobId,
    layout: &Layout,
    pair: PairIndex,
    place: Place,
    opening: &ChunkOpening,
) -> Result<CheckedPart, OpeningError> {
    if place.grain != Grain::Chunk || !place.is_stored(layout) {
        return Err(OpeningError::Place { place });
    }
    let proof = opening.proof.clone().check(blob, layout, pair)?;
    proof.check_part(place, opening.chunk.clone(), &opening.opening)
}

impl ChunkOpening {
    /// The bytes that were opened.
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Bytes of the opening of a place of `pair`, encoded. `None` when there is no such place or pair.
    pub fn bytes_of(layout: &Layout, pair: PairIndex, place: &Place) -> Option<usize> {
        if pair.0 >= layout.shards() || !place.exists(layout) || place.grain != Grain::Chunk {
            return None;
        }
        let range = place.range(layout);
        // A chunk: at most 1 KiB.
        let chunk = (range.end - range.start) as usize;
        Some(FragmentProof::bytes_of(layout, pair) + place.opening_bytes(layout) + chunk)
    }

    /// Most bytes of any opening of this layout, encoded.
    pub fn max_bytes(layout: &Layout) -> usize {
        let across = merkle::path_length_max(layout.sliver_symbols(Axis::Primary));
        let parts = Grain::Chunk.parts(layout);
        let inside = (u64::BITS - parts.saturating_sub(1).leading_zeros()) as usize;
        FragmentProof::max_bytes(layout) + (across + inside) * HASH_BYTES + CHUNK_BYTES
    }

    /// The bytes: proof, opening, chunk.
    pub fn encode(&self) -> Vec<u8> {
        [self.proof.encode(), self.opening.encode(), self.chunk.clone()].concat()
    }

    /// Reads the opening of `place` of `pair`. The length is compared before any memory is given.
    ///
    /// # Errors
    /// [`OpeningError::Place`], [`OpeningError::Length`].
    pub fn decode(bytes: &[u8], layout: &Layout, pair: PairIndex, place: &Place) -> Result<Self, OpeningError> {
        let expected = Self::bytes_of(layout, pair, place).ok_or(OpeningError::Place { place: *place })?;
        let wrong = OpeningError::Length { expected, actual: bytes.len() };
        let (proof, rest) = match bytes.split_at_checked(FragmentProof::bytes_of(layout, pair)) {
            Some(parts) if bytes.len() == expected => parts,
            _ => return Err(wrong),
        };
        let Some((opening, chunk)) = rest.split_at_checked(place.opening_bytes(layout)) else {
            return Err(wrong);
        };
        let proof = FragmentProof::decode(proof, layout).map_err(|_| wrong)?;
        Ok(Self { proof, opening: Opening::decode(opening, layout, place)?, chunk: chunk.to_vec() })
    }
}
