//! The limits of a holder. One operator's choice; nothing here needs to agree with others.

use floe_types::EpochCount;

/// Limits and waits of [`super::Custody`]. Milliseconds where a field says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Fragments on their way in at the same time. Each costs the shell a buffer.
    pub arrivals_max: usize,
    /// Of these, from one peer. An uploader sends at most all shards of a holder at once.
    pub arrivals_per_peer_max: usize,
    /// Bytes of fragments accepted and not yet kept. One fragment alone may be larger: somebody must be able to store
    /// the largest blob.
    pub staged_bytes_max: u64,
    /// Offers that wait for their registration to reach this node's ledger.
    pub parked_max: usize,
    /// How long such an offer waits: a few block times.
    pub park_millis: u64,
    /// How long a verified fragment waits for its siblings, to share one sync with them.
    pub keep_linger_millis: u64,
    /// How long an exchange may take at least, whatever its size.
    pub transfer_millis_min: u64,
    /// The slowest peer that is waited for, in bytes a second, after that.
    pub transfer_rate_min: u64,
    /// Confirmations being made durable at the same time.
    pub confirmations_max: usize,
    /// Slivers served at the same time.
    pub reads_max: usize,
    /// Of these, those that only members may use.
    pub reads_reserved: usize,
    /// Of all, to one peer.
    pub reads_per_peer_max: usize,
    /// Bytes of slivers being served at the same time; one alone may be larger.
    pub read_bytes_max: u64,
    /// Of these, to one peer; one alone may be larger.
    pub read_bytes_per_peer_max: u64,
    /// What a peer is told to wait when a limit is reached.
    pub busy_retry_millis: u32,
    /// What a peer is told to wait whose right this node's ledger does not show: a few block times, after which one that is
    /// behind has caught up.
    pub right_retry_millis: u32,
    /// What a peer is told to wait when the disk is full or failed.
    pub full_retry_millis: u32,
    /// Epochs for which fragments are kept after their term, as `reclaimable`.
    pub reclaim_after: EpochCount,
    /// Records looked at, and at most refiled, at a time before a group is dropped: the pace of refiling.
    pub refile_page: usize,
    /// How long an attestation waits for more to go with it.
    pub attest_debounce_millis: u64,
    /// Runs in one attestation; at most [`floe_ledger::transaction::ATTEST_RUNS_MAX`], which bounds its transaction.
    pub attest_runs_max: usize,
    /// Blobs being looked up for attestation at the same time.
    pub lookups_max: usize,
    /// Blobs looked up in one epoch's sweep at most; the next goes on where it ended.
    pub sweep_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            arrivals_max: 64,
            arrivals_per_peer_max: 32,
            staged_bytes_max: 1 << 30,
            parked_max: 256,
            park_millis: 2_000,
            keep_linger_millis: 5,
            transfer_millis_min: 5_000,
            transfer_rate_min: 16 << 10,
            confirmations_max: 64,
            reads_max: 128,
            reads_reserved: 32,
            reads_per_peer_max: 32,
            read_bytes_max: 1 << 30,
            read_bytes_per_peer_max: 256 << 20,
            busy_retry_millis: 250,
            right_retry_millis: 1_000,
            full_retry_millis: 10_000,
            reclaim_after: EpochCount(24),
            refile_page: 4,
            attest_debounce_millis: 500,
            attest_runs_max: floe_ledger::transaction::ATTEST_RUNS_MAX,
            lookups_max: 64,
            sweep_max: 4_096,
        }
    }
}

impl Config {
    /// When an exchange of `bytes` that begins at `now` has been too slow.
    pub(super) fn deadline(&self, now: u64, bytes: u64) -> u64 {
        let moving = (bytes / self.transfer_rate_min.max(1)).saturating_mul(1_000);
        now.saturating_add(self.transfer_millis_min).saturating_add(moving)
    }
}
