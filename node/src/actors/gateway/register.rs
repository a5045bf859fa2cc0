//! Puts a registration on the ledger and finds its number.

use super::{Parts, problems};
use crate::actors::coordinator::Committed;
use floe_api::Problem;
use floe_ledger::{Action, Attributes, Event, Refusal, views};
use floe_machines::coordinator::Outcome;
use floe_types::{BlobId, Epoch, EpochCount, Height, RegistrationNumber, TransactionId};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// Times a registration is sent: once more when an epoch ended in between, which a second time in a row is bad luck.
const ATTEMPTS: usize = 3;

/// What is to be registered.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub blob: BlobId,
    pub length: u64,
    pub epochs: EpochCount,
    pub attributes: Attributes,
}

/// A registration on the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    pub number: RegistrationNumber,
    pub transaction: TransactionId,
    pub height: Height,
    pub first: Epoch,
    pub last: Epoch,
}

enum Try {
    Done(Registered),
    /// Its first epoch was over before it was executed, or its nonce was used by what this node sent before a restart.
    Late,
}

/// Registers. Answers when the registration is in a block.
///
/// # Errors
/// The problem to tell the client.
pub(super) async fn register(parts: &Parts, wish: &Wish) -> Result<Registered, Problem> {
    let until = Instant::now() + parts.config.register_wait;
    for _ in 0..ATTEMPTS {
        match attempt(parts, wish, until).await? {
            Try::Done(registered) => return Ok(registered),
            Try::Late => parts.ledger.follow(parts.shared.coordinator.live().head.epoch),
        }
    }
    Err(problems::unknown_outcome(parts.config.register_wait))
}

async fn attempt(parts: &Parts, wish: &Wish, until: Instant) -> Result<Try, Problem> {
    let first = parts.ledger.epoch();
    let over = EpochCount(wish.epochs.0.saturating_sub(1));
    let last = first.checked_add(over).ok_or_else(|| problems::refused(&Refusal::Overflow))?;
    let price = floe_ledger::price(&parts.shared.context.params, wish.length, first, last);
    let price_max = price.map_err(|refusal| problems::refused(&refusal))?.total;
    let (blob, length, attributes) = (wish.blob, wish.length, wish.attributes.clone());
    let mut blocks = parts.shared.coordinator.committed();
    let action = Action::Register { blob, length, first, last, price_max, attributes };
    let submitted = parts.shared.coordinator.submit(action).await;
    let mut submission = submitted.map_err(|failure| problems::submitting(&failure))?;
    let transaction = submission.transaction;
    let mut is_settled = false;
    loop {
        tokio::select! {
            block = blocks.recv() => match block {
                Ok(committed) => {
                    parts.ledger.follow(committed.epoch);
                    if let Some(number) = number_in(&committed, &transaction) {
                        return Ok(Try::Done(Registered { number, transaction, height: committed.height, first, last }));
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    if let Some(registered) = look(parts, wish, transaction) {
                        return Ok(Try::Done(registered));
                    }
                }
                Err(RecvError::Closed) => return Err(problems::stopping()),
            },
            outcome = &mut submission.settled, if !is_settled => match outcome {
                // Its event is on its way here.
                Ok(Outcome::Included { .. } | Outcome::Waiting) => is_settled = true,
                Ok(Outcome::Refused { refusal: Refusal::FirstEpoch { .. } | Refusal::Nonce { .. } }) => {
                    return Ok(Try::Late);
                }
                Ok(Outcome::Refused { refusal }) => return Err(problems::refused(&refusal)),
                Err(_) => return Err(problems::stopping()),
            },
            () = tokio::time::sleep_until(until) => {
                return Err(problems::unknown_outcome(parts.config.register_wait));
            }
        }
    }
}

fn number_in(committed: &Arc<Committed>, wanted: &TransactionId) -> Option<RegistrationNumber> {
    committed.events.iter().find_map(|event| match event {
        Event::Registered { transaction, registration, .. } if transaction == wanted => Some(*registration),
        _ => None,
    })
}

/// Blocks were missed: the newest registration of this blob for exactly this term is looked for in the state.
fn look(parts: &Parts, wish: &Wish, transaction: TransactionId) -> Option<Registered> {
    let snapshot = parts.shared.store.snapshot();
    let view = views::blob(&snapshot, &wish.blob).ok()??;
    let height = views::head(&snapshot).ok()?.height;
    let newest = view.registrations.into_iter().next_back()?;
    let epochs = newest.last.0.saturating_sub(newest.first.0) + 1;
    let same = newest.length == wish.length && epochs == wish.epochs.0 && newest.attributes == wish.attributes;
    same.then_some(Registered { number: newest.number, transaction, height, first: newest.first, last: newest.last })
}
