//! Shows the network that a blob is encoded inconsistently, after a read that found it.
//!
//! ```text
//! slivers of the read ──► evidence ──► each member judges it, signs ──► f + 1 shards ──► Action::Invalid
//! ```
//!
//! This node judges its own evidence first: what does not hold here is not sent. Members are asked one after the other, so that a
//! body as long as a sliver leaves once at a time; it ends with the first claim that the ledger takes. What fails is left to the
//! next read that finds the same.
//!
//! # Bounded
//! [`ACCUSATIONS_MAX`] blobs at a time, each once; a read that finds another one then leaves it to a later read.

use super::Parts;
use super::outbound::{ask, hear};
use super::slivers::{self, Place, Sliver, Verified};
use crate::actors::pipe::{BoxedPipe, CHUNK_BYTES, PipeError};
use floe_erasure::{Options, ReadAt};
use floe_ledger::Action;
use floe_machines::coordinator::Outcome;
use floe_machines::inconsistency::{Accused, Confirmation, Gathering, judge};
use floe_machines::wire::fragment::{Answer, Ask};
use floe_types::{BlobId, Committee, NodeId};
use futures::AsyncWriteExt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Blobs that are accused at a time.
const ACCUSATIONS_MAX: usize = 2;
/// How long a member may take to judge.
const PATIENCE: Duration = Duration::from_secs(150);
/// Rounds over members that were busy or not there, and the rest between them.
const ROUNDS: usize = 3;
const REST: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Accuse(#[from] slivers::AccuseError),
    #[error(transparent)]
    Judge(#[from] floe_machines::inconsistency::JudgeError),
    #[error("the node is stopping")]
    Stopping,
    #[error("members with {found} shards found it to hold, {needed} are needed")]
    TooFew { found: u16, needed: u16 },
    #[error("the claim was not taken: {0}")]
    NotTaken(String),
}

/// Starts to show what the slivers of a read say of their blob.
pub(super) fn start(parts: &Arc<Parts>, verified: Arc<Verified>) {
    let Some(blob) = verified.values().next().map(|taken| taken.checked.blob()) else { return };
    let place = {
        let mut accused = parts.accused.lock().unwrap_or_else(PoisonError::into_inner);
        accused.len() < ACCUSATIONS_MAX && accused.insert(blob)
    };
    if !place {
        return;
    }
    let parts = Arc::clone(parts);
    tokio::task::spawn_local(async move {
        match show(&parts, blob, verified).await {
            Ok(shards) => tracing::warn!(%blob, shards, "members found that this blob is encoded inconsistently"),
            Err(error) => {
                tracing::warn!(%blob, %error, "a blob was found to be encoded inconsistently, and not shown to be")
            }
        }
        parts.accused.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob);
    });
}

/// Evidence as it goes on a stream.
struct Brought {
    blob: BlobId,
    head: Vec<u8>,
    body: Sliver,
    body_bytes: u64,
}

/// Does all of it; gives the shards of the members that confirmed.
async fn show(parts: &Arc<Parts>, blob: BlobId, verified: Arc<Verified>) -> Result<u16, Trouble> {
    let committee = parts.ledger.committee();
    let Some(layout) = verified.values().next().map(|taken| taken.checked.layout()) else { return Ok(0) };
    let accused = Accused { blob, blob_bytes: layout.blob_bytes(), shards: layout.shards() };
    let most = layout.primary_bytes().max(layout.fragment_bytes() - layout.primary_bytes());
    let sink = Place::single(parts, most)?;
    let job = move || -> Result<_, Trouble> {
        let Some((evidence, body)) = slivers::accuse(&verified, sink)? else { return Ok(None) };
        let finding = judge(&accused, &evidence.encode(), &body, &Options::default())?;
        Ok(Some((evidence, body, finding)))
    };
    let found = parts.coding.run(job).await.map_err(|_| Trouble::Stopping)??;
    let needed = committee.faulty().saturating_add(1);
    // The id was another only because the read itself went wrong: nothing is wrong with the blob.
    let Some((evidence, body, finding)) = found else { return Err(Trouble::TooFew { found: 0, needed }) };
    let mut gathering = Gathering::new(&finding, parts.shared.context.network, Committee::clone(&committee));
    let brought = Brought { blob, head: evidence.encode(), body, body_bytes: evidence.body_bytes() };
    let mut left: Vec<NodeId> = committee.members().iter().map(|member| member.node).collect();
    // This node's own holder first: it needs no network.
    left.sort_by_key(|node| *node != parts.shared.node);
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(REST).await;
        }
        let mut later = Vec::new();
        for member in left {
            match tokio::time::timeout(PATIENCE, bring(parts, member, &brought)).await {
                Ok(Ok(Answer::Judged { term, signature })) => {
                    let added = gathering.add(&Confirmation { node: member, term, signature });
                    if let Err(error) = added {
                        tracing::debug!(member = %member.short(), %error, "a judgement does not count");
                    }
                }
                Ok(Ok(Answer::Refused { retry_after_millis: None, .. })) => {}
                Ok(Ok(_) | Err(_)) | Err(_) => later.push(member),
            }
            if let Some(claim) = gathering.claim() {
                claimed(parts, Action::Invalid(Box::new(claim))).await?;
                return Ok(gathering.shards());
            }
        }
        left = later;
    }
    Err(Trouble::TooFew { found: gathering.shards(), needed })
}

/// Brings evidence to a member and waits for its answer.
async fn bring(parts: &Parts, member: NodeId, brought: &Brought) -> Result<Answer, PipeError> {
    let head_bytes = u32::try_from(brought.head.len()).unwrap_or(u32::MAX);
    let mut pipe = ask(parts, member, Ask::Judge { blob: brought.blob, head_bytes }).await?;
    // One that has answered already stops reading: its answer is what counts then.
    if let Err(error) = send(parts, &mut pipe, brought).await {
        tracing::debug!(member = %member.short(), %error, "evidence was not taken whole");
    }
    hear(parts, member, &mut pipe).await
}

async fn send(parts: &Parts, pipe: &mut BoxedPipe, brought: &Brought) -> io::Result<()> {
    pipe.write_all(&brought.head).await?;
    let mut offset = 0;
    while offset < brought.body_bytes {
        let length = usize::try_from(brought.body_bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let body = brought.body.clone();
        let job = move || {
            let mut chunk = vec![0u8; length];
            body.read_exact_at(&mut chunk, offset).map(|()| chunk)
        };
        let chunk = parts.files.run(job).await.map_err(io::Error::other)??;
        pipe.write_all(&chunk).await?;
        offset += length as u64;
    }
    pipe.flush().await
}

/// Puts the claim on the ledger; that somebody else was first is as good.
async fn claimed(parts: &Parts, action: Action) -> Result<(), Trouble> {
    let submitted = parts.shared.coordinator.submit(action).await;
    let submission = submitted.map_err(|failure| Trouble::NotTaken(failure.to_string()))?;
    match submission.settled.await {
        Ok(Outcome::Refused { refusal: floe_ledger::Refusal::BlobInvalid { .. } })
        | Ok(Outcome::Included { .. } | Outcome::Waiting) => Ok(()),
        Ok(Outcome::Refused { refusal }) => Err(Trouble::NotTaken(refusal.to_string())),
        Err(_) => Err(Trouble::Stopping),
    }
}
