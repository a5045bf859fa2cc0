//! What we think of each peer: points for misdeeds, falling by one a second, and a ban when they are too many.
//!
//! A local opinion that costs a peer its connection for a while, and nothing else. Time comes in as an argument.

use crate::config::StandingLimits;
use floe_types::NodeId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What an offence led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Noted.
    Tolerated,
    /// The peer has reached the limit and stays out for a while.
    Banned,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    points: u32,
    as_of: Instant,
}

impl Record {
    fn points_at(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.as_of).as_secs();
        self.points.saturating_sub(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// Points and bans of all peers, bounded in number.
#[derive(Debug)]
pub(crate) struct Standing {
    limits: StandingLimits,
    records: BTreeMap<NodeId, Record>,
    bans: BTreeMap<NodeId, Instant>,
}

impl Standing {
    /// A clean slate.
    pub(crate) fn new(limits: StandingLimits) -> Self {
        Self { limits, records: BTreeMap::new(), bans: BTreeMap::new() }
    }

    /// Notes a misdeed; `ban` is how long the peer would stay out.
    pub(crate) fn offend(&mut self, node: NodeId, points: u32, ban: Duration, now: Instant) -> Outcome {
        let before = self.records.get(&node).map_or(0, |record| record.points_at(now));
        let points = before.saturating_add(points);
        if points < self.limits.points_max {
            self.records.insert(node, Record { points, as_of: now });
            self.shrink_records(now);
            return Outcome::Tolerated;
        }
        self.records.remove(&node);
        self.bans.insert(node, now + ban);
        self.shrink_bans();
        Outcome::Banned
    }

    /// Whether this peer is to stay out.
    pub(crate) fn is_banned(&self, node: &NodeId) -> bool {
        self.bans.contains_key(node)
    }

    /// Lifts the bans that have ended and names their peers.
    pub(crate) fn lift_ended(&mut self, now: Instant) -> Vec<NodeId> {
        let ended: Vec<NodeId> = self.bans.iter().filter(|(_, until)| **until <= now).map(|(node, _)| *node).collect();
        for node in &ended {
            self.bans.remove(node);
        }
        ended
    }

    fn shrink_records(&mut self, now: Instant) {
        if self.records.len() <= self.limits.peers_max {
            return;
        }
        self.records.retain(|_, record| record.points_at(now) > 0);
        while self.records.len() > self.limits.peers_max {
            let best = self.records.iter().min_by_key(|(_, record)| record.points_at(now));
            match best.map(|(node, _)| *node) {
                Some(node) => self.records.remove(&node),
                None => return,
            };
        }
    }

    fn shrink_bans(&mut self) {
        while self.bans.len() > self.limits.peers_max {
            let soonest = self.bans.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node);
            match soonest {
                Some(node) => self.bans.remove(&node),
                None => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAN: Duration = Duration::from_secs(60);

    fn standing() -> Standing {
        Standing::new(StandingLimits { points_max: 100, peers_max: 2, ..StandingLimits::default() })
    }

    #[test]
    fn ten_rejected_messages_are_too_many() {
        let (mut standing, now, node) = (standing(), Instant::now(), NodeId([1; 32]));
        for _ in 0..9 {
            assert_eq!(standing.offend(node, 10, BAN, now), Outcome::Tolerated);
        }
        assert_eq!(standing.offend(node, 10, BAN, now), Outcome::Banned);
        assert!(standing.is_banned(&node));
        assert_eq!(standing.lift_ended(now + BAN - Duration::from_millis(1)), vec![]);
        assert_eq!(standing.lift_ended(now + BAN), vec![node]);
        assert!(!standing.is_banned(&node));
    }

    #[test]
    fn a_misdeed_now_and_then_is_forgiven() {
        let (mut standing, mut now, node) = (standing(), Instant::now(), NodeId([1; 32]));
        for _ in 0..100 {
            assert_eq!(standing.offend(node, 10, BAN, now), Outcome::Tolerated);
            now += Duration::from_secs(10);
        }
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_remembered() {
        let (mut standing, now) = (standing(), Instant::now());
        for (seed, points) in [(1, 50), (2, 10), (3, 60)] {
            standing.offend(NodeId([seed; 32]), points, BAN, now);
        }
        assert_eq!(standing.offend(NodeId([1; 32]), 50, BAN, now), Outcome::Banned);
        assert_eq!(standing.offend(NodeId([3; 32]), 40, BAN, now), Outcome::Banned);
    }
}
