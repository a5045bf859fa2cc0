//! Who holds which shards. Every threshold counts shards, never heads.

use crate::bls;
use crate::names::{AccountId, NodeId, VoteKey};
use floe_erasure::ShardIndex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The place of a member in its committee's list, which is sorted by node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberIndex(pub u16);

/// A member of a committee: a storage node with seats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node, by its network identity.
    pub node: NodeId,
    /// What its operator calls it, for people: at most 32 characters of `a-z0-9-`.
    pub name: String,
    /// The account that pays its fees and receives its earnings.
    pub account: AccountId,
    /// Its ed25519 key for consensus votes.
    pub vote_key: VoteKey,
    /// Its BLS key for storage confirmations.
    pub bls_key: bls::PublicKey,
    /// Proof that it knows the secret of `bls_key`.
    pub possession: bls::BlsSignature,
    /// Where it listens, as multiaddresses without peer id. At least one, at most eight.
    pub addresses: Vec<String>,
    /// What fails together with it: its operator's declaration, as `isp:example city:Lyon`. Each word is a domain. May be
    /// empty.
    pub domain: String,
    /// Bytes of fragments it promises to have room for.
    pub capacity_bytes: u64,
    /// The shards it holds, ascending.
    pub shards: Vec<ShardIndex>,
}

/// A committee that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// No member, or more than there may be.
    #[error("{found} members; a committee has from 1 to {max}")]
    Size {
        /// Members given.
        found: usize,
        /// Members allowed.
        max: usize,
    },
    /// A shard that nobody or more than one member holds.
    #[error("shard {shard} is held by {holders} members, expected one")]
    Shard {
        /// The shard.
        shard: u16,
        /// How many hold it.
        holders: usize,
    },
    /// A member's field is out of its range.
    #[error("member {name}: {reason}")]
    Member {
        /// The member's name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The nodes that hold the shards in a term, sorted by node id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committee {
    term: u64,
    shards: u16,
    members: Vec<Member>,
}

impl Committee {
    /// A checked committee: members sorted and distinct, each shard held once, keys proven.
    ///
    /// # Errors
    /// [`CommitteeError`] with the first contradiction found.
    pub fn new(term: u64, shards: u16, members: Vec<Member>) -> Result<Committee, CommitteeError> {
        let committee = Committee::of_proven(term, shards, members)?;
        for member in &committee.members {
            member.check_possession().map_err(|reason| CommitteeError::Member { name: member.name.clone(), reason })?;
        }
        Ok(committee)
    }

    /// As [`Committee::new`], for members whose keys were proven when they became candidates: a pairing each is spared.
    ///
    /// # Errors
    /// [`CommitteeError`] with the first contradiction found.
    pub fn of_proven(term: u64, shards: u16, mut members: Vec<Member>) -> Result<Committee, CommitteeError> {
        let max = crate::params::MEMBERS_MAX;
        if members.is_empty() || members.len() > max {
            return Err(CommitteeError::Size { found: members.len(), max });
        }
        members.sort_by_key(|member| member.node);
        let mut holders = vec![0usize; usize::from(shards)];
        let mut keys = BTreeSet::new();
        for member in &members {
            member.check(shards).map_err(|reason| CommitteeError::Member { name: member.name.clone(), reason })?;
            let distinct = keys.insert(member.node.0) && keys.insert(member.vote_key.0);
            if !distinct {
                let reason = "its node or vote key is used twice";
                return Err(CommitteeError::Member { name: member.name.clone(), reason });
            }
            for shard in &member.shards {
                holders[usize::from(shard.0)] += 1;
            }
        }
        match holders.iter().position(|count| *count != 1) {
            Some(shard) => Err(CommitteeError::Shard { shard: shard as u16, holders: holders[shard] }),
            None => Ok(Committee { term, shards, members }),
        }
    }

    /// The term it serves, from 1.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// `n`: shards in all.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// `f`: shards that may be faulty.
    #[must_use]
    pub fn faulty(&self) -> u16 {
        (self.shards - 1) / 3
    }

    /// `n - f`: shards that decide.
    #[must_use]
    pub fn quorum(&self) -> u16 {
        self.shards - self.faulty()
    }

    /// The members, by index.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member at `index`.
    #[must_use]
    pub fn member(&self, index: MemberIndex) -> Option<&Member> {
        self.members.get(usize::from(index.0))
    }

    /// The place of `node`, when it is a member.
    #[must_use]
    pub fn index_of(&self, node: &NodeId) -> Option<MemberIndex> {
        self.members.binary_search_by_key(node, |member| member.node).ok().map(|at| MemberIndex(at as u16))
    }

    /// The member that holds `shard`; `None` only beyond `n`.
    #[must_use]
    pub fn holder(&self, shard: ShardIndex) -> Option<MemberIndex> {
        let holds = |member: &Member| member.shards.binary_search(&shard).is_ok();
        self.members.iter().position(holds).map(|at| MemberIndex(at as u16))
    }

    /// Shards held together by the members whose index is in `members`; indices beyond the committee count nothing.
    #[must_use]
    pub fn shards_of(&self, members: impl IntoIterator<Item = MemberIndex>) -> u16 {
        let distinct: BTreeSet<MemberIndex> = members.into_iter().collect();
        let held = distinct.iter().filter_map(|index| self.member(*index)).map(|member| member.shards.len());
        held.sum::<usize>() as u16
    }
}

impl Member {
    fn check(&self, shards: u16) -> Result<(), &'static str> {
        Member::check_description(&self.name, &self.addresses, &self.domain)?;
        if self.shards.is_empty() || self.shards.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("its shards must be at least one, ascending");
        }
        if self.shards.iter().any(|shard| shard.0 >= shards) {
            return Err("it holds a shard beyond n");
        }
        Ok(())
    }

    fn check_possession(&self) -> Result<(), &'static str> {
        self.bls_key.verify_possession(&self.possession).map_err(|_| "its BLS key comes without proof of possession")
    }

    /// What can be wrong with what a node says of itself: its name, addresses and domain.
    ///
    /// # Errors
    /// In words.
    pub fn check_description(name: &str, addresses: &[String], domain: &str) -> Result<(), &'static str> {
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(named) {
            return Err("its name must be 1 to 32 of a-z, 0-9 and '-'");
        }
        if addresses.is_empty() || addresses.len() > 8 || addresses.iter().any(|a| a.len() > 256) {
            return Err("it needs one to eight addresses of at most 256 characters");
        }
        if domain.len() > 64 || domain.chars().any(char::is_control) {
            return Err("its domain is longer than 64 characters or has control characters");
        }
        Ok(())
    }
}

/// Deals `shards` to `members` places as evenly as may be, in runs: place `i` gets its shards ascending.
#[must_use]
pub fn deal(shards: u16, members: usize) -> Vec<Vec<ShardIndex>> {
    let (shards, members_u) = (usize::from(shards), members.max(1));
    let start = |place: usize| place * shards / members_u;
    (0..members).map(|place| (start(place)..start(place + 1)).map(|shard| ShardIndex(shard as u16)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bls::BlsSecretKey;

    fn member(seed: u8, shards: &[u16]) -> Member {
        let bls = BlsSecretKey::from_seed([seed; 32]);
        Member {
            node: NodeId([seed; 32]),
            name: format!("node-{seed}"),
            account: AccountId([seed; 32]),
            vote_key: VoteKey([seed + 100; 32]),
            bls_key: bls.public(),
            possession: bls.prove_possession(),
            addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
            domain: String::new(),
            capacity_bytes: 1,
            shards: shards.iter().copied().map(ShardIndex).collect(),
        }
    }

    #[test]
    fn members_are_found_by_node_and_by_shard() {
        let committee = Committee::new(1, 4, vec![member(2, &[0, 1]), member(1, &[2, 3])]).unwrap();
        assert_eq!(committee.index_of(&NodeId([1; 32])), Some(MemberIndex(0)));
        assert_eq!(committee.holder(ShardIndex(0)), Some(MemberIndex(1)));
        assert_eq!(committee.holder(ShardIndex(4)), None);
        assert_eq!(committee.shards_of([MemberIndex(0), MemberIndex(0), MemberIndex(9)]), 2);
    }

    #[test]
    fn a_shard_without_or_with_two_holders_is_refused() {
        let twice = Committee::new(1, 4, vec![member(1, &[0, 1, 2]), member(2, &[2, 3])]);
        assert_eq!(twice, Err(CommitteeError::Shard { shard: 2, holders: 2 }));
        let none = Committee::new(1, 4, vec![member(1, &[0, 1]), member(2, &[3])]);
        assert_eq!(none, Err(CommitteeError::Shard { shard: 2, holders: 0 }));
    }

    #[test]
    fn a_key_without_possession_is_refused() {
        let mut thief = member(2, &[2, 3]);
        thief.bls_key = member(1, &[]).bls_key;
        let refused = Committee::new(1, 4, vec![member(1, &[0, 1]), thief]);
        assert!(matches!(refused, Err(CommitteeError::Member { .. })));
    }

    #[test]
    fn dealing_is_even_and_complete() {
        for (shards, members) in [(28u16, 7usize), (28, 5), (10, 4), (100, 12)] {
            let dealt = deal(shards, members);
            let all: Vec<_> = dealt.iter().flatten().map(|shard| shard.0).collect();
            assert_eq!(all, (0..shards).collect::<Vec<_>>());
            let sizes: Vec<_> = dealt.iter().map(Vec::len).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }
}
