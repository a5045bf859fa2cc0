//! The loop: inputs in, effects handed out. No work here.

use super::Parts;
use super::fetch;
use crate::actors::wake::{self, Wake};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use floe_machines::handover::{self, Config, Effect, Handover, Input, Place};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::broadcast::error::RecvError;

/// What the machine is told.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Told(Input);

pub(super) struct RepairerActor {
    parts: Arc<Parts>,
    machine: Handover,
    started: Instant,
    wake: Wake,
}

impl RepairerActor {
    pub(super) fn new(parts: Arc<Parts>, config: Config) -> RepairerActor {
        RepairerActor { parts, machine: Handover::new(config), started: Instant::now(), wake: Wake::default() }
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
        match effect {
            Effect::Look { from, limit } => {
                let parts = Arc::clone(&self.parts);
                self.then_tell(context, async move { look(&parts, from, limit).await });
            }
            Effect::Fetch { fetch, from, gap } => {
                let parts = Arc::clone(&self.parts);
                self.then_tell(context, async move {
                    let outcome = fetch::run(&parts, from, gap).await;
                    Some(Input::Fetched { fetch, outcome })
                });
            }
            Effect::Misbehaved { node } => {
                tracing::warn!(node = %node.short(), "a holder handed over a wrong fragment");
                self.parts.shared.network.report(node, floe_network::Offence::Garbage);
            }
            Effect::PassEnded { fetched, bytes, left } => {
                tracing::info!(fetched, bytes, left, "shards that came to this node were looked through");
                self.parts.shared.metrics.handover_left.set(i64::try_from(left).unwrap_or(i64::MAX));
            }
        }
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

/// Looks into one snapshot of the ledger for what is missing here.
async fn look(parts: &Parts, from: Place, limit: usize) -> Option<Input> {
    let (store, node) = (parts.shared.store.clone(), parts.shared.node);
    let looked =
        parts.workers.run(move || handover::gaps((&store.snapshot(), &store), &node, from, limit)).await.ok()?;
    match looked {
        Ok((gaps, next)) => Some(Input::Looked { gaps, next }),
        Err(error) => {
            tracing::error!(%error, "the ledger cannot be read");
            Some(Input::Looked { gaps: Vec::new(), next: None })
        }
    }
}

impl Actor for RepairerActor {
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
                if begins && address.send(Told(Input::Begin)).await.is_err() {
                    return;
                }
            }
        });
        self.input(Input::Begin, context);
    }
}

impl Handler<Told> for RepairerActor {
    type Result = ();

    fn handle(&mut self, Told(input): Told, context: &mut Context<Self>) {
        self.input(input, context);
    }
}
