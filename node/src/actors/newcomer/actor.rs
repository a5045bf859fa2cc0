//! The loop: inputs in, effects handed out.

use super::MAILBOX_MAX;
use crate::run::Shared;
use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use floe_ledger::evidence::TermLink;
use floe_ledger::snapshot::Outline;
use floe_machines::snapshot::{Config, Effect, Input, Progress, SnapshotSync};
use floe_network::Offence;
use floe_storage::{StorageError, Store};
use floe_types::{Genesis, Height};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Parts {
    pub shared: Shared,
    /// Told when the store must be opened anew.
    pub arrived: mpsc::Sender<()>,
    /// Shown how far it is.
    pub shown: watch::Sender<Option<Progress>>,
    /// Told when the actor has ended.
    pub ended: Option<oneshot::Sender<()>>,
}

/// What the machine is told.
#[derive(Message)]
#[rtype(result = "()")]
struct Told(Input);

pub(super) struct Newcomer {
    parts: Parts,
    machine: SnapshotSync,
    began: Instant,
    said: Option<Instant>,
    timer: Option<SpawnHandle>,
}

/// What is done in the store, in the order in which the machine says it.
enum Job {
    Begin(Effect),
    Keep(u32, bytes::Bytes),
    Complete(Box<Outline>, Vec<TermLink>),
}

impl Newcomer {
    pub fn new(parts: Parts, genesis: &Genesis, ahead: u64) -> Result<Newcomer, StorageError> {
        let tip = parts.shared.store.last_height().unwrap_or_default();
        let worth = Height(tip.0.saturating_add(ahead));
        let machine = SnapshotSync::new(Config::default(), genesis, worth, parts.shared.store.arriving()?);
        Ok(Newcomer { parts, machine, began: Instant::now(), said: None, timer: None })
    }

    fn input(&mut self, input: Input, context: &mut Context<Self>) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut jobs = Vec::new();
        for effect in self.machine.step(now, input) {
            match effect {
                Effect::Ask { to, bytes } => {
                    let network = self.parts.shared.network.clone();
                    let asked = wrap_future::<_, Self>(async move { network.request_blocks(to, bytes).await });
                    context.spawn(asked.map(move |answer, actor, context| {
                        let input = match answer {
                            Ok(bytes) => Input::Answered { from: to, bytes },
                            Err(_) => Input::Failed { from: to },
                        };
                        actor.input(input, context);
                    }));
                }
                Effect::SetTimer { after_millis } => self.set_timer(after_millis, context),
                Effect::Blame { node, cause } => {
                    tracing::warn!(node = %node.short(), cause, "a peer misled this node on its way to a snapshot");
                    self.parts.shared.network.report(node, Offence::Garbage);
                }
                Effect::NothingOffered => {
                    if self.parts.shared.coordinator.live().far_behind.is_none() && self.has_peers() {
                        context.stop();
                    }
                }
                Effect::Keep { index, bytes } => jobs.push(Job::Keep(index, bytes)),
                Effect::Complete { outline, terms } => jobs.push(Job::Complete(outline, terms)),
                begin @ Effect::Begin { .. } => jobs.push(Job::Begin(begin)),
            }
        }
        self.work(jobs, context);
        self.say();
    }

    fn has_peers(&self) -> bool {
        self.parts.shared.network.peers().iter().any(|peer| peer.connected)
    }

    fn set_timer(&mut self, after_millis: u64, context: &mut Context<Self>) {
        let handle = context.run_later(Duration::from_millis(after_millis), |actor, context| {
            actor.timer = None;
            actor.input(Input::TimerFired, context);
        });
        if let Some(before) = self.timer.replace(handle) {
            context.cancel_future(before);
        }
    }

    /// Does `jobs` on a thread that may wait for the disk; nothing else is taken in meanwhile.
    fn work(&self, jobs: Vec<Job>, context: &mut Context<Self>) {
        if jobs.is_empty() {
            return;
        }
        let store = self.parts.shared.store.clone();
        let done = wrap_future::<_, Self>(async move {
            tokio::task::spawn_blocking(move || jobs.into_iter().try_fold(Next::GoOn, |_, job| carry_out(&store, job)))
                .await
        });
        context.wait(done.map(|done, actor, context| match done {
            Ok(Ok(Next::GoOn)) => {}
            // The receiver waits for the first word; more are not needed.
            Ok(Ok(Next::OpenAnew)) => drop(actor.parts.arrived.try_send(())),
            Ok(Ok(Next::End)) | Err(_) => context.stop(),
            Ok(Err(error)) => {
                tracing::error!(%error, "a snapshot cannot be kept");
                context.stop();
            }
        }));
    }

    fn say(&mut self) {
        let progress = self.machine.progress();
        let Progress { height: Some(height), chunks, kept, bytes, signed, .. } = progress else { return };
        self.parts.shown.send_replace(Some(progress));
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) || kept == chunks {
            self.said = Some(Instant::now());
            let (members, shards) = signed;
            tracing::info!(
                height = height.0,
                kept,
                chunks,
                bytes,
                members,
                shards,
                "a snapshot is arriving, signed by members with shards"
            );
        }
    }
}

/// What comes after a job.
enum Next {
    GoOn,
    /// Blocks were faster.
    End,
    OpenAnew,
}

fn carry_out(store: &Store, job: Job) -> Result<Next, StorageError> {
    match job {
        Job::Begin(Effect::Begin { outline, parts, kept }) => store.arriving_begin(&outline, &parts, &kept)?,
        Job::Begin(_) => {}
        Job::Keep(index, bytes) => store.arriving_chunk(index, &bytes)?,
        Job::Complete(outline, terms) => {
            let offered = outline.sealed.open().map(|opened| opened.header.height).unwrap_or_default();
            if store.last_height().is_some_and(|tip| tip >= offered) {
                return Ok(Next::End);
            }
            store.restore_at_next_opening(&terms)?;
            return Ok(Next::OpenAnew);
        }
    }
    Ok(Next::GoOn)
}

impl Actor for Newcomer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(MAILBOX_MAX);
        let mut peers = self.parts.shared.network.watch_peers();
        let address = context.address();
        actix::spawn(async move {
            loop {
                let connected =
                    peers.borrow_and_update().iter().filter(|peer| peer.connected).map(|peer| peer.node).collect();
                if address.send(Told(Input::Peers(connected))).await.is_err() || peers.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn stopped(&mut self, _context: &mut Context<Self>) {
        self.parts.shown.send_replace(None);
        // Nobody waits when the node is stopping.
        let _ = self.parts.ended.take().map(|ended| ended.send(()));
    }
}

impl Handler<Told> for Newcomer {
    type Result = ();

    fn handle(&mut self, Told(input): Told, context: &mut Context<Self>) {
        self.input(input, context);
    }
}
