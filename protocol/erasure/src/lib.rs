//! Red Stuff, the two-dimensional erasure code of Floe, with commitments that let fragments prove themselves.
//!
//! A blob becomes `n` fragments, one for each shard of the network. Any `p` (about a third) give it back;
//! up to `f` (a third) of the holders may lie. A fragment carries a proof that ties it to the blob's id,
//! so what comes from strangers is checked with one pass of hashing.
//!
//! * [`Layout`]: all sizes, from the number of shards and the blob's length.
//! * [`encode`] makes the fragments, [`identify`] only the id.
//! * [`verify_fragment`] is everything a holder checks before it signs; [`verify_primary`] and
//!   [`PrimaryVerifier`] are what a reader checks.
//! * [`decode`] gives the blob back from checked primary slivers.
//!
//! Memory is bounded whatever the blob's length: all symbols are worked on in stripes, a few bytes of each
//! at a time. Results depend on the input only, never on threads, memory or machine.
//!
//! ```
//! use floe_erasure::{
//!     FragmentError, Layout, MemorySink, Options, PairIndex, Part, decode, encode, verify_primary,
//! };
//!
//! let (blob, options) = (b"a blob of any length".to_vec(), Options::default());
//! let layout = Layout::new(10, blob.len() as u64)?;
//! let sink = MemorySink::new(layout.encoded_bytes() as usize);
//! let encoded = encode(&blob, blob.len() as u64, 10, &sink, &options)?;
//!
//! // Any four of the ten fragments will do.
//! let slivers = [9, 2, 4, 7].map(|index| Part::new(&sink, encoded.fragment_offset(PairIndex(index))));
//! let mut checked = Vec::new();
//! for (index, sliver) in [9, 2, 4, 7].into_iter().zip(&slivers) {
//!     let (pair, proof) = (PairIndex(index), encoded.proof(PairIndex(index)));
//!     let primary = verify_primary(&encoded.blob_id(), &layout, pair, &proof, sliver, &options)?;
//!     checked.push((primary, sliver as &dyn floe_erasure::ReadAt));
//! }
//! let mut read = Vec::new();
//! decode(&layout, &checked, &mut read, &options)?;
//! assert_eq!(read, blob);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Source
//! Walrus (arXiv 2505.05370), Red Stuff. The commitments are our own: BLAKE3, proofs in every fragment, and
//! the vector of sliver roots coded instead of copied.

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
    verify_primary, verify_secondary,
};
