//! What validators sign, and how signatures are made and checked.
//!
//! Every signature of this crate covers one *statement* of fixed length, so that no two statements share
//! bytes:
//!
//! ```text
//! "floe-consensus-v1" | network 32 | kind 1 | height 8 | round 4 | value 1+32 | valid round 1+4
//!  17 bytes                          1..=3    big end    big end   0 = nil      0 = none
//! ```
//!
//! # Laws
//! - **CO-1** A signature for one network, kind, height, round, value or valid round never verifies for
//!   another.
//!
//! # Not here
//! The signer's key is not in the statement: an Ed25519 signature binds it already. Vote extensions do not
//! exist.
//!
//! Verification follows ZIP 215 (the library's rule), so that all nodes agree on odd encodings.

use std::fmt;

use ed25519_consensus::{SigningKey, VerificationKey};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

use crate::value::write_hex;
use crate::{Height, Round, ValueId};

const DOMAIN: &[u8; 17] = b"floe-consensus-v1";
pub(crate) const STATEMENT_BYTES: usize = 17 + 32 + 1 + 8 + 4 + 33 + 5;

/// The name of a network: signatures of one are worthless in another.
pub type NetworkId = [u8; 32];

/// A validator's Ed25519 public key. It is also the validator's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValidatorKey(pub [u8; 32]);

impl ValidatorKey {
    pub(crate) fn decompress(&self) -> Option<VerificationKey> {
        VerificationKey::try_from(self.0).ok()
    }
}

impl fmt::Display for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// The secret half of a [`ValidatorKey`]. It cannot be printed or copied, and is wiped when dropped.
pub struct VoteSigningKey(SigningKey);

impl VoteSigningKey {
    /// The key made from these 32 secret bytes, all of which are usable.
    pub fn from_secret(mut secret: [u8; 32]) -> Self {
        let key = SigningKey::from(secret);
        secret.zeroize();
        Self(key)
    }

    /// The public key that verifies this one's signatures.
    pub fn public(&self) -> ValidatorKey {
        ValidatorKey(self.0.verification_key().to_bytes())
    }

    pub(crate) fn sign(&self, statement: &Statement, network: &NetworkId) -> Signature {
        Signature(self.0.sign(&statement.bytes(network)).to_bytes())
    }
}

impl Drop for VoteSigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// An Ed25519 signature over a statement. It travels as 64 plain bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(64)?;
        for byte in &self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(64, SignatureVisitor)
    }
}

struct SignatureVisitor;

impl<'de> Visitor<'de> for SignatureVisitor {
    type Value = Signature;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 bytes of signature")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Signature, A::Error> {
        let mut bytes = [0; 64];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        Ok(Signature(bytes))
    }
}

/// Which of the three signed acts of a round a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// The first vote of a round: "I have seen this proposal and would accept it", or nil.
    Prevote,
    /// The second vote: "a quorum prevoted this; decide it if a quorum says so too", or nil.
    Precommit,
    /// The proposer's offer of a value for a round.
    Proposal,
}

/// The content that a validator's signature covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub step: Step,
    pub height: Height,
    pub round: Round,
    /// `None` is nil, and only votes may say it.
    pub value: Option<ValueId>,
    /// Of proposals only: the earlier round in which the value already had a quorum of prevotes.
    pub valid_round: Option<Round>,
}

impl Statement {
    pub fn bytes(&self, network: &NetworkId) -> [u8; STATEMENT_BYTES] {
        let kind = match self.step {
            Step::Prevote => 1,
            Step::Precommit => 2,
            Step::Proposal => 3,
        };
        let (voted, value) = self.value.map_or((0, [0; 32]), |id| (1, id.0));
        let (has_valid_round, valid_round) = self.valid_round.map_or((0, 0), |round| (1, round.0));

        let mut bytes = [0; STATEMENT_BYTES];
        bytes[..17].copy_from_slice(DOMAIN);
        bytes[17..49].copy_from_slice(network);
        bytes[49] = kind;
        bytes[50..58].copy_from_slice(&self.height.0.to_be_bytes());
        bytes[58..62].copy_from_slice(&self.round.0.to_be_bytes());
        bytes[62] = voted;
        bytes[63..95].copy_from_slice(&value);
        bytes[95] = has_valid_round;
        bytes[96..].copy_from_slice(&valid_round.to_be_bytes());
        bytes
    }

    /// Whether `key` signed this statement for `network`. A key that is no curve point signs nothing.
    pub fn is_signed_by(&self, key: &ValidatorKey, signature: &Signature, network: &NetworkId) -> bool {
        key.decompress().is_some_and(|key| self.verifies(&key, signature, network))
    }

    /// As [`Self::is_signed_by`], for a key already decompressed.
    pub fn verifies(&self, key: &VerificationKey, signature: &Signature, network: &NetworkId) -> bool {
        key.verify(&signature.0.into(), &self.bytes(network)).is_ok()
    }
}
