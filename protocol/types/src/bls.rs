//! BLS signatures over BLS12-381 (keys in G1, signatures in G2), by `blst`.
//!
//! Storage confirmations use them because any number of confirmations of one blob aggregate into one signature. Keys
//! come with a proof of possession, without which a member could choose a key that cancels others' in an aggregate.

use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// The ciphersuite of confirmations: messages are prefixed and hashed to G2, possession is proven separately.
const MESSAGE_SUITE: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
/// The ciphersuite of proofs of possession.
const POSSESSION_SUITE: &[u8] = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// Why a BLS key or signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlsError {
    /// The bytes are not a point of the right subgroup, or the identity.
    #[error("not a valid BLS key")]
    BadKey,
    /// The signature is malformed or not of this message by these keys.
    #[error("the BLS signature is not of this message by these keys")]
    BadSignature,
    /// An aggregate of nothing.
    #[error("no signatures to aggregate")]
    Empty,
}

/// A public key, compressed: 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 48]);

/// A signature or an aggregate of signatures, compressed: 96 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlsSignature(pub [u8; 96]);

macro_rules! byte_text {
    ($name:ident, $length:literal) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}..)", stringify!($name), hex::encode(&self.0[..4]))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&hex::encode(self.0))
                } else {
                    serde_bytes::serialize(&self.0, serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    let mut bytes = [0u8; $length];
                    hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
                    Ok($name(bytes))
                } else {
                    serde_bytes::deserialize(deserializer).map($name)
                }
            }
        }
    };
}

byte_text!(PublicKey, 48);
byte_text!(BlsSignature, 96);

/// A secret key, wiped when dropped (by `blst`) and never printed.
#[derive(Clone)]
pub struct BlsSecretKey(blst::min_pk::SecretKey);

impl BlsSecretKey {
    /// Derives the key from 32 bytes of key material, which are wiped.
    #[must_use]
    pub fn from_seed(mut seed: [u8; 32]) -> BlsSecretKey {
        // `key_gen` fails only for material shorter than 32 bytes.
        let key = blst::min_pk::SecretKey::key_gen(&seed, b"floe storage confirmation")
            .expect("32 bytes are enough key material");
        seed.zeroize();
        BlsSecretKey(key)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk().compress())
    }

    /// Signs `message`; unique and deterministic.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> BlsSignature {
        BlsSignature(self.0.sign(message, MESSAGE_SUITE, &[]).compress())
    }

    /// Proves to others that the secret key of [`Self::public`] is known here.
    #[must_use]
    pub fn prove_possession(&self) -> BlsSignature {
        BlsSignature(self.0.sign(&self.public().0, POSSESSION_SUITE, &[]).compress())
    }
}

impl fmt::Debug for BlsSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlsSecretKey(..)")
    }
}

fn point(key: &PublicKey) -> Result<blst::min_pk::PublicKey, BlsError> {
    blst::min_pk::PublicKey::key_validate(&key.0).map_err(|_| BlsError::BadKey)
}

fn signature_point(signature: &BlsSignature) -> Result<blst::min_pk::Signature, BlsError> {
    blst::min_pk::Signature::sig_validate(&signature.0, true).map_err(|_| BlsError::BadSignature)
}

fn accepted(result: blst::BLST_ERROR) -> Result<(), BlsError> {
    match result {
        blst::BLST_ERROR::BLST_SUCCESS => Ok(()),
        _ => Err(BlsError::BadSignature),
    }
}

impl PublicKey {
    /// Checks a proof that the secret key is known. Once a key, when it enters the ledger.
    ///
    /// # Errors
    /// [`BlsError`] when key or proof is malformed or the proof is another key's.
    pub fn verify_possession(&self, proof: &BlsSignature) -> Result<(), BlsError> {
        accepted(signature_point(proof)?.verify(false, &self.0, POSSESSION_SUITE, &[], &point(self)?, false))
    }

    /// Checks one signature.
    ///
    /// # Errors
    /// [`BlsError`] when key or signature is malformed or the signature is of something else.
    pub fn verify(&self, message: &[u8], signature: &BlsSignature) -> Result<(), BlsError> {
        accepted(signature_point(signature)?.verify(false, message, MESSAGE_SUITE, &[], &point(self)?, false))
    }
}

/// One signature that stands for all of `signatures` over one message.
///
/// # Errors
/// [`BlsError::Empty`] for none, [`BlsError::BadSignature`] when one of them is malformed.
pub fn aggregate(signatures: &[BlsSignature]) -> Result<BlsSignature, BlsError> {
    let points = signatures.iter().map(signature_point).collect::<Result<Vec<_>, _>>()?;
    let references: Vec<_> = points.iter().collect();
    if references.is_empty() {
        return Err(BlsError::Empty);
    }
    let sum = blst::min_pk::AggregateSignature::aggregate(&references, false).map_err(|_| BlsError::BadSignature)?;
    Ok(BlsSignature(sum.to_signature().compress()))
}

/// Checks an aggregate over one `message` by exactly `keys`, whose possession has been proven. One pairing check.
///
/// # Errors
/// [`BlsError`] when a key or the signature is malformed, there is no key, or it is not their aggregate.
pub fn verify_aggregate(keys: &[PublicKey], message: &[u8], signature: &BlsSignature) -> Result<(), BlsError> {
    let points = keys.iter().map(point).collect::<Result<Vec<_>, _>>()?;
    let references: Vec<_> = points.iter().collect();
    if references.is_empty() {
        return Err(BlsError::Empty);
    }
    accepted(signature_point(signature)?.fast_aggregate_verify(false, message, MESSAGE_SUITE, &references))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_is_by_exactly_its_signers() {
        let keys: Vec<_> = (1..=4).map(|seed| BlsSecretKey::from_seed([seed; 32])).collect();
        let publics: Vec<_> = keys.iter().map(BlsSecretKey::public).collect();
        let signatures: Vec<_> = keys.iter().map(|key| key.sign(b"kept")).collect();
        let three = aggregate(&signatures[..3]).unwrap();
        assert_eq!(verify_aggregate(&publics[..3], b"kept", &three), Ok(()));
        assert_eq!(verify_aggregate(&publics, b"kept", &three), Err(BlsError::BadSignature));
        assert_eq!(verify_aggregate(&publics[..2], b"kept", &three), Err(BlsError::BadSignature));
        assert_eq!(verify_aggregate(&publics[..3], b"lost", &three), Err(BlsError::BadSignature));
        let twice = aggregate(&[signatures[0], signatures[0], signatures[1]]).unwrap();
        assert_eq!(verify_aggregate(&publics[..3], b"kept", &twice), Err(BlsError::BadSignature));
        assert_eq!(aggregate(&[]), Err(BlsError::Empty));
    }

    #[test]
    fn possession_is_proven_by_the_key_itself_only() {
        let (one, two) = (BlsSecretKey::from_seed([1; 32]), BlsSecretKey::from_seed([2; 32]));
        assert_eq!(one.public().verify_possession(&one.prove_possession()), Ok(()));
        assert!(one.public().verify_possession(&two.prove_possession()).is_err());
        assert!(one.public().verify_possession(&one.sign(&one.public().0)).is_err());
    }

    #[test]
    fn malformed_keys_and_signatures_are_refused() {
        let key = BlsSecretKey::from_seed([1; 32]);
        let signature = key.sign(b"kept");
        let mut identity = [0u8; 48];
        identity[0] = 0xc0;
        for bytes in [[0u8; 48], [255; 48], identity] {
            assert_eq!(PublicKey(bytes).verify(b"kept", &signature), Err(BlsError::BadKey));
        }
        assert_eq!(key.public().verify(b"kept", &BlsSignature([0; 96])), Err(BlsError::BadSignature));
    }
}
