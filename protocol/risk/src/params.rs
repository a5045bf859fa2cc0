//! The constants of risk, scores and repair: one table, thought of in hours, kept in epochs.
//!
//! [`Params::of_hours`] is the one conversion: every time is divided by the hours an epoch stands for, rounded up and at
//! least one. A public network's epoch is an hour; a devnet's fifteen seconds stand for six.
//!
//! # Source
//! Defaults and what they reach: the risk document's table of parameters. Decisions 020 to 022 say where we differ.

use crate::probability::Probability;
use floe_types::{Epoch, EpochCount};
use serde::{Deserialize, Serialize};

/// The chances of loss and of a margin breach that are accepted for a blob, in parts per 10^12 and year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Fewer than `p` shards survive. 1,000 is 1e-9 a year.
    pub loss_e12: u64,
    /// Fewer than `p + b` survive: `f` silent conspirators would suffice.
    pub margin_e12: u64,
}

/// How long silences last, as a mixture of exponentials, and which share of them is for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silences {
    /// Share of silences of at least an hour that are final, in parts per million.
    pub final_ppm: u64,
    /// Parts per million and mean hours of each kind of passing silence. The parts sum to a million.
    pub kinds: Vec<(u64, u64)>,
    /// The age in epochs from which on the table stands still.
    pub table_epochs: EpochCount,
}

/// Reliability: the slow average, probation, exclusion, readmission. Averages are in Q32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Each epoch moves the average by `2^-shift` of the difference. 9 is a half-life of 355 epochs.
    pub shift: u32,
    /// Epochs from one check for exclusion to the next: a day.
    pub check_every: EpochCount,
    /// Below this a node is on probation.
    pub probation: u64,
    /// Below this at two successive checks a node is excluded.
    pub exclusion: u64,
    /// What a node begins with that was excluded before.
    pub readmitted: u64,
    /// Epochs an excluded node waits the first time; doubled with each relapse.
    pub wait: EpochCount,
    /// The longest wait.
    pub wait_max: EpochCount,
}

/// The sequential test of integrity, in millionths of a nat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gauge {
    /// Added for a sample decided missing: ln(1 % / 0.1 %).
    pub missing: u64,
    /// Taken off for a good one: ln(99.9 % / 99 %).
    pub good: u64,
    /// The gauge trips at this: ln 10^6.
    pub trip: u64,
    /// A second trip within so many epochs convicts: thirty days.
    pub window: EpochCount,
    /// Clean samples in a row by which a newcomer shows that it lacks less than 1 %, with 99 % certainty.
    pub clean: u32,
}

/// The search for nodes that fall silent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coincidence {
    /// False alarms accepted among all pairs, in parts per million.
    pub alpha_ppm: u64,
    /// Fewer coincidences than this never flag a pair.
    pub least: u32,
    /// Epochs that are looked back on, and for which a flag holds: ninety days.
    pub window: EpochCount,
}

/// When repair begins, how much of it there may be, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// No bound is tighter than so many times the risk at best reach: repairing for ever lowers nothing.
    pub trigger_floor: u64,
    /// No stop line is tighter than so many times it.
    pub stop_floor: u64,
    /// Repair goes on until the risk is below this part of its bound.
    pub stop_part: u64,
    /// A silent or withdrawn fragment is not rebuilt before it is so old.
    pub patience: EpochCount,
    /// Urgent rebuilds at a boundary, in quarters of a pair per defended blob; at least `n` pairs in all.
    pub quarter_pairs_per_blob: u64,
    /// A blob at more than so many times its bound ignores the cap.
    pub uncapped_above: u64,
    /// A gap at an answering seat is filled once in so many epochs.
    pub trickle: EpochCount,
    /// A blob with fewer epochs to live is not trickled.
    pub expiry_cut: EpochCount,
    /// Epochs for which what an uploader did not deliver is a standing ticket of the seat.
    pub standing: EpochCount,
    /// Blobs with consecutive numbers that share their stand-ins. 1 spreads best, more keep coverage in few runs.
    pub rotation_run: u64,
    /// How many ways stand-ins are rotated. At most [`ROTATIONS_MAX`].
    pub rotations: u16,
}

/// The most rotations: a triggered class is planned once for each.
pub const ROTATIONS_MAX: u16 = 64;
/// The longest table of silence ages.
pub const TABLE_EPOCHS_MAX: u64 = 4_096;

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Hours an epoch stands for, from 1.
    pub hours_per_epoch: u64,
    /// Epochs over which a risk is taken: one decision and the rebuild that follows.
    pub horizon: EpochCount,
    /// Epochs in a year: 8766 hours.
    pub year: EpochCount,
    /// Slots in an epoch.
    pub slots: u16,
    /// Before anything was seen: one departure in so many node-epochs. Ninety days.
    pub departure_prior: EpochCount,
    /// Before anything was seen: a tenth of a domain's loss in so many domain-epochs.
    pub shock_prior: EpochCount,
    /// What silence means.
    pub silences: Silences,
    /// With this many members or more the large network's bounds hold.
    pub large_from: u16,
    /// Accepted in a large network.
    pub large: Accepted,
    /// Accepted in a small one, which can only promise to survive `f`.
    pub small: Accepted,
    /// Repair.
    pub repair: Repair,
    /// Reliability.
    pub standing: Standing,
    /// Integrity.
    pub gauge: Gauge,
    /// Correlation.
    pub coincidence: Coincidence,
}

/// A constant that is out of its range or contradicts another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("risk parameter {name} is {value}: {reason}")]
pub struct ParamsError {
    /// The field.
    pub name: &'static str,
    /// What it is.
    pub value: u64,
    /// What it must be.
    pub reason: &'static str,
}

const Q32: u64 = 1 << 32;

impl Params {
    /// A public network's: an epoch is an hour.
    #[must_use]
    pub fn standard() -> Params {
        Params::of_hours(1)
    }

    /// A devnet's: an epoch stands for six hours, urgent repair may move twenty-eight pairs a blob.
    #[must_use]
    pub fn devnet() -> Params {
        let mut params = Params::of_hours(6);
        params.repair.quarter_pairs_per_blob = 4 * 28;
        // A devnet has tens of blobs: each gets stand-ins of its own.
        params.repair.rotation_run = 1;
        params
    }

    /// The defaults for epochs that stand for `hours` (zero is taken as one).
    #[must_use]
    pub fn of_hours(hours: u64) -> Params {
        let hours = hours.max(1);
        let epochs = |count: u64| EpochCount(count.div_ceil(hours).max(1));
        Params {
            hours_per_epoch: hours,
            horizon: epochs(6),
            year: epochs(8_766),
            slots: 6,
            departure_prior: epochs(2_160),
            shock_prior: epochs(10_000),
            silences: Silences {
                final_ppm: 60_000,
                kinds: vec![(700_000, 2), (250_000, 8), (50_000, 36)],
                table_epochs: epochs(336),
            },
            large_from: 10,
            large: Accepted { loss_e12: 1_000, margin_e12: 100_000_000_000 },
            small: Accepted { loss_e12: 10_000_000_000, margin_e12: 500_000_000_000 },
            repair: Repair {
                trigger_floor: 4,
                stop_floor: 2,
                stop_part: 100,
                patience: epochs(12),
                quarter_pairs_per_blob: 1,
                uncapped_above: 1_000,
                trickle: epochs(72),
                expiry_cut: epochs(72),
                standing: epochs(72),
                rotation_run: 256,
                rotations: 16,
            },
            standing: Standing {
                // The half-life scales with the epoch: the largest power of two within 512 / hours.
                shift: (512 / hours).max(2).ilog2(),
                check_every: epochs(24),
                probation: 4_080_218_931,
                exclusion: 3_435_973_836,
                readmitted: Q32 / 10 * 9,
                wait: epochs(168),
                wait_max: epochs(2_160),
            },
            gauge: Gauge { missing: 2_302_585, good: 9_050, trip: 13_814_510, window: epochs(720), clean: 459 },
            coincidence: Coincidence { alpha_ppm: 1_000, least: 3, window: epochs(2_160) },
        }
    }

    /// Checks every range and relation.
    ///
    /// # Errors
    /// The first [`ParamsError`] found.
    pub fn check(&self) -> Result<(), ParamsError> {
        let within = |name, value: u64, range: std::ops::RangeInclusive<u64>, reason| {
            if range.contains(&value) { Ok(()) } else { Err(ParamsError { name, value, reason }) }
        };
        let (repair, standing) = (&self.repair, &self.standing);
        within("hours_per_epoch", self.hours_per_epoch, 1..=168, "must be from 1 to 168")?;
        within("horizon", self.horizon.0, 1..=1_000, "must be from 1 to 1000 epochs")?;
        within("year", self.year.0, self.horizon.0..=1 << 32, "must be at least the horizon")?;
        within("slots", u64::from(self.slots), 1..=64, "must be from 1 to 64")?;
        within("departure_prior", self.departure_prior.0, 1..=1 << 32, "must be from 1 to 2^32 epochs")?;
        within("shock_prior", self.shock_prior.0, 1..=1 << 32, "must be from 1 to 2^32 epochs")?;
        within("silences.final_ppm", self.silences.final_ppm, 1..=999_999, "must be within a million, not all")?;
        let parts = self.silences.kinds.iter().fold(0u64, |sum, (part, _)| sum.saturating_add(*part));
        within("silences.kinds", parts, 1_000_000..=1_000_000, "parts must sum to a million")?;
        let shortest = self.silences.kinds.iter().map(|(_, mean)| *mean).min().unwrap_or(0);
        within("silences.kinds", shortest, 1..=1 << 20, "means must be from 1 hour")?;
        let table = self.silences.table_epochs.0;
        within("silences.table_epochs", table, 1..=TABLE_EPOCHS_MAX, "must be from 1 to 4096")?;
        for (name, accepted) in [("large", self.large), ("small", self.small)] {
            within(name, accepted.loss_e12, 1..=1_000_000_000_000, "a chance of loss is from 1e-12 to 1 a year")?;
            let reason = "the chance of a margin breach is at least that of loss and at most 1 a year";
            within(name, accepted.margin_e12, accepted.loss_e12..=1_000_000_000_000, reason)?;
        }
        within("stop_floor", repair.stop_floor, 1..=1_000, "must be from 1 to 1000")?;
        let reason = "must be above the stop floor: repair would end where it begins";
        within("trigger_floor", repair.trigger_floor, repair.stop_floor + 1..=1_000, reason)?;
        within("stop_part", repair.stop_part, 2..=1_000_000, "must be from 2: hysteresis needs a distance")?;
        within("patience", repair.patience.0, 1..=table, "must be from 1 to the silence table's length")?;
        within("trickle", repair.trickle.0, 1..=10_000, "must be from 1 to 10000 epochs")?;
        within("rotation_run", repair.rotation_run, 1..=1 << 20, "must be from 1 to 2^20 blobs")?;
        within("rotations", repair.rotations.into(), 1..=ROTATIONS_MAX.into(), "must be from 1 to 64")?;
        within("shift", standing.shift.into(), 1..=20, "must be from 1 to 20")?;
        within("check_every", standing.check_every.0, 1..=10_000, "must be from 1 to 10000 epochs")?;
        within("probation", standing.probation, standing.exclusion..=Q32, "must be from exclusion to one")?;
        within("readmitted", standing.readmitted, standing.exclusion..=Q32, "must be from exclusion to one")?;
        within("wait_max", standing.wait_max.0, standing.wait.0..=1 << 32, "must be at least the first wait")?;
        within("gauge.trip", self.gauge.trip, self.gauge.missing..=1 << 40, "must be at least one missing sample")?;
        within("gauge.good", self.gauge.good, 1..=self.gauge.missing, "must be from 1 to what a missing one adds")?;
        within("gauge.clean", self.gauge.clean.into(), 1..=1_000_000, "must be from 1 to 1000000 samples")?;
        within("alpha_ppm", self.coincidence.alpha_ppm, 1..=100_000, "must be from 1 to 100000")?;
        within("coincidence.least", self.coincidence.least.into(), 2..=1_000, "must be from 2: one is chance")?;
        within("coincidence.window", self.coincidence.window.0, 1..=1 << 20, "must be from 1 to 2^20 epochs")
    }

    /// What a network of so many members accepts.
    #[must_use]
    pub fn accepted(&self, members: usize) -> Accepted {
        if members >= usize::from(self.large_from) { self.large } else { self.small }
    }

    /// The bounds of one decision: the accepted chance of a year, for one horizon. Rounded down.
    #[must_use]
    pub fn bounds(&self, members: usize) -> crate::loss::Risks {
        let accepted = self.accepted(members);
        let whole = u128::from(self.year.0) * 1_000_000_000_000;
        let bound = |part: u64| Probability::ratio_down(u128::from(part) * u128::from(self.horizon.0), whole);
        crate::loss::Risks { loss: bound(accepted.loss_e12), margin: bound(accepted.margin_e12) }
    }

    /// The most urgent rebuilds at a boundary, in pairs, for `shards` and so many defended blobs.
    #[must_use]
    pub fn cap(&self, shards: u16, defended: u64) -> u64 {
        let pairs = u128::from(defended) * u128::from(self.repair.quarter_pairs_per_blob) / 4;
        u64::try_from(pairs).unwrap_or(u64::MAX).max(u64::from(shards))
    }

    /// How much of its paid term a blob has left at the boundary that begins `now`.
    #[must_use]
    pub fn life(&self, now: Epoch, last: Epoch) -> Life {
        match last.0.checked_sub(now.0) {
            None => Life::Over,
            Some(left) if left < self.repair.expiry_cut.0 => Life::Ending,
            Some(_) => Life::Lasting,
        }
    }
}

/// How much of its paid term a blob has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    /// Enough to be filled up in the background.
    Lasting,
    /// Too little for the trickle; urgent repair goes on.
    Ending,
    /// None: it is never planned for.
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_within_their_own_ranges() {
        for hours in [0, 1, 2, 6, 24, 168] {
            assert_eq!(Params::of_hours(hours).check(), Ok(()), "{hours}");
        }
        assert_eq!(Params::devnet().check(), Ok(()));
    }

    #[test]
    fn the_devnet_is_the_default_in_epochs_of_six_hours() {
        let devnet = Params::devnet();
        assert_eq!((devnet.horizon.0, devnet.year.0, devnet.departure_prior.0), (1, 1_461, 360));
        assert_eq!((devnet.repair.patience.0, devnet.repair.trickle.0, devnet.repair.expiry_cut.0), (2, 12, 12));
        let standing = devnet.standing;
        assert_eq!((standing.shift, standing.check_every.0, standing.wait.0), (6, 4, 28));
        assert_eq!(devnet.cap(28, 10), 280);
        let standard = Params::standard();
        assert_eq!((standard.standing.shift, standard.cap(31, 40), standard.cap(31, 1_000)), (9, 31, 250));
    }

    #[test]
    fn bounds_are_those_of_the_document() {
        let bits = |p: Probability| p.bits() as f64 / 2f64.powi(63);
        let devnet = Params::devnet().bounds(7);
        assert!(
            (bits(devnet.loss) / 6.845e-6 - 1.0).abs() < 1e-3 && (bits(devnet.margin) / 3.422e-4 - 1.0).abs() < 1e-3
        );
        let large = Params::standard().bounds(31);
        assert!((bits(large.loss) / 6.845e-13 - 1.0).abs() < 1e-3, "{large:?}");
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        type Change = fn(&mut Params);
        let cases: [(Change, &str); 8] = [
            (|p| p.hours_per_epoch = 0, "hours_per_epoch"),
            (|p| p.silences.kinds[0].0 -= 1, "silences.kinds"),
            (|p| p.silences.kinds[0].1 = 0, "silences.kinds"),
            (|p| p.large.margin_e12 = 1, "large"),
            (|p| p.repair.trigger_floor = 2, "trigger_floor"),
            (|p| p.repair.patience.0 = 337, "patience"),
            (|p| p.standing.probation = 1, "probation"),
            (|p| p.repair.rotations = 65, "rotations"),
        ];
        for (change, name) in cases {
            let mut params = Params::standard();
            change(&mut params);
            assert_eq!(params.check().unwrap_err().name, name);
        }
    }

    #[test]
    fn a_life_ends_with_its_last_paid_epoch() {
        let params = Params::standard();
        let lives = [9, 10, 81, 82].map(|last| params.life(Epoch(10), Epoch(last)));
        assert_eq!(lives, [Life::Over, Life::Ending, Life::Ending, Life::Lasting]);
    }
}
