//! One store: carries out the effects of an upload's machine.

use super::receipt::{self, Came, Deletable};
use super::register::{Registered, Wish, register};
use super::spool::{self, Spool};
use super::{Parts, outbound, problems};
use crate::actors::wake;
use crate::actors::workers::Stopping;
use floe_api::Problem;
use floe_api::model::{Receipt, StoreProgress};
use floe_api::service::{Existing, Persistence, StoreRequest};
use floe_ledger::{Action, Attributes, MemberSet};
use floe_machines::coordinator::Outcome as Settled;
use floe_machines::ledger_view::LedgerView;
use floe_machines::upload::{Effect, Failure, Input, Phase, Upload, UploadRecord};
use floe_types::bls::BlsSignature;
use floe_types::{BlobId, EpochCount, Height, Layout, NodeId, RegistrationNumber, ShardIndex, TransactionId};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// News that wait for a store; whoever has more waits.
const NEWS_MAX: usize = 128;

/// Things that tasks tell a store.
enum News {
    /// For the machine, as it is.
    Input(Input),
    /// The fragments are in the spool.
    Encoded { spool: Spool, blob: BlobId },
    /// The blob was there already.
    Existing(Box<Receipt>),
    /// The registration is on the ledger.
    Registered(Registered),
    /// It cannot be registered.
    Unregistered(Problem),
    /// The certificate is in a block.
    Certified { transaction: TransactionId, height: Height },
}

/// Who waits for a store.
struct Client {
    request: StoreRequest,
    reply: oneshot::Sender<Result<Receipt, Problem>>,
    /// Dropped when the client has its answer.
    _answered: oneshot::Sender<()>,
}

struct Storing {
    parts: Arc<Parts>,
    machine: Upload,
    client: Option<Client>,
    problem: Option<Problem>,
    spool: Option<Arc<Spool>>,
    record: Option<UploadRecord>,
    registered: Option<Registered>,
    certify: Option<(TransactionId, Height)>,
    stores: BTreeMap<ShardIndex, AbortHandle>,
    confirms: BTreeMap<NodeId, AbortHandle>,
    tasks: JoinSet<()>,
    news: mpsc::Sender<News>,
    begun: Instant,
    finishing: Option<OwnedSemaphorePermit>,
}

/// A store, and what resolves when its client has an answer.
pub(super) fn run(
    parts: Arc<Parts>,
    request: StoreRequest,
    reply: oneshot::Sender<Result<Receipt, Problem>>,
) -> (impl Future<Output = ()> + 'static, impl Future<Output = ()> + 'static) {
    let (_answered, answered) = oneshot::channel::<()>();
    let seed = parts.fresh_name();
    let machine = Upload::new(parts.config.upload.clone(), seed);
    let client = Client { request, reply, _answered };
    let task = async move {
        let (news, heard) = mpsc::channel(NEWS_MAX);
        Storing::new(parts, machine, Some(client), news).run(heard).await;
    };
    (task, async move { drop(answered.await) })
}

/// Goes on with an upload that a stop interrupted.
pub(super) async fn resume(parts: Arc<Parts>, record: UploadRecord, spool: Spool) {
    let machine = Upload::resume(parts.config.upload.clone(), parts.fresh_name(), record);
    let (news, heard) = mpsc::channel(NEWS_MAX);
    let mut storing = Storing::new(parts, machine, None, news);
    storing.spool = Some(Arc::new(spool));
    storing.record = Some(record);
    storing.run(heard).await;
}

impl Storing {
    fn new(parts: Arc<Parts>, machine: Upload, client: Option<Client>, news: mpsc::Sender<News>) -> Storing {
        Storing {
            parts,
            machine,
            client,
            problem: None,
            spool: None,
            record: None,
            registered: None,
            certify: None,
            stores: BTreeMap::new(),
            confirms: BTreeMap::new(),
            tasks: JoinSet::new(),
            news,
            begun: Instant::now(),
            finishing: None,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn run(mut self, mut heard: mpsc::Receiver<News>) {
        let mut blocks = self.parts.shared.coordinator.committed();
        let mut input = Some(Input::Started);
        let length = self.client.as_ref().map(|client| client.request.body.length());
        if let Some(problem) = length.and_then(|length| no_quorum(&self.parts).or_else(|| no_room(&self.parts, length)))
        {
            return self.reply(Err(problem));
        }
        loop {
            if let Some(input) = input.take() {
                self.step(input).await;
            }
            while self.tasks.try_join_next().is_some() {}
            if self.machine.phase() == Phase::Ended || !self.may_go_on() {
                break;
            }
            let due = wake::due(self.machine.wake_at(), self.now());
            input = tokio::select! {
                // Never closed: this holds a sender.
                Some(news) = heard.recv() => match self.hear(news) {
                    Ok(input) => input,
                    Err(()) => break,
                },
                block = blocks.recv() => match block {
                    Ok(committed) => {
                        self.parts.ledger.follow(committed.epoch);
                        Some(Input::LedgerAdvanced)
                    }
                    Err(RecvError::Lagged(_)) => Some(Input::LedgerAdvanced),
                    // The node is stopping; the upload goes on after the next start.
                    Err(RecvError::Closed) => return self.reply(Err(problems::stopping())),
                },
                () = due => Some(Input::Tick),
            };
            if self.is_abandoned() {
                break;
            }
        }
        self.finish().await;
    }

    /// Whether there is a place for going on after the certificate; before it there always is.
    fn may_go_on(&mut self) -> bool {
        if self.machine.phase() == Phase::Finishing && self.finishing.is_none() {
            self.finishing = Arc::clone(&self.parts.finishing).try_acquire_owned().ok();
            return self.finishing.is_some();
        }
        true
    }

    /// Whether the client left before anything was paid.
    fn is_abandoned(&self) -> bool {
        self.machine.phase() == Phase::Encoding && self.client.as_ref().is_some_and(|client| client.reply.is_closed())
    }

    async fn step(&mut self, input: Input) {
        let now = self.now();
        let effects = self.parts.ledger.look(|view| self.machine.step(now, view, input));
        for effect in effects {
            self.carry_out(effect).await;
        }
        if matches!(self.machine.phase(), Phase::Sending | Phase::Certifying) {
            let (_, confirmed) = self.machine.progress();
            let total = self.spool.as_ref().map_or(0, |spool| spool.layout().shards());
            self.tell(StoreProgress::Sending { shards: u16::try_from(confirmed).unwrap_or(u16::MAX), total });
        }
    }

    fn tell(&self, progress: StoreProgress) {
        if let Some(client) = &self.client {
            client.request.progress.tell(progress);
        }
    }

    /// What the machine is to hear of it; an error ends the store.
    fn hear(&mut self, news: News) -> Result<Option<Input>, ()> {
        Ok(Some(match news {
            News::Input(input) => {
                match &input {
                    Input::StoreEnded { shard, .. } => drop(self.stores.remove(shard)),
                    Input::ConfirmEnded { member, .. } => drop(self.confirms.remove(member)),
                    _ => {}
                }
                input
            }
            News::Encoded { spool, blob } => {
                let blob_bytes = spool.layout().blob_bytes();
                self.spool = Some(Arc::new(spool));
                Input::Encoded { blob, blob_bytes }
            }
            News::Existing(receipt) => {
                self.count("existing");
                self.reply(Ok(*receipt));
                return Err(());
            }
            News::Registered(registered) => {
                self.registered = Some(registered);
                self.tell(StoreProgress::Registered);
                Input::Registered { registration: registered.number }
            }
            News::Unregistered(problem) => {
                let reason = problem.to_string();
                self.problem = Some(problem);
                Input::RegisterFailed { reason }
            }
            News::Certified { transaction, height } => {
                self.certify = Some((transaction, height));
                return Ok(None);
            }
        }))
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Encode => self.encode(),
            Effect::SubmitRegister { blob, blob_bytes } => self.register(blob, blob_bytes),
            Effect::Save { record } => self.save(record),
            Effect::OpenStore { member, shard, .. } => self.open_store(member, shard),
            Effect::CancelStore { shard } => {
                if let Some(task) = self.stores.remove(&shard) {
                    task.abort();
                }
            }
            Effect::RequestConfirm { member, .. } => self.request_confirm(member),
            Effect::CancelConfirm { member } => {
                if let Some(task) = self.confirms.remove(&member) {
                    task.abort();
                }
            }
            Effect::SubmitCertify { blob, registration, members, signature } => {
                self.certify(blob, registration, members, signature);
            }
            Effect::Misbehaved { member } => {
                tracing::warn!(member = %member.short(), "a member confirmed with a wrong signature");
                self.parts.shared.network.report(member, floe_network::Offence::Garbage);
            }
            Effect::Certified { .. } => self.certified().await,
            Effect::Finished { undelivered } => {
                if !undelivered.is_empty() {
                    tracing::info!(shards = undelivered.len(), "an upload ended with fragments that nobody took");
                }
            }
            Effect::Failed { failure } => {
                tracing::warn!(%failure, "a store failed");
                self.count("failed");
                let problem = match (&failure, self.problem.take()) {
                    (Failure::Register { .. } | Failure::Encode { .. }, Some(problem)) => problem,
                    _ => problems::upload(&failure),
                };
                self.reply(Err(problem));
            }
        }
    }

    fn encode(&mut self) {
        let Some(client) = &self.client else { return };
        let (source, length) = (client.request.body.path().to_owned(), client.request.body.length());
        let (parts, news, progress) = (Arc::clone(&self.parts), self.news.clone(), client.request.progress.clone());
        let shards = self.parts.ledger.committee().shards();
        self.tasks.spawn_local(async move {
            let path = spool::fresh(&parts);
            let told = AtomicU64::new(0);
            let job = move || {
                let tell = |bytes: u64| {
                    // Now and then is enough: once each 4 MiB.
                    if bytes.saturating_sub(told.load(Ordering::Relaxed)) >= 4 << 20 || bytes == length {
                        told.store(bytes, Ordering::Relaxed);
                        progress.tell(StoreProgress::Encoding { bytes, total: length });
                    }
                };
                Spool::encode(&source, length, shards, path, &tell)
            };
            let heard = match parts.coding.run(job).await {
                Ok(Ok((spool, encoded))) => News::Encoded { spool, blob: encoded.blob_id() },
                Ok(Err(error)) => News::Input(Input::EncodeFailed { reason: error.to_string() }),
                Err(Stopping) => News::Input(Input::EncodeFailed { reason: Stopping.to_string() }),
            };
            let _ = news.send(heard).await;
        });
    }

    fn register(&mut self, blob: BlobId, length: u64) {
        let Some(client) = &self.client else { return };
        let (epochs, existing) = (client.request.epochs, client.request.existing);
        let attributes = &client.request.attributes;
        let attributes = Attributes {
            content_type: attributes.content_type.clone(),
            name: attributes.file_name.clone(),
            tags: attributes.tags.clone(),
        };
        let (parts, news, begun) = (Arc::clone(&self.parts), self.news.clone(), self.begun);
        let persistence = match client.request.persistence {
            Persistence::Deletable => floe_ledger::Persistence::Deletable,
            Persistence::Permanent => floe_ledger::Persistence::Permanent,
        };
        let wish = Wish { blob, length, epochs, attributes, persistence };
        self.tasks.spawn_local(async move {
            let there = match existing {
                Existing::Reuse => find(&parts, &wish, begun).await,
                Existing::RegisterAgain => Ok(None),
            };
            let heard = match there {
                Ok(Some(receipt)) => News::Existing(Box::new(receipt)),
                Ok(None) => match register(&parts, &wish).await {
                    Ok(registered) => News::Registered(registered),
                    Err(problem) => News::Unregistered(problem),
                },
                Err(problem) => News::Unregistered(problem),
            };
            let _ = news.send(heard).await;
        });
    }

    /// Beside everything else: a crash before it is durable leaves a registration that lapses, and its price comes back.
    fn save(&mut self, record: UploadRecord) {
        self.record = Some(record);
        let Some(spool) = self.spool.clone() else { return };
        let parts = Arc::clone(&self.parts);
        self.tasks.spawn_local(async move {
            let store = parts.shared.store.clone();
            match parts.files.run(move || spool.save(&store, record)).await {
                Ok(Ok(())) | Err(Stopping) => {}
                // The upload goes on; only a restart would end it.
                Ok(Err(error)) => tracing::warn!(blob = %record.blob, %error, "an upload could not be remembered"),
            }
        });
    }

    fn open_store(&mut self, member: NodeId, shard: ShardIndex) {
        let (Some(spool), Some(record)) = (self.spool.clone(), self.record) else { return };
        let (parts, news) = (Arc::clone(&self.parts), self.news.clone());
        let task = self.tasks.spawn_local(async move {
            let outcome = outbound::store(&parts, spool, record, member, shard).await;
            let _ = news.send(News::Input(Input::StoreEnded { shard, outcome })).await;
        });
        self.stores.insert(shard, task);
    }

    fn request_confirm(&mut self, member: NodeId) {
        let Some(record) = self.record else { return };
        let (parts, news) = (Arc::clone(&self.parts), self.news.clone());
        let task = self.tasks.spawn_local(async move {
            let outcome = outbound::confirm(&parts, record, member).await;
            let _ = news.send(News::Input(Input::ConfirmEnded { member, outcome })).await;
        });
        self.confirms.insert(member, task);
    }

    fn certify(&mut self, blob: BlobId, registration: RegistrationNumber, members: MemberSet, signature: BlsSignature) {
        let version = floe_ledger::transaction::ENCODING_VERSION;
        let action = Action::Certify { blob, registration, version, members, signature };
        let (parts, news) = (Arc::clone(&self.parts), self.news.clone());
        self.tasks.spawn_local(async move {
            let failed = |reason: String| News::Input(Input::CertifyFailed { reason });
            let heard = match parts.shared.coordinator.submit(action).await {
                Err(failure) => failed(failure.to_string()),
                Ok(submission) => match submission.settled.await {
                    Ok(Settled::Included { height }) => News::Certified { transaction: submission.transaction, height },
                    Ok(Settled::Refused { refusal }) => failed(refusal.to_string()),
                    // Own transactions are seen through, never left waiting.
                    Ok(Settled::Waiting) | Err(_) => return,
                },
            };
            let _ = news.send(heard).await;
        });
    }

    /// Tells the client.
    async fn certified(&mut self) {
        self.tell(StoreProgress::Certified);
        self.count("certified");
        self.parts.shared.metrics.store_seconds.observe(self.begun.elapsed().as_secs_f64());
        let (Some(registered), Some(record)) = (self.registered, self.record) else { return };
        let deletable = match self.client.as_ref().map(|client| client.request.persistence) {
            Some(Persistence::Deletable) => Deletable::Yes,
            Some(Persistence::Permanent) | None => Deletable::No,
        };
        let acknowledged = self.parts.ledger.look(|view| view.blob(&record.blob).map_or(0, |facts| facts.covered()));
        let came = Came {
            blob: record.blob,
            length: record.blob_bytes,
            registered,
            certify: self.certify,
            acknowledged: u16::try_from(acknowledged).unwrap_or(u16::MAX),
            deletable,
            took: self.begun.elapsed(),
        };
        self.parts.shared.metrics.gateway_bytes.with_label_values(&["in"]).inc_by(record.blob_bytes);
        let parts = Arc::clone(&self.parts);
        let receipt = self.parts.files.run(move || receipt::created(&parts, &came)).await;
        self.reply(receipt.unwrap_or_else(|_| Err(problems::stopping())));
    }

    fn count(&self, outcome: &str) {
        self.parts.shared.metrics.stores.with_label_values(&[outcome]).inc();
    }

    /// Answers the client, once; the body's file goes with it.
    fn reply(&mut self, result: Result<Receipt, Problem>) {
        if let Some(client) = self.client.take() {
            // The client may have left.
            let _ = client.reply.send(result);
        }
    }

    /// Ends every exchange, forgets the upload, removes the spool.
    async fn finish(mut self) {
        self.reply(Err(problems::stopping()));
        self.tasks.shutdown().await;
        if let Some(spool) = self.spool.take() {
            let (store, record) = (self.parts.shared.store.clone(), self.record);
            // Stopping: the next start finds and removes what is left.
            let _ = self.parts.files.run(move || spool.finish(&store, record)).await;
        }
    }
}

/// A blob that is there for long enough already.
async fn find(parts: &Arc<Parts>, wish: &Wish, begun: Instant) -> Result<Option<Receipt>, Problem> {
    let over = EpochCount(wish.epochs.0.saturating_sub(1));
    let Some(last) = parts.ledger.epoch().checked_add(over) else { return Ok(None) };
    let (blob, looking) = (wish.blob, Arc::clone(parts));
    let found = parts.files.run(move || receipt::existing(&looking, &blob, last, begun.elapsed())).await;
    found.unwrap_or_else(|_| Err(problems::stopping()))
}

/// Why the fragments of a blob of `length` bytes would not fit into the spool: the disk's reserve is not given to them.
fn no_room(parts: &Parts, length: u64) -> Option<Problem> {
    let needed = Layout::new(parts.ledger.committee().shards(), length).ok()?.encoded_bytes();
    let statistics = parts.shared.store.statistics().ok()?;
    let free = statistics.disk.free.saturating_sub(statistics.reserve_bytes);
    (needed > free).then(|| problems::capacity(needed, free))
}

/// Refuses a store at once while too few members answer for anything to be decided. A member that was not asked yet
/// counts as answering.
fn no_quorum(parts: &Parts) -> Option<Problem> {
    let committee = parts.ledger.committee();
    let live = parts.shared.coordinator.live();
    let silent = live.members.iter().filter(|(_, seen)| !seen.answering && seen.asked > 0);
    let silent = committee.shards_of(silent.filter_map(|(node, _)| committee.index_of(node)));
    let answering = committee.shards() - silent;
    (answering < committee.quorum()).then(|| problems::no_quorum(answering, committee.quorum()))
}
