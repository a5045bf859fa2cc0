//! The document a network begins with. Its hash is the network's id, so two nodes that agree on the id agree on it all.

use crate::codec;
use crate::committee::{Committee, CommitteeError, Member};
use crate::names::{AccountId, NetworkId};
use crate::params::{Params, ParamsError};
use crate::units::{BlockTime, Frost};
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
        Committee::new(1, self.params.shards, self.members.clone())
    }

    /// What `member` has bonded at the start: so much for each of its seats.
    #[must_use]
    pub fn stake_of(&self, member: &Member) -> Frost {
        Frost(self.params.seat_stake.0.saturating_mul(member.shards.len() as u64))
    }

    /// All WAL there is at the start: in accounts and bonded.
    ///
    /// # Errors
    /// [`GenesisError::Accounts`] when the sum is too large or accounts repeat.
    pub fn supply(&self) -> Result<Frost, GenesisError> {
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
