//! Ed25519 keys: accounts sign transactions with them, members sign votes and network traffic.
//!
//! One acceptance rule everywhere, ZIP 215 as `ed25519-consensus` implements it, because single and batch verification
//! agree under it: two honest nodes that disagreed about one signature would split the chain.
//!
//! The rule: `A` and `R` are encodings of points, canonical or not; `s` is below the group's order; and
//! `[8][s]B = [8]R + [8][k]A`. A batch checks a sum of such equations, each multiplied by a number `z` of 128 bits that nobody
//! can know before all of them are fixed:
//!
//! ```text
//! [8]( [sum z s]B - sum [z]R - sum [z k]A ) = 0,    z = hash of all keys, signatures and messages, and the place
//! ```
//!
//! When every equation holds the sum does. When one does not, the sum does with a chance of 2^-128 for each try, and what a
//! liar may try is its own signatures. There is no clock and no luck in it: every node computes the same `z`.

use crate::codec::Domain;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
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

/// A signature with what it is said to be of, by whom.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The public key.
    pub public: &'a [u8; 32],
    /// The message.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a Signature,
}

impl Claim<'_> {
    /// Checks it alone.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        verify(self.public, self.message, self.signature)
    }
}

static BATCH: Domain = Domain::new("floe 1 keys: multipliers of a batch of signatures");

/// Checks many signatures at once, at a fraction of the cost of one each: it succeeds exactly when [`verify`] succeeds for
/// every one. Which of them is wrong it does not say.
///
/// # Errors
/// [`BadSignature`] when one of them is.
pub fn verify_batch(claims: &[Claim<'_>]) -> Result<(), BadSignature> {
    use sha2::Digest;
    let mut transcript = Vec::with_capacity(claims.len() * 128);
    let mut parts = Vec::with_capacity(claims.len());
    for Claim { public, message, signature } in claims {
        let (r, s) = signature.0.split_first_chunk::<32>().ok_or(BadSignature)?;
        let s: [u8; 32] = s.try_into().map_err(|_| BadSignature)?;
        let hash = sha2::Sha512::new().chain_update(r).chain_update(public).chain_update(message);
        let k = Scalar::from_hash(hash);
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)).ok_or(BadSignature)?;
        let r = CompressedEdwardsY(*r).decompress().ok_or(BadSignature)?;
        // The message is in `k`, and a second message with the same `k` is the same equation.
        transcript.extend_from_slice(&signature.0);
        transcript.extend_from_slice(*public);
        transcript.extend_from_slice(k.as_bytes());
        parts.push((*public, k, s, r));
    }
    let seed = BATCH.hash(&transcript);
    // Signatures by one key share a term: senders are known to send more than one transaction.
    let mut keys: std::collections::BTreeMap<&[u8; 32], Scalar> = std::collections::BTreeMap::new();
    let (mut scalars, mut points) = (Vec::with_capacity(2 * parts.len()), Vec::with_capacity(2 * parts.len()));
    let mut of_base = Scalar::ZERO;
    for (place, (public, k, s, r)) in (0u64..).zip(parts) {
        let z = multiplier(&seed, place);
        of_base -= z * s;
        *keys.entry(public).or_default() += z * k;
        scalars.push(z);
        points.push(r);
    }
    for (public, scalar) in keys {
        points.push(CompressedEdwardsY(*public).decompress().ok_or(BadSignature)?);
        scalars.push(scalar);
    }
    scalars.push(of_base);
    points.push(curve25519_dalek::constants::ED25519_BASEPOINT_POINT);
    let sum = EdwardsPoint::vartime_multiscalar_mul(scalars, points);
    if sum.mul_by_cofactor().is_identity() { Ok(()) } else { Err(BadSignature) }
}

/// The multiplier of one equation: 128 bits.
fn multiplier(seed: &[u8; 32], place: u64) -> Scalar {
    let hash = blake3::keyed_hash(seed, &place.to_le_bytes());
    let (low, _) = hash.as_bytes().split_first_chunk::<16>().expect("a hash is longer than sixteen bytes");
    Scalar::from(u128::from_le_bytes(*low))
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

    /// Every way in which two verifiers of ed25519 are known to differ: keys and `R` of small order, encodings that are not
    /// canonical, `s` that is not reduced.
    #[test]
    fn a_batch_accepts_what_each_signature_alone_is_accepted_for() {
        let mut odd: Vec<[u8; 32]> =
            curve25519_dalek::constants::EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
        // y = 1 + p and y = p, with either sign: other encodings of small points.
        for low in [0xeeu8, 0xed] {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                odd.push(bytes);
            }
        }
        let mut zero_with_sign = [0; 32];
        (zero_with_sign[0], zero_with_sign[31]) = (1, 0x80);
        odd.push(zero_with_sign);
        odd.push([2; 32]);
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let good = SecretKey::from_bytes([1; 32]);
        let (public, signature) = (good.public(), good.sign(b"good"));
        let mut accepted = 0;
        for key in odd.iter().chain([&public]) {
            for r in &odd {
                for s in [[0; 32], order] {
                    let odd = Signature([*r, s].concat().try_into().unwrap());
                    let single = verify(key, b"odd", &odd);
                    let claim = Claim { public: key, message: b"odd", signature: &odd };
                    let beside = Claim { public: &public, message: b"good", signature: &signature };
                    assert_eq!(verify_batch(&[claim]), single, "{key:?} {r:?} {s:?}");
                    assert_eq!(verify_batch(&[beside, claim, beside]), single, "{key:?} {r:?} {s:?}");
                    accepted += u32::from(single.is_ok());
                }
            }
        }
        assert!(accepted > 50, "the odd ones are accepted, by both: {accepted}");
        assert_eq!(verify_batch(&[]), Ok(()));
    }

    #[test]
    fn one_wrong_signature_spoils_a_batch_wherever_it_is() {
        let keys: Vec<_> = (0..40).map(|seed| SecretKey::from_bytes([seed % 7; 32])).collect();
        let publics: Vec<_> = keys.iter().map(SecretKey::public).collect();
        let messages: Vec<[u8; 1]> = (0..40).map(|at| [at]).collect();
        let mut signatures: Vec<_> = keys.iter().zip(&messages).map(|(key, message)| key.sign(message)).collect();
        let check = |signatures: &[Signature]| {
            let all = publics.iter().zip(&messages).zip(signatures);
            let claims: Vec<_> =
                all.map(|((public, message), signature)| Claim { public, message, signature }).collect();
            verify_batch(&claims)
        };
        assert_eq!(check(&signatures), Ok(()));
        for at in [0, 17, 39] {
            let good = signatures[at];
            signatures[at].0[3] ^= 1;
            assert_eq!(check(&signatures), Err(BadSignature));
            signatures[at] = good;
        }
        // Two that are each other's: the sum of the plain equations would hold.
        signatures.swap(0, 7);
        assert_eq!(check(&signatures), Err(BadSignature));
    }

    #[test]
    #[ignore = "prints figures"]
    fn measure_verification() {
        for count in [1u32, 64, 1_000, 5_000] {
            let keys: Vec<_> =
                (0..count).map(|seed| SecretKey::from_bytes(crate::codec::hash("seed", &seed.to_le_bytes()))).collect();
            let publics: Vec<_> = keys.iter().map(SecretKey::public).collect();
            let signatures: Vec<_> = keys.iter().map(|key| key.sign(&[7; 32])).collect();
            let claims: Vec<_> = publics
                .iter()
                .zip(&signatures)
                .map(|(public, signature)| Claim { public, message: &[7; 32], signature })
                .collect();
            let best = |work: &dyn Fn()| {
                (0..5)
                    .map(|_| {
                        let began = std::time::Instant::now();
                        work();
                        began.elapsed()
                    })
                    .min()
                    .unwrap()
            };
            let batch = best(&|| verify_batch(&claims).unwrap());
            let single = best(&|| claims.iter().for_each(|c| verify(c.public, c.message, c.signature).unwrap()));
            println!("{count} signatures: {:?} each in a batch, {:?} alone", batch / count, single / count);
        }
    }
}
