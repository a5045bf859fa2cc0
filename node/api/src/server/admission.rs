//! How much may be done at once. A slot is taken or refused, never waited for: waiting clients would hold connections.

use crate::problem::{Code, Problem};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// After how long a refused client should try again.
const RETRY: Duration = Duration::from_secs(2);

/// Slots for uploads and for streamed reads.
pub(super) struct Admission {
    uploads: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(uploads: usize, reads: usize) -> Admission {
        Admission { uploads: Arc::new(Semaphore::new(uploads)), reads: Arc::new(Semaphore::new(reads)) }
    }

    /// A slot for an upload, free again when dropped.
    pub(super) fn upload(&self) -> Result<OwnedSemaphorePermit, Problem> {
        take(&self.uploads, "uploads")
    }

    /// A slot for a streamed read, free again when dropped.
    pub(super) fn read(&self) -> Result<OwnedSemaphorePermit, Problem> {
        take(&self.reads, "reads")
    }
}

fn take(slots: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = || Problem::new(Code::Overloaded, format!("as many {what} as may run at once are running"));
    slots.clone().try_acquire_owned().map_err(|_| busy().retry_after(RETRY))
}
