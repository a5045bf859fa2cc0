//! Transactions of others that came in through this node's own door: taken, sent on, and watched until they are in a block
//! or cannot be.
//!
//! Their signers are elsewhere, an operator's machine with a key that never touches a node, so nothing here signs, resends
//! under another nonce or pays. What would be refused as things stand is refused at once, with the ledger's reason: a
//! proposer that leaves a transaction out tells nobody.

use super::machine::{Coordinator, Work};
use super::{Effect, Error, Outcome, SubmitError, Ticket};
use floe_ledger::{Refusal, SignedTransaction, views};
use floe_types::{AccountId, TransactionId};
use std::collections::BTreeMap;

/// The most that are watched at a time; one more is refused as busy.
pub const RELAYED_MAX: usize = 512;
/// How long one is watched. Then its sender is told that it still waits, and looks at its account's nonce.
pub const WATCH_MILLIS: u64 = 60_000;

#[derive(Debug)]
struct Relayed {
    ticket: Ticket,
    sender: AccountId,
    nonce: u64,
    until: u64,
}

/// Those that are watched.
#[derive(Debug, Default)]
pub(super) struct Relay {
    watched: BTreeMap<TransactionId, Relayed>,
}

impl Relay {
    /// When the first watch ends.
    pub fn next_end(&self) -> Option<u64> {
        self.watched.values().map(|relayed| relayed.until).min()
    }
}

impl Coordinator {
    pub(super) fn relay(
        &mut self,
        work: &mut Work<'_>,
        ticket: Ticket,
        transaction: SignedTransaction,
    ) -> Result<(), Error> {
        let result = self.take_relayed(work, ticket, transaction)?;
        work.out.push(Effect::Submitted { ticket, result });
        Ok(())
    }

    fn take_relayed(
        &mut self,
        work: &mut Work<'_>,
        ticket: Ticket,
        transaction: SignedTransaction,
    ) -> Result<Result<TransactionId, SubmitError>, Error> {
        let count = self.relay.watched.len();
        if count >= RELAYED_MAX {
            return Ok(Err(SubmitError::Busy { count }));
        }
        let (sender, nonce) = (transaction.transaction.sender, transaction.transaction.nonce);
        // Those behind others of the same sender cannot be tried before these are in a block.
        if nonce == views::account(work.state, &sender)?.nonce
            && let Some(refusal) = self.refusal_of(work, &transaction)?.filter(|refusal| !refusal.may_pass())
        {
            return Ok(Err(SubmitError::Refused(refusal)));
        }
        let id = match self.send_own(work, transaction) {
            Ok(id) => id,
            Err(error) => return Ok(Err(SubmitError::NotTaken(error))),
        };
        let until = work.now.saturating_add(WATCH_MILLIS);
        self.relay.watched.insert(id, Relayed { ticket, sender, nonce, until });
        Ok(Ok(id))
    }

    /// After a block: what became of those that are watched.
    pub(super) fn settle_relayed(&mut self, work: &mut Work<'_>, included: &[TransactionId]) -> Result<(), Error> {
        let mut settled = Vec::new();
        for (id, relayed) in &self.relay.watched {
            let expected = views::account(work.state, &relayed.sender)?.nonce;
            if included.contains(id) {
                settled.push((*id, Outcome::Included { height: self.head.height }));
            } else if expected > relayed.nonce {
                let refusal = Refusal::Nonce { found: relayed.nonce, expected };
                settled.push((*id, Outcome::Refused { refusal }));
            }
        }
        self.end_watch(work, settled);
        Ok(())
    }

    /// Ends watches whose time is over.
    pub(super) fn expire_relayed(&mut self, work: &mut Work<'_>) {
        let over = self.relay.watched.iter().filter(|(_, relayed)| relayed.until <= work.now);
        let over: Vec<_> = over.map(|(id, _)| (*id, Outcome::Waiting)).collect();
        self.end_watch(work, over);
    }

    fn end_watch(&mut self, work: &mut Work<'_>, over: Vec<(TransactionId, Outcome)>) {
        for (id, outcome) in over {
            if let Some(relayed) = self.relay.watched.remove(&id) {
                work.out.push(Effect::Settled { ticket: relayed.ticket, outcome });
            }
        }
    }
}
