//! What a seed is: the size of its network, its faults and how strong they are, drawn before anything happens.
//!
//! Every class of faults is on with probability one half. The *budget* is part of the plan: members that lie or are silent
//! hold at most `f` shards together, whatever is drawn, so that a broken law is always our bug. They declare one failure
//! domain, which the ledger gives at most `f` seats, whoever comes and goes. What fails without lying (a leaver that
//! vanishes, a lost disk) fails while nobody lies, as [`crate::world`] counts it.
//!
//! A [`Scenario`] is a plan with a purpose, chosen by name; the seed draws the rest of it.

use crate::chance::{Chance, Stream};
use crate::identity::DEN;
use crate::scenario::Scenario;
use std::fmt;

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// Messages take long, some of them very long.
    Delay,
    /// Messages are lost.
    Loss,
    /// Messages arrive twice.
    Duplication,
    /// Messages overtake each other.
    Reordering,
    /// Links are cut for a while: a split, one node alone, one direction only.
    Partition,
    /// Nodes fall between any two effects and rise later.
    Crash,
    /// With a fall goes what the disk had not synced.
    PowerLoss,
    /// Clocks differ.
    Clock,
    /// Streams of fragments break off.
    Streams,
    /// One member says two things.
    Equivocator,
    /// One member damages what leaves it: messages, answers, slivers.
    Corrupter,
    /// One member says nothing.
    Silent,
    /// Nodes join, change their stakes and leave: something at every boundary.
    Churn,
    /// Who gave notice is gone before it has handed over.
    Vanish,
    /// Who joins gathers nothing and says that it holds everything.
    Lazy,
    /// One member hears no transaction but its own: it proposes blocks without them.
    Censor,
    /// A node comes back with its keys and an empty disk.
    LostDisk,
    /// A node comes back with its keys and an old copy of its disk.
    OldDisk,
    /// Who comes begins with a snapshot; old blocks are dropped.
    Snapshots,
    /// One member does what it can about challenges but hold and say what it holds.
    Evader,
}

impl FaultClass {
    /// Every class.
    pub const ALL: [FaultClass; 20] = [
        FaultClass::Delay,
        FaultClass::Loss,
        FaultClass::Duplication,
        FaultClass::Reordering,
        FaultClass::Partition,
        FaultClass::Crash,
        FaultClass::PowerLoss,
        FaultClass::Clock,
        FaultClass::Streams,
        FaultClass::Equivocator,
        FaultClass::Corrupter,
        FaultClass::Silent,
        FaultClass::Churn,
        FaultClass::Vanish,
        FaultClass::Lazy,
        FaultClass::Censor,
        FaultClass::LostDisk,
        FaultClass::OldDisk,
        FaultClass::Snapshots,
        FaultClass::Evader,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultClass::Delay => "delay",
            FaultClass::Loss => "loss",
            FaultClass::Duplication => "duplication",
            FaultClass::Reordering => "reordering",
            FaultClass::Partition => "partition",
            FaultClass::Crash => "crash",
            FaultClass::PowerLoss => "power loss",
            FaultClass::Clock => "clock",
            FaultClass::Streams => "broken streams",
            FaultClass::Equivocator => "equivocator",
            FaultClass::Corrupter => "corrupter",
            FaultClass::Silent => "silent member",
            FaultClass::Churn => "comings and goings",
            FaultClass::Vanish => "vanishing leavers",
            FaultClass::Lazy => "lazy joiner",
            FaultClass::Censor => "censor",
            FaultClass::LostDisk => "lost disks",
            FaultClass::OldDisk => "old disks",
            FaultClass::Snapshots => "snapshots",
            FaultClass::Evader => "evader",
        }
    }
}

/// How bad the links are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Mean time a message takes, in milliseconds.
    pub delay_mean: u64,
    /// Of a thousand messages, those that take up to twenty times as long.
    pub tail_per_mille: u64,
    /// Of a thousand messages, those that are lost.
    pub loss_per_mille: u64,
    /// Of a thousand messages, those that arrive twice.
    pub duplicate_per_mille: u64,
    /// Of a thousand messages, those that are held back up to half a second.
    pub held_per_mille: u64,
    /// Of a thousand streams, those that break off.
    pub broken_per_mille: u64,
}

impl Weather {
    /// Links of one building: what is there when no class is on, and in the calm.
    pub const FAIR: Weather = Weather {
        delay_mean: 5,
        tail_per_mille: 0,
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        held_per_mille: 0,
        broken_per_mille: 0,
    };
}

/// How consensus messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// To every member directly, once: small committees.
    Direct,
    /// By gossip: whoever accepts a message relays it.
    Gossip,
}

/// A member that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Villain {
    /// Two mouths with one key.
    Equivocator {
        /// Which node.
        node: usize,
    },
    /// Damages what leaves it: messages, answers, slivers.
    Corrupter {
        /// Which node.
        node: usize,
    },
    /// Is not there from this moment of the storm on, to the end.
    Silent {
        /// Which node.
        node: usize,
        /// Milliseconds after the beginning.
        from_millis: u64,
    },
    /// Leaves every transaction but its own out of its blocks.
    Censor {
        /// Which node.
        node: usize,
    },
    /// Is late on purpose, or shows to some only, or says of everybody that nobody was there, or does not open its report.
    Evader {
        /// Which node.
        node: usize,
        /// How: a number to be divided among the ways.
        how: usize,
    },
    /// Joins, attests everything and stores nothing.
    Lazy {
        /// Which node: a newcomer.
        node: usize,
    },
}

impl Villain {
    /// Which node.
    #[must_use]
    pub fn node(self) -> usize {
        match self {
            Villain::Equivocator { node }
            | Villain::Corrupter { node }
            | Villain::Silent { node, .. }
            | Villain::Censor { node }
            | Villain::Evader { node, .. }
            | Villain::Lazy { node } => node,
        }
    }
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// What the run is for.
    pub scenario: Scenario,
    /// Members of the first committee.
    pub members: usize,
    /// Nodes that may join later.
    pub newcomers: usize,
    /// Epochs in a term.
    pub term_epochs: u64,
    /// Epochs between an election and the end of its term.
    pub election_epochs: u64,
    /// Comings and goings in an epoch, in the mean and in hundredths.
    pub churn: u64,
    /// Shards.
    pub shards: u16,
    /// The least length of an epoch in milliseconds.
    pub epoch_millis: u64,
    /// How long the storm lasts, in epochs.
    pub storm_epochs: u64,
    /// How consensus messages travel.
    pub spread: Spread,
    /// The links during the storm.
    pub weather: Weather,
    /// Mean time between partitions in milliseconds, when there are any.
    pub partition_every: Option<u64>,
    /// Mean time between falls of one node in milliseconds, when there are any.
    pub crash_every: Option<u64>,
    /// The longest a fallen node stays down, in milliseconds.
    pub down_max: u64,
    /// Whether a fall takes what was not synced.
    pub power_loss: PowerLoss,
    /// How far each node's clock is off, in milliseconds.
    pub clock_offsets: Vec<i64>,
    /// Members that break the protocol.
    pub villains: Vec<Villain>,
    /// Blobs to be stored in the storm.
    pub stores: u64,
    /// Classes that are on.
    pub classes: Vec<FaultClass>,
    /// An honest member that is away for some epochs and comes back with its data.
    pub away: Option<Away>,
}

/// An absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// Who.
    pub node: usize,
    /// Milliseconds after the beginning.
    pub from_millis: u64,
    /// For how many milliseconds.
    pub for_millis: u64,
}

/// What a fall does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// What was written stays, synced or not: the process died alone.
    Spared,
    /// What was not synced is lost from some point on.
    Taken,
}

impl Plan {
    /// Draws the plan of `seed`; `epochs` is the length of the storm.
    #[must_use]
    pub fn draw(seed: u64, epochs: u64) -> Plan {
        Plan::of(Scenario::Mixed, seed, epochs)
    }

    /// Draws the plan of `seed` for a purpose; `epochs` is the length of the storm unless the purpose needs another.
    #[must_use]
    pub fn of(scenario: Scenario, seed: u64, epochs: u64) -> Plan {
        let mut chance = Chance::new(seed, Stream::Plan);
        let members = *chance.pick(&[4, 4, 4, 4, 7, 7, 7, 10]);
        let shards = match members {
            4 => *chance.pick(&[4, 4, 7, 10]),
            7 => *chance.pick(&[7, 7, 14, 28]),
            _ => 10,
        };
        let mut drawn: Vec<FaultClass> = FaultClass::ALL.into_iter().filter(|_| chance.coin()).collect();
        // Failures that would take the budget of who lies come only where nobody does.
        if chance.in_thousand(400) && drawn.iter().any(|class| FAILURES.contains(class)) {
            drawn.retain(|class| !LIARS.contains(class));
        }
        let classes = scenario.classes(drawn);
        let mut plan = Plan {
            seed,
            scenario,
            members,
            newcomers: chance.between(1, 3) as usize,
            term_epochs: *chance.pick(&[2, 2, 3, 4]),
            election_epochs: *chance.pick(&[1, 1, 2]),
            churn: chance.between(50, 150),
            shards,
            epoch_millis: chance.between(3_000, 5_000),
            storm_epochs: epochs,
            spread: if chance.in_thousand(700) { Spread::Direct } else { Spread::Gossip },
            weather: Weather::FAIR,
            partition_every: None,
            crash_every: None,
            down_max: 0,
            power_loss: PowerLoss::Spared,
            clock_offsets: Vec::new(),
            villains: Vec::new(),
            stores: chance.between(1, 4),
            classes,
            away: None,
        };
        scenario.shape(&mut plan);
        if !plan.has(FaultClass::Churn) {
            plan.newcomers = 0;
            plan.classes.retain(|class| !matches!(class, FaultClass::Vanish | FaultClass::Lazy));
        }
        plan.weather = weather(&mut chance, &plan.classes);
        plan.draw_faults(&mut chance);
        plan.draw_villains(&mut chance);
        plan.draw_failures(&mut chance);
        scenario.finish(&mut plan);
        plan
    }

    /// All nodes of the run by their keys, newcomers included.
    #[must_use]
    pub fn people(&self) -> usize {
        self.members + self.newcomers
    }

    /// The failure domain that a node declares: villains declare one.
    #[must_use]
    pub fn domain_of(&self, node: usize) -> &'static str {
        if self.villains.iter().any(|villain| villain.node() == node) { DEN } else { "" }
    }

    /// Whether this class is on.
    #[must_use]
    pub fn has(&self, class: FaultClass) -> bool {
        self.classes.contains(&class)
    }

    /// Shards that may be held by villains.
    #[must_use]
    pub fn faulty(&self) -> u16 {
        (self.shards - 1) / 3
    }

    /// Shards of one member.
    #[must_use]
    pub fn shards_of(&self, node: usize) -> u16 {
        floe_types::committee::deal(self.shards, self.members).get(node).map_or(0, |dealt| dealt.len() as u16)
    }

    fn draw_faults(&mut self, chance: &mut Chance) {
        // Drawn whether used or not, so that a class more does not change the rest.
        let (partition, crash) = (chance.between(2_000, 15_000), chance.between(3_000, 40_000));
        self.partition_every = self.has(FaultClass::Partition).then_some(partition);
        self.crash_every = self.has(FaultClass::Crash).then_some(crash);
        self.down_max = *chance.pick(&[500, 3_000, 15_000, 60_000]);
        if self.has(FaultClass::PowerLoss) {
            self.power_loss = PowerLoss::Taken;
        }
        for _ in 0..self.people() {
            let offset = chance.between(0, 400) as i64 - 200;
            self.clock_offsets.push(if self.has(FaultClass::Clock) { offset } else { 0 });
        }
    }

    /// One member is silent for good and another for some epochs, within the budget: two members of seven have eight of
    /// twenty-eight seats. Both begin early enough that patience ends within the storm.
    pub(crate) fn send_away(&mut self) {
        let epoch = self.epoch_millis;
        for villain in &mut self.villains {
            if let Villain::Silent { from_millis, .. } = villain {
                *from_millis = epoch * 3 / 2;
            }
        }
        let node = (0..self.members).find(|node| self.villains.iter().all(|villain| villain.node() != *node));
        self.away = node.map(|node| Away { node, from_millis: epoch * 3 / 2, for_millis: epoch * 4 });
    }

    /// What fails without lying, when the whole budget is not taken by those who lie.
    fn draw_failures(&mut self, chance: &mut Chance) {
        if self.has(FaultClass::Lazy) {
            let node = self.members + chance.index(self.newcomers);
            self.villains.push(Villain::Lazy { node });
        }
        let alone = self.villains.is_empty();
        let lost = chance.coin();
        self.classes.retain(|class| match class {
            FaultClass::Vanish | FaultClass::LostDisk | FaultClass::OldDisk if !alone => false,
            // Both at once would be two failures of one kind at a time.
            FaultClass::LostDisk => lost,
            FaultClass::Vanish | FaultClass::OldDisk => !lost,
            _ => true,
        });
    }

    /// Villains as long as the budget lasts, in random order.
    fn draw_villains(&mut self, chance: &mut Chance) {
        let liars = LIARS.into_iter().filter(|class| *class != FaultClass::Lazy);
        let mut wanted: Vec<_> = liars.filter(|class| self.has(*class)).collect();
        chance.shuffle(&mut wanted);
        let mut nodes: Vec<usize> = (0..self.members).collect();
        chance.shuffle(&mut nodes);
        let mut left = self.faulty();
        for class in wanted {
            let from_millis = chance.below(self.storm_epochs * self.epoch_millis);
            let how = chance.index(4);
            let Some(node) = nodes.pop() else { return };
            let Some(rest) = left.checked_sub(self.shards_of(node)) else {
                // Not within the bound: the class stays out of this seed.
                self.classes.retain(|on| *on != class);
                continue;
            };
            left = rest;
            self.villains.push(match class {
                FaultClass::Equivocator => Villain::Equivocator { node },
                FaultClass::Corrupter => Villain::Corrupter { node },
                FaultClass::Censor => Villain::Censor { node },
                FaultClass::Evader => Villain::Evader { node, how },
                _ => Villain::Silent { node, from_millis },
            });
        }
    }
}

/// Who lies, or does not do its part.
const LIARS: [FaultClass; 6] = [
    FaultClass::Equivocator,
    FaultClass::Corrupter,
    FaultClass::Silent,
    FaultClass::Censor,
    FaultClass::Lazy,
    FaultClass::Evader,
];

/// What fails as badly without lying.
const FAILURES: [FaultClass; 3] = [FaultClass::Vanish, FaultClass::LostDisk, FaultClass::OldDisk];

fn weather(chance: &mut Chance, classes: &[FaultClass]) -> Weather {
    let fair = Weather::FAIR;
    let mut drawn = |class, least, most, otherwise| {
        let value = chance.between(least, most);
        if classes.contains(&class) { value } else { otherwise }
    };
    Weather {
        delay_mean: drawn(FaultClass::Delay, 5, 300, fair.delay_mean),
        tail_per_mille: drawn(FaultClass::Delay, 0, 20, 0),
        loss_per_mille: drawn(FaultClass::Loss, 5, 300, 0),
        duplicate_per_mille: drawn(FaultClass::Duplication, 5, 200, 0),
        held_per_mille: drawn(FaultClass::Reordering, 20, 300, 0),
        broken_per_mille: drawn(FaultClass::Streams, 20, 300, 0),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.classes.iter().map(|class| class.name()).collect();
        write!(
            f,
            "{}: {} members, {} to come, {} shards, epochs of {} ms, terms of {}, {} in the storm, {:?}; faults: {}",
            self.scenario,
            self.members,
            self.newcomers,
            self.shards,
            self.epoch_millis,
            self.term_epochs,
            self.storm_epochs,
            self.spread,
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn villains_never_hold_more_than_f_shards() {
        for seed in 0..2_000 {
            let plan = Plan::draw(seed, 8);
            let held: u16 = plan.villains.iter().map(|villain| plan.shards_of(villain.node())).sum();
            assert!(held <= plan.faulty(), "seed {seed}");
            let mut nodes: Vec<_> = plan.villains.iter().map(|villain| villain.node()).collect();
            nodes.dedup();
            assert_eq!(nodes.len(), plan.villains.len());
        }
    }

    #[test]
    fn every_class_is_on_in_some_seeds_and_off_in_others() {
        let plans: Vec<_> = (0..200).map(|seed| Plan::draw(seed, 8)).collect();
        for class in FaultClass::ALL {
            let on = plans.iter().filter(|plan| plan.has(class)).count();
            assert!((5..180).contains(&on), "{} is on in {on} of 200", class.name());
        }
    }
}
