//! The beacon: what nobody could know before an epoch began, and how far its questions reach.
//!
//! Written by each boundary from the id of the block before it and from the seeds that were opened in the epoch that ended.
//! The block's proposer is free in what it puts into its block, and each member is free not to open its seed: either can
//! choose among a few beacons, none can choose a beacon.
//!
//! Questions are about blobs below [`Beacon::end`], which were defended when the epoch began. What they weigh stays as it was
//! until the next boundary, except when one of them is found invalid: then [`Drawing::Spoiled`] says that questions of this
//! epoch are held against nothing any more.

use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::codec::{self, Domain};
use floe_types::{BlockId, Epoch, NetworkId};
use serde::{Deserialize, Serialize};

static HASH: Domain = Domain::new("floe 1 challenge: beacon");

/// Whether what questions are drawn from stands as it did when the epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drawing {
    /// It does: whoever draws again gets the same questions.
    Firm,
    /// A blob was found invalid in the epoch: which question was drawn is not checked.
    Spoiled,
}

/// What the questions of an epoch are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// The epoch.
    pub epoch: Epoch,
    /// What nobody could know before it began.
    pub hash: [u8; 32],
    /// One past the newest blob when it began: only those below are asked about.
    pub end: u64,
    /// Whether questions can be drawn again.
    pub drawing: Drawing,
}

/// The running epoch's.
///
/// # Errors
/// [`StateError`].
pub fn beacon(state: &dyn StateRead) -> Result<Beacon, StateError> {
    Table::Beacon.must(state, &Table::Beacon.key(&[]))
}

/// Begins `epoch` on top of `parent`, when `end` is one past the newest blob. `seeds` are those opened in the epoch before, in
/// the order of members.
pub(crate) fn turn(
    overlay: &mut Overlay<'_>,
    network: &NetworkId,
    (epoch, end): (Epoch, u64),
    parent: &BlockId,
    seeds: &[[u8; 32]],
) {
    let hash = HASH.hash(&codec::encode(&(network, epoch, parent, seeds)));
    put(overlay, &Beacon { epoch, hash, end, drawing: Drawing::Firm });
}

/// A blob that questions may have been about weighs nothing any more.
pub(crate) fn spoil(overlay: &mut Overlay<'_>) -> Result<(), StateError> {
    let beacon = beacon(overlay)?;
    put(overlay, &Beacon { drawing: Drawing::Spoiled, ..beacon });
    Ok(())
}

fn put(overlay: &mut Overlay<'_>, beacon: &Beacon) {
    Table::Beacon.store(overlay, Table::Beacon.key(&[]), beacon);
}
