//! What one operator may choose about serving fragments, beside the limits of the machine.

/// Choices of the fragments actor.
#[derive(Clone, Debug)]
pub struct Config {
    /// Limits and waits of the machine.
    pub custody: floe_machines::custody::Config,
    /// Threads for disk and verification. Four: two may wait for the disk while two verify.
    pub threads: usize,
    /// Exchanges at a time, parked and refused ones included. One more is closed unanswered.
    pub exchanges_max: usize,
    /// Pause before each fragment that is moved to a later group: moving is never in a hurry.
    pub refile_pause_millis: u64,
    /// Percent of what fragments may use: above it what is forgotten goes at once.
    pub full_percent: u8,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            custody: floe_machines::custody::Config::default(),
            threads: 4,
            exchanges_max: 512,
            refile_pause_millis: 20,
            full_percent: 85,
        }
    }
}

/// Messages that wait for the actor: each exchange has at most one on its way, and the ledger a few.
pub const MAILBOX_MAX: usize = 1_024;
