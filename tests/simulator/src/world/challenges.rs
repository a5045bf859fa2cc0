//! The shell round a node's challenges: questions and answers as requests, observations to all, duties to its coordinator.
//!
//! Observations go to everybody in touch at once and are relayed by nobody: the live view may miss some, the ledger never
//! sees one. What is kept for the closing is on the disk before the next effect, as production does it.

use super::requests::{Question, Request};
use super::{Event, Local, World};
use crate::identity;
use crate::mutant::Mutant;
use crate::node::Role;
use bytes::Bytes;
use floe_ledger::MemberSet;
use floe_ledger::challenges::Slip;
use floe_machines::challenges::{
    Challenger, Config, Effect, ExchangeId, Identity, Input, NoHashes, ObservationToken, show,
};
use floe_machines::coordinator::Judgement;
use floe_machines::wire::challenge::{Denial, Observation, Reply, SignedObservation};
use floe_types::NodeId;

impl World {
    /// The machine with which a node rises.
    pub(super) fn challenger(&self, node: usize) -> Challenger {
        let it = &self.nodes[node];
        let identity = Identity {
            node: it.id(),
            network_key: identity::node_key(it.who),
            confirmation_key: identity::bls_key(it.who),
        };
        let of = (self.context.network, self.context.params.clone());
        Challenger::new(Config::default(), of, identity)
    }

    /// The node rose: it goes on from what it kept.
    pub(super) fn challenges_begin(&mut self, node: usize) {
        let kept = self.nodes[node].disk.sealed.clone();
        self.challenge_step(node, Input::Started { kept });
    }

    pub(super) fn challenge_step(&mut self, node: usize, input: Input) {
        let (now, it) = (self.nodes[node].clock(self.now), &mut self.nodes[node]);
        let Some(live) = it.live.as_mut() else { return };
        let effects = match live.challenger.step(now, &it.disk.state, input) {
            Ok(effects) => effects,
            Err(error) => return self.stopped(node, &error.to_string()),
        };
        for effect in effects {
            if self.violation.is_some() || self.falls_now(node) {
                return;
            }
            self.challenge_does(node, effect);
        }
        self.plan_challenge_tick(node);
    }

    fn challenge_does(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Ask { ask, to, bytes } => {
                self.stats.challenges += 1;
                self.ask(node, to, Question::Challenge { ask }, bytes);
            }
            Effect::Publish { bytes } => self.say_observed(node, &bytes),
            Effect::Judge { judgement, .. } => {
                self.stats.rejected += u64::from(judgement == Judgement::Reject);
            }
            Effect::Open { exchange, slip } => self.open_part(node, exchange, &slip),
            Effect::Reply { exchange, bytes } => self.show(node, exchange, bytes),
            Effect::Keep { epoch: _, bytes } => self.nodes[node].disk.sealed = Some(bytes),
            Effect::Duty { action } => self.tell(node, Local::Duty { action }),
            Effect::Blame { node: blamed, cause } => {
                self.stats.blames += 1;
                self.trace.say(self.now, || format!("{node} blames {}: {cause}", blamed.short()));
            }
        }
    }

    /// Somebody asks this node to show something.
    pub(super) fn challenged(&mut self, node: usize, request: Request, bytes: &[u8]) {
        let exchange = ExchangeId(self.serial());
        let peer: NodeId = self.nodes[request.asker()].id();
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        live.exchanges.insert(exchange, request);
        self.challenge_step(node, Input::Asked { exchange, peer, bytes: Bytes::copy_from_slice(bytes) });
    }

    fn open_part(&mut self, node: usize, exchange: ExchangeId, slip: &Slip) {
        let (network, shards) = (self.context.network, self.context.params.shards);
        let it = &self.nodes[node];
        let key = identity::node_key(it.who);
        let reply = show(&network, shards, slip, (&it.disk.fragments, &NoHashes), &key);
        self.show(node, exchange, Bytes::from(reply.encode()));
        self.challenge_step(node, Input::Opened { exchange });
    }

    /// Sends what a question comes to, unless the node has a mind of its own.
    fn show(&mut self, node: usize, exchange: ExchangeId, bytes: Bytes) {
        let Some(request) = self.nodes[node].live.as_mut().and_then(|live| live.exchanges.remove(&exchange)) else {
            return;
        };
        let denied = matches!(Reply::decode(&bytes), Ok(Reply::No(Denial::NotHeld)));
        self.stats.denied += u64::from(denied);
        if self.mutant == Some(Mutant::OverlookOne) && node == 0 {
            return;
        }
        match self.nodes[node].role {
            // It will not say what it has not.
            Role::Lazy if denied => {}
            Role::Slow => {
                let after = self.context.params.soft_millis + 1;
                self.answer_request((node, request), bytes, after);
            }
            Role::Selective if request.asker() % 2 == 0 => {}
            _ => self.answer_request((node, request), bytes, 0),
        }
    }

    /// Says to all what was seen in a slot. A framer says that it has seen nobody.
    fn say_observed(&mut self, node: usize, bytes: &Bytes) {
        let bytes = match (&self.nodes[node].role, SignedObservation::decode(bytes)) {
            (Role::Framer, Ok(said)) => {
                let nobody = MemberSet::new();
                let lie = Observation { passed: nobody.clone(), late: nobody, ..said.observation };
                Bytes::from(lie.sign(&identity::node_key(self.nodes[node].who)).encode())
            }
            _ => bytes.clone(),
        };
        self.stats.observations += 1;
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            if !self.nodes[node].is_in_touch_with(to) || !self.nodes[to].is_in_touch_with(node) {
                continue;
            }
            for after in self.network.carry(node, to) {
                let bytes = self.damaged(node, &bytes).unwrap_or_else(|| bytes.clone());
                self.queue.plan(self.now + after, Event::Observation { to, bytes });
            }
        }
    }

    pub(super) fn observation_arrives(&mut self, to: usize, bytes: Bytes) {
        let token = ObservationToken(self.serial());
        if !self.is_deaf(to) {
            self.challenge_step(to, Input::Observed { token, bytes });
        }
    }

    /// Plans the next look at the clock for challenges.
    fn plan_challenge_tick(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Some(live) = it.live.as_mut() else { return };
        let Some(due) = live.challenger.wake_at() else { return };
        let due = due.saturating_add_signed(it.clock_offset.saturating_neg()).max(self.now + 1);
        if live.challenge_tick_at.is_none_or(|at| due < at || at <= self.now) {
            live.challenge_tick_at = Some(due);
            let life = it.life;
            self.queue.plan(due, Event::ChallengeTick { node, life });
        }
    }

    pub(super) fn challenge_tick(&mut self, node: usize, life: u64) {
        if !self.lives(node, life) {
            return;
        }
        if let Some(live) = self.nodes[node].live.as_mut() {
            if live.challenge_tick_at.is_some_and(|at| at > self.now) {
                // Another one was planned for later, which this one would only double.
                return;
            }
            live.challenge_tick_at = None;
        }
        self.challenge_step(node, Input::Tick);
    }

    /// The coordinator signs what the node has to say to the ledger. A framer's report says that nobody was there, and one that
    /// does not open says nothing.
    pub(super) fn duty(&mut self, node: usize, action: floe_ledger::Action) {
        use floe_ledger::Action;
        let action = match (&self.nodes[node].role, action) {
            (Role::NonOpener, Action::Report(_)) => return,
            (Role::Framer, Action::Report(mut report)) => {
                report.held.iter_mut().flatten().for_each(|held| *held = MemberSet::new());
                report.passed.iter_mut().for_each(|passed| *passed = 0);
                report.shown.clear();
                Action::Report(report)
            }
            (_, action) => action,
        };
        self.coordinate(node, floe_machines::coordinator::Input::Duty { action });
    }
}
