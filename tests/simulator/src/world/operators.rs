//! What operators do: set nodes up and join, change stakes, give notice, switch off what the ledger no longer needs.
//!
//! Members of the first committee are their own operators and submit through their node; for the others a key signs that is
//! on no node, and any node passes it on. What is lost on the way is tried again when somebody looks next.

use super::gateway::Purpose;
use super::{Event, Local, World};
use crate::identity::{self, GENESIS_MILLIS};
use crate::node::{Presence, Role};
use crate::plan::{FaultClass, Villain};
use crate::scenario::Scenario;
use floe_ledger::candidates::Standing;
use floe_ledger::views::{self, CanStop};
use floe_ledger::{Action, Candidate, StakeChange};
use floe_types::units::FROST_PER_WAL;
use floe_types::{AccountId, Frost};

/// How long an operator waits before it looks whether its node stands, in milliseconds.
const LOOK_MILLIS: u64 = 1_500;
/// Epochs for which more than `f` shards are silent in a halt.
const HALT_EPOCHS: u64 = 6;

/// Something an operator does.
#[derive(Debug)]
pub(crate) enum Deed {
    /// Whatever comes to somebody's mind.
    Something,
    /// A node is to join, until it stands.
    Join { node: usize, tries: u32 },
    /// Many nodes are switched off at once.
    Halt,
    /// They are switched on again.
    Resume { epoch: u64 },
}

impl World {
    /// Draws when operators do something.
    pub(super) fn plan_deeds(&mut self) {
        self.mark_villains();
        let (storm, epoch) = (self.plan.storm_epochs * self.plan.epoch_millis, self.plan.epoch_millis);
        if self.plan.has(FaultClass::Churn) {
            for at in 0..self.plan.storm_epochs {
                let deeds = (self.plan.churn + self.work_luck.below(100)) / 100;
                for _ in 0..deeds {
                    let at = self.now + at * epoch + self.work_luck.below(epoch);
                    self.queue.plan(at, Event::Deed(Deed::Something));
                }
            }
            for villain in self.plan.villains.clone() {
                if let Villain::Lazy { node } = villain {
                    let at = self.now + self.work_luck.below(storm / 4);
                    self.queue.plan(at, Event::Deed(Deed::Join { node, tries: 0 }));
                }
            }
        }
        if self.plan.scenario == Scenario::Halt {
            let at = self.now + storm / 4 + self.work_luck.below(storm / 4);
            self.queue.plan(at, Event::Deed(Deed::Halt));
        }
    }

    pub(super) fn deed(&mut self, deed: Deed) {
        match deed {
            Deed::Join { node, tries } => self.join(node, tries),
            Deed::Resume { epoch } => self.resume(epoch),
            _ if self.is_calm => {}
            Deed::Something => self.something(),
            Deed::Halt => self.halt(),
        }
    }

    fn candidate(&self, node: usize) -> Option<Candidate> {
        let state = self.furthest_state()?;
        views::candidate(state, &identity::node_id(node)).ok().flatten()
    }

    fn something(&mut self) {
        self.switch_off_the_dismissed();
        let people = 0..self.plan.people();
        let villains: Vec<usize> = self.plan.villains.iter().map(|villain| villain.node()).collect();
        let standing: Vec<usize> = people
            .clone()
            .filter(|node| self.candidate(*node).is_some_and(|one| one.standing == Standing::Standing))
            .collect();
        let honest: Vec<usize> = standing.iter().copied().filter(|node| !villains.contains(node)).collect();
        let able =
            |node: &usize| self.nodes[*node].presence == Presence::NotYet && self.nodes[*node].role != Role::Lazy;
        let newcomers: Vec<usize> = people.filter(able).collect();
        match self.work_luck.below(10) {
            0..=3 if !newcomers.is_empty() => {
                let node = *self.work_luck.pick(&newcomers);
                self.join(node, 0);
            }
            0..=6 if self.may_leave(standing.len(), honest.len()) => {
                let node = *self.work_luck.pick(&honest);
                self.stats.leaves += 1;
                self.operate(node, Action::Leave { node: identity::node_id(node) });
                self.may_vanish(node);
            }
            _ if !honest.is_empty() => {
                let node = *self.work_luck.pick(&honest);
                let amount = Frost(FROST_PER_WAL * self.work_luck.between(1, 4));
                let change =
                    if self.work_luck.coin() { StakeChange::Add(amount) } else { StakeChange::Withdraw(amount) };
                self.operate(node, Action::Stake { node: identity::node_id(node), change });
            }
            _ => {}
        }
    }

    /// Whether one more may go: what is left must be able to hold all shards, and most of them must be honest.
    fn may_leave(&self, standing: usize, honest: usize) -> bool {
        let (shards, faulty) = (usize::from(self.plan.shards), usize::from(self.plan.faulty()));
        let gone = (0..self.plan.people()).filter(|node| self.nodes[*node].presence == Presence::Gone).count();
        honest > 3 && standing > gone + 1 && (standing - gone - 1) * faulty >= shards
    }

    /// Sets a node up when it is not yet, and has it join until it stands.
    fn join(&mut self, node: usize, tries: u32) {
        if self.nodes[node].presence == Presence::NotYet {
            self.nodes[node].presence = Presence::Here;
            self.trace.say(self.now, || format!("{node} is set up"));
            self.queue.plan(self.now, Event::Rise { node });
        }
        if self.nodes[node].presence == Presence::Gone || self.candidate(node).is_some() || tries > 8 {
            return;
        }
        let stake = Frost(FROST_PER_WAL * self.work_luck.between(1, 3));
        let secret = identity::first_secret(node);
        let join = identity::join(&self.plan, &self.context.network, (node, secret), stake);
        self.stats.joins += u64::from(tries == 0);
        self.operate(node, Action::Join(Box::new(join)));
        let at = self.now + LOOK_MILLIS * u64::from(tries + 1);
        self.queue.plan(at, Event::Deed(Deed::Join { node, tries: tries + 1 }));
    }

    /// Signs and sends, by the node itself or by its operator through another.
    fn operate(&mut self, node: usize, action: Action) {
        if node < self.plan.members {
            return self.tell(node, Local::Submit { purpose: Purpose::Operate, action });
        }
        let gateways = self.gateways();
        let operator = AccountId(identity::operator_key(node).public());
        let nonce = self.furthest_state().and_then(|state| views::account(state, &operator).ok()).map(|it| it.nonce);
        if let (Some(nonce), false) = (nonce, gateways.is_empty()) {
            let through = *self.work_luck.pick(&gateways);
            let transaction = identity::operators(self.context.network, node, nonce, action);
            self.tell(through, Local::Relay { transaction: Box::new(transaction) });
        }
    }

    /// Who gave notice may be gone before it has handed over, as far as the budget goes.
    fn may_vanish(&mut self, node: usize) {
        let wanted = self.plan.has(FaultClass::Vanish) && self.work_luck.coin();
        let notice = self.candidate(node).is_some_and(|one| matches!(one.standing, Standing::Leaving { .. }));
        if !wanted || !(notice || self.nodes[node].is_up()) || !self.may_fail(node) {
            return;
        }
        self.trace.say(self.now, || format!("{node} vanishes"));
        self.stats.vanished += 1;
        self.mark_rows_of(node);
        self.switch_off(node);
    }

    fn switch_off(&mut self, node: usize) {
        self.nodes[node].presence = Presence::Gone;
        self.fall(node, u64::MAX);
    }

    /// Nodes that were members, are candidates no more and may be switched off: every second one is.
    fn switch_off_the_dismissed(&mut self) {
        for node in 0..self.plan.people() {
            let it = &self.nodes[node];
            let served = node < self.plan.members || it.disk.state.entries().next().is_some() && it.keys_made > 0;
            if it.presence != Presence::Here || !it.is_honest() || !served || self.candidate(node).is_some() {
                continue;
            }
            let id = it.id();
            let Some(state) = self.furthest_state() else { return };
            let may = matches!(views::can_stop(state, &self.context.params, &id), Ok(CanStop::Now));
            if may && self.work_luck.coin() {
                self.trace.say(self.now, || format!("{node} is switched off, as it may be"));
                self.stats.switched_off += 1;
                self.switch_off(node);
            }
        }
    }

    /// So many members are switched off that nothing can be decided.
    fn halt(&mut self) {
        let epoch = self.furthest().1.0;
        let mut nodes: Vec<usize> = (0..self.plan.members).collect();
        self.work_luck.shuffle(&mut nodes);
        let Some(state) = self.furthest_state() else { return };
        let Ok(committee) = views::committee(state) else { return };
        let (mut silent, mut seats) = (Vec::new(), 0);
        for node in nodes {
            if seats > self.context.params.faulty() {
                break;
            }
            seats += committee.shards_of(committee.index_of(&identity::node_id(node)));
            silent.push(node);
        }
        let millis = HALT_EPOCHS * self.plan.epoch_millis;
        self.trace.say(self.now, || format!("{silent:?} fall silent for {millis} ms"));
        self.stats.halts += u64::from(seats > self.context.params.faulty());
        let halted = seats > self.context.params.faulty();
        for node in silent {
            self.fall(node, millis);
        }
        if halted {
            // Looked at while they are still silent: what was on its way has been decided by then.
            // The calm brings them back before their time.
            let calm_at = GENESIS_MILLIS + self.plan.storm_epochs * self.plan.epoch_millis;
            let at = (self.now + millis).min(calm_at).max(self.now + 1) - 1;
            self.queue.plan(at, Event::Deed(Deed::Resume { epoch }));
        }
    }

    /// The halt is about to end: it was one epoch, or what was on its way made it two.
    fn resume(&mut self, epoch: u64) {
        let now = self.furthest().1.0;
        if now > epoch + 1 {
            let words = format!("epochs {epoch} to {now} passed while more than f shards were silent");
            let broken = self.laws.broken(floe_types::laws::Law::I14, words);
            self.judge(broken);
        }
    }
}
