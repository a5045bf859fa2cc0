//! Sends a blob's bytes to the client in order, as far as they may be sent, as fast as the client takes them.

use super::ingress::BodySender;
use super::problems;
use super::slivers::Source;
use crate::actors::pipe::CHUNK_BYTES;
use crate::actors::workers::Workers;
use bytes::Bytes;
use floe_api::Problem;
use floe_erasure::ReadAt;
use std::ops::Range;
use tokio::sync::watch;

/// What may be sent.
#[derive(Clone)]
pub(super) enum Allowed {
    /// Nothing yet.
    Nothing,
    /// Bytes up to here, from this source.
    UpTo { bytes: u64, source: Source },
    /// Nothing more: it went wrong.
    Failed(Problem),
}

/// Bytes that are withheld until the id is confirmed: the last chunk, so that no client takes an unconfirmed blob for a
/// whole one.
pub(super) fn withheld(length: u64) -> u64 {
    length.min(CHUNK_BYTES as u64)
}

/// Feeds `body` until the bytes of `range` are sent, something fails or the client leaves. Gives the bytes that were sent.
pub(super) async fn feed(
    workers: Workers,
    range: Range<u64>,
    mut allowed: watch::Receiver<Allowed>,
    body: BodySender,
    first: impl FnOnce(),
) -> u64 {
    let (mut at, end) = (range.start, range.end);
    let mut first = Some(first);
    while at < end {
        let now = allowed.borrow_and_update().clone();
        let (bytes, source) = match now {
            Allowed::UpTo { bytes, source } if bytes > at => (bytes, source),
            Allowed::Failed(problem) => {
                // The client may have left.
                let _ = body.send(Err(problem)).await;
                return at - range.start;
            }
            Allowed::Nothing | Allowed::UpTo { .. } => {
                tokio::select! {
                    changed = allowed.changed() => if changed.is_err() { return at - range.start },
                    () = body.closed() => return at - range.start,
                }
                continue;
            }
        };
        let take = usize::try_from(bytes.min(end) - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let job = move || {
            let mut chunk = vec![0u8; take];
            source.read_exact_at(&mut chunk, at).map(|()| chunk)
        };
        let chunk = match workers.run(job).await {
            Ok(Ok(chunk)) => Ok(Bytes::from(chunk)),
            Ok(Err(error)) => Err(problems::internal("reading the spool", &error)),
            Err(_) => Err(problems::stopping()),
        };
        let failed = chunk.is_err();
        if body.send(chunk).await.is_err() || failed {
            return at - range.start;
        }
        at += take as u64;
        if let Some(first) = first.take() {
            first();
        }
    }
    at - range.start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::gateway::slivers::Sliver;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    fn source(bytes: Vec<u8>) -> Source {
        Source::Decoded(Sliver::Memory(Arc::new(bytes)))
    }

    #[tokio::test]
    async fn nothing_is_sent_that_is_not_allowed_and_everything_that_is() {
        let blob: Vec<u8> = (0..600_000u32).map(|at| at as u8).collect();
        let length = blob.len() as u64;
        let (allow, allowed) = watch::channel(Allowed::Nothing);
        let (body, mut chunks) = mpsc::channel(2);
        let workers = Workers::start("feed", 1, 4).unwrap();
        let fed = tokio::spawn(feed(workers, 0..length, allowed, body, || ()));
        let bytes = length - withheld(length);
        allow.send_replace(Allowed::UpTo { bytes, source: source(blob.clone()) });
        let mut got = Vec::new();
        while got.len() < bytes as usize {
            got.extend_from_slice(&chunks.recv().await.unwrap().unwrap());
        }
        assert_eq!(got.len() as u64, bytes);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(chunks.try_recv().is_err(), "the last chunk is withheld");
        allow.send_replace(Allowed::UpTo { bytes: length, source: source(blob.clone()) });
        while let Some(chunk) = chunks.recv().await {
            got.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(got, blob);
        assert_eq!(fed.await.unwrap(), length);
    }

    #[tokio::test]
    async fn a_failure_ends_the_body_with_its_problem() {
        let (allow, allowed) = watch::channel(Allowed::Nothing);
        let (body, mut chunks) = mpsc::channel(2);
        let workers = Workers::start("feed", 1, 4).unwrap();
        let fed = tokio::spawn(feed(workers, 0..10, allowed, body, || ()));
        allow.send_replace(Allowed::Failed(problems::stopping()));
        assert_eq!(chunks.recv().await, Some(Err(problems::stopping())));
        assert_eq!((chunks.recv().await, fed.await.unwrap()), (None, 0));
    }
}
