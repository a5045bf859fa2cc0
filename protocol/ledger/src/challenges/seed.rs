//! A member's seed for an epoch: from which all its questions follow.
//!
//! It is the member's BLS signature over the epoch's beacon. A BLS signature is unique: a member cannot choose among
//! several, nobody else can make it, and whoever is shown it can check it. It is opened with the member's report, when the
//! questions have been asked.

use super::Beacon;
use floe_types::NetworkId;
use floe_types::bls::{BlsError, BlsSecretKey, BlsSignature, PublicKey};
use floe_types::codec::{self, Domain};

static SECRET: Domain = Domain::new("floe 1 challenge: secret of a seed");

/// A seed: kept secret by its member until it reports.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    signature: BlsSignature,
    secret: [u8; 32],
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// What a member signs to make its seed.
#[must_use]
pub fn seed_message(network: &NetworkId, beacon: &Beacon) -> Vec<u8> {
    codec::encode(&("floe 1 challenge seed", network, beacon.epoch, beacon.hash))
}

impl Seed {
    /// The seed of the member whose confirmations `key` signs.
    #[must_use]
    pub fn make(network: &NetworkId, beacon: &Beacon, key: &BlsSecretKey) -> Seed {
        Seed::of(key.sign(&seed_message(network, beacon)))
    }

    /// The seed that was opened, checked to be the one of the member with this key. A pairing.
    ///
    /// # Errors
    /// [`BlsError`] when it is not.
    pub fn opened(
        network: &NetworkId,
        beacon: &Beacon,
        key: &PublicKey,
        signature: BlsSignature,
    ) -> Result<Seed, BlsError> {
        key.verify(&seed_message(network, beacon), &signature)?;
        Ok(Seed::of(signature))
    }

    fn of(signature: BlsSignature) -> Seed {
        Seed { signature, secret: SECRET.hash(&signature.0) }
    }

    /// What opens it.
    #[must_use]
    pub fn signature(&self) -> &BlsSignature {
        &self.signature
    }

    /// What everything is drawn with.
    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}
