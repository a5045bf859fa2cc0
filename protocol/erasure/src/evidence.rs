//! Evidence that a blob's encoding is inconsistent: five kinds, each checked by anyone who has the blob id.
//!
//! | kind | what it shows | body |
//! | --- | --- | --- |
//! | extension | a sliver's stored symbols do not extend to its extension root | the sliver |
//! | column | opened symbols of `p` rows decode to a secondary sliver that has not the committed root | the symbols |
//! | row | opened symbols of `c` columns decode to a primary sliver that has not the committed root | the symbols |
//! | roots | the pieces of `p` fragments do not decode to a vector with this blob id | nothing |
//! | padding | a byte after the blob's end is not zero | the chunk it is in |
//!
//! Evidence has a *head*, which fits into memory (below 1 MiB at 1,000 shards), and a *body* as long as a sliver at
//! most, which is read in stripes: judging takes bounded memory, and time in proportion to the body. Every length
//! follows from layout and kind, and pairs stand in order: what a head says has one spelling.
//!
//! **Sound.** An honest encoding determines every hash in the evidence, and every judgement compares a hash that was
//! computed with one that the blob id commits to: evidence against it is a collision of BLAKE3.
//!
//! **Complete.** Whenever the id that is derived from decoded bytes is another one, one of the five can be made: by
//! [`find_inconsistency`](crate::find_inconsistency), which says why.
//!
//! # Source
//! Walrus (arXiv 2505.05370), inconsistency proofs. Theirs is one kind; ours are five, because our readers take the
//! extension's root as given and our vector of roots is coded.

use crate::error::EvidenceError;
use crate::hash::{CHUNK_BYTES, HASH_BYTES, Hash};
use crate::id::{BlobId, PairIndex};
use crate::io::ReadAt;
use crate::layout::{Axis, Layout, SliverId};
use crate::leaves::SliverHashes;
use crate::opening::{Grain, Opening, Place};
use crate::options::Options;
use crate::proof::CheckedProof;
use crate::rebuild::{self, RebuildError};
use crate::roots::{PairLeaf, RootVector, SliverProof, sliver_root};
use crate::sliver::{self, is_zero_after};
use serde::{Deserialize, Serialize};

/// Bytes of a body that are hashed at a time.
const READ_BYTES: u64 = 1 << 17;

/// What a piece of evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EvidenceKind {
    /// A sliver's stored symbols do not extend to its extension root.
    Extension,
    /// Opened symbols decode to a secondary sliver that has not the committed root.
    Column,
    /// Opened symbols decode to a primary sliver that has not the committed root.
    Row,
    /// The pieces do not decode to the committed vector of roots.
    Roots,
    /// A byte after the blob's end is not zero.
    Padding,
}

impl std::fmt::Display for EvidenceKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Extension => "extension",
            Self::Column => "column",
            Self::Row => "row",
            Self::Roots => "roots",
            Self::Padding => "padding",
        })
    }
}

/// The head of a piece of evidence against a blob: all of it but the body, which is bytes at an offset.
///
/// Nothing in it is trusted before [`Evidence::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub(crate) blob: BlobId,
    pub(crate) layout: Layout,
    pub(crate) claim: Claim,
}

/// What the head says, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Extension {
        sliver: SliverId,
        proof: SliverProof,
    },
    /// Column or row, as the axis of the target says.
    Line {
        target: SliverId,
        leaf: PairLeaf,
        /// By pair, as many as the target's codeword has source symbols.
        openings: Vec<LineOpening>,
    },
    Roots {
        /// By pair, exactly `p`.
        leaves: Vec<(PairIndex, PairLeaf)>,
    },
    Padding {
        pair: PairIndex,
        place: Place,
        proof: SliverProof,
        opening: Opening,
    },
}

/// The symbol of one helper, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineOpening {
    pub(crate) pair: PairIndex,
    pub(crate) proof: SliverProof,
    pub(crate) opening: Opening,
}

/// Evidence that holds: the blob is inconsistently encoded. Made by [`Evidence::verify`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedEvidence {
    blob: BlobId,
    kind: EvidenceKind,
    sliver: Option<SliverId>,
}

impl CheckedEvidence {
    /// The blob it is against.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// What it shows.
    pub fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// The sliver it shows it of. None when it is of the vector of roots.
    pub fn sliver(&self) -> Option<SliverId> {
        self.sliver
    }
}

impl Evidence {
    /// That the sliver of `axis` in the pair of `proof` does not extend to its extension root: what
    /// [`FragmentError::Extension`](crate::FragmentError::Extension) found. The body is that sliver.
    pub fn extension(axis: Axis, proof: &CheckedProof) -> Self {
        let sliver = SliverId { pair: proof.pair(), axis };
        let claim = Claim::Extension { sliver, proof: SliverProof::of(proof, axis) };
        Self { blob: proof.blob(), layout: proof.layout(), claim }
    }

    pub(crate) fn roots(blob: &BlobId, layout: &Layout, leaves: Vec<(PairIndex, PairLeaf)>) -> Self {
        Self { blob: *blob, layout: *layout, claim: Claim::Roots { leaves } }
    }

    /// The blob it is against.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// The layout of that blob.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What it is to show.
    pub fn kind(&self) -> EvidenceKind {
        match &self.claim {
            Claim::Extension { .. } => EvidenceKind::Extension,
            Claim::Line { target, .. } if target.axis == Axis::Secondary => EvidenceKind::Column,
            Claim::Line { .. } => EvidenceKind::Row,
            Claim::Roots { .. } => EvidenceKind::Roots,
            Claim::Padding { .. } => EvidenceKind::Padding,
        }
    }

    /// The sliver of which it is to show it. None when it is of the vector of roots.
    pub fn sliver(&self) -> Option<SliverId> {
        match &self.claim {
            Claim::Extension { sliver, .. } => Some(*sliver),
            Claim::Line { target, .. } => Some(*target),
            Claim::Roots { .. } => None,
            Claim::Padding { pair, place, .. } => Some(SliverId { pair: *pair, axis: place.axis }),
        }
    }

    /// Bytes of the body.
    pub fn body_bytes(&self) -> u64 {
        match &self.claim {
            Claim::Extension { sliver, .. } => self.layout.sliver_bytes(sliver.axis),
            Claim::Line { target, .. } => self.layout.sliver_bytes(target.axis),
            Claim::Roots { .. } => 0,
            Claim::Padding { place, .. } => {
                let range = place.range(&self.layout);
                range.end - range.start
            }
        }
    }

    /// Judges the evidence: whether it shows what it is to show of the blob that it names. The body is read twice at
    /// most, in stripes.
    ///
    /// # Errors
    /// [`EvidenceError`]: it shows nothing, or ([`EvidenceError::is_undecided`]) nothing was found out.
    pub fn verify(&self, body: &dyn ReadAt, options: &Options<'_>) -> Result<CheckedEvidence, EvidenceError> {
        match &self.claim {
            Claim::Extension { sliver, proof } => self.verify_extension(*sliver, proof, body, options)?,
            Claim::Line { target, leaf, openings } => self.verify_line(*target, leaf, openings, (body, options))?,
            Claim::Roots { leaves } => self.verify_roots(leaves)?,
            Claim::Padding { pair, place, proof, opening } => {
                self.verify_padding((*pair, *place), proof, opening, body)?;
            }
        }
        Ok(CheckedEvidence { blob: self.blob, kind: self.kind(), sliver: self.sliver() })
    }

    fn check(&self, sliver: SliverId, proof: &SliverProof) -> Result<(), EvidenceError> {
        let right = sliver.pair.0 < self.layout.shards() && proof.leads_to(&self.blob, &self.layout, sliver);
        if right { Ok(()) } else { Err(EvidenceError::Proof { pair: sliver.pair }) }
    }

    fn verify_extension(
        &self,
        sliver: SliverId,
        proof: &SliverProof,
        body: &dyn ReadAt,
        options: &Options<'_>,
    ) -> Result<(), EvidenceError> {
        self.check(sliver, proof)?;
        let whole = sliver::check_whole(&self.layout, sliver.pair, sliver.axis, (body, 0), options)?;
        let committed = proof.roots;
        if whole.roots.stored != committed.stored {
            return Err(EvidenceError::Body { pair: sliver.pair });
        }
        if whole.roots.extension == committed.extension { Err(EvidenceError::Consistent) } else { Ok(()) }
    }

    fn verify_line(
        &self,
        target: SliverId,
        leaf: &PairLeaf,
        openings: &[LineOpening],
        (body, options): (&dyn ReadAt, &Options<'_>),
    ) -> Result<(), EvidenceError> {
        let layout = &self.layout;
        let in_order = openings.is_sorted_by(|a, b| a.pair < b.pair);
        let known = openings.iter().all(|opening| opening.pair.0 < layout.shards());
        if openings.len() != layout.sliver_symbols(target.axis) || !in_order || !known {
            return Err(EvidenceError::Shape);
        }
        if leaf.leads_to(layout, target.pair) != Some(self.blob) {
            return Err(EvidenceError::Proof { pair: target.pair });
        }
        let place = symbol_for(layout, target);
        let mut symbols = Vec::with_capacity(openings.len());
        for (index, opening) in openings.iter().enumerate() {
            self.check(SliverId { pair: opening.pair, axis: place.axis }, &opening.proof)?;
            let offset = index as u64 * layout.symbol_bytes();
            let hash = hash_of(body, offset, layout.symbol_bytes(), options)?;
            if !opening.opening.leads(layout, &place, hash, &opening.proof.roots) {
                return Err(EvidenceError::Body { pair: opening.pair });
            }
            symbols.push((opening.pair, crate::io::Part::new(body, offset)));
        }
        let symbols: Vec<(PairIndex, &dyn ReadAt)> =
            symbols.iter().map(|(pair, part)| (*pair, part as &dyn ReadAt)).collect();
        let rebuilt = rebuild::from_symbols(layout, target, &symbols, None, options)?;
        let root = sliver_root(target.axis, &rebuilt.hashes.roots());
        if root == leaf.root(target.axis) { Err(EvidenceError::Consistent) } else { Ok(()) }
    }

    fn verify_roots(&self, leaves: &[(PairIndex, PairLeaf)]) -> Result<(), EvidenceError> {
        let in_order = leaves.is_sorted_by(|(a, _), (b, _)| a < b);
        let known = leaves.iter().all(|(pair, _)| pair.0 < self.layout.shards());
        if leaves.len() != usize::from(self.layout.rows()) || !in_order || !known {
            return Err(EvidenceError::Shape);
        }
        for (pair, leaf) in leaves {
            if leaf.leads_to(&self.layout, *pair) != Some(self.blob) {
                return Err(EvidenceError::Proof { pair: *pair });
            }
        }
        let vector = RootVector::decoded(&self.layout, leaves);
        if vector.blob() == self.blob { Err(EvidenceError::Consistent) } else { Ok(()) }
    }

    fn verify_padding(
        &self,
        (pair, place): (PairIndex, Place),
        proof: &SliverProof,
        opening: &Opening,
        body: &dyn ReadAt,
    ) -> Result<(), EvidenceError> {
        self.check(SliverId { pair, axis: place.axis }, proof)?;
        if !place.exists(&self.layout) || !place.is_stored(&self.layout) {
            return Err(EvidenceError::Shape);
        }
        let range = place.range(&self.layout);
        // A chunk: at most 1 KiB.
        let mut bytes = vec![0; (range.end - range.start) as usize];
        body.read_exact_at(&mut bytes, 0).map_err(|source| EvidenceError::Read { source })?;
        let sliver = self.layout.sliver_of(place.axis, pair);
        let content = self.layout.symbol_content_bytes(place.axis, sliver, usize::from(place.symbol));
        let consistent = is_zero_after(&bytes, content.saturating_sub(range.start));
        let symbol = opening.symbol_of(&self.layout, &place, &bytes);
        if !symbol.is_some_and(|symbol| opening.leads(&self.layout, &place, symbol, &proof.roots)) {
            return Err(EvidenceError::Body { pair });
        }
        if consistent { Err(EvidenceError::Consistent) } else { Ok(()) }
    }
}

/// The symbol that every helper's sliver has for `target`: which axis, which symbol.
pub(crate) fn symbol_for(layout: &Layout, target: SliverId) -> Place {
    Place::symbol(target.axis.other(), layout.sliver_of(target.axis, target.pair))
}

/// The hash of `bytes` bytes of `source` from `offset` on.
fn hash_of(source: &dyn ReadAt, offset: u64, bytes: u64, options: &Options<'_>) -> Result<Hash, EvidenceError> {
    let mut hasher = blake3::Hasher::new();
    let (mut buffer, mut done) = (Vec::new(), 0);
    while done < bytes {
        if options.is_cancelled() {
            return Err(EvidenceError::Cancelled);
        }
        let count = (bytes - done).min(READ_BYTES);
        let part = rebuild::read(source, &mut buffer, offset + done, count as usize);
        hasher.update(part.map_err(|source| EvidenceError::Read { source })?);
        done += count;
    }
    Ok(*hasher.finalize().as_bytes())
}

impl From<RebuildError> for EvidenceError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Read { source, .. } | RebuildError::Write { source, .. } => Self::Read { source },
            RebuildError::Cancelled => Self::Cancelled,
        }
    }
}

impl Evidence {
    /// Evidence of padding from a sliver that has it: what
    /// [`FragmentError::Padding`](crate::FragmentError::Padding) found. `hashes` are those of that sliver, which begins
    /// where `sliver` does. Returns the head and the body, at most 1 KiB; `None` when all is zero that should be, or the
    /// hashes are not those of the proof.
    ///
    /// # Errors
    /// [`EvidenceError::Read`].
    pub fn padding(
        proof: &CheckedProof,
        hashes: &SliverHashes,
        sliver: &dyn ReadAt,
    ) -> Result<Option<(Self, Vec<u8>)>, EvidenceError> {
        let (blob, layout) = (proof.blob(), proof.layout());
        let of = SliverId { pair: proof.pair(), axis: hashes.axis() };
        Self::padding_of((&blob, &layout), of, SliverProof::of(proof, of.axis), hashes, sliver)
    }

    pub(crate) fn padding_of(
        (blob, layout): (&BlobId, &Layout),
        of: SliverId,
        proof: SliverProof,
        hashes: &SliverHashes,
        sliver: &dyn ReadAt,
    ) -> Result<Option<(Self, Vec<u8>)>, EvidenceError> {
        if hashes.as_bytes().len() != usize::from(layout.shards()) * HASH_BYTES || hashes.roots() != proof.roots {
            return Ok(None);
        }
        let Some(place) = first_padded(layout, of, sliver)? else {
            return Ok(None);
        };
        let Ok((body, opening)) = hashes.open_part(layout, place, sliver) else {
            return Ok(None);
        };
        let claim = Claim::Padding { pair: of.pair, place, proof, opening };
        Ok(Some((Self { blob: *blob, layout: *layout, claim }, body)))
    }
}

/// The first chunk of a sliver that is not zero after the blob's end.
fn first_padded(layout: &Layout, of: SliverId, sliver: &dyn ReadAt) -> Result<Option<Place>, EvidenceError> {
    let index = layout.sliver_of(of.axis, of.pair);
    let mut buffer = Vec::new();
    for symbol in 0..layout.sliver_symbols(of.axis) {
        let content = layout.symbol_content_bytes(of.axis, index, symbol);
        for chunk in content / CHUNK_BYTES as u64..Grain::Chunk.parts(layout) {
            // Stored symbols are fewer than n, which is a u16.
            let place = Place::chunk(of.axis, symbol as u16, chunk);
            let range = place.range(layout);
            let count = (range.end - range.start) as usize;
            let part = rebuild::read(sliver, &mut buffer, place.offset(layout), count);
            let part = part.map_err(|source| EvidenceError::Read { source })?;
            if !is_zero_after(part, content.saturating_sub(range.start)) {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}
