//! I9 and I13: what a boundary plans to rebuild, and for whom symbols are given.
//!
//! Who answered is read off headers, who covered when the epoch began off the rows that its verdicts name, and both are
//! compared with tickets one by one: what was attested since counts from the next boundary on. How old a silence is this
//! checker counts itself: epochs in a row in which a member did not take part, or did not report; who is excluded is gone. Risks are not computed
//! here; the planner has an oracle of its own for them.

use super::{Violation, excluded};
use crate::node::Node;
use floe_ledger::repairs::{Haste, Ticket};
use floe_ledger::{Block, Decision, MemoryState, RowKind, StateError, views};
use floe_machines::wire::fragment::{Right, SymbolRequest};
use floe_types::laws::Law;
use floe_types::{BlobId, Committee, Epoch, Genesis, MemberIndex, NodeId, Params, SequenceNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Who holds which shard of a blob.
type Held = BTreeMap<ShardIndex, BTreeSet<NodeId>>;

/// The checker.
#[derive(Debug)]
pub(super) struct Repairs {
    params: Params,
    /// The committee of the running epoch.
    office: Committee,
    /// Epochs in a row without an answer or a report, by member of the committee that was last judged.
    silent: BTreeMap<NodeId, u64>,
    /// Members that were excluded at some block of the running epoch.
    excluded: BTreeSet<NodeId>,
    /// Pairs of tickets and blobs so far.
    planned: u64,
}

impl Repairs {
    pub(super) fn new(genesis: &Genesis) -> Repairs {
        let office = genesis.committee().expect("a plan's genesis has a committee");
        let params = genesis.params.clone();
        Repairs { params, office, silent: BTreeMap::new(), excluded: BTreeSet::new(), planned: 0 }
    }

    /// Fragments that were planned.
    pub(super) fn planned(&self) -> u64 {
        self.planned
    }

    /// A block was decided, after which the state is this.
    pub(super) fn decided(&mut self, block: &Block, state: &MemoryState) -> Result<(), Violation> {
        let unread = |error: StateError| Violation::of(Law::I9, error.to_string());
        let mut now_excluded = excluded(state, &self.office).map_err(unread)?;
        self.excluded.extend(&now_excluded);
        let Some(boundary) = &block.header.boundary else { return Ok(()) };
        // Who leaves is no candidate any more that could be excluded, and may have been shown to lack what it holds (seed 694).
        let standings = views::standings(state, &self.params).map_err(unread)?;
        let shown = standings.iter().filter(|standing| standing.excluded.is_some()).map(|standing| standing.node);
        now_excluded.extend(shown.filter(|node| self.office.index_of(node).is_some()));
        self.excluded.extend(&now_excluded);
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
        // Who is excluded keeps its vote and nothing else: what it holds counts for nobody.
        self.silent.retain(|node, _| !self.excluded.contains(node));
        self.excluded = now_excluded;
        self.office = views::committee(state).map_err(unread)?;
        let tickets = views::tickets(state).map_err(unread)?;
        self.check(state, &tickets, boundary.ended)
    }

    /// Who covered what of a blob when the epoch began that has ended; none when it was certified since.
    fn covered(state: &MemoryState, blob: &BlobId, ended: Epoch) -> Result<Option<Held>, StateError> {
        let Some(record) = views::verdict(state, blob, ended)? else { return Ok(None) };
        let mut held = Held::new();
        for (_, row) in views::rows(state)?.iter().filter(|(id, _)| record.class.contains(*id)) {
            held.entry(row.shard).or_default().insert(row.holder);
        }
        Ok(Some(held))
    }

    fn check(&mut self, state: &MemoryState, tickets: &[Ticket], ended: Epoch) -> Result<(), Violation> {
        let unread = |error: StateError| Violation::of(Law::I9, error.to_string());
        let constants = views::risk_constants(&self.params);
        let end = views::next_sequence(state).map_err(unread)?.0;
        let (mut planned, mut capped, mut defended) = (BTreeSet::new(), 0u64, 0u64);
        for number in (0..end).map(SequenceNumber) {
            let life = views::sequence(state, number).map_err(unread)?;
            let Some(life) = life.filter(|life| life.defence == floe_ledger::Defence::Defended) else { continue };
            defended += 1;
            let held = Repairs::covered(state, &life.blob, ended).map_err(unread)?;
            for ticket in tickets.iter().filter(|ticket| ticket.scope.contains(&constants, number)) {
                capped += u64::from(ticket.haste == Haste::Capped);
                if !planned.insert((ticket.shard, number)) {
                    let words = format!("shard {} of number {number} is planned twice", ticket.shard);
                    return Err(Violation::of(Law::I13, words));
                }
                // A ticket of before goes on while nothing is decided: it was looked at when it was given.
                if let Some(held) = held.as_ref().filter(|_| ticket.issued == ended.next()) {
                    self.ripe(ticket, number, held)?;
                }
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

    /// Whether a shard may be planned: nobody who answers held it, and who holds it is silent for as long as patience lasts,
    /// unless hardly enough was held.
    fn ripe(&self, ticket: &Ticket, number: SequenceNumber, held: &Held) -> Result<(), Violation> {
        let constants = views::risk_constants(&self.params);
        let answers = |node: &NodeId| self.silent.get(node) == Some(&0);
        let holders = held.get(&ticket.shard).cloned().unwrap_or_default();
        if let Some(node) = holders.iter().find(|node| answers(node)) {
            let (shard, holder) = (ticket.shard, node.short());
            let words = format!("shard {shard} of number {number} is planned, which {holder} holds: {ticket:?}");
            return Err(Violation::of(Law::I9, words));
        }
        let faulty = (u64::from(self.params.shards) - 1) / 3;
        let edge = u64::from(self.params.shards) - 2 * faulty + faulty / 2;
        let answering = held.values().filter(|holders| holders.iter().any(answers)).count() as u64;
        let age = holders.iter().filter_map(|node| self.silent.get(node)).min();
        match age {
            Some(age) if *age < constants.repair.patience.0 && answering > edge => {
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
            // It was granted as lately: when and how often is looked at in the ledger's own tests.
            Right::Rebuild => {
                let gauges = views::node_standing(state, &self.params, asker)?;
                is_seat && gauges.is_some_and(|gauges| gauges.rebuilds_until.is_some_and(|last| now <= last))
            }
        })
    }
}
