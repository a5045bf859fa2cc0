//! What all nodes of a network must agree on. Written into genesis; nothing here is one operator's choice.
//!
//! Times are in milliseconds where they are real time and in epochs where the protocol counts. The table of
//! [`Params::describe`] is what `floe genesis show` prints: name, value, unit and reason stand together once.

use crate::units::{Epoch, EpochCount, FROST_PER_WAL, Frost};
use serde::{Deserialize, Serialize};

/// The largest number of shards: what GF(2^16) allows, less room for none at all.
pub const SHARDS_MAX: u16 = 1024;
/// The most members of a committee. Bitmaps of members and reports are sized by it.
pub const MEMBERS_MAX: usize = 1024;
/// The longest block in bytes. A proposal with its block travels as one gossip message.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;
/// The longest transaction in bytes: a report of 1,024 members with the answers that it must show, and room to spare.
pub const TRANSACTION_BYTES_MAX: usize = 32 << 10;
/// Slots of an epoch: in each of them every member challenges every other. They share the time before the closing.
pub const SLOTS: u8 = 6;
/// Challenges that all members together make of one target in a slot, at least: so many that who lacks one byte in a hundred is
/// found in eight epochs, 99 times in a hundred (decision 049).
const CHALLENGES_PER_TARGET: usize = 13;
/// The longest attributes of a blob in bytes, all keys and values together.
pub const ATTRIBUTES_BYTES_MAX: usize = 1 << 10;

const _: () =
    assert!(TRANSACTION_BYTES_MAX * 8 <= BLOCK_BYTES_MAX, "a block holds several of the longest transactions");

/// Challenges that each of `members` makes of each other in a slot: thirteen of a target in all, at least one of each pair.
#[must_use]
pub fn challenges_per_slot(members: usize) -> u16 {
    // At most thirteen.
    CHALLENGES_PER_TARGET.div_ceil(members.saturating_sub(1).max(1)).max(1) as u16
}

/// The parameters of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Logical places `n` that keep one fragment of every blob each. Fixed for the life of a network.
    pub shards: u16,
    /// The least time from the block that begins an epoch to the block that ends it.
    pub epoch_millis: u64,
    /// The last part of an epoch: in its first half members commit to their reports, in its second half they open them. At most half
    /// an epoch.
    pub closing_millis: u64,
    /// Epochs in a committee's term.
    pub term_epochs: EpochCount,
    /// Hours that an epoch stands for where risk, reliability and repair count in hours: 1 on a public network.
    pub hours_per_epoch: u64,
    /// How soon an answer to a challenge must be there to be served in time.
    pub soft_millis: u64,
    /// How soon an answer must be there to count at all: later than `soft_millis`, it *holds* but does not *serve*. Less than
    /// a slot.
    pub hard_millis: u64,
    /// Price of one encoded mebibyte for one epoch at genesis. Members' offers move it from there.
    pub price: Frost,
    /// Fee for one byte of a transaction.
    pub fee_per_byte: Frost,
    /// Fee for one run of an attestation or a withdrawal, beside its bytes.
    pub fee_per_run: Frost,
    /// The most epochs a registration may pay ahead.
    pub paid_ahead_max: EpochCount,
    /// Epochs after that of its registration in which a blob may still be certified; then the registration lapses.
    pub certify_within: EpochCount,
    /// The largest blob in bytes.
    pub blob_bytes_max: u64,
    /// How far a block's time may be ahead of a voter's clock.
    pub drift_millis_max: u64,
    /// Epochs before the end of a term in which the committee of the next term is known and data moves to it. From 1 to
    /// `term_epochs`.
    pub election_epochs: EpochCount,
    /// What a candidate must have bonded to be given seats.
    pub stake_min: Frost,
    /// What a member of the first committee has bonded for each of its seats.
    pub seat_stake: Frost,
    /// Epochs for which a row of a former holder is kept when its shard is not covered otherwise.
    pub former_epochs: EpochCount,
    /// What is put down with the claim that a blob's encoding is inconsistent, and lost when too few members signed it.
    pub invalid_bond: Frost,
    /// Epochs for which a holder is not paid for fragments that it withdrew, attested again or not.
    pub pay_pause: EpochCount,
}

/// Parameters that contradict each other or leave their range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: {reason}")]
pub struct ParamsError {
    /// The field.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Params {
    /// The parameters of a public network: epochs of an hour, a closing of a minute.
    #[must_use]
    pub fn standard(shards: u16) -> Params {
        Params {
            shards,
            epoch_millis: 3_600_000,
            closing_millis: 60_000,
            term_epochs: EpochCount(24),
            hours_per_epoch: 1,
            soft_millis: 2_000,
            hard_millis: 10_000,
            price: Frost(1_000),
            fee_per_byte: Frost(10),
            fee_per_run: Frost(1_000),
            paid_ahead_max: EpochCount(8_766),
            certify_within: EpochCount(1),
            blob_bytes_max: 4 << 30,
            drift_millis_max: 30_000,
            election_epochs: EpochCount(2),
            stake_min: Frost(1_000 * FROST_PER_WAL),
            seat_stake: Frost(1_000 * FROST_PER_WAL),
            former_epochs: EpochCount(168),
            invalid_bond: Frost(10 * FROST_PER_WAL),
            pay_pause: EpochCount(12),
        }
    }

    /// The parameters of a network on one machine: epochs of seconds, no fee, so that amounts are easy to follow.
    ///
    /// The closing is a fifth of the epoch, at least 300 ms. Deadlines of answers are a quarter and three quarters of a slot, where
    /// a slot is short.
    #[must_use]
    pub fn devnet(shards: u16, epoch_millis: u64) -> Params {
        let standard = Params::standard(shards);
        let closing_millis = (epoch_millis / 5).max(300);
        let slot = epoch_millis.saturating_sub(closing_millis) / u64::from(SLOTS);
        Params {
            epoch_millis,
            closing_millis,
            term_epochs: EpochCount(4),
            hours_per_epoch: 6,
            soft_millis: standard.soft_millis.min(slot / 4).max(1),
            hard_millis: standard.hard_millis.min(slot / 4 * 3).max(2),
            fee_per_byte: Frost(0),
            election_epochs: EpochCount(1),
            stake_min: Frost(FROST_PER_WAL),
            seat_stake: Frost(FROST_PER_WAL),
            former_epochs: EpochCount(28),
            invalid_bond: Frost(FROST_PER_WAL),
            pay_pause: EpochCount(2),
            fee_per_run: Frost(0),
            ..standard
        }
    }

    /// The same with epochs of another length: closing and deadlines of answers are shortened where they would not fit.
    #[must_use]
    pub fn with_epoch(self, epoch_millis: u64) -> Params {
        let closing_millis = self.closing_millis.min(epoch_millis / 5).max(1);
        let slot = epoch_millis.saturating_sub(closing_millis) / u64::from(SLOTS);
        let soft_millis = self.soft_millis.min(slot / 4).max(1);
        let hard_millis = self.hard_millis.min(slot / 4 * 3).max(2);
        Params { epoch_millis, closing_millis, soft_millis, hard_millis, ..self }
    }

    /// Checks every range and relation.
    ///
    /// # Errors
    /// The first [`ParamsError`] found.
    pub fn check(&self) -> Result<(), ParamsError> {
        let refuse = |name, reason: &str| Err(ParamsError { name, reason: reason.to_owned() });
        if !(4..=SHARDS_MAX).contains(&self.shards) {
            return refuse("shards", "must be from 4 to 1024");
        }
        if self.epoch_millis < 1_000 {
            return refuse("epoch_millis", "an epoch lasts at least 1000 ms");
        }
        if self.closing_millis == 0 || self.closing_millis > self.epoch_millis / 2 {
            return refuse("closing_millis", "must be above zero and at most half an epoch");
        }
        if self.term_epochs.0 == 0 {
            return refuse("term_epochs", "a term has at least one epoch");
        }
        if self.price == Frost::ZERO {
            return refuse("price", "must be above zero: what is free is never forgotten");
        }
        if !(1..=168).contains(&self.hours_per_epoch) {
            return refuse("hours_per_epoch", "must be from 1 to 168");
        }
        if self.soft_millis == 0 || self.soft_millis >= self.hard_millis {
            return refuse("soft_millis", "must be above zero and below hard_millis");
        }
        if self.hard_millis >= self.slot_millis() {
            return refuse("hard_millis", "must be below a slot: an answer belongs to the slot it was asked in");
        }
        if self.paid_ahead_max.0 == 0 || self.paid_ahead_max.0 > 1_000_000 {
            return refuse("paid_ahead_max", "must be from 1 to 1000000 epochs");
        }
        if self.blob_bytes_max == 0 || self.blob_bytes_max > 1 << 40 {
            return refuse("blob_bytes_max", "must be from 1 byte to 1 TiB");
        }
        if self.drift_millis_max == 0 {
            return refuse("drift_millis_max", "clocks differ: must be above zero");
        }
        if !(1..=self.term_epochs.0).contains(&self.election_epochs.0) {
            return refuse("election_epochs", "must be from 1 to the epochs of a term");
        }
        if self.stake_min == Frost::ZERO || self.stake_min.0 > 1 << 50 {
            return refuse("stake_min", "must be from 1 to 2^50 FROST");
        }
        if self.seat_stake < self.stake_min || self.seat_stake.0 > 1 << 50 {
            return refuse("seat_stake", "must be from stake_min to 2^50 FROST");
        }
        if !(1..=1_000_000).contains(&self.former_epochs.0) {
            return refuse("former_epochs", "must be from 1 to 1000000");
        }
        if self.invalid_bond == Frost::ZERO || self.invalid_bond.0 > 1 << 50 {
            return refuse(
                "invalid_bond",
                "must be from 1 to 2^50 FROST: a claim that costs nothing is made for nothing",
            );
        }
        if self.pay_pause.0 > 1_000 {
            return refuse(
                "pay_pause",
                "must be at most 1000 epochs: each has marks of its own in the map of coverage",
            );
        }
        Ok(())
    }

    /// `f`: shards that may be faulty without harm.
    #[must_use]
    pub fn faulty(&self) -> u16 {
        (self.shards - 1) / 3
    }

    /// `n - f`: shards that decide.
    #[must_use]
    pub fn quorum(&self) -> u16 {
        self.shards - self.faulty()
    }

    /// `p = n - 2f`: fragments that give a blob back.
    #[must_use]
    pub fn readable(&self) -> u16 {
        self.shards - 2 * self.faulty()
    }

    /// The most seats that change hands at the end of a term because stakes changed or a holder gave notice: half of `f`,
    /// at least one, else a network of four to six shards could never change its committee. Whatever the reasons, at
    /// most `f` seats change hands.
    #[must_use]
    pub fn moves_by_choice(&self) -> u16 {
        (self.faulty() / 2).max(1)
    }

    /// The length of a slot: a sixth of the time before the closing, rounded down.
    #[must_use]
    pub fn slot_millis(&self) -> u64 {
        self.epoch_millis.saturating_sub(self.closing_millis) / u64::from(SLOTS)
    }

    /// The term that `epoch` belongs to, from 1.
    #[must_use]
    pub fn term_of(&self, epoch: Epoch) -> u64 {
        epoch.0.saturating_sub(1) / self.term_epochs.0.max(1) + 1
    }

    /// The last epoch of `term`.
    #[must_use]
    pub fn term_ends(&self, term: u64) -> Epoch {
        Epoch(term.saturating_mul(self.term_epochs.0))
    }

    /// Whether `epoch` is the last of a term.
    #[must_use]
    pub fn ends_term(&self, epoch: Epoch) -> bool {
        epoch.0 > 0 && epoch == self.term_ends(self.term_of(epoch))
    }

    /// The epoch with whose end the committee of the term after `term` is chosen. 0 stands for *before the network*.
    #[must_use]
    pub fn election_of(&self, term: u64) -> Epoch {
        Epoch(self.term_ends(term).0.saturating_sub(self.election_epochs.0))
    }

    /// Epochs for which a stake answers for the votes of its node after the last of them: two terms and an epoch.
    #[must_use]
    pub fn unbonding(&self) -> EpochCount {
        EpochCount(self.term_epochs.0.saturating_mul(2).saturating_add(1))
    }

    /// Every parameter as a row: name, value, unit, why this value.
    #[must_use]
    pub fn describe(&self) -> Vec<[String; 4]> {
        let row = |name: &str, value: String, unit: &str, why: &str| {
            [name.to_owned(), value, unit.to_owned(), why.to_owned()]
        };
        vec![
            row(
                "shards",
                self.shards.to_string(),
                "shards",
                "more spread the load finer, each costs metadata for every blob",
            ),
            row("epoch_millis", self.epoch_millis.to_string(), "ms", "how old the newest decision may be"),
            row(
                "closing_millis",
                self.closing_millis.to_string(),
                "ms",
                "time for reports to enter a block before the boundary",
            ),
            row("term_epochs", self.term_epochs.to_string(), "epochs", "how long a committee keeps its seats"),
            row(
                "hours_per_epoch",
                self.hours_per_epoch.to_string(),
                "hours",
                "risk, reliability and patience are thought of in hours",
            ),
            row("soft_millis", self.soft_millis.to_string(), "ms", "an answer that readers would have waited for"),
            row("hard_millis", self.hard_millis.to_string(), "ms", "an answer that shows that the bytes are there"),
            row("price", self.price.to_string(), "FROST per MiB and epoch", "what defence costs until offers move it"),
            row("fee_per_byte", self.fee_per_byte.to_string(), "FROST per byte", "blocks are not free to fill"),
            row("fee_per_run", self.fee_per_run.to_string(), "FROST per run", "each run may split the map of coverage"),
            row(
                "paid_ahead_max",
                self.paid_ahead_max.to_string(),
                "epochs",
                "a year of hours; buckets of the fund are bounded",
            ),
            row("certify_within", self.certify_within.to_string(), "epochs", "an upload that takes longer has failed"),
            row("blob_bytes_max", self.blob_bytes_max.to_string(), "bytes", "bounds the spool of a gateway"),
            row(
                "drift_millis_max",
                self.drift_millis_max.to_string(),
                "ms",
                "block time may not run ahead of voters' clocks",
            ),
            row(
                "election_epochs",
                self.election_epochs.to_string(),
                "epochs",
                "time to hand fragments over before seats change",
            ),
            row("stake_min", self.stake_min.to_string(), "FROST", "a seat costs something to lose"),
            row("seat_stake", self.seat_stake.to_string(), "FROST per seat", "what the first members answer with"),
            row(
                "former_epochs",
                self.former_epochs.to_string(),
                "epochs",
                "how long a departed holder's copy is counted on, and its stake kept",
            ),
            row(
                "invalid_bond",
                self.invalid_bond.to_string(),
                "FROST",
                "a claim that too few members checked costs a pairing everywhere",
            ),
            row(
                "pay_pause",
                self.pay_pause.to_string(),
                "epochs",
                "who drops fragments and fetches them gains nothing",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_within_their_own_ranges() {
        for shards in [4, 7, 28, 100, 1000] {
            assert_eq!(Params::standard(shards).check(), Ok(()));
            assert_eq!(Params::devnet(shards, 3_000).check(), Ok(()));
            assert_eq!(Params::devnet(shards, 1_000).check(), Ok(()));
        }
    }

    #[test]
    fn whatever_the_epoch_what_happens_in_it_fits() {
        for epoch_millis in [1_000, 3_000, 6_000, 60_000, 3_600_000, 86_400_000] {
            assert_eq!(Params::standard(28).with_epoch(epoch_millis).check(), Ok(()), "{epoch_millis}");
        }
    }

    #[test]
    fn thresholds_of_the_devnet_are_those_of_the_design() {
        let params = Params::devnet(28, 15_000);
        assert_eq!((params.faulty(), params.readable(), params.quorum()), (9, 10, 19));
    }

    #[test]
    fn a_target_is_asked_thirteen_times_in_a_slot_and_by_everybody() {
        let asked = [1, 2, 4, 7, 10, 13, 14, 100, 1024].map(challenges_per_slot);
        assert_eq!(asked, [13, 13, 5, 3, 2, 2, 1, 1, 1]);
    }

    #[test]
    fn terms_follow_from_epochs_alone() {
        let params = Params::devnet(28, 15_000);
        let terms = [0u64, 1, 4, 5, 8, 9].map(|epoch| params.term_of(Epoch(epoch)));
        assert_eq!(terms, [1, 1, 1, 2, 2, 3]);
        assert_eq!((params.term_ends(1), params.election_of(1)), (Epoch(4), Epoch(3)));
        assert_eq!(params.unbonding(), EpochCount(9));
        assert_eq!([4u16, 7, 28].map(|shards| Params::devnet(shards, 15_000).moves_by_choice()), [1, 1, 4]);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let good = Params::devnet(28, 15_000);
        let cases: [(Params, &str); 14] = [
            (Params { hours_per_epoch: 0, ..good.clone() }, "hours_per_epoch"),
            (Params { soft_millis: good.hard_millis, ..good.clone() }, "soft_millis"),
            (Params { hard_millis: good.slot_millis(), ..good.clone() }, "hard_millis"),
            (Params { price: Frost(0), ..good.clone() }, "price"),
            (Params { shards: 3, ..good.clone() }, "shards"),
            (Params { epoch_millis: 999, ..good.clone() }, "epoch_millis"),
            (Params { closing_millis: 7_501, ..good.clone() }, "closing_millis"),
            (Params { drift_millis_max: 0, ..good.clone() }, "drift_millis_max"),
            (Params { election_epochs: EpochCount(5), ..good.clone() }, "election_epochs"),
            (Params { stake_min: Frost::ZERO, ..good.clone() }, "stake_min"),
            (Params { seat_stake: Frost(1), ..good.clone() }, "seat_stake"),
            (Params { former_epochs: EpochCount(0), ..good.clone() }, "former_epochs"),
            (Params { invalid_bond: Frost::ZERO, ..good.clone() }, "invalid_bond"),
            (Params { pay_pause: EpochCount(1_001), ..good.clone() }, "pay_pause"),
        ];
        for (params, name) in cases {
            assert_eq!(params.check().unwrap_err().name, name);
        }
    }
}
