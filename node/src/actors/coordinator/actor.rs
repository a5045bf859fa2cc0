//! The loop: inputs in, effects carried out in order. No decisions here.

use super::ingress::{
    Committed, CoordinatorHandle, CoordinatorParts, Duty, Live, Relay, StatusAsked, Stop, Submission, Submit,
};
use super::{COMMITTED_MAX, MAILBOX_MAX};
use actix::fut::wrap_future;
use actix::{
    Actor, ActorContext, ActorFutureExt, Arbiter, AsyncContext, Context, Handler, MessageResult, SpawnHandle,
    StreamHandler,
};
use bytes::Bytes;
use floe_consensus::JournalEntry;
use floe_machines::coordinator::{
    Commit, Coordinator, Effect, GossipToken, Input, Judgement, Outcome, SubmitError, Ticket, Timer, Topic,
};
use floe_network::{Event, GossipVerdict};
use floe_storage::{Brought, StorageError};
use floe_types::{NodeId, TransactionId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot, watch};

/// Why the shell cannot go on.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    State(#[from] floe_ledger::StateError),
}

/// The coordinator's shell.
pub struct CoordinatorActor {
    parts: CoordinatorParts,
    timers: BTreeMap<Timer, SpawnHandle>,
    /// Entries not yet written: they must be before the next publish.
    journal: Vec<JournalEntry>,
    verdict: Option<GossipVerdict>,
    /// The answer to the submission being stepped, and who waits for what became of earlier ones.
    submitted: Option<Result<TransactionId, SubmitError>>,
    settling: BTreeMap<Ticket, oneshot::Sender<Outcome>>,
    next_ticket: u64,
    live: watch::Sender<Arc<Live>>,
    committed: broadcast::Sender<Arc<Committed>>,
    failed: bool,
}

/// Starts the coordinator on a thread of its own, with the journal's entries above the newest block.
///
/// # Errors
/// The store's words when the journal cannot be read.
pub fn start(mut parts: CoordinatorParts) -> Result<(CoordinatorHandle, Arbiter), StorageError> {
    let above = floe_types::Height(parts.machine.head().height.0 + 1);
    let journal = parts.store.journal_entries(above)?;
    let live = live_view(&parts.machine);
    let (live_sender, live_receiver) = watch::channel(Arc::new(live));
    let (committed, _) = broadcast::channel(COMMITTED_MAX);
    let arbiter = Arbiter::new();
    let sender = committed.clone();
    let address = CoordinatorActor::start_in_arbiter(&arbiter.handle(), move |context| {
        context.set_mailbox_capacity(MAILBOX_MAX);
        for lane in [&mut parts.consensus, &mut parts.transactions] {
            let (_, closed) = tokio::sync::mpsc::channel(1);
            let mut lane = std::mem::replace(lane, closed);
            let lane = futures::stream::poll_fn(move |task| lane.poll_recv(task));
            <CoordinatorActor as StreamHandler<Event>>::add_stream(lane, context);
        }
        let mut actor = CoordinatorActor {
            parts,
            timers: BTreeMap::new(),
            journal: Vec::new(),
            verdict: None,
            submitted: None,
            settling: BTreeMap::new(),
            next_ticket: 0,
            live: live_sender,
            committed: sender,
            failed: false,
        };
        let entry = |bytes: Vec<u8>| JournalEntry { height: floe_consensus::Height(above.0), bytes: bytes.into() };
        let journal = journal.into_iter().map(entry).collect();
        actor.input(Input::Started { journal }, context);
        actor
    });
    Ok((CoordinatorHandle { address, live: live_receiver, committed }, arbiter))
}

impl Actor for CoordinatorActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _context: &mut Context<Self>) {
        // What was not written was not acted upon; writing it saves the next start a few votes.
        if !self.failed {
            let _ = self.write_journal();
        }
    }
}

impl CoordinatorActor {
    fn input(&mut self, input: Input, context: &mut Context<Self>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(next) = inputs.pop_front() {
            if self.failed {
                return;
            }
            let now = crate::clock::unix_millis();
            match self.parts.machine.step(now, &self.parts.store, next) {
                Ok(effects) => {
                    for effect in effects {
                        match self.carry_out(effect, context) {
                            // Nothing is stepped between a commit and its answer.
                            Ok(Some(Input::Committed)) => inputs.push_front(Input::Committed),
                            Ok(Some(answer)) => inputs.push_back(answer),
                            Ok(None) => {}
                            Err(error) => return self.fail(error.to_string(), context),
                        }
                    }
                }
                Err(error) => return self.fail(error.to_string(), context),
            }
        }
        self.show_live();
    }

    fn carry_out(&mut self, effect: Effect, context: &mut Context<Self>) -> Result<Option<Input>, Halt> {
        match effect {
            Effect::Journal(entry) => self.journal.push(entry),
            Effect::Publish { topic, bytes } => {
                self.write_journal()?;
                self.publish(topic, bytes);
            }
            Effect::Judge { token: _, judgement } => self.judge(judgement),
            Effect::SetTimer { timer, after_millis } => self.set_timer(timer, after_millis, context),
            Effect::CancelTimer(timer) => {
                if let Some(handle) = self.timers.remove(&timer) {
                    context.cancel_future(handle);
                }
            }
            Effect::CancelConsensusTimers => {
                let wake = self.timers.remove(&Timer::Wake);
                for handle in std::mem::take(&mut self.timers).into_values() {
                    context.cancel_future(handle);
                }
                self.timers.extend(wake.map(|handle| (Timer::Wake, handle)));
            }
            Effect::Commit(commit) => {
                self.commit(*commit)?;
                return Ok(Some(Input::Committed));
            }
            Effect::AskStatus { to, nonce, bytes } => self.ask_status(to, nonce, bytes, context),
            Effect::FetchBlocks { from, bytes } => self.fetch_blocks(from, bytes, context),
            Effect::Submitted { ticket: _, result } => self.submitted = Some(result),
            Effect::Settled { ticket, outcome } => {
                if let Some(waiting) = self.settling.remove(&ticket) {
                    // Nobody listens any more: the outcome is in the ledger for whoever looks.
                    let _ = waiting.send(outcome);
                }
            }
            Effect::MakeVoteKey { term } => match self.parts.vote_keys.make(term) {
                Ok(secret) => return Ok(Some(Input::VoteKeyMade { term, secret })),
                // The key in use goes on serving; the next epoch tries again.
                Err(error) => tracing::error!(%error, term, "no vote key could be made"),
            },
            Effect::KeepVoteKeys { keys } => {
                if let Err(error) = self.parts.vote_keys.keep(&keys) {
                    tracing::error!(%error, "a past vote key could not be removed");
                }
            }
            Effect::FarBehind { height } => tracing::info!(height = height.0, "far behind: looking for a snapshot"),
            Effect::MemoryLost { below } => self.parts.store.memory_is_lost(below)?,
            Effect::MemoryWhole => self.parts.store.memory_is_whole()?,
            Effect::Blame { node, cause } => tracing::warn!(node = %node.short(), cause, "a member misbehaved"),
        }
        Ok(None)
    }

    /// Steps the machine with a submission and waits for nothing: its answer comes in the same step.
    fn submit(
        &mut self,
        input: impl FnOnce(Ticket) -> Input,
        context: &mut Context<Self>,
    ) -> Result<Submission, SubmitError> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (sender, settled) = oneshot::channel();
        self.settling.insert(ticket, sender);
        self.submitted = None;
        self.input(input(ticket), context);
        let result = self.submitted.take().unwrap_or(Err(SubmitError::Busy { count: 0 }));
        if result.is_err() {
            self.settling.remove(&ticket);
        }
        result.map(|transaction| Submission { transaction, settled })
    }

    fn write_journal(&mut self) -> Result<(), Halt> {
        if self.journal.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> = self.journal.iter().map(|e| (floe_types::Height(e.height.0), &e.bytes[..])).collect();
        self.parts.store.journal_append(&entries)?;
        self.journal.clear();
        Ok(())
    }

    fn publish(&self, topic: Topic, bytes: Bytes) {
        let topic = match topic {
            Topic::Transactions => floe_network::Topic::Transactions,
            Topic::Consensus => floe_network::Topic::Consensus,
        };
        // Not sent is repaired by rebroadcast and catching up; it is counted by the network.
        let _ = self.parts.network.try_publish(topic, bytes);
    }

    fn judge(&mut self, judgement: Judgement) {
        if let Some(verdict) = self.verdict.take() {
            match judgement {
                Judgement::Accept => verdict.accept(),
                Judgement::Ignore => verdict.ignore(),
                Judgement::Reject => verdict.reject(),
            }
        }
    }

    fn set_timer(&mut self, timer: Timer, after_millis: u64, context: &mut Context<Self>) {
        let fire = move |actor: &mut Self, context: &mut Context<Self>| {
            actor.timers.remove(&timer);
            actor.input(Input::TimerFired(timer), context);
        };
        let handle = context.run_later(Duration::from_millis(after_millis), fire);
        if let Some(before) = self.timers.insert(timer, handle) {
            context.cancel_future(before);
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<(), Halt> {
        self.write_evidence(&commit)?;
        // The journal up to this height goes with the commit; what was gathered for it is not needed any more.
        self.journal.retain(|entry| entry.height.0 > commit.height.0);
        let brought = Brought { state: &commit.changes, history: &commit.history };
        self.parts.store.commit_block(commit.height, &commit.block, &commit.certificate, brought)?;
        self.parts.metrics.committed(&commit, &self.parts.account);
        let epoch = floe_ledger::views::head(&self.parts.store).map(|head| head.epoch);
        let epoch = epoch.map_err(Halt::State)?;
        let ended = commit.events.iter().find_map(|event| match event {
            floe_ledger::Event::EpochEnded { epoch, .. } => Some(*epoch),
            _ => None,
        });
        if let Some(ended) = ended {
            self.parts.network.set_members(crate::actors::network::members(&self.parts.store)?);
            self.parts.history.epoch_ended(ended);
        }
        // No listener is fine: the state has it all.
        let _ = self.committed.send(Arc::new(Committed { height: commit.height, epoch, events: commit.events }));
        Ok(())
    }

    fn write_evidence(&self, commit: &Commit) -> Result<(), Halt> {
        if commit.equivocations.is_empty() {
            return Ok(());
        }
        for equivocation in &commit.equivocations {
            let key = hex::encode(equivocation.key().0);
            tracing::warn!(height = commit.height.0, %key, "a member signed two things");
        }
        let pieces: Vec<_> = commit.equivocations.iter().map(floe_consensus::Equivocation::encode).collect();
        self.parts.store.keep_evidence(commit.height, &pieces)?;
        Ok(())
    }

    fn ask_status(&mut self, to: NodeId, nonce: u64, bytes: Bytes, context: &mut Context<Self>) {
        let network = self.parts.network.clone();
        let asked = wrap_future::<_, Self>(async move { network.request_status(to, bytes).await });
        context.spawn(asked.map(move |answer, actor, context| {
            let input = match answer {
                Ok(bytes) => Input::StatusAnswered { from: to, bytes },
                Err(_) => Input::StatusFailed { from: to, nonce },
            };
            actor.input(input, context);
        }));
    }

    fn fetch_blocks(&mut self, from: NodeId, bytes: Bytes, context: &mut Context<Self>) {
        let network = self.parts.network.clone();
        let fetched = wrap_future::<_, Self>(async move { network.request_blocks(from, bytes).await });
        context.spawn(fetched.map(move |answer, actor, context| {
            let input = match answer {
                Ok(bytes) => Input::BlocksFetched { from, bytes },
                Err(_) => Input::BlocksFailed { from },
            };
            actor.input(input, context);
        }));
    }

    /// Stops for good: a machine that failed is not stepped again, and the process ends for a restart to replay.
    fn fail(&mut self, reason: String, context: &mut Context<Self>) {
        tracing::error!(%reason, "the coordinator cannot go on");
        self.failed = true;
        // The receiver ends the process at the first word; more words are not needed.
        let _ = self.parts.failed.try_send(reason);
        context.stop();
    }

    fn show_live(&mut self) {
        self.live.send_replace(Arc::new(live_view(&self.parts.machine)));
    }
}

fn live_view(machine: &Coordinator) -> Live {
    Live {
        head: machine.head().clone(),
        members: machine.attendance().live().iter().map(|(node, seen)| (*node, *seen)).collect(),
        undecided_since: machine.undecided_since(),
        behind: machine.is_behind(),
        far_behind: machine.far_behind(),
        waiting_transactions: machine.waiting_transactions(),
    }
}

/// Votes, proposals and transactions come as streams out of the network's bounded queues: no mailbox between.
impl StreamHandler<Event> for CoordinatorActor {
    fn handle(&mut self, event: Event, context: &mut Context<Self>) {
        let Event::Gossip { topic, bytes, verdict, from: _ } = event else { return };
        self.verdict = Some(verdict);
        let token = GossipToken(0);
        let input = match topic {
            floe_network::Topic::Transactions => Input::TransactionMessage { token, bytes },
            floe_network::Topic::Consensus => Input::ConsensusMessage { token, bytes },
            // They have a queue of their own, which is the challenger's.
            floe_network::Topic::Observations => return,
        };
        self.input(input, context);
        self.verdict = None;
    }

    /// The network's end of the queue is gone: the node is stopping, and says so to the coordinator itself.
    fn finished(&mut self, _context: &mut Context<Self>) {}
}

impl Handler<StatusAsked> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, asked: StatusAsked, _context: &mut Context<Self>) {
        match self.parts.machine.answer_status(&asked.bytes) {
            // The asker may be gone by now.
            Some(answer) => drop(asked.reply.send(answer)),
            None => asked.reply.reject(),
        }
    }
}

impl Handler<Submit> for CoordinatorActor {
    type Result = MessageResult<Submit>;

    fn handle(&mut self, Submit(action): Submit, context: &mut Context<Self>) -> Self::Result {
        MessageResult(self.submit(|ticket| Input::Submit { ticket, action }, context))
    }
}

impl Handler<Duty> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, Duty(action): Duty, context: &mut Context<Self>) {
        self.input(Input::Duty { action }, context);
    }
}

impl Handler<Relay> for CoordinatorActor {
    type Result = MessageResult<Relay>;

    fn handle(&mut self, Relay(transaction): Relay, context: &mut Context<Self>) -> Self::Result {
        MessageResult(self.submit(|ticket| Input::Relay { ticket, transaction }, context))
    }
}

impl Handler<Stop> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, _stop: Stop, context: &mut Context<Self>) {
        context.stop();
    }
}
