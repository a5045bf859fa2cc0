//! Evidence that a blob is encoded inconsistently: taken in, judged, signed.
//!
//! Only what the ledger defends is judged, and only by a member. What is taken is bounded by the blob's layout before a byte of it is
//! read; the body lies in a file without a name. One piece of evidence is judged at a time, and has [`PATIENCE`] in all: others
//! are told *busy*. Whoever brings what shows nothing loses standing.

use super::Parts;
use super::exchange::Exchange;
use crate::actors::pipe::{BoxedPipe, CHUNK_BYTES, PipeError};
use floe_erasure::{Evidence, Layout, Options};
use floe_ledger::views::{self, BlobStatus};
use floe_machines::inconsistency::{Accused, JudgeError, judge};
use floe_machines::wire::fragment::{Answer, Refusal};
use floe_network::Offence;
use floe_types::BlobId;
use futures::AsyncReadExt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// Pieces of evidence that are judged at a time.
pub(super) const AT_ONCE: usize = 1;
/// How long one may take from its first byte to the judgement.
const PATIENCE: Duration = Duration::from_secs(120);
/// When to come again.
const RETRY_MILLIS: u32 = 5_000;

fn refused(reason: Refusal) -> Answer {
    Answer::Refused { reason, retry_after_millis: None }
}

impl Exchange {
    /// The answer to evidence that follows on the stream.
    pub(super) async fn judge(&mut self, blob: BlobId, head_bytes: u32) -> Result<Answer, PipeError> {
        let parts = Arc::clone(&self.parts);
        let Ok(_place) = parts.judging.try_acquire() else {
            return Ok(Answer::Busy { retry_after_millis: RETRY_MILLIS });
        };
        let term = self.committee.term();
        if self.committee.index_of(&parts.shared.node).is_none() {
            return Ok(refused(Refusal::NotMember { term }));
        }
        let Some((accused, layout)) = parts.accused(&blob, self.committee.shards()) else {
            return Ok(refused(Refusal::NotShown));
        };
        let judged = tokio::time::timeout(PATIENCE, take(&parts, &mut self.pipe, (accused, layout), head_bytes)).await;
        let slow = || PipeError::Io(io::ErrorKind::TimedOut.into());
        Ok(match judged.map_err(|_| slow())?? {
            Verdict::Holds(finding) => {
                let (network, key) = (parts.shared.context.network, &parts.key);
                let confirmation = finding.confirm(parts.shared.node, (network, term), key);
                tracing::info!(%blob, peer = %self.peer.short(), "evidence of an inconsistent encoding holds");
                Answer::Judged { term, signature: confirmation.signature }
            }
            Verdict::ShowsNothing => {
                parts.shared.network.report(self.peer, Offence::Garbage);
                refused(Refusal::NotShown)
            }
            Verdict::NotFoundOut => refused(Refusal::StoreFailed),
        })
    }
}

/// What evidence came to.
enum Verdict {
    Holds(floe_machines::inconsistency::Finding),
    ShowsNothing,
    NotFoundOut,
}

async fn take(
    parts: &Parts,
    pipe: &mut BoxedPipe,
    (accused, layout): (Accused, Layout),
    head_bytes: u32,
) -> Result<Verdict, PipeError> {
    let most = Evidence::head_bytes_max(&layout);
    let Some(length) = usize::try_from(head_bytes).ok().filter(|length| *length <= most) else {
        return Ok(Verdict::ShowsNothing);
    };
    let mut head = vec![0u8; length];
    pipe.read_exact(&mut head).await?;
    let Ok(evidence) = Evidence::decode(&head, &accused.blob, &layout) else { return Ok(Verdict::ShowsNothing) };
    let (mut file, mut left) = (Arc::new(unnamed(parts)?), evidence.body_bytes());
    while left > 0 {
        let mut chunk = vec![0u8; usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
        pipe.read_exact(&mut chunk).await?;
        left -= chunk.len() as u64;
        let written = move || (&*file).write_all(&chunk).map(|()| file);
        file = parts.workers.run(written).await.map_err(|error| PipeError::Io(io::Error::other(error)))??;
    }
    let job = move || judge(&accused, &head, &*file, &Options::default());
    let judged = parts.workers.run(job).await.map_err(|error| PipeError::Io(io::Error::other(error)))?;
    Ok(match judged {
        Ok(finding) => Verdict::Holds(finding),
        Err(JudgeError::Evidence(error)) if error.is_undecided() => Verdict::NotFoundOut,
        Err(_) => Verdict::ShowsNothing,
    })
}

/// A file that has no name and goes with its last handle. One is made at a time: the name it has for a moment is free.
fn unnamed(parts: &Parts) -> io::Result<File> {
    let spool = parts.shared.store.directory().join("spool");
    std::fs::create_dir_all(&spool)?;
    let path = spool.join("evidence.judged");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

impl Parts {
    /// The blob as the ledger has it; none when it is not one that is defended.
    fn accused(&self, blob: &BlobId, shards: u16) -> Option<(Accused, Layout)> {
        let view = views::blob(&self.shared.store.snapshot(), blob).ok().flatten()?;
        let BlobStatus::Certified { .. } = view.status else { return None };
        let blob_bytes = view.length;
        Some((Accused { blob: *blob, blob_bytes, shards }, Layout::new(shards, blob_bytes).ok()?))
    }
}
