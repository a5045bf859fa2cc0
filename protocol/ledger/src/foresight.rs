//! What the transactions of a block will read, asked for beforehand and together.
//!
//! A database finds many entries in the order of their keys for two thirds of what it takes to find them one by one. So what is
//! plain from the transactions is read before the first of them is executed, in waves, each of which follows from what
//! the one before it found:
//!
//! ```text
//! sender, registration, budget, blob ──► blob of the registration ──► life of the blob ──► its expiry and terms
//! lives at the ends of runs ───────────► their registrations
//! ```
//!
//! It decides nothing: what is not foreseen is read when it is needed, and what was foreseen in vain costs its reading. What an
//! account or a stranger's number names may not exist; then there is nothing to follow.

use crate::blobs;
use crate::recall::Recalling;
use crate::records::StoredLife;
use crate::state::StateError;
use crate::tables::Table;
use crate::transaction::{Action, Transaction};
use floe_types::{BlobId, Epoch, RegistrationNumber, SequenceNumber};

/// How one transaction goes on, once what the last wave asked for is there.
enum Next {
    /// The registration with this number names the blob.
    Registration(RegistrationNumber, Option<Epoch>),
    /// The record of this blob names the life.
    Blob(BlobId, Option<Epoch>),
    /// The life with this number says when it ends; it may come to last until then.
    Life(SequenceNumber, Option<Epoch>),
    /// The life with this number names its registration.
    Covered(SequenceNumber),
}

/// Reads what `transactions` will read out of `state`, which remembers it.
pub(crate) fn read_ahead<'a>(
    state: &Recalling<'_>,
    transactions: impl Iterator<Item = &'a Transaction>,
) -> Result<(), StateError> {
    let (mut keys, mut next) = (Vec::new(), Vec::new());
    for transaction in transactions {
        keys.push(Table::Accounts.key(&[&transaction.sender.0]));
        begin(&transaction.action, &mut keys, &mut next);
    }
    while !keys.is_empty() {
        state.fetch(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        keys.clear();
        let mut later = Vec::new();
        for found in next {
            later.extend(follow(state, found, &mut keys)?);
        }
        next = later;
    }
    Ok(())
}

/// What is plain from an action.
fn begin(action: &Action, keys: &mut Vec<Vec<u8>>, next: &mut Vec<Next>) {
    match action {
        Action::Register { blob, .. } => keys.push(Table::Blobs.key(&[&blob.0])),
        Action::Certify { blob, registration, .. } => {
            keys.push(Table::Blobs.key(&[&blob.0]));
            keys.push(Table::Registrations.number(registration.0));
        }
        Action::Extend { registration, last, .. } => {
            keys.push(Table::Budgets.number(registration.0));
            keys.push(Table::Registrations.number(registration.0));
            next.push(Next::Registration(*registration, Some(*last)));
        }
        Action::Delete { registration } => {
            keys.push(Table::Registrations.number(registration.0));
            next.push(Next::Registration(*registration, None));
        }
        Action::Attest { runs, .. } | Action::Withdraw { runs, .. } => {
            // A run begins and ends at a defended blob.
            let ends = runs.iter().flat_map(|run| [run.first, run.last]);
            for number in ends {
                keys.push(Table::Sequence.number(number.0));
                next.push(Next::Covered(number));
            }
        }
        _ => {}
    }
}

fn life(state: &Recalling<'_>, number: SequenceNumber) -> Result<Option<StoredLife>, StateError> {
    Table::Sequence.load(state, &Table::Sequence.number(number.0))
}

/// What follows from what a wave found: keys of the next wave, and how to go on after it.
fn follow(state: &Recalling<'_>, next: Next, keys: &mut Vec<Vec<u8>>) -> Result<Option<Next>, StateError> {
    match next {
        Next::Registration(number, to) => {
            let blob = blobs::registration(state, number)?.map(|registration| registration.blob);
            keys.extend(blob.map(|blob| Table::Blobs.key(&[&blob.0])));
            Ok(blob.map(|blob| Next::Blob(blob, to)))
        }
        Next::Blob(blob, to) => {
            let number = blobs::record(state, &blob)?.and_then(|record| record.sequence);
            keys.extend(number.map(|number| Table::Sequence.number(number.0)));
            Ok(number.map(|number| Next::Life(number, to)))
        }
        Next::Life(number, to) => {
            let Some(life) = life(state, number)? else { return Ok(None) };
            keys.push(blobs::term_key(number, life.last, life.keeper));
            keys.push(Table::Expiries.numbers(life.last.0, number.0));
            keys.extend(to.map(|to| Table::Expiries.numbers(to.0, number.0)));
            Ok(None)
        }
        Next::Covered(number) => {
            keys.extend(life(state, number)?.map(|life| Table::Registrations.number(life.registration.0)));
            Ok(None)
        }
    }
}
