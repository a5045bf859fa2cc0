//! I21: what the reserve pays for filling gaps is owed by whose gaps they were, and no fragment is paid for twice.
//!
//! Claims and debts are read entry by entry off the disk of the first node that writes a block, what a boundary paid and took off
//! its header. This checker keeps what tickets there were and which fragments stand-ins ever covered, and holds both against
//! them:
//!
//! - all debts together grow by at least what was paid, less what came in;
//! - a claim is about a holder that a ticket of this row named;
//! - what a row claims, paid or not, is at most the fragments that it ever covered;
//! - nobody owes more than it has at stake, unless it was fined.

use super::Violation;
use floe_ledger::candidates::{Candidate, Unbonding};
use floe_ledger::claims::Claim;
use floe_ledger::{Block, Defence, MemoryState, RowId, RowKind, StateError, views};
use floe_types::laws::Law;
use floe_types::{Epoch, Frost, Layout, NodeId, SequenceNumber, ShardIndex};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Tags of tables, as the ledger's own list gives them.
const CANDIDATES: u8 = 42;
const UNBONDING: u8 = 44;
const OFFENCES: u8 = 47;
const CLAIMS: u8 = 73;
const DEBTS: u8 = 74;

/// The checker.
#[derive(Debug, Default)]
pub(super) struct Debts {
    /// What nodes owed after the last boundary.
    owed: BTreeMap<NodeId, u128>,
    /// Whose gap a ticket named for whom.
    named: BTreeSet<(ShardIndex, NodeId, NodeId)>,
    /// Numbers that rows of stand-ins covered at some block, with the bytes of a fragment.
    covered: BTreeMap<(RowId, SequenceNumber), u128>,
    /// What was paid so far.
    paid: u128,
}

fn entries<T: DeserializeOwned>(state: &MemoryState, tag: u8) -> Result<Vec<(Vec<u8>, T)>, Violation> {
    let of_table = state.entries().filter(|(key, _)| key.first() == Some(&tag));
    let parse = |(key, value): (&[u8], &[u8])| {
        let parsed = postcard::from_bytes(value);
        let parsed = parsed.map_err(|error| broken(format!("an entry of table {tag} does not decode: {error}")))?;
        Ok((key[1..].to_vec(), parsed))
    };
    of_table.map(parse).collect()
}

fn broken(words: impl Into<String>) -> Violation {
    Violation::of(Law::I21, words)
}

fn node(bytes: &[u8]) -> NodeId {
    let mut id = NodeId::default();
    id.0.copy_from_slice(bytes);
    id
}

impl Debts {
    /// What the reserve paid for repair, in FROST.
    pub(super) fn paid(&self) -> u64 {
        u64::try_from(self.paid).unwrap_or(u64::MAX)
    }

    /// A block was decided, after which the state is this.
    pub(super) fn decided(&mut self, block: &Block, state: &MemoryState) -> Result<(), Violation> {
        self.look(state).map_err(|error| broken(error.to_string()))?;
        let Some(boundary) = &block.header.boundary else { return Ok(()) };
        let owed: BTreeMap<NodeId, u128> =
            entries::<Frost>(state, DEBTS)?.into_iter().map(|(key, owed)| (node(&key), u128::from(owed.0))).collect();
        let mut stakes: BTreeMap<NodeId, u128> = BTreeMap::new();
        for (key, candidate) in entries::<Candidate>(state, CANDIDATES)? {
            *stakes.entry(node(&key)).or_default() += u128::from(candidate.stake.0);
        }
        for (key, entry) in entries::<Unbonding>(state, UNBONDING)? {
            *stakes.entry(node(&key[8..])).or_default() += u128::from(entry.amount.0);
        }
        let fined = !entries::<Epoch>(state, OFFENCES)?.is_empty();
        let beyond = owed.iter().find(|(node, owed)| **owed > stakes.get(*node).copied().unwrap_or(0));
        if let Some((node, owed)) = beyond.filter(|_| !fined) {
            return Err(broken(format!("{} owes {owed} FROST and has less at stake", node.short())));
        }
        // What was forgiven because nothing of its node is left.
        let forgiven: u128 =
            self.owed.iter().filter(|(node, _)| !stakes.contains_key(*node)).map(|(_, owed)| owed).sum();
        let (before, after) = (self.owed.values().sum::<u128>(), owed.values().sum::<u128>());
        let (paid, came) = (u128::from(boundary.payout.repair.0), u128::from(boundary.payout.repaid.0));
        if after + came + forgiven < before + paid {
            let words = format!(
                "with epoch {} the reserve paid {paid} FROST for repair and got {came}, debts went from {before} to {after}",
                boundary.ended
            );
            return Err(broken(words));
        }
        self.paid += paid;
        self.owed = owed;
        self.claims(state)
    }

    /// Takes note of tickets and of what stand-ins cover.
    fn look(&mut self, state: &MemoryState) -> Result<(), StateError> {
        let tickets = views::tickets(state)?;
        self.named.extend(tickets.iter().filter_map(|ticket| Some((ticket.shard, ticket.target, ticket.owes?))));
        let rows = views::rows(state)?;
        if !rows.iter().any(|(_, row)| row.kind == RowKind::StandIn) {
            return Ok(());
        }
        let shards = views::committee(state)?.shards();
        for number in (0..views::next_sequence(state)?.0).map(SequenceNumber) {
            let Some(life) = views::sequence(state, number)?.filter(|life| life.defence == Defence::Defended) else {
                continue;
            };
            let fragment = Layout::new(shards, life.length).map_or(0, |layout| u128::from(layout.fragment_bytes()));
            for holder in views::holders(state, &life.blob)?.iter().filter(|holder| holder.kind == RowKind::StandIn) {
                if let Some(row) = rows.find(holder.shard, &holder.node) {
                    self.covered.insert((row, number), fragment);
                }
            }
        }
        Ok(())
    }

    fn claims(&self, state: &MemoryState) -> Result<(), Violation> {
        let rows = views::rows(state).map_err(|error| broken(error.to_string()))?;
        let mut claimed: BTreeMap<RowId, u128> = BTreeMap::new();
        for (key, claim) in entries::<Claim>(state, CLAIMS)? {
            let row = RowId(u32::from_be_bytes([key[0], key[1], key[2], key[3]]));
            *claimed.entry(row).or_default() += u128::from(claim.waiting) + u128::from(claim.rebuilt);
            let owes = node(&key[4..]);
            let Some(of) = rows.get(row) else { continue };
            if !self.named.contains(&(of.shard, of.holder, owes)) {
                let words = format!("{} claims of {} what no ticket named", of.holder.short(), owes.short());
                return Err(broken(words));
            }
        }
        for (row, claimed) in claimed {
            let of_row = (row, SequenceNumber(0))..=(row, SequenceNumber(u64::MAX));
            let covered: u128 = self.covered.range(of_row).map(|(_, bytes)| bytes).sum();
            if claimed > covered {
                let words = format!("row {} claims {claimed} bytes and never covered more than {covered}", row.0);
                return Err(broken(words));
            }
        }
        Ok(())
    }
}
