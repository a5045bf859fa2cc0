//! The shell round a node that begins with a snapshot: pieces asked for as blocks are, kept on the disk as they come, the state
//! put in place of what there was.
//!
//! It has no life of its own meanwhile: whoever speaks to it finds nobody. A fall in the middle loses nothing that was kept.

use super::process::Fault;
use super::requests::Question;
use super::{Event, World};
use crate::identity;
use crate::laws::Violation;
use crate::node::{Arriving, Presence};
use crate::plan::FaultClass;
use floe_machines::snapshot::{Config, Effect, Input, SnapshotSync};
use floe_machines::wire::sync::{REQUEST_BYTES_MAX, Request};
use floe_types::{NodeId, codec};

/// Rounds in which nobody offers anything after which blocks are the way.
const NOTHING_MAX: u32 = 4;

/// How long a node that is far behind may ask for blocks in vain, in milliseconds.
const FAR_BEHIND_MILLIS: u64 = 6_000;

fn config() -> Config {
    Config { open_max: 4, patience_millis: 4_000, pause_millis: 700 }
}

impl World {
    /// Whether a node that rises is to begin with a snapshot.
    pub(super) fn wants_snapshot(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        self.plan.has(FaultClass::Snapshots) && it.is_honest() && it.disk.snapshots.is_wanted
    }

    /// Begins to fetch one, or goes on where an earlier life was.
    pub(super) fn begin_arriving(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let height = it.disk.height();
        let resumed = it.disk.snapshots.resumed();
        self.trace.say(self.now, || format!("{node} looks for a snapshot above height {height}"));
        let machine = SnapshotSync::new(config(), &self.genesis, height, resumed);
        it.arriving = Some(Box::new(Arriving { machine, timer: 0, nothing: 0 }));
        let here = self.nodes.iter().filter(|other| other.presence == Presence::Here && other.index != node);
        let mut peers: Vec<NodeId> = here.map(|other| other.id()).filter(|id| *id != identity::node_id(node)).collect();
        peers.dedup();
        self.arriving_step(node, Input::Peers(peers));
    }

    pub(super) fn arriving_step(&mut self, node: usize, input: Input) {
        let Some(arriving) = self.nodes[node].arriving.as_mut() else { return };
        for effect in arriving.machine.step(self.now, input) {
            if self.falls_now(node) || self.nodes[node].arriving.is_none() {
                return;
            }
            self.arriving_does(node, effect);
        }
    }

    fn arriving_does(&mut self, node: usize, effect: Effect) {
        self.trace.say(self.now, || match &effect {
            Effect::Ask { to, bytes } => {
                let ask = codec::decode::<Request>(bytes, REQUEST_BYTES_MAX).map(|request| request.ask);
                format!("{node} asks {} for {ask:?}", to.short())
            }
            Effect::NothingOffered => format!("{node} is offered no snapshot"),
            other => format!("{node}: {}", format!("{other:?}").split([' ', '{']).next().unwrap_or_default()),
        });
        match effect {
            Effect::Ask { to, bytes } => self.ask(node, to, Question::Snapshot, bytes),
            Effect::Begin { outline, parts, kept } => {
                self.nodes[node].disk.snapshots.begin(*outline, parts, &kept);
            }
            Effect::Keep { index, bytes } => self.nodes[node].disk.snapshots.keep(index, bytes.to_vec()),
            Effect::Complete { outline: _, terms } => {
                if let Err(reason) = self.nodes[node].disk.restore(&self.context.network, &terms) {
                    let who = self.nodes[node].who;
                    return self.violated(Violation::stopped(who, &reason));
                }
                self.stats.restored += 1;
                let height = self.nodes[node].disk.height();
                self.trace.say(self.now, || format!("{node} stands at height {height} by a snapshot"));
                self.begin_after_snapshot(node);
            }
            Effect::NothingOffered => {
                let Some(arriving) = self.nodes[node].arriving.as_mut() else { return };
                arriving.nothing += 1;
                if arriving.nothing >= NOTHING_MAX {
                    self.nodes[node].disk.snapshots.is_wanted = false;
                    self.begin_after_snapshot(node);
                }
            }
            Effect::SetTimer { after_millis } => {
                let serial = self.serial();
                let Some(arriving) = self.nodes[node].arriving.as_mut() else { return };
                arriving.timer = serial;
                let life = self.nodes[node].life;
                self.queue.plan(self.now + after_millis, Event::ArrivingTimer { node, life, serial });
            }
            Effect::Blame { node: blamed, cause } => {
                self.stats.blames += 1;
                self.trace.say(self.now, || format!("{node} blames {}: {cause}", blamed.short()));
            }
        }
    }

    fn begin_after_snapshot(&mut self, node: usize) {
        self.nodes[node].arriving = None;
        self.queue.plan(self.now + 1, Event::Rise { node });
    }

    pub(super) fn arriving_timer(&mut self, (node, life): (usize, u64), serial: u64) {
        let it = &self.nodes[node];
        if it.life == life && it.arriving.as_ref().is_some_and(|arriving| arriving.timer == serial) {
            self.arriving_step(node, Input::TimerFired);
        }
    }

    /// Others are far ahead, or some have dropped the blocks that come next. Blocks are asked for all the same: only when that
    /// leads nowhere the operator starts the node anew, from a snapshot.
    pub(super) fn far_behind(&mut self, node: usize) {
        if self.plan.has(FaultClass::Snapshots) && self.nodes[node].is_honest() {
            let (life, height) = (self.nodes[node].life, self.nodes[node].disk.height());
            let at = self.now + FAR_BEHIND_MILLIS;
            self.queue.plan(at, Event::Fault(Fault::Restart { node, life, height }));
        }
    }

    /// The operator looks at a node that said that it is far behind.
    pub(super) fn restart_behind(&mut self, node: usize, (life, height): (u64, floe_types::Height)) {
        let (now, furthest) = (self.nodes[node].disk.height(), self.furthest().0);
        if !self.lives(node, life) || now >= furthest {
            return;
        }
        // Who is out of order already makes it no worse; two of them would wait for each other for ever.
        let waits = !self.is_failing(node) && self.is_another_failing(node);
        if now > height || waits {
            let at = self.now + FAR_BEHIND_MILLIS;
            return self.queue.plan(at, Event::Fault(Fault::Restart { node, life, height: now }));
        }
        self.nodes[node].disk.snapshots.is_wanted = true;
        self.fall(node, 100);
    }
}
