//! I19: two votes of one key that an honest member saw are punished, soon, and nobody else ever is.
//!
//! What an honest node saw comes with its commits; what was punished is read off the blocks. When links are fair and nobody
//! falls, three heights are enough. In any weather, whoever saw it and has not fallen since has seen to it by the end of the
//! calm.

use super::Violation;
use crate::node::Node;
use crate::plan::Plan;
use crate::scenario::Scenario;
use floe_consensus::ValidatorKey;
use floe_ledger::{Action, Block};
use floe_machines::coordinator::Commit;
use floe_types::Height;
use floe_types::laws::Law;
use std::collections::{BTreeMap, BTreeSet};

/// Heights after the one at which it was seen within which an offence is punished.
const HEIGHTS_MAX: u64 = 3;

/// The checker.
#[derive(Debug)]
pub(super) struct Offences {
    is_strict: bool,
    /// By key, the least height at which an honest node saw it, and who saw it in which life.
    seen: BTreeMap<ValidatorKey, (Height, BTreeSet<(usize, u64)>)>,
    punished: BTreeSet<ValidatorKey>,
}

impl Offences {
    pub(super) fn new(plan: &Plan) -> Offences {
        let is_strict = plan.scenario == Scenario::Evidence;
        Offences { is_strict, seen: BTreeMap::new(), punished: BTreeSet::new() }
    }

    pub(super) fn punished(&self) -> u64 {
        self.punished.len() as u64
    }

    /// What came with an honest node's commit.
    pub(super) fn seen(&mut self, node: &Node, commit: &Commit) {
        for equivocation in &commit.equivocations {
            let (_, by) = self.seen.entry(equivocation.key()).or_insert((commit.height, BTreeSet::new()));
            by.insert((node.index, node.life));
        }
    }

    /// A block was decided.
    pub(super) fn decided(&mut self, block: &Block, is_false: impl Fn(&ValidatorKey) -> bool) -> Result<(), Violation> {
        for signed in &block.transactions {
            if let Action::Evidence(votes) = &signed.transaction.action {
                let key = ValidatorKey(votes.key.0);
                if !is_false(&key) {
                    let words = format!("an honest key was punished at height {}", block.header.height);
                    return Err(Violation::of(Law::I19, words));
                }
                self.punished.insert(key);
            }
        }
        let height = block.header.height.0;
        let late = |(key, (seen, _)): &(&ValidatorKey, &(Height, _))| {
            !self.punished.contains(*key) && height >= seen.0 + HEIGHTS_MAX
        };
        match self.seen.iter().find(late).filter(|_| self.is_strict) {
            Some((_, (seen, _))) => {
                let words = format!("two votes that were seen at height {seen} are not punished at height {height}");
                Err(Violation::of(Law::I19, words))
            }
            None => Ok(()),
        }
    }

    /// The calm is over: whoever saw something and is still there has seen to it.
    pub(super) fn at_the_end(&self, nodes: &[Node]) -> Result<(), Violation> {
        let newest =
            nodes.iter().filter_map(|node| node.live.as_ref()).map(|live| live.coordinator.head().height).max();
        for (key, (seen, by)) in &self.seen {
            let fresh = newest.is_none_or(|newest| newest.0 < seen.0 + HEIGHTS_MAX);
            let stays =
                |(node, life): &(usize, u64)| nodes.get(*node).is_some_and(|it| it.life == *life && it.live.is_some());
            if !fresh && !self.punished.contains(key) && by.iter().any(stays) {
                let words = format!("two votes that were seen at height {seen} were never punished");
                return Err(Violation::of(Law::I19, words));
            }
        }
        Ok(())
    }
}
