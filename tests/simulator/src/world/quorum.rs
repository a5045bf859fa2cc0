//! Exactly a quorum: three of seven fall in the middle of heights, one comes back, and with it a decision must come.
//!
//! ```text
//! ThreeFall --each between two of its own effects--> OneRises --a height is decided--> the others rise --> ThreeFall
//! ```
//!
//! With as many members as a quorum needs one alone holds up everybody: one that is locked on a value of which nobody else
//! knows, one that asks what it has forgotten for ever, one whose vote is lost and not said again. The network is fair
//! meanwhile, so that whatever takes long is a wait of the protocol's own.

use super::process::Fault;
use super::{Event, World};
use crate::scenario::Scenario;
use floe_types::Height;
use floe_types::laws::Law;

/// How many fall; with four of 28 shards each, seven less two are a quorum.
const FALLEN: usize = 3;
/// The first to fall does so before one of so many effects, and so do the others: within about a height.
const EFFECTS: u64 = 60;
/// How often is looked whether a decision has come, in milliseconds.
const LOOK_MILLIS: u64 = 20;
/// How long it may take. Each round costs at most a wait for a proposer that is not there, and one for votes of each kind: in
/// the fifth round 1.8 s, 1.2 s and 1.2 s. Two of seven proposers are not there, the first of the others may not know
/// what somebody is bound to and the next does: so five rounds at most, and the one that was under way.
const DECIDED_MILLIS_MAX: u64 = 20_000;

/// The trial under way.
#[derive(Debug, Default)]
pub(crate) struct QuorumTrial {
    fallen: Vec<usize>,
    /// Who came back beside the others: from which height, when.
    since: Option<(Height, u64)>,
}

impl World {
    pub(super) fn three_fall(&mut self) {
        let mut nodes: Vec<usize> = (0..self.plan.members).collect();
        self.process_luck.shuffle(&mut nodes);
        nodes.truncate(FALLEN);
        for node in &nodes {
            self.nodes[*node].falls_after = Some(self.process_luck.below(EFFECTS));
        }
        self.quorum = QuorumTrial { fallen: nodes, since: None };
        let at = self.now + self.process_luck.between(2 * self.plan.epoch_millis, 4 * self.plan.epoch_millis);
        self.queue.plan(at, Event::Fault(Fault::OneRises));
    }

    pub(super) fn one_rises(&mut self) {
        for node in self.quorum.fallen.clone() {
            // Nothing more happened to it: it falls idle.
            if self.nodes[node].live.is_some() {
                self.fall(node, u64::MAX);
            }
        }
        let Some(node) = self.quorum.fallen.pop() else { return };
        self.trace.say(self.now, || format!("{node} comes back: exactly a quorum is there"));
        self.quorum.since = Some((self.furthest().0, self.now));
        self.queue.plan(self.now, Event::Rise { node });
        self.queue.plan(self.now + LOOK_MILLIS, Event::Fault(Fault::LookAtQuorum));
    }

    /// Whether a message of a node that has fallen meanwhile stayed behind: some hear its last words, others do not.
    pub(super) fn is_cut_short(&mut self, from: usize) -> bool {
        self.plan.scenario == Scenario::Quorum && self.nodes[from].live.is_none() && self.process_luck.coin()
    }

    pub(super) fn look_at_quorum(&mut self) {
        let Some((height, began)) = self.quorum.since else { return };
        let took = self.now - began;
        if self.furthest().0 > height {
            self.trace.say(self.now, || format!("a quorum has decided after {took} ms"));
            self.stats.quorum_trials += 1;
            self.stats.quorum_slow += u64::from(took > DECIDED_MILLIS_MAX / 4);
            self.stats.quorum_millis += took;
            self.stats.quorum_millis_max = self.stats.quorum_millis_max.max(took);
            self.quorum.since = None;
            for node in std::mem::take(&mut self.quorum.fallen) {
                self.queue.plan(self.now, Event::Rise { node });
            }
            let at = self.now + self.process_luck.between(1_000, 2 * self.plan.epoch_millis);
            return self.queue.plan(at, Event::Fault(Fault::ThreeFall));
        }
        if took > DECIDED_MILLIS_MAX {
            let words = format!("exactly a quorum is there and decides nothing beyond {height} in {took} ms");
            let broken = self.laws.broken(Law::I18, words);
            return self.judge(broken);
        }
        self.queue.plan(self.now + LOOK_MILLIS, Event::Fault(Fault::LookAtQuorum));
    }
}
