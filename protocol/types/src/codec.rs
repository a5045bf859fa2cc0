//! The one binary encoding, for the wire, the disk and every hash: postcard, with three rules on top.
//!
//! - **CO-1** A decoder takes the most bytes it may be given and refuses more before it reads one.
//! - **CO-2** Bytes left over are an error.
//! - **CO-3** An encoding that does not encode back to itself is an error: what is hashed or signed has one form.
//!   (Postcard's integers are varints, of which a careless decoder accepts several for one number.)

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the caller allows.
    #[error("{found} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not an encoding of the type.
    #[error("malformed: {reason}")]
    Malformed {
        /// The decoder's words.
        reason: String,
    },
    /// Bytes follow the value.
    #[error("{count} bytes left over")]
    LeftOver {
        /// How many.
        count: usize,
    },
    /// The value has a shorter encoding.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// The canonical encoding of `value`.
///
/// # Panics
/// Never for the types of this project: they have no maps with unknown length and no unsized sequences, which are
/// the only things postcard refuses when it may allocate.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("our types have an encoding")
}

/// The value of which `bytes` is the canonical encoding.
///
/// # Errors
/// [`DecodeError`] when there are more than `max` bytes, or they are not exactly one canonical encoding.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { found: bytes.len(), max });
    }
    let (value, rest) =
        postcard::take_from_bytes::<T>(bytes).map_err(|error| DecodeError::Malformed { reason: error.to_string() })?;
    if !rest.is_empty() {
        return Err(DecodeError::LeftOver { count: rest.len() });
    }
    if encode(&value) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// The hash of `bytes` in one of the protocol's domains: equal bytes in two domains have unrelated hashes.
///
/// `domain` is a sentence that names the use, as BLAKE3's key derivation asks.
#[must_use]
pub fn hash(domain: &'static str, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    hasher.update(bytes);
    *hasher.finalize().as_bytes()
}

/// A domain of [`hash`] with its key prepared: hashing in it costs half of what [`hash`] does for short inputs. Equal
/// domains give equal hashes by both.
#[derive(Debug)]
pub struct Domain {
    name: &'static str,
    key: std::sync::OnceLock<[u8; 32]>,
}

impl Domain {
    /// The domain of this name, for a `static`.
    #[must_use]
    pub const fn new(name: &'static str) -> Domain {
        Domain { name, key: std::sync::OnceLock::new() }
    }

    /// The hash of `bytes` in this domain.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        use blake3::hazmat::HasherExt;
        let key = self.key.get_or_init(|| blake3::hazmat::hash_derive_key_context(self.name));
        let mut hasher = blake3::Hasher::new_from_context_key(key);
        hasher.update(bytes);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_domain_hashes_as_an_unprepared_one() {
        static DOMAIN: Domain = Domain::new("floe test: domain");
        for length in [0, 1, 64, 1_000, 5_000] {
            let bytes = vec![7; length];
            assert_eq!(DOMAIN.hash(&bytes), hash("floe test: domain", &bytes));
        }
    }

    #[test]
    fn what_is_left_over_is_refused() {
        let mut bytes = encode(&7u64);
        bytes.push(0);
        assert_eq!(decode::<u64>(&bytes, 16), Err(DecodeError::LeftOver { count: 1 }));
    }

    #[test]
    fn a_second_form_of_one_number_is_refused() {
        assert_eq!(decode::<u64>(&[0x87, 0x00], 16), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn too_many_bytes_are_refused_unread() {
        assert_eq!(decode::<u64>(&[0; 17], 16), Err(DecodeError::TooLong { found: 17, max: 16 }));
    }

    #[test]
    fn a_length_that_lies_gives_an_error_and_no_memory() {
        // A vector that claims 2^62 bytes and has none.
        let bytes = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
        assert!(matches!(decode::<Vec<u8>>(&bytes, 64), Err(DecodeError::Malformed { .. })));
    }
}
