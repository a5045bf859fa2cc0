//! The virtual network: which messages arrive, when, how often.
//!
//! A link is a pair of nodes in one direction. It delays, loses, doubles and holds back by the weather of the moment, and is
//! cut while a partition lasts. What is on its way when a link is cut still arrives: it has left.
//!
//! # Not here
//! What a message means. Relaying is the world's: it happens when a node accepts a message, not on the way.

use crate::chance::{Chance, Stream};
use crate::plan::Weather;
use std::collections::BTreeSet;

/// Messages counted by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the network.
    pub sent: u64,
    /// Lost on the way.
    pub lost: u64,
    /// Sent into a cut link.
    pub cut: u64,
    /// Delivered twice.
    pub doubled: u64,
    /// Held back.
    pub held: u64,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    chance: Chance,
    weather: Weather,
    cut: BTreeSet<(usize, usize)>,
    /// What became of messages so far.
    pub counts: Counts,
}

/// How a partition divides the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Two sides that do not hear each other.
    Split {
        /// One side; the others are the other.
        side: BTreeSet<usize>,
    },
    /// One node that hears nobody and is heard by nobody.
    Alone {
        /// Which.
        node: usize,
    },
    /// One node that is not heard, but hears.
    Mute {
        /// Which.
        node: usize,
    },
    /// One node that hears nothing, but is heard.
    Deaf {
        /// Which.
        node: usize,
    },
}

impl Partition {
    /// Draws one for `nodes` nodes.
    pub fn draw(chance: &mut Chance, nodes: usize) -> Partition {
        let node = chance.index(nodes);
        let side = (0..nodes).filter(|_| chance.coin()).collect();
        match chance.below(5) {
            0 | 1 => Partition::Split { side },
            2 => Partition::Alone { node },
            3 => Partition::Mute { node },
            _ => Partition::Deaf { node },
        }
    }

    fn cuts(&self, from: usize, to: usize) -> bool {
        match self {
            Partition::Split { side } => side.contains(&from) != side.contains(&to),
            Partition::Alone { node } => from == *node || to == *node,
            Partition::Mute { node } => from == *node,
            Partition::Deaf { node } => to == *node,
        }
    }
}

impl Network {
    /// A network with this weather and every link whole.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> Network {
        Network { chance: Chance::new(seed, Stream::Network), weather, cut: BTreeSet::new(), counts: Counts::default() }
    }

    /// Changes the weather.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Cuts the links of a partition among `nodes` nodes, on top of those that are cut.
    pub fn cut(&mut self, partition: &Partition, nodes: usize) {
        for from in 0..nodes {
            self.cut.extend((0..nodes).filter(|to| partition.cuts(from, *to)).map(|to| (from, to)));
        }
    }

    /// Makes every link whole.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether the link is whole.
    #[must_use]
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// After how many milliseconds a message arrives: never, once or twice.
    pub fn carry(&mut self, from: usize, to: usize) -> Vec<u64> {
        self.counts.sent += 1;
        if !self.is_open(from, to) {
            self.counts.cut += 1;
            return Vec::new();
        }
        if self.chance.in_thousand(self.weather.loss_per_mille) {
            self.counts.lost += 1;
            return Vec::new();
        }
        let mut arrivals = vec![self.delay()];
        if self.chance.in_thousand(self.weather.duplicate_per_mille) {
            self.counts.doubled += 1;
            let after = self.delay();
            arrivals.push(after);
        }
        arrivals
    }

    /// After how many milliseconds bytes of a connection arrive: connections lose nothing, they wait.
    pub fn carry_reliably(&mut self) -> u64 {
        self.delay()
    }

    /// How many bytes of a stream of `length` arrive before it breaks off; all of them as a rule.
    pub fn carried_bytes(&mut self, length: usize) -> usize {
        if self.chance.in_thousand(self.weather.broken_per_mille) { self.chance.index(length.max(1)) } else { length }
    }

    fn delay(&mut self) -> u64 {
        let weather = self.weather;
        let mut delay = self.chance.between(weather.delay_mean / 2, weather.delay_mean + weather.delay_mean / 2);
        if self.chance.in_thousand(weather.tail_per_mille) {
            delay *= self.chance.between(2, 20);
        }
        if self.chance.in_thousand(weather.held_per_mille) {
            self.counts.held += 1;
            delay += self.chance.below(500);
        }
        delay.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_link_carries_nothing_until_it_is_healed() {
        let mut network = Network::new(1, Weather::FAIR);
        network.cut(&Partition::Mute { node: 2 }, 4);
        assert!(network.carry(2, 0).is_empty());
        assert_eq!(network.carry(0, 2).len(), 1);
        network.heal();
        assert_eq!(network.carry(2, 0).len(), 1);
    }

    #[test]
    fn a_split_keeps_its_sides_together() {
        let split = Partition::Split { side: [0, 1].into() };
        assert!(!split.cuts(0, 1) && !split.cuts(2, 3) && split.cuts(1, 2) && split.cuts(3, 0));
    }

    #[test]
    fn losses_and_doubles_come_as_often_as_the_weather_says() {
        let weather = Weather { loss_per_mille: 200, duplicate_per_mille: 100, ..Weather::FAIR };
        let mut network = Network::new(3, weather);
        let arrivals: usize = (0..10_000).map(|_| network.carry(0, 1).len()).sum();
        assert!((8_500..9_100).contains(&arrivals), "{arrivals}");
        assert!((1_800..2_200).contains(&network.counts.lost));
    }
}
