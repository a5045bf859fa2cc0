//! Points and lengths that the protocol counts. A point is not a length, and arithmetic is checked.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

counted!(
    /// A point in the network's time: the epoch with this number. The first is 1; 0 is "before the network".
    Epoch
);
counted!(
    /// A length in epochs.
    EpochCount
);
counted!(
    /// The number of a block. Genesis is height 0 and has no block; the first block is height 1.
    Height
);
counted!(
    /// The place of a certified blob in the order of certification, from 0.
    SequenceNumber
);
counted!(
    /// An amount in FROST, 10^9 of which are one WAL. Never negative.
    Frost
);
counted!(
    /// A block's time: milliseconds since 1970-01-01 UTC. The only clock that decides anything.
    BlockTime
);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }

    /// The epoch `count` after this one; `None` when there is no such number.
    #[must_use]
    pub fn checked_add(self, count: EpochCount) -> Option<Epoch> {
        self.0.checked_add(count.0).map(Epoch)
    }
}

impl Height {
    /// The height after this one.
    #[must_use]
    pub fn next(self) -> Height {
        Height(self.0.saturating_add(1))
    }
}

/// FROST in one WAL.
pub const FROST_PER_WAL: u64 = 1_000_000_000;

impl Frost {
    /// Nothing.
    pub const ZERO: Frost = Frost(0);

    /// The sum; `None` when it would pass the largest amount.
    #[must_use]
    pub fn checked_add(self, other: Frost) -> Option<Frost> {
        self.0.checked_add(other.0).map(Frost)
    }

    /// The difference; `None` when `other` is the larger.
    #[must_use]
    pub fn checked_sub(self, other: Frost) -> Option<Frost> {
        self.0.checked_sub(other.0).map(Frost)
    }

    /// The difference, nothing when `other` is the larger.
    #[must_use]
    pub fn saturating_sub(self, other: Frost) -> Frost {
        Frost(self.0.saturating_sub(other.0))
    }

    /// The amount `times` over; `None` when it would pass the largest amount.
    #[must_use]
    pub fn checked_mul(self, times: u64) -> Option<Frost> {
        self.0.checked_mul(times).map(Frost)
    }
}

impl BlockTime {
    /// This time moved forward.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> BlockTime {
        BlockTime(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time, zero when it is not earlier.
    #[must_use]
    pub fn millis_since(self, earlier: BlockTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Bytes of a mebibyte.
pub const MEBIBYTE: u64 = 1 << 20;

/// Whole mebibytes that hold `bytes`, rounded up: the unit in which storage is priced.
#[must_use]
pub fn mebibytes_up(bytes: u64) -> u64 {
    bytes.div_ceil(MEBIBYTE)
}
