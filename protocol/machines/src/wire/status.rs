//! `/floe/status/1`: one node asks another how far it is. For catching up and for live screens.

use floe_types::codec::{self, DecodeError};
use floe_types::{BlockId, Epoch, Height, NetworkId};
use serde::{Deserialize, Serialize};

/// The longest request or answer in bytes.
pub const STATUS_BYTES_MAX: usize = 512;
/// The most keys that one request asks about: those of a few terms.
pub const VOTERS_MAX: usize = 8;

/// Asks for an answer now. The nonce ties the answer to this request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRequest {
    /// The asker's network.
    pub network: NetworkId,
    /// Drawn by the asker.
    pub nonce: u64,
    /// The asker's newest decided height, so that asking also tells.
    pub height: Height,
    /// The asker's vote keys, of this term and others: it wants to know what others heard from it. At most [`VOTERS_MAX`].
    pub voters: Vec<[u8; 32]>,
}

/// How far the answerer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The answerer's network.
    pub network: NetworkId,
    /// The request's nonce.
    pub nonce: u64,
    /// Its newest decided height.
    pub height: Height,
    /// The block there.
    pub block: BlockId,
    /// The epoch it stands in.
    pub epoch: Epoch,
    /// The newest vote with one of the asker's keys that the answerer has heard: a mark that a lost or restored directory cannot
    /// take back. Signed, so that nobody can make one up.
    pub heard: Option<serde_bytes::ByteBuf>,
}

/// Encodes either.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    codec::encode(message)
}

/// Decodes a request.
///
/// # Errors
/// [`DecodeError`] when the bytes are not exactly one.
pub fn decode_request(bytes: &[u8]) -> Result<StatusRequest, DecodeError> {
    codec::decode(bytes, STATUS_BYTES_MAX)
}

/// Decodes an answer.
///
/// # Errors
/// [`DecodeError`] when the bytes are not exactly one.
pub fn decode_answer(bytes: &[u8]) -> Result<StatusAnswer, DecodeError> {
    codec::decode(bytes, STATUS_BYTES_MAX)
}
