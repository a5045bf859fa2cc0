//! Where the slivers of a read, and the blob they give, lie while it is read: in memory when it is small, else in a file
//! without a name, which the system removes whatever happens.

use super::Parts;
use crate::actors::unnamed::unnamed;
use floe_erasure::{
    Axis, CheckedPrimary, CheckedProof, DecodeError, EncodeError, Evidence, FragmentError, FragmentProof,
    InconsistencyError, Layout, Options, PairIndex, ReadAt, WriteAt, decode, find_inconsistency, identify,
};
use floe_types::BlobId;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The extension of a file in the moment before it loses its name.
const EXTENSION: &str = "read";

/// A name in the spool that no file has.
fn fresh_path(parts: &Parts) -> PathBuf {
    parts.spool.join(format!("{:016x}.{EXTENSION}", parts.fresh_name()))
}

/// The place for one read's slivers.
#[derive(Clone)]
pub(super) enum Place {
    /// Each in its own memory.
    Memory,
    /// In a file, each at its pair's offset. Holes where none came.
    File(Arc<File>),
}

impl Place {
    /// A place for slivers of `layout`.
    pub(super) fn new(parts: &Parts, layout: &Layout) -> io::Result<Place> {
        let bytes = layout.primary_bytes().saturating_mul(u64::from(layout.rows()));
        if bytes <= parts.config.read_memory_bytes {
            return Ok(Place::Memory);
        }
        Ok(Place::File(Arc::new(unnamed(&fresh_path(parts))?)))
    }

    /// A place for one piece of `bytes` bytes.
    pub(super) fn single(parts: &Parts, bytes: u64) -> io::Result<SliverSink> {
        if bytes <= parts.config.read_memory_bytes {
            return Ok(SliverSink::Memory(Vec::new()));
        }
        Ok(SliverSink::File { file: Arc::new(unnamed(&fresh_path(parts))?), start: 0, at: 0 })
    }

    /// Where the sliver of `pair` goes.
    pub(super) fn sink(&self, layout: &Layout, pair: PairIndex) -> SliverSink {
        match self {
            Place::Memory => SliverSink::Memory(Vec::new()),
            Place::File(file) => {
                let start = u64::from(pair.0) * layout.primary_bytes();
                SliverSink::File { file: Arc::clone(file), start, at: start }
            }
        }
    }
}

/// A sliver on its way in.
pub(super) enum SliverSink {
    Memory(Vec<u8>),
    File { file: Arc<File>, start: u64, at: u64 },
}

impl SliverSink {
    /// Adds the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            SliverSink::Memory(held) => held.extend_from_slice(bytes),
            SliverSink::File { file, at, .. } => {
                file.write_all_at(bytes, *at)?;
                *at += bytes.len() as u64;
            }
        }
        Ok(())
    }

    /// What has been written.
    pub(super) fn into_sliver(self) -> Sliver {
        match self {
            SliverSink::Memory(held) => Sliver::Memory(Arc::new(held)),
            SliverSink::File { file, start, .. } => Sliver::File { file, start },
        }
    }
}

impl io::Write for SliverSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SliverSink::write(self, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sliver that is here.
#[derive(Clone)]
pub(super) enum Sliver {
    Memory(Arc<Vec<u8>>),
    File { file: Arc<File>, start: u64 },
}

impl ReadAt for Sliver {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Sliver::Memory(held) => held.read_exact_at(buffer, offset),
            Sliver::File { file, start } => {
                let at = start.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
                file.as_ref().read_exact_at(buffer, at)
            }
        }
    }
}

/// A sliver that came and was verified.
pub(super) struct Taken {
    pub checked: CheckedPrimary,
    pub sliver: Sliver,
    /// What it was verified by, for evidence.
    pub proof: Arc<FragmentProof>,
}

/// The verified slivers of a read, by pair.
pub(super) type Verified = BTreeMap<PairIndex, Taken>;

/// Bytes of a blob, as far as they are here.
#[derive(Clone)]
pub(super) enum Source {
    /// Systematic slivers, one row after the other: the blob itself.
    Rows { rows: Arc<Vec<Sliver>>, row_bytes: u64 },
    /// What was decoded.
    Decoded(Sliver),
}

impl ReadAt for Source {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (rows, row_bytes) = match self {
            Source::Decoded(blob) => return blob.read_exact_at(buffer, offset),
            Source::Rows { rows, row_bytes } => (rows, (*row_bytes).max(1)),
        };
        let (mut rest, mut at) = (buffer, offset);
        while !rest.is_empty() {
            let row = usize::try_from(at / row_bytes).ok().and_then(|row| rows.get(row));
            let row = row.ok_or(io::ErrorKind::UnexpectedEof)?;
            let within = at % row_bytes;
            let length = usize::try_from(row_bytes - within).unwrap_or(usize::MAX).min(rest.len());
            let (part, later) = rest.split_at_mut(length);
            row.read_exact_at(part, within)?;
            at += length as u64;
            rest = later;
        }
        Ok(())
    }
}

/// The first `count` rows of `verified`, all of which are there.
pub(super) fn rows(verified: &Verified, layout: &Layout, count: u16) -> Source {
    let rows = (0..count).filter_map(|row| verified.get(&PairIndex(row)).map(|taken| taken.sliver.clone())).collect();
    Source::Rows { rows: Arc::new(rows), row_bytes: layout.primary_bytes() }
}

/// Why a blob could not be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssembleError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Identify(#[from] EncodeError),
    #[error("a spool file: {0}")]
    Io(#[from] io::Error),
}

/// The blob that the slivers give. Blocks; with all systematic slivers there is nothing to compute.
pub(super) fn assemble(
    verified: &Verified,
    layout: &Layout,
    into: Option<PathBuf>,
    cancel: &AtomicBool,
) -> Result<Source, AssembleError> {
    if (0..layout.rows()).all(|row| verified.contains_key(&PairIndex(row))) {
        return Ok(rows(verified, layout, layout.rows()));
    }
    let slivers: Vec<(CheckedPrimary, &dyn ReadAt)> =
        verified.values().map(|taken| (taken.checked, &taken.sliver as &dyn ReadAt)).collect();
    let options = options(cancel);
    let decoded = match into {
        None => {
            let mut blob = Vec::with_capacity(usize::try_from(layout.blob_bytes()).unwrap_or(0));
            decode(layout, &slivers, &mut blob, &options)?;
            Sliver::Memory(Arc::new(blob))
        }
        Some(path) => {
            let mut file = unnamed(&path)?;
            decode(layout, &slivers, &mut file, &options)?;
            Sliver::File { file: Arc::new(file), start: 0 }
        }
    };
    Ok(Source::Decoded(decoded))
}

/// Where a decoded blob goes: beside its slivers.
pub(super) fn decoded_path(parts: &Parts, place: &Place) -> Option<PathBuf> {
    match place {
        Place::Memory => None,
        Place::File(_) => Some(fresh_path(parts)),
    }
}

/// Derives the blob id from exactly these bytes. Blocks.
pub(super) fn derive(source: &Source, layout: &Layout, cancel: &AtomicBool) -> Result<BlobId, AssembleError> {
    Ok(identify(source, layout.blob_bytes(), layout.shards(), &options(cancel))?)
}

/// Evidence that the blob of these slivers is encoded inconsistently, head and body; none when it is not. Blocks.
pub(super) fn accuse(verified: &Verified, mut body: SliverSink) -> Result<Option<(Evidence, Sliver)>, AccuseError> {
    let mut slivers: Vec<(CheckedProof, &dyn ReadAt)> = Vec::with_capacity(verified.len());
    for (pair, taken) in verified {
        let (blob, layout) = (taken.checked.blob(), taken.checked.layout());
        let proof = FragmentProof::clone(&taken.proof).check(&blob, &layout, *pair)?;
        slivers.push((proof, &taken.sliver));
    }
    let found = find_inconsistency(Axis::Primary, &slivers, &mut body, &Options::default())?;
    Ok(found.map(|evidence| (evidence, body.into_sliver())))
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccuseError {
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    #[error(transparent)]
    Inconsistency(#[from] InconsistencyError),
}

fn options(cancel: &AtomicBool) -> Options<'_> {
    let threads = NonZeroUsize::MIN.saturating_add(1);
    Options { threads, cancel: Some(cancel), ..Options::default() }
}
