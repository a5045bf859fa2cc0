//! What a genesis says about a member, made from that member's secrets.

use crate::keys::{self, KeyError, KeyPaths, NodeKeys, Purpose};
use floe_types::{Member, ShardIndex};

/// The public part that its operator chooses.
#[derive(Clone, Debug)]
pub struct Described {
    /// What its operator calls it.
    pub name: String,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What fails together with it.
    pub domain: String,
    /// Bytes of fragments it promises to have room for.
    pub capacity_bytes: u64,
    /// Its shards, ascending.
    pub shards: Vec<ShardIndex>,
}

/// The keys of one who is to be a member, whatever network they belong to.
#[derive(Clone, Debug)]
pub struct Secrets(NodeKeys);

impl Secrets {
    /// The four keys in the files of `paths`.
    ///
    /// # Errors
    /// The first [`KeyError`] found.
    pub fn read(paths: &KeyPaths) -> Result<Secrets, KeyError> {
        let mut secrets = [[0u8; 32]; 4];
        for (purpose, secret) in Purpose::ALL.into_iter().zip(&mut secrets) {
            *secret = keys::read_for(paths.of(purpose), purpose)?.secret_bytes();
        }
        Ok(Secrets(NodeKeys::from_secrets(|purpose| secrets[purpose as usize])))
    }

    /// Keys that are at hand already.
    #[must_use]
    pub fn of(keys: NodeKeys) -> Secrets {
        Secrets(keys)
    }

    /// The keys themselves.
    pub(crate) fn keys(&self) -> &NodeKeys {
        &self.0
    }

    /// The member with these keys, with its proof that it knows its confirmation key.
    #[must_use]
    pub fn member(&self, described: Described) -> Member {
        let keys = &self.0;
        Member {
            node: keys.node(),
            name: described.name,
            account: keys.account_id(),
            vote_key: keys.vote_key(),
            bls_key: keys.confirmation.public(),
            possession: keys.confirmation.prove_possession(),
            addresses: described.addresses,
            domain: described.domain,
            capacity_bytes: described.capacity_bytes,
            shards: described.shards,
        }
    }
}
