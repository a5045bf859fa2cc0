//! What a node keeps of the past: a snapshot of the state at some boundaries, for those who come new, and the blocks of some
//! epochs.
//!
//! ```text
//! coordinator --boundary committed--> epoch_ended ──► view frozen (the coordinator waits for this, a moment)
//!                                         `thread: snapshot cut ──► old blocks dropped, a few at a time
//! ```
//!
//! One thread at a time. A boundary that comes while it still works is left out: the next one does what is left.

use crate::config::HistorySection;
use floe_ledger::{StateError, views};
use floe_storage::{StorageError, Store};
use floe_types::{Epoch, Params};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Blocks dropped at a time, and the rest after them: a tenth of a disk's time at the most.
const DROPPED_AT_ONCE: u64 = 256;
const REST: Duration = Duration::from_millis(20);

/// Keeps what one operator wants of the past.
pub struct History {
    store: Store,
    /// Epochs from one snapshot to the next.
    snapshot_epochs: u64,
    /// Epochs of which the blocks are kept; none: all.
    block_epochs: Option<u64>,
    running: Option<JoinHandle<()>>,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("a thread ended without a word")]
    Silent,
}

impl History {
    /// A snapshot each term; blocks as `chosen`.
    #[must_use]
    pub fn new(store: Store, params: &Params, chosen: &HistorySection) -> History {
        let block_epochs = (!chosen.archive).then_some(chosen.block_epochs);
        History { store, snapshot_epochs: params.term_epochs.0, block_epochs, running: None }
    }

    /// The block that ended `epoch` is committed and the next one is not. What goes wrong here is said in the log: the node
    /// lives without it, and the next boundary tries again.
    pub fn epoch_ended(&mut self, epoch: Epoch) {
        if self.running.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let due = epoch.0.is_multiple_of(self.snapshot_epochs);
        let cutting = match due.then(|| self.store.offer_snapshot()).transpose() {
            Ok(cutting) => cutting,
            Err(error) => return tracing::error!(%error, "no snapshot can be offered"),
        };
        match self.spawn(cutting) {
            Ok(running) => self.running = Some(running),
            Err(error) => tracing::error!(%error, "old blocks cannot be dropped"),
        }
    }

    fn spawn(&self, cutting: Option<Cutting>) -> io::Result<JoinHandle<()>> {
        let (store, block_epochs) = (self.store.clone(), self.block_epochs);
        thread::Builder::new().name("floe-history".to_owned()).spawn(move || {
            if let Err(error) = work(&store, cutting, block_epochs) {
                tracing::error!(%error, "the past cannot be kept in order");
            }
        })
    }
}

type Cutting = JoinHandle<Result<floe_ledger::snapshot::Outline, StorageError>>;

fn work(store: &Store, cutting: Option<Cutting>, block_epochs: Option<u64>) -> Result<(), Trouble> {
    if let Some(cutting) = cutting {
        let outline = cutting.join().map_err(|_| Trouble::Silent)??;
        tracing::debug!(chunks = outline.chunks, bytes = outline.bytes, "a snapshot is offered");
    }
    let Some(epochs) = block_epochs else { return Ok(()) };
    let Some(begins) = views::history_begins(&store.snapshot(), epochs)? else { return Ok(()) };
    // A newcomer goes on from a snapshot by blocks: those after the newest one stay, however old they are.
    let Some(outline) = store.snapshot_outline()? else { return Ok(()) };
    let Ok(offered) = outline.sealed.open() else { return Ok(()) };
    let below = begins.min(offered.header.height);
    while store.prune_blocks(below, DROPPED_AT_ONCE)? > 0 {
        thread::sleep(REST);
    }
    Ok(())
}
