//! What one operator may choose about a gateway, beside the limits of its machines.

use std::time::Duration;

/// Choices of the gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Limits and waits of an upload's machine.
    pub upload: floe_machines::upload::Config,
    /// Limits and waits of a read's machine.
    pub download: floe_machines::download::Config,
    /// Threads for coding. Two: one large blob does not hold up a small one.
    pub coding_threads: usize,
    /// Threads for the spool and for hashing what is read.
    pub spool_threads: usize,
    /// Stores at a time whose client waits.
    pub stores_max: usize,
    /// Certified uploads at a time that go on sending to late holders. One more leaves them to repair.
    pub finishing_max: usize,
    /// Reads at a time.
    pub reads_max: usize,
    /// Slivers of a read are kept in memory when they have fewer bytes together, else in a file.
    pub read_memory_bytes: u64,
    /// How long a registration is waited for before the client is told that its outcome is not known.
    pub register_wait: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            upload: floe_machines::upload::Config::default(),
            download: floe_machines::download::Config::default(),
            coding_threads: 2,
            spool_threads: 3,
            stores_max: 64,
            finishing_max: 256,
            reads_max: 128,
            read_memory_bytes: 1 << 20,
            register_wait: Duration::from_secs(60),
        }
    }
}

/// Requests that wait for the actor.
pub const MAILBOX_MAX: usize = 256;
