//! Takes transactions that were signed elsewhere and says in the words of the HTTP surface what became of them.

use crate::actors::coordinator::{CoordinatorHandle, SubmitFailure};
use floe_api::model::{TransactionAnswer, TransactionOutcome};
use floe_api::{Code, Problem};
use floe_ledger::{MempoolError, Refusal, SignedTransaction};
use floe_machines::coordinator::{Outcome, SubmitError};
use floe_types::Frost;
use std::time::Duration;

/// How long a transaction is waited for before its sender is told that it waits: several decisions of a slow network.
const WATCH: Duration = Duration::from_secs(30);

/// Hands a transaction to the coordinator and waits for what becomes of it.
pub(super) async fn submit(coordinator: CoordinatorHandle, signed: Vec<u8>) -> Result<TransactionAnswer, Problem> {
    let decoded = SignedTransaction::decode(&signed);
    let transaction = decoded.map_err(|error| Problem::bad_request("body", format!("not a transaction: {error}")))?;
    let submission = coordinator.relay(transaction).await.map_err(|failure| not_taken(&failure))?;
    let transaction = submission.transaction;
    let outcome = match tokio::time::timeout(WATCH, submission.settled).await {
        Ok(Ok(Outcome::Included { height })) => TransactionOutcome::Included { height },
        Ok(Ok(Outcome::Refused { refusal })) => return Err(refused(&refusal)),
        Ok(Ok(Outcome::Waiting)) | Err(_) => TransactionOutcome::Waiting,
        Ok(Err(_)) => return Err(stopping()),
    };
    Ok(TransactionAnswer { transaction, outcome })
}

fn stopping() -> Problem {
    Problem::new(Code::NodeNotReady, "the node is stopping").retry_after(Duration::from_secs(10))
}

fn not_taken(failure: &SubmitFailure) -> Problem {
    let SubmitFailure::Refused(error) = failure else { return stopping() };
    match error {
        SubmitError::Refused(refusal) => refused(refusal),
        SubmitError::NotTaken(MempoolError::Insufficient { balance, needed }) => insufficient(*balance, *needed),
        SubmitError::NotTaken(MempoolError::Full { .. }) | SubmitError::Busy { .. } => {
            Problem::new(Code::Overloaded, error.to_string()).retry_after(Duration::from_secs(2))
        }
        // Another transaction of the account was quicker: with its next nonce this one may do.
        SubmitError::NotTaken(MempoolError::NonceTaken { .. } | MempoolError::Stale { .. }) => {
            Problem::new(Code::Conflict, error.to_string())
        }
        SubmitError::NotTaken(error) => Problem::new(Code::TransactionRefused, error.to_string()),
    }
}

/// The ledger's reason.
fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Insufficient { balance, needed } => insufficient(*balance, *needed),
        Refusal::Nonce { .. } => Problem::new(Code::Conflict, refusal.to_string()),
        refusal => Problem::new(Code::TransactionRefused, refusal.to_string()),
    }
}

fn insufficient(balance: Frost, needed: Frost) -> Problem {
    let missing = Frost(needed.0.saturating_sub(balance.0));
    let detail = format!("the account holds {balance} FROST, {needed} are needed");
    Problem::new(Code::InsufficientWal, detail).with(|facts| facts.missing = Some(missing.into()))
}
