//! What falls due by time: probes, the draw, own transactions sent again, asking for blocks, and the wake-up timer.

use super::machine::{Coordinator, Work};
use super::wallet::Pending;
use super::{Effect, Error, Ticket, Timer, Topic};
use crate::wire::status::{self, StatusRequest};
use crate::wire::sync;
use bytes::Bytes;
use floe_ledger::{Action, MempoolError, Refusal, SignedTransaction, reports, views};
use floe_types::{BlockTime, Height, NodeId, codec};
use std::collections::BTreeMap;

/// The ticket of what the machine submits by itself.
pub(super) const SAID_BY_ITSELF: Ticket = Ticket(u64::MAX);
/// The longest the machine sleeps without looking round.
const WAKE_MILLIS_MAX: u64 = 10_000;
/// An own transaction first in line for this long is tried out, and freed from when the ledger has come to refuse it.
const STUCK_MILLIS: u64 = 1_000;
/// The shortest: what is overdue is looked at again this soon.
const WAKE_MILLIS_MIN: u64 = 10;

impl Coordinator {
    pub(super) fn probe(&mut self, work: &mut Work<'_>) {
        let network = self.context.network;
        for (to, nonce) in self.attendance.probe(work.now, &self.context.params) {
            let voters = self.guard.own();
            let request = StatusRequest { network, nonce, height: self.head.height, voters };
            work.out.push(Effect::AskStatus { to, nonce, bytes: Bytes::from(status::encode(&request)) });
        }
    }

    pub(super) fn status_answered(&mut self, work: &mut Work<'_>, from: NodeId, bytes: &[u8]) {
        match status::decode_answer(bytes) {
            Ok(answer) if answer.network == self.context.network => {
                if self.attendance.answered(work.now, from, &answer) {
                    self.guard.answered(from, answer.height, answer.heard.as_ref().map(|vote| vote.as_slice()));
                    if answer.height > self.head.height {
                        self.catch_up.heard_of(answer.height);
                    }
                }
            }
            _ => work.out.push(Effect::Blame { node: from, cause: "answered a status request with something else" }),
        }
    }

    /// Signs what this node has to say to the ledger for nothing, and sends it. What it says, and that it says it once, is for whoever
    /// hands it over ([`crate::challenges`]). Handed over again while it waits it is sent again: who was not connected has not heard
    /// it, and gossip drops what it remembers.
    pub(super) fn duty(&mut self, work: &mut Work<'_>, action: Action) {
        if !action.is_report() {
            return;
        }
        let said = self.wallet.sign_duty(action);
        let bytes = Bytes::from(said.encode());
        match self.mempool.add(work.state, &self.context, said) {
            Ok(_) | Err(MempoolError::Seen) => work.out.push(Effect::Publish { topic: Topic::Transactions, bytes }),
            // The epoch went on meanwhile: then it is worth nothing.
            Err(_) => {}
        }
    }

    /// When a block is due only because it becomes the draw, in unix milliseconds; none outside the closing, and once there is
    /// one.
    pub(super) fn draw_due_at(&self, work: &Work<'_>) -> Result<Option<u64>, Error> {
        let closing = self.epoch_ends_at().saturating_sub(self.context.params.closing_millis);
        if work.now < closing {
            return Ok(None);
        }
        Ok(reports::draw_due(work.state, &self.context.params)?.map(|at| at.0))
    }

    /// Sends what waits too long again, and frees the line of a transaction that the ledger has come to refuse.
    pub(super) fn see_own_transactions_through(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        if self.wallet.is_empty() {
            return Ok(());
        }
        if work.now >= self.next_stuck_check_at {
            self.next_stuck_check_at = work.now + STUCK_MILLIS;
            self.free_the_line(work)?;
        }
        for transaction in self.wallet.resend(work.now, self.config.resend_millis) {
            let bytes = Bytes::from(transaction.encode());
            // Seen is the usual answer: it still waits here too.
            let _ = self.mempool.add(work.state, &self.context, transaction);
            work.out.push(Effect::Publish { topic: Topic::Transactions, bytes });
        }
        Ok(())
    }

    fn free_the_line(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let nonce = self.own_nonce(work)?;
        let waits_long = |first: &&Pending| work.now.saturating_sub(first.sent_at) >= STUCK_MILLIS;
        let first = self.wallet.first(nonce).filter(|first| first.replaced.is_none()).filter(waits_long);
        let Some(stuck) = first.map(|first| first.transaction.clone()) else { return Ok(()) };
        let Some(refusal) = self.refusal_of(work, &stuck)?.filter(|refusal| !refusal.may_pass()) else { return Ok(()) };
        self.mempool.remove_refused(&[(stuck.id(), refusal.clone())]);
        if let Some(filler) = self.wallet.replace(work.now, nonce, refusal) {
            // Whatever the pool says to it now, it is sent again until the nonce is used.
            let _ = self.send_own(work, filler);
        }
        Ok(())
    }

    /// An epoch has begun: registrations for the one before are freed from at once, all of them. One after the other, each
    /// with a block of its own, would hold up what comes behind them for as long as there are of them.
    pub(super) fn free_late_registrations(&mut self, work: &mut Work<'_>) {
        for (nonce, late, refusal) in self.wallet.late_registrations(self.head.epoch) {
            self.mempool.remove_refused(&[(late, refusal.clone())]);
            if let Some(filler) = self.wallet.replace(work.now, nonce, refusal) {
                let _ = self.send_own(work, filler);
            }
        }
    }

    /// At the beginning of an epoch: says which version of the protocol this program knows, once for each.
    pub(super) fn say_what_it_can_follow(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let known = self.context.versions_known;
        let is_member = self.committee.index_of(&self.node).is_some();
        let is_news = known > views::protocol(work.state)?.active && known > views::support(work.state, &self.node)?;
        if is_member && is_news && self.is_at_head() {
            // Not taken, or lost: the next epoch says it again. Nobody waits for its ticket.
            self.submit(work, SAID_BY_ITSELF, Action::Support { member: self.node, version: known })?;
        }
        Ok(())
    }

    /// Why a block made now would not take `transaction`; `None` when it would.
    pub(super) fn refusal_of(
        &self,
        work: &Work<'_>,
        transaction: &SignedTransaction,
    ) -> Result<Option<Refusal>, Error> {
        let Ok(candidate) = transaction.clone().check(&self.context.network) else { return Ok(None) };
        let now = BlockTime(work.now);
        let tried = floe_ledger::build_block(work.state, &self.context, self.node, now, vec![candidate])?;
        Ok(tried.refused.into_iter().next().map(|(_, refusal)| refusal))
    }

    pub(super) fn blocks_fetched(&mut self, work: &mut Work<'_>, from: NodeId, bytes: &[u8]) -> Result<(), Error> {
        match sync::decode_answer::<sync::BlocksAnswer>(bytes) {
            Ok(answer) => self.catch_up.came(from, self.head.height, answer),
            Err(_) => {
                self.catch_up.failed(from);
                work.out.push(Effect::Blame { node: from, cause: "answered a block request with something else" });
            }
        }
        if self.committing.is_none() { self.feed_fetched(work) } else { Ok(()) }
    }

    /// Asks for blocks when others are known to be ahead, or when the height under way does not come to its end.
    pub(super) fn ask_for_blocks(&mut self, work: &mut Work<'_>) {
        let stalled = self.running.is_some() && work.now >= self.next_stall_at;
        if stalled {
            self.next_stall_at = work.now + self.config.stall_millis;
        }
        if !stalled && !self.catch_up.is_behind(self.head.height) {
            return;
        }
        if !self.said_far_behind
            && let Some(height) = self.catch_up.is_far_behind(self.head.height, self.config.far_behind_heights)
        {
            self.said_far_behind = true;
            work.out.push(Effect::FarBehind { height });
        }
        let heights: BTreeMap<NodeId, Height> =
            self.attendance.live().iter().map(|(node, seen)| (*node, seen.height)).collect();
        if self.catch_up.is_behind(self.head.height) && self.catch_up.all_failed(&heights) {
            // Nobody could back the claim. If it was true, the next status answer makes it again.
            self.catch_up.forgive();
            self.catch_up.forget_target(self.head.height);
            self.guard.unbacked(self.head.height);
            return;
        }
        if let Some((from, request)) = self.catch_up.ask(work.now, self.head.height, &heights) {
            work.out.push(Effect::FetchBlocks { from, bytes: Bytes::from(codec::encode(&request)) });
        }
    }

    /// Sets the one timer for whatever is due next.
    pub(super) fn set_wake(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let mut next = work.now + WAKE_MILLIS_MAX;
        next = next.min(self.attendance.next_probe_at());
        if self.running.is_none() {
            next = next.min(self.epoch_ends_at()).min(self.draw_due_at(work)?.unwrap_or(u64::MAX));
        } else {
            next = next.min(self.next_stall_at);
        }
        if let Some(resend) = self.wallet.next_resend_at(self.config.resend_millis) {
            next = next.min(resend);
        }
        if let Some(end) = self.relay.next_end() {
            next = next.min(end);
        }
        let next = next.max(work.now + WAKE_MILLIS_MIN);
        if self.wake_at.is_none_or(|at| next < at || at <= work.now) {
            self.wake_at = Some(next);
            work.out.push(Effect::SetTimer { timer: Timer::Wake, after_millis: next - work.now });
        }
        Ok(())
    }
}
