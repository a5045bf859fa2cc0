//! The loop: inputs in, effects handed out. Nothing here waits but for a report to be durable.

use super::{Asked, Parts, Unreadable};
use crate::actors::wake::{self, Wake};
use crate::clock::unix_millis;
use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use bytes::Bytes;
use floe_erasure::pair_of;
use floe_ledger::challenges::{Question, Slip};
use floe_machines::challenges::{AskId, Challenger, Config, Effect, ExchangeId, Input, ObservationToken, show};
use floe_machines::coordinator::Judgement;
use floe_machines::fragments::FragmentStore;
use floe_machines::wire::challenge::{Denial, Reply as MachineReply};
use floe_network::{Event, GossipVerdict, Offence, Reply, Topic};
use floe_types::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// What the machine is told.
#[derive(Message)]
#[rtype(result = "()")]
struct Told(Input);

pub(super) struct ChallengerActor {
    parts: Arc<Parts>,
    machine: Challenger,
    /// Until the machine has started.
    kept: Option<Vec<u8>>,
    observations: Option<mpsc::Receiver<Event>>,
    unread: Option<mpsc::Receiver<Unreadable>>,
    /// Answers owed, as many as the machine lets in.
    replies: BTreeMap<ExchangeId, Reply>,
    next_exchange: u64,
    /// The observation being stepped.
    verdict: Option<GossipVerdict>,
    next_token: u64,
    wake: Wake,
}

impl ChallengerActor {
    pub(super) fn new(
        parts: Arc<Parts>,
        (config, kept): (Config, Option<Vec<u8>>),
        (observations, unread): (mpsc::Receiver<Event>, mpsc::Receiver<Unreadable>),
    ) -> ChallengerActor {
        let network = (parts.context.network, parts.context.params.clone());
        let machine = Challenger::new(config, network, parts.identity.clone());
        ChallengerActor {
            parts,
            machine,
            kept,
            observations: Some(observations),
            unread: Some(unread),
            replies: BTreeMap::new(),
            next_exchange: 0,
            verdict: None,
            next_token: 0,
            wake: Wake::default(),
        }
    }

    fn input(&mut self, input: Input, context: &mut Context<Self>) {
        let stepped = {
            let snapshot = self.parts.store.snapshot();
            self.machine.step(unix_millis(), &snapshot, input)
        };
        match stepped {
            Ok(effects) => self.hand_out(effects, context),
            Err(error) => tracing::error!(%error, "what to ask of the others cannot be found out"),
        }
        self.count();
        self.set_timer(context);
    }

    fn hand_out(&mut self, effects: Vec<Effect>, context: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Ask { ask, to, bytes } => self.ask((ask, to), bytes, context),
                Effect::Publish { bytes } => {
                    // Nobody listening is no fault, and what is lost moves screens only.
                    let _ = self.parts.network.try_publish(Topic::Observations, bytes);
                }
                Effect::Judge { token: _, judgement } => {
                    if let Some(verdict) = self.verdict.take() {
                        match judgement {
                            Judgement::Accept => verdict.accept(),
                            Judgement::Ignore => verdict.ignore(),
                            Judgement::Reject => verdict.reject(),
                        }
                    }
                }
                Effect::Open { exchange, slip } => self.open(exchange, slip, context),
                Effect::Reply { exchange, bytes } => {
                    if let Some(reply) = self.replies.remove(&exchange) {
                        // Gone: the asker has given up.
                        let _ = reply.send(bytes);
                    }
                }
                Effect::Keep { epoch, bytes } => {
                    if let Err(error) = self.parts.store.keep_report(&bytes) {
                        // What is not durable is not said: a report less is better than two.
                        tracing::error!(%error, epoch = epoch.0, "what is to be reported cannot be kept, so nothing is reported");
                        return;
                    }
                }
                Effect::Duty { action } => self.parts.coordinator.duty(action),
                Effect::Blame { node, cause } => {
                    tracing::debug!(node = %node.short(), cause, "a member gave what it should not have");
                    self.parts.network.report(node, Offence::Garbage);
                }
            }
        }
    }

    fn ask(&self, (ask, to): (AskId, NodeId), bytes: Bytes, context: &mut Context<Self>) {
        let network = self.parts.network.clone();
        self.then_tell(context, async move {
            Some(match network.request_challenge(to, bytes).await {
                Ok(bytes) => Input::Answered { ask, bytes },
                Err(_) => Input::Failed { ask },
            })
        });
    }

    fn open(&mut self, exchange: ExchangeId, slip: Slip, context: &mut Context<Self>) {
        let (parts, reply) = (Arc::clone(&self.parts), self.replies.remove(&exchange));
        self.then_tell(context, async move {
            let at = Arc::clone(&parts);
            let shown = parts.workers.run(move || {
                let (network, shards) = (at.context.network, at.context.params.shards);
                let shown = show(&network, shards, &slip, (&at.store, &at.hashes), &at.identity.network_key);
                if let (MachineReply::No(Denial::NotHeld), Question::Chunk(sample)) = (&shown, &slip.question) {
                    // What is there and cannot be shown is looked at; a full queue leaves it to the pass.
                    let pair = pair_of(&sample.blob, sample.shard, shards);
                    let record = at.store.record(&sample.blob, pair).ok().flatten();
                    record.map(|record| at.suspects.try_send(record.key));
                }
                shown
            });
            if let (Ok(shown), Some(reply)) = (shown.await, reply) {
                let _ = reply.send(shown.encode());
            }
            Some(Input::Opened { exchange })
        });
    }

    fn count(&self) {
        let (metrics, counts) = (&self.parts.metrics, self.machine.counts());
        let outcomes = [
            ("passed", counts.passed),
            ("late", counts.late),
            ("missed", counts.missed),
            ("silent", counts.silent),
            ("shown_again", counts.shown_again),
            ("missed_again", counts.missed_again),
            ("shown_to_reader", counts.shown_to_reader),
            ("missed_by_reader", counts.missed_by_reader),
        ];
        for (outcome, count) in outcomes {
            let counter = metrics.challenges_sent.with_label_values(&[outcome]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    fn then_tell(&self, context: &mut Context<Self>, work: impl Future<Output = Option<Input>> + 'static) {
        wake::then_tell(context, async move { work.await.map(Told) });
    }

    fn set_timer(&mut self, context: &mut Context<Self>) {
        let now = unix_millis();
        self.wake.follow(self.machine.wake_at(), now, context, |actor, context| {
            actor.wake.rang();
            actor.input(Input::Tick, context);
        });
    }
}

impl Actor for ChallengerActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let mut blocks = self.parts.coordinator.committed();
        let address = context.address();
        actix::spawn(async move {
            loop {
                match blocks.recv().await {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
                if address.send(Told(Input::Advanced)).await.is_err() {
                    return;
                }
            }
        });
        if let Some(mut observations) = self.observations.take() {
            let observations = futures::stream::poll_fn(move |task| observations.poll_recv(task));
            <ChallengerActor as StreamHandler<Event>>::add_stream(observations, context);
        }
        if let Some(unread) = self.unread.take() {
            wake::forward(context, unread, |Unreadable { holder, what }| Told(Input::Unread { holder, what }));
        }
        let kept = self.kept.take();
        self.input(Input::Started { kept }, context);
    }
}

impl StreamHandler<Event> for ChallengerActor {
    fn handle(&mut self, event: Event, context: &mut Context<Self>) {
        let Event::Gossip { bytes, verdict, .. } = event else { return };
        self.verdict = Some(verdict);
        let token = ObservationToken(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        self.input(Input::Observed { token, bytes }, context);
        // Dropped without a judgement: ignored.
        self.verdict = None;
    }

    fn finished(&mut self, _context: &mut Context<Self>) {}
}

impl Handler<Asked> for ChallengerActor {
    type Result = ();

    fn handle(&mut self, Asked { from, bytes, reply }: Asked, context: &mut Context<Self>) {
        let exchange = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        self.replies.insert(exchange, reply);
        self.parts.metrics.challenges_received.inc();
        self.input(Input::Asked { exchange, peer: from, bytes }, context);
    }
}

impl Handler<Told> for ChallengerActor {
    type Result = ();

    fn handle(&mut self, Told(input): Told, context: &mut Context<Self>) {
        self.input(input, context);
    }
}
