//! Who votes: the part of a committee that evidence needs, and the terms in which it changed.
//!
//! ```text
//!   committee_root = H(term, roll, rest)
//!   roll = H(n, per member: node, name, vote key, shards)      all that certificates and verdicts need
//!   rest = H(per member: account, BLS key, possession, addresses, domain, capacity)
//! ```
//!
//! A member's addresses, keys of confirmations and promises are nine tenths of a committee's bytes and prove nothing about
//! a boundary, so a chain of terms carries the rolls and 32 bytes for each rest. The term's number stands outside of both:
//! a term in which the same members go on with the same keys needs no link of its own.

use crate::merkle::Root;
use crate::sets::MemberSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use floe_types::{Committee, Epoch, Height, MemberIndex, NodeId, ShardIndex, VoteKey, codec};
use serde::{Deserialize, Serialize};

/// A member, as far as evidence needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// The node.
    pub node: NodeId,
    /// What its operator calls it.
    pub name: String,
    /// The key that its votes verify with.
    pub vote_key: VoteKey,
    /// The shards it holds, ascending: its power is their number.
    pub shards: Vec<ShardIndex>,
}

/// The members of a committee in its order, as far as evidence needs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// `n`.
    pub shards: u16,
    /// The members; a [`MemberIndex`] is a place in this list.
    pub voters: Vec<Voter>,
}

/// Members and what they hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Name and number of shards of each, in the committee's order.
    pub members: Vec<(String, u16)>,
    /// Shards in all.
    pub shards: u16,
}

impl Roll {
    /// The roll of `committee`.
    #[must_use]
    pub fn of(committee: &Committee) -> Roll {
        Roll::of_members(committee.shards(), committee.members())
    }

    /// The roll of members in the order of a committee.
    pub(super) fn of_members(shards: u16, members: &[floe_types::Member]) -> Roll {
        let voter = |member: &floe_types::Member| Voter {
            node: member.node,
            name: member.name.clone(),
            vote_key: member.vote_key,
            shards: member.shards.clone(),
        };
        Roll { shards, voters: members.iter().map(voter).collect() }
    }

    /// `n - f`: shards that decide.
    #[must_use]
    pub fn quorum(&self) -> u16 {
        self.shards.saturating_sub(self.shards.saturating_sub(1) / 3)
    }

    /// Those of `members` that there are, with what they hold.
    #[must_use]
    pub fn holding(&self, members: &MemberSet) -> Holding {
        self.held_by(|index| members.contains(index))
    }

    /// Those that are not in `members`, with what they hold.
    #[must_use]
    pub fn others(&self, members: &MemberSet) -> Holding {
        self.held_by(|index| !members.contains(index))
    }

    fn held_by(&self, chosen: impl Fn(MemberIndex) -> bool) -> Holding {
        let voters = self.voters.iter().enumerate().filter(|(at, _)| chosen(MemberIndex(*at as u16)));
        let members: Vec<_> = voters.map(|(_, voter)| (voter.name.clone(), voter.shards.len() as u16)).collect();
        let shards = members.iter().fold(0u16, |sum, (_, held)| sum.saturating_add(*held));
        Holding { members, shards }
    }

    /// The hash of the roll.
    #[must_use]
    pub fn root(&self) -> Root {
        Root(codec::hash("floe 1 ledger: committee, who votes", &codec::encode(self)))
    }
}

/// The hash of what a roll leaves out.
#[must_use]
pub fn rest_root(committee: &Committee) -> Root {
    rest_of_members(committee.members())
}

pub(super) fn rest_of_members(members: &[floe_types::Member]) -> Root {
    let rest = |member: &floe_types::Member| {
        let promised = (&member.addresses, &member.domain, member.capacity_bytes);
        codec::encode(&(&member.account, &member.bls_key, &member.possession, promised))
    };
    let members: Vec<_> = members.iter().map(rest).collect();
    Root(codec::hash("floe 1 ledger: committee, the rest", &codec::encode(&members)))
}

/// The hash of a committee from its parts.
#[must_use]
pub fn root_of(term: u64, roll: &Root, rest: &Root) -> Root {
    let mut bytes = term.to_be_bytes().to_vec();
    bytes.extend_from_slice(&roll.0);
    bytes.extend_from_slice(&rest.0);
    Root(codec::hash("floe 1 ledger: committee", &bytes))
}

/// The hash of a committee, as boundary headers name it.
#[must_use]
pub fn committee_root(committee: &Committee) -> Root {
    root_of(committee.term(), &Roll::of(committee).root(), &rest_root(committee))
}

/// A change of committee, as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermRecord {
    /// Height of the boundary block that names it; 0 for genesis.
    pub height: Height,
    /// Who votes from then on.
    pub roll: Roll,
    /// [`rest_root`] of the committee.
    pub rest: Root,
}

/// Writes down that `committee` votes from epoch `first` on, unless the same one already does.
pub(crate) fn note_term(
    overlay: &mut Overlay<'_>,
    first: Epoch,
    height: Height,
    committee: &Committee,
) -> Result<(), StateError> {
    let record = TermRecord { height, roll: Roll::of(committee), rest: rest_root(committee) };
    let before = term_in(overlay, first)?;
    if before.is_none_or(|(_, before)| (before.roll, before.rest) != (record.roll.clone(), record.rest)) {
        Table::Rolls.store(overlay, term_key(first), &record);
    }
    Ok(())
}

/// Newest first, so that the term of an epoch is the first one at or after its key.
fn term_key(first: Epoch) -> Vec<u8> {
    Table::Rolls.number(u64::MAX - first.0)
}

fn parse(key: &[u8], value: &[u8]) -> Result<(Epoch, TermRecord), StateError> {
    Ok((Epoch(u64::MAX - number_at(Table::Rolls, key, 0)?), Table::Rolls.parse(value)?))
}

/// Who votes in `epoch`, and since which epoch.
pub(crate) fn term_in(state: &dyn StateRead, epoch: Epoch) -> Result<Option<(Epoch, TermRecord)>, StateError> {
    let from = (u64::MAX - epoch.0).to_be_bytes();
    let found = Table::Rolls.page(state, &[], &from, 1)?;
    found.first().map(|(key, value)| parse(key, value)).transpose()
}

/// The changes of committee with first epochs above `after`, oldest first, genesis left out.
pub(crate) fn terms_after(state: &dyn StateRead, after: Epoch) -> Result<Vec<(Epoch, TermRecord)>, StateError> {
    let mut found = Vec::new();
    for (key, value) in Table::Rolls.all(state, &[])? {
        let (first, record) = parse(&key, &value)?;
        if first <= after {
            break;
        }
        if record.height.0 > 0 {
            found.push((first, record));
        }
    }
    found.reverse();
    Ok(found)
}
