//! What a run knows of committees, whatever nodes think: whose word is the furthest, what may fail, what is lost for good.
//!
//! A shard is *marked* once a node has had it whose fragments cannot be counted on: a villain's, one that vanished, one that
//! lost its disk. Within the budget, `f` shards, every blob must stay readable; beyond it (a villain got others' seats) only
//! what honest nodes still have enough fragments of.

use super::World;
use crate::identity;
use crate::node::{Presence, Role};
use floe_ledger::{Event as LedgerEvent, MemoryState, views};
use floe_machines::coordinator::{Commit, Memory};
use floe_types::{BlobId, Committee, NodeId, ShardIndex};
use std::collections::BTreeSet;

/// The memory of it.
#[derive(Debug, Default)]
pub(crate) struct Committees {
    /// Shards whose fragments are not counted on.
    pub marked: BTreeSet<ShardIndex>,
    /// The newest term that was looked at.
    term: u64,
}

impl World {
    /// The state of the honest node that is furthest, of those that are there.
    pub(super) fn furthest_state(&self) -> Option<&MemoryState> {
        let up = self.nodes.iter().filter(|node| node.is_honest()).filter_map(|node| Some((node, node.live.as_ref()?)));
        up.max_by_key(|(node, live)| (live.coordinator.head().height, node.index)).map(|(node, _)| &node.disk.state)
    }

    /// The committee in office and the one chosen, as far as the furthest node knows.
    fn offices(&self) -> Vec<Committee> {
        let Some(state) = self.furthest_state() else { return Vec::new() };
        views::committee(state).ok().into_iter().chain(views::next_committee(state).ok().flatten()).collect()
    }

    /// Shards that a node has, gathers or still keeps.
    fn rows_of(&self, id: &NodeId) -> BTreeSet<ShardIndex> {
        let rows = self.furthest_state().and_then(|state| views::rows_of(state, id).ok()).unwrap_or_default();
        rows.into_iter().map(|(_, row)| row.shard).collect()
    }

    /// From now on nobody counts on what this node keeps.
    pub(super) fn mark_rows_of(&mut self, node: usize) {
        let rows = self.rows_of(&self.nodes[node].id());
        self.committees.marked.extend(rows);
    }

    /// Whether a node is out of order at the moment without lying: gone with seats, or not yet sure of its memory.
    pub(super) fn is_failing(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let holds = it.live.as_ref().is_some_and(|live| live.coordinator.votes_from().is_some());
        let seats = self.offices().iter().any(|committee| committee.index_of(&it.id()).is_some());
        match it.presence {
            Presence::NotYet => false,
            Presence::Gone => seats,
            Presence::Here => seats && (holds || it.disk.memory != Memory::Kept),
        }
    }

    /// Whether somebody else with seats is out of order.
    pub(super) fn is_another_failing(&self, node: usize) -> bool {
        (0..self.plan.people()).any(|other| other != node && self.is_failing(other))
    }

    /// Whether those who do not vote have more than `f` seats of the committee in office. Each was within the budget when it
    /// fell silent; then an election gave seats to somebody who has no memory yet.
    pub(super) fn are_too_many_silent(&self) -> bool {
        let Some(committee) = self.offices().into_iter().next() else { return false };
        let is_silent = |node: usize| self.nodes[node].role == Role::Silent && !self.nodes[node].is_up();
        let silent = (0..self.plan.people()).filter(|node| is_silent(*node) || self.is_failing(*node));
        let members = silent.filter_map(|node| committee.index_of(&identity::node_id(node)));
        committee.shards_of(members) > self.context.params.faulty()
    }

    /// Whether an honest node may fail for good, or lose what it has, within the budget.
    pub(super) fn may_fail(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let faulty = usize::from(self.context.params.faulty());
        let offices = self.offices();
        // While nobody lives nobody can say who has seats.
        if offices.is_empty()
            || it.presence != Presence::Here
            || it.role != Role::Honest
            || !self.plan.villains.is_empty()
        {
            return false;
        }
        let failing: Vec<NodeId> = (0..self.plan.people())
            .filter(|other| *other != node && self.is_failing(*other))
            .map(identity::node_id)
            .chain([it.id()])
            .collect();
        let seats = |committee: &Committee| {
            let members = failing.iter().filter_map(|id| committee.index_of(id));
            usize::from(committee.shards_of(members))
        };
        let mut marked = self.committees.marked.clone();
        marked.extend(self.rows_of(&it.id()));
        marked.len() <= faulty && offices.iter().all(|committee| seats(committee) <= faulty)
    }

    /// Whether reading this blob can be asked for: the budget was kept, or enough honest nodes have fragments of it.
    pub(super) fn must_be_readable(&self, blob: &BlobId) -> bool {
        if self.committees.marked.len() <= usize::from(self.context.params.faulty()) {
            return true;
        }
        let mut pairs = BTreeSet::new();
        for node in self.nodes.iter().filter(|node| node.stores() && node.is_up()) {
            pairs.extend(node.disk.fragments.of_blob(blob).into_iter().map(|key| key.pair));
        }
        // With fewer, and with fragments that no row covers any more, nobody promised it.
        pairs.len() == usize::from(self.context.params.shards)
    }

    /// After an honest node's commit: what an election or a new term means for the run.
    pub(super) fn look_at_committees(&mut self, node: usize, commit: &Commit) {
        if !self.nodes[node].is_honest() {
            return;
        }
        for event in &commit.events {
            let LedgerEvent::TermBegan { term } = event else { continue };
            if *term <= self.committees.term {
                continue;
            }
            self.committees.term = *term;
            self.stats.terms += 1;
            self.trace.say(self.now, || format!("term {term} begins: {}", self.nodes[node].seats_and_keys()));
            self.mark_villains();
            self.term_began();
        }
    }

    /// Villains' seats are marked, those they get as well as those they had at first.
    pub(super) fn mark_villains(&mut self) {
        let villains: Vec<usize> = self.plan.villains.iter().map(|villain| villain.node()).collect();
        for villain in villains {
            // A censor keeps what it has.
            if self.nodes[villain].role != Role::Censor {
                self.mark_rows_of(villain);
            }
        }
        if self.committees.marked.len() > usize::from(self.context.params.faulty()) {
            self.stats.beyond = 1;
        }
    }
}
