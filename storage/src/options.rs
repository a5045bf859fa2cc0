//! How RocksDB is told to keep each column, and what that costs in memory.
//!
//! - **Fragments** are long, random bytes that arrive once, are read now and then and are dropped by group: they lie in
//!   blob files beside the tree, uncompressed, so that sorting moves only their keys.
//! - **State and blocks** compress: LZ4.
//! - **Everything else** is small.
//!
//! Moving fragments together (garbage collection of blob files) is off until more than a quarter of their bytes is
//! garbage, see [`crate::fragments`]: left on it would rewrite whole files for nothing, and what it never reads cannot
//! stop it with damage.
//!
//! # The database's log after a crash
//! It is read up to the first record that is torn or damaged and the rest is dropped (*point in time*). The stricter
//! modes would refuse to start after every loss of power, because the unsynced end of the log, fragments arriving, is
//! torn as a rule and not as an exception. What was acknowledged is synced, so it lies before that point unless the disk
//! lost it; that the disk lost nothing is checked by [`crate::mark`], and each confirmation against its fragments by
//! [`crate::check`].

use crate::columns::Column;
use crate::config::StoreConfig;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DataBlockIndexType, LogLevel, Options, WriteOptions,
};

/// Values of this length and more lie in blob files. Below it a file of their own costs more than moving them.
const BLOB_BYTES_MIN: u64 = 4096;
/// The longest file of fragments; most are one write buffer long.
const BLOB_FILE_BYTES: u64 = 256 << 20;
/// Blocks of a file: what is read, checked and unpacked for one entry that is not in memory.
const BLOCK_BYTES: usize = 16 << 10;
/// Those of the state, of which a block of transactions wants tens of thousands of entries here and there: less to read, check
/// and unpack for each. With the pieces of indexes below a million blobs take 258 bytes each instead of 247.
const STATE_BLOCK_BYTES: usize = 4 << 10;
/// Blocks of indexes and filters.
const METADATA_BLOCK_BYTES: usize = 4 << 10;
/// The database's own account of what it does: four files of 4 MiB.
const LOG_BYTES_MAX: usize = 4 << 20;
const LOG_FILES: usize = 4;
/// The disk is told to begin writing after so many bytes, so that a sync for a vote never waits for a long backlog.
const SYNC_STEP_BYTES: u64 = 1 << 20;

/// Buffers of fragments: one filling, the others on their way to disk. Arrivals wait at two (see `fragments`), so that a
/// vote never does.
pub(crate) const FRAGMENT_BUFFERS: i32 = 4;

fn to_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Options of the database as a whole.
pub(crate) fn database(config: &StoreConfig) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_open_files(i32::try_from(config.open_files_max).unwrap_or(i32::MAX));
    options.set_max_background_jobs(i32::try_from(config.background_threads).unwrap_or(2).max(2));
    options.set_db_write_buffer_size(to_size(config.buffer_bytes));
    options.set_max_total_wal_size(config.buffer_bytes);
    options.set_bytes_per_sync(SYNC_STEP_BYTES);
    options.set_wal_bytes_per_sync(SYNC_STEP_BYTES);
    options.set_max_log_file_size(LOG_BYTES_MAX);
    options.set_keep_log_file_num(LOG_FILES);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// Every column with its options.
pub(crate) fn columns(config: &StoreConfig, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let mut all: Vec<_> = Column::ALL
        .iter()
        .map(|column| ColumnFamilyDescriptor::new(column.name(), of(*column, config, cache)))
        .collect();
    // RocksDB's own column, which it insists on. Nothing is in it.
    all.push(ColumnFamilyDescriptor::new("default", small(config, cache)));
    all
}

fn of(column: Column, config: &StoreConfig, cache: &Cache) -> Options {
    let mut options = small(config, cache);
    match column {
        Column::FragmentData => {
            options.set_write_buffer_size(to_size(config.buffer_bytes / 4));
            options.set_max_write_buffer_number(FRAGMENT_BUFFERS);
            options.set_enable_blob_files(true);
            options.set_min_blob_size(BLOB_BYTES_MIN);
            options.set_blob_file_size(BLOB_FILE_BYTES);
            options.set_blob_compression_type(DBCompressionType::None);
            options.set_enable_blob_gc(false);
            options.set_blob_gc_age_cutoff(0.5);
            options.set_blob_gc_force_threshold(0.25);
        }
        Column::State => {
            options.set_write_buffer_size(to_size(config.buffer_bytes / 16));
            options.set_compression_type(DBCompressionType::Lz4);
            let mut table = tables(cache, STATE_BLOCK_BYTES);
            // Entries are asked for by their keys, ten and more for each transaction.
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            table.set_data_block_hash_ratio(0.75);
            options.set_block_based_table_factory(&table);
        }
        Column::History => {
            options.set_write_buffer_size(to_size(config.buffer_bytes / 16));
            options.set_compression_type(DBCompressionType::Lz4);
        }
        Column::Blocks => {
            options.set_write_buffer_size(to_size(config.buffer_bytes / 16));
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_enable_blob_files(true);
            options.set_min_blob_size(BLOB_BYTES_MIN);
            options.set_blob_compression_type(DBCompressionType::Lz4);
        }
        Column::Snapshots => {
            // Written once, read a few times, dropped whole: beside the tree, and its room is given back soon.
            options.set_write_buffer_size(to_size(config.buffer_bytes / 16));
            options.set_enable_blob_files(true);
            options.set_min_blob_size(BLOB_BYTES_MIN);
            options.set_blob_compression_type(DBCompressionType::Lz4);
            options.set_enable_blob_gc(true);
            options.set_blob_gc_age_cutoff(1.0);
        }
        Column::Journal => options.set_write_buffer_size(to_size(config.buffer_bytes / 32)),
        Column::Meta
        | Column::Fragments
        | Column::FragmentIndex
        | Column::Staging
        | Column::Confirmations
        | Column::Peers
        | Column::Uploads
        | Column::Evidence
        | Column::Headers => {}
    }
    options
}

/// How a column lies in files of blocks of `block_bytes`.
fn tables(cache: &Cache, block_bytes: usize) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(block_bytes);
    // Ten bits for each key: one question in a hundred about what is not there reads the disk.
    table.set_bloom_filter(10.0, false);
    table.set_format_version(5);
    // Indexes and filters count against the cache, or memory would grow with the disk. In pieces: those of a file of a million
    // keys are one block of megabytes else, which is longer than a part of the cache and read from the disk for every key.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(METADATA_BLOCK_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

/// Options of a column of small values.
fn small(config: &StoreConfig, cache: &Cache) -> Options {
    let table = tables(cache, BLOCK_BYTES);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(to_size(config.buffer_bytes / 64).min(2 << 20));
    options.set_max_write_buffer_number(2);
    options
}

/// A write that has returned is on the disk. Refused, and not kept waiting, while the disk is behind: see
/// `Inner::write`.
pub(crate) fn synced() -> WriteOptions {
    let mut options = unsynced();
    options.set_sync(true);
    options
}

/// A write that survives the process at once and the loss of power soon. Refused while the disk is behind.
pub(crate) fn unsynced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_no_slowdown(true);
    options
}

/// As [`unsynced`], and refused sooner, so that others are not.
pub(crate) fn patient() -> WriteOptions {
    let mut options = unsynced();
    options.set_low_pri(true);
    options
}
