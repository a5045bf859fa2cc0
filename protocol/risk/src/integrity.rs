//! Whether a node has what it says: the decision on one sample, and the sequential test over many.
//!
//! A fragment that one member could not get is asked for by all the others in the next slot. Missing is a reproducible
//! state, so that the truth shows: a node that has the bytes finds enough honest takers, one that has not finds none. Each
//! decided sample moves a gauge, up for missing and down for good, never below zero. It trips where a share of 1 % missing
//! is a million times likelier than 0.1 %; a second trip within thirty days convicts. Hardware dies honestly: the first
//! trip only asks for a rebuild.
//!
//! # Laws
//! - **I5** No `f` shards of accusers decide a sample missing that the others were shown.

use crate::holding::Shards;
use crate::params::Gauge as Params;
use floe_types::{Epoch, EpochCount};
use serde::{Deserialize, Serialize};

/// What the re-asking of one sample came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Enough spoke and too few were shown it.
    Missing,
    /// Enough were shown it: the accusation is refuted, and the first miss was lateness.
    Shown,
    /// Too few spoke to say. Nobody is the worse for it.
    Unknown,
}

/// Decides one sample of a target with `own` seats: members with so many shards spoke, of whom those with so many were shown
/// a valid answer.
///
/// The target's own seats count as speaking and as shown, as in a slot's vote: it is one of the `n - f` that can be expected
/// to speak, and only together with it do `f` liars have too few.
#[must_use]
pub fn decide(shards: Shards, own: u32, spoke: u32, shown: u32) -> Sample {
    let with_own = |count: u32| count.saturating_add(own);
    if with_own(shown) > shards.faulty() {
        Sample::Shown
    } else if with_own(spoke) >= shards.quorum() {
        Sample::Missing
    } else {
        Sample::Unknown
    }
}

/// Epochs after that of a trip in which missing samples are not counted: who lost its data hears of it, withdraws, and the
/// withdrawal is in force from the boundary after.
pub const REST: EpochCount = EpochCount(1);

/// What a sample did to a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It moved.
    Quiet,
    /// It tripped for the first time in the window: one rebuild is granted, and it begins anew.
    Tripped,
    /// It tripped again within the window.
    Convicted,
}

/// One node's gauge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gauge {
    /// Evidence in millionths of a nat.
    pub level: u64,
    /// When it tripped last.
    pub tripped: Option<Epoch>,
}

impl Gauge {
    /// Takes in a decided sample of `epoch`; one that is [`Sample::Unknown`] does nothing.
    pub fn observe(&mut self, params: &Params, epoch: Epoch, sample: Sample) -> Outcome {
        match sample {
            Sample::Unknown => return Outcome::Quiet,
            Sample::Shown => self.level = self.level.saturating_sub(params.good),
            // What is missing was said to be, or a withdrawal of it is on its way: the same loss is not counted twice.
            Sample::Missing if self.rests_in(epoch) => return Outcome::Quiet,
            Sample::Missing => self.level = self.level.saturating_add(params.missing),
        }
        if self.level < params.trip {
            return Outcome::Quiet;
        }
        self.level = 0;
        let recent = |before: Epoch| EpochCount(epoch.0.saturating_sub(before.0)) <= params.window;
        let again = self.tripped.is_some_and(recent);
        self.tripped = Some(epoch);
        if again { Outcome::Convicted } else { Outcome::Tripped }
    }

    /// Whether what is missing in `epoch` counts for nothing: the gauge has just tripped.
    fn rests_in(&self, epoch: Epoch) -> bool {
        self.tripped.is_some_and(|before| epoch.0.saturating_sub(before.0) <= REST.0)
    }

    /// Takes in `count` good samples at once: the answers of an epoch that nobody disputed.
    pub fn observe_good(&mut self, params: &Params, count: u64) {
        self.level = self.level.saturating_sub(params.good.saturating_mul(count));
    }
}

/// A newcomer's proof before it has seats or counts for anybody's holding: clean samples in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vetting {
    /// Clean samples since the last missing one.
    pub clean: u32,
}

impl Vetting {
    /// Takes in a decided sample: a missing one begins anew.
    pub fn observe(&mut self, sample: Sample) {
        match sample {
            Sample::Shown => self.clean = self.clean.saturating_add(1),
            Sample::Missing => self.clean = 0,
            Sample::Unknown => {}
        }
    }

    /// Whether it has shown enough.
    #[must_use]
    pub fn passed(&self, params: &Params) -> bool {
        self.clean >= params.clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params as All;

    fn ten() -> Shards {
        Shards::of(10).unwrap()
    }

    #[test]
    fn a_disk_that_dies_at_once_trips_and_is_convicted_only_if_nothing_is_said_of_it() {
        let (params, mut gauge) = (crate::Params::standard().gauge, Gauge::default());
        let mut epoch = |epoch: u64| {
            let seen = (0..100).map(|_| gauge.observe(&params, Epoch(epoch), Sample::Missing));
            seen.filter(|outcome| *outcome != Outcome::Quiet).collect::<Vec<_>>()
        };
        assert_eq!(epoch(7), [Outcome::Tripped]);
        assert_eq!(epoch(8), []);
        assert_eq!(epoch(9).first(), Some(&Outcome::Convicted));
    }

    #[test]
    fn liars_can_neither_accuse_nor_clear() {
        // Three of ten lie. The target holds one seat.
        assert_eq!(decide(ten(), 1, 9, 6), Sample::Shown, "six honest takers");
        assert_eq!(decide(ten(), 1, 9, 3), Sample::Shown, "one honest and two liars beside the target: three and it");
        assert_eq!(decide(ten(), 1, 9, 2), Sample::Missing, "the target and two friends are three");
        assert_eq!(decide(ten(), 1, 6, 0), Sample::Missing, "three silent, and the target itself counts as speaking");
        assert_eq!(decide(ten(), 1, 5, 0), Sample::Unknown);
        assert_eq!(decide(ten(), 1, 4, 3), Sample::Shown, "what was shown needs no quorum");
    }

    /// Samples until the gauge trips at a share of missing ones, by a fixed pseudo-random sequence; none within `most`.
    fn trips_after(per_thousand: u64, seed: u64, most: u64) -> Option<u64> {
        let params = All::standard().gauge;
        let (mut gauge, mut state) = (Gauge::default(), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (1..=most).find(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let sample = if (state >> 11) % 1_000 < per_thousand { Sample::Missing } else { Sample::Shown };
            gauge.observe(&params, Epoch(1), sample) != Outcome::Quiet
        })
    }

    #[test]
    fn it_trips_as_fast_as_the_document_says() {
        let median = |share: u64| {
            let mut runs: Vec<u64> = (1..200).map(|seed| trips_after(share, seed, 20_000).unwrap()).collect();
            runs.sort_unstable();
            runs[runs.len() / 2]
        };
        assert_eq!(median(1_000), 6);
        for (share, low, high) in [(500, 11, 17), (200, 27, 42), (100, 54, 84), (50, 100, 180), (20, 270, 470)] {
            let found = median(share);
            assert!((low..=high).contains(&found), "{share}: {found}");
        }
    }

    #[test]
    fn an_honest_node_with_bad_luck_never_trips() {
        for seed in 1..60 {
            assert_eq!(trips_after(1, seed, 60_000), None, "seed {seed}");
        }
    }

    #[test]
    fn only_a_second_trip_in_the_window_convicts() {
        let params = All::standard().gauge;
        let trip = |gauge: &mut Gauge, epoch: u64| {
            let outcomes = (0..6).map(|_| gauge.observe(&params, Epoch(epoch), Sample::Missing));
            outcomes.last().unwrap()
        };
        let mut gauge = Gauge::default();
        assert_eq!(trip(&mut gauge, 100), Outcome::Tripped);
        assert_eq!(trip(&mut gauge, 821), Outcome::Tripped, "thirty days and an epoch later");
        assert_eq!(trip(&mut gauge, 1_541), Outcome::Convicted);
        gauge.level = 9_050;
        gauge.observe_good(&params, u64::MAX);
        assert_eq!((gauge.level, gauge.observe(&params, Epoch(9), Sample::Unknown)), (0, Outcome::Quiet));
    }

    #[test]
    fn a_newcomer_shows_459_clean_samples_in_a_row() {
        let params = All::standard().gauge;
        let mut vetting = Vetting::default();
        (0..458).for_each(|_| vetting.observe(Sample::Shown));
        vetting.observe(Sample::Unknown);
        assert!(!vetting.passed(&params));
        let mut unlucky = vetting;
        vetting.observe(Sample::Shown);
        unlucky.observe(Sample::Missing);
        unlucky.observe(Sample::Shown);
        assert!(vetting.passed(&params) && !unlucky.passed(&params));
        assert!(0.99f64.powi(459) < 0.01, "who lacks 1 % passes with less than 1 %");
    }
}
