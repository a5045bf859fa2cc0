//! From a network that cannot decide any more to its successor: what happens to the stores of those who survive.
//!
//! ```text
//!  a survivor's store, some blocks behind its newest signed boundary
//!        │  newest snapshot (or genesis) ──► a store beside it ──► blocks again, up to the boundary
//!        ▼
//!  state at the boundary ──► genesis of the successor        floe genesis successor
//!        │                └► state file, for who has none    ... --state FILE
//!        ▼
//!  every node's store: state put back to the boundary, then the successor's, fragments untouched       floe node succeed
//! ```
//!
//! Nothing is believed: a state file is checked chunk by chunk against the root that the boundary names, and the state that
//! follows against the root that the successor's genesis names. Every step may be cut short and done again.
//!
//! # State file
//! `floe state 1\n`, then records of a length in 4 big-endian bytes and so many bytes: the outline, its parts, its chunks, as
//! [`floe_ledger::snapshot`] has them.
//!
//! # Left to others
//! What a successor is: [`floe_ledger::successor`]. What stays on disk: [`floe_storage::succession`].

use floe_ledger::block::Block;
use floe_ledger::digest::Sum;
use floe_ledger::evidence::Sealed;
use floe_ledger::snapshot::{self, CHUNK_BYTES_MAX, CHUNKS_MAX, Outline, PART_BYTES_MAX, Part};
use floe_ledger::successor::{self, SuccessorError};
use floe_ledger::{BlockHeader, Context, Root, StateError, execute_decided, views};
use floe_storage::{Identity, OpenError, StorageError, Store, StoreConfig};
use floe_types::genesis::{GenesisError, Parent};
use floe_types::{Genesis, Height, NodeId, codec};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// How a state file begins.
const MAGIC: &[u8; 13] = b"floe state 1\n";
/// The longest outline: a header with its certificate.
const OUTLINE_BYTES_MAX: usize = 1 << 20;

/// Why there is no successor's store.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// The data directory does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store, later.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The ledger in it.
    #[error(transparent)]
    State(#[from] StateError),
    /// The successor.
    #[error(transparent)]
    Successor(#[from] SuccessorError),
    /// The genesis of the network before founds no state.
    #[error("genesis of the network before: {0}")]
    Genesis(#[from] GenesisError),
    /// The genesis is no successor's.
    #[error("this genesis begins a network and goes on from none: start the node with floe node run")]
    NoParent,
    /// No epoch has ended yet.
    #[error("no boundary is signed in {}: there is nothing to go on from", .directory.display())]
    NoBoundary {
        /// The data directory.
        directory: PathBuf,
    },
    /// Neither a snapshot nor all blocks are here.
    #[error(
        "the state at height {boundary} cannot be put together here: {missing}; take it from another survivor with --state"
    )]
    Missing {
        /// The newest signed boundary.
        boundary: Height,
        /// What is not here.
        missing: String,
    },
    /// The store has another newest boundary than the genesis names.
    #[error(
        "the newest signed boundary here is at height {found}, the successor goes on from height {named}: {}",
        if found > named { "make the successor from this one" } else { "take the state from another survivor with --state" }
    )]
    OtherBoundary {
        /// The newest here.
        found: Height,
        /// The one that the genesis names.
        named: Height,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file that is not the state which is needed.
    #[error("{}: {reason}; ask a survivor for another copy", .path.display())]
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A store that stands at its newest signed boundary.
pub struct AtBoundary {
    /// The store: the one given, or one beside it that is removed with this.
    pub store: Store,
    /// The boundary's header with its certificate.
    pub sealed: Sealed,
    // Dropped last, when the store in it is closed.
    _beside: Option<Beside>,
}

/// A directory that is removed when dropped.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        // What stays is found and removed by the next attempt.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl AtBoundary {
    /// Puts the state at the newest signed boundary of `survivor` together, of its newest snapshot and the blocks after it. What the
    /// survivor has is only read.
    ///
    /// # Errors
    /// [`SuccessionError`].
    pub fn of(survivor: &Store, parent: &Genesis, config: &StoreConfig) -> Result<AtBoundary, SuccessionError> {
        let directory = survivor.directory().to_owned();
        let no_boundary = || SuccessionError::NoBoundary { directory: directory.clone() };
        let sealed = survivor.newest_boundary()?.ok_or_else(no_boundary)?;
        let boundary = header_of(&sealed, &directory)?.height;
        if survivor.last_height() == Some(boundary) {
            return Ok(AtBoundary { store: survivor.clone(), sealed, _beside: None });
        }
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(".boundary");
        let beside = Beside(directory.with_file_name(name));
        // What an attempt that was cut short left.
        drop(fs::remove_dir_all(&beside.0));
        let store = based(survivor, parent, (&beside.0, config), boundary)?;
        let context = Context::of(parent);
        while let Some(height) = store.last_height().filter(|height| *height < boundary).map(Height::next) {
            let missing = |missing: String| SuccessionError::Missing { boundary, missing };
            let stored = survivor.block(height)?.ok_or_else(|| missing(format!("block {height} is not here")))?;
            let block = Block::decode(&stored.block).map_err(|error| missing(format!("block {height}: {error}")))?;
            let executed = execute_decided(&store, &context, block);
            let executed = executed.map_err(|error| missing(format!("block {height}: {error}")))?;
            store.commit_block(height, &stored.block, &stored.certificate, &executed.changes)?;
        }
        Ok(AtBoundary { store, sealed, _beside: Some(beside) })
    }

    /// Writes the state to `file`, whole or not at all; gives its length in bytes.
    ///
    /// # Errors
    /// [`SuccessionError`].
    pub fn write(&self, file: &Path) -> Result<u64, SuccessionError> {
        let outline = cut(&self.store)?;
        let unfinished = file.with_extension("unfinished");
        let failed = |source| SuccessionError::File { path: file.to_owned(), source };
        let mut to = BufWriter::new(File::create(&unfinished).map_err(failed)?);
        let mut bytes = MAGIC.len() as u64;
        to.write_all(MAGIC).map_err(failed)?;
        each_piece(&self.store, &outline, &mut |piece| {
            let length = u32::try_from(piece.len()).expect("a piece of a snapshot is at most a MiB");
            bytes += 4 + u64::from(length);
            to.write_all(&length.to_be_bytes()).and_then(|()| to.write_all(&piece)).map_err(failed)
        })?;
        let written = to.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        written.and_then(|()| fs::rename(&unfinished, file)).map_err(failed)?;
        Ok(bytes)
    }
}

fn header_of(sealed: &Sealed, path: &Path) -> Result<BlockHeader, SuccessionError> {
    let wrong = |reason: String| SuccessionError::StateFile { path: path.to_owned(), reason };
    Ok(sealed.open().map_err(|error| wrong(error.to_string()))?.header)
}

/// A store beside the survivor's that stands at its newest snapshot, or at genesis.
fn based(
    survivor: &Store,
    parent: &Genesis,
    (directory, config): (&Path, &StoreConfig),
    boundary: Height,
) -> Result<Store, SuccessionError> {
    let open = || Store::open(directory, survivor.identity(), config.clone());
    let store = open()?;
    match survivor.snapshot_outline()? {
        Some(outline) => {
            carry(survivor, &outline, &store)?;
            store.restore_at_next_opening(&[])?;
            drop(store);
            Ok(open()?)
        }
        None if survivor.oldest_height()? == Height(1) && parent.parent.is_none() => {
            store.commit_genesis(&floe_ledger::begin(parent)?)?;
            Ok(store)
        }
        None => {
            let missing = "there is no snapshot, and the first blocks are not here".to_owned();
            Err(SuccessionError::Missing { boundary, missing })
        }
    }
}

/// Cuts the state of a store that stands at a boundary, unless it has been.
fn cut(store: &Store) -> Result<Outline, SuccessionError> {
    if let Some(outline) = store.snapshot_outline()?
        && snapshot::height_of(&outline) == store.last_height()
    {
        return Ok(outline);
    }
    let silent = |_| StorageError::Io { during: "cutting a snapshot", reason: "the thread ended".to_owned() };
    Ok(store.offer_snapshot()?.join().map_err(silent)??)
}

/// Gives every piece of an offered snapshot: the outline, then parts, then chunks.
fn each_piece(
    store: &Store,
    outline: &Outline,
    take: &mut dyn FnMut(Vec<u8>) -> Result<(), SuccessionError>,
) -> Result<(), SuccessionError> {
    let height = snapshot::height_of(outline).unwrap_or_default();
    let gone = || StorageError::Damaged { during: "reading a snapshot", reason: "a piece is gone".to_owned() };
    take(codec::encode(outline))?;
    for index in 0..outline.parts() {
        take(store.snapshot_part(height, index)?.ok_or_else(gone)?)?;
    }
    for index in 0..outline.chunks {
        take(store.snapshot_chunk(height, index)?.ok_or_else(gone)?)?;
    }
    Ok(())
}

/// Carries an offered snapshot of `from` to where `to` keeps what arrives.
fn carry(from: &Store, outline: &Outline, to: &Store) -> Result<(), SuccessionError> {
    let mut pieces = Arriving { to, outline: None, parts: Vec::new(), chunks: 0, total: Sum::default() };
    each_piece(from, outline, &mut |piece| pieces.take(&piece).map_err(|reason| wrong(from.directory(), reason)))
}

fn wrong(path: &Path, reason: Unusable) -> SuccessionError {
    match reason {
        Unusable::Reason(reason) => SuccessionError::StateFile { path: path.to_owned(), reason },
        Unusable::Storage(error) => error.into(),
    }
}

/// A snapshot on its way into a store, piece by piece in order.
struct Arriving<'a> {
    to: &'a Store,
    outline: Option<Outline>,
    parts: Vec<Part>,
    chunks: u32,
    total: Sum,
}

enum Unusable {
    Reason(String),
    Storage(StorageError),
}

impl From<StorageError> for Unusable {
    fn from(error: StorageError) -> Unusable {
        Unusable::Storage(error)
    }
}

fn reason(error: impl std::fmt::Display) -> Unusable {
    Unusable::Reason(error.to_string())
}

impl Arriving<'_> {
    /// The longest that the next piece may be; none when all are here.
    fn next_bytes_max(&self) -> Option<usize> {
        match &self.outline {
            None => Some(OUTLINE_BYTES_MAX),
            Some(outline) if (self.parts.len() as u64) < u64::from(outline.parts()) => Some(PART_BYTES_MAX),
            Some(outline) if self.chunks < outline.chunks => Some(CHUNK_BYTES_MAX),
            Some(_) => None,
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Unusable> {
        let Some(outline) = &self.outline else {
            let outline: Outline = codec::decode(piece, OUTLINE_BYTES_MAX).map_err(reason)?;
            if outline.chunks == 0 || outline.chunks > CHUNKS_MAX {
                return Err(reason(format!("{} chunks, there are 1 to {CHUNKS_MAX}", outline.chunks)));
            }
            self.outline = Some(outline);
            return Ok(());
        };
        if (self.parts.len() as u64) < u64::from(outline.parts()) {
            let part = Part::decode(piece).map_err(reason)?;
            let index = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
            if part.sums.len() != outline.sums_in(index) {
                return Err(reason(format!("part {index} has {} sums", part.sums.len())));
            }
            self.parts.push(part);
            if self.parts.len() as u64 == u64::from(outline.parts()) {
                self.to.arriving_begin(outline, &self.parts, &BTreeSet::new())?;
            }
            return Ok(());
        }
        let sum = self.parts.iter().flat_map(|part| &part.sums).nth(self.chunks as usize);
        let sum = sum.ok_or_else(|| reason("more chunks than it says"))?;
        snapshot::open(piece, sum).map_err(|error| reason(format!("chunk {}: {error}", self.chunks)))?;
        self.to.arriving_chunk(self.chunks, piece)?;
        self.total.plus(sum);
        self.chunks += 1;
        Ok(())
    }
}

/// Reads the state at the boundary of `parent` from `file` to where `to` keeps what arrives.
fn read(file: &Path, parent: &Parent, to: &Store) -> Result<(), SuccessionError> {
    let failed = |source| SuccessionError::File { path: file.to_owned(), source };
    let unusable = |reason: &str| SuccessionError::StateFile { path: file.to_owned(), reason: reason.to_owned() };
    let mut from = BufReader::new(File::open(file).map_err(failed)?);
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic).map_err(failed)?;
    if magic != *MAGIC {
        return Err(unusable("not a state file of floe"));
    }
    let mut pieces = Arriving { to, outline: None, parts: Vec::new(), chunks: 0, total: Sum::default() };
    while let Some(max) = pieces.next_bytes_max() {
        let mut length = [0; 4];
        from.read_exact(&mut length).map_err(failed)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > max {
            return Err(unusable("a piece is longer than any"));
        }
        let mut piece = vec![0; length];
        from.read_exact(&mut piece).map_err(failed)?;
        let is_first = pieces.outline.is_none();
        pieces.take(&piece).map_err(|reason| wrong(file, reason))?;
        if let (true, Some(outline)) = (is_first, &pieces.outline)
            && header_of(&outline.sealed, file)?.id() != parent.block
        {
            return Err(unusable("it is of another boundary than the successor goes on from"));
        }
    }
    // Before the mark is written: a store with the mark opens with this state or not at all.
    if pieces.total.root(&parent.network) != Root(parent.state_root) {
        return Err(unusable("its chunks do not add up to the state of the boundary"));
    }
    Ok(())
}

/// A node that is to go on in a successor.
pub struct Heir<'a> {
    /// Its data directory: with the network before in it, or empty.
    pub data: &'a Path,
    /// What its operator chose.
    pub storage: &'a StoreConfig,
    /// Who it is.
    pub node: NodeId,
    /// The successor's genesis.
    pub successor: &'a Genesis,
}

/// Where the state at the boundary comes from.
pub enum Source<'a> {
    /// The heir's own store, of the network with this genesis.
    Own(&'a Genesis),
    /// A state file.
    File(&'a Path),
}

/// Whether there was something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succeeded {
    /// The store goes on in the successor now.
    Now,
    /// It did before.
    Before,
}

impl Heir<'_> {
    /// Makes the heir's store the successor's. Safe to do again, also when it was cut short.
    ///
    /// # Errors
    /// [`SuccessionError`]; the store is the network's before then.
    pub fn take_over(&self, source: &Source<'_>) -> Result<Succeeded, SuccessionError> {
        let parent = self.successor.parent.as_ref().ok_or(SuccessionError::NoParent)?;
        let identity = Identity { network: parent.network, node: self.node };
        let open = || Store::open(self.data, identity, self.storage.clone());
        let mut store = match open() {
            Err(OpenError::OtherNetwork { found, .. }) if found == self.successor.network() => {
                let store = Store::open(self.data, Identity { network: found, ..identity }, self.storage.clone())?;
                if store.last_height().is_some() {
                    return Ok(Succeeded::Before);
                }
                // A node that was started too early made it, and put nothing in.
                store.give_empty(parent.network)?;
                open()?
            }
            opened => opened?,
        };
        let stands = store.last_height() == Some(parent.height) && views::head(&store)?.block == parent.block;
        if !stands {
            match source {
                Source::File(file) => read(file, parent, &store)?,
                Source::Own(genesis) => {
                    let at = AtBoundary::of(&store, genesis, self.storage)?;
                    let header = header_of(&at.sealed, self.data)?;
                    if header.id() != parent.block {
                        let (found, named) = (header.height, parent.height);
                        return Err(SuccessionError::OtherBoundary { found, named });
                    }
                    carry(&at.store, &cut(&at.store)?, &store)?;
                }
            }
            store.restore_at_next_opening(&[])?;
            drop(store);
            store = open()?;
        }
        let changes = successor::begin(&store, self.successor)?;
        store.succeed(self.successor.network(), &changes)?;
        Ok(Succeeded::Now)
    }
}
