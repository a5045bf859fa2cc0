//! Uploads to a file: bounded in bytes, in memory, in time and by the room on the disk.
//!
//! Pieces of the body are gathered to a mebibyte and written on a blocking thread, one at a time, so that an upload holds
//! at most two mebibytes of memory and the client is slowed to what the disk takes. The file is removed when the store is
//! over, whatever becomes of it; files that a crash left behind go at the next start. Nothing here is synced: until the
//! blob is certified its sender has promised nothing to anybody.

use super::Config;
use crate::problem::{Code, Problem};
use crate::service::Spooled;
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How much is gathered before it is written.
const PIECE: usize = 1 << 20;
/// How many bytes are written between looks at the room on the disk.
const LOOK_EVERY: u64 = 64 << 20;
/// The most of a refused body that is read to keep its connection.
const DRAIN_BYTES_MAX: usize = 64 << 10;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_millis(100);
/// How a spool file's name ends.
const EXTENSION: &str = "upload";

/// Makes the directory and removes what a crash left in it.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Receives a body into a file. `announced` is the length in the request's head, when there is one.
pub(super) async fn receive(
    config: &Config,
    announced: Option<u64>,
    body: &mut web::Payload,
) -> Result<Spooled, Problem> {
    if let Some(length) = announced.filter(|length| *length > config.blob_bytes_max) {
        return Err(too_large(length, config.blob_bytes_max));
    }
    room(config, announced.unwrap_or(0)).await?;
    let path = fresh_path(&config.spool_directory);
    let (create, named) = (path.clone(), path.clone());
    let file = blocking(&named, move || File::options().write(true).create_new(true).open(create)).await?;
    // From here on the file is removed on every way out.
    let guard = Spooled::new(path, 0);
    let length = fill(config, file, body, guard.path()).await?;
    if announced.is_some_and(|announced| announced != length) {
        return Err(Problem::bad_request("content-length", "the body is not as long as announced"));
    }
    Ok(guard.holding(length))
}

/// Takes what little is left of a refused body, so that the connection can serve on. Of a large one nothing is waited for:
/// the connection closes after the answer.
pub(super) async fn drain(body: &mut web::Payload) {
    let all = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(piece)) = body.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    };
    // Too slow or too long: the answer goes out and the connection closes.
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}

async fn fill(config: &Config, file: File, body: &mut web::Payload, path: &Path) -> Result<u64, Problem> {
    let began = Instant::now();
    let (mut length, mut looked) = (0u64, 0u64);
    let mut file = Some(file);
    let mut gathered = BytesMut::with_capacity(PIECE);
    loop {
        let paid = Duration::from_millis(length.saturating_mul(1_000) / super::BODY_RATE_MIN);
        let patience = began + config.body_grace + paid;
        let piece = match tokio::time::timeout_at(patience, body.next()).await {
            Err(_) => return Err(too_slow(length)),
            Ok(Some(Err(error))) => return Err(broken(&error)),
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => break,
        };
        length = length.saturating_add(piece.len() as u64);
        if length > config.blob_bytes_max {
            return Err(too_large(length, config.blob_bytes_max));
        }
        gathered.extend_from_slice(&piece);
        if gathered.len() >= PIECE {
            let full = std::mem::replace(&mut gathered, BytesMut::with_capacity(PIECE)).freeze();
            file = Some(append(path, file.take(), full).await?);
        }
        if length - looked >= LOOK_EVERY {
            room(config, 0).await?;
            looked = length;
        }
    }
    append(path, file.take(), gathered.freeze()).await?;
    Ok(length)
}

async fn append(path: &Path, file: Option<File>, piece: Bytes) -> Result<File, Problem> {
    let mut file = file.ok_or_else(|| Problem::new(Code::Internal, "a spool file was lost between two writes"))?;
    blocking(path, move || file.write_all(&piece).map(|()| file)).await
}

/// Runs file work on a blocking thread and turns its failure into a problem.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Err(Problem::new(Code::Capacity, "this node's disk is full").hint("free space on this node or use another"))
        }
        Ok(Err(error)) => Err(Problem::new(Code::Internal, format!("spooling to {}: {error}", path.display()))),
        Err(_) => Err(Problem::new(Code::Internal, format!("spooling to {} was cut short", path.display()))),
    }
}

/// Refuses when `wanted` more bytes would touch the reserve.
async fn room(config: &Config, wanted: u64) -> Result<(), Problem> {
    let directory = config.spool_directory.clone();
    let free = blocking(&config.spool_directory, move || free_bytes(&directory)).await?;
    let reserve = config.disk_reserve_bytes;
    if free >= reserve.saturating_add(wanted) {
        return Ok(());
    }
    let detail =
        format!("{wanted} bytes do not fit: {free} are free on this node's disk, {reserve} are kept in reserve");
    Err(Problem::new(Code::Capacity, detail).hint("free space on this node or use another"))
}

/// Bytes free for this process on the file system of `directory`.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn fresh_path(directory: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("{}-{number}.{EXTENSION}", std::process::id()))
}

fn too_large(length: u64, limit: u64) -> Problem {
    let detail = format!("the body has {length} bytes or more, the largest blob of this network has {limit}");
    Problem::new(Code::BlobTooLarge, detail).with(|facts| facts.limit_bytes = Some(limit))
}

fn too_slow(length: u64) -> Problem {
    let rate = super::BODY_RATE_MIN;
    Problem::new(Code::RequestTimeout, format!("{length} bytes came, slower than {rate} a second"))
}

fn broken(error: &actix_web::error::PayloadError) -> Problem {
    let shown: String = error.to_string().escape_debug().take(200).collect();
    Problem::bad_request("body", format!("the body ended early or is malformed: {shown}"))
}
