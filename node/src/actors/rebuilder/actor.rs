//! The loop: inputs in, effects handed out. No work here.

use super::Parts;
use super::fetch::{self, Fetch};
use super::scratch::scratch;
use crate::actors::wake::{self, Wake};
use actix::fut::wrap_future;
use actix::{Actor, AsyncContext, Context, Handler, Message};
use floe_erasure::{Layout, Options};
use floe_ledger::{Action, Run, ShardSet};
use floe_machines::fragments::FragmentStore;
use floe_machines::repair::{
    self, Attempted, Bench, Config, Effect, Input, JobId, Place, Ready, Rebuild, Repair, Tally, Trouble, Work,
};
use floe_storage::Store;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::broadcast::error::RecvError;

/// A bench: its job's fetches and attempts take turns at it.
pub(super) type SharedBench = Arc<Mutex<Bench>>;

/// What the machine is told, with the bench that was made for it.
#[derive(Message)]
#[rtype(result = "()")]
struct Told {
    input: Input,
    bench: Option<(JobId, SharedBench)>,
}

impl Told {
    fn of(input: Input) -> Told {
        Told { input, bench: None }
    }
}

pub(super) struct RebuilderActor {
    parts: Arc<Parts>,
    machine: Repair,
    benches: BTreeMap<JobId, SharedBench>,
    started: Instant,
    wake: Wake,
}

impl RebuilderActor {
    pub(super) fn new(parts: Arc<Parts>, config: Config) -> RebuilderActor {
        let machine = Repair::new(parts.shared.node, config);
        RebuilderActor { parts, machine, benches: BTreeMap::new(), started: Instant::now(), wake: Wake::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn input(&mut self, input: Input, context: &mut Context<Self>) {
        for effect in self.machine.step(self.now(), input) {
            self.hand_out(effect, context);
        }
        self.set_timer(context);
    }

    fn hand_out(&mut self, effect: Effect, context: &mut Context<Self>) {
        let parts = Arc::clone(&self.parts);
        match effect {
            Effect::Look { from, limit } => {
                self.then_tell(context, async move { Some(Input::Looked(look(&parts, from, limit).await?)) });
            }
            Effect::Prepare { job, rebuild } => self.prepare(job, rebuild, context),
            Effect::Widen { job } => self.widen(job, context),
            Effect::Fetch { fetch, job, from, wanted, rebuild } => {
                let bench = self.benches.get(&job).cloned();
                self.then_tell(context, async move {
                    let outcome = fetch::run(&parts, Fetch { from, wanted, rebuild, bench }).await;
                    Some(Input::Fetched { fetch, outcome })
                });
            }
            Effect::Attempt { job } => self.attempt(job, context),
            Effect::Forget { job, pair } => {
                if let Some(bench) = self.benches.get(&job) {
                    bench.lock().unwrap_or_else(PoisonError::into_inner).forget(pair);
                }
            }
            Effect::Keep { job } => self.keep(job, context),
            Effect::Close { job } => {
                self.benches.remove(&job);
            }
            Effect::Attest { shards, runs } => self.then_tell(context, attest(parts, shards, runs)),
            Effect::Misbehaved { node } => {
                tracing::warn!(node = %node.short(), "a holder gave wrong bytes for a rebuild");
                self.parts.shared.network.report(node, floe_network::Offence::Garbage);
            }
            Effect::Inconsistent { blob } => {
                tracing::warn!(%blob, "a blob is encoded inconsistently: its fragment cannot be rebuilt");
            }
            Effect::PassEnded(tally) => self.passed(tally),
        }
    }

    fn passed(&self, Tally { fetched, rebuilt, moved_bytes, left }: Tally) {
        let metrics = &self.parts.shared.metrics;
        metrics.repair_fragments.with_label_values(&["fetched"]).inc_by(fetched);
        metrics.repair_fragments.with_label_values(&["rebuilt"]).inc_by(rebuilt);
        metrics.repair_left.set(i64::try_from(left).unwrap_or(i64::MAX));
        if fetched > 0 || rebuilt > 0 || left > 0 {
            tracing::info!(
                fetched,
                rebuilt,
                moved_bytes,
                left,
                "fragments that are this node's to rebuild were gone through"
            );
        }
    }

    fn prepare(&self, job: JobId, rebuild: Rebuild, context: &mut Context<Self>) {
        let (parts, address) = (Arc::clone(&self.parts), context.address());
        context.spawn(wrap_future(async move {
            let folder = parts.scratch.clone();
            let store = parts.shared.store.clone();
            let made = parts
                .workers
                .run(move || if is_here(&store, &rebuild) { Ok(None) } else { bench(&folder, rebuild).map(Some) });
            let Ok(made) = made.await else { return };
            let told = match made {
                Ok(Some(bench)) => {
                    Told { input: Input::Prepared { job, outcome: Ok(Ready::Bench) }, bench: Some((job, bench)) }
                }
                Ok(None) => Told::of(Input::Prepared { job, outcome: Ok(Ready::Held) }),
                Err(error) => {
                    tracing::warn!(%error, "there is no room to rebuild in");
                    Told::of(Input::Prepared { job, outcome: Err(Trouble::NoRoom) })
                }
            };
            let _ = address.send(told).await;
        }));
    }

    fn widen(&self, job: JobId, context: &mut Context<Self>) {
        let (parts, bench) = (Arc::clone(&self.parts), self.benches.get(&job).cloned());
        self.then_tell(context, async move {
            let (folder, bench) = (parts.scratch.clone(), bench?);
            let wider = move || {
                let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
                let room = scratch(&folder, Bench::wide_bytes(&bench.layout()))?;
                bench.widen(room).map_err(|error| io::Error::other(error.to_string()))
            };
            let outcome = parts.workers.run(wider).await.ok()?.map(|()| Ready::Bench).map_err(|error| {
                tracing::warn!(%error, "there is no room to rebuild in");
                Trouble::NoRoom
            });
            Some(Input::Prepared { job, outcome })
        });
    }

    fn attempt(&self, job: JobId, context: &mut Context<Self>) {
        let (parts, bench) = (Arc::clone(&self.parts), self.benches.get(&job).cloned());
        self.then_tell(context, async move {
            let bench = bench?;
            let attempt = move || bench.lock().unwrap_or_else(PoisonError::into_inner).attempt(&Options::default());
            let attempt = parts.workers.run(attempt).await.ok()?;
            if let Err(error) = &attempt {
                tracing::warn!(%error, "a rebuild failed here");
            }
            Some(Input::Attempted { job, outcome: Attempted::from(&attempt) })
        });
    }

    fn keep(&self, job: JobId, context: &mut Context<Self>) {
        let (parts, bench) = (Arc::clone(&self.parts), self.benches.get(&job).cloned());
        self.then_tell(context, async move {
            let (bench, store) = (bench?, parts.shared.store.clone());
            let keep = move || bench.lock().unwrap_or_else(PoisonError::into_inner).keep(&store, &Options::default());
            let outcome = parts.workers.run(keep).await.ok()?.map_err(|error| {
                tracing::warn!(%error, "a rebuilt fragment could not be kept");
                error.trouble()
            });
            Some(Input::Kept { job, outcome })
        });
    }

    fn then_tell(&self, context: &mut Context<Self>, work: impl Future<Output = Option<Input>> + 'static) {
        wake::then_tell(context, async move { work.await.map(Told::of) });
    }

    fn set_timer(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        self.wake.follow(self.machine.wake_at(), now, context, |actor, context| {
            actor.wake.rang();
            actor.input(Input::Tick, context);
        });
    }
}

/// Whether the fragment has come by another way. A store that cannot be asked is asked again when it is kept.
fn is_here(store: &Store, rebuild: &Rebuild) -> bool {
    let pair = floe_erasure::pair_of(&rebuild.blob, rebuild.shard, rebuild.shards);
    let record = store.record(&rebuild.blob, pair).ok().flatten();
    record.is_some_and(|record| record.key.group >= rebuild.group)
}

fn bench(folder: &std::path::Path, rebuild: Rebuild) -> io::Result<SharedBench> {
    let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let layout = Layout::new(rebuild.shards, rebuild.blob_bytes).map_err(|error| other(&error))?;
    let room = scratch(folder, Bench::scratch_bytes(&layout))?;
    let bench = Bench::new(rebuild, room).map_err(|error| other(&error))?;
    Ok(Arc::new(Mutex::new(bench)))
}

/// Looks into one snapshot of the ledger for what this node may rebuild.
async fn look(parts: &Parts, from: Place, limit: usize) -> Option<Work> {
    let (store, node, params) = (parts.shared.store.clone(), parts.shared.node, parts.shared.context.params.clone());
    let look = move || repair::work((&store.snapshot(), &store), &params, &node, from, limit);
    let looked = parts.workers.run(look).await.ok()?;
    Some(looked.unwrap_or_else(|error| {
        tracing::error!(%error, "the ledger cannot be read");
        Work::default()
    }))
}

/// Submits an attestation. What becomes of it is read off the ledger: what it does not show is said again.
async fn attest(parts: Arc<Parts>, shards: ShardSet, runs: Vec<Run>) -> Option<Input> {
    let (count, member) = (runs.len(), parts.shared.node);
    match parts.shared.coordinator.submit(Action::Attest { member, shards, runs }).await {
        Ok(_) => tracing::info!(runs = count, "attested rebuilt fragments"),
        Err(error) => tracing::warn!(runs = count, %error, "rebuilt fragments could not be attested now"),
    }
    None
}

impl Actor for RebuilderActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let mut blocks = self.parts.shared.coordinator.committed();
        let address = context.address();
        actix::spawn(async move {
            let mut epoch = None;
            loop {
                let begins = match blocks.recv().await {
                    Ok(committed) => epoch.replace(committed.epoch) != Some(committed.epoch),
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return,
                };
                let begin = Told::of(Input::Begin);
                if begins && address.send(begin).await.is_err() {
                    return;
                }
            }
        });
        self.input(Input::Begin, context);
    }
}

impl Handler<Told> for RebuilderActor {
    type Result = ();

    fn handle(&mut self, Told { input, bench }: Told, context: &mut Context<Self>) {
        if let Some((job, bench)) = bench {
            self.benches.insert(job, bench);
        }
        self.input(input, context);
    }
}
