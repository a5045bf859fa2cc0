//! What one operator may choose about rebuilding.

use floe_ledger::transaction::ATTEST_RUNS_MAX;

/// Limits of a node's repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Fragments rebuilt at a time. Each has a scratch and, while it is computed, a core.
    pub jobs_max: usize,
    /// Bytes of scratch in all; one fragment alone may need more: somebody must be able to rebuild the largest blob's.
    pub scratch_bytes_max: u64,
    /// Fetches at a time, in all. Each holds a stream.
    pub fetches_max: usize,
    /// Fetches at a time from one node: its readers come first.
    pub fetches_per_node_max: usize,
    /// Bytes on their way at a time; one fetch above it still goes, alone.
    pub bytes_in_flight_max: u64,
    /// Bytes a second over time, of all that is fetched, wanted in the end or not: consensus and readers need the rest of the
    /// line.
    pub bytes_per_second: u64,
    /// Fragments read from the ledger at a time. Each names its helpers, at most a few rows for each shard.
    pub page: usize,
    /// How often each helper is asked for one thing.
    pub attempts_max: usize,
    /// How long after a broken exchange a helper is asked again.
    pub broken_millis: u64,
    /// How long after a pass that left something to hope for the next one begins.
    pub pass_millis: u64,
    /// How long an attestation waits for more to go with it.
    pub attest_debounce_millis: u64,
    /// Runs in one attestation; at most [`ATTEST_RUNS_MAX`].
    pub attest_runs_max: usize,
}

impl Default for Config {
    /// Two fragments at a time, sixteen fetches of which two are of one node, 64 MiB in flight, 50 MB/s, 16 GiB of scratch.
    fn default() -> Config {
        Config {
            jobs_max: 2,
            scratch_bytes_max: 16 << 30,
            fetches_max: 16,
            fetches_per_node_max: 2,
            bytes_in_flight_max: 64 << 20,
            bytes_per_second: 50_000_000,
            page: 64,
            attempts_max: 3,
            broken_millis: 1_000,
            pass_millis: 10_000,
            attest_debounce_millis: 2_000,
            attest_runs_max: ATTEST_RUNS_MAX,
        }
    }
}
