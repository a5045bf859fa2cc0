//! The limits of an upload. One gateway's choice.

use floe_types::EpochCount;

/// Limits and waits of [`super::Upload`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Exchanges with holders at the same time. Each costs the shell one buffer.
    pub streams_max: usize,
    /// Of these, with one holder: as many as hold most members' shards, so that a holder syncs them together.
    pub streams_per_holder_max: usize,
    /// How long an exchange may take at least, whatever its size: above the time a holder parks an offer.
    pub transfer_millis_min: u64,
    /// The slowest holder that is waited for, in bytes a second, after that.
    pub transfer_rate_min: u64,
    /// The first wait after a failure; doubled with each.
    pub backoff_millis_min: u64,
    /// The longest wait after a failure.
    pub backoff_millis_max: u64,
    /// How long confirmations of the rest are waited for at least when there are enough. See [`super::Upload`].
    pub grace_millis_min: u64,
    /// How long at most.
    pub grace_millis_max: u64,
    /// When a certificate that was submitted and not decided is submitted again.
    pub certify_again_millis: u64,
    /// When an upload without a certificate is given up: a network that cannot decide has no epochs to count.
    pub give_up_millis: u64,
    /// Epochs after that of the certificate in which missing holders are still sent to.
    pub finish_epochs: EpochCount,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            streams_max: 64,
            streams_per_holder_max: 8,
            transfer_millis_min: 10_000,
            transfer_rate_min: 16 << 10,
            backoff_millis_min: 100,
            backoff_millis_max: 30_000,
            grace_millis_min: 50,
            grace_millis_max: 10_000,
            certify_again_millis: 10_000,
            give_up_millis: 600_000,
            finish_epochs: EpochCount(1),
        }
    }
}

impl Config {
    /// Milliseconds to wait after `attempts` failures, between half of and the whole doubled wait, by a keyed hash: equal
    /// seeds wait equally, different uploads spread.
    pub(super) fn backoff(&self, seed: u64, what: u64, attempts: u32) -> u64 {
        let doubled = self.backoff_millis_min.saturating_mul(1 << attempts.min(20));
        let whole = doubled.min(self.backoff_millis_max).max(1);
        let bytes = floe_types::codec::encode(&(seed, what, attempts));
        let hash = floe_types::codec::hash("floe 1 upload: jitter", &bytes);
        let [a, b, c, d, ..] = hash;
        let drawn = u64::from(u32::from_le_bytes([a, b, c, d]));
        whole - drawn % (whole / 2 + 1)
    }
}
