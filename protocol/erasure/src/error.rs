//! What can go wrong, kept apart: the numbers make no sense, the medium failed (try again), the bytes are
//! not what was committed to (they are wrong), the encoding itself is inconsistent (the uploader was).

use std::io;

use crate::evidence::Evidence;
use crate::id::PairIndex;
use crate::layout::{Axis, LayoutError, SliverId};
use crate::opening::Place;

/// Why a blob was not encoded or identified.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// There is no layout for these numbers.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The source could not be read, or is shorter than was said.
    #[error("reading {bytes} bytes of the blob at {offset} failed")]
    Read {
        /// Where in the blob.
        offset: u64,
        /// How many bytes.
        bytes: usize,
        /// What the source said.
        source: io::Error,
    },
    /// The sink could not be written.
    #[error("writing {bytes} bytes of the encoding at {offset} failed")]
    Write {
        /// Where in the sink.
        offset: u64,
        /// How many bytes.
        bytes: usize,
        /// What the sink said.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("encoding was cancelled")]
    Cancelled,
}

/// Why a fragment or a sliver was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum FragmentError {
    /// There is no such pair.
    #[error("there is no pair {pair} of {shards}")]
    Pair {
        /// What was asked for.
        pair: PairIndex,
        /// Pairs there are.
        shards: u16,
    },
    /// The proof does not lead from this pair to this blob.
    #[error("the proof does not lead from pair {pair} to the blob")]
    Proof {
        /// The pair it was to prove.
        pair: PairIndex,
    },
    /// The sliver is not the one the blob commits to.
    #[error("the {axis} sliver of pair {pair} is not what the blob commits to")]
    Sliver {
        /// Whose sliver.
        pair: PairIndex,
        /// Which of the two.
        axis: Axis,
    },
    /// A sliver has another length than its layout gives.
    #[error("the {axis} sliver has {expected} bytes, not {actual}")]
    Length {
        /// Which of the two.
        axis: Axis,
        /// What the layout says, in bytes.
        expected: u64,
        /// What was given, in bytes: up to here when there were more.
        actual: u64,
    },
    /// The sliver is what the blob commits to, but does not extend to what the blob commits to: the blob is
    /// inconsistently encoded, and this sliver with its proof is the evidence.
    #[error("the blob is inconsistent: the {axis} sliver of pair {pair} has not the extension it commits to")]
    Extension {
        /// Whose sliver.
        pair: PairIndex,
        /// Which of the two.
        axis: Axis,
    },
    /// The sliver is what the blob commits to, but has a byte other than zero after the blob's end: the blob
    /// is inconsistently encoded, and this sliver with its proof is the evidence.
    #[error("the blob is inconsistent: the {axis} sliver of pair {pair} is not zero after the blob's end")]
    Padding {
        /// Whose sliver.
        pair: PairIndex,
        /// Which of the two.
        axis: Axis,
    },
    /// The bytes could not be read: nothing is known about them.
    #[error("reading {bytes} bytes of the fragment at {offset} failed")]
    Read {
        /// Where in what was given.
        offset: u64,
        /// How many bytes.
        bytes: usize,
        /// What the source said.
        source: io::Error,
    },
    /// Somebody asked to stop: nothing is known about the bytes.
    #[error("verification was cancelled")]
    Cancelled,
}

impl FragmentError {
    /// Whether what was found is evidence against the blob, not against whoever sent the bytes.
    pub fn is_inconsistency(&self) -> bool {
        matches!(self, Self::Extension { .. } | Self::Padding { .. })
    }

    /// Whether nothing was found out, so that trying again makes sense.
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Cancelled)
    }

    /// The same again, if something was found out.
    pub(crate) fn finding(&self) -> Option<Self> {
        Some(match *self {
            Self::Pair { pair, shards } => Self::Pair { pair, shards },
            Self::Proof { pair } => Self::Proof { pair },
            Self::Sliver { pair, axis } => Self::Sliver { pair, axis },
            Self::Length { axis, expected, actual } => Self::Length { axis, expected, actual },
            Self::Extension { pair, axis } => Self::Extension { pair, axis },
            Self::Padding { pair, axis } => Self::Padding { pair, axis },
            Self::Read { .. } | Self::Cancelled => return None,
        })
    }
}

/// A sliver that was not accepted: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("{sliver} is not accepted")]
pub struct WrongSliver {
    /// The sliver as it was announced.
    pub sliver: SliverId,
    /// What was found.
    #[source]
    pub error: FragmentError,
}

/// Why a blob was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Too few different slivers.
    #[error("{needed} different slivers are needed, there are {given}")]
    TooFew {
        /// How many the layout asks for.
        needed: usize,
        /// How many different ones there were.
        given: usize,
    },
    /// The slivers were checked against different blobs, or against another layout than the one given.
    #[error("the sliver of pair {pair} is of another blob or layout")]
    Mixed {
        /// The first that does not go with the rest.
        pair: PairIndex,
    },
    /// A sliver could not be read.
    #[error("reading {bytes} bytes at {offset} of the sliver of pair {pair} failed")]
    Read {
        /// Whose sliver.
        pair: PairIndex,
        /// Where in the sliver.
        offset: u64,
        /// How many bytes.
        bytes: usize,
        /// What the source said.
        source: io::Error,
    },
    /// The blob could not be written.
    #[error("writing the blob at {offset} failed")]
    Write {
        /// Where in the blob.
        offset: u64,
        /// What the sink said.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("decoding was cancelled")]
    Cancelled,
}

/// Why a part of a symbol was not opened or not accepted.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The layout has no such place, or it is not stored where it was looked for.
    #[error("there is no {place}")]
    Place {
        /// What was asked for.
        place: Place,
    },
    /// The opening has another length than the layout gives.
    #[error("an opening of {actual} bytes, where the layout has {expected}")]
    Length {
        /// What the layout says, in bytes.
        expected: usize,
        /// What was given, in bytes.
        actual: usize,
    },
    /// The part has another length than the layout gives.
    #[error("a part of {actual} bytes, where the layout has {expected}")]
    Bytes {
        /// What the layout says, in bytes.
        expected: u64,
        /// What was given, in bytes.
        actual: u64,
    },
    /// The proof that came with it is none.
    #[error(transparent)]
    Proof(#[from] FragmentError),
    /// The bytes do not lead to the sliver's root.
    #[error("the bytes do not lead from {place} of pair {pair} to the blob")]
    Wrong {
        /// Whose they were to be.
        pair: PairIndex,
        /// Where they were to be.
        place: Place,
    },
    /// The symbol could not be read: nothing is known about it.
    #[error("reading {bytes} bytes of the sliver at {offset} failed")]
    Read {
        /// Where in the sliver.
        offset: u64,
        /// How many bytes.
        bytes: usize,
        /// What the source said.
        source: io::Error,
    },
}

/// Why there is no vector of sliver roots.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Too few different pairs.
    #[error("the pieces of {needed} different pairs are needed, there are {given}")]
    TooFew {
        /// How many the layout asks for.
        needed: usize,
        /// How many different ones there were.
        given: usize,
    },
    /// The proofs are of different blobs.
    #[error("the proof of pair {pair} is of another blob or layout")]
    Mixed {
        /// The first that does not go with the rest.
        pair: PairIndex,
    },
    /// The pieces do not decode to a vector with this blob id: the blob is inconsistently encoded.
    #[error("the blob is inconsistent: its pieces are not those of its sliver roots")]
    Inconsistent {
        /// What shows it. Has no body.
        evidence: Box<Evidence>,
    },
}

/// Why evidence shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// It has not the shape that the layout gives.
    #[error("this is no evidence for such a layout")]
    Shape,
    /// A proof in it does not lead to the blob.
    #[error("the proof of pair {pair} does not lead to the blob")]
    Proof {
        /// Whose.
        pair: PairIndex,
    },
    /// The body is not what the blob commits to.
    #[error("the body is not what pair {pair} commits to")]
    Body {
        /// Whose bytes they were to be.
        pair: PairIndex,
    },
    /// All in it is as it should be: nothing is inconsistent.
    #[error("all of it is consistent")]
    Consistent,
    /// The body could not be read: nothing is known.
    #[error("reading the body failed")]
    Read {
        /// What the source said.
        source: io::Error,
    },
    /// Somebody asked to stop: nothing is known.
    #[error("judging was cancelled")]
    Cancelled,
}

impl EvidenceError {
    /// Whether nothing was found out, so that trying again makes sense.
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Cancelled)
    }
}

impl From<FragmentError> for EvidenceError {
    /// Of an error of reading a body: others do not occur where only roots are computed.
    fn from(error: FragmentError) -> Self {
        match error {
            FragmentError::Read { source, .. } => Self::Read { source },
            FragmentError::Cancelled => Self::Cancelled,
            _ => Self::Shape,
        }
    }
}

/// Why a sliver was not rebuilt, or no symbol made for it.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is no such pair, or it has been heard already.
    #[error("pair {helper} cannot help")]
    Helper {
        /// Who.
        helper: PairIndex,
    },
    /// Too few different helpers.
    #[error("{needed} different helpers are needed, there are {given}")]
    TooFew {
        /// How many the layout asks for.
        needed: usize,
        /// How many there were.
        given: usize,
    },
    /// As many symbols as are needed are there.
    #[error("there are enough symbols")]
    Enough,
    /// A symbol has another length than the layout gives.
    #[error("the symbol of pair {helper} has {actual} bytes, not {expected}")]
    Symbol {
        /// Whose symbol.
        helper: PairIndex,
        /// What the layout says, in bytes.
        expected: u64,
        /// What was given, in bytes.
        actual: u64,
    },
    /// A sliver was checked against another blob than the vector of roots.
    #[error("the sliver of pair {pair} is of another blob or layout")]
    Mixed {
        /// Whose sliver.
        pair: PairIndex,
    },
    /// What came out has not the committed root: something that went in was wrong, or the blob is inconsistent.
    #[error("{target} as rebuilt is not what the blob commits to")]
    Mismatch {
        /// What was to be rebuilt.
        target: SliverId,
    },
    /// What came out has the committed root and is not zero after the blob's end: the blob is inconsistent.
    #[error("the blob is inconsistent: {target} is not zero after the blob's end")]
    Padding {
        /// What was to be rebuilt.
        target: SliverId,
    },
    /// What a helper gave does not lead from it to the blob.
    #[error("pair {helper} did not prove its symbol")]
    Unproven {
        /// Who.
        helper: PairIndex,
    },
    /// Something could not be read: nothing is known about it.
    #[error("reading what pair {pair} gave failed")]
    Read {
        /// Whose.
        pair: PairIndex,
        /// What the source said.
        source: io::Error,
    },
    /// What was made could not be written.
    #[error("writing at {offset} failed")]
    Write {
        /// Where in the sliver or symbol.
        offset: u64,
        /// What the sink said.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("recovery was cancelled")]
    Cancelled,
}

/// Why a range was not planned, or a part not taken for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The blob has no such range.
    #[error("a blob of {length} bytes has no range from {start} to {end}")]
    Range {
        /// The first byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// Bytes of the blob.
        length: u64,
    },
    /// The part is of another blob or layout.
    #[error("the part of pair {pair} is of another blob or layout")]
    Mixed {
        /// Whose.
        pair: PairIndex,
    },
    /// What is left of the range cannot use this part.
    #[error("{place} of pair {pair} is not needed")]
    Useless {
        /// Whose.
        pair: PairIndex,
        /// Which part.
        place: Place,
    },
    /// As many bytes are held as are allowed, and this part is not for the next unit.
    #[error("no room for a part that is not needed next")]
    Full,
}

/// Why nothing was found out about a blob's consistency.
#[derive(Debug, thiserror::Error)]
pub enum InconsistencyError {
    /// Too few different slivers.
    #[error("{needed} different slivers are needed, there are {given}")]
    TooFew {
        /// How many the layout asks for.
        needed: usize,
        /// How many different ones there were.
        given: usize,
    },
    /// The proofs are of different blobs.
    #[error("the proof of pair {pair} is of another blob or layout")]
    Mixed {
        /// The first that does not go with the rest.
        pair: PairIndex,
    },
    /// A sliver is not the one its proof speaks of, or could not be read.
    #[error(transparent)]
    Sliver(WrongSliver),
    /// A sliver could not be read.
    #[error("reading a sliver failed")]
    Read {
        /// What the source said.
        source: io::Error,
    },
    /// The body could not be written.
    #[error("writing the evidence failed")]
    Write {
        /// What the sink said.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("the search was cancelled")]
    Cancelled,
}

/// Why a stream was not spooled.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The stream is longer than it may be.
    #[error("more than {length_max} bytes")]
    TooLong {
        /// Most bytes that are kept.
        length_max: u64,
    },
    /// The stream failed.
    #[error("the stream failed after {offset} bytes")]
    Read {
        /// How many bytes had come.
        offset: u64,
        /// What the stream said.
        source: io::Error,
    },
    /// The place could not be opened or written.
    #[error("spooling at {offset} failed")]
    Write {
        /// How many bytes had come.
        offset: u64,
        /// What the place said.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("spooling was cancelled")]
    Cancelled,
}
