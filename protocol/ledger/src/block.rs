//! Blocks: what consensus decides, and what of it is a header that light readers follow.
//!
//! A header names everything that execution must come to: equal parents and equal transactions give equal headers on every
//! node, or the block is refused. The header of the first block of an epoch carries a [`BoundaryHeader`]: what the epoch
//! before came to: its lists and sums are those right after the boundary, before the block's transactions. The maps of blobs
//! have their roots in every header, so that a proof about a blob can be made from the state at any height
//! ([`crate::evidence`]).

use crate::fund::Payout;
use crate::merkle::{self, Root};
use crate::plan::Planned;
use crate::records::{Prices, Totals};
use crate::sets::MemberSet;
use crate::transaction::SignedTransaction;
use crate::verdict::{Decision, Tally};
use floe_types::codec::{self, DecodeError};
use floe_types::params::BLOCK_BYTES_MAX;
use floe_types::{BlockId, BlockTime, Epoch, Height, NetworkId, NodeId, TransactionId};
use serde::{Deserialize, Serialize};

/// Bytes set aside in a block for its header: two sets of members, nine roots and some numbers.
pub const HEADER_BYTES_MAX: usize = 2 << 10;
/// The most certificates in a block: each costs a pairing, and a block must be checked in well under a second.
pub const BLOCK_CERTIFICATES_MAX: usize = 256;

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundaryHeader {
    /// The epoch that ended.
    pub ended: Epoch,
    /// Whether enough members reported.
    pub decision: Decision,
    /// Members whose report was executed.
    pub reporters: MemberSet,
    /// Members that took part.
    pub answered: MemberSet,
    /// List of [`crate::VerdictRecord`] with the past rows that coverage still named beside its class: one for each set of
    /// rows that defended blobs were judged by, in the order of those sets.
    pub verdict_root: Root,
    /// Map of what was judged: at the last number of each segment its first number and its rows.
    pub classes_root: Root,
    /// List of [`crate::Transition`].
    pub transitions_root: Root,
    /// List of [`crate::repairs::Batch`]: the tickets of the epoch that begins.
    pub tickets_root: Root,
    /// What was planned for repair, counted.
    pub planned: Planned,
    /// Hash of the committee of the epoch that begins.
    pub committee_root: Root,
    /// The term of that committee.
    pub term: u64,
    /// What was decided, counted.
    pub tally: Tally,
    /// Where all WAL is.
    pub totals: Totals,
    /// Hash of the committee of the next term, once it is chosen.
    pub next_committee_root: Option<Root>,
    /// What became of the ended epoch's bucket and of the fees.
    pub payout: Payout,
    /// The price of the epoch that begins, and of the next term.
    pub prices: Prices,
}

/// The header of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHeader {
    /// The version of the protocol by which it is executed, see [`crate::version`].
    pub version: u32,
    /// The network.
    pub network: NetworkId,
    /// One above the parent's.
    pub height: Height,
    /// The block before; before the first, [`genesis_block`].
    pub parent: BlockId,
    /// Above the parent's.
    pub time: BlockTime,
    /// The member that made it.
    pub proposer: NodeId,
    /// The epoch in which it stands: with a boundary, the one that begins.
    pub epoch: Epoch,
    /// List of the transactions' ids.
    pub transactions_root: Root,
    /// The state after this block, see [`crate::execute`].
    pub state_root: Root,
    /// Map from sequence number to [`crate::SequenceRecord`], after this block. A blob's class is found by the segment its
    /// number is in: an attestation for a million blobs must not rewrite a million leaves.
    pub blobs_by_sequence_root: Root,
    /// Map from blob id to [`crate::BlobRecord`], after this block; proves that an id was never registered, too.
    pub blobs_by_id_root: Root,
    /// In the first block of an epoch, what the epoch before came to.
    pub boundary: Option<BoundaryHeader>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it comes to.
    pub header: BlockHeader,
    /// What it executes, in order.
    pub transactions: Vec<SignedTransaction>,
}

/// The parent of the first block.
#[must_use]
pub fn genesis_block(network: &NetworkId) -> BlockId {
    BlockId(codec::hash("floe 1 ledger: genesis block", &network.0))
}

/// The root of a block's transactions.
#[must_use]
pub fn transactions_root(ids: &[TransactionId]) -> Root {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    merkle::list_root(&ids)
}

impl BlockHeader {
    /// The block's id: the hash of its header.
    #[must_use]
    pub fn id(&self) -> BlockId {
        BlockId(codec::hash("floe 1 ledger: block id", &codec::encode(self)))
    }
}

impl Block {
    /// The hash of the header.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.header.id()
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The block of which `bytes` is the encoding.
    ///
    /// # Errors
    /// [`DecodeError`] when there are more than [`BLOCK_BYTES_MAX`] bytes or they are not one canonical encoding.
    pub fn decode(bytes: &[u8]) -> Result<Block, DecodeError> {
        codec::decode(bytes, BLOCK_BYTES_MAX)
    }
}
