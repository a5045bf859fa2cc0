//! The limits of a read. One gateway's choice.

use super::{Speed, Trouble};
use crate::wire::fragment::RETRY_MILLIS_MAX;

/// Limits and waits of [`super::Download`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Slivers asked for at the same time. Each costs the shell one buffer.
    pub asks_max: usize,
    /// Of these, of one holder.
    pub asks_per_holder_max: usize,
    /// Slivers asked for beyond the `p` that are needed, because an answer was slow. Failures are not counted here.
    pub hedges_max: usize,
    /// The shortest delay before a hedge: below it ordinary jitter would double the traffic.
    pub hedge_millis_min: u64,
    /// The longest delay before a hedge.
    pub hedge_millis_max: u64,
    /// An exchange that moved nothing for so long has failed.
    pub stall_millis: u64,
    /// Times one sliver is asked for.
    pub attempts_max: u32,
    /// What decoding costs more than copying, as milliseconds a sliver: a parity sliver is preferred to a systematic one
    /// only when its holder is faster by more than this.
    pub parity_penalty_millis: u64,
}

impl Config {
    /// How long after its request an answer of `bytes` bytes is late, of a holder of this speed: three times what is
    /// expected, or sooner when `typical` says so, within the limits of hedging.
    pub(super) fn late_after(&self, speed: Speed, bytes: u64, typical: Option<u64>) -> u64 {
        let expected = speed.expected_millis(bytes).saturating_mul(3);
        let late = typical.map_or(expected, |typical| expected.min(typical));
        late.clamp(self.hedge_millis_min, self.hedge_millis_max)
    }

    /// How long a holder is left alone that gave this instead of an answer; none when it is not asked again.
    pub(super) fn retry_after(&self, trouble: Trouble) -> Option<u64> {
        match trouble {
            Trouble::Wrong | Trouble::NotThere => None,
            Trouble::Later { after_millis } => Some(after_millis.min(RETRY_MILLIS_MAX).into()),
            // Others first: a holder that just broke is asked again only when nobody else is left.
            Trouble::Broken => Some(self.hedge_millis_min.saturating_mul(4)),
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            asks_max: 64,
            asks_per_holder_max: 8,
            hedges_max: 8,
            hedge_millis_min: 50,
            hedge_millis_max: 3_000,
            stall_millis: 10_000,
            attempts_max: 3,
            parity_penalty_millis: 100,
        }
    }
}
