//! Names: the blob, the shard that keeps a fragment, and the pair that the fragment is.
//!
//! A blob has `n` sliver pairs and the network `n` shards. Which pair a shard keeps is rotated by the
//! blob's id, so that the systematic rows, which every read asks for first, of different blobs land on
//! different shards.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a blob: a commitment to its length, the number of shards and its whole encoding.
///
/// Written as 43 characters of URL-safe base64 without padding. In binary serde formats it is 32 raw
/// bytes, in human-readable ones the text. Any 32 bytes are a well-formed id; whether a blob of that id
/// exists is another question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

/// Why a text is not a [`BlobId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob id is 43 characters of url-safe base64 without padding")]
pub struct BlobIdTextError;

impl fmt::Display for BlobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlobId({self})")
    }
}

impl FromStr for BlobId {
    type Err = BlobIdTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The length is looked at first, so that a long text costs nothing.
        if text.len() != 43 {
            return Err(BlobIdTextError);
        }
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(BlobIdTextError),
        }
    }
}

impl Serialize for BlobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for BlobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TextVisitor)
        } else {
            Ok(Self(<[u8; 32]>::deserialize(deserializer)?))
        }
    }
}

struct TextVisitor;

impl serde::de::Visitor<'_> for TextVisitor {
    type Value = BlobId;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{BlobIdTextError}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BlobId, E> {
        text.parse().map_err(E::custom)
    }
}

/// Which sliver pair of a blob: primary sliver `i` with secondary sliver `n-1-i`. Below `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PairIndex(pub u16);

/// Which of the `n` logical places of the network. Below `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardIndex(pub u16);

impl fmt::Display for PairIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for ShardIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How far the pairs of a blob are rotated: the first eight bytes of its id, little-endian, modulo `n`.
fn rotation(blob: &BlobId, shards: u16) -> u32 {
    let [a, b, c, d, e, f, g, h, ..] = blob.0;
    let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    // The remainder is below a u16.
    (number % u64::from(shards)) as u32
}

/// The pair of `blob` that `shard` keeps in a network of `shards` shards (at least 1).
///
/// An index at or above `shards` is taken modulo `shards`.
pub fn pair_of(blob: &BlobId, shard: ShardIndex, shards: u16) -> PairIndex {
    let sum = u32::from(shard.0) + rotation(blob, shards);
    PairIndex((sum % u32::from(shards)) as u16)
}

/// The shard that keeps `pair` of `blob`: the inverse of [`pair_of`].
pub fn shard_of(blob: &BlobId, pair: PairIndex, shards: u16) -> ShardIndex {
    let n = u32::from(shards);
    let difference = u32::from(pair.0) % n + n - rotation(blob, shards);
    ShardIndex((difference % n) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_there_and_back() {
        let id = BlobId(std::array::from_fn(|i| (i * 37) as u8));
        let text = id.to_string();
        assert_eq!(text.len(), 43);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(format!("{text}=").parse::<BlobId>(), Err(BlobIdTextError));
        assert_eq!(text[1..].parse::<BlobId>(), Err(BlobIdTextError));
        assert_eq!(text.replace(&text[..1], "+").parse::<BlobId>(), Err(BlobIdTextError));
    }

    #[test]
    fn text_with_loose_last_bits_is_refused() {
        // 43 characters hold 258 bits: the last two must be zero, or one id had four names.
        let text = BlobId([0; 32]).to_string();
        assert!(format!("{}B", &text[..42]).parse::<BlobId>().is_err());
    }

    #[test]
    fn serde_is_text_for_people_and_raw_for_machines() {
        let id = BlobId([7; 32]);
        assert_eq!(postcard::to_allocvec(&id).unwrap(), vec![7; 32]);
        assert_eq!(postcard::from_bytes::<BlobId>(&[7; 32]).unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<BlobId>(&json).unwrap(), id);
    }

    #[test]
    fn rotation_is_a_bijection() {
        for shards in [4, 7, 100, 49_152, u16::MAX] {
            let id = BlobId([0xa7; 32]);
            for shard in [0, 1, shards / 2, shards - 1] {
                let pair = pair_of(&id, ShardIndex(shard), shards);
                assert!(pair.0 < shards);
                assert_eq!(shard_of(&id, pair, shards), ShardIndex(shard));
            }
        }
    }
}
