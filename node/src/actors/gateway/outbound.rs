//! Exchanges with holders, as the asker.

use super::Parts;
use super::slivers::{SliverSink, Taken};
use super::spool::Spool;
use crate::actors::pipe::{BoxedPipe, CHUNK_BYTES, PipeError, read_header, write_frame};
use floe_erasure::{Axis, CheckedPart, FragmentProof, Layout, Opening, PairIndex, Place, PrimaryVerifier, pair_of};
use floe_ledger::challenges::Unread;
use floe_machines::download::Trouble;
use floe_machines::upload::{Outcome, UploadRecord};
use floe_machines::wire::fragment::{
    Answer, Ask, ReadAxis, ReadRange, Request, StoreRequest, decode_answer, frame_request,
};
use floe_machines::wire::units::{UnitRun, unit_bytes};
use floe_network::Offence;
use floe_types::bls::BlsSignature;
use floe_types::{BlobId, NodeId, ShardIndex};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a holder may take none of our bytes before we look whether it has answered instead.
const BLOCKED: Duration = Duration::from_secs(3);

pub(super) async fn ask(parts: &Parts, member: NodeId, ask: Ask) -> Result<BoxedPipe, PipeError> {
    let opened = parts.fragments.open(member).await;
    let mut pipe = opened.map_err(|error| PipeError::Io(io::Error::other(error.to_string())))?;
    let request = Request { network: parts.shared.context.network, ask };
    write_frame(&mut pipe, &frame_request(&request)).await?;
    Ok(pipe)
}

pub(super) async fn hear(parts: &Parts, member: NodeId, pipe: &mut BoxedPipe) -> Result<Answer, PipeError> {
    let heard = async { Ok(decode_answer(&read_header(pipe).await?)?) };
    let answer = heard.await;
    if let Err(PipeError::Header(_)) = &answer {
        parts.shared.network.report(member, Offence::Garbage);
    }
    answer
}

fn ended<T>(answer: Answer, done: Option<T>) -> Outcome<T> {
    match (answer, done) {
        (_, Some(done)) => Outcome::Done(done),
        (Answer::Refused { reason, retry_after_millis }, _) => Outcome::Refused { reason, retry_after_millis },
        (Answer::Busy { retry_after_millis }, _) => Outcome::Busy { retry_after_millis },
        (Answer::QuietRetry { after_millis }, _) => Outcome::Busy { retry_after_millis: after_millis },
        (
            Answer::Stored
            | Answer::Confirmation { .. }
            | Answer::Sliver { .. }
            | Answer::Symbol { .. }
            | Answer::Judged { .. },
            None,
        ) => Outcome::Broken,
    }
}

/// Offers a fragment to the holder of its shard.
pub(super) async fn store(
    parts: &Parts,
    spool: Arc<Spool>,
    record: UploadRecord,
    member: NodeId,
    shard: ShardIndex,
) -> Outcome<()> {
    let pair = pair_of(&record.blob, shard, spool.layout().shards());
    let UploadRecord { blob, blob_bytes, registration, .. } = record;
    let request = StoreRequest { registration, blob, blob_bytes, shard, proof: spool.proof(pair) };
    let exchange = async {
        let mut pipe = ask(parts, member, Ask::Store(request)).await?;
        // A holder that has answered already stops reading: its answer is what counts then.
        if let Err(error) = send(parts, &spool, pair, &mut pipe).await {
            tracing::debug!(member = %member.short(), %error, "a fragment was not taken whole");
        }
        hear(parts, member, &mut pipe).await
    };
    match exchange.await {
        Ok(answer) => {
            let done = (answer == Answer::Stored).then_some(());
            ended(answer, done)
        }
        Err(error) => {
            tracing::debug!(member = %member.short(), shard = shard.0, %error, "a fragment was not stored");
            Outcome::Broken
        }
    }
}

async fn send(parts: &Parts, spool: &Arc<Spool>, pair: PairIndex, pipe: &mut BoxedPipe) -> io::Result<()> {
    let bytes = spool.layout().fragment_bytes();
    let mut offset = 0u64;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let from = Arc::clone(spool);
        let job = move || {
            let mut chunk = vec![0u8; length];
            from.read(pair, offset, &mut chunk).map(|()| chunk)
        };
        let chunk = parts.files.run(job).await.map_err(io::Error::other)??;
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let written = tokio::time::timeout(BLOCKED, pipe.write(rest)).await.map_err(io::Error::other)??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = rest.get(written..).unwrap_or_default();
        }
        offset += length as u64;
    }
    pipe.flush().await
}

/// Asks a holder for its confirmation.
pub(super) async fn confirm(parts: &Parts, record: UploadRecord, member: NodeId) -> Outcome<BlsSignature> {
    let wanted = Ask::Confirm { registration: record.registration, blob: record.blob };
    let exchange = async {
        let mut pipe = ask(parts, member, wanted).await?;
        hear(parts, member, &mut pipe).await
    };
    match exchange.await {
        Ok(answer) => {
            let signature = match &answer {
                Answer::Confirmation { signature } => Some(*signature),
                _ => None,
            };
            ended(answer, signature)
        }
        Err(error) => {
            tracing::debug!(member = %member.short(), %error, "no confirmation");
            Outcome::Broken
        }
    }
}

/// A sliver to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub blob: BlobId,
    pub layout: Layout,
    pub member: NodeId,
    pub shard: ShardIndex,
    pub pair: PairIndex,
}

/// A holder sent what the blob does not commit to.
pub(super) fn misbehaved(parts: &Parts, blob: &BlobId, (member, shard): (NodeId, ShardIndex)) {
    tracing::warn!(member = %member.short(), shard = shard.0, %blob, "a holder sent wrong bytes");
    parts.shared.network.report(member, Offence::Garbage);
}

/// Asks for a part of a fragment. Gives the pipe on which it comes, its encoded proof and when it began to come.
async fn begin(parts: &Parts, wanted: Wanted, request: Ask) -> Result<(BoxedPipe, Vec<u8>, u64), Trouble> {
    let begun = Instant::now();
    let Wanted { layout, member, shard, .. } = wanted;
    let exchange = async {
        let mut pipe = ask(parts, member, request).await?;
        let answer = hear(parts, member, &mut pipe).await?;
        Ok::<_, PipeError>((pipe, answer))
    };
    let trouble = match exchange.await {
        Err(error) => {
            tracing::debug!(member = %member.short(), shard = shard.0, %error, "no sliver");
            Trouble::Broken
        }
        Ok((pipe, Answer::Sliver { blob_bytes, proof })) if blob_bytes == layout.blob_bytes() => {
            return Ok((pipe, proof, millis(begun)));
        }
        Ok((_, answer)) => Trouble::of_answer(&answer),
    };
    // Who wants to be asked later has answered.
    if !matches!(trouble, Trouble::Later { .. }) {
        speeds(parts).failed(member);
    }
    Err(trouble)
}

/// Remembers how fast a holder was that sent `bytes` since `begun`, or that it failed.
fn judged<T>(parts: &Parts, member: NodeId, taken: &Result<T, Trouble>, moved: (u64, u64, Instant)) {
    let (latency, bytes, begun) = moved;
    match taken {
        Ok(_) => speeds(parts).measured(member, latency, bytes, millis(begun).saturating_sub(latency)),
        Err(_) => speeds(parts).failed(member),
    }
}

/// Reads a primary sliver and verifies it while it comes in. `moved` is called with every part.
pub(super) async fn read(parts: &Parts, wanted: Wanted, sink: SliverSink, moved: impl Fn()) -> Result<Taken, Trouble> {
    let (begun, Wanted { blob, layout, member, shard, .. }) = (Instant::now(), wanted);
    let request = Ask::Read { blob, shard, axis: ReadAxis::Primary, range: ReadRange::Whole };
    let what = Unread { blob, shard, axis: Axis::Primary, unit: None };
    let begin = begin(parts, wanted, request).await;
    let (mut pipe, proof, latency) = begin.inspect_err(|trouble| tell(parts, member, what, *trouble))?;
    let taken = take(parts, &mut pipe, wanted, &proof, sink, moved).await;
    judged(parts, member, &taken, (latency, layout.primary_bytes(), begun));
    taken.inspect_err(|trouble| tell(parts, member, what, *trouble))
}

/// Tells of what a holder did not give. That it wants to be asked later is an answer.
fn tell(parts: &Parts, member: NodeId, what: Unread, trouble: Trouble) {
    match trouble {
        Trouble::Later { .. } => {}
        Trouble::Wrong | Trouble::NotThere | Trouble::Broken => parts.unread(member, what),
    }
}

/// Reads a run of units of one sliver and verifies each. `moved` is called with every one.
pub(super) async fn read_units(
    parts: &Parts,
    wanted: Wanted,
    (axis, run): (Axis, UnitRun),
    moved: impl Fn(),
) -> Result<Vec<CheckedPart>, Trouble> {
    let (begun, Wanted { blob, layout, member, shard, pair }) = (Instant::now(), wanted);
    let places = run.places(&layout, axis).ok_or(Trouble::NotThere)?;
    let request = Ask::Read { blob, shard, axis: axis.into(), range: ReadRange::Units(run) };
    let unit = places.first().map(|place| (place.symbol, place.part));
    let what = Unread { blob, shard, axis, unit };
    let begin = begin(parts, wanted, request).await;
    let (mut pipe, proof, latency) = begin.inspect_err(|trouble| tell(parts, member, what, *trouble))?;
    let taken = async {
        let proof = FragmentProof::decode(&proof, &layout).map_err(|_| Trouble::Wrong)?;
        let proof = proof.check(&blob, &layout, pair).map_err(|_| Trouble::Wrong)?;
        let mut raw = Vec::with_capacity(places.len());
        for place in places {
            // A unit is 64 KiB at most, and an opening some hashes.
            let mut bytes = vec![0u8; usize::try_from(unit_bytes(&place, &layout)).map_err(|_| Trouble::Wrong)?];
            pipe.read_exact(&mut bytes).await.map_err(|_| Trouble::Broken)?;
            moved();
            raw.push((place, bytes));
        }
        let job = move || -> Result<Vec<CheckedPart>, Trouble> {
            let check = |(place, mut bytes): (Place, Vec<u8>)| {
                let opening = bytes.split_off(bytes.len().saturating_sub(place.opening_bytes(&layout)));
                let opening = Opening::decode(&opening, &layout, &place).map_err(|_| Trouble::Wrong)?;
                proof.check_part(place, bytes, &opening).map_err(|_| Trouble::Wrong)
            };
            raw.into_iter().map(check).collect()
        };
        parts.files.run(job).await.map_err(|_| Trouble::Broken)?
    };
    let taken = taken.await;
    let bytes = run.answer_bytes(&layout, axis).unwrap_or(0);
    judged(parts, member, &taken, (latency, bytes, begun));
    taken.inspect_err(|trouble| tell(parts, member, what, *trouble))
}

fn speeds(parts: &Parts) -> std::sync::MutexGuard<'_, floe_machines::download::SpeedBook> {
    parts.speeds.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The sliver's bytes, verified: each part is hashed and written in one visit to the workers.
async fn take(
    parts: &Parts,
    pipe: &mut BoxedPipe,
    wanted: Wanted,
    proof: &[u8],
    mut sink: SliverSink,
    moved: impl Fn(),
) -> Result<Taken, Trouble> {
    let Wanted { blob, layout, pair, .. } = wanted;
    let proof = FragmentProof::decode(proof, &layout).map_err(|_| Trouble::Wrong)?;
    let mut verifier = PrimaryVerifier::new(&blob, &layout, pair, &proof).map_err(|_| Trouble::Wrong)?;
    let mut left = layout.primary_bytes();
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = vec![0u8; length];
        pipe.read_exact(&mut chunk).await.map_err(|_| Trouble::Broken)?;
        left -= length as u64;
        moved();
        let job = move || {
            let hashed = verifier.update(&chunk).map_err(|_| Trouble::Wrong);
            let kept = hashed.and_then(|()| {
                sink.write(&chunk).map_err(|error| {
                    tracing::error!(%error, "a sliver could not be spooled");
                    Trouble::Broken
                })
            });
            kept.map(|()| (verifier, sink))
        };
        (verifier, sink) = parts.files.run(job).await.map_err(|_| Trouble::Broken)??;
    }
    let checked = verifier.finish().map_err(|_| Trouble::Wrong)?;
    Ok(Taken { checked, sliver: sink.into_sliver(), proof: Arc::new(proof) })
}
