//! Effects that block or wait: each runs beside the actor and comes back as an input.

use super::Parts;
use super::actor::FragmentsActor;
use super::exchange::store_failure;
use super::ingress::{Staged, Told};
use crate::actors::wake;
use actix::Context;
use floe_ledger::{Action, Run, ShardSet};
use floe_machines::custody::{Effect, Input, KeepId, ReceiveFailure, StoreFailure};
use floe_machines::fragments::{FragmentKey, FragmentRecord, FragmentStore, StoreError};
use floe_storage::{Store, Thoroughness};
use floe_types::Epoch;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Confirmations looked at in one visit to the workers when a node starts.
const CHECK_PAGE: usize = 1_000;
/// Bytes copied at a time when a fragment is moved to another group.
const COPY_BYTES: usize = 1 << 20;

impl FragmentsActor {
    fn then_tell(&self, context: &mut Context<Self>, work: impl Future<Output = Option<Input>> + 'static) {
        wake::then_tell(context, async move { work.await.map(Told::of) });
    }

    pub(super) fn keep(&self, keep: KeepId, staged: Vec<Staged>, context: &mut Context<Self>) {
        let parts = Arc::clone(&self.parts);
        self.then_tell(context, async move {
            let store = parts.shared.store.clone();
            let kept = parts.workers.run(move || store.keep(staged).map_err(|error| failure(&error))).await;
            kept.ok().map(|outcome| Input::KeepDone { keep, outcome })
        });
    }

    pub(super) fn carry_out(&self, effect: Effect, context: &mut Context<Self>) {
        let parts = Arc::clone(&self.parts);
        match effect {
            Effect::KeepConfirmation { stream, record } => self.then_tell(context, async move {
                let store = parts.shared.store.clone();
                let job = move || store.keep_confirmation(&record).map_err(|error| failure(&error));
                parts.workers.run(job).await.ok().map(|outcome| Input::ConfirmationKept { stream, outcome })
            }),
            Effect::LookUp { blob, pairs } => self.then_tell(context, async move {
                let held = parts.records(blob, pairs).await.ok()?.into_iter().map(|record| record.key).collect();
                Some(Input::LookedUp { blob, held })
            }),
            Effect::ListRecords { after, limit } => self.then_tell(context, async move {
                let store = parts.shared.store.clone();
                let listed = parts.workers.run(move || store.records_after(after, limit)).await.ok()?;
                let keys = |records: Vec<FragmentRecord>| records.into_iter().map(|record| record.key).collect();
                Some(Input::Listed { keys: listed.map(keys).map_err(|error| failure(&error)) })
            }),
            Effect::Refile { key, group } => self.then_tell(context, async move {
                tokio::time::sleep(Duration::from_millis(parts.config.refile_pause_millis)).await;
                let store = parts.shared.store.clone();
                let job = move || refile(&store, key, group).map_err(|error| failure(&error));
                parts.workers.run(job).await.ok().map(|outcome| Input::Refiled { key, outcome })
            }),
            Effect::DropGroups { up_to } => self.then_tell(context, drop_groups(parts, up_to)),
            Effect::Attest { shards, runs } => self.then_tell(context, attest(parts, shards, runs)),
            // These are handed to exchanges.
            Effect::Receive { .. }
            | Effect::Keep { .. }
            | Effect::Sign { .. }
            | Effect::Serve { .. }
            | Effect::Help { .. }
            | Effect::ServeUnits { .. }
            | Effect::Answer { .. }
            | Effect::Close { .. } => {}
        }
    }

    /// Compares what was signed with what is there, and says what is missing.
    pub(super) fn check_confirmations(&self, context: &mut Context<Self>) {
        let parts = Arc::clone(&self.parts);
        self.then_tell(context, async move {
            let (mut after, mut broken) = (None, 0i64);
            loop {
                let store = parts.shared.store.clone();
                let job = move || store.check_confirmations(after, CHECK_PAGE, Thoroughness::Records);
                match parts.workers.run(job).await.ok()? {
                    Ok(check) => {
                        for missing in check.missing {
                            let (blob, pair) = (missing.blob, missing.pair.0);
                            tracing::error!(%blob, pair, registration = missing.registration.0, "a fragment that was confirmed is not there");
                            broken += 1;
                        }
                        after = check.next;
                    }
                    Err(error) => {
                        tracing::error!(%error, "confirmations cannot be checked");
                        return None;
                    }
                }
                parts.shared.metrics.store_confirmations_broken.set(broken);
                after?;
            }
        });
    }
}

fn failure(error: &StoreError) -> StoreFailure {
    match store_failure(error) {
        ReceiveFailure::Store(failure) => failure,
        _ => StoreFailure::Io,
    }
}

async fn drop_groups(parts: Arc<Parts>, up_to: Epoch) -> Option<Input> {
    let store = parts.shared.store.clone();
    match parts.workers.run(move || store.drop_groups(up_to)).await.ok()? {
        Ok(bytes) => tracing::info!(up_to = up_to.0, bytes, "forgotten fragments were dropped"),
        Err(error) => tracing::error!(up_to = up_to.0, %error, "forgotten fragments could not be dropped"),
    }
    None
}

/// Submits an attestation. What becomes of it is read off the ledger: what is still uncovered is attested again in the
/// next epoch.
async fn attest(parts: Arc<Parts>, shards: ShardSet, runs: Vec<Run>) -> Option<Input> {
    let count = runs.len();
    let submitted = parts.shared.coordinator.submit(Action::Attest { member: parts.shared.node, shards, runs }).await;
    match submitted {
        Ok(_) => tracing::info!(runs = count, "attested late fragments"),
        Err(error) => tracing::warn!(runs = count, %error, "late fragments could not be attested now"),
    }
    None
}

/// Keeps a copy of a fragment under `group`, unless there is one as late already.
fn refile(store: &Store, key: FragmentKey, group: Epoch) -> Result<(), StoreError> {
    let absent = StoreError::Absent { blob: key.blob, pair: key.pair };
    let latest = store.record(&key.blob, key.pair)?.ok_or(absent)?;
    if latest.key.group >= group {
        return Ok(());
    }
    let shards = shards_of(store)?;
    let layout =
        floe_erasure::Layout::new(shards, latest.blob_bytes).map_err(|error| StoreError::Io(error.to_string()))?;
    let (bytes, new) = (layout.fragment_bytes(), FragmentKey { group, ..key });
    let mut staged = store.stage(new, bytes)?;
    let mut offset = 0u64;
    while offset < bytes {
        let mut part = vec![0u8; usize::try_from(bytes - offset).unwrap_or(COPY_BYTES).min(COPY_BYTES)];
        store.read_at(&latest, &mut part, offset)?;
        staged.append(&part)?;
        offset += part.len() as u64;
    }
    store.keep(vec![(FragmentRecord { key: new, ..latest }, staged)])
}

fn shards_of(store: &Store) -> Result<u16, StoreError> {
    let committee = floe_ledger::views::committee(&store.snapshot());
    committee.map(|committee| committee.shards()).map_err(|error| StoreError::Io(error.to_string()))
}
