//! Ed25519 keys: accounts sign transactions with them, members sign votes and network traffic.
//!
//! One acceptance rule everywhere, ZIP 215 as `ed25519-consensus` implements it, because single and batch verification
//! agree under it: two honest nodes that disagreed about one signature would split the chain.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "serde_bytes")] pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}..)", hex::encode(&self.0[..4]))
    }
}

/// A signature that is not one, or not of these bytes by this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not of this message by this key")]
pub struct BadSignature;

/// A secret key. Its bytes are wiped when it is dropped and never printed.
#[derive(Clone)]
pub struct SecretKey(ed25519_consensus::SigningKey);

impl SecretKey {
    /// The key with these 32 secret bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> SecretKey {
        SecretKey(ed25519_consensus::SigningKey::from(bytes))
    }

    /// The secret bytes, for a key file readable by its owner only.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public key: an account id, a node id or a vote key, as the use may be.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verification_key().to_bytes()
    }

    /// Signs `message`; deterministic.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Checks that `signature` is of `message` by the holder of `public`.
///
/// # Errors
/// [`BadSignature`] in every other case, a malformed key included.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    let key = ed25519_consensus::VerificationKey::try_from(*public).map_err(|_| BadSignature)?;
    key.verify(&ed25519_consensus::Signature::from(signature.0), message).map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_message_by_one_key() {
        let (one, two) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
        let signature = one.sign(b"message");
        assert_eq!(verify(&one.public(), b"message", &signature), Ok(()));
        assert_eq!(verify(&one.public(), b"messagf", &signature), Err(BadSignature));
        assert_eq!(verify(&two.public(), b"message", &signature), Err(BadSignature));
        assert_eq!(verify(&one.public(), b"message", &Signature([0; 64])), Err(BadSignature));
        assert_eq!(verify(&one.public(), b"message", &Signature([255; 64])), Err(BadSignature));
    }

    #[test]
    fn a_secret_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", SecretKey::from_bytes([7; 32])), "SecretKey(..)");
    }
}
