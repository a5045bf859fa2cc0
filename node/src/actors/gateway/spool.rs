//! The file in which an upload's fragments wait to be sent.
//!
//! ```text
//! fragment of pair 0 | .. | fragment of pair n-1 | proofs, encoded | their length, 8 bytes BE
//! ```
//!
//! The file's name is in the upload's record in the store, so that a start finds both or removes both.

use crate::actors::gateway::Parts;
use floe_erasure::{EncodeError, Encoded, Layout, Options, PairIndex, ReadAt, WriteAt, encode};
use floe_machines::upload::UploadRecord;
use floe_storage::{StorageError, Store};
use floe_types::codec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The extension of the files.
const EXTENSION: &str = "fragments";
/// The longest list of proofs: 1,024 shards with proofs of 1 KiB.
const PROOFS_BYTES_MAX: u64 = 1 << 20;
/// Uploads read from the store at a time.
const PAGE: usize = 256;
/// The longest value of an upload in the store.
const SAVED_BYTES_MAX: usize = 1 << 10;

/// An upload as it is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    record: UploadRecord,
    file: String,
    shards: u16,
}

/// The fragments of one blob in a file.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    path: PathBuf,
    layout: Layout,
    proofs: Vec<Vec<u8>>,
}

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("spool file {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("spool file {path} is not whole", path = path.display())]
    Torn { path: PathBuf },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Spool {
    /// Encodes the first `length` bytes of the file at `source`. Blocks; the longest part of a store.
    pub(super) fn encode(
        source: &Path,
        length: u64,
        shards: u16,
        path: PathBuf,
        progress: &dyn Fn(u64),
    ) -> Result<(Spool, Encoded), SpoolError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| SpoolError::Io { path: path.clone(), source }
        };
        let blob = File::open(source).map_err(at(source))?;
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(&path).map_err(at(&path))?;
        let threads = NonZeroUsize::MIN.saturating_add(1);
        let options = Options { threads, progress: Some(progress), ..Options::default() };
        let spooled = (|| {
            let encoded = encode(&blob, length, shards, &file, &options)?;
            let proofs: Vec<Vec<u8>> = (0..shards).map(|pair| encoded.proof(PairIndex(pair)).encode()).collect();
            let mut tail = codec::encode(&proofs);
            tail.extend_from_slice(&(tail.len() as u64).to_be_bytes());
            file.write_all_at(&tail, encoded.layout().encoded_bytes()).map_err(at(&path))?;
            Ok((encoded, proofs))
        })();
        match spooled {
            Ok((encoded, proofs)) => Ok((Spool { file, path, layout: encoded.layout(), proofs }, encoded)),
            Err(error) => {
                remove(&path);
                Err(error)
            }
        }
    }

    /// The spool of an upload that was interrupted.
    fn open(path: PathBuf, layout: Layout) -> Result<Spool, SpoolError> {
        let io = |source: io::Error| SpoolError::Io { path: path.clone(), source };
        let torn = || SpoolError::Torn { path: path.clone() };
        let file = File::open(&path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let tail_at = layout.encoded_bytes();
        let tail_bytes = length.checked_sub(tail_at).and_then(|tail| tail.checked_sub(8)).ok_or_else(torn)?;
        if tail_bytes > PROOFS_BYTES_MAX {
            return Err(torn());
        }
        let mut tail = vec![0u8; usize::try_from(tail_bytes).unwrap_or(0)];
        file.read_exact_at(&mut tail, tail_at).map_err(io)?;
        let proofs: Vec<Vec<u8>> = codec::decode(&tail, tail.len()).map_err(|_| torn())?;
        if proofs.len() != usize::from(layout.shards()) {
            return Err(torn());
        }
        Ok(Spool { file, path, layout, proofs })
    }

    /// The layout of the blob.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// The encoded proof of a pair.
    pub(super) fn proof(&self, pair: PairIndex) -> Vec<u8> {
        self.proofs.get(usize::from(pair.0)).cloned().unwrap_or_default()
    }

    /// Reads bytes of a pair's fragment. Blocks.
    pub(super) fn read(&self, pair: PairIndex, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = u64::from(pair.0) * self.layout.fragment_bytes();
        self.file.read_exact_at(buffer, start + offset)
    }

    /// Remembers the upload, so that it goes on after a restart. Blocks.
    pub(super) fn save(&self, store: &Store, record: UploadRecord) -> Result<(), StorageError> {
        let file = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let saved = Saved { record, file, shards: self.layout.shards() };
        store.put_upload(&key(&record), &codec::encode(&saved))
    }

    /// Forgets the upload and removes the file. Blocks.
    pub(super) fn finish(&self, store: &Store, record: Option<UploadRecord>) {
        if let Some(record) = record
            && let Err(error) = store.remove_upload(&key(&record))
        {
            tracing::warn!(blob = %record.blob, %error, "a finished upload could not be forgotten");
        }
        remove(&self.path);
    }
}

fn key(record: &UploadRecord) -> [u8; 8] {
    record.registration.0.to_be_bytes()
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a spool file could not be removed");
    }
}

/// Where a new spool file goes.
pub(super) fn fresh(parts: &Parts) -> PathBuf {
    parts.spool.join(format!("{:016x}.{EXTENSION}", parts.fresh_name()))
}

/// The uploads that a stop interrupted, each with its spool. Those without a usable spool are forgotten, and files that
/// belong to no upload are removed.
pub(super) fn unfinished(store: &Store, directory: &Path) -> Result<Vec<(UploadRecord, Spool)>, SpoolError> {
    let mut found = Vec::new();
    let mut files = BTreeSet::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.uploads_after(after.as_deref(), PAGE)?;
        after = page.last().map(|upload| upload.key.clone());
        for upload in &page {
            match resumed(directory, &upload.value) {
                Some((record, file, spool)) => {
                    files.insert(file);
                    found.push((record, spool));
                }
                None => store.remove_upload(&upload.key)?,
            }
        }
        if page.len() < PAGE {
            break;
        }
    }
    let io = |source: io::Error| SpoolError::Io { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == EXTENSION) && !files.contains(name) {
            remove(&path);
        }
    }
    Ok(found)
}

fn resumed(directory: &Path, value: &[u8]) -> Option<(UploadRecord, String, Spool)> {
    let saved: Saved = codec::decode(value, SAVED_BYTES_MAX).ok()?;
    // A name of ours has no separator in it; anything else is not followed out of the directory.
    let path = Path::new(&saved.file);
    if path.file_name().and_then(|name| name.to_str()) != Some(saved.file.as_str()) {
        return None;
    }
    let layout = Layout::new(saved.shards, saved.record.blob_bytes).ok()?;
    match Spool::open(directory.join(path), layout) {
        Ok(spool) => Some((saved.record, saved.file, spool)),
        Err(error) => {
            tracing::warn!(blob = %saved.record.blob, %error, "an interrupted upload cannot go on");
            None
        }
    }
}
