//! Checks fragments and slivers against the id of their blob.
//!
//! Two depths. A *reader* hashes the stored symbols, compares their root with the proof's, and follows the
//! proof to the id: one pass over the bytes, no arithmetic, also while they stream in
//! ([`PrimaryVerifier`]). It takes the extension's root as the uploader's word. A *holder*, before it signs,
//! also extends both slivers and compares the extension ([`verify_fragment`]).
//!
//! Systematic slivers must be zero after the blob's end: both look. Findings come in this order: the proof,
//! the stored symbols, then what makes the blob itself inconsistent, so that an inconsistency is reported only
//! of bytes that the blob commits to.
//!
//! A `Checked*` says that bytes were checked, not that a medium still has the same ones. Whoever reads a
//! source again and must be sure re-derives the id from what it read ([`crate::identify`]).

use crate::error::FragmentError;
use crate::id::{BlobId, PairIndex};
use crate::io::ReadAt;
use crate::layout::{Axis, Layout};
use crate::leaves::SliverHashes;
use crate::options::Options;
use crate::proof::{CheckedProof, FragmentProof, SliverRoots};
use crate::sliver::{self, StoredHasher};

/// A primary sliver that was checked against its blob's id. Made here only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedPrimary {
    checked: Checked,
}

/// A secondary sliver that was checked against its blob's id. Made here only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedSecondary {
    checked: Checked,
}

/// A fragment of which all is checked that one holder can: it may sign for it. Made here only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedFragment {
    primary: CheckedPrimary,
    secondary: CheckedSecondary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checked {
    blob: BlobId,
    layout: Layout,
    pair: PairIndex,
    roots: SliverRoots,
}

macro_rules! checked_sliver {
    ($name:ident) => {
        impl $name {
            /// The blob it is of.
            pub fn blob(&self) -> BlobId {
                self.checked.blob
            }

            /// The layout of that blob.
            pub fn layout(&self) -> Layout {
                self.checked.layout
            }

            /// The pair it is of.
            pub fn pair(&self) -> PairIndex {
                self.checked.pair
            }

            /// Its roots: the stored one was computed, the extension's compared only if the whole fragment was
            /// checked.
            pub fn roots(&self) -> SliverRoots {
                self.checked.roots
            }
        }
    };
}

checked_sliver!(CheckedPrimary);
checked_sliver!(CheckedSecondary);

impl CheckedFragment {
    /// A fragment both slivers of which were compared with the roots in `proof`, extension and padding too.
    pub(crate) fn of(blob: &BlobId, layout: &Layout, pair: PairIndex, proof: &FragmentProof) -> Self {
        let checked = |axis| Checked { blob: *blob, layout: *layout, pair, roots: proof.roots(axis) };
        let (primary, secondary) = (checked(Axis::Primary), checked(Axis::Secondary));
        Self { primary: CheckedPrimary { checked: primary }, secondary: CheckedSecondary { checked: secondary } }
    }

    /// The blob it is of.
    pub fn blob(&self) -> BlobId {
        self.primary.blob()
    }

    /// The pair it is.
    pub fn pair(&self) -> PairIndex {
        self.primary.pair()
    }

    /// Its primary sliver.
    pub fn primary(&self) -> CheckedPrimary {
        self.primary
    }

    /// Its secondary sliver.
    pub fn secondary(&self) -> CheckedSecondary {
        self.secondary
    }
}

/// Everything a holder checks before it signs for a fragment: that the proof, with its piece, leads from
/// `pair` to `blob`, that both slivers have the stored and the extension roots it says, and that they are zero
/// after the blob's end.
///
/// `bytes` are the primary sliver, then the secondary one: [`Layout::fragment_bytes`]. Both are read once,
/// in stripes. That `pair` is the one the holder's shard keeps is for the caller to compare
/// ([`crate::pair_of`]).
///
/// # Errors
/// [`FragmentError`]: see [`FragmentError::is_inconsistency`] and [`FragmentError::is_undecided`].
pub fn verify_fragment(
    blob: &BlobId,
    layout: &Layout,
    pair: PairIndex,
    proof: &FragmentProof,
    bytes: &dyn ReadAt,
    options: &Options<'_>,
) -> Result<CheckedFragment, FragmentError> {
    let proof = proof.clone().check(blob, layout, pair)?;
    verify_fragment_and_hash(&proof, bytes, options).map(|(checked, _, _)| checked)
}

/// As [`verify_fragment`] with a proof that has been checked, and hands out the hashes of the primary and of the secondary
/// sliver, which are computed anyhow: a holder that keeps them (`64n` bytes) opens chunks and symbols without hashing
/// the slivers again.
///
/// # Errors
/// As [`verify_fragment`].
pub fn verify_fragment_and_hash(
    proof: &CheckedProof,
    bytes: &dyn ReadAt,
    options: &Options<'_>,
) -> Result<(CheckedFragment, SliverHashes, SliverHashes), FragmentError> {
    let (layout, pair) = (&proof.layout(), proof.pair());
    let primary = sliver::check_whole(layout, pair, Axis::Primary, (bytes, 0), options)?;
    compare_whole(pair, Axis::Primary, proof, &primary)?;
    let place = (bytes, layout.primary_bytes());
    let secondary = sliver::check_whole(layout, pair, Axis::Secondary, place, options)?;
    compare_whole(pair, Axis::Secondary, proof, &secondary)?;
    let primary = SliverHashes::new(layout, Axis::Primary, primary.hashes);
    let secondary = SliverHashes::new(layout, Axis::Secondary, secondary.hashes);
    Ok((CheckedFragment::of(&proof.blob(), layout, pair, proof.proof()), primary, secondary))
}

/// Checks a primary sliver as a reader does: its stored symbols and its proof, in one pass of hashing.
///
/// # Errors
/// [`FragmentError`], but never [`FragmentError::Extension`]: the extension's root is taken as given.
pub fn verify_primary(
    blob: &BlobId,
    layout: &Layout,
    pair: PairIndex,
    proof: &FragmentProof,
    bytes: &dyn ReadAt,
    options: &Options<'_>,
) -> Result<CheckedPrimary, FragmentError> {
    let mut verifier = PrimaryVerifier::new(blob, layout, pair, proof)?;
    sliver::read_through(bytes, layout.primary_bytes(), options, |part| verifier.update(part))?;
    verifier.finish()
}

/// Checks a secondary sliver as a reader does: the twin of [`verify_primary`].
///
/// # Errors
/// As [`verify_primary`].
pub fn verify_secondary(
    blob: &BlobId,
    layout: &Layout,
    pair: PairIndex,
    proof: &FragmentProof,
    bytes: &dyn ReadAt,
    options: &Options<'_>,
) -> Result<CheckedSecondary, FragmentError> {
    let mut verifier = SecondaryVerifier::new(blob, layout, pair, proof)?;
    sliver::read_through(bytes, layout.secondary_bytes(), options, |part| verifier.update(part))?;
    verifier.finish()
}

/// Checks a primary sliver while it streams in, in parts of any length.
pub struct PrimaryVerifier {
    inner: Verifier,
}

/// Checks a secondary sliver while it streams in, in parts of any length.
pub struct SecondaryVerifier {
    inner: Verifier,
}

macro_rules! verifier {
    ($name:ident, $axis:expr, $checked:ident) => {
        impl $name {
            /// Begins to check the sliver of `pair`. The proof is checked here, before any byte is taken.
            ///
            /// # Errors
            /// [`FragmentError::Pair`] or [`FragmentError::Proof`].
            pub fn new(
                blob: &BlobId,
                layout: &Layout,
                pair: PairIndex,
                proof: &FragmentProof,
            ) -> Result<Self, FragmentError> {
                Ok(Self { inner: Verifier::new(blob, layout, pair, proof, $axis)? })
            }

            /// Adds the next bytes of the sliver.
            ///
            /// # Errors
            /// [`FragmentError::Length`] as soon as there are too many. The verifier is of no use then.
            pub fn update(&mut self, part: &[u8]) -> Result<(), FragmentError> {
                self.inner.hasher.update(part)
            }

            /// Judges the sliver.
            ///
            /// # Errors
            /// [`FragmentError::Length`], [`FragmentError::Sliver`] or [`FragmentError::Padding`].
            pub fn finish(self) -> Result<$checked, FragmentError> {
                Ok($checked { checked: self.inner.finish()? })
            }
        }
    };
}

verifier!(PrimaryVerifier, Axis::Primary, CheckedPrimary);
verifier!(SecondaryVerifier, Axis::Secondary, CheckedSecondary);

struct Verifier {
    claim: Checked,
    axis: Axis,
    hasher: StoredHasher,
}

impl Verifier {
    fn new(
        blob: &BlobId,
        layout: &Layout,
        pair: PairIndex,
        proof: &FragmentProof,
        axis: Axis,
    ) -> Result<Self, FragmentError> {
        proof.look(blob, layout, pair)?;
        let claim = Checked { blob: *blob, layout: *layout, pair, roots: proof.roots(axis) };
        Ok(Self { claim, axis, hasher: StoredHasher::new(layout, pair, axis) })
    }

    fn finish(self) -> Result<Checked, FragmentError> {
        let (pair, axis) = (self.claim.pair, self.axis);
        let found = self.hasher.finish()?;
        if found.stored != self.claim.roots.stored {
            return Err(FragmentError::Sliver { pair, axis });
        }
        if !found.padding_is_zero {
            return Err(FragmentError::Padding { pair, axis });
        }
        Ok(self.claim)
    }
}

fn compare_whole(
    pair: PairIndex,
    axis: Axis,
    proof: &CheckedProof,
    found: &sliver::WholeSliver,
) -> Result<(), FragmentError> {
    let claim = proof.roots(axis);
    if found.roots.stored != claim.stored {
        return Err(FragmentError::Sliver { pair, axis });
    }
    if found.roots.extension != claim.extension {
        return Err(FragmentError::Extension { pair, axis });
    }
    if !found.padding_is_zero {
        return Err(FragmentError::Padding { pair, axis });
    }
    Ok(())
}
