//! What one operator may choose about the store. Composed into the node's configuration.
//!
//! Memory: `cache_bytes` + at most 1.4 x `buffer_bytes` of write buffers + `stages_max` x 256 KiB of fragments arriving
//! + some 20 KiB for each of `open_files_max`. With the defaults that is 64 + 224 + 64 + 10 MiB; ordinary use is about half.

use serde::{Deserialize, Serialize};

/// Choices of the operator. Every field has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Bytes of blocks kept in memory for reading, over all columns. Default 64 MiB, at least 1 MiB.
    pub cache_bytes: u64,
    /// Bytes written but not yet sorted into files, over all columns; also the length of the log that a start reads
    /// back. Default 160 MiB, at least 4 MiB. A quarter of it is the size of a file of fragments.
    pub buffer_bytes: u64,
    /// Files held open. Default 512, at least 64. The node needs descriptors for its peers too.
    pub open_files_max: u32,
    /// Threads that sort and merge files. Default 2.
    pub background_threads: u32,
    /// Free bytes that fragments must leave for votes and metadata. Default 1 GiB, at least twice `buffer_bytes`: what
    /// is in the log is written a second time when it is sorted, and a full disk is left only through that.
    pub reserve_bytes: u64,
    /// Percent of the disk that fragments must leave, in addition. Default 5, at most 90.
    pub reserve_percent: u32,
    /// The most bytes of fragments to keep; `None` for what the disk holds. Default `None`.
    pub fragment_bytes_max: Option<u64>,
    /// The most fragments arriving at a time. Default 256.
    pub stages_max: u32,
    /// The most unfinished uploads remembered. Default 10,000.
    pub uploads_max: u32,
    /// What to do when acknowledged writes are missing. Default: refuse to open.
    pub lost_writes: LostWrites,
}

/// What to do at opening when the disk has lost writes that it had acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWrites {
    /// Refuse: this node may have voted and confirmed what it no longer remembers.
    #[default]
    Refuse,
    /// Open with what is left. Only for a node that has given up its vote key.
    Accept,
}

/// A choice outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store setting {field} must be {allowed}")]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What is allowed.
    pub allowed: &'static str,
}

const MIB: u64 = 1 << 20;

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            cache_bytes: 64 * MIB,
            buffer_bytes: 160 * MIB,
            open_files_max: 512,
            background_threads: 2,
            reserve_bytes: 1024 * MIB,
            reserve_percent: 5,
            fragment_bytes_max: None,
            stages_max: 256,
            uploads_max: 10_000,
            lost_writes: LostWrites::Refuse,
        }
    }
}

impl StoreConfig {
    /// The least that works, for tests and for many nodes on one machine: about 20 MiB of memory, a reserve of 32 MiB.
    #[must_use]
    pub fn small() -> StoreConfig {
        StoreConfig {
            cache_bytes: 4 * MIB,
            buffer_bytes: 16 * MIB,
            open_files_max: 128,
            reserve_bytes: 32 * MIB,
            reserve_percent: 0,
            stages_max: 64,
            ..StoreConfig::default()
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let check = |ok: bool, field, allowed| if ok { Ok(()) } else { Err(ConfigError { field, allowed }) };
        check((MIB..=1 << 40).contains(&self.cache_bytes), "cache_bytes", "from 1 MiB to 1 TiB")?;
        check((4 * MIB..=16 << 30).contains(&self.buffer_bytes), "buffer_bytes", "from 4 MiB to 16 GiB")?;
        check((64..=1_000_000).contains(&self.open_files_max), "open_files_max", "from 64 to 1000000")?;
        check((1..=64).contains(&self.background_threads), "background_threads", "from 1 to 64")?;
        check(
            self.reserve_bytes >= 2 * self.buffer_bytes && self.reserve_bytes <= 1 << 50,
            "reserve_bytes",
            "at least twice buffer_bytes and at most 1 PiB",
        )?;
        check(self.reserve_percent <= 90, "reserve_percent", "from 0 to 90")?;
        check((1..=65_536).contains(&self.stages_max), "stages_max", "from 1 to 65536")?;
        check((1..=1_000_000).contains(&self.uploads_max), "uploads_max", "from 1 to 1000000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_and_the_least_are_in_range() {
        assert_eq!(StoreConfig::default().check(), Ok(()));
        assert_eq!(StoreConfig::small().check(), Ok(()));
    }

    #[test]
    fn a_reserve_too_small_to_recover_in_is_refused() {
        let config = StoreConfig { reserve_bytes: 1, ..StoreConfig::default() };
        assert_eq!(config.check().map_err(|error| error.field), Err("reserve_bytes"));
    }
}
