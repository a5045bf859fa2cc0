//! Why the ledger refuses: a transaction ([`Refusal`]) or a block ([`BlockError`]).

use crate::challenges::{AnswerError, Slot};
use crate::state::StateError;
use crate::transaction::TransactionError;
use floe_types::double_vote::NoDoubleVote;
use floe_types::{BlobId, BlockTime, Epoch, Frost, Height, RegistrationNumber, TransactionId};

/// Why a transaction does not apply to a state. State is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Refusal {
    #[error("{0}")]
    Transaction(#[from] TransactionError),
    #[error("nonce {found}, expected {expected}")]
    Nonce { found: u64, expected: u64 },
    #[error("fee {found} FROST, at least {least} is asked")]
    FeeTooLow { found: Frost, least: Frost },
    #[error("the account holds {balance} FROST, {needed} are needed")]
    Insufficient { balance: Frost, needed: Frost },
    #[error("an amount passes the largest there is")]
    Overflow,
    #[error("a blob of {length} bytes, at most {max} are kept")]
    BlobTooLong { length: u64, max: u64 },
    #[error("the first paid epoch is {found}, it may be at most the current one, {current}")]
    FirstEpoch { found: Epoch, current: Epoch },
    #[error("paid until epoch {last}, at most until {max}")]
    TooFarAhead { last: Epoch, max: Epoch },
    #[error("the price is {price} FROST, at most {max} was to be paid")]
    TooDear { price: Frost, max: Frost },
    #[error("blob {blob} is kept with length {kept}, not {found}")]
    LengthMismatch { blob: BlobId, kept: u64, found: u64 },
    #[error("there is no registration {registration} of this blob")]
    NoRegistration { registration: RegistrationNumber },
    #[error("registration {registration} is certified already")]
    AlreadyCertified { registration: RegistrationNumber },
    #[error("registration {registration} has lapsed")]
    Lapsed { registration: RegistrationNumber },
    #[error("members beyond the committee of {members}")]
    MembersBeyond { members: usize },
    #[error("{found} shards confirm, {needed} are needed")]
    BelowQuorum { found: u16, needed: u16 },
    #[error("the certificate's signature is not its members' over this registration in this term")]
    BadCertificate,
    #[error("the block holds its {max} certificates already")]
    CertificatesFull { max: usize },
    #[error("the sender does not speak for this member")]
    NotMember,
    #[error("blob number {number} is not defended")]
    NotDefended { number: u64 },
    #[error("nothing in the attestation is new")]
    NothingNew,
    #[error("the attestation touches more than {max} segments; send it in parts")]
    TooManySegments { max: usize },
    #[error("a report on epoch {found} in epoch {current}")]
    OtherEpoch { found: Epoch, current: Epoch },
    #[error("commitments are taken from {from} on")]
    NotClosing { from: BlockTime },
    #[error("commitments were taken before {until}")]
    CommitmentsOver { until: BlockTime },
    #[error("this member has committed already")]
    AlreadyCommitted,
    #[error("no block says yet which answers must be shown")]
    NoDraw,
    #[error("this member has committed to nothing in this epoch")]
    NotCommitted,
    #[error("no report: {why}")]
    BadReport { why: &'static str },
    #[error("the seed is not this member's for this epoch")]
    BadSeed,
    #[error("{found} answers are shown, the draw names {expected}")]
    NotShown { found: usize, expected: usize },
    #[error("the answer of member {target} in slot {} is not the one that was committed to", slot.0)]
    OtherOutcome { slot: Slot, target: u16 },
    #[error("the answer of member {target} in slot {} shows nothing: {why}", slot.0)]
    BadAnswer { slot: Slot, target: u16, why: AnswerError },
    #[error("this member has reported already")]
    AlreadyReported,
    #[error("support of version {found}, this member has said {said} already")]
    SupportKnown { found: u32, said: u32 },
    #[error("the node has no row of shard {shard}")]
    NotHolder { shard: u16 },
    #[error("{found} FROST at stake, at least {least} are needed; to take all, give notice")]
    StakeTooLow { found: Frost, least: Frost },
    #[error("the node is a candidate already")]
    AlreadyCandidate,
    #[error("the sender does not speak for such a candidate")]
    NotCandidate,
    #[error("the candidate has given notice")]
    AlreadyLeaving,
    #[error("there are {max} candidates, no more are taken")]
    CandidatesFull { max: u32 },
    #[error("the {what} is another candidate's or used already")]
    Taken { what: &'static str },
    #[error("a key has not signed for this node and account")]
    BadProof,
    #[error("for term {found}, it may be from {least} to {most}")]
    OtherTerm { found: u64, least: u64, most: u64 },
    #[error("no committee that is remembered votes with this key")]
    NotVoter,
    #[error("votes of height {height} are too old to be punished, from {least} on they are not")]
    EvidenceTooOld { height: u64, least: u64 },
    #[error("no offence: {why}")]
    NoOffence { why: NoDoubleVote },
    #[error("votes of this key were punished already")]
    AlreadyPunished,
    #[error("the last paid epoch was to be {last}, the current one is {current}")]
    TermOver { last: Epoch, current: Epoch },
    #[error("{needed} bytes a shard are needed, the fullest seat has room for {left}")]
    NoCapacity { needed: u64, left: u64 },
    #[error("registration {registration} does not count: it waits, has lapsed or was ended")]
    NotCounting { registration: RegistrationNumber },
    #[error("registration {registration} ended with epoch {last}, the current one is {current}")]
    Ended { registration: RegistrationNumber, last: Epoch, current: Epoch },
    #[error("registration {registration} is paid until epoch {last} already")]
    NotLonger { registration: RegistrationNumber, last: Epoch },
    #[error("registration {registration} has {count} rates still to come; wait or register anew")]
    TooManyRates { registration: RegistrationNumber, count: usize },
    #[error("registration {registration} belongs to another account")]
    NotOwner { registration: RegistrationNumber },
    #[error("registration {registration} is permanent")]
    Permanent { registration: RegistrationNumber },
    #[error("registration {registration} ends with epoch {last} in any case: nothing would come back")]
    EndsAnyway { registration: RegistrationNumber, last: Epoch },
    #[error("nobody has registered blob {blob}")]
    NoBlob { blob: BlobId },
    #[error("the encoding of blob {blob} is inconsistent: it is never kept again")]
    BlobInvalid { blob: BlobId },
    #[error("there is no pair {pair} of {shards}")]
    NoSliver { pair: u16, shards: u16 },
    #[error("that is what the ledger says already")]
    Unchanged,
}

impl Refusal {
    /// Whether the same transaction may apply to a later state. The pool keeps those and drops the others.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Refusal::CertificatesFull { .. } | Refusal::NotClosing { .. } | Refusal::NoDraw => true,
            Refusal::Nonce { found, expected } => found > expected,
            Refusal::OtherEpoch { found, current } => found > current,
            // Made by a node that is a block ahead of us.
            Refusal::FirstEpoch { found, current } => *found == current.next(),
            _ => false,
        }
    }
}

/// Why a transaction was not executed: refused, or the state could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Halt {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Why a block was refused. [`BlockError::State`] and [`BlockError::AheadOfClock`] are *we could not tell*; all others say
/// that the block is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum BlockError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("block version {found}, expected {ours}")]
    Version { found: u32, ours: u32 },
    #[error("the block is for another network")]
    Network,
    #[error("height {found}, expected {expected}")]
    Height { found: Height, expected: Height },
    #[error("the parent is not our last block")]
    Parent,
    #[error("block time {found} is not above its parent's, {parent}")]
    TimeNotAbove { found: BlockTime, parent: BlockTime },
    #[error("block time {found} is more than {drift_millis} ms ahead of our clock, {now}")]
    AheadOfClock { found: BlockTime, now: BlockTime, drift_millis: u64 },
    #[error("the proposer is not a member")]
    Proposer,
    #[error("{found} bytes, at most {max} are allowed")]
    TooLong { found: usize, max: usize },
    #[error("transaction {transaction} at place {index}: {refusal}")]
    Transaction { index: usize, transaction: TransactionId, refusal: Refusal },
    #[error("the block has a boundary before the epoch is over, or lacks it after")]
    Boundary,
    #[error("the header's {field} is not what execution comes to")]
    Header { field: &'static str },
}
