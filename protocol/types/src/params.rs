//! What all nodes of a network must agree on. Written into genesis; nothing here is one operator's choice.
//!
//! Times are in milliseconds where they are real time and in epochs where the protocol counts. The table of
//! [`Params::describe`] is what `floe genesis show` prints: name, value, unit and reason stand together once.

use crate::units::{Epoch, EpochCount, Frost};
use serde::{Deserialize, Serialize};

/// The largest number of shards: what GF(2^16) allows, less room for none at all.
pub const SHARDS_MAX: u16 = 1024;
/// The most members of a committee. Bitmaps of members and reports are sized by it.
pub const MEMBERS_MAX: usize = 1024;
/// The longest block in bytes. A proposal with its block travels as one gossip message.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;
/// The longest transaction in bytes: a report of 1,024 members with room to spare.
pub const TRANSACTION_BYTES_MAX: usize = 16 << 10;
/// The longest attributes of a blob in bytes, all keys and values together.
pub const ATTRIBUTES_BYTES_MAX: usize = 1 << 10;

const _: () =
    assert!(TRANSACTION_BYTES_MAX * 8 <= BLOCK_BYTES_MAX, "a block holds several of the longest transactions");

/// The parameters of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Logical places `n` that keep one fragment of every blob each. Fixed for the life of a network.
    pub shards: u16,
    /// The least time from the block that begins an epoch to the block that ends it.
    pub epoch_millis: u64,
    /// The last part of an epoch, in which members report. Shorter than half an epoch.
    pub closing_millis: u64,
    /// Epochs in a committee's term.
    pub term_epochs: EpochCount,
    /// Status requests each member sends each other member in one epoch. A member that answers more than half of them
    /// is reported as having answered.
    pub status_requests: u32,
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
            status_requests: 12,
            price: Frost(1_000),
            fee_per_byte: Frost(10),
            fee_per_run: Frost(1_000),
            paid_ahead_max: EpochCount(8_766),
            certify_within: EpochCount(1),
            blob_bytes_max: 4 << 30,
            drift_millis_max: 30_000,
        }
    }

    /// The parameters of a network on one machine: epochs of seconds, no fee, so that amounts are easy to follow.
    ///
    /// The closing is a fifth of the epoch, at least 300 ms.
    #[must_use]
    pub fn devnet(shards: u16, epoch_millis: u64) -> Params {
        Params {
            epoch_millis,
            closing_millis: (epoch_millis / 5).max(300),
            term_epochs: EpochCount(4),
            status_requests: 6,
            fee_per_byte: Frost(0),
            fee_per_run: Frost(0),
            ..Params::standard(shards)
        }
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
        if !(1..=1_000).contains(&self.status_requests) {
            return refuse("status_requests", "must be from 1 to 1000");
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

    /// Whether `epoch` is the last of a term. Terms are counted from epoch 1.
    #[must_use]
    pub fn ends_term(&self, epoch: Epoch) -> bool {
        epoch.0 > 0 && epoch.0.is_multiple_of(self.term_epochs.0.max(1))
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
                "status_requests",
                self.status_requests.to_string(),
                "per epoch and pair",
                "one lost answer must not make a member absent",
            ),
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
        }
    }

    #[test]
    fn thresholds_of_the_devnet_are_those_of_the_design() {
        let params = Params::devnet(28, 15_000);
        assert_eq!((params.faulty(), params.readable(), params.quorum()), (9, 10, 19));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let good = Params::devnet(28, 15_000);
        let cases: [(Params, &str); 6] = [
            (Params { price: Frost(0), ..good.clone() }, "price"),
            (Params { shards: 3, ..good.clone() }, "shards"),
            (Params { epoch_millis: 999, ..good.clone() }, "epoch_millis"),
            (Params { closing_millis: 7_501, ..good.clone() }, "closing_millis"),
            (Params { status_requests: 0, ..good.clone() }, "status_requests"),
            (Params { drift_millis_max: 0, ..good.clone() }, "drift_millis_max"),
        ];
        for (params, name) in cases {
            assert_eq!(params.check().unwrap_err().name, name);
        }
    }
}
