//! Mempool tests.
