//! Domains that nobody declared: nodes that fall silent together more often than chance allows.
//!
//! Per node the epochs are kept in which a silence began, within a window of ninety days. Two nodes *coincide* when both
//! begin within one epoch of each other. By chance that is expected `N_i N_j 3 / T` times; a pair is flagged when it
//! happened at least three times and so often that chance would do it with less than a thousandth over all pairs. Flagged
//! pairs are merged into one domain for the risk for as long as the window. An epoch in which more than a third of the nodes
//! vanish together says something of the observer's side and is not counted.
//!
//! Good against co-hosting, useless against rare disasters: declared domains and the prior of shocks stay.

use crate::params::Coincidence;
use crate::probability::Probability;
use floe_types::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The most silences that are remembered of a node; the oldest is forgotten first. One a day in the window and as many again.
pub const ONSETS_MAX: usize = 180;

/// When silences began, and which pairs were flagged until when. Nodes are numbered by whoever asks, the same way always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onsets {
    since: Option<Epoch>,
    by_node: BTreeMap<u16, VecDeque<Epoch>>,
    flagged: BTreeMap<(u16, u16), Epoch>,
}

impl Onsets {
    /// Nothing seen.
    #[must_use]
    pub fn new() -> Onsets {
        Onsets::default()
    }

    /// Takes in the nodes whose silence began in `epoch`, of so many nodes in all. Epochs come in ascending order.
    pub fn observe(&mut self, params: &Coincidence, epoch: Epoch, began: &[u16], nodes: usize) {
        self.since.get_or_insert(epoch);
        let oldest = Epoch(epoch.0.saturating_sub(params.window.0));
        for onsets in self.by_node.values_mut() {
            while onsets.front().is_some_and(|first| *first < oldest) {
                onsets.pop_front();
            }
        }
        self.by_node.retain(|_, onsets| !onsets.is_empty());
        self.flagged.retain(|_, until| *until > epoch);
        if began.len() * 3 > nodes {
            return;
        }
        for node in began {
            let onsets = self.by_node.entry(*node).or_default();
            if onsets.back() != Some(&epoch) {
                onsets.push_back(epoch);
            }
            if onsets.len() > ONSETS_MAX {
                onsets.pop_front();
            }
        }
    }

    /// Forgets a node: its number is another's from now on.
    pub fn forget(&mut self, node: u16) {
        self.by_node.remove(&node);
        self.flagged.retain(|(one, other), _| *one != node && *other != node);
    }

    /// Looks for pairs anew, once a day: flags what is beyond chance among `nodes` until a window from `epoch`.
    pub fn flag(&mut self, params: &Coincidence, epoch: Epoch, nodes: usize) {
        let pairs = (nodes as u64).saturating_mul(nodes.saturating_sub(1) as u64) / 2;
        let accepted = Probability::ratio_up(params.alpha_ppm, pairs.saturating_mul(1_000_000));
        let since = self.since.map_or(epoch, |since| since.max(Epoch(epoch.0.saturating_sub(params.window.0))));
        let elapsed = (epoch.0 - since.0.min(epoch.0)).max(1);
        let until = Epoch(epoch.0.saturating_add(params.window.0));
        let mut found = Vec::new();
        for (one, onsets) in &self.by_node {
            for (other, others) in self.by_node.range(one.saturating_add(1)..).filter(|(other, _)| *other != one) {
                let both = coincidences(onsets, others);
                if both < params.least {
                    continue;
                }
                let expected = (onsets.len() as u64).saturating_mul(others.len() as u64).saturating_mul(3);
                if poisson_tail(both, expected, elapsed) <= accepted {
                    found.push((*one, *other));
                }
            }
        }
        self.flagged.extend(found.into_iter().map(|pair| (pair, until)));
    }

    /// The pairs that are flagged, in order.
    pub fn flagged(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.flagged.keys().copied()
    }

    /// The domains of the nodes after flagged pairs were merged: each node gets the least domain it is tied to.
    #[must_use]
    pub fn merged(&self, declared: &[u16]) -> Vec<u16> {
        merge(declared, self.flagged())
    }
}

/// Declared domains by node, with the domains of each pair of nodes merged into the lesser.
#[must_use]
pub fn merge(declared: &[u16], pairs: impl Iterator<Item = (u16, u16)>) -> Vec<u16> {
    let most = declared.iter().copied().max().map_or(0, |most| usize::from(most) + 1);
    let mut parent: Vec<u16> = (0..most).map(|at| at as u16).collect();
    for (one, other) in pairs {
        let domain = |node: u16| declared.get(usize::from(node)).copied();
        let (Some(one), Some(other)) = (domain(one), domain(other)) else { continue };
        let (one, other) = (root(&mut parent, one), root(&mut parent, other));
        if let Some(above) = parent.get_mut(usize::from(one.max(other))) {
            *above = one.min(other);
        }
    }
    declared.iter().map(|domain| root(&mut parent, *domain)).collect()
}

/// The least domain that `domain` was merged into. Halves the path it walks.
fn root(parent: &mut [u16], mut domain: u16) -> u16 {
    let above = |parent: &[u16], at: u16| parent.get(usize::from(at)).copied().unwrap_or(at);
    while above(parent, domain) != domain {
        let next = above(parent, above(parent, domain));
        if let Some(entry) = parent.get_mut(usize::from(domain)) {
            *entry = next;
        }
        domain = next;
    }
    domain
}

/// How many silences of one began within one epoch of one of the other; each counts once. Both ascend.
fn coincidences(one: &VecDeque<Epoch>, other: &VecDeque<Epoch>) -> u32 {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let mut both = 0;
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        if a.0.abs_diff(b.0) <= 1 {
            both += 1;
            left.next();
            right.next();
        } else if a < b {
            left.next();
        } else {
            right.next();
        }
    }
    both
}

/// The probability that a Poisson variable of mean `part / whole` is at least `count`: each term, summed upwards.
fn poisson_tail(count: u32, part: u64, whole: u64) -> Probability {
    if part / whole.max(1) >= u64::from(count) {
        return Probability::ONE;
    }
    // Rounding of the first term: 2^-55 up makes it an upper bound again.
    let mut term = u128::from(Probability::exp_negative_down(part, whole).bits() + 256);
    let mut sum = 0u128;
    for index in 1..=512u32 {
        // At most 2^63 times 2^64: within 128 bits.
        term = (term * u128::from(part)).div_ceil(u128::from(whole.max(1)) * u128::from(index));
        if term > u128::from(crate::probability::UNIT) {
            return Probability::ONE;
        }
        if index >= count {
            sum += term;
        }
        if term <= 1 && index > count {
            break;
        }
    }
    Probability::from_bits(u64::try_from(sum).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    #[test]
    fn the_tail_of_poisson_is_that_of_the_textbook() {
        for (count, part, whole) in [(3, 1, 10), (3, 1, 1), (5, 2, 1), (10, 3, 1), (4, 1, 100)] {
            let mean = part as f64 / whole as f64;
            let mut term = (-mean).exp();
            let mut below = 0.0;
            for index in 0..count {
                below += term;
                term *= mean / f64::from(index + 1);
            }
            let ours = poisson_tail(count, part, whole).bits() as f64 / 2f64.powi(63);
            assert!((ours - (1.0 - below)).abs() < 1e-11, "{count} {mean}: {ours} {}", 1.0 - below);
        }
    }

    /// A day's worth of silences for ninety days: each of `nodes` now and then, `group` together every `every` hours.
    fn history(nodes: u16, group: &[u16], every: u64) -> Onsets {
        let params = Params::standard().coincidence;
        let mut onsets = Onsets::new();
        let mut state = 88_172_645_463_325_252u64;
        for epoch in 1..=90 * 24u64 {
            let mut began: Vec<u16> = Vec::new();
            for node in 0..nodes {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if (state >> 20).is_multiple_of(120) {
                    began.push(node);
                }
            }
            if epoch.is_multiple_of(every) {
                began.extend(group);
                began.sort_unstable();
                began.dedup();
            }
            onsets.observe(&params, Epoch(epoch), &began, nodes.into());
        }
        onsets.flag(&params, Epoch(90 * 24), nodes.into());
        onsets
    }

    #[test]
    fn a_hidden_group_is_found_whole_and_nobody_else() {
        let onsets = history(31, &[3, 8, 14, 22, 30], 120);
        let merged = onsets.merged(&(0..31).collect::<Vec<u16>>());
        for node in 0..31u16 {
            let expected = if [3, 8, 14, 22, 30].contains(&node) { 3 } else { node };
            assert_eq!(merged[usize::from(node)], expected);
        }
    }

    #[test]
    fn independent_nodes_are_not_flagged() {
        assert_eq!(history(31, &[], 1 << 40).flagged().count(), 0);
        assert_eq!(history(100, &[], 1 << 40).flagged().count(), 0);
    }

    #[test]
    fn an_epoch_in_which_a_third_vanishes_is_not_counted() {
        let all: Vec<u16> = (0..11).collect();
        assert_eq!(history(31, &all, 24).flagged().count(), 0);
    }

    #[test]
    fn flags_end_and_numbers_are_given_again() {
        let params = Params::standard().coincidence;
        let mut onsets = history(31, &[1, 2], 60);
        assert_eq!(onsets.flagged().collect::<Vec<_>>(), [(1, 2)]);
        let mut other = onsets.clone();
        other.forget(2);
        assert_eq!(other.flagged().count(), 0);
        onsets.observe(&params, Epoch(180 * 24 + 1), &[], 31);
        assert_eq!((onsets.flagged().count(), onsets.by_node.len()), (0, 0));
    }

    #[test]
    fn what_is_remembered_of_a_node_is_bounded() {
        let params = Params::standard().coincidence;
        let mut onsets = Onsets::new();
        for epoch in 0..1_000 {
            onsets.observe(&params, Epoch(epoch * 2), &[7], 10);
        }
        assert_eq!(onsets.by_node[&7].len(), ONSETS_MAX);
    }

    #[test]
    fn merging_is_transitive_and_takes_the_least() {
        assert_eq!(merge(&[4, 3, 2, 1, 9], [(0, 1), (1, 2), (7, 8)].into_iter()), [2, 2, 2, 1, 9]);
        assert_eq!(merge(&[], [(0, 1)].into_iter()), Vec::<u16>::new());
    }
}
