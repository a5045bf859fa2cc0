//! The shell round a node's uploads: encoding, submissions, exchanges with holders, and what a restart goes on with.
//!
//! The spool is on the disk: the encoded fragments and the upload's record survive a fall, an upload without a record does
//! not, and then its client sees an error and may try again.

use super::coordination::BlockNews;
use super::streams::Carried;
use super::{Event, Local, World};
use floe_erasure::{Encoded, MemorySink, Options, encode, pair_of};
use floe_ledger::{Action, Attributes, Refusal, SignedTransaction};
use floe_machines::coordinator::{Input as CoordinatorInput, Outcome as Settled, SubmitError, Ticket};
use floe_machines::custody::StreamId;
use floe_machines::handover::{FetchId, Gap};
use floe_machines::upload::{self, Effect, Input, Outcome, Upload, UploadRecord};
use floe_machines::wire::fragment::{self, Answer, Ask, LENGTH_BYTES, Request, StoreRequest};
use floe_types::{BlobId, Epoch, Frost, NodeId, RegistrationNumber, ShardIndex, TransactionId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Times a registration is sent before the client is told that it failed.
const REGISTRATIONS_MAX: u32 = 3;

/// Names an upload in the whole run, through falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UploadId(pub u64);

/// Why something was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To register an upload's blob.
    Register { upload: UploadId },
    /// To certify it.
    Certify { upload: UploadId },
    /// To attest late fragments.
    Attest,
    /// To pay somebody.
    Transfer,
    /// To join, leave or stake.
    Operate,
}

/// What became of a submission.
#[derive(Debug)]
pub(crate) enum SubmissionNews {
    /// It is on its way.
    Sent,
    /// It is in a block.
    Included,
    /// It will never be: its epoch ended before it was executed, or its nonce was used by what an earlier life sent.
    Late,
    /// It will never be.
    Refused(String),
}

/// A blob on its way in, as the disk keeps it.
#[derive(Debug)]
pub(crate) struct Spool {
    /// What the client gave.
    pub source: Arc<Vec<u8>>,
    /// Up to which epoch it is to be paid.
    pub last: Epoch,
    encoded: Option<Arc<(Encoded, MemorySink)>>,
    record: Option<UploadRecord>,
    /// How often its registration came too late.
    registrations: u32,
}

impl Spool {
    /// The blob, once it is encoded.
    pub fn blob(&self) -> Option<BlobId> {
        self.encoded.as_ref().map(|encoded| encoded.0.blob_id())
    }
}

/// What this node stores and reads for its clients.
pub(crate) struct Gateway {
    uploads: BTreeMap<UploadId, Upload>,
    asking: BTreeMap<StreamId, Asking>,
    tickets: BTreeMap<Ticket, Purpose>,
    registering: BTreeMap<TransactionId, UploadId>,
    next_ticket: u64,
    pub(super) downloads: super::reading::Downloads,
}

/// What a stream was opened for.
#[derive(Clone, Debug)]
enum Asking {
    Store { upload: UploadId, shard: ShardIndex },
    Confirm { upload: UploadId, member: NodeId },
    Read(super::reading::Reading),
    Fetch(FetchId, Gap),
    Rebuild(Box<super::repair::Fetching>),
}

/// An answer that came over a stream.
pub(super) struct Answered {
    pub answer: Answer,
    pub body: Vec<u8>,
    pub whole: bool,
}

impl Gateway {
    /// One with nothing to do; tickets of different lives differ.
    pub fn new(life: u64) -> Gateway {
        Gateway {
            uploads: BTreeMap::new(),
            asking: BTreeMap::new(),
            tickets: BTreeMap::new(),
            registering: BTreeMap::new(),
            next_ticket: life << 32,
            downloads: super::reading::Downloads::default(),
        }
    }

    /// When something here waits for time to pass.
    pub fn wake_at(&self) -> Option<u64> {
        let uploads = self.uploads.values().filter_map(Upload::wake_at).min();
        [uploads, self.downloads.wake_at()].into_iter().flatten().min()
    }
}

fn outcome<T>(answered: Option<Answered>, done: impl FnOnce(&Answer) -> Option<T>) -> Outcome<T> {
    let Some(Answered { answer, .. }) = answered else { return Outcome::Broken };
    match answer {
        Answer::Refused { reason, retry_after_millis } => Outcome::Refused { reason, retry_after_millis },
        Answer::Busy { retry_after_millis } => Outcome::Busy { retry_after_millis },
        Answer::QuietRetry { after_millis } => Outcome::Busy { retry_after_millis: after_millis },
        answer => done(&answer).map_or(Outcome::Broken, Outcome::Done),
    }
}

fn read_answer(carried: &Carried) -> Option<Answered> {
    let (length, rest) = carried.bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let (header, body) = rest.split_at_checked(fragment::header_bytes(*length).ok()?)?;
    let answer = fragment::decode_answer(header).ok()?;
    Some(Answered { answer, body: body.to_vec(), whole: carried.whole })
}

impl World {
    /// A client stores a blob through this node, to be paid up to `last`.
    pub(super) fn store(&mut self, node: usize, source: Arc<Vec<u8>>, last: Epoch) -> UploadId {
        let id = UploadId(self.serial());
        let upload = Upload::new(upload::Config::default(), id.0);
        self.nodes[node].disk.spools.insert(id, Spool { source, last, encoded: None, record: None, registrations: 0 });
        if let Some(live) = self.nodes[node].live.as_mut() {
            live.gateway.uploads.insert(id, upload);
        }
        self.upload_step(node, id, Input::Started);
        id
    }

    /// After a fall: uploads with a record go on, the others are over.
    pub(super) fn resume_uploads(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Some(live) = it.live.as_mut() else { return };
        let mut over = Vec::new();
        for (id, spool) in &it.disk.spools {
            match spool.record {
                Some(record) => {
                    live.gateway.uploads.insert(*id, Upload::resume(upload::Config::default(), id.0, record));
                }
                None => over.push(*id),
            }
        }
        for id in over {
            self.nodes[node].disk.spools.remove(&id);
            self.store_ended(id, Err("the node fell before the registration was known".to_owned()));
        }
        let resumed: Vec<_> =
            self.nodes[node].live.iter().flat_map(|live| live.gateway.uploads.keys().copied()).collect();
        self.stats.resumed += resumed.len() as u64;
        for id in resumed {
            self.upload_step(node, id, Input::Started);
        }
    }

    fn upload_step(&mut self, node: usize, id: UploadId, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let it = &mut self.nodes[node];
            let Some(live) = it.live.as_mut() else { return };
            let view = live_view!(live, it.disk.state, self.context);
            let Some(upload) = live.gateway.uploads.get_mut(&id) else { return };
            let effects = upload.step(self.now, &view, input);
            for effect in effects {
                if self.falls_now(node) {
                    return;
                }
                self.upload_does(node, id, effect);
            }
        }
        self.plan_data_tick(node);
    }

    fn upload_does(&mut self, node: usize, id: UploadId, effect: Effect) {
        match effect {
            Effect::Encode => {
                let life = self.nodes[node].life;
                let event = Event::Local { node, life, local: Local::Encoded { upload: id } };
                self.queue.plan(self.now + 2, event);
            }
            Effect::SubmitRegister { blob, blob_bytes } => self.register(node, id, blob, blob_bytes),
            Effect::Save { record } => {
                if let Some(spool) = self.nodes[node].disk.spools.get_mut(&id) {
                    spool.record = Some(record);
                }
            }
            Effect::OpenStore { member, shard, registration } => self.offer(node, id, &member, (shard, registration)),
            Effect::RequestConfirm { member, registration } => {
                let Some(blob) = self.blob_of(node, id) else { return };
                let ask = Ask::Confirm { registration, blob };
                self.open(node, &member, (ask, Vec::new()), Asking::Confirm { upload: id, member });
            }
            Effect::CancelStore { shard } => self.cancel(
                node,
                |asking| matches!(asking, Asking::Store { upload, shard: of } if *upload == id && *of == shard),
            ),
            Effect::CancelConfirm { member } => self.cancel(
                node,
                |asking| matches!(asking, Asking::Confirm { upload, member: of } if *upload == id && *of == member),
            ),
            Effect::SubmitCertify { blob, registration, members, signature } => {
                let version = floe_ledger::transaction::ENCODING_VERSION;
                let action = Action::Certify { blob, registration, version, members, signature };
                self.tell(node, Local::Submit { purpose: Purpose::Certify { upload: id }, action });
            }
            Effect::Misbehaved { member } => {
                self.stats.blames += 1;
                self.trace.say(self.now, || format!("{node} got a false confirmation of {}", member.short()));
            }
            Effect::Certified { sequence } => {
                self.trace.say(self.now, || format!("{node} tells its client: stored as number {sequence}"));
                self.store_ended(id, Ok(()));
            }
            Effect::Finished { undelivered } => {
                self.stats.undelivered += undelivered.len() as u64;
                self.end_upload(node, id);
            }
            Effect::Failed { failure } => {
                self.end_upload(node, id);
                self.store_ended(id, Err(failure.to_string()));
            }
        }
    }

    fn end_upload(&mut self, node: usize, id: UploadId) {
        self.cancel(node, |asking| match asking {
            Asking::Store { upload, .. } | Asking::Confirm { upload, .. } => *upload == id,
            Asking::Read(_) | Asking::Fetch(..) | Asking::Rebuild(_) => false,
        });
        let it = &mut self.nodes[node];
        it.disk.spools.remove(&id);
        if let Some(live) = it.live.as_mut() {
            live.gateway.uploads.remove(&id);
        }
    }

    /// Encodes the spooled source: real fragments with real proofs.
    pub(super) fn encoded(&mut self, node: usize, id: UploadId) {
        let shards = self.context.params.shards;
        let Some(spool) = self.nodes[node].disk.spools.get_mut(&id) else { return };
        let blob_bytes = spool.source.len() as u64;
        let layout = floe_erasure::Layout::new(shards, blob_bytes);
        let made = layout.map_err(|error| error.to_string()).and_then(|layout| {
            let sink = MemorySink::new(layout.encoded_bytes() as usize);
            let encoded = encode(spool.source.as_ref(), blob_bytes, shards, &sink, &Options::default());
            encoded.map(|encoded| (encoded, sink)).map_err(|error| error.to_string())
        });
        let input = match made {
            Ok(made) => {
                let blob = made.0.blob_id();
                spool.encoded = Some(Arc::new(made));
                Input::Encoded { blob, blob_bytes }
            }
            Err(reason) => Input::EncodeFailed { reason },
        };
        self.upload_step(node, id, input);
    }

    fn register(&mut self, node: usize, id: UploadId, blob: BlobId, length: u64) {
        let it = &self.nodes[node];
        let (Some(spool), Some(live)) = (it.disk.spools.get(&id), it.live.as_ref()) else { return };
        let first = live.coordinator.head().epoch;
        let (last, price_max) = (spool.last.max(first), Frost(u64::MAX));
        let attributes = Attributes::default();
        let persistence = floe_ledger::Persistence::Permanent;
        let action = Action::Register { blob, length, first, last, price_max, persistence, attributes };
        self.tell(node, Local::Submit { purpose: Purpose::Register { upload: id }, action });
    }

    /// An epoch ended while a registration was on its way: it is sent once more, for the new one.
    fn register_again(&mut self, node: usize, id: UploadId) {
        let Some(spool) = self.nodes[node].disk.spools.get_mut(&id) else { return };
        spool.registrations += 1;
        let (tries, length) = (spool.registrations, spool.source.len() as u64);
        match spool.blob() {
            Some(blob) if tries < REGISTRATIONS_MAX => self.register(node, id, blob, length),
            _ => {
                let reason = "an epoch ended each time it was sent".to_owned();
                self.upload_step(node, id, Input::RegisterFailed { reason });
            }
        }
    }

    fn blob_of(&self, node: usize, id: UploadId) -> Option<BlobId> {
        self.nodes[node].disk.spools.get(&id).and_then(Spool::blob)
    }

    /// Opens a stream with a fragment of the spool.
    fn offer(
        &mut self,
        node: usize,
        id: UploadId,
        member: &NodeId,
        (shard, registration): (ShardIndex, RegistrationNumber),
    ) {
        let spool = self.nodes[node].disk.spools.get(&id);
        let Some(made) = spool.and_then(|spool| spool.encoded.clone()) else { return };
        let (encoded, sink) = (&made.0, &made.1);
        let (blob, layout) = (encoded.blob_id(), encoded.layout());
        let pair = pair_of(&blob, shard, layout.shards());
        let length = layout.fragment_bytes() as usize;
        let Ok(body) = sink.copy(encoded.fragment_offset(pair), length) else { return };
        let proof = encoded.proof(pair).encode();
        let ask = Ask::Store(StoreRequest { registration, blob, blob_bytes: layout.blob_bytes(), shard, proof });
        self.open(node, member, (ask, body), Asking::Store { upload: id, shard });
    }

    fn open(&mut self, node: usize, member: &NodeId, (ask, body): (Ask, Vec<u8>), asking: Asking) -> StreamId {
        let mut bytes = fragment::frame_request(&Request { network: self.context.network, ask });
        bytes.extend(body);
        let stream = self.open_stream(node, member, bytes);
        if let Some(live) = self.nodes[node].live.as_mut() {
            live.gateway.asking.insert(stream, asking);
        }
        stream
    }

    /// Opens a stream that asks for a whole fragment.
    pub(super) fn open_fetch(&mut self, node: usize, from: &NodeId, ask: Ask, of: (FetchId, Gap)) -> StreamId {
        self.open(node, from, (ask, Vec::new()), Asking::Fetch(of.0, of.1))
    }

    /// Opens a stream that asks for something that a rebuild needs.
    pub(super) fn open_rebuild(
        &mut self,
        node: usize,
        from: &NodeId,
        ask: Ask,
        fetching: super::repair::Fetching,
    ) -> StreamId {
        self.open(node, from, (ask, Vec::new()), Asking::Rebuild(Box::new(fetching)))
    }

    /// Opens a stream that asks for a sliver.
    pub(super) fn open_read(&mut self, node: usize, member: &NodeId, ask: Ask, reading: super::reading::Reading) {
        self.open(node, member, (ask, Vec::new()), Asking::Read(reading));
    }

    /// Gives up the streams opened for this reading.
    pub(super) fn cancel_reads(&mut self, node: usize, which: impl Fn(&super::reading::Reading) -> bool) {
        self.cancel(node, |asking| matches!(asking, Asking::Read(reading) if which(reading)));
    }

    fn cancel(&mut self, node: usize, which: impl Fn(&Asking) -> bool) {
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        let streams: Vec<_> =
            live.gateway.asking.iter().filter(|(_, asking)| which(asking)).map(|(stream, _)| *stream).collect();
        for stream in &streams {
            live.gateway.asking.remove(stream);
        }
        for stream in streams {
            self.cancel_stream(stream);
        }
    }

    /// A stream of this node's has its answer, or has ended without one.
    pub(super) fn stream_answered(&mut self, node: usize, stream: StreamId, carried: Option<Carried>) {
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        let Some(asking) = live.gateway.asking.remove(&stream) else { return };
        let answered = carried.as_ref().and_then(read_answer);
        self.trace.say(self.now, || match &answered {
            Some(Answered { answer: Answer::Sliver { .. }, .. }) => format!("{node} got a sliver for {asking:?}"),
            Some(Answered { answer, .. }) => format!("{node} got {answer:?} for {asking:?}"),
            None => format!("{node} got nothing for {asking:?}"),
        });
        match asking {
            Asking::Store { upload, shard } => {
                let outcome = outcome(answered, |answer| matches!(answer, Answer::Stored).then_some(()));
                self.upload_step(node, upload, Input::StoreEnded { shard, outcome });
            }
            Asking::Confirm { upload, member } => {
                let signature = |answer: &Answer| match answer {
                    Answer::Confirmation { signature } => Some(*signature),
                    _ => None,
                };
                let outcome = outcome(answered, signature);
                self.upload_step(node, upload, Input::ConfirmEnded { member, outcome });
            }
            Asking::Read(reading) => self.sliver_came(node, reading, answered),
            Asking::Fetch(fetch, gap) => self.fetched(node, (fetch, gap), answered),
            Asking::Rebuild(fetching) => self.fetched_for_repair(node, *fetching, answered),
        }
    }

    /// Hands an action to the coordinator.
    pub(super) fn submit(&mut self, node: usize, purpose: Purpose, action: Action) {
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        live.gateway.next_ticket += 1;
        let ticket = Ticket(live.gateway.next_ticket);
        live.gateway.tickets.insert(ticket, purpose);
        self.coordinate(node, CoordinatorInput::Submit { ticket, action });
    }

    /// Hands a signed transaction to the coordinator, as an operator's command does at some node's door.
    pub(super) fn relay(&mut self, node: usize, transaction: SignedTransaction) {
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        live.gateway.next_ticket += 1;
        let ticket = Ticket(live.gateway.next_ticket);
        live.gateway.tickets.insert(ticket, Purpose::Operate);
        self.coordinate(node, CoordinatorInput::Relay { ticket, transaction: Box::new(transaction) });
    }

    pub(super) fn submitted(&mut self, node: usize, ticket: Ticket, result: Result<TransactionId, SubmitError>) {
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        let Some(purpose) = live.gateway.tickets.get(&ticket).copied() else { return };
        let news = match result {
            Ok(transaction) => {
                // Known before the block can be: a block of its own would be news already.
                if let Purpose::Register { upload } = purpose {
                    live.gateway.registering.insert(transaction, upload);
                }
                SubmissionNews::Sent
            }
            Err(error) => {
                live.gateway.tickets.remove(&ticket);
                SubmissionNews::Refused(error.to_string())
            }
        };
        self.tell(node, Local::Told { purpose, news });
    }

    pub(super) fn settled(&mut self, node: usize, ticket: Ticket, outcome: Settled) {
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        let Some(purpose) = live.gateway.tickets.remove(&ticket) else { return };
        let news = match outcome {
            Settled::Included { .. } => SubmissionNews::Included,
            Settled::Refused {
                refusal: Refusal::FirstEpoch { .. } | Refusal::TermOver { .. } | Refusal::Nonce { .. },
            } => SubmissionNews::Late,
            Settled::Refused { refusal } => SubmissionNews::Refused(refusal.to_string()),
            // Own transactions are seen through, never left waiting.
            Settled::Waiting => return,
        };
        self.tell(node, Local::Told { purpose, news });
    }

    pub(super) fn gateway_told(&mut self, node: usize, purpose: Purpose, news: SubmissionNews) {
        self.trace.say(self.now, || format!("{node} learns of {purpose:?}: {news:?}"));
        match (purpose, news) {
            (Purpose::Transfer, SubmissionNews::Included) => self.stats.transfers += 1,
            (Purpose::Operate, SubmissionNews::Included) => self.stats.operations += 1,
            (Purpose::Register { upload }, SubmissionNews::Refused(reason)) => {
                self.upload_step(node, upload, Input::RegisterFailed { reason });
            }
            (Purpose::Register { upload }, SubmissionNews::Late) => self.register_again(node, upload),
            (Purpose::Certify { upload }, SubmissionNews::Late) => {
                let reason = "another transaction used its nonce".to_owned();
                self.upload_step(node, upload, Input::CertifyFailed { reason });
            }
            (Purpose::Certify { upload }, SubmissionNews::Refused(reason)) => {
                self.upload_step(node, upload, Input::CertifyFailed { reason });
            }
            _ => {}
        }
    }

    /// A block was decided: uploads read off it what concerns them.
    pub(super) fn gateway_hears(&mut self, node: usize, news: &BlockNews) {
        for (transaction, registration) in &news.registered {
            let Some(live) = self.nodes[node].live.as_mut() else { return };
            if let Some(upload) = live.gateway.registering.remove(transaction) {
                self.upload_step(node, upload, Input::Registered { registration: *registration });
            }
        }
        for id in self.uploads_of(node) {
            self.upload_step(node, id, Input::LedgerAdvanced);
        }
    }

    fn uploads_of(&self, node: usize) -> Vec<UploadId> {
        self.nodes[node].live.iter().flat_map(|live| live.gateway.uploads.keys().copied()).collect()
    }

    pub(super) fn gateway_tick(&mut self, node: usize) {
        let now = self.now;
        for id in self.uploads_of(node) {
            let live = self.nodes[node].live.as_ref();
            let upload = live.and_then(|live| live.gateway.uploads.get(&id));
            if upload.and_then(Upload::wake_at).is_some_and(|at| at <= now) {
                self.upload_step(node, id, Input::Tick);
            }
        }
        self.downloads_tick(node);
    }
}
