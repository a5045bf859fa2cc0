//! Candidates: who stands for seats, with what at stake, under which keys.
//!
//! ```text
//!   Join ──► standing ──Leave──► leaving ──its last row is past──► stake unbonds, record goes
//!               │  ▲                ▲
//!       offence │  │ term served    │ Leave
//!               ▼  │                │
//!             excluded ─────────────┘
//! ```
//!
//! A candidate is a node with an account that speaks and pays for it. `Join` is signed four times: by the account as every
//! transaction, and by the node's, the vote and the BLS key over [`Join::message`], so that nobody brings another's node or
//! key into a committee. Keys and names are one candidate's each ([`Table::Taken`]).
//!
//! **Vote keys** belong to terms. A candidate may announce the key it will vote with from a later term on; at that term's
//! election it takes the place of the old one, which its node then destroys when the old term's last epoch is decided. Who
//! announces nothing keeps its key.
//!
//! **Stakes** are WAL like any other: bonded, they are in the totals' `stakes`; on their way back they are in
//! [`Table::Unbonding`], still there to be taken, until the epoch they go back with. A stake answers for two terms and an
//! epoch after the last vote of its node.
//!
//! **Offences.** Two conflicting votes of one key cost a tenth of what the node has at stake, to the reserve, once for a
//! key. The node is excluded: at the next election its seats go to others, within the caps, and it waits a term before it
//! may be chosen again, twice as long each further time. Until its seats are handed over it keeps its votes.
//!
//! # Not here
//! Who gets which seats is [`crate::election`]; what a boundary does with it [`crate::lifecycle`]. Excluding for absence
//! comes with proof of availability, which will call [`exclude`].

use crate::actions::Scene;
use crate::event::Event;
use crate::money::{self, Pot};
use crate::refusal::{Halt, Refusal};
use crate::rows;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::bls::{BlsSignature, PublicKey};
use floe_types::keys::{self, Signature};
use floe_types::{
    AccountId, Committee, DoubleVote, Epoch, Frost, Member, NetworkId, NodeId, Params, ShardIndex, TransactionId,
    VoteKey, codec,
};
use serde::{Deserialize, Serialize};

/// The most candidates: elections and boundaries go through all of them.
pub const CANDIDATES_MAX: u32 = 2048;
/// How many terms ahead of the running one a vote key may be announced.
pub const ANNOUNCE_TERMS_MAX: u64 = 2;
/// The part of a stake that an offence costs: one in this many.
pub const SLASH_ONE_IN: u64 = 10;

/// What a node and its account say when they ask to stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The node, by its network identity.
    pub node: NodeId,
    /// What its operator calls it: 1 to 32 of `a-z0-9-`, no other candidate's.
    pub name: String,
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
    /// What its account bonds with this, at least the network's least stake.
    pub stake: Frost,
    /// By the node's key over [`Join::message`].
    pub by_node: Signature,
    /// By the vote key over the same.
    pub by_vote_key: Signature,
    /// By the BLS key over the same.
    pub by_bls_key: BlsSignature,
}

impl Join {
    /// What node, vote key and BLS key sign: everything but their signatures, for one account in one network.
    #[must_use]
    pub fn message(&self, network: &NetworkId, account: &AccountId) -> Vec<u8> {
        let keys = (&self.node, &self.vote_key, &self.bls_key, &self.possession);
        let said = (&self.name, &self.addresses, &self.domain, self.capacity_bytes, self.stake);
        codec::encode(&("floe 1 candidacy", network, account, keys, said))
    }

    /// What can be wrong with it whatever the state, signatures aside.
    pub(crate) fn shape(&self) -> Result<(), &'static str> {
        Member::check_description(&self.name, &self.addresses, &self.domain)?;
        match self.capacity_bytes {
            0 => Err("a candidate needs room for something"),
            _ => Ok(()),
        }
    }

    fn is_proven(&self, network: &NetworkId, account: &AccountId) -> bool {
        let message = self.message(network, account);
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

/// How a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may be given seats.
    Standing,
    /// It gave notice: its seats go to others, it gets none.
    Leaving {
        /// In this epoch.
        since: Epoch,
    },
    /// It may not be given seats before `until`, and those it has go to others.
    Excluded {
        /// Since this epoch.
        since: Epoch,
        /// The first term it may be chosen for again.
        until: u64,
    },
}

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// What its operator calls it.
    pub name: String,
    /// The account that speaks for it, pays and is paid.
    pub account: AccountId,
    /// The key it votes with in the newest committee it was chosen for, else the one it will vote with.
    pub vote_key: VoteKey,
    /// Keys announced for later terms, ascending by term.
    pub announced: Vec<(u64, VoteKey)>,
    /// Its key for confirmations.
    pub bls_key: PublicKey,
    /// Proof that its secret is known.
    pub possession: BlsSignature,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What fails together with it.
    pub domain: String,
    /// Bytes of fragments it has room for.
    pub capacity_bytes: u64,
    /// What is bonded.
    pub stake: Frost,
    /// How it stands.
    pub standing: Standing,
    /// How often it was excluded.
    pub offences: u32,
    /// The last epoch in which it had a seat, once that has ended.
    pub served: Option<Epoch>,
}

impl Candidate {
    /// The candidate as a member with these seats, ascending.
    #[must_use]
    pub fn member(&self, shards: Vec<ShardIndex>) -> Member {
        Member {
            node: self.node,
            name: self.name.clone(),
            account: self.account,
            vote_key: self.vote_key,
            bls_key: self.bls_key,
            possession: self.possession,
            addresses: self.addresses.clone(),
            domain: self.domain.clone(),
            capacity_bytes: self.capacity_bytes,
            shards,
        }
    }
}

/// A stake on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbonding {
    /// To whom it goes.
    pub account: AccountId,
    /// How much.
    pub amount: Frost,
}

/// What is one candidate's alone.
#[derive(Clone, Copy)]
enum Taken<'a> {
    /// Node ids and vote keys are taken from one another too: a committee has each at most once.
    Node(&'a NodeId),
    VoteKey(&'a VoteKey),
    BlsKey(&'a PublicKey),
    Name(&'a str),
}

impl Taken<'_> {
    fn key(self) -> Vec<u8> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Taken::Node(node) => (1, &node.0),
            Taken::VoteKey(key) => (1, &key.0),
            Taken::BlsKey(key) => (2, &key.0),
            Taken::Name(name) => (3, name.as_bytes()),
        };
        Table::Taken.key(&[&[kind], bytes])
    }

    fn what(self) -> &'static str {
        match self {
            Taken::Node(_) => "node id",
            Taken::VoteKey(_) => "vote key",
            Taken::BlsKey(_) => "BLS key",
            Taken::Name(_) => "name",
        }
    }

    fn take(self, overlay: &mut Overlay<'_>, node: &NodeId) -> Result<(), Halt> {
        if overlay.get(&self.key())?.is_some() {
            return Err(Refusal::Taken { what: self.what() }.into());
        }
        Table::Taken.store(overlay, self.key(), node);
        Ok(())
    }
}

pub(crate) fn candidate(state: &dyn StateRead, node: &NodeId) -> Result<Option<Candidate>, StateError> {
    Table::Candidates.load(state, &Table::Candidates.key(&[&node.0]))
}

pub(crate) fn put(overlay: &mut Overlay<'_>, candidate: &Candidate) {
    Table::Candidates.store(overlay, Table::Candidates.key(&[&candidate.node.0]), candidate);
}

/// All candidates by node.
pub(crate) fn all(state: &dyn StateRead) -> Result<Vec<Candidate>, StateError> {
    let entries = Table::Candidates.all(state, &[])?;
    entries.iter().map(|(_, value)| Table::Candidates.parse(value)).collect()
}

/// What is bonded or unbonding, summed entry by entry.
pub(crate) fn bonded(state: &dyn StateRead) -> Result<u128, StateError> {
    let standing = all(state)?.iter().map(|candidate| u128::from(candidate.stake.0)).sum::<u128>();
    let mut unbonding = 0;
    for (_, value) in Table::Unbonding.all(state, &[])? {
        let entry: Unbonding = Table::Unbonding.parse(&value)?;
        unbonding += u128::from(entry.amount.0);
    }
    Ok(standing + unbonding)
}

fn count(state: &dyn StateRead) -> Result<u32, StateError> {
    Table::Candidacy.must(state, &Table::Candidacy.key(&[]))
}

fn put_count(overlay: &mut Overlay<'_>, count: u32) {
    Table::Candidacy.store(overlay, Table::Candidacy.key(&[]), &count);
}

/// Makes the members of the first committee candidates, each with this stake, which the totals have already.
pub(crate) fn found(overlay: &mut Overlay<'_>, committee: &Committee, stake_of: impl Fn(&Member) -> Frost) {
    for member in committee.members() {
        let keys = [Taken::Node(&member.node), Taken::VoteKey(&member.vote_key), Taken::BlsKey(&member.bls_key)];
        for taken in keys.into_iter().chain([Taken::Name(&member.name)]) {
            Table::Taken.store(overlay, taken.key(), &member.node);
        }
        let candidate = Candidate {
            node: member.node,
            name: member.name.clone(),
            account: member.account,
            vote_key: member.vote_key,
            announced: Vec::new(),
            bls_key: member.bls_key,
            possession: member.possession,
            addresses: member.addresses.clone(),
            domain: member.domain.clone(),
            capacity_bytes: member.capacity_bytes,
            stake: stake_of(member),
            standing: Standing::Standing,
            offences: 0,
            served: None,
        };
        put(overlay, &candidate);
    }
    put_count(overlay, committee.members().len() as u32);
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

    /// The sender's candidate.
    fn own(&self, overlay: &Overlay<'_>, node: &NodeId) -> Result<Candidate, Halt> {
        let found = candidate(overlay, node)?.filter(|found| found.account == self.sender);
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
        let candidates = count(overlay)?;
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
            account: self.sender,
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
        put_count(overlay, candidates.saturating_add(1));
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
                unbond(overlay, node, due, Unbonding { account: self.sender, amount })?;
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
        let mut candidate = self.own(overlay, &said.node)?;
        candidate.addresses = said.addresses.clone();
        candidate.domain = said.domain.clone();
        candidate.capacity_bytes = said.capacity_bytes;
        put(overlay, &candidate);
        Ok(vec![Event::Described { transaction: self.transaction, node: said.node }])
    }

    pub(crate) fn announce(&self, overlay: &mut Overlay<'_>, said: &Announcement) -> Result<Vec<Event>, Halt> {
        let mut candidate = self.own(overlay, &said.node)?;
        let running = self.scene.committee.term();
        let chosen = crate::lifecycle::next_committee(overlay)?.is_some();
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
        let slashed = slash(overlay, &node)?;
        let terms = exclude(overlay, &node, now, self.scene.committee.term())?;
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
        if let Some(node) = crate::lifecycle::next_committee(state)?.as_ref().and_then(of) {
            return Ok(Some(node));
        }
        let mut term = self.scene.committee.term();
        while let Some(earlier) = term.checked_sub(1) {
            term = earlier;
            match crate::lifecycle::past_committee(state, term)? {
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

/// Puts a stake, which is in the totals, on its way back.
pub(crate) fn unbond(overlay: &mut Overlay<'_>, node: &NodeId, due: Epoch, entry: Unbonding) -> Result<(), StateError> {
    let key = Table::Unbonding.key(&[&due.0.to_be_bytes(), &node.0]);
    let before: Option<Unbonding> = Table::Unbonding.load(overlay, &key)?;
    let amount = Frost(entry.amount.0.saturating_add(before.map_or(0, |before| before.amount.0)));
    Table::Unbonding.store(overlay, key, &Unbonding { amount, ..entry });
    Ok(())
}

/// Gives back the stakes that are due with `epoch`.
pub(crate) fn release_due(overlay: &mut Overlay<'_>, epoch: Epoch) -> Result<Vec<Event>, StateError> {
    let mut events = Vec::new();
    for (key, value) in Table::Unbonding.all(overlay, &epoch.0.to_be_bytes())? {
        let Unbonding { account, amount } = Table::Unbonding.parse(&value)?;
        money::credit(overlay, &account, amount, Pot::Stakes)?;
        overlay.delete(Table::Unbonding.key(&[&key]));
        events.push(Event::StakeReleased { account, amount });
    }
    Ok(events)
}

/// Takes its part of what `node` has at stake, unbonding included, into the reserve. Gives how much.
fn slash(overlay: &mut Overlay<'_>, node: &NodeId) -> Result<Frost, StateError> {
    let part = |stake: Frost| Frost(stake.0.div_ceil(SLASH_ONE_IN));
    let mut taken = 0;
    if let Some(mut candidate) = candidate(overlay, node)? {
        taken += part(candidate.stake).0;
        candidate.stake = Frost(candidate.stake.0 - part(candidate.stake).0);
        put(overlay, &candidate);
    }
    for (key, value) in Table::Unbonding.all(overlay, &[])? {
        if key.get(8..) != Some(&node.0[..]) {
            continue;
        }
        let mut entry: Unbonding = Table::Unbonding.parse(&value)?;
        taken += part(entry.amount).0;
        entry.amount = Frost(entry.amount.0 - part(entry.amount).0);
        Table::Unbonding.store(overlay, Table::Unbonding.key(&[&key]), &entry);
    }
    money::shift(overlay, Pot::Stakes, Pot::Reserve, Frost(taken))?;
    Ok(Frost(taken))
}

/// Excludes a candidate: at the next election its seats go to others, and it waits a term, doubled each time, before it may
/// be chosen again. One that leaves goes on leaving. Gives the terms it waits; none when there is no such candidate.
///
/// For offences, and for whoever judges availability.
pub(crate) fn exclude(
    overlay: &mut Overlay<'_>,
    node: &NodeId,
    now: Epoch,
    term: u64,
) -> Result<Option<u64>, StateError> {
    let Some(mut candidate) = candidate(overlay, node)? else { return Ok(None) };
    let waits = 1u64 << candidate.offences.min(20);
    candidate.offences = candidate.offences.saturating_add(1);
    if !matches!(candidate.standing, Standing::Leaving { .. }) {
        let until = term.saturating_add(2).saturating_add(waits);
        candidate.standing = Standing::Excluded { since: now, until };
    }
    put(overlay, &candidate);
    Ok(Some(waits))
}

/// Takes over, for the election of `term`, the key that was announced for it, and lets who has waited long enough stand.
pub(crate) fn prepare(overlay: &mut Overlay<'_>, term: u64) -> Result<Vec<Candidate>, StateError> {
    let mut candidates = all(overlay)?;
    for candidate in &mut candidates {
        let before = candidate.clone();
        if matches!(candidate.standing, Standing::Excluded { until, .. } if until <= term) {
            candidate.standing = Standing::Standing;
        }
        while candidate.announced.first().is_some_and(|(of, _)| *of <= term) {
            let (_, key) = candidate.announced.remove(0);
            overlay.delete(Taken::VoteKey(&candidate.vote_key).key());
            candidate.vote_key = key;
        }
        if before != *candidate {
            put(overlay, candidate);
        }
    }
    Ok(candidates)
}

/// Lets those go who gave notice and have no row any more: their stake unbonds, counted from their last vote.
pub(crate) fn dismiss(
    overlay: &mut Overlay<'_>,
    rows: &rows::Rows,
    next: Epoch,
    params: &Params,
) -> Result<Vec<Event>, StateError> {
    let mut events = Vec::new();
    for candidate in all(overlay)? {
        let leaves = matches!(candidate.standing, Standing::Leaving { .. });
        if !leaves || rows.of(&candidate.node).next().is_some() {
            continue;
        }
        let answers = candidate.served.and_then(|served| served.checked_add(params.unbonding()));
        let due = answers.unwrap_or(next).max(next);
        unbond(overlay, &candidate.node, due, Unbonding { account: candidate.account, amount: candidate.stake })?;
        let keys = candidate.announced.iter().map(|(_, key)| key).chain([&candidate.vote_key]);
        for key in keys {
            overlay.delete(Taken::VoteKey(key).key());
        }
        overlay.delete(Taken::Node(&candidate.node).key());
        overlay.delete(Taken::BlsKey(&candidate.bls_key).key());
        overlay.delete(Taken::Name(&candidate.name).key());
        overlay.delete(Table::Candidates.key(&[&candidate.node.0]));
        let left = count(overlay)?.saturating_sub(1);
        put_count(overlay, left);
        events.push(Event::Left { node: candidate.node, stake: candidate.stake, due });
    }
    Ok(events)
}
