//! The limits of a read. One gateway's choice.

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
