//! I19: two votes of one key that an honest member saw are punished, soon, and nobody else ever is.
//!
//! What an honest node saw comes with its commits; what was punished is read off the blocks. When links are fair and nobody
//! falls, three heights are enough. In any weather, whoever saw it and has not fallen since has seen to it by the end of the
//! calm, three heights after the one where the chain stood when it saw it: a node that reads in old blocks finds what it heard
//! of them only then. Who is no member lets the members go first and has two heights more.

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

/// Heights more for whoever is no member.
const STRANGER_HEIGHTS: u64 = 2;

/// Who saw two votes, in which life, and where the chain stood then.
type Witnesses = BTreeMap<(usize, u64), Height>;

/// The checker.
#[derive(Debug)]
pub(super) struct Offences {
    is_strict: bool,
    /// By key, the least height at which an honest node saw it, and who did.
    seen: BTreeMap<ValidatorKey, (Height, Witnesses)>,
    /// The greatest height that was decided.
    newest: Height,
    punished: BTreeSet<ValidatorKey>,
}

impl Offences {
    pub(super) fn new(plan: &Plan) -> Offences {
        let is_strict = plan.scenario == Scenario::Evidence;
        Offences { is_strict, seen: BTreeMap::new(), newest: Height(0), punished: BTreeSet::new() }
    }

    pub(super) fn punished(&self) -> u64 {
        self.punished.len() as u64
    }

    /// What came with an honest node's commit.
    pub(super) fn seen(&mut self, node: &Node, commit: &Commit) {
        for equivocation in &commit.equivocations {
            let (_, by) = self.seen.entry(equivocation.key()).or_insert((commit.height, BTreeMap::new()));
            by.entry((node.index, node.life)).or_insert(commit.height.max(self.newest));
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
        self.newest = self.newest.max(block.header.height);
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
        for (_, (seen, by)) in self.seen.iter().filter(|(key, _)| !self.punished.contains(*key)) {
            let had_time = |((node, life), stood): (&(usize, u64), &Height)| {
                let it = nodes.get(*node).filter(|it| it.life == *life);
                it.and_then(|it| Some((it.id(), it.live.as_ref()?))).is_some_and(|(id, live)| {
                    let is_member = live.coordinator.committee().index_of(&id).is_some();
                    let more = if is_member { 0 } else { STRANGER_HEIGHTS };
                    self.newest.0 >= stood.0 + HEIGHTS_MAX + more
                })
            };
            if by.iter().any(had_time) {
                let words = format!("two votes that were seen at height {seen} were never punished");
                return Err(Violation::of(Law::I19, words));
            }
        }
        Ok(())
    }
}
