//! One fetch: a whole fragment from a holder, staged as it comes, checked, kept, told to custody.

use super::Parts;
use crate::actors::pipe::{BoxedPipe, CHUNK_BYTES, PipeError, read_header, write_frame};
use floe_erasure::{Options, pair_of};
use floe_machines::custody::{self, Offer, ReceiveFailure, StoreFailure};
use floe_machines::fragments::{FragmentKey, FragmentRecord, FragmentStore, StagedFragment, StoreError};
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
    let asked = tokio::time::timeout(PATIENCE, ask(parts, from, &gap)).await;
    let (mut pipe, answer) = match asked {
        Ok(Ok(asked)) => asked,
        Ok(Err(error)) => {
            tracing::debug!(from = %from.short(), %error, "no fragment");
            return Err(Trouble::Broken);
        }
        Err(_) => return Err(Trouble::Broken),
    };
    let proof = match answer {
        Answer::Sliver { blob_bytes, proof } if blob_bytes == gap.blob_bytes => proof,
        Answer::Busy { retry_after_millis: after_millis } | Answer::QuietRetry { after_millis } => {
            return Err(Trouble::Later { after_millis });
        }
        Answer::Refused { reason, retry_after_millis: Some(after_millis) } if reason.may_pass() => {
            return Err(Trouble::Later { after_millis });
        }
        Answer::Refused { .. } => return Err(Trouble::NotThere),
        Answer::Sliver { .. } | Answer::Stored | Answer::Confirmation { .. } | Answer::Judged { .. } => {
            return Err(Trouble::Wrong);
        }
    };
    take(parts, &mut pipe, &gap, proof).await?;
    parts.fragments.fragment_came(gap.blob).await;
    parts.shared.metrics.handover_bytes.inc_by(gap.bytes);
    Ok(())
}

async fn ask(parts: &Parts, from: NodeId, gap: &Gap) -> Result<(BoxedPipe, Answer), PipeError> {
    let opened = parts.fragments.open(from).await;
    let mut pipe = opened.map_err(|error| PipeError::Io(io::Error::other(error.to_string())))?;
    let ask = Ask::Read { blob: gap.blob, shard: gap.shard, axis: ReadAxis::Pair, range: ReadRange::Whole };
    let request = Request { network: parts.shared.context.network, ask };
    write_frame(&mut pipe, &frame_request(&request)).await?;
    let answer = read_header(&mut pipe).await.and_then(|header| Ok(decode_answer(&header)?));
    if let Err(PipeError::Header(_)) = &answer {
        parts.shared.network.report(from, Offence::Garbage);
    }
    Ok((pipe, answer?))
}

/// Stages the bytes, checks them where they lie, and keeps them. One visit to the workers for each part.
async fn take(parts: &Parts, pipe: &mut BoxedPipe, gap: &Gap, proof: Vec<u8>) -> Result<(), Trouble> {
    let shards = parts.shared.context.params.shards;
    let key = FragmentKey { group: gap.group, blob: gap.blob, pair: pair_of(&gap.blob, gap.shard, shards) };
    let Gap { registration, blob, blob_bytes, shard, bytes, .. } = *gap;
    let offer = Offer { registration, blob, blob_bytes, shard, proof };
    let mut staged: Option<Box<dyn StagedFragment>> = None;
    let mut left = bytes;
    loop {
        let length = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = vec![0u8; length];
        let read = tokio::time::timeout(PATIENCE, pipe.read_exact(&mut chunk)).await;
        read.map_err(|_| Trouble::Broken)?.map_err(|_| Trouble::Broken)?;
        left -= length as u64;
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
            custody::verify_staged(staged.as_ref(), &offer, shards, &Options::default()).map_err(failed)?;
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

fn failed(failure: ReceiveFailure) -> Trouble {
    match failure {
        ReceiveFailure::Cut => Trouble::Broken,
        ReceiveFailure::Bad => Trouble::Wrong,
        // The uploader's doing, not the holder's.
        ReceiveFailure::Inconsistent => Trouble::NotThere,
        ReceiveFailure::Store(_) => Trouble::NoRoom,
    }
}

fn trouble(error: &StoreError) -> Trouble {
    if StoreFailure::from(error) == StoreFailure::Io {
        tracing::warn!(%error, "a fragment that was handed over could not be kept");
    }
    Trouble::NoRoom
}
