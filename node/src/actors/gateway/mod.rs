//! Stores and reads for this node's clients: the shells round [`floe_machines::upload`] and [`floe_machines::download`].
//!
//! The actor lives on a thread of its own, admits requests and starts a task for each; a task owns one machine and carries
//! out its effects. Coding runs on threads of its own, and so do the spool and hashing, so that neither holds up the other.
//!
//! ```text
//! HTTP --Store, Read--> actor --starts--> store task: upload machine    --> exchanges --> holders
//!                                    `--> read task:  download machine  --> exchanges --> holders
//!                                                        `--> feed --> body
//! ```
//!
//! What a holder did not give a reader is told to the challenger, whose next question it is.
//!
//! A read that finds an inconsistent encoding leaves a task that shows the others why ([`accuse`]).
//!
//! # Memory and disk
//! - A store: the coder's 32 MiB while it encodes (two at a time), then a buffer of 256 KiB for each exchange. The fragments
//!   lie in one file in the spool, 4.5 times the blob at most; it goes when the upload has ended. It is not synced: what
//!   a loss of power tears is refused by holders, which check every byte, and a certified blob does not need it.
//! - A read: slivers below 1 MiB together are held in memory, else in a file that has no name any more; then the coder's
//!   32 MiB when it decodes or derives the id (two at a time).
//!
//! - A range: a window of segments that are being read, 32 MiB at most together, and 1 MiB of a range that is answered
//!   when all of it is there.
//!
//! # Laws
//! - **I2** A store is answered when the ledger has the certificate, never before.
//! - **I5** No byte of a range is sent that was not verified against the blob id, and what was decoded is not called proven.
//! - **I4** The last bytes of a read are sent only after the blob id was derived from exactly the bytes that are sent; a
//!   blob of up to 256 KiB is not sent at all before that.

mod accuse;
mod actor;
mod config;
mod feed;
mod ingress;
mod ledger;
mod outbound;
mod problems;
mod range;
mod read;
mod receipt;
mod register;
mod slivers;
mod spool;
mod store;

pub use config::{Config, MAILBOX_MAX};
pub use ingress::GatewayHandle;

use super::challenger::Unreadable;
use super::fragments::FragmentsHandle;
use super::workers::Workers;
use crate::run::{RunError, Shared};
use actix::{Actor, Arbiter};
use floe_ledger::challenges::Unread;
use floe_machines::download::SpeedBook;
use floe_types::{BlobId, NodeId};
use ledger::LedgerNow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// What every store and read needs.
pub(in crate::actors::gateway) struct Parts {
    shared: Shared,
    fragments: FragmentsHandle,
    spool: PathBuf,
    coding: Workers,
    files: Workers,
    config: Config,
    ledger: LedgerNow,
    speeds: Mutex<SpeedBook>,
    finishing: Arc<Semaphore>,
    names: AtomicU64,
    /// Blobs that are being shown to be inconsistent.
    accused: Mutex<BTreeSet<BlobId>>,
}

impl Parts {
    /// Tells this node's own member what a holder did not give a reader: it asks for it in its next slot.
    fn unread(&self, holder: NodeId, what: Unread) {
        // Full: enough is to be asked, and who meets it again says so again.
        let _ = self.shared.unread.try_send(Unreadable { holder, what });
    }

    /// A name for a file of the spool that no other has in this run.
    fn fresh_name(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }
}

/// Starts the gateway on a thread of its own and goes on with the uploads that a stop interrupted.
///
/// # Errors
/// When the spool cannot be used, the ledger cannot be read, or the system gives no threads.
pub fn start(shared: &Shared, spool: PathBuf, fragments: FragmentsHandle) -> Result<GatewayHandle, RunError> {
    let config = Config::default();
    let system = |what: &str, error: &dyn std::fmt::Display| RunError::System(format!("{what}: {error}"));
    std::fs::create_dir_all(&spool).map_err(|error| system(&spool.display().to_string(), &error))?;
    let waiting = config.stores_max + config.reads_max;
    let coding = Workers::start("coding", config.coding_threads, waiting).map_err(|error| system("threads", &error))?;
    let files = Workers::start("spool", config.spool_threads, waiting).map_err(|error| system("threads", &error))?;
    let ledger = LedgerNow::read(shared).map_err(|error| system("ledger", &error))?;
    let unfinished = spool::unfinished(&shared.store, &spool).map_err(|error| system("spool", &error))?;
    let parts = Arc::new(Parts {
        shared: shared.clone(),
        fragments,
        spool,
        coding,
        files,
        ledger,
        speeds: Mutex::new(SpeedBook::default()),
        finishing: Arc::new(Semaphore::new(config.finishing_max)),
        names: AtomicU64::new(crate::clock::unix_millis()),
        accused: Mutex::new(BTreeSet::new()),
        config,
    });
    let arbiter = Arbiter::new();
    let address = actor::GatewayActor::start_in_arbiter(&arbiter.handle(), move |context| {
        context.set_mailbox_capacity(MAILBOX_MAX);
        actor::GatewayActor::new(parts, unfinished)
    });
    Ok(GatewayHandle { address })
}
