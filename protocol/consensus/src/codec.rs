//! Bytes on the wire and in the journal: one format byte, then postcard, nothing after.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The first byte of every encoding of this crate. It changes when any encoding does.
const FORMAT: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Longer than the reader allows.
    #[error("{length} bytes, at most {max} are allowed")]
    TooLong {
        /// Their length.
        length: usize,
        /// The reader's limit.
        max: usize,
    },
    /// Of another format, cut short, with a tail, or not an encoding at all.
    #[error("the bytes are malformed")]
    Malformed,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT])
        .expect("postcard fails only for sequences of unknown length, and no type here has one")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { length: bytes.len(), max });
    }
    let body = match bytes.split_first() {
        Some((&FORMAT, body)) => body,
        _ => return Err(DecodeError::Malformed),
    };
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(DecodeError::Malformed),
    }
}
