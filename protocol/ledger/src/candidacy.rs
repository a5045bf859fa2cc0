//! The transactions about candidates: what each asks for, checks and changes.
//!
//! `Join` is signed four times: by the account as every transaction, and by the node's, the vote and the BLS key over
//! [`Join::message`], so that nobody brings another's node or key into a committee.
//!
//! | action | refused when, beyond nonce, fee and balance |
//! | --- | --- |
//! | `Join` | too little stake, a candidate already, too many candidates, a key or name that is taken, an unproven key |
//! | `Stake` | not the sender's candidate, notice was given, too little would stay |
//! | `Leave` | not the sender's candidate, notice was given |
//! | `Describe` | not the sender's candidate |
//! | `VoteKey` | not the sender's candidate, not for a term to come, taken, unproven |
//! | `Evidence` | punished already, no voter's key, too old, no offence |

use crate::actions::Scene;
use crate::candidates::{self, CANDIDATES_MAX, Candidate, Standing, Taken, Unbonding, candidate, put};
use crate::event::Event;
use crate::lifecycle;
use crate::money::{self, Pot};
use crate::refusal::{Halt, Refusal};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::bls::{BlsSignature, PublicKey};
use floe_types::keys::{self, Signature};
use floe_types::{
    AccountId, Committee, DoubleVote, Epoch, Frost, Member, NetworkId, NodeId, Params, TransactionId, VoteKey, codec,
};
use serde::{Deserialize, Serialize};

/// How many terms ahead of the running one a vote key may be announced.
pub const ANNOUNCE_TERMS_MAX: u64 = 2;

/// What a node and its account say when they ask to stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The node, by its network identity.
    pub node: NodeId,
    /// What its operator calls it: 1 to 32 of `a-z0-9-`, no other candidate's.
    pub name: String,
    /// The account that its reports and attestations are signed by and that its pay goes to: a key on the node. The sender's
    /// account bonds the stake and gives notice, and its key need never be there.
    pub account: AccountId,
    /// Its first key for votes.
    pub vote_key: VoteKey,
    /// Its key for confirmations.
    pub bls_key: PublicKey,
    /// Proof that the secret of `bls_key` is known.
    pub possession: BlsSignature,
    /// Where it listens: one to eight multiaddresses.
    pub addresses: Vec<String>,
    /// What fails together with it: words as `isp:example`, each a domain. May be empty.
    pub domain: String,
    /// Bytes of fragments it has room for.
    pub capacity_bytes: u64,
    /// What the sender bonds with this, at least the network's least stake.
    pub stake: Frost,
    /// By the node's key over [`Join::message`].
    pub by_node: Signature,
    /// By the vote key over the same.
    pub by_vote_key: Signature,
    /// By the BLS key over the same.
    pub by_bls_key: BlsSignature,
}

impl Join {
    /// What node, vote key and BLS key sign: everything but their signatures, for one owner in one network.
    #[must_use]
    pub fn message(&self, network: &NetworkId, owner: &AccountId) -> Vec<u8> {
        let keys = (&self.node, &self.account, &self.vote_key, &self.bls_key, &self.possession);
        let said = (&self.name, &self.addresses, &self.domain, self.capacity_bytes, self.stake);
        codec::encode(&("floe 1 candidacy", network, owner, keys, said))
    }

    /// What can be wrong with it whatever the state, signatures aside.
    pub(crate) fn shape(&self) -> Result<(), &'static str> {
        Member::check_description(&self.name, &self.addresses, &self.domain)?;
        match self.capacity_bytes {
            0 => Err("a candidate needs room for something"),
            _ => Ok(()),
        }
    }

    fn is_proven(&self, network: &NetworkId, owner: &AccountId) -> bool {
        let message = self.message(network, owner);
        keys::verify(&self.node.0, &message, &self.by_node).is_ok()
            && keys::verify(&self.vote_key.0, &message, &self.by_vote_key).is_ok()
            && self.bls_key.verify_possession(&self.possession).is_ok()
            && self.bls_key.verify(&message, &self.by_bls_key).is_ok()
    }
}

/// What a vote key signs to be a node's from `term` on.
#[must_use]
pub fn vote_key_message(network: &NetworkId, node: &NodeId, term: u64, key: &VoteKey) -> Vec<u8> {
    codec::encode(&("floe 1 vote key", network, node, term, key))
}

/// What happens to a stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StakeChange {
    /// So much more is bonded.
    Add(Frost),
    /// So much unbonds; at least the least stake must stay.
    Withdraw(Frost),
}

/// One transaction about a candidate.
pub(crate) struct Asking<'a> {
    pub scene: &'a Scene<'a>,
    pub transaction: TransactionId,
    pub sender: AccountId,
}

impl Asking<'_> {
    fn params(&self) -> &Params {
        &self.scene.context.params
    }

    /// The candidate that the sender owns.
    fn own(&self, overlay: &Overlay<'_>, node: &NodeId) -> Result<Candidate, Halt> {
        let found = candidate(overlay, node)?.filter(|found| found.owner == self.sender);
        found.ok_or_else(|| Refusal::NotCandidate.into())
    }

    /// The candidate that the sender owns or does the duties of.
    fn served(&self, overlay: &Overlay<'_>, node: &NodeId) -> Result<Candidate, Halt> {
        let found = candidate(overlay, node)?.filter(|found| [found.owner, found.account].contains(&self.sender));
        found.ok_or_else(|| Refusal::NotCandidate.into())
    }

    pub(crate) fn join(&self, overlay: &mut Overlay<'_>, join: &Join) -> Result<Vec<Event>, Halt> {
        let (found, least) = (join.stake, self.params().stake_min);
        if found < least {
            return Err(Refusal::StakeTooLow { found, least }.into());
        }
        if candidate(overlay, &join.node)?.is_some() {
            return Err(Refusal::AlreadyCandidate.into());
        }
        let candidates = candidates::count(overlay)?;
        if candidates >= CANDIDATES_MAX {
            return Err(Refusal::CandidatesFull { max: CANDIDATES_MAX }.into());
        }
        let keys = [Taken::Node(&join.node), Taken::VoteKey(&join.vote_key), Taken::BlsKey(&join.bls_key)];
        for taken in keys.into_iter().chain([Taken::Name(&join.name)]) {
            taken.take(overlay, &join.node)?;
        }
        money::debit(overlay, &self.sender, join.stake, Pot::Stakes)?;
        // The dear check last.
        if !join.is_proven(&self.scene.context.network, &self.sender) {
            return Err(Refusal::BadProof.into());
        }
        let candidate = Candidate {
            node: join.node,
            name: join.name.clone(),
            owner: self.sender,
            account: join.account,
            vote_key: join.vote_key,
            announced: Vec::new(),
            bls_key: join.bls_key,
            possession: join.possession,
            addresses: join.addresses.clone(),
            domain: join.domain.clone(),
            capacity_bytes: join.capacity_bytes,
            stake: join.stake,
            standing: Standing::Standing,
            offences: 0,
            served: None,
        };
        put(overlay, &candidate);
        candidates::put_count(overlay, candidates.saturating_add(1));
        Ok(vec![Event::Joined { transaction: self.transaction, node: join.node, stake: join.stake }])
    }

    pub(crate) fn stake(
        &self,
        overlay: &mut Overlay<'_>,
        node: &NodeId,
        change: StakeChange,
    ) -> Result<Vec<Event>, Halt> {
        let mut candidate = self.own(overlay, node)?;
        if let Standing::Leaving { .. } = candidate.standing {
            return Err(Refusal::AlreadyLeaving.into());
        }
        match change {
            StakeChange::Add(amount) => {
                candidate.stake = candidate.stake.checked_add(amount).ok_or(Refusal::Overflow)?;
                money::debit(overlay, &self.sender, amount, Pot::Stakes)?;
            }
            StakeChange::Withdraw(amount) => {
                let least = self.params().stake_min;
                let found = candidate.stake.checked_sub(amount).unwrap_or(Frost::ZERO);
                if found < least {
                    return Err(Refusal::StakeTooLow { found, least }.into());
                }
                candidate.stake = found;
                let due = self.scene.epoch.checked_add(self.params().unbonding()).ok_or(Refusal::Overflow)?;
                candidates::unbond(overlay, node, due, Unbonding { account: self.sender, amount })?;
            }
        }
        put(overlay, &candidate);
        let (transaction, stake) = (self.transaction, candidate.stake);
        Ok(vec![Event::Staked { transaction, node: *node, stake }])
    }

    pub(crate) fn leave(&self, overlay: &mut Overlay<'_>, node: &NodeId) -> Result<Vec<Event>, Halt> {
        let mut candidate = self.own(overlay, node)?;
        if let Standing::Leaving { .. } = candidate.standing {
            return Err(Refusal::AlreadyLeaving.into());
        }
        candidate.standing = Standing::Leaving { since: self.scene.epoch };
        put(overlay, &candidate);
        Ok(vec![Event::Leaving { transaction: self.transaction, node: *node }])
    }

    pub(crate) fn describe(&self, overlay: &mut Overlay<'_>, said: &Description) -> Result<Vec<Event>, Halt> {
        let mut candidate = self.served(overlay, &said.node)?;
        candidate.addresses = said.addresses.clone();
        candidate.domain = said.domain.clone();
        candidate.capacity_bytes = said.capacity_bytes;
        put(overlay, &candidate);
        Ok(vec![Event::Described { transaction: self.transaction, node: said.node }])
    }

    pub(crate) fn announce(&self, overlay: &mut Overlay<'_>, said: &Announcement) -> Result<Vec<Event>, Halt> {
        let mut candidate = self.served(overlay, &said.node)?;
        let running = self.scene.committee.term();
        let chosen = lifecycle::next_committee(overlay)?.is_some();
        let least = running.saturating_add(if chosen { 2 } else { 1 });
        let most = running.saturating_add(ANNOUNCE_TERMS_MAX);
        if !(least..=most).contains(&said.term) {
            return Err(Refusal::OtherTerm { found: said.term, least, most }.into());
        }
        if let Some(at) = candidate.announced.iter().position(|(term, _)| *term == said.term) {
            let (_, before) = candidate.announced.remove(at);
            overlay.delete(Taken::VoteKey(&before).key());
        }
        Taken::VoteKey(&said.key).take(overlay, &said.node)?;
        let message = vote_key_message(&self.scene.context.network, &said.node, said.term, &said.key);
        keys::verify(&said.key.0, &message, &said.proof).map_err(|_| Refusal::BadProof)?;
        candidate.announced.push((said.term, said.key));
        candidate.announced.sort_by_key(|(term, _)| *term);
        put(overlay, &candidate);
        let (transaction, node) = (self.transaction, said.node);
        Ok(vec![Event::VoteKeyAnnounced { transaction, node, term: said.term, key: said.key }])
    }

    pub(crate) fn accuse(&self, overlay: &mut Overlay<'_>, votes: &DoubleVote) -> Result<Vec<Event>, Halt> {
        let offence = Table::Offences.key(&[&votes.key.0]);
        if overlay.get(&offence)?.is_some() {
            return Err(Refusal::AlreadyPunished.into());
        }
        let node = self.voter(overlay, &votes.key)?.ok_or(Refusal::NotVoter)?;
        let now = self.scene.epoch;
        let oldest = Epoch(now.0.saturating_sub(self.params().unbonding().0));
        let least = crate::boundary::epoch_record(overlay, oldest)?.map_or(0, |record| record.height.0);
        if votes.height < least {
            return Err(Refusal::EvidenceTooOld { height: votes.height, least }.into());
        }
        votes.verify(&self.scene.context.network).map_err(|why| Refusal::NoOffence { why })?;
        let slashed = candidates::slash(overlay, &node)?;
        let terms = candidates::exclude(overlay, &node, now, self.scene.committee.term())?;
        if slashed == Frost::ZERO && terms.is_none() {
            return Err(Refusal::NotCandidate.into());
        }
        Table::Offences.store(overlay, offence, &now);
        let (transaction, key) = (self.transaction, votes.key);
        Ok(vec![Event::Punished { transaction, node, key, slashed }])
    }

    /// The node that votes or voted with `key` in a committee that is remembered.
    fn voter(&self, state: &dyn StateRead, key: &VoteKey) -> Result<Option<NodeId>, StateError> {
        let of = |committee: &Committee| {
            let found = committee.members().iter().find(|member| member.vote_key == *key);
            found.map(|member| member.node)
        };
        if let Some(node) = of(self.scene.committee) {
            return Ok(Some(node));
        }
        if let Some(node) = lifecycle::next_committee(state)?.as_ref().and_then(of) {
            return Ok(Some(node));
        }
        let mut term = self.scene.committee.term();
        while let Some(earlier) = term.checked_sub(1) {
            term = earlier;
            match lifecycle::past_committee(state, term)? {
                Some(committee) => match of(&committee) {
                    Some(node) => return Ok(Some(node)),
                    None => continue,
                },
                None => break,
            }
        }
        Ok(None)
    }
}

/// What a candidate says anew of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The node.
    pub node: NodeId,
    /// Where it listens. Others go by it at once; the committee in office names the old ones until its term ends.
    pub addresses: Vec<String>,
    /// What fails together with it, from the next election on.
    pub domain: String,
    /// Bytes of fragments it has room for.
    pub capacity_bytes: u64,
}

impl Description {
    pub(crate) fn shape(&self) -> Result<(), &'static str> {
        Member::check_description("a", &self.addresses, &self.domain)
    }
}

/// A vote key for a later term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The node.
    pub node: NodeId,
    /// The first term it votes with the key in.
    pub term: u64,
    /// The key, no other candidate's.
    pub key: VoteKey,
    /// By the key over [`vote_key_message`].
    pub proof: Signature,
}
