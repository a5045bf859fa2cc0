//! Failures in the words of the HTTP surface.

use crate::actors::coordinator::SubmitFailure;
use floe_api::{Code, Problem};
use floe_ledger::{MempoolError, Refusal};
use floe_machines::coordinator::SubmitError;
use floe_machines::download::TooFew;
use floe_machines::upload::Failure;
use floe_types::{BlobId, Frost};
use std::time::Duration;

pub(super) fn overloaded(what: &str) -> Problem {
    Problem::new(Code::Overloaded, format!("as many {what} are under way as this node takes at a time"))
        .retry_after(Duration::from_secs(2))
}

pub(super) fn stopping() -> Problem {
    Problem::new(Code::NodeNotReady, "the node is stopping").retry_after(Duration::from_secs(10))
}

fn insufficient(balance: Frost, needed: Frost) -> Problem {
    let missing = Frost(needed.0.saturating_sub(balance.0));
    let detail = format!("this node's account holds {balance} FROST, the store costs {needed}");
    Problem::new(Code::InsufficientWal, detail)
        .with(|facts| facts.missing = Some(missing.into()))
        .hint("transfer WAL to this node's account, or store for fewer epochs")
}

/// The node could not submit a transaction.
pub(super) fn submitting(failure: &SubmitFailure) -> Problem {
    match failure {
        SubmitFailure::Stopping => stopping(),
        SubmitFailure::Refused(SubmitError::NotTaken(MempoolError::Insufficient { balance, needed })) => {
            insufficient(*balance, *needed)
        }
        SubmitFailure::Refused(SubmitError::Refused(refusal)) => refused(refusal),
        SubmitFailure::Refused(error) => {
            Problem::new(Code::Overloaded, error.to_string()).retry_after(Duration::from_secs(2))
        }
    }
}

/// The ledger refused the registration.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Insufficient { balance, needed } => insufficient(*balance, *needed),
        Refusal::BlobTooLong { max, .. } => {
            Problem::new(Code::BlobTooLarge, refusal.to_string()).with(|facts| facts.limit_bytes = Some(*max))
        }
        Refusal::TooFarAhead { .. } => Problem::bad_request("epochs", refusal.to_string()),
        Refusal::NoCapacity { .. } => Problem::new(Code::Capacity, refusal.to_string()),
        Refusal::LengthMismatch { .. } => Problem::new(Code::Conflict, refusal.to_string()),
        _ => Problem::new(Code::Conflict, format!("the ledger refused the registration: {refusal}")),
    }
}

/// Too few seats answer for anything to be decided.
pub(super) fn no_quorum(answering: u16, needed: u16) -> Problem {
    let detail = format!("{answering} shards answer, {needed} are needed to decide; nothing was paid");
    Problem::new(Code::CommitteeNoQuorum, detail)
        .with(|facts| {
            facts.answering_shards = Some(answering);
            facts.needed_shards = Some(needed);
        })
        .retry_after(Duration::from_secs(5))
}

/// The disk has no room for the fragments on their way out.
pub(super) fn capacity(needed: u64, free: u64) -> Problem {
    let detail =
        format!("encoding takes {needed} bytes of this node's disk for a while, {free} are free above its reserve");
    Problem::new(Code::Capacity, detail).hint("store through another node, or free space on this one")
}

/// The registration was sent and nothing was heard of it.
pub(super) fn unknown_outcome(waited: Duration) -> Problem {
    let detail = format!("the registration was not decided within {} s; it may still be", waited.as_secs());
    Problem::new(Code::OutcomeUnknown, detail).hint("ask for the blob's status before you store it again")
}

/// An upload ended without a certificate.
pub(super) fn upload(failure: &Failure) -> Problem {
    let detail = failure.to_string();
    match failure {
        Failure::TooFew { confirmed, needed } => {
            let (confirmed, needed) = (*confirmed, *needed);
            Problem::new(Code::CommitteeNoQuorum, format!("{detail}; what was paid comes back less the fee"))
                .with(|facts| {
                    facts.answering_shards = Some(confirmed);
                    facts.needed_shards = Some(needed);
                })
                .retry_after(Duration::from_secs(5))
        }
        Failure::Refused { .. } => Problem::new(Code::Capacity, detail),
        Failure::Certify { .. } => Problem::new(Code::OutcomeUnknown, detail),
        Failure::Lapsed => Problem::new(Code::OutcomeUnknown, detail),
        Failure::Encode { .. } | Failure::Register { .. } => Problem::new(Code::Internal, detail),
    }
}

/// A read found too few slivers.
pub(super) fn unavailable(blob: BlobId, too_few: TooFew) -> Problem {
    let TooFew { answered, needed } = too_few;
    Problem::new(Code::BlobUnavailable, format!("{answered} of the {needed} fragments that a read needs could be had"))
        .with(|facts| {
            facts.blob_id = Some(blob);
            facts.answering_shards = Some(answered);
            facts.needed_shards = Some(needed);
        })
        .retry_after(Duration::from_secs(5))
}

/// What was read does not give the id that was asked for: whoever encoded the blob did so inconsistently.
pub(super) fn inconsistent(blob: BlobId) -> Problem {
    let detail =
        format!("the fragments of {blob} verify, and their bytes do not give its id: it was encoded inconsistently");
    Problem::new(Code::VerificationFailed, detail).with(|facts| facts.blob_id = Some(blob))
}

/// The node's own disk or code failed; its log says how.
pub(super) fn internal(during: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, during, "a request failed");
    Problem::new(Code::Internal, format!("{during} failed on this node; its log says more"))
}
