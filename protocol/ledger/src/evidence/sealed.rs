//! A block's header with the certificate of its decision, without the block.
//!
//! Consensus decides bytes and names them by their plain BLAKE3 hash; the bytes are an encoded block, and its header comes
//! first. BLAKE3 is a binary tree over chunks of 1 KiB whose left subtrees are complete. So the first `2^j` chunks are one
//! node on the left edge of that tree, and the values of the right sides on the way up show that the block with a certain
//! hash begins with them:
//!
//! ```text
//!                     hash of the block, named by the certificate
//!                    /              \
//!              node                  sibling
//!             /     \
//!   first 2^j chunks  sibling
//!   = header + a little more
//! ```
//!
//! A header is then at most a few kilobytes however long its block is, and consensus need not know what a header is.
//!
//! # Why it is sound
//! Chunks, inner nodes and the root are hashed in domains of their own, and a chunk's value covers its place and its
//! length. Two different prefixes under one hash are a collision of BLAKE3.

use crate::block::{Block, BlockHeader};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use floe_types::codec;
use floe_types::params::BLOCK_BYTES_MAX;
use serde::{Deserialize, Serialize};

const CHUNK: usize = 1024;
/// The longest prefix: a header is at most [`crate::block::HEADER_BYTES_MAX`], rounded up to a power of two.
pub const PREFIX_BYTES_MAX: usize = 4096;
/// The longest certificate: 1,024 signers with key and signature.
pub const CERTIFICATE_BYTES_MAX: usize = 128 << 10;
/// Right sides on the way up: a block has at most 2^10 chunks.
const SIBLINGS_MAX: usize = (BLOCK_BYTES_MAX / CHUNK).ilog2() as usize;

const _: () = assert!(crate::block::HEADER_BYTES_MAX <= PREFIX_BYTES_MAX);

/// A decided block's header, shown under the block's hash, with the certificate that the block was decided. Unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The first bytes of the block: the header and what follows it in the last chunk; all of it when it is short.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    /// Values of the right sides, from the prefix up; none when the prefix is the whole block.
    pub siblings: Vec<[u8; 32]>,
    /// The commit certificate, as consensus encodes it.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

/// A header that is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// Something is longer than it may be, or the prefix has not the length of a left edge.
    #[error("the header's proof has a wrong shape")]
    Shape,
    /// The prefix does not begin with a header.
    #[error("no header: {reason}")]
    Header {
        /// The decoder's words.
        reason: String,
    },
}

/// A header with the hash of the block that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The header.
    pub header: BlockHeader,
    /// The hash of the block: what a certificate must name.
    pub value: [u8; 32],
}

/// The header at the beginning of `bytes`, and how long it is.
fn header_of(bytes: &[u8]) -> Result<(BlockHeader, usize), SealedError> {
    let wrong = |reason: String| SealedError::Header { reason };
    let (header, rest) = postcard::take_from_bytes::<BlockHeader>(bytes).map_err(|error| wrong(error.to_string()))?;
    let length = bytes.len() - rest.len();
    if bytes.get(..length) != Some(codec::encode(&header).as_slice()) {
        return Err(wrong("not the canonical encoding".into()));
    }
    Ok((header, length))
}

impl Sealed {
    /// The header of the encoded block `block`, which `certificate` decides. Neither is checked.
    ///
    /// # Errors
    /// [`SealedError`] when the bytes do not begin with a header or are longer than a block.
    pub fn of(block: &[u8], certificate: &[u8]) -> Result<Sealed, SealedError> {
        if block.len() > BLOCK_BYTES_MAX || certificate.len() > CERTIFICATE_BYTES_MAX {
            return Err(SealedError::Shape);
        }
        let (_, length) = header_of(block)?;
        let certificate = certificate.to_vec();
        let mut end = CHUNK;
        while end < length {
            end *= 2;
        }
        if block.len() <= end {
            return Ok(Sealed { prefix: block.to_vec(), siblings: Vec::new(), certificate });
        }
        let prefix = block.get(..end).unwrap_or_default().to_vec();
        let mut siblings = Vec::new();
        while end < block.len() {
            let right = block.get(end..block.len().min(2 * end)).unwrap_or_default();
            let mut hasher = blake3::Hasher::new();
            siblings.push(hasher.set_input_offset(end as u64).update(right).finalize_non_root());
            end *= 2;
        }
        Ok(Sealed { prefix, siblings, certificate })
    }

    /// The header and the hash of its block, as far as this shows them: that the certificate proves the hash is for whoever
    /// knows consensus.
    ///
    /// # Errors
    /// [`SealedError`].
    pub fn open(&self) -> Result<Opened, SealedError> {
        let edge = self.prefix.len().is_power_of_two() && (CHUNK..=PREFIX_BYTES_MAX).contains(&self.prefix.len());
        let whole = self.siblings.is_empty() && self.prefix.len() <= PREFIX_BYTES_MAX;
        if !(whole || edge) || self.siblings.len() > SIBLINGS_MAX || self.certificate.len() > CERTIFICATE_BYTES_MAX {
            return Err(SealedError::Shape);
        }
        let (header, _) = header_of(&self.prefix)?;
        let Some((last, below)) = self.siblings.split_last() else {
            return Ok(Opened { header, value: *blake3::hash(&self.prefix).as_bytes() });
        };
        let mut left = blake3::Hasher::new().update(&self.prefix).finalize_non_root();
        for right in below {
            left = merge_subtrees_non_root(&left, right, Mode::Hash);
        }
        let value = *merge_subtrees_root(&left, last, Mode::Hash).as_bytes();
        Ok(Opened { header, value })
    }
}

/// The header of an encoded block, without decoding its transactions.
///
/// # Errors
/// [`SealedError`] when the bytes do not begin with one.
pub fn header_in(block: &[u8]) -> Result<BlockHeader, SealedError> {
    header_of(block).map(|(header, _)| header)
}

/// The hash by which consensus names `block`.
#[must_use]
pub fn value_of(block: &Block) -> [u8; 32] {
    *blake3::hash(&block.encode()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::*;

    /// A real header before any number of bytes.
    fn block_of(tail: usize) -> Vec<u8> {
        let mut world = World::new();
        world.store(blob(1), 3, &ALL);
        world.end_epoch(&ALL);
        let mut bytes = codec::encode(&world.blocks.last().unwrap().header);
        let filler = (0..tail).map(|at| (at * 7 % 251) as u8);
        bytes.extend(filler);
        bytes
    }

    #[test]
    fn the_header_of_a_block_of_any_length_leads_to_its_hash() {
        let header = header_in(&block_of(0)).unwrap();
        for tail in [0, 1, 400, 1023, 1024, 1025, 2047, 2048, 5000, 9000, 65_536, 100_001, 1_000_000] {
            let block = block_of(tail);
            let sealed = Sealed::of(&block, b"certificate").unwrap();
            let opened = sealed.open().unwrap();
            assert_eq!(opened.header, header);
            assert_eq!(opened.value, *blake3::hash(&block).as_bytes(), "{tail} more bytes");
            assert!(sealed.prefix.len() <= 2048 && sealed.siblings.len() <= SIBLINGS_MAX);
        }
    }

    #[test]
    fn a_byte_touched_anywhere_gives_another_hash_or_an_error() {
        let block = block_of(5000);
        let sealed = Sealed::of(&block, &[]).unwrap();
        let value = sealed.open().unwrap().value;
        let other = |touched: &Sealed| touched.open().map_or(true, |opened| opened.value != value);
        for bit in 0..sealed.prefix.len() * 8 {
            let mut touched = sealed.clone();
            touched.prefix[bit / 8] ^= 1 << (bit % 8);
            assert!(other(&touched), "bit {bit}");
        }
        for at in 0..sealed.siblings.len() {
            let mut touched = sealed.clone();
            touched.siblings[at][5] ^= 4;
            assert!(other(&touched));
            touched.siblings.remove(at);
            assert!(other(&touched));
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_hashed() {
        let long = Sealed { prefix: vec![0; PREFIX_BYTES_MAX + 1], siblings: vec![], certificate: vec![] };
        assert_eq!(long.open(), Err(SealedError::Shape));
        assert_eq!(Sealed::of(&vec![0; BLOCK_BYTES_MAX + 1], &[]), Err(SealedError::Shape));
        let sealed = Sealed::of(&block_of(0), &[]).unwrap();
        let many = Sealed { siblings: vec![[0; 32]; SIBLINGS_MAX + 1], ..sealed.clone() };
        assert_eq!(many.open(), Err(SealedError::Shape));
        let certificate = vec![0; CERTIFICATE_BYTES_MAX + 1];
        assert_eq!(Sealed { certificate, ..sealed }.open(), Err(SealedError::Shape));
    }
}
