//! The loop: inputs in, effects handed out. No work here.

use super::Parts;
use super::exchange::{Exchange, INSTRUCTIONS_MAX, Instruction};
use super::ingress::{Asked, Incoming, Ledger as LedgerNews, Over, Staged, Told};
use crate::actors::coordinator::Committed;
use crate::actors::wake::Wake;
use crate::run::Shared;
use actix::fut::wrap_future;
use actix::{Actor, AsyncContext, Context, Handler};
use floe_ledger::{Event, StateError, views};
use floe_machines::custody::{Custody, Effect, Input, Room, StreamId};
use floe_machines::ledger_view::LedgerAt;
use floe_machines::wire::fragment::Answer;
use floe_types::{Committee, Epoch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// How often it is looked how full the disk is.
const ROOM_EVERY: Duration = Duration::from_secs(15);

/// What changes only with epochs.
pub(super) struct Ledger {
    epoch: Epoch,
    committee: Arc<Committee>,
}

impl Ledger {
    /// As the state has it now.
    pub(super) fn read(shared: &Shared) -> Result<Ledger, StateError> {
        let snapshot = shared.store.snapshot();
        let committee = Arc::new(views::committee(&snapshot)?);
        Ok(Ledger { epoch: views::head(&snapshot)?.epoch, committee })
    }
}

/// An exchange as the actor knows it.
#[derive(Default)]
struct Open {
    instructions: Option<mpsc::Sender<Instruction>>,
    staged: Option<Staged>,
}

/// The shell of custody.
pub(super) struct FragmentsActor {
    pub(super) parts: Arc<Parts>,
    machine: Custody,
    ledger: Ledger,
    open: BTreeMap<StreamId, Open>,
    next_stream: u64,
    started: Instant,
    wake: Wake,
}

impl FragmentsActor {
    pub(super) fn new(parts: Arc<Parts>, ledger: Ledger) -> FragmentsActor {
        let machine = Custody::new(parts.shared.node, parts.config.custody.clone());
        let (open, started) = (BTreeMap::new(), Instant::now());
        FragmentsActor { parts, machine, ledger, open, next_stream: 0, started, wake: Wake::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn input(&mut self, input: Input, context: &mut Context<Self>) {
        let shared = &self.parts.shared;
        let view = LedgerAt::new(&shared.store, &shared.context, self.ledger.epoch, &self.ledger.committee);
        let effects = self.machine.step(self.now(), &view, input);
        if let Some(error) = view.trouble() {
            tracing::error!(%error, "the ledger cannot be read");
        }
        for effect in effects {
            self.hand_out(effect, context);
        }
        self.set_timer(context);
    }

    fn set_timer(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        self.wake.follow(self.machine.wake_at(), now, context, |actor, context| {
            actor.wake.rang();
            actor.input(Input::Tick, context);
        });
    }

    fn hand_out(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Receive { stream, key, bytes } => self.instruct(stream, Instruction::Receive { key, bytes }),
            Effect::Answer { stream, answer } => {
                self.count(&answer);
                self.end(stream, Instruction::Answer(answer));
            }
            Effect::Sign { stream, confirmation } => {
                let signature = confirmation.sign(&self.parts.key);
                self.end(stream, Instruction::Answer(Answer::Confirmation { signature }));
            }
            Effect::Serve { stream, span, .. } => {
                self.parts.shared.metrics.fragments_served.with_label_values(&["served"]).inc();
                self.instruct(stream, Instruction::Serve { span });
            }
            Effect::Help { stream, .. } => {
                self.parts.shared.metrics.fragments_served.with_label_values(&["helped"]).inc();
                self.instruct(stream, Instruction::Help);
            }
            Effect::ServeUnits { stream, axis, run } => {
                self.parts.shared.metrics.fragments_served.with_label_values(&["served"]).inc();
                self.instruct(stream, Instruction::ServeUnits { axis, run });
            }
            Effect::Close { stream } => self.end(stream, Instruction::Close),
            Effect::Keep { keep, streams } => {
                let staged = streams.iter().filter_map(|stream| self.open.get_mut(stream)?.staged.take()).collect();
                self.keep(keep, staged, context);
            }
            other => self.carry_out(other, context),
        }
    }

    /// Counts answers to offers and reads by what they say.
    fn count(&self, answer: &Answer) {
        let metrics = &self.parts.shared.metrics;
        match answer {
            Answer::Stored => metrics.fragments_received.with_label_values(&["stored"]).inc(),
            Answer::Refused { reason, .. } => {
                let outcome = match reason {
                    floe_machines::wire::fragment::Refusal::NotHeld => {
                        return metrics.fragments_served.with_label_values(&["not_held"]).inc();
                    }
                    _ => "refused",
                };
                metrics.fragments_received.with_label_values(&[outcome]).inc();
            }
            Answer::Busy { .. } => metrics.fragments_received.with_label_values(&["busy"]).inc(),
            Answer::Confirmation { .. }
            | Answer::Sliver { .. }
            | Answer::Symbol { .. }
            | Answer::Judged { .. }
            | Answer::QuietRetry { .. } => {}
        }
    }

    fn instruct(&mut self, stream: StreamId, instruction: Instruction) {
        if let Some(sender) = self.open.get(&stream).and_then(|open| open.instructions.as_ref()) {
            // Never full: an exchange gets at most two instructions. Closed: it will say that it is over.
            let _ = sender.try_send(instruction);
        }
    }

    /// The last instruction: what was staged and not kept goes.
    fn end(&mut self, stream: StreamId, instruction: Instruction) {
        self.instruct(stream, instruction);
        if let Some(open) = self.open.get_mut(&stream) {
            open.staged = None;
        }
    }

    fn follow(&mut self, committed: &Committed, context: &mut Context<Self>) {
        let is_boundary = committed.epoch != self.ledger.epoch;
        if is_boundary {
            self.reread();
        }
        if committed.events.iter().any(|event| matches!(event, Event::Registered { .. })) {
            self.input(Input::LedgerAdvanced, context);
        }
        for event in &committed.events {
            if let Event::Certified { blob, .. } = event {
                self.input(Input::BlobCertified { blob: *blob }, context);
            }
        }
        if is_boundary {
            self.input(Input::EpochBegan, context);
        }
    }

    /// Tells the machine how full the disk is.
    fn look_at_room(&self, context: &mut Context<Self>) {
        let (parts, address) = (Arc::clone(&self.parts), context.address());
        context.spawn(wrap_future(async move {
            let (store, full) = (parts.shared.store.clone(), u128::from(parts.config.full_percent));
            // What cannot be found out changes nothing: the next look is soon.
            let Ok(Ok(room)) = parts.workers.run(move || store.room()).await else { return };
            let all = u128::from(room.used).saturating_add(u128::from(room.left));
            let scarce = u128::from(room.used) * 100 > all * full;
            let input = Input::Room(if scarce { Room::Scarce } else { Room::Ample });
            // Closed: the node is stopping.
            let _ = address.send(Told { input, staged: None }).await;
        }));
    }

    fn reread(&mut self) {
        match Ledger::read(&self.parts.shared) {
            Ok(ledger) => self.ledger = ledger,
            Err(error) => tracing::error!(%error, "the ledger cannot be read"),
        }
    }
}

impl Actor for FragmentsActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let mut blocks = self.parts.shared.coordinator.committed();
        let address = context.address();
        actix::spawn(async move {
            loop {
                let news = match blocks.recv().await {
                    Ok(committed) => LedgerNews::Decided(committed),
                    Err(RecvError::Lagged(_)) => LedgerNews::Missed,
                    Err(RecvError::Closed) => return,
                };
                if address.send(news).await.is_err() {
                    return;
                }
            }
        });
        self.reread();
        self.check_confirmations(context);
        self.input(Input::Started, context);
        self.look_at_room(context);
        context.run_interval(ROOM_EVERY, |actor, context| actor.look_at_room(context));
    }
}

impl Handler<Incoming> for FragmentsActor {
    type Result = ();

    fn handle(&mut self, Incoming { peer, pipe }: Incoming, context: &mut Context<Self>) {
        if self.open.len() >= self.parts.config.exchanges_max {
            return;
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        self.open.insert(stream, Open::default());
        let (parts, committee) = (Arc::clone(&self.parts), Arc::clone(&self.ledger.committee));
        let exchange = Exchange { parts, address: context.address(), committee, stream, peer, pipe };
        context.spawn(wrap_future(exchange.run()));
    }
}

impl Handler<Asked> for FragmentsActor {
    type Result = ();

    fn handle(&mut self, asked: Asked, context: &mut Context<Self>) {
        debug_assert!(asked.instructions.max_capacity() == INSTRUCTIONS_MAX);
        if let Some(open) = self.open.get_mut(&asked.stream) {
            open.instructions = Some(asked.instructions);
            self.input(asked.input, context);
        }
    }
}

impl Handler<Told> for FragmentsActor {
    type Result = ();

    fn handle(&mut self, told: Told, context: &mut Context<Self>) {
        if let Some((stream, staged)) = told.staged
            && let Some(open) = self.open.get_mut(&stream)
        {
            open.staged = Some(staged);
        }
        self.input(told.input, context);
    }
}

impl Handler<Over> for FragmentsActor {
    type Result = ();

    fn handle(&mut self, Over { stream }: Over, context: &mut Context<Self>) {
        self.input(Input::Gone { stream }, context);
        // A verified fragment may still be waiting for its siblings: it is kept although nobody waits for the answer.
        if self.open.get(&stream).is_some_and(|open| open.staged.is_none()) {
            self.open.remove(&stream);
        } else if let Some(open) = self.open.get_mut(&stream) {
            open.instructions = None;
        }
    }
}

impl Handler<LedgerNews> for FragmentsActor {
    type Result = ();

    fn handle(&mut self, news: LedgerNews, context: &mut Context<Self>) {
        match news {
            LedgerNews::Decided(committed) => self.follow(&committed, context),
            LedgerNews::Missed => {
                self.reread();
                self.input(Input::LedgerAdvanced, context);
                self.input(Input::EpochBegan, context);
            }
        }
    }
}
