//! Transactions that wait for a block, on one node. Pure: what to keep follows from what was offered and from the state.
//!
//! Two rooms. *Paid* transactions stand per sender in nonce order, so that those of one sender enter a block in the order
//! in which they apply. Commitments and *reports* have no nonce and no fee; they stand per epoch and member in a room of their own, so
//! that no flood of paid ones keeps a member from its duty.
//!
//! | limit | value | answer when full |
//! | --- | --- | --- |
//! | transactions, bytes | [`MempoolLimits`] | the cheapest at the end of another sender's line gives way, or `Full` |
//! | of one sender | [`MempoolLimits::per_sender`] nonces ahead | `TooFarAhead` |
//! | commitments, reports | members of the committee, times two epochs | `TooFarAhead` / `Stale` |
//!
//! One that waits gives way to another of the same sender and nonce for a fee of at least [`outbid`]: that is how a sender
//! frees its line from a transaction that has come to apply no more, on every node and not only on its own. In a full pool the
//! last of a line gives way to one that [`outbid`]s it by the byte, so that no flood of cheap ones keeps dear ones out; the
//! line before it stays whole.

use crate::block::Block;
use crate::challenges::Timetable;
use crate::execute::Context;
use crate::money;
use crate::refusal::Refusal;
use crate::reports;
use crate::state::{StateError, StateRead};
use crate::transaction::{Action, CheckedTransaction, SignedTransaction, TransactionError, fee_min};
use crate::views;
use floe_types::{AccountId, BlockTime, Epoch, Frost, NodeId, TransactionId};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// How much a pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolLimits {
    /// Paid transactions.
    pub count: usize,
    /// Bytes of paid transactions.
    pub bytes: usize,
    /// Nonces that one sender may be ahead of its account.
    pub per_sender: u64,
}

impl Default for MempoolLimits {
    /// 16 blocks' worth: 20,000 transactions, 16 MiB, 1,024 of one sender.
    fn default() -> MempoolLimits {
        MempoolLimits { count: 20_000, bytes: 16 << 20, per_sender: 1024 }
    }
}

/// The least fee for which another transaction takes the place of one that offers `fee`: an eighth more, so that a place
/// changes hands a bounded number of times before its sender is out of money.
#[must_use]
pub fn outbid(fee: Frost) -> Frost {
    Frost(fee.0.saturating_add(fee.0 / 8).saturating_add(1))
}

/// Why a transaction was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum MempoolError {
    /// Wrong whatever the state: whoever relayed it should not have.
    #[error(transparent)]
    Wrong(#[from] TransactionError),
    #[error("it is here already")]
    Seen,
    #[error("nonce {found} is used, the next is {expected}")]
    Stale { found: u64, expected: u64 },
    #[error("nonce {found} is too far ahead of {expected}, at most {ahead} may wait")]
    TooFarAhead { found: u64, expected: u64, ahead: u64 },
    #[error("another transaction with nonce {nonce} waits, for a fee as high")]
    NonceTaken { nonce: u64 },
    #[error("fee {found} FROST, at least {least} is asked")]
    TooCheap { found: Frost, least: Frost },
    #[error("the account holds {balance} FROST, {needed} are needed")]
    Insufficient { balance: Frost, needed: Frost },
    #[error("a report on epoch {found} in epoch {current}")]
    OtherEpoch { found: Epoch, current: Epoch },
    #[error("the report's sender does not speak for this member")]
    NotMember,
    #[error("the pool is full: {count} transactions, {bytes} bytes")]
    Full { count: usize, bytes: usize },
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a member says of an epoch: first its commitment, then its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Duty {
    epoch: Epoch,
    member: NodeId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Commit,
    Report,
}

impl Duty {
    /// What `action` is of this kind.
    fn of(action: &Action) -> Option<Duty> {
        match action {
            Action::Commit { member, epoch, .. } => Some(Duty { epoch: *epoch, member: *member, stage: Stage::Commit }),
            Action::Report(report) => Some(Duty { epoch: report.epoch, member: report.member, stage: Stage::Report }),
            _ => None,
        }
    }
}

/// The pool.
#[derive(Debug, Default)]
pub struct Mempool {
    limits: MempoolLimits,
    paid: BTreeMap<AccountId, BTreeMap<u64, CheckedTransaction>>,
    reports: BTreeMap<Duty, CheckedTransaction>,
    /// Where each waiting paid transaction is.
    places: BTreeMap<TransactionId, (AccountId, u64)>,
    /// The last one of each sender, by what it pays.
    tails: BTreeSet<Offer>,
    bytes: usize,
}

impl Mempool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: MempoolLimits) -> Mempool {
        Mempool { limits, ..Mempool::default() }
    }

    /// Transactions that wait, reports included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() + self.reports.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the paid transactions that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether `id` waits.
    #[must_use]
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.places.contains_key(id) || self.reports.values().any(|report| report.id() == *id)
    }

    /// Takes a transaction in. It is checked here, the signature last, and never again on this node.
    ///
    /// # Errors
    /// [`MempoolError`]; the pool is as before.
    pub fn add(
        &mut self,
        state: &dyn StateRead,
        context: &Context,
        signed: SignedTransaction,
    ) -> Result<TransactionId, MempoolError> {
        let id = signed.id();
        if self.contains(&id) {
            return Err(MempoolError::Seen);
        }
        if let Some(duty) = Duty::of(&signed.transaction.action) {
            return self.add_report(state, context, signed, duty);
        }
        let (sender, nonce, fee) = (signed.transaction.sender, signed.transaction.nonce, signed.transaction.fee);
        let account = money::account(state, &sender)?;
        let expected = account.nonce;
        if nonce < expected {
            return Err(MempoolError::Stale { found: nonce, expected });
        }
        let ahead = self.limits.per_sender;
        if nonce - expected >= ahead {
            return Err(MempoolError::TooFarAhead { found: nonce, expected, ahead });
        }
        let bytes = signed.encode().len();
        let least = fee_min(&context.params, &signed.transaction.action, bytes).unwrap_or(Frost(u64::MAX));
        if fee < least {
            return Err(MempoolError::TooCheap { found: fee, least });
        }
        if account.balance < fee {
            return Err(MempoolError::Insufficient { balance: account.balance, needed: fee });
        }
        let waiting = self.paid.get(&sender).and_then(|queue| queue.get(&nonce));
        if waiting.is_some_and(|waiting| fee < outbid(waiting.transaction().fee)) {
            return Err(MempoolError::NonceTaken { nonce });
        }
        let replaced = waiting.map(CheckedTransaction::bytes);
        let victims = self.victims(&sender, fee, bytes, replaced)?;
        let checked = signed.check(&context.network)?;
        context.memo.remember(id);
        for victim in victims {
            self.take(&victim.sender, victim.nonce);
        }
        self.take(&sender, nonce);
        self.bytes += checked.bytes();
        self.places.insert(id, (sender, nonce));
        if let Some(tail) = self.tail(&sender) {
            self.tails.remove(&tail);
        }
        self.paid.entry(sender).or_default().insert(nonce, checked);
        self.tails.extend(self.tail(&sender));
        Ok(id)
    }

    /// What must give way before one of `sender` that offers `fee` for `bytes` fits in, in the place of one that is
    /// `replaced` bytes long if there is such: nothing while there is room.
    fn victims(
        &self,
        sender: &AccountId,
        fee: Frost,
        bytes: usize,
        replaced: Option<usize>,
    ) -> Result<Vec<Offer>, MempoolError> {
        const VICTIMS_MAX: usize = 64;
        let full = MempoolError::Full { count: self.places.len(), bytes: self.bytes };
        let count = self.places.len() + usize::from(replaced.is_none());
        let mut over_count = count.saturating_sub(self.limits.count);
        let mut over_bytes = (self.bytes + bytes - replaced.unwrap_or(0)).saturating_sub(self.limits.bytes);
        let mut victims = Vec::new();
        let mut tails = self.tails.iter().take(VICTIMS_MAX);
        while over_count > 0 || over_bytes > 0 {
            let Some(tail) = tails.next() else { return Err(full) };
            let waiting = self.paid.get(&tail.sender).and_then(|queue| queue.get(&tail.nonce));
            let waiting = waiting.map_or(0, CheckedTransaction::bytes);
            // The cheapest that there is: what comes after is dearer.
            if Offer::rate(fee, bytes) <= tail.rate + tail.rate / 8 {
                return Err(full);
            }
            // A sender does not push itself out.
            if tail.sender != *sender {
                over_count = over_count.saturating_sub(1);
                over_bytes = over_bytes.saturating_sub(waiting);
                victims.push(*tail);
            }
        }
        Ok(victims)
    }

    /// The last transaction of a sender.
    fn tail(&self, sender: &AccountId) -> Option<Offer> {
        let (_, last) = self.paid.get(sender)?.last_key_value()?;
        Some(Offer::of(last, sender))
    }

    fn add_report(
        &mut self,
        state: &dyn StateRead,
        context: &Context,
        signed: SignedTransaction,
        duty: Duty,
    ) -> Result<TransactionId, MempoolError> {
        let Duty { epoch, member, .. } = duty;
        let current = views::head(state)?.epoch;
        // A node that is a block behind hears reports on the epoch that comes next.
        if epoch != current && epoch != current.next() {
            return Err(MempoolError::OtherEpoch { found: epoch, current });
        }
        let committee = views::committee(state)?;
        let spoken = committee.index_of(&member).and_then(|index| committee.member(index));
        if spoken.is_none_or(|member| member.account != signed.transaction.sender) {
            return Err(MempoolError::NotMember);
        }
        if self.reports.contains_key(&duty) {
            return Err(MempoolError::NonceTaken { nonce: 0 });
        }
        let checked = signed.check(&context.network)?;
        let id = checked.id();
        context.memo.remember(id);
        self.reports.insert(duty, checked);
        Ok(id)
    }

    /// What a block on `state` at time `now` might include, at most `bytes_max` bytes: reports that are due first, then
    /// paid ones by fee for a byte, each sender's in nonce order without a gap. Empty when nothing waits that could apply:
    /// then no block need be made.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn candidates(
        &self,
        state: &dyn StateRead,
        context: &Context,
        now: BlockTime,
        bytes_max: usize,
    ) -> Result<Vec<CheckedTransaction>, StateError> {
        let mut chosen = self.reports(state, context, now, bytes_max)?;
        let mut room = bytes_max.saturating_sub(chosen.iter().map(CheckedTransaction::bytes).sum());
        // The next transaction of each sender, the dearest on top; equal ones in the order of senders.
        let mut heads = BinaryHeap::new();
        for (sender, queue) in &self.paid {
            let next = money::account(state, sender)?.nonce;
            heads.extend(queue.get(&next).map(|checked| Offer::of(checked, sender)));
        }
        while let Some(offer) = heads.pop() {
            let Some(queue) = self.paid.get(&offer.sender) else { continue };
            let Some(checked) = queue.get(&offer.nonce) else { continue };
            let Some(left) = room.checked_sub(checked.bytes()) else { continue };
            room = left;
            chosen.push(checked.clone());
            let next = offer.nonce.saturating_add(1);
            heads.extend(queue.get(&next).map(|checked| Offer::of(checked, &offer.sender)));
        }
        Ok(chosen)
    }

    /// The commitments or reports that a block of time `at` could execute, in at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn reports(
        &self,
        state: &dyn StateRead,
        context: &Context,
        at: BlockTime,
        bytes_max: usize,
    ) -> Result<Vec<CheckedTransaction>, StateError> {
        let mut room = bytes_max;
        let mut fits = |report: &&CheckedTransaction| {
            let left = room.checked_sub(report.bytes());
            room = left.unwrap_or(room);
            left.is_some()
        };
        Ok(self.due(state, context, at)?.into_iter().filter(|report| fits(report)).cloned().collect())
    }

    /// The commitments or reports that a block of time `now` could execute.
    fn due(
        &self,
        state: &dyn StateRead,
        context: &Context,
        now: BlockTime,
    ) -> Result<Vec<&CheckedTransaction>, StateError> {
        let head = views::head(state)?;
        let times = Timetable::of(&context.params, head.epoch_began);
        let stage = match reports::draw(state, &context.params)? {
            _ if self.reports.is_empty() || now < times.closing() || now >= times.end() => return Ok(Vec::new()),
            Some(_) => Stage::Report,
            None if now < times.middle() => Stage::Commit,
            None => return Ok(Vec::new()),
        };
        let committee = views::committee(state)?;
        let mut due = Vec::new();
        for (duty, said) in self.reports.iter().filter(|(duty, _)| (duty.epoch, duty.stage) == (head.epoch, stage)) {
            let Some(index) = committee.index_of(&duty.member) else { continue };
            let committed = reports::commitment(state, index)?.is_some();
            if match stage {
                Stage::Commit => !committed,
                Stage::Report => committed && !reports::reported(state, index)?,
            } {
                due.push(said);
            }
        }
        Ok(due)
    }

    /// Drops what a decided block made superfluous: what it includes, nonces it used, reports on epochs before its own.
    pub fn remove_included(&mut self, block: &Block) {
        let epoch = block.header.epoch;
        self.reports.retain(|duty, _| duty.epoch >= epoch);
        for signed in &block.transactions {
            let transaction = &signed.transaction;
            match Duty::of(&transaction.action) {
                Some(duty) => drop(self.reports.remove(&duty)),
                None => self.drop_until(&transaction.sender, transaction.nonce),
            }
        }
    }

    /// Drops what building a block refused for good ([`Refusal::may_pass`]); later nonces of the sender wait on.
    pub fn remove_refused(&mut self, refused: &[(TransactionId, Refusal)]) {
        for (id, refusal) in refused {
            if refusal.may_pass() {
                continue;
            }
            if let Some((sender, nonce)) = self.places.get(id).copied() {
                self.take(&sender, nonce);
            } else {
                self.reports.retain(|_, report| report.id() != *id);
            }
        }
    }

    /// Drops the transactions of `sender` up to and including `nonce`.
    fn drop_until(&mut self, sender: &AccountId, nonce: u64) {
        let used: Vec<u64> = self
            .paid
            .get(sender)
            .into_iter()
            .flat_map(|queue| queue.range(..=nonce))
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in used {
            self.take(sender, nonce);
        }
    }

    fn take(&mut self, sender: &AccountId, nonce: u64) {
        if let Some(tail) = self.tail(sender) {
            self.tails.remove(&tail);
        }
        let Some(queue) = self.paid.get_mut(sender) else { return };
        if let Some(checked) = queue.remove(&nonce) {
            self.bytes -= checked.bytes();
            self.places.remove(&checked.id());
        }
        if queue.is_empty() {
            self.paid.remove(sender);
        }
        self.tails.extend(self.tail(sender));
    }
}

/// A transaction's claim to a place, ordered by fee for a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    /// FROST for 1,024 bytes.
    rate: u128,
    sender: AccountId,
    nonce: u64,
}

impl Offer {
    fn of(checked: &CheckedTransaction, sender: &AccountId) -> Offer {
        let rate = Offer::rate(checked.transaction().fee, checked.bytes());
        Offer { rate, sender: *sender, nonce: checked.transaction().nonce }
    }

    fn rate(fee: Frost, bytes: usize) -> u128 {
        u128::from(fee.0) * 1024 / bytes.max(1) as u128
    }
}

#[cfg(test)]
#[path = "mempool_tests.rs"]
mod tests;
