//! How much of the machine a call may use, and how it is watched and stopped. Results depend on none of it.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of working memory unless told otherwise: enough for a BLAKE3 chunk of every symbol up to about 180
/// shards. Stripes narrower than a chunk are hashed far slower, so less memory makes that number smaller (80 with
/// 6 MiB) and more makes it larger (1,000 with 1 GiB); nothing else is gained by more.
pub const MEMORY_BYTES_DEFAULT: usize = 32 << 20;

/// What a call may use and whom it tells.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Threads that work at the same time, the caller's among them. Encoding and identifying use them; what is
    /// about one fragment stays on the caller's. Default: one.
    pub threads: NonZeroUsize,
    /// Bytes of working memory to stay within, whatever the blob's length. Some shapes need more:
    /// hashes of all `n * n` symbols are kept (32 MiB at `n = 1000`) and a stripe is 128 bytes of every
    /// symbol at least (another 71 MB there). Default: [`MEMORY_BYTES_DEFAULT`].
    pub memory_bytes_max: usize,
    /// Told now and then, on the caller's thread, how many bytes of the blob, or of what is verified, have been
    /// dealt with: never fewer than before, and all of them at the end.
    pub progress: Option<&'a dyn Fn(u64)>,
    /// Set from elsewhere to stop the call at its next stripe with a `Cancelled` error.
    pub cancel: Option<&'a AtomicBool>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN, memory_bytes_max: MEMORY_BYTES_DEFAULT, progress: None, cancel: None }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("threads", &self.threads)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .finish_non_exhaustive()
    }
}

impl Options<'_> {
    /// Whether somebody asked for the call to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    /// Tells that `bytes` of the blob have been dealt with.
    pub(crate) fn report(&self, bytes: u64) {
        if let Some(progress) = self.progress {
            progress(bytes);
        }
    }
}
