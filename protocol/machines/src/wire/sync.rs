//! `/floe/sync/1`: decided blocks with their certificates, for a node that is behind.
//!
//! The asker trusts nothing here: each certificate is checked against the committee of its height, each block by
//! executing it.

use floe_types::codec::{self, DecodeError};
use floe_types::{Height, NetworkId};
use serde::{Deserialize, Serialize};

/// The longest request in bytes.
pub const REQUEST_BYTES_MAX: usize = 128;
/// The longest answer in bytes: at least one longest block with the longest certificate fits.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of blocks after which an answer takes no further block.
pub const ANSWER_BLOCKS_BYTES: usize = 2 << 20;
/// The most blocks in one answer.
pub const BLOCKS_MAX: u32 = 256;

const _: () = assert!(
    ANSWER_BLOCKS_BYTES + floe_types::params::BLOCK_BYTES_MAX + (256 << 10) < ANSWER_BYTES_MAX,
    "the block that passes the soft limit still fits"
);

/// Asks for decided blocks from a height on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlocksRequest {
    /// The asker's network.
    pub network: NetworkId,
    /// The first height wanted.
    pub from: Height,
    /// The most blocks wanted; the answerer may give fewer.
    pub count_max: u32,
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
    /// The blocks.
    pub blocks: Vec<DecidedBlock>,
}

/// What answers need of a store of decided blocks.
pub trait DecidedBlocks {
    /// The block decided at `height`, when it is here.
    fn decided(&self, height: Height) -> Option<DecidedBlock>;
}

/// Serves a request from `store`, within the limits on count and bytes.
pub fn answer(store: &dyn DecidedBlocks, request: &BlocksRequest) -> BlocksAnswer {
    let mut blocks = Vec::new();
    let mut bytes = 0;
    let mut height = request.from;
    while blocks.len() < request.count_max.min(BLOCKS_MAX) as usize && bytes < ANSWER_BLOCKS_BYTES {
        let Some(decided) = store.decided(height) else { break };
        bytes += decided.block.len() + decided.certificate.len();
        blocks.push(decided);
        height = height.next();
    }
    BlocksAnswer { blocks }
}

/// Decodes a request.
///
/// # Errors
/// [`DecodeError`] when the bytes are not exactly one.
pub fn decode_request(bytes: &[u8]) -> Result<BlocksRequest, DecodeError> {
    codec::decode(bytes, REQUEST_BYTES_MAX)
}

/// Decodes an answer.
///
/// # Errors
/// [`DecodeError`] when the bytes are not exactly one.
pub fn decode_answer(bytes: &[u8]) -> Result<BlocksAnswer, DecodeError> {
    codec::decode(bytes, ANSWER_BYTES_MAX)
}
