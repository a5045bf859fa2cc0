//! The document a network begins with. Its hash is the network's id, so two nodes that agree on the id agree on it all.

use crate::codec;
use crate::committee::{Committee, CommitteeError, Member};
use crate::names::{AccountId, BlockId, NetworkId};
use crate::params::{Params, ParamsError};
use crate::units::{BlockTime, Epoch, Frost, Height};
use serde::{Deserialize, Serialize};

/// The longest genesis document in bytes that is read at all.
pub const GENESIS_BYTES_MAX: usize = 8 << 20;
/// The version of the protocol this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// An account that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Who owns it.
    pub account: AccountId,
    /// What it holds.
    pub balance: Frost,
}

/// Genesis: chain name, time, parameters, accounts and the first committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Version of the protocol.
    pub version: u32,
    /// The network's name, 1 to 32 of `a-z0-9-`. In gossip topics and on screens.
    pub name: String,
    /// When epoch 1 begins.
    pub time: BlockTime,
    /// What all agree on.
    pub params: Params,
    /// First accounts, sorted by id and distinct.
    pub accounts: Vec<GenesisAccount>,
    /// First committee's members.
    pub members: Vec<Member>,
    /// The network that this one goes on from, when more than `f` of that one's shards are gone for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<Parent>>,
}

/// Where a successor begins: the newest boundary that the network before it signed. What that network knew (ids, coverage,
/// balances, stakes, paid terms) is the successor's state at height 0, so its genesis names no accounts; its epochs go on
/// counting, its heights begin anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The network before.
    pub network: NetworkId,
    /// Its newest signed boundary block.
    pub block: BlockId,
    /// The height of that block there.
    pub height: Height,
    /// The epoch that it ended: the next one is the successor's first.
    pub ended: Epoch,
    /// Root of the state after it: what a snapshot of the network before is checked against.
    #[serde(with = "hexadecimal")]
    pub state_root: [u8; 32],
    /// Root of the successor's state at height 0, taken under the id of the network before, because its own follows from this.
    #[serde(with = "hexadecimal")]
    pub begins_with: [u8; 32],
    /// All WAL there is.
    pub supply: Frost,
    /// The boundary's header with the certificate by which it was decided, as the ledger encodes them: who signed it. At most
    /// [`SEALED_BYTES_MAX`].
    #[serde(with = "hexadecimal")]
    pub sealed: Vec<u8>,
}

/// The longest header with its certificate in bytes.
pub const SEALED_BYTES_MAX: usize = 256 << 10;

/// Bytes that people read as hexadecimal digits.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&hex::encode(bytes)),
            false => serializer.serialize_bytes(bytes.as_ref()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(deserializer: D) -> Result<T, D::Error> {
        let bytes = match deserializer.is_human_readable() {
            true => hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?,
            false => serde_bytes::ByteBuf::deserialize(deserializer)?.into_vec(),
        };
        T::try_from(bytes).map_err(|_| D::Error::custom("a wrong number of bytes"))
    }
}

/// A genesis that no network can begin with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The text is not a genesis document.
    #[error("not a genesis document: {reason}")]
    Malformed {
        /// The parser's words, with line and column.
        reason: String,
    },
    /// It speaks another version.
    #[error("genesis is for protocol version {found}, this program speaks {ours}")]
    Version {
        /// Its version.
        found: u32,
        /// Ours.
        ours: u32,
    },
    /// The name is out of range.
    #[error("the network's name must be 1 to 32 of a-z, 0-9 and '-'")]
    Name,
    /// Accounts are not sorted and distinct, or hold more than the largest amount together.
    #[error("accounts must be sorted, distinct, and hold at most 2^63 FROST together with what is bonded")]
    Accounts,
    /// A successor's accounts are those of the network before it.
    #[error("a successor names no accounts, and a header with its certificate of at most {SEALED_BYTES_MAX} bytes")]
    Parent,
    /// The state of a successor is made from that of the network before it, not from its genesis alone.
    #[error("this network goes on from {network}: its state begins with a snapshot of that one")]
    NeedsState {
        /// The network before.
        network: NetworkId,
    },
    /// A parameter is out of range.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The committee contradicts itself.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
}

impl Genesis {
    /// The network's id: the hash of the canonical encoding, not of the text.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        NetworkId(codec::hash("floe 1 genesis: network id", &codec::encode(self)))
    }

    /// The first committee, checked.
    ///
    /// # Errors
    /// [`CommitteeError`] when it contradicts itself.
    pub fn committee(&self) -> Result<Committee, CommitteeError> {
        Committee::new(self.params.term_of(self.first_epoch()), self.params.shards, self.members.clone())
    }

    /// The first epoch: a successor goes on counting.
    #[must_use]
    pub fn first_epoch(&self) -> Epoch {
        self.parent.as_ref().map_or(Epoch(1), |parent| parent.ended.next())
    }

    /// What `member` has bonded at the start: so much for each of its seats. Not of a successor's, whose stakes are in its state.
    #[must_use]
    pub fn stake_of(&self, member: &Member) -> Frost {
        Frost(self.params.seat_stake.0.saturating_mul(member.shards.len() as u64))
    }

    /// All WAL there is at the start: in accounts and bonded.
    ///
    /// # Errors
    /// [`GenesisError::Accounts`] when the sum is too large or accounts repeat.
    pub fn supply(&self) -> Result<Frost, GenesisError> {
        if let Some(parent) = &self.parent {
            let fits = self.accounts.is_empty() && parent.sealed.len() <= SEALED_BYTES_MAX;
            return if fits { Ok(parent.supply) } else { Err(GenesisError::Parent) };
        }
        let stake = |sum: Frost, member: &Member| sum.checked_add(self.stake_of(member));
        let bonded = self.members.iter().try_fold(Frost::ZERO, stake);
        if self.accounts.windows(2).any(|pair| pair[0].account >= pair[1].account) {
            return Err(GenesisError::Accounts);
        }
        let held = self.accounts.iter().try_fold(Frost::ZERO, |sum, entry| sum.checked_add(entry.balance));
        let sum = held.zip(bonded).and_then(|(held, bonded)| held.checked_add(bonded));
        sum.filter(|sum| sum.0 <= 1 << 63).ok_or(GenesisError::Accounts)
    }

    /// Checks everything a node relies on later.
    ///
    /// # Errors
    /// The first [`GenesisError`] found.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.version != PROTOCOL_VERSION {
            return Err(GenesisError::Version { found: self.version, ours: PROTOCOL_VERSION });
        }
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(named) {
            return Err(GenesisError::Name);
        }
        self.params.check()?;
        self.supply()?;
        self.committee()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Genesis {
        let (name, time) = ("test".to_owned(), BlockTime(5));
        let (accounts, members, params) = (Vec::new(), Vec::new(), Params::devnet(4, 1_000));
        Genesis { version: PROTOCOL_VERSION, name, time, params, accounts, members, parent: None }
    }

    fn successor() -> Genesis {
        let parent = Parent {
            network: NetworkId([1; 32]),
            block: BlockId([2; 32]),
            height: Height(7),
            ended: Epoch(3),
            state_root: [4; 32],
            begins_with: [5; 32],
            supply: Frost(6),
            sealed: vec![7, 8, 255],
        };
        Genesis { parent: Some(Box::new(parent)), ..plain() }
    }

    #[test]
    fn a_genesis_is_text_and_keeps_its_id_in_it() {
        for genesis in [plain(), successor()] {
            let text = serde_json::to_string(&genesis).unwrap();
            let read: Genesis = serde_json::from_str(&text).unwrap();
            assert_eq!((read.network(), &read), (genesis.network(), &genesis));
        }
        let text = serde_json::to_string(&successor()).unwrap();
        assert!(text.contains("\"0708ff\"") && !serde_json::to_string(&plain()).unwrap().contains("parent"));
        assert!(serde_json::from_str::<Genesis>(&text.replace("\"0708ff\"", "\"0708f\"")).is_err());
        assert!(serde_json::from_str::<Genesis>(&text.replace("\"0404", "\"04")).is_err());
    }

    #[test]
    fn a_successor_goes_on_counting_epochs_and_names_no_accounts() {
        assert_eq!((plain().first_epoch(), successor().first_epoch()), (Epoch(1), Epoch(4)));
        assert_ne!(plain().network(), successor().network());
        assert_eq!(successor().supply(), Ok(Frost(6)));
        let account = GenesisAccount { account: AccountId([1; 32]), balance: Frost(1) };
        assert_eq!(Genesis { accounts: vec![account], ..successor() }.supply(), Err(GenesisError::Parent));
        let mut long = successor();
        if let Some(parent) = &mut long.parent {
            parent.sealed = vec![0; SEALED_BYTES_MAX + 1];
        }
        assert_eq!(long.supply(), Err(GenesisError::Parent));
    }
}
