//! Nodes come and go: rising with what their disk has, falling between any two effects, links cut and healed.

use super::gateway::Gateway;
use super::{Event, World};
use crate::disk::{Disk, Sync};
use crate::fragment_disk::FragmentDisk;
use crate::identity;
use crate::laws::Violation;
use crate::mutant::Mutant;
use crate::network::Partition;
use crate::node::{Live, Node, Role};
use crate::plan::{PowerLoss, Villain};
use floe_consensus::Timeouts;
use floe_ledger::MemoryState;
use floe_machines::coordinator::{Config, Coordinator, Identity, Input};
use floe_machines::custody::{self, Custody};
use floe_types::{EpochCount, Genesis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A fault of the plan.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Some links are cut for a while.
    Cut,
    /// Links are whole again.
    Heal,
    /// A node will fall after some of its effects.
    Fall,
    /// A member leaves for good.
    Leave { node: usize },
}

/// How consensus waits in a run: as short as epochs of some seconds need.
fn timeouts() -> Timeouts {
    Timeouts {
        propose: Duration::from_millis(1_000),
        prevote: Duration::from_millis(400),
        precommit: Duration::from_millis(400),
        rebroadcast: Duration::from_millis(1_500),
        growth_per_round: Duration::from_millis(200),
        max: Duration::from_secs(6),
    }
}

/// How a holder keeps: as in production, but that it lets go of what is over soon enough for a run to see it.
fn custody_config() -> custody::Config {
    custody::Config { reclaim_after: EpochCount(1), ..custody::Config::default() }
}

impl World {
    /// Puts every node on a disk on which the network has just begun.
    pub(super) fn populate(&mut self, genesis: &Genesis) {
        let mut state = MemoryState::new();
        state.apply(&floe_ledger::begin(genesis).expect("a plan's genesis is one that a network can begin with"));
        let sync = if self.mutant == Some(Mutant::ConfirmBeforeDurable) { Sync::Never } else { Sync::Now };
        let mut whos: Vec<usize> = (0..self.plan.members).collect();
        whos.extend(self.plan.villains.iter().filter_map(|villain| match villain {
            Villain::Equivocator { node } => Some(*node),
            _ => None,
        }));
        for (index, who) in whos.into_iter().enumerate() {
            self.nodes.push(Node {
                index,
                who,
                role: Role::Honest,
                disk: Disk::new(state.clone(), FragmentDisk::new(sync)),
                live: None,
                life: 0,
                clock_offset: self.plan.clock_offsets[who],
                falls_after: None,
            });
        }
        for villain in self.plan.villains.clone() {
            match villain {
                Villain::Equivocator { node } => self.split_tongue(node),
                Villain::Corrupter { node } => self.nodes[node].role = Role::Corrupter,
                Villain::Silent { node, .. } => self.nodes[node].role = Role::Silent,
            }
        }
    }

    /// Gives the equivocator's two mouths each an audience of its own.
    fn split_tongue(&mut self, node: usize) {
        let second = self.nodes.len() - 1;
        let mut others: Vec<usize> = (0..self.plan.members).filter(|other| *other != node).collect();
        self.villain_luck.shuffle(&mut others);
        let cut = self.villain_luck.between(1, others.len() as u64 - 1) as usize;
        let audience = |part: &[usize]| Role::Mouth { audience: part.iter().copied().collect::<BTreeSet<_>>() };
        self.nodes[node].role = audience(&others[..cut]);
        self.nodes[second].role = audience(&others[cut..]);
    }

    /// Draws when the first faults come; each draws the next.
    pub(super) fn plan_faults(&mut self) {
        if let Some(every) = self.plan.partition_every {
            let at = self.now + self.process_luck.below(2 * every);
            self.queue.plan(at, Event::Fault(Fault::Cut));
        }
        if let Some(every) = self.plan.crash_every {
            let at = self.now + self.process_luck.below(2 * every / self.plan.members as u64);
            self.queue.plan(at, Event::Fault(Fault::Fall));
        }
        for villain in &self.plan.villains {
            if let Villain::Silent { node, from_millis } = villain {
                self.queue.plan(self.now + from_millis, Event::Fault(Fault::Leave { node: *node }));
            }
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Leave { node } => {
                self.stats.silenced += 1;
                self.fall(node, u64::MAX);
            }
            _ if self.is_calm => {}
            Fault::Cut => self.cut_links(),
            Fault::Heal => {
                self.trace.say(self.now, || "links heal".to_owned());
                self.network.heal();
                let every = self.plan.partition_every.unwrap_or(u64::MAX / 4);
                let at = self.now + self.process_luck.below(2 * every);
                self.queue.plan(at, Event::Fault(Fault::Cut));
            }
            Fault::Fall => {
                let node = self.process_luck.index(self.plan.members);
                let after = self.process_luck.below(30);
                self.nodes[node].falls_after = Some(after);
                let every = self.plan.crash_every.unwrap_or(u64::MAX / 4) / self.plan.members as u64;
                let at = self.now + self.process_luck.below(2 * every.max(1));
                self.queue.plan(at, Event::Fault(Fault::Fall));
            }
        }
    }

    fn cut_links(&mut self) {
        let partition = Partition::draw(&mut self.process_luck, self.nodes.len());
        self.stats.partitions += 1;
        self.trace.say(self.now, || format!("links are cut: {partition:?}"));
        self.network.cut(&partition, self.nodes.len());
        let lasts = self.process_luck.between(500, 10_000);
        self.queue.plan(self.now + lasts, Event::Fault(Fault::Heal));
    }

    /// Counts an effect; when it is the one before which the node is to fall, it falls.
    pub(super) fn falls_now(&mut self, node: usize) -> bool {
        match self.nodes[node].falls_after {
            None => false,
            Some(0) => {
                let down_for = self.process_luck.between(1, self.plan.down_max.max(1));
                self.stats.crashes += 1;
                self.fall(node, down_for);
                true
            }
            Some(left) => {
                self.nodes[node].falls_after = Some(left - 1);
                false
            }
        }
    }

    /// The node is gone with everything that was not on its disk; it rises `down_for` milliseconds later.
    pub(super) fn fall(&mut self, node: usize, down_for: u64) {
        let it = &mut self.nodes[node];
        it.falls_after = None;
        it.life += 1;
        if it.live.take().is_none() {
            return;
        }
        let mut lost = 0;
        if self.plan.power_loss == PowerLoss::Taken {
            lost = it.disk.lose_power(&mut self.process_luck);
        }
        self.trace.mix(self.now, 8, node, &(lost as u64).to_be_bytes());
        self.trace.say(self.now, || format!("{node} falls, {lost} unsynced writes are lost"));
        self.streams_of_the_fallen(node);
        if let Some(at) = self.now.checked_add(down_for) {
            self.queue.plan(at, Event::Rise { node });
        }
    }

    pub(super) fn rise(&mut self, node: usize) {
        if self.nodes[node].live.is_some() {
            return;
        }
        let it = &mut self.nodes[node];
        let who = it.who;
        let identity = Identity {
            node: it.id(),
            vote_keys: vec![identity::vote_signing_key(who)],
            account: identity::account_key(who),
        };
        // Keys stay: the laws about signatures know nodes by them.
        let config =
            Config { timeouts: timeouts(), fresh_vote_keys: false, ..Config::for_params(&self.context.params) };
        let coordinator = match Coordinator::new(config, self.context.clone(), identity, &it.disk.state) {
            Ok(coordinator) => coordinator,
            Err(error) => return self.violated(Violation::stopped(who, &error.to_string())),
        };
        let journal = it.disk.journal_above(coordinator.head().height);
        let (id, life) = (it.id(), it.life);
        it.live = Some(Live {
            coordinator,
            journal: Vec::new(),
            timers: BTreeMap::new(),
            seen: BTreeMap::new(),
            judging: None,
            custody: Custody::new(id, custody_config()),
            serving: BTreeMap::new(),
            gateway: Gateway::new(life),
            tick_at: None,
        });
        self.trace.mix(self.now, 9, node, &life.to_be_bytes());
        let entries = journal.len();
        self.trace.say(self.now, || format!("{node} rises with {entries} entries of the journal"));
        let finding = self.laws.rose(&self.nodes[node]);
        self.judge(finding);
        self.coordinate(node, Input::Started { journal });
        self.custody_step(node, custody::Input::Started);
        self.resume_uploads(node);
    }

    /// A mutant's node that came back hears nobody.
    pub(super) fn is_deaf(&self, node: usize) -> bool {
        self.mutant == Some(Mutant::DeafAfterRestart) && self.nodes[node].life > 0
    }
}
