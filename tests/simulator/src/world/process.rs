//! Nodes come and go: rising with what their disk has, falling between any two effects, links cut and healed.

use super::gateway::Gateway;
use super::{Event, World};
use crate::disk::{Disk, Sync};
use crate::fragment_disk::FragmentDisk;
use crate::identity;
use crate::laws::Violation;
use crate::mutant::Mutant;
use crate::network::Partition;
use crate::node::{Live, Node, Presence, Role};
use crate::plan::{Away, FaultClass, PowerLoss, Villain};
use crate::scenario::Scenario;
use floe_consensus::{Timeouts, VoteSigningKey};
use floe_ledger::MemoryState;
use floe_machines::coordinator::{Config, Coordinator, Identity, Input, Memory};
use floe_machines::custody::{self, Custody};
use floe_machines::handover::Handover;
use floe_types::{EpochCount, Genesis, Height};
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
    /// Three of seven will fall.
    ThreeFall,
    /// One of them comes back.
    OneRises,
    /// Whether those who are there have decided something is looked at.
    LookAtQuorum,
    /// A member leaves for good.
    Leave { node: usize },
    /// A member is away for a while.
    Absent(Away),
    /// Somebody puts a copy of a node's disk aside.
    Copy,
    /// A node falls and rises with that copy.
    Restore,
    /// A node falls and rises with an empty disk.
    LoseDisk,
    /// An operator looks at a node that was far behind at some height, and may start it anew.
    Restart { node: usize, life: u64, height: Height },
}

/// How consensus waits in a run: as short as epochs of some seconds need.
fn timeouts() -> Timeouts {
    Timeouts {
        propose: Duration::from_millis(300),
        prevote: Duration::from_millis(150),
        precommit: Duration::from_millis(150),
        rebroadcast: Duration::from_millis(1_500),
        growth_per_round: Duration::from_millis(200),
        max: Duration::from_secs(6),
    }
}

/// How a holder keeps: as in production, but that it lets go of what is over soon enough for a run to see it.
fn custody_config() -> custody::Config {
    custody::Config { reclaim_after: EpochCount(1), ..custody::Config::default() }
}

/// The state with which a network begins.
pub(super) fn begun(genesis: &Genesis) -> MemoryState {
    let mut state = MemoryState::new();
    state.apply(&floe_ledger::begin(genesis).expect("a plan's genesis is one that a network can begin with"));
    state
}

impl World {
    /// Puts every node on a disk on which the network has just begun.
    pub(super) fn populate(&mut self) {
        let state = self.beginning.clone();
        let mut whos: Vec<usize> = (0..self.plan.people()).collect();
        whos.extend(self.plan.villains.iter().filter_map(|villain| match villain {
            Villain::Equivocator { node } => Some(*node),
            _ => None,
        }));
        for (index, who) in whos.into_iter().enumerate() {
            let founds = who < self.plan.members;
            let secret = identity::first_secret(who);
            let key = identity::vote_key(secret);
            self.laws.key_made(who, key);
            self.nodes.push(Node {
                index,
                who,
                role: Role::Honest,
                disk: self.empty_disk(state.clone()),
                live: None,
                life: 0,
                presence: if founds { Presence::Here } else { Presence::NotYet },
                secrets: [(key.0, secret)].into(),
                keys_made: 0,
                copy: None,
                is_poorer: false,
                arriving: None,
                clock_offset: self.plan.clock_offsets[who],
                falls_after: None,
            });
            // Who founds the network has said nothing yet; nobody else can know that of itself.
            self.nodes[index].disk.memory = if founds { Memory::Kept } else { Memory::Lost };
            self.nodes[index].disk.snapshots.is_wanted = !founds;
        }
        for villain in self.plan.villains.clone() {
            match villain {
                Villain::Equivocator { node } => self.split_tongue(node),
                Villain::Corrupter { node } => self.nodes[node].role = Role::Corrupter,
                Villain::Silent { node, .. } => self.nodes[node].role = Role::Silent,
                Villain::Censor { node } => self.nodes[node].role = Role::Censor,
                Villain::Evader { node, how } => {
                    let ways = [Role::Slow, Role::Selective, Role::Framer, Role::NonOpener];
                    self.nodes[node].role = ways.into_iter().cycle().nth(how).unwrap_or(Role::Slow);
                }
                Villain::Lazy { node } => self.nodes[node].role = Role::Lazy,
            }
        }
    }

    fn empty_disk(&self, state: MemoryState) -> Disk {
        let sync = if self.mutant == Some(Mutant::ConfirmBeforeDurable) { Sync::Never } else { Sync::Now };
        let mut disk = Disk::new(state, FragmentDisk::new(sync));
        disk.network = self.context.network;
        disk
    }

    /// Gives the equivocator's two mouths each an audience of its own.
    fn split_tongue(&mut self, node: usize) {
        let second = self.nodes.len() - 1;
        let mut others: Vec<usize> = (0..self.plan.people()).filter(|other| *other != node).collect();
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
        if self.plan.scenario == Scenario::Quorum {
            let at = self.now + self.process_luck.below(2 * self.plan.epoch_millis);
            self.queue.plan(at, Event::Fault(Fault::ThreeFall));
        }
        self.plan_disk_faults();
        if let Some(away) = self.plan.away {
            self.queue.plan(self.now + away.from_millis, Event::Fault(Fault::Absent(away)));
        }
        for villain in &self.plan.villains {
            if let Villain::Silent { node, from_millis } = villain {
                self.queue.plan(self.now + from_millis, Event::Fault(Fault::Leave { node: *node }));
            }
        }
    }

    fn plan_disk_faults(&mut self) {
        let storm = self.plan.storm_epochs * self.plan.epoch_millis;
        if self.plan.has(FaultClass::LostDisk) {
            for _ in 0..2 {
                let at = self.now + storm / 8 + self.process_luck.below(storm * 3 / 4);
                self.queue.plan(at, Event::Fault(Fault::LoseDisk));
            }
        }
        if self.plan.has(FaultClass::OldDisk) {
            let at = self.now + self.process_luck.below(storm / 2);
            self.queue.plan(at, Event::Fault(Fault::Copy));
            let at = at + self.process_luck.below(storm / 2);
            self.queue.plan(at, Event::Fault(Fault::Restore));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Copy => {
                let node = self.process_luck.index(self.plan.members);
                let it = &mut self.nodes[node];
                it.copy = Some(Box::new((it.disk.copied(), it.secrets.clone())));
            }
            Fault::Restart { node, life, height } => self.restart_behind(node, (life, height)),
            Fault::Restore => self.restore_copy(),
            Fault::LoseDisk => self.lose_disk(),
            Fault::Leave { node } if self.is_another_failing(node) => {
                // One failure at a time: who has no memory yet is as good as gone.
                self.queue.plan(self.now + 2_000, Event::Fault(Fault::Leave { node }));
            }
            Fault::Absent(away) => {
                self.trace.say(self.now, || format!("{} is away", away.node));
                self.fall(away.node, away.for_millis);
            }
            Fault::Leave { node } => {
                self.stats.silenced += 1;
                self.fall(node, u64::MAX);
            }
            _ if self.is_calm => {}
            Fault::Cut => self.cut_links(),
            Fault::ThreeFall => self.three_fall(),
            Fault::OneRises => self.one_rises(),
            Fault::LookAtQuorum => self.look_at_quorum(),
            Fault::Heal => {
                self.trace.say(self.now, || "links heal".to_owned());
                self.network.heal();
                let every = self.plan.partition_every.unwrap_or(u64::MAX / 4);
                let at = self.now + self.process_luck.below(2 * every);
                self.queue.plan(at, Event::Fault(Fault::Cut));
            }
            Fault::Fall => {
                let node = self.process_luck.index(self.plan.people());
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
                let down_for = match self.plan.scenario {
                    Scenario::Quorum => u64::MAX,
                    _ => self.process_luck.between(1, self.plan.down_max.max(1)),
                };
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
        let arrived = it.arriving.take().is_some();
        if it.live.take().is_none() && !arrived {
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

    /// Somebody puts an old copy of its disk in place of a node's disk, with or without the secrets of that time.
    fn restore_copy(&mut self) {
        let Some(node) = (0..self.plan.people()).find(|node| self.nodes[*node].copy.is_some()) else { return };
        if self.is_calm || !self.may_fail(node) {
            return;
        }
        self.trace.say(self.now, || format!("{node} gets an old copy of its disk"));
        self.stats.old_disks += 1;
        self.mark_rows_of(node);
        let down = self.process_luck.between(1, 3_000);
        self.fall(node, down);
        let old_secrets = self.process_luck.coin();
        let it = &mut self.nodes[node];
        let spools = std::mem::take(&mut it.disk.spools);
        if let Some(copy) = it.copy.take() {
            it.disk = copy.0;
            if old_secrets {
                it.secrets = copy.1;
            }
        }
        self.disk_was_changed(node, spools);
    }

    /// A node's disk is gone; its keys are not.
    fn lose_disk(&mut self) {
        let able: Vec<usize> = (0..self.plan.people()).filter(|node| self.may_fail(*node)).collect();
        if self.is_calm || able.is_empty() {
            return;
        }
        let node = *self.process_luck.pick(&able);
        self.trace.say(self.now, || format!("{node} loses its disk"));
        self.stats.lost_disks += 1;
        self.mark_rows_of(node);
        let down = self.process_luck.between(1, 3_000);
        self.fall(node, down);
        let fresh = self.empty_disk(self.beginning.clone());
        let before = std::mem::replace(&mut self.nodes[node].disk, fresh);
        if self.mutant != Some(Mutant::TrustEmptyDisk) {
            self.nodes[node].disk.memory = Memory::Lost;
        }
        self.nodes[node].disk.snapshots.is_wanted = true;
        self.disk_was_changed(node, before.spools);
    }

    /// Clients whose uploads were on a disk that is gone see an error.
    fn disk_was_changed(&mut self, node: usize, spools: BTreeMap<super::gateway::UploadId, super::gateway::Spool>) {
        (self.nodes[node].falls_after, self.nodes[node].is_poorer) = (None, true);
        for id in spools.into_keys() {
            self.store_ended(id, Err("the disk with the upload is gone".to_owned()));
        }
    }

    /// What a node that rises knows of its memory.
    fn memory_of(&self, node: usize) -> Memory {
        let it = &self.nodes[node];
        let founds = it.life == 0 && it.who < self.plan.members;
        if founds || !it.is_honest() { Memory::Certain } else { it.disk.memory }
    }

    pub(super) fn rise(&mut self, node: usize) {
        if self.nodes[node].live.is_some() || self.nodes[node].presence != Presence::Here {
            return;
        }
        if self.wants_snapshot(node) {
            if self.nodes[node].arriving.is_none() {
                self.begin_arriving(node);
            }
            return;
        }
        let memory = self.memory_of(node);
        let it = &mut self.nodes[node];
        let who = it.who;
        let vote_keys = it.secrets.values().map(|secret| VoteSigningKey::from_secret(*secret)).collect();
        let identity = Identity { node: it.id(), vote_keys, account: identity::account_key(who) };
        let config = Config { timeouts: timeouts(), ..Config::for_params(&self.context.params) };
        let coordinator = match Coordinator::guarded(config, self.context.clone(), identity, memory, &it.disk.state) {
            Ok(coordinator) => coordinator,
            Err(error) => return self.violated(Violation::stopped(who, &error.to_string())),
        };
        let journal = it.disk.journal_above(coordinator.head().height);
        let (id, life) = (it.id(), it.life);
        let challenger = self.challenger(node);
        let it = &mut self.nodes[node];
        it.live = Some(Live {
            coordinator,
            journal: Vec::new(),
            timers: BTreeMap::new(),
            seen: BTreeMap::new(),
            judging: None,
            custody: Custody::new(id, custody_config()),
            handover: Handover::new(super::handover::config()),
            repair: super::repair::Repairing::new(id),
            serving: BTreeMap::new(),
            gateway: Gateway::new(life),
            tick_at: None,
            challenger,
            exchanges: BTreeMap::new(),
            challenge_tick_at: None,
        });
        self.trace.mix(self.now, 9, node, &life.to_be_bytes());
        let entries = journal.len();
        self.trace.say(self.now, || format!("{node} rises with {entries} entries of the journal, memory {memory:?}"));
        let finding = self.laws.rose(&self.nodes[node]);
        self.judge(finding);
        self.coordinate(node, Input::Started { journal });
        self.custody_step(node, custody::Input::Started);
        self.handover_begins(node);
        self.challenges_begin(node);
        self.repair_begins(node);
        self.resume_uploads(node);
    }

    /// A mutant's node that came back hears nobody.
    pub(super) fn is_deaf(&self, node: usize) -> bool {
        self.mutant == Some(Mutant::DeafAfterRestart) && self.nodes[node].life > 0
    }
}
