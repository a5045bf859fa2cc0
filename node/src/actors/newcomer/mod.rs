//! The shell round [`floe_machines::snapshot::SnapshotSync`]: fetches a snapshot when this node is new or far behind.
//!
//! ```text
//! coordinator --far behind, or at genesis--> watch ──► actor (machine) --Ask--> a peer
//!                                              ▲            |--Begin, Keep--> store
//!                                              └ no longer ─┴--Complete--> store marked, the node starts again
//! ```
//!
//! Blocks are fetched all the while by the coordinator: whichever of the two comes first ends this. What is kept of a
//! snapshot outlives a restart.
//!
//! # Bounded
//! The machine's limit of open requests; one chunk for each in memory.

mod actor;

use crate::run::Shared;
use actix::Actor;
use floe_machines::snapshot::Progress;
use floe_types::Genesis;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Messages that wait for the actor: an answer for each open request, and the peers.
const MAILBOX_MAX: usize = 64;

/// Between the end of one search for a snapshot and the next.
const PAUSE: Duration = Duration::from_secs(10);

/// What the rest of the node hears of it.
pub struct News {
    /// Hears once, when the store must be opened anew.
    pub arrived: mpsc::Receiver<()>,
    /// How far the snapshot on its way is; nothing when none is.
    pub progress: watch::Receiver<Option<Progress>>,
}

/// Starts to watch.
pub fn start(shared: &Shared, genesis: &Genesis, ahead: u64) -> News {
    let (arrived, wait) = mpsc::channel(1);
    let (shown, progress) = watch::channel(None);
    actix::spawn(look_out(shared.clone(), genesis.clone(), ahead, (arrived, shown)));
    News { arrived: wait, progress }
}

type Told = (mpsc::Sender<()>, watch::Sender<Option<Progress>>);

async fn look_out(shared: Shared, genesis: Genesis, ahead: u64, (arrived, shown): Told) {
    let mut live = shared.coordinator.watch_live();
    // Who stands at genesis may know nobody that could say how far the others are: it asks whoever it meets.
    let mut wanted = shared.store.last_height().is_none_or(|height| height.0 == 0);
    loop {
        if !wanted && live.wait_for(|live| live.far_behind.is_some()).await.is_err() {
            return;
        }
        wanted = false;
        let (ended, end) = oneshot::channel();
        let (arrived, shown) = (arrived.clone(), shown.clone());
        let parts = actor::Parts { shared: shared.clone(), arrived, shown, ended: Some(ended) };
        match actor::Newcomer::new(parts, &genesis, ahead) {
            Ok(newcomer) => drop(newcomer.start()),
            Err(error) => return tracing::error!(%error, "what has arrived of a snapshot cannot be read"),
        }
        // Closed without a word is an end as well.
        let _ = end.await;
        tokio::time::sleep(PAUSE).await;
    }
}
