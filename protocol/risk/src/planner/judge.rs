//! Judging a class: its risks, the lines they are held against, and the numbers that are shown with the verdict.
//!
//! A class that only seats cover and that is not under repair is judged by a bound first: the chance that so much is lost
//! among *all* seats, one table for the whole boundary. Only what passes it is computed exactly.
//!
//! **The Byzantine margin** `b` is the most counted shards that members with together at most `f` seats, and all nodes
//! without a seat, may be the only ones to hold: a knapsack. A silent holder may be gone, so that a stand-in of its may be the
//! only one; a shard that two answering nodes hold is counted at one of them, which can only make `b` larger.

use super::class::{Class, CoveringRow, Flag, RowKind, Spread};
use super::network::{Network, NodeIndex};
use crate::hazard::Presence;
use crate::loss::{Risks, Scratch, Thresholds};
use crate::probability::Probability;
use floe_types::EpochCount;

/// Where a class's risks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// An upper bound that holds for every class with so many covered shards.
    Bound,
    /// Computed for this class.
    Exact,
}

/// The counts of a class, in shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Shards that some row covers whose holder is not gone.
    pub covered: u32,
    /// Shards that some row covers at all: fewer than `p` is lost.
    pub rows: u32,
    /// Covered shards whose counted holder answered.
    pub held: u32,
    /// The Byzantine margin `b`.
    pub byzantine: u32,
}

/// Distances to the loss of the blob, counting what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Margins {
    /// Held shards above what a read needs.
    pub shards: u32,
    /// Nodes that may vanish, the largest first.
    pub nodes: u32,
    /// Domains that may vanish, the largest first.
    pub domains: u32,
}

/// The ruler of a class, in held shards from the top: nothing happens above `repair`, a margin is gone below `decide`, a read
/// fails below `read`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ruler {
    /// Shards held now.
    pub held: u32,
    /// Held shards at which repair would begin if the largest answering holders fell silent one by one until patience;
    /// `held` itself when a bound is passed now. None when not even the last of them would pass one.
    pub repair: Option<u32>,
    /// `p + b`.
    pub decide: u32,
    /// `p`.
    pub read: u32,
    /// Distances.
    pub margins: Margins,
    /// Boundaries from now until repair begins when nothing changes: who is silent stays silent, all others answer. None
    /// when nobody is silent, or when no length of silence would pass a bound: then nothing begins before an exclusion.
    pub begins_in: Option<EpochCount>,
}

/// Evaluates classes of one network. Keeps its memory from one to the next.
#[derive(Clone, Debug)]
pub(crate) struct Judge<'a> {
    pub network: &'a Network,
    scratch: Scratch,
    knapsack: Vec<u32>,
    before: Vec<u32>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(network: &'a Network) -> Judge<'a> {
        Judge { network, scratch: Scratch::new(), knapsack: Vec::new(), before: Vec::new() }
    }

    /// `b` of a spread.
    pub(crate) fn byzantine(&mut self, weight: &[u16]) -> u32 {
        let seats = self.network.shards.faulty() as usize;
        self.knapsack.clear();
        self.knapsack.resize(seats + 1, 0);
        let mut outside = 0u32;
        for (at, weight) in weight.iter().enumerate() {
            let node = NodeIndex(at as u16);
            let (cost, worth) = (usize::from(self.network.seats_of(node)), u32::from(*weight));
            if worth == 0 || self.network.node(node).is_none_or(|node| node.presence == Presence::Gone) {
                continue;
            }
            if cost == 0 {
                outside += worth;
                continue;
            }
            // From a copy, so that no cell waits for another one: there are `f` for each member of each class.
            self.before.clone_from(&self.knapsack);
            if let Some(cells) = self.knapsack.get_mut(cost..) {
                for (cell, without) in cells.iter_mut().zip(&self.before) {
                    *cell = (*cell).max(without.saturating_add(worth));
                }
            }
        }
        outside + self.knapsack.last().copied().unwrap_or(0)
    }

    /// Counts of a spread. `rows` is left as given.
    pub(crate) fn counts(&mut self, spread: &Spread, rows: u32) -> Counts {
        let mut counts = Counts { rows, ..Counts::default() };
        for node in spread.at.iter().flatten() {
            match self.network.node(*node).map(|node| node.presence) {
                Some(Presence::Answering) => {
                    counts.held += 1;
                    counts.covered += 1;
                }
                Some(Presence::Silent(_)) => counts.covered += 1,
                Some(Presence::Gone) | None => {}
            }
        }
        counts.byzantine = self.byzantine(&spread.weight);
        counts
    }

    /// Both risks of a spread, with the loss probabilities of the network or others.
    pub(crate) fn risks(&mut self, spread: &Spread, counts: &Counts, loss: &[Probability]) -> Risks {
        let read = self.network.shards.readable();
        let from = |kept: u32| (counts.covered + 1).saturating_sub(kept);
        let at = Thresholds { loss: from(read), margin: from(read + counts.byzantine) };
        self.scratch.clear();
        for node in &self.network.by_domain {
            let weight = spread.weight.get(usize::from(node.0)).copied().unwrap_or(0);
            self.scratch.add(self.network.load(*node, weight, loss));
        }
        self.scratch.tails(&self.network.shocks, at)
    }

    /// Counts and exact risks of a spread.
    pub(crate) fn exact(&mut self, spread: &Spread, rows: u32) -> (Counts, Risks) {
        let counts = self.counts(spread, rows);
        let risks = self.risks(spread, &counts, &self.network.loss);
        (counts, risks)
    }

    /// The bound for a class that only seats cover: `b` is at most `f`, and what it loses all seats lose.
    pub(crate) fn bound(&self, covered: u32) -> Risks {
        let (read, faulty) = (self.network.shards.readable(), self.network.shards.faulty());
        let from = |kept: u32| self.network.at_least((covered + 1).saturating_sub(kept));
        Risks { loss: from(read), margin: from(read + faulty) }
    }

    /// Whether the bound may speak for a class.
    pub(crate) fn bound_applies(&self, class: &Class) -> bool {
        let at_seat =
            |row: &CoveringRow| row.kind == RowKind::Seat && self.network.seat(row.shard.0) == Some(row.holder);
        class.flag == Flag::Calm && class.rows.iter().all(at_seat)
    }

    /// The ruler of a class.
    pub(crate) fn ruler(&mut self, class: &Class) -> Ruler {
        let spread = Spread::of(self.network, class);
        let (counts, risks) = self.exact(&spread, covered_rows(&spread));
        let network = self.network;
        let read = network.shards.readable();
        let mut holders: Vec<(u16, NodeIndex)> = Vec::new();
        for (at, weight) in spread.weight.iter().enumerate() {
            let node = NodeIndex(at as u16);
            if *weight > 0 && network.answers(node) {
                holders.push((*weight, node));
            }
        }
        // The largest first; of equals the one that comes first.
        holders.sort_by_key(|(weight, node)| (std::cmp::Reverse(*weight), *node));
        let nodes = holders.iter().map(|(weight, _)| u32::from(*weight)).collect();
        let mut domains = vec![0u32; network.shocks.len()];
        for (weight, node) in &holders {
            if let Some(sum) = domains.get_mut(usize::from(network.domain(*node))) {
                *sum += u32::from(*weight);
            }
        }
        let margins = Margins {
            shards: counts.held.saturating_sub(read),
            nodes: vanishing(nodes, read),
            domains: vanishing(domains, read),
        };
        let begins_in = self.begins_in(&spread, &counts);
        let mut line = passes(&risks, &network.bounds).then_some(counts.held);
        let (mut loss, mut held) = (network.loss.clone(), counts.held);
        let patience = network.params.repair.patience;
        for (weight, node) in holders {
            if line.is_some() {
                break;
            }
            if let Some(probability) = loss.get_mut(usize::from(node.0)) {
                *probability = self.silent_at(node, patience);
            }
            held = held.saturating_sub(u32::from(weight));
            if passes(&self.risks(&spread, &counts, &loss), &network.bounds) {
                line = Some(held);
            }
        }
        Ruler { held: counts.held, repair: line, decide: read + counts.byzantine, read, margins, begins_in }
    }

    /// Boundaries until repair begins when the silent stay silent. The chance that a silence is final only rises with its
    /// length, and not beyond the table: the first length that passes a bound is found by halving.
    fn begins_in(&mut self, spread: &Spread, counts: &Counts) -> Option<EpochCount> {
        let network = self.network;
        let silent = network.nodes.iter().enumerate().filter_map(|(at, node)| match node.presence {
            Presence::Silent(age) if spread.weight.get(at).is_some_and(|weight| *weight > 0) => Some((at, age)),
            _ => None,
        });
        let silent: Vec<(usize, EpochCount)> = silent.collect();
        let oldest = silent.iter().map(|(_, age)| age.0).max()?;
        let mut passes_after = |more: u64| {
            let mut loss = network.loss.clone();
            for (at, age) in &silent {
                if let Some(probability) = loss.get_mut(*at) {
                    let age = EpochCount(age.0.saturating_add(more));
                    *probability = self.silent_at(NodeIndex(*at as u16), age);
                }
            }
            passes(&self.risks(spread, counts, &loss), &network.bounds)
        };
        let (mut low, mut high) = (0, network.hazard.ages());
        if !passes_after(high) {
            return None;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match passes_after(middle) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        let edge = network.shards.readable() + network.shards.faulty() / 2;
        let patience = if counts.held <= edge { 0 } else { network.params.repair.patience.0 };
        Some(EpochCount(low.max(patience.saturating_sub(oldest))))
    }

    fn silent_at(&self, node: NodeIndex, age: EpochCount) -> Probability {
        let reliability = self.network.node(node).map(|node| node.reliability).unwrap_or_default();
        self.network.hazard.of_node(Presence::Silent(age), reliability)
    }
}

/// Whether either risk is above its line.
pub(crate) fn passes(risks: &Risks, line: &Risks) -> bool {
    risks.loss > line.loss || risks.margin > line.margin
}

/// The larger of both risks, in thousandths of its line.
pub(crate) fn urgency(risks: &Risks, line: &Risks) -> u64 {
    risks.loss.thousandths_of(line.loss).max(risks.margin.thousandths_of(line.margin))
}

/// Shards with any row at all.
pub(crate) fn covered_rows(spread: &Spread) -> u32 {
    spread.at.iter().flatten().count() as u32
}

/// How many of `holders`, the largest first, may vanish while `needed` shards remain.
fn vanishing(mut holders: Vec<u32>, needed: u32) -> u32 {
    holders.retain(|weight| *weight > 0);
    holders.sort_unstable();
    let mut held: u32 = holders.iter().sum();
    let mut vanished = 0;
    while let Some(largest) = holders.pop() {
        match held.checked_sub(largest) {
            Some(rest) if rest >= needed => held = rest,
            _ => break,
        }
        vanished += 1;
    }
    vanished
}
