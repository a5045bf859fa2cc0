//! What one operator may choose about filling shards.

/// Limits of a node's hand-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Fetches at a time, in all. Each holds a stream and, while it is staged, the fragment.
    pub fetches_max: usize,
    /// Fetches at a time from one node: its readers come first.
    pub fetches_per_node_max: usize,
    /// Bytes on their way at a time; one fragment above it still goes, alone.
    pub bytes_in_flight_max: u64,
    /// Bytes a second over time: consensus and readers need the rest of the line.
    pub bytes_per_second: u64,
    /// Gaps read from the ledger at a time.
    pub page: usize,
    /// How often each source of a gap is asked in a pass.
    pub attempts_max: usize,
    /// How long after a broken exchange the gap is tried again.
    pub broken_millis: u64,
    /// How long after a pass that left something to hope for the next one begins.
    pub pass_millis: u64,
}

impl Default for Config {
    /// Eight fetches, two of one node, 64 MiB in flight, 100 MB/s: a shard of 1 TB takes three hours.
    fn default() -> Config {
        Config {
            fetches_max: 8,
            fetches_per_node_max: 2,
            bytes_in_flight_max: 64 << 20,
            bytes_per_second: 100_000_000,
            page: 256,
            attempts_max: 3,
            broken_millis: 1_000,
            pass_millis: 10_000,
        }
    }
}
