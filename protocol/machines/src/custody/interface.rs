//! What goes into a holder's machine and what comes out.

use super::{DurableConfirmation, ReceiveFailure};
use crate::fragments::{ConfirmationRecord, FragmentKey, StoreError};
use crate::wire::fragment::{Answer, ReadAxis, ReadRange, StoreRequest, SymbolRequest};
use crate::wire::units::UnitRun;
use floe_erasure::Axis;
use floe_ledger::{Run, ShardSet};
use floe_types::{BlobId, Epoch, NodeId, PairIndex, RegistrationNumber, ShardIndex};
use std::ops::Range;

/// An exchange with a peer, numbered by the shell and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A batch of fragments to be kept together, numbered by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeepId(pub u64);

/// A fragment on offer; the same as on the wire.
pub type Offer = StoreRequest;

/// Why the store did not do as asked, as far as others are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFailure {
    /// No room.
    Full {
        /// Bytes asked for.
        needed_bytes: u64,
    },
    /// As much arrives as the store takes at a time.
    Busy,
    /// Anything else; the shell logs what.
    Io,
}

impl From<&StoreError> for StoreFailure {
    fn from(error: &StoreError) -> StoreFailure {
        match error {
            StoreError::Full { needed } => StoreFailure::Full { needed_bytes: *needed },
            StoreError::Busy { .. } => StoreFailure::Busy,
            StoreError::Damaged { .. }
            | StoreError::Beyond { .. }
            | StoreError::Absent { .. }
            | StoreError::Dropped { .. }
            | StoreError::Io(_) => StoreFailure::Io,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The node has its ledger and its store. Once, first.
    Started,
    /// The ledger began a new epoch.
    EpochBegan,
    /// A block with registrations was decided: parked offers are looked at again.
    LedgerAdvanced,
    /// The ledger certified a blob.
    BlobCertified {
        /// Which.
        blob: BlobId,
    },
    /// A fragment of a blob was fetched by this node and is durable.
    FragmentCame {
        /// Of which blob.
        blob: BlobId,
    },
    /// A peer offers a fragment.
    StoreOffered {
        /// The exchange.
        stream: StreamId,
        /// Who.
        peer: NodeId,
        /// What.
        offer: Offer,
        /// The latest copy of this fragment in the store, if any.
        held: Option<FragmentKey>,
    },
    /// Answers [`Effect::Receive`]: the fragment is staged and verified, or is not.
    Received {
        /// The exchange.
        stream: StreamId,
        /// How it went.
        outcome: Result<(), ReceiveFailure>,
    },
    /// Answers [`Effect::Keep`].
    KeepDone {
        /// The batch.
        keep: KeepId,
        /// Whether all of it is durable, or none.
        outcome: Result<(), StoreFailure>,
    },
    /// A peer asks for a confirmation.
    ConfirmAsked {
        /// The exchange.
        stream: StreamId,
        /// Under which registration.
        registration: RegistrationNumber,
        /// Of which blob.
        blob: BlobId,
        /// The latest copies of this node's fragments of the blob in the store, looked up after the request came.
        held: Vec<FragmentKey>,
    },
    /// Answers [`Effect::KeepConfirmation`].
    ConfirmationKept {
        /// The exchange.
        stream: StreamId,
        /// Whether the record is durable.
        outcome: Result<(), StoreFailure>,
    },
    /// A peer asks for a sliver.
    ReadAsked {
        /// The exchange.
        stream: StreamId,
        /// Who.
        peer: NodeId,
        /// The blob.
        blob: BlobId,
        /// Of which shard.
        shard: ShardIndex,
        /// Which of its slivers.
        axis: ReadAxis,
        /// Which part of it.
        range: ReadRange,
        /// Length of the blob in bytes when its fragment is in the store.
        held: Option<u64>,
    },
    /// A peer asks for a recovery symbol, or for its opening.
    SymbolAsked {
        /// The exchange.
        stream: StreamId,
        /// Who.
        peer: NodeId,
        /// What, and why.
        request: SymbolRequest,
        /// Length of the blob in bytes when the fragment that gives the symbol is in the store.
        held: Option<u64>,
    },
    /// Ends [`Effect::Serve`], [`Effect::ServeUnits`] or [`Effect::Help`], well or not.
    ReadDone {
        /// The exchange.
        stream: StreamId,
    },
    /// The peer left, or its stream broke.
    Gone {
        /// The exchange.
        stream: StreamId,
    },
    /// Answers [`Effect::LookUp`].
    LookedUp {
        /// The blob.
        blob: BlobId,
        /// The latest copies of the pairs asked for; those not there are left out.
        held: Vec<FragmentKey>,
    },
    /// Answers [`Effect::ListRecords`].
    Listed {
        /// The keys, in order; fewer than the limit when there are no more. When they cannot be read the walk is over,
        /// and the next epoch begins another.
        keys: Result<Vec<FragmentKey>, StoreFailure>,
    },
    /// Answers [`Effect::Refile`].
    Refiled {
        /// The old copy.
        key: FragmentKey,
        /// Whether the new copy is durable.
        outcome: Result<(), StoreFailure>,
    },
    /// How the disk stands, whenever the shell has looked.
    Room(Room),
    /// Time passed; see [`super::Custody::wake_at`].
    Tick,
}

/// Whether there is room for more fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Enough that what is forgotten may stay for a while.
    #[default]
    Ample,
    /// Above the operator's watermark: what is forgotten goes now.
    Scarce,
}

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Stage the fragment that follows on the stream, verify it, and say [`Input::Received`].
    Receive {
        /// The exchange.
        stream: StreamId,
        /// Where it will lie.
        key: FragmentKey,
        /// How many bytes follow.
        bytes: u64,
    },
    /// Keep the staged fragments of these exchanges in one durable step; answered by [`Input::KeepDone`].
    Keep {
        /// The batch.
        keep: KeepId,
        /// Whose fragments, in order of arrival.
        streams: Vec<StreamId>,
    },
    /// Make the record durable; answered by [`Input::ConfirmationKept`].
    KeepConfirmation {
        /// The exchange.
        stream: StreamId,
        /// What will be signed.
        record: ConfirmationRecord,
    },
    /// Sign and send. Ends the exchange.
    Sign {
        /// The exchange.
        stream: StreamId,
        /// What may be signed now.
        confirmation: DurableConfirmation,
    },
    /// Send the sliver with its proof, then say [`Input::ReadDone`].
    Serve {
        /// The exchange.
        stream: StreamId,
        /// The blob.
        blob: BlobId,
        /// Which fragment.
        pair: PairIndex,
        /// Which bytes of it.
        span: Range<u64>,
    },
    /// Send the symbol, made with [`super::give_symbol`], or its opening, made with [`super::open_symbol`], in an
    /// [`Answer::Symbol`]; then say [`Input::ReadDone`].
    Help {
        /// The exchange.
        stream: StreamId,
        /// Which of this node's fragments gives it.
        pair: PairIndex,
        /// What was asked.
        request: SymbolRequest,
    },
    /// Send these units of a sliver, each followed by its opening, with the proof before them, then say
    /// [`Input::ReadDone`]. The sliver has them.
    ServeUnits {
        /// The exchange.
        stream: StreamId,
        /// Which of the fragment's slivers.
        axis: Axis,
        /// Which units.
        run: UnitRun,
    },
    /// Send the answer. Ends the exchange: what was staged for it and not kept is dropped.
    Answer {
        /// The exchange.
        stream: StreamId,
        /// The answer.
        answer: Answer,
    },
    /// Close the stream without a word: its peer has been too slow to take what is being sent.
    Close {
        /// The exchange.
        stream: StreamId,
    },
    /// Look which of these pairs are in the store; answered by [`Input::LookedUp`]. Safe twice.
    LookUp {
        /// The blob.
        blob: BlobId,
        /// Which.
        pairs: Vec<PairIndex>,
    },
    /// Submit an attestation. Safe twice: the ledger takes what it knows as no change.
    Attest {
        /// The shards that this node has the seat of.
        shards: ShardSet,
        /// Ascending, apart.
        runs: Vec<Run>,
    },
    /// List the keys of records; answered by [`Input::Listed`]. Safe twice.
    ListRecords {
        /// From after this one.
        after: Option<FragmentKey>,
        /// The most.
        limit: usize,
    },
    /// Keep a copy of a fragment under another group, at a gentle pace; answered by [`Input::Refiled`]. When there is a
    /// later copy already, answer at once. Safe twice.
    Refile {
        /// The old copy.
        key: FragmentKey,
        /// The group of the new one.
        group: Epoch,
    },
    /// Drop every group up to and including this one. Safe twice.
    DropGroups {
        /// The last group to go.
        up_to: Epoch,
    },
}
