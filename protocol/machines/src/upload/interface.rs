//! What goes into an upload's machine and what comes out.

use crate::wire::fragment::Refusal;
use floe_ledger::MemberSet;
use floe_types::bls::BlsSignature;
use floe_types::{BlobId, Epoch, NodeId, RegistrationNumber, SequenceNumber, ShardIndex};
use serde::{Deserialize, Serialize};

/// What must be known to go on after a restart, besides the encoded fragments in the spool. Which holder has what is not
/// in it: holders say so at once when they are offered a fragment again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes.
    pub blob_bytes: u64,
    /// Its registration.
    pub registration: RegistrationNumber,
    /// The epoch in which its certificate was seen, when it was.
    pub certified_in: Option<Epoch>,
}

/// How an exchange with a holder ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// As asked.
    Done(T),
    /// With a refusal, and after how many milliseconds asking again makes sense.
    Refused {
        /// Why.
        reason: Refusal,
        /// When to ask again, if at all.
        retry_after_millis: Option<u32>,
    },
    /// The holder is busy, or quiet by a rule of the network.
    Busy {
        /// When to ask again.
        retry_after_millis: u32,
    },
    /// There was no connection, it broke, or the holder said nothing that makes sense.
    Broken,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin, or go on from the record. Once, first.
    Started,
    /// Answers [`Effect::Encode`]: the fragments are in the spool.
    Encoded {
        /// The blob.
        blob: BlobId,
        /// Its length in bytes.
        blob_bytes: u64,
    },
    /// Answers [`Effect::Encode`].
    EncodeFailed {
        /// What the spool or the source said.
        reason: String,
    },
    /// Answers [`Effect::SubmitRegister`]: the registration is on the ledger.
    Registered {
        /// Its number.
        registration: RegistrationNumber,
    },
    /// Answers [`Effect::SubmitRegister`]: the ledger will not.
    RegisterFailed {
        /// The ledger's words.
        reason: String,
    },
    /// Ends [`Effect::OpenStore`].
    StoreEnded {
        /// The shard.
        shard: ShardIndex,
        /// How.
        outcome: Outcome<()>,
    },
    /// Ends [`Effect::RequestConfirm`].
    ConfirmEnded {
        /// The holder.
        member: NodeId,
        /// How.
        outcome: Outcome<BlsSignature>,
    },
    /// Answers [`Effect::SubmitCertify`] when the ledger will not, or nobody took it. That it did is read off the ledger.
    CertifyFailed {
        /// The ledger's words.
        reason: String,
    },
    /// A block was decided.
    LedgerAdvanced,
    /// Time passed; see [`super::Upload::wake_at`].
    Tick,
}

/// Why an upload ended without a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The blob could not be encoded.
    #[error("encoding failed: {reason}")]
    Encode {
        /// What the spool or the source said.
        reason: String,
    },
    /// The ledger refused the registration.
    #[error("not registered: {reason}")]
    Register {
        /// The ledger's words.
        reason: String,
    },
    /// Too few shards confirmed in time.
    #[error("holders of {confirmed} shards confirmed, {needed} are needed")]
    TooFew {
        /// Shards of members that confirmed.
        confirmed: u16,
        /// Shards needed.
        needed: u16,
    },
    /// Holders of so many shards refuse for good that no certificate is possible.
    #[error("holders of {refused} shards refuse for good, the last because {reason}")]
    Refused {
        /// Shards of members that refuse.
        refused: u16,
        /// The last reason.
        reason: Refusal,
    },
    /// Confirmations were there, the certificate did not reach the ledger in time.
    #[error("the certificate was not decided in time: {reason}")]
    Certify {
        /// The last words of the ledger.
        reason: String,
    },
    /// The registration lapsed or ended.
    #[error("the registration is over; what was paid comes back less the fee")]
    Lapsed,
}

/// What the shell does. Every exchange still open when the upload has ended is cancelled by the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Encode the source into the spool.
    Encode,
    /// Submit the registration; answered by [`Input::Registered`] or [`Input::RegisterFailed`]. Not safe twice: it pays.
    SubmitRegister {
        /// The blob.
        blob: BlobId,
        /// Its length in bytes.
        blob_bytes: u64,
    },
    /// Make the record durable. Safe twice.
    Save {
        /// What to keep beside the spool.
        record: UploadRecord,
    },
    /// Offer a fragment to the holder of its shard; ended by [`Input::StoreEnded`]. Safe twice.
    OpenStore {
        /// To whom.
        member: NodeId,
        /// Which shard's.
        shard: ShardIndex,
        /// Under which registration.
        registration: RegistrationNumber,
    },
    /// Give the exchange up; nothing is answered.
    CancelStore {
        /// Which.
        shard: ShardIndex,
    },
    /// Ask for a confirmation; ended by [`Input::ConfirmEnded`]. Safe twice.
    RequestConfirm {
        /// Whom.
        member: NodeId,
        /// Under which registration.
        registration: RegistrationNumber,
    },
    /// Give the exchange up; nothing is answered.
    CancelConfirm {
        /// With whom.
        member: NodeId,
    },
    /// Submit the certificate. Safe twice: the ledger takes one.
    SubmitCertify {
        /// The blob.
        blob: BlobId,
        /// Its registration.
        registration: RegistrationNumber,
        /// Who signed.
        members: MemberSet,
        /// The aggregate of their signatures.
        signature: BlsSignature,
    },
    /// A holder sent a confirmation that it did not sign.
    Misbehaved {
        /// Who.
        member: NodeId,
    },
    /// The blob is on the ledger: the client can be told.
    Certified {
        /// Its number.
        sequence: SequenceNumber,
    },
    /// The upload has ended well; the spool can go.
    Finished {
        /// Shards whose holders did not take their fragment.
        undelivered: Vec<ShardIndex>,
    },
    /// The upload has ended without a certificate; the spool can go.
    Failed {
        /// Why.
        failure: Failure,
    },
}
