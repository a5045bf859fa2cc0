//! `/floe/sync/1`: what a node that is behind asks for: decided blocks, changes of committee, snapshots.
//!
//! The asker trusts nothing here: certificates are checked against the committee of their height, blocks by executing them,
//! chunks against sums that add up to a signed root. Each answer is what its request asks for, or *not here*.
//!
//! | request | answer |
//! | --- | --- |
//! | blocks from a height on | [`BlocksAnswer`] |
//! | terms after an epoch | [`TermsAnswer`] |
//! | the newest snapshot's outline | [`OutlineAnswer`] |
//! | a part or a chunk of the snapshot at a height | [`PieceAnswer`] |

use floe_ledger::evidence::TermLink;
use floe_ledger::snapshot::{CHUNK_BYTES_MAX, Outline, PART_BYTES_MAX};
use floe_types::codec::{self, DecodeError};
use floe_types::{Epoch, Height, NetworkId};
use serde::{Deserialize, Serialize};

/// The longest request in bytes.
pub const REQUEST_BYTES_MAX: usize = 128;
/// The longest answer in bytes: at least one longest block with the longest certificate fits.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of blocks, or of terms, after which an answer takes no further one.
pub const ANSWER_BLOCKS_BYTES: usize = 2 << 20;
/// The most blocks in one answer.
pub const BLOCKS_MAX: u32 = 256;

const _: () = assert!(
    ANSWER_BLOCKS_BYTES + floe_types::params::BLOCK_BYTES_MAX + (256 << 10) < ANSWER_BYTES_MAX,
    "the block that passes the soft limit still fits"
);
const _: () = assert!(CHUNK_BYTES_MAX + 64 < ANSWER_BYTES_MAX && PART_BYTES_MAX + 64 < ANSWER_BYTES_MAX);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Decided blocks.
    Blocks {
        /// The first height wanted.
        from: Height,
        /// The most blocks wanted; the answerer may give fewer.
        count_max: u32,
    },
    /// Changes of committee.
    Terms {
        /// The first epoch of the newest committee that is known.
        after: Epoch,
    },
    /// What the newest snapshot is of.
    Outline,
    /// Sums of a snapshot's chunks.
    Part {
        /// The snapshot's height.
        height: Height,
        /// Which part.
        index: u32,
    },
    /// A chunk of a snapshot.
    Chunk {
        /// The snapshot's height.
        height: Height,
        /// Which chunk.
        index: u32,
    },
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The asker's network.
    pub network: NetworkId,
    /// What is asked.
    pub ask: Ask,
}

/// A block as it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedBlock {
    /// The encoded block.
    #[serde(with = "serde_bytes")]
    pub block: Vec<u8>,
    /// The encoded commit certificate.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

/// Consecutive decided blocks from the height asked for; none when the answerer has none there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlocksAnswer {
    /// The oldest height of which the answerer still has the block: asked for an older one, it has dropped it.
    pub oldest: Height,
    /// The blocks.
    pub blocks: Vec<DecidedBlock>,
}

/// Changes of committee after the one asked for, oldest first; none when the answerer knows of none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermsAnswer {
    /// The changes.
    pub links: Vec<TermLink>,
}

/// The newest snapshot; none when the answerer keeps none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlineAnswer {
    /// What it is of.
    pub outline: Option<Outline>,
}

/// A part or a chunk of a snapshot; none when the answerer has it no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceAnswer {
    /// Its encoding.
    pub bytes: Option<serde_bytes::ByteBuf>,
}

/// What answers need of a store of decided blocks.
pub trait DecidedBlocks {
    /// The block decided at `height`, when it is here.
    fn decided(&self, height: Height) -> Option<DecidedBlock>;

    /// The oldest height of which the block is kept.
    fn oldest(&self) -> Height {
        Height(1)
    }
}

/// What answers need of a store besides blocks. A store without any of it answers *not here*.
pub trait Served: DecidedBlocks {
    /// Changes of committee with first epochs above `after`, at most about `bytes_max` bytes.
    fn terms(&self, _after: Epoch, _bytes_max: usize) -> Vec<TermLink> {
        Vec::new()
    }

    /// The newest snapshot.
    fn outline(&self) -> Option<Outline> {
        None
    }

    /// An encoded part of the snapshot at `height`.
    fn part(&self, _height: Height, _index: u32) -> Option<Vec<u8>> {
        None
    }

    /// An encoded chunk of the snapshot at `height`.
    fn chunk(&self, _height: Height, _index: u32) -> Option<Vec<u8>> {
        None
    }
}

/// The encoded answer to a request's bytes; `None` when they are no request of this network: the asker is to blame.
pub fn serve(store: &dyn Served, network: &NetworkId, bytes: &[u8]) -> Option<Vec<u8>> {
    let request: Request = codec::decode(bytes, REQUEST_BYTES_MAX).ok()?;
    let piece = |bytes: Option<Vec<u8>>| codec::encode(&PieceAnswer { bytes: bytes.map(serde_bytes::ByteBuf::from) });
    (request.network == *network).then(|| match request.ask {
        Ask::Blocks { from, count_max } => codec::encode(&blocks(store, from, count_max)),
        Ask::Terms { after } => codec::encode(&TermsAnswer { links: store.terms(after, ANSWER_BLOCKS_BYTES) }),
        Ask::Outline => codec::encode(&OutlineAnswer { outline: store.outline() }),
        Ask::Part { height, index } => piece(store.part(height, index)),
        Ask::Chunk { height, index } => piece(store.chunk(height, index)),
    })
}

/// Blocks from `from` on, within the limits on count and bytes.
fn blocks(store: &dyn Served, from: Height, count_max: u32) -> BlocksAnswer {
    let mut blocks = Vec::new();
    let mut bytes = 0;
    let mut height = from;
    while blocks.len() < count_max.min(BLOCKS_MAX) as usize && bytes < ANSWER_BLOCKS_BYTES {
        let Some(decided) = store.decided(height) else { break };
        bytes += decided.block.len() + decided.certificate.len();
        blocks.push(decided);
        height = height.next();
    }
    BlocksAnswer { oldest: store.oldest(), blocks }
}

/// Encodes a request.
#[must_use]
pub fn encode_request(request: &Request) -> Vec<u8> {
    codec::encode(request)
}

/// Decodes an answer: a [`BlocksAnswer`], [`TermsAnswer`], [`OutlineAnswer`] or [`PieceAnswer`], as was asked.
///
/// # Errors
/// [`DecodeError`] when the bytes are not exactly one.
pub fn decode_answer<T: Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    codec::decode(bytes, ANSWER_BYTES_MAX)
}
