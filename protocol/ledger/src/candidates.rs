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
//! A candidate is a node with two accounts: its *owner* bonds the stake, changes it and gives notice, with a key that need
//! never be on the node; the other signs its daily duties and is paid. They may be one. Keys and names are one candidate's each
//! ([`Table::Taken`]).
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
//! What the transactions check is [`crate::candidacy`], who gets which seats [`crate::election`]; what a boundary does with it [`crate::lifecycle`]. Who was
//! absent for too long is said by [`crate::standing`].

use crate::debts;
use crate::event::Event;
use crate::money::{self, Pot};
use crate::refusal::{Halt, Refusal};
use crate::rows;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::bls::{BlsSignature, PublicKey};
use floe_types::{AccountId, Committee, Epoch, Frost, Member, NodeId, Params, ShardIndex, VoteKey};
use serde::{Deserialize, Serialize};

/// The most candidates: elections and boundaries go through all of them.
pub const CANDIDATES_MAX: u32 = 2048;
/// The part of a stake that an offence costs: one in this many.
pub const SLASH_ONE_IN: u64 = 10;

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
    /// The account that bonded its stake, may change it and gives notice.
    pub owner: AccountId,
    /// The account that its reports and attestations are signed by, and that its pay goes to.
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
    /// A candidate that nobody is yet, for asking what would be; `say` fills in what matters to elections.
    pub(crate) fn imagined(node: NodeId, say: impl FnOnce(&mut Candidate)) -> Candidate {
        let mut candidate = Candidate {
            node,
            name: String::new(),
            owner: AccountId::default(),
            account: AccountId::default(),
            vote_key: VoteKey::default(),
            announced: Vec::new(),
            bls_key: PublicKey([0; 48]),
            possession: BlsSignature([0; 96]),
            addresses: Vec::new(),
            domain: String::new(),
            capacity_bytes: 0,
            stake: Frost::ZERO,
            standing: Standing::Standing,
            offences: 0,
            served: None,
        };
        say(&mut candidate);
        candidate
    }

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
pub(crate) enum Taken<'a> {
    /// Node ids and vote keys are taken from one another too: a committee has each at most once.
    Node(&'a NodeId),
    VoteKey(&'a VoteKey),
    BlsKey(&'a PublicKey),
    Name(&'a str),
}

impl Taken<'_> {
    pub(crate) fn key(self) -> Vec<u8> {
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

    pub(crate) fn take(self, overlay: &mut Overlay<'_>, node: &NodeId) -> Result<(), Halt> {
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

pub(crate) fn count(state: &dyn StateRead) -> Result<u32, StateError> {
    Table::Candidacy.must(state, &Table::Candidacy.key(&[]))
}

pub(crate) fn put_count(overlay: &mut Overlay<'_>, count: u32) {
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
            owner: member.account,
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

/// Puts a stake, which is in the totals, on its way back.
pub(crate) fn unbond(overlay: &mut Overlay<'_>, node: &NodeId, due: Epoch, entry: Unbonding) -> Result<(), StateError> {
    let key = Table::Unbonding.key(&[&due.0.to_be_bytes(), &node.0]);
    let before: Option<Unbonding> = Table::Unbonding.load(overlay, &key)?;
    let amount = Frost(entry.amount.0.saturating_add(before.map_or(0, |before| before.amount.0)));
    Table::Unbonding.store(overlay, key, &Unbonding { amount, ..entry });
    Ok(())
}

/// Gives back the stakes that are due with `epoch`, less what their nodes owe.
pub(crate) fn release_due(overlay: &mut Overlay<'_>, epoch: Epoch) -> Result<Vec<Event>, StateError> {
    let mut events = Vec::new();
    for (key, value) in Table::Unbonding.all(overlay, &epoch.0.to_be_bytes())? {
        let entry: Unbonding = Table::Unbonding.parse(&value)?;
        let node = key.get(8..).and_then(|node| node.try_into().ok()).map(NodeId);
        let node = node.ok_or_else(|| Table::Unbonding.damaged("a key has no node"))?;
        let ended = Epoch(epoch.0.saturating_sub(1));
        let (amount, paid) = debts::from_release(overlay, &node, entry, ended)?;
        let account = entry.account;
        money::credit(overlay, &account, amount, Pot::Stakes)?;
        overlay.delete(Table::Unbonding.key(&[&key]));
        events.extend(paid);
        events.push(Event::StakeReleased { account, amount });
    }
    Ok(events)
}

/// Takes its part of what `node` has at stake, unbonding included, into the reserve. Gives how much.
pub(crate) fn slash(overlay: &mut Overlay<'_>, node: &NodeId) -> Result<Frost, StateError> {
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
/// For offences.
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

/// Sets a candidate aside that was absent for too long or lacked what it attested: at the next election its seats go to
/// others, and it may be chosen again for the term `until`. One that leaves, or is excluded for longer, goes on so.
pub(crate) fn set_aside(overlay: &mut Overlay<'_>, node: &NodeId, since: Epoch, until: u64) -> Result<(), StateError> {
    let Some(mut candidate) = candidate(overlay, node)? else { return Ok(()) };
    candidate.standing = match candidate.standing {
        Standing::Leaving { .. } => return Ok(()),
        Standing::Excluded { until: longer, .. } if longer >= until => return Ok(()),
        Standing::Excluded { since, .. } => Standing::Excluded { since, until },
        Standing::Standing => Standing::Excluded { since, until },
    };
    put(overlay, &candidate);
    Ok(())
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
        unbond(overlay, &candidate.node, due, Unbonding { account: candidate.owner, amount: candidate.stake })?;
        let keys = candidate.announced.iter().map(|(_, key)| key).chain([&candidate.vote_key]);
        for key in keys {
            overlay.delete(Taken::VoteKey(key).key());
        }
        overlay.delete(Taken::Node(&candidate.node).key());
        overlay.delete(Taken::BlsKey(&candidate.bls_key).key());
        overlay.delete(Taken::Name(&candidate.name).key());
        for said in [Table::Candidates, Table::Offers, Table::Supports] {
            overlay.delete(said.key(&[&candidate.node.0]));
        }
        let left = count(overlay)?.saturating_sub(1);
        put_count(overlay, left);
        events.push(Event::Left { node: candidate.node, stake: candidate.stake, due });
    }
    Ok(events)
}
