//! I9 and I13: what a boundary plans to rebuild, and for whom symbols are given.
//!
//! Who answered is read off headers, what is covered off the state, and both are compared with tickets one by one. How old a
//! silence is this checker counts itself: epochs in a row in which a member did not take part, or did not report. Risks are not computed
//! here; the planner has an oracle of its own for them.

use super::Violation;
use crate::node::Node;
use floe_ledger::repairs::{Haste, Ticket};
use floe_ledger::{Block, Decision, MemoryState, RowKind, StateError, views};
use floe_machines::wire::fragment::{Right, SymbolRequest};
use floe_types::laws::Law;
use floe_types::{Committee, Epoch, Genesis, MemberIndex, NodeId, Params, SequenceNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Who holds which shard of which number.
type Held = BTreeMap<(ShardIndex, u64), BTreeSet<NodeId>>;

/// The checker.
#[derive(Debug)]
pub(super) struct Repairs {
    params: Params,
    /// The committee of the running epoch.
    office: Committee,
    /// Epochs in a row without an answer or a report, by member of the committee that was last judged.
    silent: BTreeMap<NodeId, u64>,
    /// What was covered when the running epoch began.
    held: Held,
    /// Pairs of tickets and blobs so far.
    planned: u64,
}

impl Repairs {
    pub(super) fn new(genesis: &Genesis) -> Repairs {
        let office = genesis.committee().expect("a plan's genesis has a committee");
        let params = genesis.params.clone();
        Repairs { params, office, silent: BTreeMap::new(), held: Held::new(), planned: 0 }
    }

    /// Fragments that were planned.
    pub(super) fn planned(&self) -> u64 {
        self.planned
    }

    /// A block was decided, after which the state is this.
    pub(super) fn decided(&mut self, block: &Block, state: &MemoryState) -> Result<(), Violation> {
        let Some(boundary) = &block.header.boundary else { return Ok(()) };
        let members = (0..).map(MemberIndex).zip(self.office.members());
        let age = |(index, member): (MemberIndex, &floe_types::Member)| {
            let before = self.silent.get(&member.node).copied().unwrap_or(0);
            let (reported, answered) = (boundary.reporters.contains(index), boundary.answered.contains(index));
            // To report is a duty in every epoch; who answered is known of decided ones only.
            let age = match boundary.decision {
                Decision::Decided if reported && answered => 0,
                Decision::Undecided if reported => before,
                Decision::Decided | Decision::Undecided => before + 1,
            };
            (member.node, age)
        };
        self.silent = members.map(age).collect();
        let unread = |error: StateError| Violation::of(Law::I9, error.to_string());
        self.office = views::committee(state).map_err(unread)?;
        let now = self.covered(state).map_err(unread)?;
        let before = std::mem::replace(&mut self.held, now);
        let tickets = views::tickets(state).map_err(unread)?;
        self.check(state, &tickets, &before)
    }

    fn covered(&self, state: &MemoryState) -> Result<Held, StateError> {
        let mut held = Held::new();
        for number in 0..views::next_sequence(state)?.0 {
            let Some(life) = views::sequence(state, SequenceNumber(number))? else { continue };
            if life.defence != floe_ledger::Defence::Defended {
                continue;
            }
            for holder in views::holders(state, &life.blob)? {
                held.entry((holder.shard, number)).or_default().insert(holder.node);
            }
        }
        Ok(held)
    }

    fn check(&mut self, state: &MemoryState, tickets: &[Ticket], before: &Held) -> Result<(), Violation> {
        let unread = |error: StateError| Violation::of(Law::I9, error.to_string());
        let constants = views::risk_constants(&self.params);
        let end = views::next_sequence(state).map_err(unread)?.0;
        let (mut planned, mut capped, mut defended) = (BTreeSet::new(), 0u64, 0u64);
        for number in (0..end).map(SequenceNumber) {
            let life = views::sequence(state, number).map_err(unread)?;
            if life.is_none_or(|life| life.defence != floe_ledger::Defence::Defended) {
                continue;
            }
            defended += 1;
            for ticket in tickets.iter().filter(|ticket| ticket.scope.contains(&constants, number)) {
                capped += u64::from(ticket.haste == Haste::Capped);
                if !planned.insert((ticket.shard, number)) {
                    let words = format!("shard {} of number {number} is planned twice", ticket.shard);
                    return Err(Violation::of(Law::I13, words));
                }
                self.ripe(ticket, number, before)?;
            }
        }
        self.planned += planned.len() as u64;
        let quarters = defended.saturating_mul(constants.repair.quarter_pairs_per_blob);
        let cap = (quarters / 4).max(u64::from(self.params.shards));
        if capped > cap {
            return Err(Violation::of(Law::I13, format!("{capped} pairs are planned within a cap of {cap}")));
        }
        Ok(())
    }

    /// Whether a shard may be planned: at both ends of the ended epoch nobody who answers held it, and who holds it is silent
    /// for as long as patience lasts, unless hardly enough is held.
    fn ripe(&self, ticket: &Ticket, number: SequenceNumber, before: &Held) -> Result<(), Violation> {
        let constants = views::risk_constants(&self.params);
        let answers = |node: &NodeId| self.silent.get(node) == Some(&0);
        let holders = |held: &Held| held.get(&(ticket.shard, number.0)).cloned().unwrap_or_default();
        let (first, last) = (holders(before), holders(&self.held));
        if let Some(node) = first.intersection(&last).find(|node| answers(node)) {
            let words = format!("shard {} of number {number} is planned, which {} holds", ticket.shard, node.short());
            return Err(Violation::of(Law::I9, words));
        }
        if last.iter().any(answers) {
            // It was attested while the epoch ran, by which the plan does not go yet; the target will find nothing to do.
            return Ok(());
        }
        let faulty = (u64::from(self.params.shards) - 1) / 3;
        let edge = u64::from(self.params.shards) - 2 * faulty + faulty / 2;
        let shards = (0..self.params.shards).map(ShardIndex);
        let is_held =
            |shard: &ShardIndex| self.held.get(&(*shard, number.0)).is_some_and(|held| held.iter().any(answers));
        let held = shards.filter(is_held).count() as u64;
        let age = last.iter().filter_map(|node| self.silent.get(node)).min();
        match age {
            Some(age) if *age < constants.repair.patience.0 && held > edge => {
                let words = format!("shard {} of number {number} is planned after {age} silent epochs", ticket.shard);
                Err(Violation::of(Law::I9, words))
            }
            _ => Ok(()),
        }
    }

    /// An honest holder gives a symbol: by its own ledger the asker must have a right to it.
    pub(super) fn symbol_given(&self, holder: &Node, asker: &NodeId, request: &SymbolRequest) -> Result<(), Violation> {
        let state = &holder.disk.state;
        let unread = |error: StateError| Violation::of(Law::I9, error.to_string());
        if self.has_right(state, asker, request).map_err(unread)? {
            return Ok(());
        }
        let (index, shard) = (holder.index, request.target);
        let words = format!("node {index} gives {} a symbol of shard {shard} without a right", asker.short());
        Err(Violation::of(Law::I9, words))
    }

    fn has_right(&self, state: &MemoryState, asker: &NodeId, request: &SymbolRequest) -> Result<bool, StateError> {
        let (blob, shard) = (&request.blob, request.target);
        let covering = views::holders(state, blob)?;
        if covering.iter().any(|holder| holder.shard == shard && holder.node == *asker) {
            return Ok(false);
        }
        let Some(view) = views::blob(state, blob)? else { return Ok(false) };
        let floe_ledger::views::BlobStatus::Certified { sequence, epoch: certified } = view.status else {
            return Ok(false);
        };
        let constants = views::risk_constants(&self.params);
        let mut rows = views::rows_of(state, asker)?.into_iter().map(|(_, row)| row);
        let is_seat = rows.any(|row| row.kind == RowKind::Seat && row.shard == shard);
        let now: Epoch = views::head(state)?.epoch;
        Ok(match request.right {
            Right::Ticket { number } => views::tickets(state)?.iter().any(|ticket| {
                let names = ticket.target == *asker && ticket.shard == shard;
                names && ticket.number == number && ticket.scope.contains(&constants, sequence)
            }),
            Right::Standing => is_seat && now.0 < certified.0 + constants.repair.standing.0,
            // Whose turn it is the ledger's own tests look at.
            Right::Trickle => is_seat,
        })
    }
}
