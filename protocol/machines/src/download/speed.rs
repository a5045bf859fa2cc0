//! How fast holders have been, smoothed: what a read chooses by. Shared by all reads of a gateway.

use floe_types::NodeId;
use std::collections::BTreeMap;

/// Holders remembered; more than the largest committee. Beyond it the one with the smallest id is forgotten.
const HOLDERS_MAX: usize = 2_048;
/// The weight of a new measurement is one in this many.
const SMOOTHING: u64 = 4;
/// What is assumed of a holder that was never asked.
const UNKNOWN: Speed = Speed { latency_millis: 20, bytes_per_second: 50_000_000 };
/// What one failure adds to a holder's latency: it is asked later, not never.
const FAILURE_MILLIS: u64 = 2_000;

/// How fast a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Milliseconds from the request to the answer's header.
    pub latency_millis: u64,
    /// Bytes a second after that. At least one.
    pub bytes_per_second: u64,
}

impl Speed {
    /// Milliseconds that `bytes` are expected to take.
    #[must_use]
    pub fn expected_millis(&self, bytes: u64) -> u64 {
        let moving = u128::from(bytes) * 1_000 / u128::from(self.bytes_per_second.max(1));
        self.latency_millis.saturating_add(u64::try_from(moving).unwrap_or(u64::MAX))
    }
}

/// The speeds of holders.
#[derive(Clone, Debug, Default)]
pub struct SpeedBook {
    holders: BTreeMap<NodeId, Speed>,
}

impl SpeedBook {
    /// What to expect of `holder`.
    #[must_use]
    pub fn speed(&self, holder: &NodeId) -> Speed {
        self.holders.get(holder).copied().unwrap_or(UNKNOWN)
    }

    /// An answer's header came after `latency_millis`, and its `bytes` after `moving_millis` more.
    pub fn measured(&mut self, holder: NodeId, latency_millis: u64, bytes: u64, moving_millis: u64) {
        let rate = bytes.saturating_mul(1_000) / moving_millis.max(1);
        let old = self.speed(&holder);
        // Few bytes say nothing about the rate.
        let rate = if bytes < 64 << 10 { old.bytes_per_second } else { rate };
        self.set(holder, |old| Speed {
            latency_millis: smooth(old.latency_millis, latency_millis),
            bytes_per_second: smooth(old.bytes_per_second, rate).max(1),
        });
    }

    /// An exchange failed, was refused, or brought the wrong bytes.
    pub fn failed(&mut self, holder: NodeId) {
        self.set(holder, |old| Speed {
            latency_millis: smooth(old.latency_millis, old.latency_millis.saturating_add(FAILURE_MILLIS)),
            ..old
        });
    }

    fn set(&mut self, holder: NodeId, new: impl FnOnce(Speed) -> Speed) {
        let speed = new(self.speed(&holder));
        self.holders.insert(holder, speed);
        if self.holders.len() > HOLDERS_MAX {
            self.holders.pop_first();
        }
    }
}

fn smooth(old: u64, new: u64) -> u64 {
    (old / SMOOTHING)
        .saturating_mul(SMOOTHING - 1)
        .saturating_add(new / SMOOTHING)
        .saturating_add(((old % SMOOTHING) * (SMOOTHING - 1) + new % SMOOTHING) / SMOOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_smoothed_and_failures_fade() {
        let (mut book, holder) = (SpeedBook::default(), NodeId([1; 32]));
        assert_eq!(book.speed(&holder), UNKNOWN);
        for _ in 0..40 {
            book.measured(holder, 100, 1 << 20, 1_000);
        }
        let speed = book.speed(&holder);
        assert!((97..=100).contains(&speed.latency_millis), "{speed:?}");
        assert!((1_000_000..1_100_000).contains(&speed.bytes_per_second), "{speed:?}");
        book.failed(holder);
        assert!(book.speed(&holder).latency_millis >= 590);
        for _ in 0..40 {
            book.measured(holder, 100, 10, 1);
        }
        assert!(book.speed(&holder).latency_millis <= 104, "few bytes still tell the latency");
        assert!(book.speed(&holder).bytes_per_second > 1_000_000, "and nothing about the rate");
    }

    #[test]
    fn smoothing_stays_between_and_never_overflows() {
        for (old, new) in [(0, 0), (7, 7), (u64::MAX, u64::MAX), (0, u64::MAX), (3, 10)] {
            let smoothed = smooth(old, new);
            assert!(smoothed >= old.min(new) && smoothed <= old.max(new), "{old} {new} {smoothed}");
        }
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = SpeedBook::default();
        for seed in 0..3_000u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&seed.to_be_bytes());
            book.failed(NodeId(id));
        }
        assert_eq!(book.holders.len(), HOLDERS_MAX);
    }
}
