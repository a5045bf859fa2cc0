//! Red Stuff, the two-dimensional erasure code of Floe, with commitments that let fragments prove themselves.
//!
//! * [`Layout`]: all sizes, from the number of shards and the blob's length.
//! * [`encode`] makes the fragments, [`identify`] only the id; [`Spool`] keeps a stream until then.
//! * [`verify_fragment`] is everything a holder checks before it signs; [`verify_primary`] and
//!   [`PrimaryVerifier`] are what a reader checks.
//! * [`decode`] and [`Assembler`] give the blob back from checked slivers, [`RangeReader`] any range of it from checked
//!   parts.
//! * [`Recovery`] rebuilds a lost sliver, [`recovered_fragment`] makes its fragment's proof.
//! * [`open_chunk`] and [`verify_chunk`] are a challenge's answer and judgement.
//! * [`Evidence`] shows that an uploader cheated; [`find_inconsistency`] finds it.
//!
//! Memory is bounded whatever the blob's length: all symbols are worked on in stripes, a few bytes of each
//! at a time. Results depend on the input only, never on threads, memory or machine.
//!
//! # Source
//! Walrus (arXiv 2505.05370), Red Stuff. The commitments are our own: BLAKE3, proofs in every fragment, and
//! the vector of sliver roots coded instead of copied.
//!
//! What follows is the crate's README; its examples run as tests.
#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod assemble;
mod chunk;
mod code;
mod commitment;
mod decode;
mod encode;
mod engine;
mod error;
mod evidence;
mod evidence_codec;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod hash;
mod id;
mod inconsistency;
mod io;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod layout;
mod leaves;
mod locator;
#[cfg(target_arch = "x86_64")]
mod matrix;
mod medium;
mod merkle;
mod opening;
mod options;
mod parallel;
mod proof;
mod range;
mod rebuild;
mod recover;
mod roots;
mod short;
mod sliver;
mod solve;
mod spool;
mod stripe;
mod symbols;
mod tile;
mod trees;
mod verify;

pub use assemble::{Assembler, Taken};
pub use chunk::{ChunkOpening, chunk_count, nth_chunk, open_chunk, verify_chunk};
pub use decode::{decode, decode_secondaries};
pub use encode::{Encoded, encode, identify};
pub use error::{
    DecodeError, EncodeError, EvidenceError, FragmentError, InconsistencyError, OpeningError, RangeError,
    RecoveryError, RootsError, SpoolError, WrongSliver,
};
pub use evidence::{CheckedEvidence, Evidence, EvidenceKind};
pub use id::{BlobId, BlobIdTextError, PairIndex, ShardIndex, pair_of, shard_of};
pub use inconsistency::find_inconsistency;
pub use io::{MemorySink, Part, ReadAt, WriteAt};
pub use layout::{Axis, Layout, LayoutError, PIECE_BYTES_MAX, SHARDS_MIN, SliverId};
pub use leaves::SliverHashes;
pub use opening::{CheckedPart, Grain, Opening, Place, UNIT_BYTES};
pub use options::{MEMORY_BYTES_DEFAULT, Options};
pub use proof::{CheckedProof, FragmentProof, ProofDecodeError, SliverRoots};
pub use range::{Need, Provenance, RangePlan, RangeReader};
pub use recover::{
    Attempt, RecoveredSliver, Recovery, recover_primary, recover_sliver, recovered_fragment, recovery_place,
    recovery_symbol,
};
pub use roots::RootVector;
pub use spool::{Spool, SpoolBounds, Spooled};
pub use verify::{
    CheckedFragment, CheckedPrimary, CheckedSecondary, PrimaryVerifier, SecondaryVerifier, verify_fragment,
    verify_fragment_and_hash, verify_primary, verify_secondary,
};
