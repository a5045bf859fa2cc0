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

/// The keys of a committee, decoded once: what checks its aggregates quickly.
///
/// Possession of every key has been proven before. Made by [`Signers::new`]; knows nothing but the keys.
#[derive(Debug)]
pub struct Signers {
    keys: Vec<PublicKey>,
    points: Vec<blst::min_pk::PublicKey>,
    /// The keys' negatives, which take a key out of a sum.
    negatives: Vec<blst::min_pk::PublicKey>,
    /// The sum of all keys; none when there is no key.
    sum: Option<blst::min_pk::AggregatePublicKey>,
}

/// In the compressed form of a point, the bit that says which of the two points with one `x` it is.
const SIGN_BIT: u8 = 0x20;

impl Signers {
    /// Decodes `keys`, in the order in which they will be named.
    ///
    /// # Errors
    /// [`BlsError::BadKey`] when one of them is none.
    pub fn new(keys: Vec<PublicKey>) -> Result<Signers, BlsError> {
        let points = keys.iter().map(point).collect::<Result<Vec<_>, _>>()?;
        let negative = |key: &PublicKey| {
            let mut bytes = key.0;
            bytes[0] ^= SIGN_BIT;
            blst::min_pk::PublicKey::uncompress(&bytes).map_err(|_| BlsError::BadKey)
        };
        let negatives = keys.iter().map(negative).collect::<Result<Vec<_>, _>>()?;
        let references: Vec<_> = points.iter().collect();
        let sum = match references.is_empty() {
            true => None,
            false => {
                Some(blst::min_pk::AggregatePublicKey::aggregate(&references, false).map_err(|_| BlsError::BadKey)?)
            }
        };
        Ok(Signers { keys, points, negatives, sum })
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The sum of the keys that `signs` picks. Costs those that are picked or those that are not, whichever are fewer.
    fn aggregate(&self, signs: &dyn Fn(usize) -> bool) -> Result<blst::min_pk::PublicKey, BlsError> {
        let (chosen, others): (Vec<usize>, Vec<usize>) = (0..self.keys.len()).partition(|at| signs(*at));
        let (first, rest) = chosen.split_first().ok_or(BlsError::Empty)?;
        let (mut sum, more) = match &self.sum {
            Some(sum) if others.len() < chosen.len() => (*sum, (&self.negatives, others.as_slice())),
            _ => {
                let first = self.points.get(*first).ok_or(BlsError::Empty)?;
                (blst::min_pk::AggregatePublicKey::from_public_key(first), (&self.points, rest))
            }
        };
        for at in more.1 {
            let point = more.0.get(*at).ok_or(BlsError::BadKey)?;
            sum.add_public_key(point, false).map_err(|_| BlsError::BadKey)?;
        }
        Ok(sum.to_public_key())
    }

    /// Checks an aggregate over one `message` by exactly the keys that `signs` picks. One pairing check.
    ///
    /// # Errors
    /// [`BlsError`] when no key is picked, or the signature is malformed or not their aggregate.
    pub fn verify(
        &self,
        signs: &dyn Fn(usize) -> bool,
        message: &[u8],
        signature: &BlsSignature,
    ) -> Result<(), BlsError> {
        let key = self.aggregate(signs)?;
        let signature = signature_point(signature)?;
        accepted(signature.fast_aggregate_verify_pre_aggregated(false, message, MESSAGE_SUITE, &key))
    }
}

/// How many [`Signers`] a [`SignersMemo`] keeps: the committee in office and, while a term begins, the one before it.
const SIGNERS_KEPT: usize = 2;

/// The last two [`Signers`] that were asked for, shared by its clones. It remembers and says nothing that is not in its
/// arguments, so that all of them are equal.
#[derive(Clone, Debug, Default)]
pub struct SignersMemo(std::sync::Arc<std::sync::Mutex<Vec<std::sync::Arc<Signers>>>>);

impl PartialEq for SignersMemo {
    fn eq(&self, _: &SignersMemo) -> bool {
        true
    }
}

impl Eq for SignersMemo {}

impl SignersMemo {
    /// The signers with these keys.
    ///
    /// # Errors
    /// [`BlsError::BadKey`] when one of them is none.
    pub fn of(&self, keys: Vec<PublicKey>) -> Result<std::sync::Arc<Signers>, BlsError> {
        // A thread that panicked left the memo as it was or as it should be.
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(signers) = kept.iter().find(|signers| signers.keys == keys) {
            return Ok(std::sync::Arc::clone(signers));
        }
        let signers = std::sync::Arc::new(Signers::new(keys)?);
        // The newest first.
        kept.truncate(SIGNERS_KEPT - 1);
        kept.insert(0, std::sync::Arc::clone(&signers));
        Ok(signers)
    }
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

    #[test]
    fn the_signers_of_two_committees_are_kept_and_no_more() {
        let keys = |seed: u8| vec![BlsSecretKey::from_seed([seed; 32]).public()];
        let memo = SignersMemo::default();
        let (one, two) = (memo.of(keys(1)).unwrap(), memo.of(keys(2)).unwrap());
        for _ in 0..3 {
            assert!(std::sync::Arc::ptr_eq(&one, &memo.of(keys(1)).unwrap()));
            assert!(std::sync::Arc::ptr_eq(&two, &memo.of(keys(2)).unwrap()));
        }
        let three = memo.of(keys(3)).unwrap();
        assert!(!std::sync::Arc::ptr_eq(&one, &memo.of(keys(1)).unwrap()));
        assert!(std::sync::Arc::ptr_eq(&three, &memo.of(keys(3)).unwrap()));
        assert_eq!(memo.0.lock().unwrap().len(), SIGNERS_KEPT);
    }

    #[test]
    fn decoded_signers_check_what_plain_keys_check() {
        let keys: Vec<_> = (1..=7).map(|seed| BlsSecretKey::from_seed([seed; 32])).collect();
        let publics: Vec<_> = keys.iter().map(BlsSecretKey::public).collect();
        let memo = SignersMemo::default();
        let signers = memo.of(publics.clone()).unwrap();
        assert!(std::sync::Arc::ptr_eq(&signers, &memo.of(publics.clone()).unwrap()));
        for chosen in 0..128usize {
            let picked = |at: usize| chosen & (1 << at) != 0;
            let by: Vec<_> = (0..7).filter(|at| picked(*at)).collect();
            let signatures: Vec<_> = by.iter().map(|at| keys[*at].sign(b"kept")).collect();
            let Ok(sum) = aggregate(&signatures) else {
                assert_eq!(signers.verify(&picked, b"kept", &keys[0].sign(b"kept")), Err(BlsError::Empty));
                continue;
            };
            let plain: Vec<_> = by.iter().map(|at| publics[*at]).collect();
            assert_eq!(verify_aggregate(&plain, b"kept", &sum), Ok(()));
            assert_eq!(signers.verify(&picked, b"kept", &sum), Ok(()), "{chosen:07b}");
            let other = |at: usize| picked(at) != (at == 3);
            assert!(signers.verify(&other, b"kept", &sum).is_err(), "{chosen:07b}");
            assert_eq!(signers.verify(&picked, b"lost", &sum), Err(BlsError::BadSignature));
        }
        assert!(Signers::new(vec![PublicKey([0; 48])]).is_err());
    }

    #[test]
    #[ignore = "prints figures"]
    fn measure_aggregates() {
        for count in [7usize, 100, 1_000] {
            let keys: Vec<_> =
                (0..count).map(|at| BlsSecretKey::from_seed(crate::codec::hash("seed", &at.to_le_bytes()))).collect();
            let sum = aggregate(&keys.iter().skip(count / 4).map(|key| key.sign(b"kept")).collect::<Vec<_>>()).unwrap();
            let began = std::time::Instant::now();
            let signers = Signers::new(keys.iter().map(BlsSecretKey::public).collect()).unwrap();
            println!("{count} keys decoded in {:?}", began.elapsed());
            let mut best = std::time::Duration::MAX;
            for _ in 0..500 {
                let began = std::time::Instant::now();
                signers.verify(&|at| at >= count / 4, b"kept", &sum).unwrap();
                best = best.min(began.elapsed());
            }
            println!("{count} keys, a quarter missing: {best:?}, {:.0} a second", 1.0 / best.as_secs_f64());
        }
    }
}
