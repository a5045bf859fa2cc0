//! I16: a change of committee moves at most `f` seats, at most half of `f` of them by choice, and every seat is held.
//!
//! Committees are compared as they stand in the state, seat by seat; who was excluded is read off the evidence in blocks, and
//! off the candidates for what absence and missing samples cost.
//! Nobody holds more than `f` seats unless it held as many before, and the domain of those who may fail none above `f`.

use super::{Violation, excluded};
use crate::identity::DEN;
use floe_ledger::{Action, Block, MemoryState, views};
use floe_types::laws::Law;
use floe_types::{Committee, Genesis, NodeId, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// The checker.
#[derive(Debug)]
pub(super) struct Seats {
    office: Committee,
    by_choice: usize,
    excluded: BTreeSet<NodeId>,
    /// Keys by node, of every committee so far.
    keys: BTreeMap<[u8; 32], NodeId>,
}

fn holders(committee: &Committee) -> BTreeMap<ShardIndex, NodeId> {
    let seats = |member: &floe_types::Member| {
        let node = member.node;
        member.shards.clone().into_iter().map(move |shard| (shard, node))
    };
    committee.members().iter().flat_map(seats).collect()
}

impl Seats {
    pub(super) fn new(genesis: &Genesis) -> Seats {
        let office = genesis.committee().expect("a plan's genesis has a committee");
        let by_choice = (usize::from(office.faulty()) / 2).max(1);
        let mut seats = Seats { office, by_choice, excluded: BTreeSet::new(), keys: BTreeMap::new() };
        seats.note_keys();
        seats
    }

    fn note_keys(&mut self) {
        self.keys.extend(self.office.members().iter().map(|member| (member.vote_key.0, member.node)));
    }

    /// A block was decided, after which the state is this.
    pub(super) fn decided(&mut self, block: &Block, state: &MemoryState) -> Result<(), Violation> {
        for signed in &block.transactions {
            if let Action::Evidence(votes) = &signed.transaction.action {
                self.excluded.extend(self.keys.get(&votes.key.0));
            }
        }
        let excluded = excluded(state, &self.office);
        self.excluded.extend(excluded.map_err(|error| Violation::of(Law::I16, error.to_string()))?);
        let Some(boundary) = &block.header.boundary else { return Ok(()) };
        if boundary.term == self.office.term() {
            return Ok(());
        }
        let office = views::committee(state).map_err(|error| Violation::of(Law::I16, error.to_string()))?;
        self.check(&office)?;
        self.office = office;
        self.note_keys();
        Ok(())
    }

    fn check(&self, office: &Committee) -> Result<(), Violation> {
        let (term, faulty) = (office.term(), usize::from(office.faulty()));
        let broken = |words: String| Err(Violation::of(Law::I16, format!("term {term}: {words}")));
        let (before, after) = (holders(&self.office), holders(office));
        if after.len() != usize::from(office.shards()) {
            return broken(format!("{} seats are held", after.len()));
        }
        let moved: Vec<_> = before.iter().filter(|(shard, node)| after.get(shard) != Some(node)).collect();
        let choice = moved.iter().filter(|(_, node)| !self.excluded.contains(*node)).count();
        if moved.len() > faulty || choice > self.by_choice {
            return broken(format!("{} seats moved, {choice} of them by choice, f is {faulty}", moved.len()));
        }
        let count = |of: &Committee, node: &NodeId| {
            of.index_of(node).and_then(|index| of.member(index)).map_or(0, |member| member.shards.len())
        };
        for member in office.members() {
            let (held, had) = (member.shards.len(), count(&self.office, &member.node));
            if held > faulty.max(had) {
                return broken(format!("{} has {held} seats and had {had}, f is {faulty}", member.name));
            }
        }
        let in_den = |of: &Committee| {
            let den = of.members().iter().filter(|member| member.domain == DEN);
            den.map(|member| member.shards.len()).sum::<usize>()
        };
        if in_den(office) > faulty.max(in_den(&self.office)) {
            return broken(format!("{} seats are in one domain", in_den(office)));
        }
        Ok(())
    }
}
