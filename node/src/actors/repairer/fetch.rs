//! One fetch: a whole fragment from a holder, staged as it comes, checked, kept, told to custody.

use super::Parts;
use crate::actors::pipe::{BoxedPipe, CHUNK_BYTES, PipeError, read_header, write_frame};
use floe_erasure::Options;
use floe_machines::custody::{self, StoreFailure};
use floe_machines::fragments::{FragmentRecord, FragmentStore, StagedFragment, StoreError};
use floe_machines::handover::{Gap, Trouble};
use floe_machines::wire::fragment::{Answer, Ask, ReadAxis, ReadRange, Request, decode_answer, frame_request};
use floe_network::Offence;
use floe_types::NodeId;
use futures::AsyncReadExt;
use std::io;
use std::time::Duration;

/// How long a holder may take for its answer, and for each part of the fragment.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fetches `gap` from `from`.
pub(super) async fn run(parts: &Parts, from: NodeId, gap: Gap) -> Result<(), Trouble> {
    let wanted = Ask::Read { blob: gap.blob, shard: gap.shard, axis: ReadAxis::Pair, range: ReadRange::Whole };
    let (mut pipe, answer) = ask(parts, from, wanted).await?;
    let proof = gap.proof_in(answer)?;
    take(parts, &mut pipe, &gap, proof).await?;
    parts.fragments.fragment_came(gap.blob).await;
    parts.shared.metrics.handover_bytes.inc_by(gap.bytes);
    Ok(())
}

/// Asks `from`, and waits for its answer, after which bytes may come.
pub(super) async fn ask(parts: &Parts, from: NodeId, ask: Ask) -> Result<(BoxedPipe, Answer), Trouble> {
    let exchange = async {
        let opened = parts.fragments.open(from).await;
        let mut pipe = opened.map_err(|error| PipeError::Io(io::Error::other(error.to_string())))?;
        let request = Request { network: parts.shared.context.network, ask };
        write_frame(&mut pipe, &frame_request(&request)).await?;
        let answer = read_header(&mut pipe).await.and_then(|header| Ok(decode_answer(&header)?))?;
        Ok::<_, PipeError>((pipe, answer))
    };
    let asked = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| Trouble::Broken)?;
    asked.map_err(|error| {
        if let PipeError::Header(_) = &error {
            parts.shared.network.report(from, Offence::Garbage);
        }
        tracing::debug!(from = %from.short(), %error, "a holder gave no answer");
        Trouble::Broken
    })
}

/// The next of `left` bytes: a chunk at most.
pub(in crate::actors) async fn chunk(pipe: &mut BoxedPipe, left: u64) -> Result<Vec<u8>, Trouble> {
    let length = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
    let mut chunk = vec![0u8; length];
    let read = tokio::time::timeout(PATIENCE, pipe.read_exact(&mut chunk)).await;
    read.map_err(|_| Trouble::Broken)?.map_err(|_| Trouble::Broken)?;
    Ok(chunk)
}

/// Stages the bytes, checks them where they lie, and keeps them. One visit to the workers for each part.
async fn take(parts: &Parts, pipe: &mut BoxedPipe, gap: &Gap, proof: Vec<u8>) -> Result<(), Trouble> {
    let shards = parts.shared.context.params.shards;
    let (key, offer, bytes) = (gap.key(shards), gap.offer(proof), gap.bytes);
    let (registration, blob_bytes) = (gap.registration, gap.blob_bytes);
    let mut staged: Option<Box<dyn StagedFragment>> = None;
    let mut left = bytes;
    loop {
        let chunk = chunk(pipe, left).await?;
        left -= chunk.len() as u64;
        let (store, offer, before) = (parts.shared.store.clone(), offer.clone(), staged.take());
        let is_last = left == 0;
        let job = move || -> Result<Option<Box<dyn StagedFragment>>, Trouble> {
            let mut staged = match before {
                Some(staged) => staged,
                None => store.stage(key, bytes).map_err(|error| trouble(&error))?,
            };
            staged.append(&chunk).map_err(|error| trouble(&error))?;
            if !is_last {
                return Ok(Some(staged));
            }
            custody::verify_staged(staged.as_ref(), &offer, shards, &Options::default()).map_err(Trouble::from)?;
            let record = FragmentRecord { key, registration, blob_bytes, proof: offer.proof };
            store.keep(vec![(record, staged)]).map_err(|error| trouble(&error))?;
            Ok(None)
        };
        staged = parts.workers.run(job).await.map_err(|_| Trouble::Broken)??;
        if is_last {
            return Ok(());
        }
    }
}

fn trouble(error: &StoreError) -> Trouble {
    if StoreFailure::from(error) == StoreFailure::Io {
        tracing::warn!(%error, "a fragment that was handed over could not be kept");
    }
    Trouble::NoRoom
}
