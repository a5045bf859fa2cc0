//! The loop: inputs in, effects handed out. No work here.

use super::Parts;
use crate::actors::coordinator::Live;
use crate::actors::wake::{self, Wake};
use crate::clock::unix_millis;
use actix::{Actor, AsyncContext, Context, Handler, Message};
use floe_ledger::{Action, Run, ShardSet, StateError, views};
use floe_machines::fragments::{FragmentKey, FragmentStore, StoreError};
use floe_machines::ledger_view::LedgerAt;
use floe_machines::scrub::{Condition, Config, Effect, Input, Pass, Scrub, absent};
use floe_storage::Store;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What the machine is told.
#[derive(Message)]
#[rtype(result = "()")]
struct Told(Input);

pub(super) struct ScrubberActor {
    parts: Arc<Parts>,
    machine: Scrub,
    /// Taken by the task that reads it.
    suspected: Option<mpsc::Receiver<FragmentKey>>,
    started: Instant,
    wake: Wake,
}

impl ScrubberActor {
    pub(super) fn new(parts: Arc<Parts>, config: Config, suspected: mpsc::Receiver<FragmentKey>) -> ScrubberActor {
        let machine = Scrub::new(config, parts.shared.node);
        ScrubberActor { parts, machine, suspected: Some(suspected), started: Instant::now(), wake: Wake::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn input(&mut self, input: Input, context: &mut Context<Self>) {
        match self.step(input) {
            Ok(effects) => effects.into_iter().for_each(|effect| self.hand_out(effect, context)),
            Err(error) => tracing::error!(%error, "the ledger cannot be read"),
        }
        self.set_timer(context);
    }

    fn step(&mut self, input: Input) -> Result<Vec<Effect>, StateError> {
        let snapshot = self.parts.shared.store.snapshot();
        let (epoch, committee) = (views::head(&snapshot)?.epoch, views::committee(&snapshot)?);
        let view = LedgerAt::new(&snapshot, &self.parts.shared.context, epoch, &committee);
        let effects = self.machine.step(self.now(), &view, input);
        view.trouble().map_or(Ok(effects), Err)
    }

    fn hand_out(&mut self, effect: Effect, context: &mut Context<Self>) {
        let parts = Arc::clone(&self.parts);
        let store = parts.shared.store.clone();
        match effect {
            Effect::List { after, limit } => self.then_tell(context, async move {
                let listed = parts.workers.run(move || list(&store, after, limit)).await.ok()?;
                Some(Input::Listed { listed: logged("fragments cannot be listed", listed) })
            }),
            Effect::Check { key } => self.then_tell(context, async move {
                let condition = parts.workers.run(move || check(&store, &key)).await.ok()?;
                Some(Input::Checked { key, condition })
            }),
            Effect::Discard { key } => self.then_tell(context, async move {
                let removed = parts.workers.run(move || store.discard(&key)).await.ok()?;
                parts.shared.metrics.store_corrupt.inc();
                let outcome = logged("a damaged fragment cannot be removed", removed).ok_or(());
                Some(Input::Discarded { key, outcome })
            }),
            Effect::Look { from, limit } => self.then_tell(context, async move {
                let node = parts.shared.node;
                let look = move || absent((&store.snapshot(), &store), &node, from, limit);
                let looked = parts.workers.run(look).await.ok()?;
                let (runs, next) = logged::<_, StateError>("the ledger cannot be read", looked).unwrap_or_default();
                Some(Input::Looked { runs, next })
            }),
            Effect::Withdraw { shards, runs } => self.then_tell(context, withdraw(parts, shards, runs)),
            Effect::PassEnded(pass) => self.passed(pass),
        }
    }

    fn passed(&self, Pass { fragments, bytes, damaged }: Pass) {
        self.parts.shared.metrics.store_scrubbed.set(unix_millis() as f64 / 1e3);
        if damaged > 0 {
            tracing::warn!(fragments, bytes, damaged, "the store was read through");
        } else {
            tracing::debug!(fragments, bytes, "the store was read through");
        }
    }

    /// Tells the machine whenever the ledger here comes to be that of now, after others were ahead, or its epoch was over long since,
    /// or epochs went by without a look at them: a young network's genesis is not old.
    fn watch_the_ledger(&self, context: &mut Context<Self>) {
        let mut live = self.parts.shared.coordinator.watch_live();
        let epoch_millis = self.parts.shared.context.params.epoch_millis;
        let look = move |live: &Live| {
            let over = live.head.epoch_began.0.saturating_add(epoch_millis.saturating_mul(2));
            (live.behind || unix_millis() >= over, live.head.epoch)
        };
        let address = context.address();
        actix::spawn(async move {
            let mut before = look(&live.borrow_and_update());
            while live.changed().await.is_ok() {
                let (is_of_old, epoch) = look(&live.borrow_and_update());
                let (was_of_old, epoch_before) = std::mem::replace(&mut before, (is_of_old, epoch));
                let has_come = was_of_old || epoch > epoch_before.next();
                if has_come && !is_of_old && address.send(Told(Input::CaughtUp)).await.is_err() {
                    return;
                }
            }
        });
    }

    fn then_tell(&self, context: &mut Context<Self>, work: impl Future<Output = Option<Input>> + 'static) {
        wake::then_tell(context, async move { work.await.map(Told) });
    }

    fn set_timer(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        self.wake.follow(self.machine.wake_at(), now, context, |actor, context| {
            actor.wake.rang();
            actor.input(Input::Tick, context);
        });
    }
}

fn logged<T, E: std::fmt::Display>(what: &'static str, result: Result<T, E>) -> Option<T> {
    result.map_err(|error| tracing::error!(%error, "{what}")).ok()
}

type Listed = (Vec<(FragmentKey, u64)>, u64);

fn list(store: &Store, after: Option<FragmentKey>, limit: usize) -> Result<Listed, StoreError> {
    let unread = |error: &dyn std::fmt::Display| StoreError::Io(error.to_string());
    let committee = views::committee(&store.snapshot()).map_err(|error| unread(&error))?;
    let bytes = |blob_bytes| {
        floe_erasure::Layout::new(committee.shards(), blob_bytes).map_or(0, |layout| layout.fragment_bytes())
    };
    let records = store.records_after(after, limit)?;
    let page = records.into_iter().map(|record| (record.key, bytes(record.blob_bytes))).collect();
    let groups = store.statistics().map_err(|error| unread(&error))?.groups;
    Ok((page, groups.iter().fold(0u64, |sum, (_, totals)| sum.saturating_add(totals.bytes))))
}

fn check(store: &Store, key: &FragmentKey) -> Condition {
    let found = store.record(&key.blob, key.pair).and_then(|record| {
        let Some(record) = record.filter(|record| record.key == *key) else { return Ok(Condition::Gone) };
        Ok(match store.verify(&record)? {
            None => Condition::Sound,
            Some(floe_storage::Gap::Absent) => Condition::Gone,
            Some(floe_storage::Gap::Damaged { offset }) => {
                let (blob, pair) = (key.blob, key.pair.0);
                tracing::error!(%blob, pair, offset, "a kept fragment is damaged: it is removed and withdrawn");
                Condition::Damaged
            }
        })
    });
    logged("a fragment cannot be read through", found).unwrap_or(Condition::Unread)
}

/// Submits a withdrawal. What becomes of it is read off the ledger: the next pass finds what is still covered.
async fn withdraw(parts: Arc<Parts>, shards: ShardSet, runs: Vec<Run>) -> Option<Input> {
    let (count, member) = (runs.len(), parts.shared.node);
    match parts.shared.coordinator.submit(Action::Withdraw { member, shards, runs }).await {
        Ok(_) => tracing::warn!(runs = count, "withdrew fragments that are not here any more"),
        Err(error) => tracing::warn!(runs = count, %error, "lost fragments could not be withdrawn now"),
    }
    None
}

impl Actor for ScrubberActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        if let Some(suspected) = self.suspected.take() {
            wake::forward(context, suspected, |key| Told(Input::Suspected { key }));
        }
        self.watch_the_ledger(context);
        self.input(Input::Started, context);
    }
}

impl Handler<Told> for ScrubberActor {
    type Result = ();

    fn handle(&mut self, Told(input): Told, context: &mut Context<Self>) {
        self.input(input, context);
    }
}
