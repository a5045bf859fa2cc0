//! Who held what: the vote on a slot, and what an epoch makes of its slots.
//!
//! **A pass is evidence, a miss is only testimony.** In a slot a target *held* when the members that show a pass have,
//! together with the target's own seats, at least `f + 1` shards. Among them is an honest one, which checked a proof; and
//! an honest target finds at least `n - 2f` honest shards with its own. So `f` liars can neither frame nor shield.
//!
//! A slot is *decided* when members with `n - f` shards reported on it, an epoch when more than half of its slots are. A
//! member *answered* when it held in more than half of the decided slots, else it was absent. Its silence age counts the
//! decided epochs in a row in which it was absent.
//!
//! # Laws
//! - **I5** An honest node that honest members with the target reach `f + 1` shards of is never absent.
//! - **I6** A node that serves nobody honest never holds.

use crate::reliability::Reliability;
use floe_types::EpochCount;
use floe_types::params::SHARDS_MAX;

/// The number of shards of a network, with what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(u16);

impl Shards {
    /// `n`; none below four or beyond what a network may have.
    #[must_use]
    pub fn of(shards: u16) -> Option<Shards> {
        (4..=SHARDS_MAX).contains(&shards).then_some(Shards(shards))
    }

    /// `n`.
    #[must_use]
    pub fn all(self) -> u32 {
        u32::from(self.0)
    }

    /// `f`: shards that may be faulty.
    #[must_use]
    pub fn faulty(self) -> u32 {
        (self.all() - 1) / 3
    }

    /// `n - f`: shards that decide.
    #[must_use]
    pub fn quorum(self) -> u32 {
        self.all() - self.faulty()
    }

    /// `p = n - 2f`: shards that give a blob back.
    #[must_use]
    pub fn readable(self) -> u32 {
        self.all() - 2 * self.faulty()
    }
}

/// Whether a target with `own` seats held in a slot in which members with `passes` shards, itself not among them, show a pass.
#[must_use]
pub fn held(shards: Shards, own: u32, passes: u32) -> bool {
    own.saturating_add(passes) > shards.faulty()
}

/// Whether a slot on which members with so many shards reported is decided.
#[must_use]
pub fn slot_decided(shards: Shards, reported: u32) -> bool {
    reported >= shards.quorum()
}

/// How many of an epoch's slots were decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Slots in the epoch.
    pub all: u16,
    /// Decided ones.
    pub decided: u16,
}

impl Slots {
    /// Whether the epoch is decided.
    #[must_use]
    pub fn epoch_decided(self) -> bool {
        u32::from(self.decided) * 2 > u32::from(self.all)
    }
}

/// Whether a member's own report was opened in time: a duty, in decided epochs and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It was.
    Opened,
    /// It was not.
    Withheld,
}

/// What an epoch was for one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attendance {
    /// The share of decided slots it held, which moves its average; none when its gauges keep their value.
    pub share: Option<Reliability>,
    /// Its silence age after the epoch.
    pub age: EpochCount,
}

/// Takes in an epoch for one member: its age before, the decided slots in which it held, and its report.
#[must_use]
pub fn attend(slots: Slots, held: u16, report: Report, age: EpochCount) -> Attendance {
    let older = EpochCount(age.0.saturating_add(1));
    match report {
        Report::Withheld => Attendance { share: Some(Reliability::NONE), age: older },
        Report::Opened if !slots.epoch_decided() => Attendance { share: None, age },
        Report::Opened => {
            let held = held.min(slots.decided);
            let answered = u32::from(held) * 2 > u32::from(slots.decided);
            let share = Reliability::ratio(held.into(), slots.decided.into());
            Attendance { share: Some(share), age: if answered { EpochCount(0) } else { older } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_follow_from_the_number_of_shards() {
        let table = [4, 7, 28, 31, 100].map(|n| {
            let shards = Shards::of(n).unwrap();
            (shards.faulty(), shards.readable(), shards.quorum())
        });
        assert_eq!(table, [(1, 2, 3), (2, 3, 5), (9, 10, 19), (10, 11, 21), (33, 34, 67)]);
        assert_eq!((Shards::of(3), Shards::of(1_025)), (None, None));
    }

    #[test]
    fn no_f_liars_frame_or_shield_in_committees_of_any_weights() {
        for n in 4..=100u16 {
            let shards = Shards::of(n).unwrap();
            for own in 1..=shards.faulty() {
                // An honest target: the honest shards, its own among them, pass. Liars and as many absent ones do not.
                let honest = shards.all() - 2 * shards.faulty();
                assert!(held(shards, own, honest.saturating_sub(own)), "framed at {n}, {own}");
                // An absent target is itself among the f that lie.
                assert!(!held(shards, own, shards.faulty() - own), "shielded at {n}, {own}");
            }
        }
    }

    #[test]
    fn more_than_half_of_the_decided_slots_is_an_answer() {
        let slots = |decided| Slots { all: 6, decided };
        let age = |decided, held| attend(slots(decided), held, Report::Opened, EpochCount(3)).age.0;
        assert_eq!([age(6, 4), age(6, 3), age(5, 3), age(4, 2), age(4, 3)], [0, 4, 0, 4, 0]);
        assert_eq!(age(3, 0), 3, "undecided: half of six is not more than half");
        assert_eq!(attend(slots(3), 3, Report::Opened, EpochCount(0)).share, None);
    }

    #[test]
    fn a_withheld_report_counts_as_absence_in_every_epoch() {
        for decided in [0, 3, 6] {
            let after = attend(Slots { all: 6, decided }, decided, Report::Withheld, EpochCount(1));
            assert_eq!((after.share, after.age), (Some(Reliability::NONE), EpochCount(2)));
        }
    }

    #[test]
    fn what_is_said_beyond_the_decided_slots_counts_nothing() {
        let after = attend(Slots { all: 6, decided: 4 }, u16::MAX, Report::Opened, EpochCount(0));
        assert_eq!(after.share, Some(Reliability::FULL));
    }
}
