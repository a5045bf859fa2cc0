//! Checks a staged fragment where it lies, as a pure function of its bytes.

use super::{Offer, StoreFailure};
use crate::fragments::StagedFragment;
use floe_erasure::{FragmentError, FragmentProof, Layout, Options, ReadAt, pair_of, verify_fragment};
use std::io;

/// Why a fragment did not get as far as verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveFailure {
    /// The stream ended early or broke.
    Cut,
    /// The bytes or the proof are not of this blob and shard.
    Bad,
    /// The bytes are what the blob id commits to, and the commitment is inconsistent.
    Inconsistent,
    /// The store said no.
    Store(StoreFailure),
}

/// A staged fragment as a source of bytes.
struct Staged<'a>(&'a dyn StagedFragment);

impl ReadAt for Staged<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        Ok(self.0.read_at(buffer, offset)?)
    }
}

/// Checks everything a holder checks before it keeps a fragment: the path from the pair that its shard keeps to the blob
/// id, both slivers with their extensions, the piece, zero padding.
///
/// # Errors
/// [`ReceiveFailure`], with *they are wrong* and *we could not tell* apart.
pub fn verify_staged(
    staged: &dyn StagedFragment,
    offer: &Offer,
    shards: u16,
    options: &Options<'_>,
) -> Result<(), ReceiveFailure> {
    let layout = Layout::new(shards, offer.blob_bytes).map_err(|_| ReceiveFailure::Bad)?;
    if staged.staged_bytes() != layout.fragment_bytes() {
        return Err(ReceiveFailure::Cut);
    }
    let proof = FragmentProof::decode(&offer.proof, &layout).map_err(|_| ReceiveFailure::Bad)?;
    let pair = pair_of(&offer.blob, offer.shard, shards);
    match verify_fragment(&offer.blob, &layout, pair, &proof, &Staged(staged), options) {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &FragmentError) -> ReceiveFailure {
    if error.is_inconsistency() {
        ReceiveFailure::Inconsistent
    } else if error.is_undecided() {
        ReceiveFailure::Store(StoreFailure::Io)
    } else {
        ReceiveFailure::Bad
    }
}
