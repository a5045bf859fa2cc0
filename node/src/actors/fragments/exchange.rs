//! One stream from its first byte to its last: reads the request, asks the actor, does as instructed.

use super::Parts;
use super::actor::FragmentsActor;
use super::ingress::{Asked, Over, Staged, Told};
use super::units;
use crate::actors::pipe::{BoxedPipe, CHUNK_BYTES, PipeError, read_header, write_frame};
use crate::actors::workers::Stopping;
use actix::Addr;
use floe_erasure::{Axis, Layout, Options, pair_of};
use floe_machines::custody::{self, Input, Offer, ReceiveFailure, StoreFailure, StreamId};
use floe_machines::fragments::{FragmentKey, FragmentRecord, FragmentStore, StagedFragment, StoreError};
use floe_machines::wire::fragment::{Answer, Ask, Refusal, SymbolPart, SymbolRequest, frame_answer};
use floe_machines::wire::units::UnitRun;
use floe_network::Offence;
use floe_types::{BlobId, Committee, NodeId, PairIndex};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Instructions on their way to one exchange: it never gets more than two.
pub(super) const INSTRUCTIONS_MAX: usize = 4;
/// How long the request may take to come.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// How long bytes that nobody wants are read after an answer, so that the answer is not lost with them.
const DRAIN: Duration = Duration::from_secs(2);

/// What the machine wants of an exchange.
#[derive(Debug)]
pub(super) enum Instruction {
    /// Stage and verify the fragment that follows.
    Receive { key: FragmentKey, bytes: u64 },
    /// Send this, and end.
    Answer(Answer),
    /// Send these bytes of the fragment, and end.
    Serve { span: Range<u64> },
    /// Send the recovery symbol that was asked for, or its opening, and end.
    Help,
    /// Send these units with their openings, and end.
    ServeUnits { axis: Axis, run: UnitRun },
    /// End.
    Close,
}

/// An exchange under way.
pub(super) struct Exchange {
    pub parts: Arc<Parts>,
    pub address: Addr<FragmentsActor>,
    pub committee: Arc<Committee>,
    pub stream: StreamId,
    pub peer: NodeId,
    pub pipe: BoxedPipe,
}

/// What was asked, as far as it needs to be remembered.
enum Wanted {
    Store(Offer),
    Confirm,
    Read(Option<FragmentRecord>),
    Symbol(Option<FragmentRecord>, SymbolRequest),
}

impl Exchange {
    /// Runs the exchange to its end.
    pub(super) async fn run(mut self) {
        let stream = self.stream;
        let address = self.address.clone();
        if let Err(error) = self.talk().await {
            tracing::debug!(peer = %self.peer.short(), %error, "an exchange ended early");
        }
        // The pipe goes before its place is given back.
        drop(self);
        let _ = address.send(Over { stream }).await;
    }

    async fn talk(&mut self) -> Result<(), PipeError> {
        let slow = |_| Err(PipeError::Io(io::ErrorKind::TimedOut.into()));
        let header = tokio::time::timeout(HEADER_WAIT, read_header(&mut self.pipe)).await.unwrap_or_else(slow);
        let header = match header {
            Ok(header) => header,
            Err(error) => {
                self.blame(&error);
                return Err(error);
            }
        };
        let request = match floe_machines::wire::fragment::decode_request(&header) {
            Ok(request) if request.network == self.parts.shared.context.network => request,
            Ok(_) => return self.answer(&malformed()).await,
            Err(error) => {
                let error = PipeError::from(error);
                self.blame(&error);
                self.answer(&malformed()).await?;
                return Err(error);
            }
        };
        if let Ask::Judge { blob, head_bytes } = request.ask {
            let answer = self.judge(blob, head_bytes).await?;
            return self.answer(&answer).await;
        }
        let Ok((input, wanted)) = self.look_up(request.ask).await else { return Ok(()) };
        let (sender, mut instructions) = mpsc::channel(INSTRUCTIONS_MAX);
        let asked = Asked { stream: self.stream, input, instructions: sender };
        if self.address.send(asked).await.is_err() {
            return Ok(());
        }
        self.obey(&mut instructions, wanted).await
    }

    fn blame(&self, error: &PipeError) {
        if matches!(error, PipeError::Header(_)) {
            self.parts.shared.network.report(self.peer, Offence::Garbage);
        }
    }

    /// What the machine must know of the store to judge.
    async fn look_up(&self, ask: Ask) -> Result<(Input, Wanted), Stopping> {
        let (stream, peer, shards) = (self.stream, self.peer, self.committee.shards());
        match ask {
            Ask::Store(offer) => {
                let pair = pair_of(&offer.blob, offer.shard, shards);
                let held = self.parts.records(offer.blob, vec![pair]).await?.pop().map(|record| record.key);
                Ok((Input::StoreOffered { stream, peer, offer: offer.clone(), held }, Wanted::Store(offer)))
            }
            Ask::Confirm { registration, blob } => {
                let own = custody::own_pairs(&self.committee, &self.parts.shared.node, &blob).unwrap_or_default();
                let pairs = own.into_iter().map(|(_, pair)| pair).collect();
                let held = self.parts.records(blob, pairs).await?.into_iter().map(|record| record.key).collect();
                Ok((Input::ConfirmAsked { stream, registration, blob, held }, Wanted::Confirm))
            }
            Ask::Read { blob, shard, axis, range } => {
                let pair = pair_of(&blob, shard, shards);
                let record = self.parts.records(blob, vec![pair]).await?.pop();
                let held = record.as_ref().map(|record| record.blob_bytes);
                Ok((Input::ReadAsked { stream, peer, blob, shard, axis, range, held }, Wanted::Read(record)))
            }
            Ask::Symbol(request) => {
                let pair = pair_of(&request.blob, request.shard, shards);
                let record = self.parts.records(request.blob, vec![pair]).await?.pop();
                let held = record.as_ref().map(|record| record.blob_bytes);
                Ok((Input::SymbolAsked { stream, peer, request, held }, Wanted::Symbol(record, request)))
            }
            // Judged before, without the machine: it is about no fragment of this node.
            Ask::Judge { .. } => Err(Stopping),
        }
    }

    async fn obey(&mut self, instructions: &mut mpsc::Receiver<Instruction>, wanted: Wanted) -> Result<(), PipeError> {
        loop {
            let Some(instruction) = instructions.recv().await else { return Ok(()) };
            match (instruction, &wanted) {
                (Instruction::Receive { key, bytes }, Wanted::Store(offer)) => {
                    let offer = offer.clone();
                    let next = tokio::select! {
                        biased;
                        next = instructions.recv() => Some(next),
                        () = self.receive(offer, key, bytes) => None,
                    };
                    // Only a deadline comes while a fragment is still arriving.
                    if let Some(next) = next {
                        return match next {
                            Some(Instruction::Answer(answer)) => self.answer(&answer).await,
                            _ => Ok(()),
                        };
                    }
                }
                (given @ (Instruction::Serve { .. } | Instruction::ServeUnits { .. } | Instruction::Help), wanted) => {
                    let given = tokio::select! {
                        biased;
                        // Only the end comes while something is given.
                        _ = instructions.recv() => Ok(()),
                        given = self.give(given, wanted) => given,
                    };
                    let _ = self.address.send(Told::of(Input::ReadDone { stream: self.stream })).await;
                    return given;
                }
                (Instruction::Answer(answer), _) => return self.answer(&answer).await,
                (_, _) => return Ok(()),
            }
        }
    }

    /// Gives what was asked for of a fragment that is kept.
    async fn give(&mut self, instruction: Instruction, wanted: &Wanted) -> Result<(), PipeError> {
        match (instruction, wanted) {
            (Instruction::Serve { span }, Wanted::Read(Some(record))) => self.serve(record, span).await,
            (Instruction::ServeUnits { axis, run }, Wanted::Read(Some(record))) => {
                self.serve_units(record, axis, run).await
            }
            (Instruction::Help, Wanted::Symbol(Some(record), request)) => self.help(record.clone(), *request).await,
            (_, _) => Ok(()),
        }
    }

    pub(super) async fn answer(&mut self, answer: &Answer) -> Result<(), PipeError> {
        write_frame(&mut self.pipe, &frame_answer(answer)).await?;
        self.pipe.close().await?;
        // What is still coming is read and dropped for a moment: a reset could overtake the answer.
        let mut rest = vec![0u8; 16 << 10];
        let drained = async { while matches!(self.pipe.read(&mut rest).await, Ok(read) if read > 0) {} };
        let _ = tokio::time::timeout(DRAIN, drained).await;
        Ok(())
    }

    /// Takes the fragment in and tells the machine how it went.
    async fn receive(&mut self, offer: Offer, key: FragmentKey, bytes: u64) {
        let stream = self.stream;
        let told = match self.take_in(&offer, key, bytes).await {
            Ok(staged) => {
                self.parts.shared.metrics.fragment_bytes.with_label_values(&["in"]).inc_by(bytes);
                let record = FragmentRecord {
                    key,
                    registration: offer.registration,
                    blob_bytes: offer.blob_bytes,
                    proof: offer.proof,
                };
                let staged = Some((stream, (record, staged) as Staged));
                Told { input: Input::Received { stream, outcome: Ok(()) }, staged }
            }
            Err(Some(failure)) => Told::of(Input::Received { stream, outcome: Err(failure) }),
            Err(None) => return,
        };
        let _ = self.address.send(told).await;
    }

    /// Stages and verifies. `Err(None)` when the node is stopping.
    async fn take_in(
        &mut self,
        offer: &Offer,
        key: FragmentKey,
        bytes: u64,
    ) -> Result<Box<dyn StagedFragment>, Option<ReceiveFailure>> {
        let cut = |_: io::Error| Some(ReceiveFailure::Cut);
        let stopping = |_: Stopping| None;
        let shards = self.committee.shards();
        let mut left = bytes;
        let mut staged: Option<Box<dyn StagedFragment>> = None;
        loop {
            let length = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let mut chunk = vec![0u8; length];
            self.pipe.read_exact(&mut chunk).await.map_err(cut)?;
            left -= length as u64;
            let (store, offer, before) = (self.parts.shared.store.clone(), offer.clone(), staged.take());
            let is_last = left == 0;
            // One visit to the workers for a small fragment: stage, write, verify.
            let job = move || -> Result<Box<dyn StagedFragment>, ReceiveFailure> {
                let mut staged = match before {
                    Some(staged) => staged,
                    None => store.stage(key, bytes).map_err(|error| store_failure(&error))?,
                };
                staged.append(&chunk).map_err(|error| store_failure(&error))?;
                if is_last {
                    custody::verify_staged(staged.as_ref(), &offer, shards, &Options::default())?;
                }
                Ok(staged)
            };
            let done = self.parts.workers.run(job).await.map_err(stopping)?.map_err(Some)?;
            if is_last {
                return Ok(done);
            }
            staged = Some(done);
        }
    }

    /// Sends bytes of the fragment with its proof.
    async fn serve(&mut self, record: &FragmentRecord, span: Range<u64>) -> Result<(), PipeError> {
        let bytes = span.end - span.start;
        let mut offset = span.start;
        while offset < span.end {
            let length = usize::try_from(span.end - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let (store, from) = (self.parts.shared.store.clone(), record.clone());
            let job = move || {
                let mut chunk = vec![0u8; length];
                store.read_at(&from, &mut chunk, offset).map(|()| chunk)
            };
            let chunk = match self.parts.workers.run(job).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => return self.cannot_serve(record, offset == span.start, &error).await,
                Err(Stopping) => return Ok(()),
            };
            if offset == span.start {
                let header = Answer::Sliver { blob_bytes: record.blob_bytes, proof: record.proof.clone() };
                self.pipe.write_all(&frame_answer(&header)).await?;
            }
            self.pipe.write_all(&chunk).await?;
            offset += length as u64;
        }
        self.pipe.flush().await?;
        self.pipe.close().await?;
        self.parts.shared.metrics.fragment_bytes.with_label_values(&["out"]).inc_by(bytes);
        Ok(())
    }

    /// Sends a recovery symbol or its opening. A thread of its own makes it, no faster than it is taken.
    async fn help(&mut self, record: FragmentRecord, request: SymbolRequest) -> Result<(), PipeError> {
        let (store, shards) = (self.parts.shared.store.clone(), self.committee.shards());
        let (blob_bytes, proof) = (record.blob_bytes, record.proof.clone());
        if request.part == SymbolPart::Opening {
            let open = move || {
                let fragment = custody::KeptFragment::new(&store, &record);
                custody::open_symbol(&request, (&record, &fragment), shards, &Options::default())
            };
            return match self.parts.helpers.run(open).await {
                Ok(Ok(opening)) => self.answer(&Answer::Symbol { blob_bytes, proof, opening }).await,
                Ok(Err(error)) => self.cannot_help(&error).await,
                Err(Stopping) => Ok(()),
            };
        }
        let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(2);
        let give = move || -> Result<(), custody::SymbolError> {
            let fragment = custody::KeptFragment::new(&store, &record);
            let mut sink = ChunkSink { sender, chunk: Vec::with_capacity(CHUNK_BYTES) };
            custody::give_symbol(&request, (&record, &fragment), shards, &mut sink, &Options::default())?;
            // Nobody takes it any more: then nobody hears of this either.
            let _ = sink.flush();
            Ok(())
        };
        let helpers = self.parts.helpers.clone();
        let made = helpers.run(give);
        tokio::pin!(made);
        let mut sent = 0u64;
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = chunks.recv() => chunk,
                outcome = &mut made => match outcome {
                    Ok(Err(error)) if sent == 0 => return self.cannot_help(&error).await,
                    // What was sent is no symbol: the stream ends short of it.
                    Ok(Err(_)) | Err(Stopping) => return Ok(()),
                    Ok(Ok(())) => chunks.recv().await,
                },
            };
            let Some(chunk) = chunk else { break };
            if sent == 0 {
                let header = Answer::Symbol { blob_bytes, proof: proof.clone(), opening: Vec::new() };
                self.pipe.write_all(&frame_answer(&header)).await?;
            }
            self.pipe.write_all(&chunk).await?;
            sent += chunk.len() as u64;
        }
        self.pipe.flush().await?;
        self.pipe.close().await?;
        self.parts.shared.metrics.fragment_bytes.with_label_values(&["out"]).inc_by(sent);
        Ok(())
    }

    async fn cannot_help(&mut self, error: &custody::SymbolError) -> Result<(), PipeError> {
        tracing::error!(%error, "a recovery symbol cannot be made");
        self.answer(&Answer::Refused { reason: Refusal::StoreFailed, retry_after_millis: None }).await
    }

    /// Sends units of a sliver, each with its opening, after the fragment's proof.
    async fn serve_units(&mut self, record: &FragmentRecord, axis: Axis, run: UnitRun) -> Result<(), PipeError> {
        let layout = Layout::new(self.committee.shards(), record.blob_bytes).ok();
        let places = layout.and_then(|layout| Some((layout, run.places(&layout, axis)?)));
        let Some((layout, places)) = places else { return self.answer(&malformed()).await };
        let mut bytes = 0u64;
        for place in places {
            let (parts, from) = (Arc::clone(&self.parts), record.clone());
            let job = move || units::open(&parts.hashes, &parts.shared.store, &from, &layout, place);
            let unit = match self.parts.helpers.run(job).await {
                Ok(Ok(unit)) => unit,
                Ok(Err(error)) => return self.cannot_serve(record, bytes == 0, &error).await,
                Err(Stopping) => return Ok(()),
            };
            if bytes == 0 {
                let header = Answer::Sliver { blob_bytes: record.blob_bytes, proof: record.proof.clone() };
                self.pipe.write_all(&frame_answer(&header)).await?;
            }
            self.pipe.write_all(&unit).await?;
            bytes += unit.len() as u64;
        }
        self.pipe.flush().await?;
        self.pipe.close().await?;
        self.parts.shared.metrics.fragment_bytes.with_label_values(&["out"]).inc_by(bytes);
        Ok(())
    }

    /// Before the first byte an answer can still say so; later the stream just ends.
    async fn cannot_serve(
        &mut self,
        record: &FragmentRecord,
        is_first: bool,
        error: &(dyn std::error::Error + 'static),
    ) -> Result<(), PipeError> {
        tracing::error!(blob = %record.key.blob, pair = record.key.pair.0, %error, "a kept fragment cannot be read");
        // What cannot be opened is looked at again, whatever it was.
        let known = error.downcast_ref::<StoreError>();
        if known.is_none_or(|error| matches!(error, StoreError::Damaged { .. })) {
            let _ = self.parts.shared.suspects.try_send(record.key);
        }
        if !is_first {
            return Ok(());
        }
        self.answer(&Answer::Refused { reason: Refusal::StoreFailed, retry_after_millis: None }).await
    }
}

/// Takes bytes from a thread and gives them to a stream, a chunk at a time: who makes them waits for who takes them.
struct ChunkSink {
    sender: mpsc::Sender<Vec<u8>>,
    chunk: Vec<u8>,
}

impl Write for ChunkSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES.saturating_sub(self.chunk.len());
        let (taken, _) = bytes.split_at(room.min(bytes.len()));
        self.chunk.extend_from_slice(taken);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        self.sender.blocking_send(full).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn malformed() -> Answer {
    Answer::Refused { reason: Refusal::Malformed, retry_after_millis: None }
}

/// What the machine is told of a failure; what exactly it was is for the log.
pub(super) fn store_failure(error: &StoreError) -> ReceiveFailure {
    let failure = StoreFailure::from(error);
    if failure == StoreFailure::Io {
        tracing::warn!(%error, "a fragment could not be staged");
    }
    ReceiveFailure::Store(failure)
}

impl Parts {
    /// The latest records of these pairs; those that are not there, or cannot be read, are left out.
    pub(super) async fn records(&self, blob: BlobId, pairs: Vec<PairIndex>) -> Result<Vec<FragmentRecord>, Stopping> {
        let store = self.shared.store.clone();
        let job = move || {
            let record = |pair: PairIndex| match store.record(&blob, pair) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(%blob, pair = pair.0, %error, "a record cannot be read");
                    None
                }
            };
            pairs.into_iter().filter_map(record).collect()
        };
        self.workers.run(job).await
    }
}
