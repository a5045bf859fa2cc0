//! The reliability of a node: a slow moving average of its slots, and what follows from it.
//!
//! `R += (q - R + half) >> shift` in Q32, from one. With a shift of nine the half-life is 355 epochs: a day's outage from a
//! clean record leaves 0.954, five days leave 0.800, and half-time presence is excluded in days. An epoch that was not
//! decided leaves the average as it is, except for a node whose report was not opened: to report is a duty.
//!
//! ```text
//!  good ──R < 0.95──► probation ──R < 0.80 at two checks, conviction, equivocation──► excluded
//!   ▲                    │                                                               │
//!   └────R >= 0.95───────┘◄──────── starts at 0.90 after the wait, doubled a relapse ────┘
//! ```
//!
//! # Laws
//! - **I10** An outage of at most 72 epochs from a clean record excludes nobody.
//! - **I12** Long-run availability of 75 % is excluded within 45 days, of 50 % within 16.

use crate::params::Standing;
use floe_types::{Epoch, EpochCount};
use serde::{Deserialize, Serialize};

/// A share in Q32, from zero to one: of slots held, or its slow average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reliability(u64);

impl Reliability {
    /// Nothing held.
    pub const NONE: Reliability = Reliability(0);
    /// All held.
    pub const FULL: Reliability = Reliability(1 << 32);

    /// The share with these bits in Q32; full for anything larger.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Reliability {
        if bits > 1 << 32 { Reliability::FULL } else { Reliability(bits) }
    }

    /// Its bits in Q32.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// `part` of `whole`, rounded down; full when `whole` is zero or the smaller.
    #[must_use]
    pub const fn ratio(part: u32, whole: u32) -> Reliability {
        if part >= whole { Reliability::FULL } else { Reliability(((part as u64) << 32) / whole as u64) }
    }

    /// The average after one more epoch with this share.
    #[must_use]
    pub fn after(self, share: Reliability, shift: u32) -> Reliability {
        let shift = shift.clamp(1, 31);
        // Both are at most 2^32: the difference and the half fit an i64 many times over.
        let difference = share.0 as i64 - self.0 as i64;
        let moved = self.0 as i64 + ((difference + (1 << (shift - 1))) >> shift);
        Reliability::from_bits(u64::try_from(moved).unwrap_or(0))
    }
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// All there is.
    Good,
    /// No new seats, half the pay on the service score, no standing in.
    Probation,
    /// Keeps its vote until the seat is another's, and nothing else.
    Excluded,
}

/// Why a member was excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was away too long.
    Absence,
    /// Its integrity gauge tripped twice.
    Integrity,
    /// It signed two things where it may sign one.
    Equivocation,
}

/// One node's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The average.
    pub average: Reliability,
    /// Whether it was below the line of exclusion at the check before.
    pub low_at_check: bool,
    /// How often it was excluded before.
    pub relapses: u32,
    /// Since when it is excluded and why.
    pub excluded: Option<(Epoch, Cause)>,
}

impl Record {
    /// Of a node nobody has seen before.
    #[must_use]
    pub fn clean() -> Record {
        Record { average: Reliability::FULL, low_at_check: false, relapses: 0, excluded: None }
    }

    /// Takes in what an epoch decided: the share of its slots the node held, none when nothing was decided.
    ///
    /// At each check a node that was below the line at the one before too is excluded.
    pub fn observe(&mut self, params: &Standing, epoch: Epoch, share: Option<Reliability>) {
        if let Some(share) = share {
            self.average = self.average.after(share, params.shift);
        }
        if !epoch.0.is_multiple_of(params.check_every.0.max(1)) {
            return;
        }
        let low = self.average.0 < params.exclusion;
        if low && self.low_at_check {
            self.exclude(epoch, Cause::Absence);
        }
        self.low_at_check = low;
    }

    /// Excludes the node; one that is excluded already keeps its first cause, unless the new one bars its return.
    pub fn exclude(&mut self, epoch: Epoch, cause: Cause) {
        match &mut self.excluded {
            Some((_, before)) if cause == Cause::Equivocation => *before = cause,
            Some(_) => {}
            None => self.excluded = Some((epoch, cause)),
        }
    }

    /// What it may do.
    #[must_use]
    pub fn rank(&self, params: &Standing) -> Rank {
        match self.excluded {
            Some(_) => Rank::Excluded,
            None if self.average.0 < params.probation => Rank::Probation,
            None => Rank::Good,
        }
    }

    /// From which epoch on it may prove itself again. None while it is not excluded, and never with the bond of an
    /// equivocator.
    #[must_use]
    pub fn may_return(&self, params: &Standing) -> Option<Epoch> {
        let (since, cause) = self.excluded?;
        if cause == Cause::Equivocation {
            return None;
        }
        let doubled = params.wait.0.checked_shl(self.relapses.min(63)).unwrap_or(u64::MAX);
        // A shift that loses bits is far beyond the longest wait.
        let wait = if doubled >> self.relapses.min(63) == params.wait.0 { doubled } else { u64::MAX };
        since.checked_add(EpochCount(wait.min(params.wait_max.0)))
    }

    /// The record it comes back with at `epoch`: none before its time.
    #[must_use]
    pub fn readmitted(&self, params: &Standing, epoch: Epoch) -> Option<Record> {
        let due = self.may_return(params)?;
        (epoch >= due).then(|| Record {
            average: Reliability::from_bits(params.readmitted),
            low_at_check: false,
            relapses: self.relapses.saturating_add(1),
            excluded: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn away(hours: u64) -> Reliability {
        (0..hours).fold(Reliability::FULL, |average, _| average.after(Reliability::NONE, 9))
    }

    #[test]
    fn an_outage_costs_what_the_document_says() {
        let thousandths = [24, 48, 72, 114].map(|hours| (away(hours).bits() * 1_000 + (1 << 31)) >> 32);
        assert_eq!(thousandths, [954, 910, 869, 800]);
    }

    #[test]
    fn the_average_stays_near_the_real_one() {
        let (mut fixed, mut real) = (Reliability::FULL, 1.0f64);
        for step in 0..20_000u32 {
            let held = (step.wrapping_mul(2_654_435_761) >> 20) % 7;
            fixed = fixed.after(Reliability::ratio(held, 6), 9);
            real += (f64::from(held.min(6)) / 6.0 - real) / 512.0;
            assert!((fixed.bits() as f64 / 2f64.powi(32) - real).abs() < 1e-6);
        }
    }

    /// Epochs until exclusion of a node with this rhythm, within `most`.
    fn excluded_after(on: u64, off: u64, most: u64) -> Option<u64> {
        let params = Params::standard().standing;
        let mut record = Record::clean();
        (1..=most).find(|epoch| {
            let share = if epoch % (on + off) < on { Reliability::FULL } else { Reliability::NONE };
            record.observe(&params, Epoch(*epoch), Some(share));
            record.rank(&params) == Rank::Excluded
        })
    }

    #[test]
    fn who_is_away_for_long_is_excluded_in_time() {
        assert!(excluded_after(72, 24, 45 * 24).is_some(), "I12: 75 %");
        assert!(excluded_after(12, 12, 16 * 24).is_some(), "I12: 50 %");
        assert!(excluded_after(0, 1, 7 * 24).is_some(), "a dead node within seven days");
        assert!(excluded_after(1, 11, 8 * 24).is_some(), "eleven epochs away and one back, for ever");
        assert_eq!(excluded_after(2_000, 72, 2_100), None, "I10: one outage of three days");
        assert_eq!(excluded_after(95, 5, 8_766), None, "95 % is kept");
    }

    #[test]
    fn what_was_not_decided_changes_nothing() {
        let params = Params::standard().standing;
        let mut record = Record::clean();
        for epoch in 1..1_000 {
            record.observe(&params, Epoch(epoch), None);
        }
        assert_eq!(record, Record::clean());
    }

    #[test]
    fn a_dead_node_of_a_devnet_is_excluded_in_five_to_six_minutes() {
        let params = Params::devnet().standing;
        let mut record = Record::clean();
        let mut ranks = Vec::new();
        for epoch in 1..=24 {
            record.observe(&params, Epoch(epoch), Some(Reliability::NONE));
            ranks.push(record.rank(&params));
        }
        let first = |rank| ranks.iter().position(|found| *found == rank).unwrap() + 1;
        assert_eq!((first(Rank::Probation), first(Rank::Excluded)), (4, 20), "twenty epochs of fifteen seconds");
    }

    #[test]
    fn the_wait_doubles_with_each_relapse_and_ends_somewhere() {
        let params = Params::standard().standing;
        let waits = [0, 1, 2, 3, 4, 40, 200].map(|relapses| {
            let record = Record { relapses, excluded: Some((Epoch(10), Cause::Absence)), ..Record::clean() };
            record.may_return(&params).unwrap().0 - 10
        });
        assert_eq!(waits, [168, 336, 672, 1_344, 2_160, 2_160, 2_160]);
    }

    #[test]
    fn an_equivocator_never_comes_back_with_the_same_bond() {
        let params = Params::standard().standing;
        let mut record = Record::clean();
        record.exclude(Epoch(5), Cause::Absence);
        assert_eq!(record.readmitted(&params, Epoch(172)), None);
        assert_eq!(record.readmitted(&params, Epoch(173)).unwrap().relapses, 1);
        record.exclude(Epoch(6), Cause::Equivocation);
        assert_eq!(record.readmitted(&params, Epoch(1 << 40)), None);
    }
}
