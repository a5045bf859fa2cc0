//! This node's own transactions: their nonces, and seeing each through until it is in a block or cannot be.
//!
//! A nonce once given belongs to one transaction. When the ledger comes to refuse the first one waiting (a second
//! certificate of the same blob, say), those behind it would wait for ever; then a transfer of one FROST to oneself
//! takes its nonce. Whichever of the two gets in, nothing is done twice.

use super::{SubmitError, Ticket};
use floe_ledger::mempool::outbid;
use floe_ledger::{Action, Refusal, SignedTransaction, Transaction, fee_min};
use floe_types::keys::SecretKey;
use floe_types::{AccountId, Epoch, Frost, NetworkId, Params, TransactionId};
use std::collections::BTreeMap;

/// The most own transactions that wait at a time; one more is refused as busy.
pub const PENDING_MAX: usize = 512;

/// A transaction on its way.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub transaction: SignedTransaction,
    pub ticket: Ticket,
    pub sent_at: u64,
    /// What was submitted, whatever is sent now.
    pub submitted: TransactionId,
    /// Why its nonce was given to a transfer to oneself.
    pub replaced: Option<Refusal>,
}

/// The wallet's state.
pub(super) struct Wallet {
    network: NetworkId,
    key: SecretKey,
    params: Params,
    pending: BTreeMap<u64, Pending>,
}

impl Wallet {
    pub fn new(network: NetworkId, key: SecretKey, params: Params) -> Wallet {
        Wallet { network, key, params, pending: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn account(&self) -> AccountId {
        AccountId(self.key.public())
    }

    /// Signs an action that needs no nonce and costs nothing: a duty.
    pub fn sign_duty(&self, action: Action) -> SignedTransaction {
        self.sign(action, 0, Frost::ZERO)
    }

    fn sign(&self, action: Action, nonce: u64, fee: Frost) -> SignedTransaction {
        let transaction = Transaction { network: self.network, sender: self.account(), nonce, fee, action };
        transaction.sign(&self.key)
    }

    /// Signs with a fee for the transaction's own length, which the fee's own digits may change: two passes, rounded up. At
    /// least `least`.
    fn sign_with_fee(&self, action: Action, nonce: u64, least: Frost) -> SignedTransaction {
        let draft = self.sign(action.clone(), nonce, Frost(u64::from(u32::MAX)));
        let fee = fee_min(&self.params, &action, draft.encode().len()).unwrap_or(Frost(u64::MAX));
        self.sign(action, nonce, fee.max(least))
    }

    /// Gives `action` the next nonce after those in the ledger and those waiting.
    pub fn submit(
        &mut self,
        now: u64,
        ledger_nonce: u64,
        ticket: Ticket,
        action: Action,
    ) -> Result<SignedTransaction, SubmitError> {
        if self.pending.len() >= PENDING_MAX {
            return Err(SubmitError::Busy { count: self.pending.len() });
        }
        let after_pending = self.pending.last_key_value().map_or(0, |(nonce, _)| nonce + 1);
        let nonce = ledger_nonce.max(after_pending);
        let transaction = self.sign_with_fee(action, nonce, Frost::ZERO);
        let submitted = transaction.id();
        let pending = Pending { transaction: transaction.clone(), ticket, sent_at: now, submitted, replaced: None };
        self.pending.insert(nonce, pending);
        Ok(transaction)
    }

    /// Takes back the newest submission, which nobody has seen yet.
    pub fn withdraw_last(&mut self) {
        self.pending.pop_last();
    }

    /// What left the wait because the ledger is past its nonce.
    pub fn settle(&mut self, ledger_nonce: u64) -> Vec<Pending> {
        let waiting = self.pending.split_off(&ledger_nonce);
        std::mem::replace(&mut self.pending, waiting).into_values().collect()
    }

    /// The first one waiting, when the ledger waits for it too.
    pub fn first(&self, ledger_nonce: u64) -> Option<&Pending> {
        self.pending.get(&ledger_nonce)
    }

    /// Registrations that wait and were to end before `current`, which no block will take any more.
    pub fn late_registrations(&self, current: Epoch) -> Vec<(u64, TransactionId, Refusal)> {
        let late = |(nonce, pending): (&u64, &Pending)| match pending.transaction.transaction.action {
            Action::Register { last, .. } if last < current => {
                Some((*nonce, pending.transaction.id(), Refusal::TermOver { last, current }))
            }
            _ => None,
        };
        self.pending.iter().filter_map(late).collect()
    }

    /// Gives one's nonce to a transfer to oneself, to be sent instead.
    pub fn replace(&mut self, now: u64, nonce: u64, refusal: Refusal) -> Option<SignedTransaction> {
        let harmless = Action::Transfer { to: self.account(), amount: Frost(1) };
        // Dear enough to take the place of what it replaces in the pools of others too.
        let least = outbid(self.pending.get(&nonce)?.transaction.transaction.fee);
        let filler = self.sign_with_fee(harmless, nonce, least);
        let pending = self.pending.get_mut(&nonce)?;
        pending.transaction = filler.clone();
        pending.sent_at = now;
        pending.replaced = Some(refusal);
        Some(filler)
    }

    /// Those not sent for `resend_millis`, marked as sent now.
    pub fn resend(&mut self, now: u64, resend_millis: u64) -> Vec<SignedTransaction> {
        let due = |pending: &&mut Pending| now.saturating_sub(pending.sent_at) >= resend_millis;
        let mut again = Vec::new();
        for pending in self.pending.values_mut().filter(due).take(64) {
            pending.sent_at = now;
            again.push(pending.transaction.clone());
        }
        again
    }

    /// When the next one is due to be sent again.
    pub fn next_resend_at(&self, resend_millis: u64) -> Option<u64> {
        self.pending.values().map(|pending| pending.sent_at + resend_millis).min()
    }
}
