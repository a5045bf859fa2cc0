//! Heights: when one begins, what consensus is told, what a decision becomes.

use super::guard::{Heard, Leave};
use super::machine::{Coordinator, EXECUTED_MAX, Work};
use super::{Commit, Effect, Error, GossipToken, Judgement, Timer, Topic};
use bytes::Bytes;
use floe_consensus::{
    Certificate, CheckValue, DropReason, Equivocation, Input, JournalEntry, Message, SyncFault, Validator,
    ValidatorKey, ValidatorSet, ValueId, Verdict,
};
use floe_ledger::challenges::Timetable;
use floe_ledger::{Block, CheckedTransaction, Context, Executed, StateRead, views};
use floe_types::params::BLOCK_BYTES_MAX;
use floe_types::{BlockTime, Committee, Height};
use std::collections::{BTreeMap, VecDeque};

/// Lends consensus the ledger's judgement of blocks, and keeps what was executed.
struct Checker<'a> {
    context: &'a Context,
    state: &'a dyn StateRead,
    now: u64,
    /// A block a quorum has decided is not measured against this node's clock.
    decided: Option<ValueId>,
    executed: &'a mut BTreeMap<ValueId, Executed>,
}

impl CheckValue for Checker<'_> {
    fn check(&mut self, _height: floe_consensus::Height, value: &[u8]) -> Verdict {
        let id = ValueId::of(value);
        if self.executed.contains_key(&id) {
            return Verdict::Valid;
        }
        let Ok(block) = Block::decode(value) else { return Verdict::Invalid };
        let result = if self.decided == Some(id) {
            floe_ledger::execute_decided(self.state, self.context, block)
        } else {
            floe_ledger::check_block(self.state, self.context, block, BlockTime(self.now))
        };
        match result {
            Ok(executed) => {
                remember(self.executed, id, executed);
                Verdict::Valid
            }
            Err(_) => Verdict::Invalid,
        }
    }
}

fn remember(kept: &mut BTreeMap<ValueId, Executed>, id: ValueId, executed: Executed) {
    if kept.len() >= EXECUTED_MAX {
        kept.pop_first();
    }
    kept.insert(id, executed);
}

/// Who votes with what power: shards held.
pub(super) fn validators(committee: &Committee) -> ValidatorSet {
    let power = |member: &floe_types::Member| Validator {
        key: ValidatorKey(member.vote_key.0),
        power: member.shards.len() as u64,
    };
    ValidatorSet::new(committee.members().iter().map(power).collect())
        .expect("a checked committee has members with distinct vote keys and shards")
}

impl Coordinator {
    pub(super) fn started(&mut self, journal: Vec<JournalEntry>) {
        self.has_started = true;
        // What was heard of the height under way is in the journal: others may have lost theirs.
        for vote in journal.iter().filter_map(JournalEntry::vote) {
            let bytes = vote.encode();
            self.heard.note(Heard::place_of(&vote, &bytes), &bytes);
        }
        if let Some((_, waiting)) = &mut self.waiting {
            *waiting = journal;
        }
    }

    /// Lets consensus begin, as soon as the guard allows it: with keys and journal, or watching without either.
    pub(super) fn begin_voting(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        if !self.has_started || self.waiting.is_none() {
            return Ok(());
        }
        let journal = self.waiting.as_ref().map_or(&[][..], |(_, journal)| journal);
        let leave = self.guard.leave(&self.committee, &self.node, (self.head.height, journal));
        if leave == Leave::Ask {
            return Ok(());
        }
        let (keys, journal) = self.waiting.take().unwrap_or_default();
        if let Leave::Forgot { .. } = leave {
            self.guard.forgot();
        }
        if let Leave::Observe { from } | Leave::Forgot { from } = leave {
            if self.guard.is_lost() {
                work.out.push(Effect::MemoryLost { below: from });
            }
            // What the journal says was voted here before is of a height that will not be voted at.
            self.guard.hold(keys, from, journal);
            self.look_after_vote_keys(work)?;
            self.begin_at_head(work, Vec::new())?;
            return self.feed_unless_committing(work);
        }
        keys.into_iter().for_each(|key| self.consensus.add_key(key));
        if self.guard.is_in_doubt() {
            work.out.push(Effect::MemoryWhole);
        }
        self.look_after_vote_keys(work)?;
        self.begin_at_head(work, journal)?;
        self.feed_unless_committing(work)
    }

    /// What was fetched while the guard was asking.
    fn feed_unless_committing(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        if self.committing.is_none() { self.feed_fetched(work) } else { Ok(()) }
    }

    fn begin_at_head(&mut self, work: &mut Work<'_>, journal: Vec<JournalEntry>) -> Result<(), Error> {
        let height = self.head.height.next();
        self.running = Some((height, work.now));
        if journal.is_empty() {
            let start =
                Input::StartHeight { height: consensus_height(height), validators: validators(&self.committee) };
            return self.drive(work, start);
        }
        let set = validators(&self.committee);
        let effects = self.consensus.start_replayed(consensus_height(height), set, journal)?;
        let mut queue = VecDeque::new();
        self.carry_out(work, effects, &mut queue)?;
        while let Some(input) = queue.pop_front() {
            self.drive(work, input)?;
        }
        Ok(())
    }

    pub(super) fn consensus_message(
        &mut self,
        work: &mut Work<'_>,
        token: GossipToken,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let Ok(message) = Message::decode(bytes, self.message_bytes_max) else {
            work.out.push(Effect::Judge { token, judgement: Judgement::Reject });
            return Ok(());
        };
        if self.waiting.is_some() {
            work.out.push(Effect::Judge { token, judgement: Judgement::Ignore });
            return Ok(());
        }
        let place = work.out.len();
        work.out.push(Effect::Judge { token, judgement: Judgement::Accept });
        let heard = Heard::place_of(&message, bytes);
        let dropped = self.drive_for_judgement(work, Input::Message(message))?;
        if dropped.is_none() {
            self.heard.note(heard, bytes);
        }
        let judgement = match dropped {
            None => Judgement::Accept,
            Some(DropReason::BadSignature | DropReason::WrongValue | DropReason::BadCertificate) => Judgement::Reject,
            Some(_) => Judgement::Ignore,
        };
        work.out[place] = Effect::Judge { token, judgement };
        Ok(())
    }

    /// Steps consensus with `input` and everything that follows from it inside this node.
    pub(super) fn drive(&mut self, work: &mut Work<'_>, input: Input) -> Result<(), Error> {
        self.drive_for_judgement(work, input).map(|_| ())
    }

    fn drive_for_judgement(&mut self, work: &mut Work<'_>, input: Input) -> Result<Option<DropReason>, Error> {
        let mut queue = VecDeque::from([input]);
        let mut dropped = None;
        while let Some(input) = queue.pop_front() {
            let decided = match &input {
                Input::Synced { value, .. } => Some(ValueId::of(value)),
                _ => None,
            };
            let mut checker = Checker {
                context: &self.context,
                state: work.state,
                now: work.now,
                decided,
                executed: &mut self.executed,
            };
            let effects = self.consensus.step(input, &mut checker)?;
            dropped = self.carry_out(work, effects, &mut queue)?.or(dropped);
        }
        Ok(dropped)
    }

    /// Turns consensus' effects into this machine's; what this machine answers itself goes to `queue`.
    fn carry_out(
        &mut self,
        work: &mut Work<'_>,
        effects: Vec<floe_consensus::Effect>,
        queue: &mut VecDeque<Input>,
    ) -> Result<Option<DropReason>, Error> {
        use floe_consensus::Effect as Consensus;
        let mut dropped = None;
        for effect in effects {
            match effect {
                Consensus::Journal(entry) => work.out.push(Effect::Journal(entry)),
                Consensus::Publish(message) => {
                    let bytes = Bytes::from(message.encode());
                    work.out.push(Effect::Publish { topic: Topic::Consensus, bytes });
                }
                Consensus::SetTimer { timer, after } => {
                    let after_millis = after.as_millis() as u64;
                    work.out.push(Effect::SetTimer { timer: Timer::Consensus(timer), after_millis });
                }
                Consensus::CancelTimer(timer) => work.out.push(Effect::CancelTimer(Timer::Consensus(timer))),
                Consensus::CancelAllTimers => work.out.push(Effect::CancelConsensusTimers),
                Consensus::BuildValue { height, round } => {
                    if let Some(value) = self.build(work, height)? {
                        queue.push_back(Input::ValueBuilt { height, round, value });
                    }
                }
                Consensus::Decided { height, round, value, certificate, equivocations } => {
                    self.decided(work, height, value, (round.0, certificate, equivocations))?;
                }
                Consensus::Behind { height } => self.heard_of_height(height),
                Consensus::SyncRefused { fault, .. } => self.sync_refused(work, fault),
                Consensus::Misbehaved { key, .. } => self.blame(work, key, "proposed an invalid block"),
                Consensus::Dropped(reason) => dropped = Some(reason),
            }
        }
        Ok(dropped)
    }

    fn build(&mut self, work: &Work<'_>, height: floe_consensus::Height) -> Result<Option<Bytes>, Error> {
        if ledger_height(height) != self.head.height.next() {
            return Ok(None);
        }
        let (now, candidates) = match self.late_reports(work)? {
            Some(late) => late,
            None => {
                let now = BlockTime(work.now);
                (now, self.mempool.candidates(work.state, &self.context, now, BLOCK_BYTES_MAX)?)
            }
        };
        let executed = floe_ledger::build_block(work.state, &self.context, self.node, now, candidates)?;
        self.mempool.remove_refused(&executed.refused);
        let bytes = Bytes::from(executed.block.encode());
        remember(&mut self.executed, ValueId::of(&bytes), executed);
        Ok(Some(bytes))
    }

    /// Commitments or reports that came in time and found no block, for a block of the last millisecond of their half of the closing
    /// (decision 031). A proposer or two that are gone would else make the epoch undecided; there is one such block at most in
    /// each half, and nothing else is in it.
    fn late_reports(&self, work: &Work<'_>) -> Result<Option<(BlockTime, Vec<CheckedTransaction>)>, Error> {
        let times = Timetable::of(&self.context.params, self.head.epoch_began);
        for last in [times.middle(), times.end()].map(|end| BlockTime(end.0.saturating_sub(1))) {
            if work.now > last.0 && self.head.time < last {
                let reports = self.mempool.reports(work.state, &self.context, last, BLOCK_BYTES_MAX)?;
                if !reports.is_empty() {
                    return Ok(Some((last, reports)));
                }
            }
        }
        Ok(None)
    }

    fn decided(
        &mut self,
        work: &mut Work<'_>,
        height: floe_consensus::Height,
        value: Bytes,
        (round, certificate, equivocations): (u32, Certificate, Vec<Equivocation>),
    ) -> Result<(), Error> {
        let height = ledger_height(height);
        let executed = match self.executed.remove(&ValueId::of(&value)) {
            Some(executed) => executed,
            None => {
                let diverged = |reason: String| Error::Diverged { height, reason };
                let block = Block::decode(&value).map_err(|error| diverged(error.to_string()))?;
                floe_ledger::execute_decided(work.state, &self.context, block)
                    .map_err(|error| diverged(error.to_string()))?
            }
        };
        self.last_was_empty = executed.block.transactions.is_empty() && executed.block.header.boundary.is_none();
        let included = executed.block.transactions.iter().map(floe_ledger::SignedTransaction::id).collect::<Vec<_>>();
        self.mempool.remove_included(&executed.block);
        self.accusations.found(height, &equivocations);
        let history = floe_ledger::history::entries(&executed);
        work.out.push(Effect::Commit(Box::new(Commit {
            height,
            block: value,
            certificate: certificate.encode(),
            round,
            transactions: included.len(),
            changes: executed.changes,
            history,
            events: executed.events,
            equivocations,
        })));
        self.committing = Some(included);
        Ok(())
    }

    /// The commit is durable: the state is that of the new head.
    pub(super) fn committed(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let included = self.committing.take().unwrap_or_default();
        let epoch_before = self.head.epoch;
        self.head = views::head(work.state)?;
        self.running = None;
        self.executed.clear();
        if self.head.epoch != epoch_before {
            self.committee = views::committee(work.state)?;
            self.attendance.watch(super::machine::others(&self.committee, self.node));
            self.attendance.begin_epoch();
            self.heard.keep(&self.committee);
        }
        self.settle(work, &included)?;
        self.settle_relayed(work, &included)?;
        if self.head.epoch != epoch_before {
            self.free_late_registrations(work);
            self.say_what_it_can_follow(work)?;
            self.look_after_vote_keys(work)?;
        }
        self.see_offences_punished(work)?;
        self.feed_fetched(work)
    }

    /// Begins the next height when none is under way and there is a reason: something to decide, a draw that is
    /// due, an epoch due to end.
    pub(super) fn begin_height_for_a_reason(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        if self.running.is_some() || self.committing.is_some() || self.waiting.is_some() {
            return Ok(());
        }
        let draw_is_due = self.draw_due_at(work)?.is_some_and(|at| work.now >= at);
        let due = work.now >= self.epoch_ends_at() || draw_is_due;
        let begun = self.begun_by_others > self.head.height;
        if due || begun || self.has_something_to_decide(work)? { self.begin_height(work) } else { Ok(()) }
    }

    /// Whether a block would hold a transaction. After an empty block it is tried out: what waits may be waiting for
    /// something that has not come, and would be left out of block after block.
    fn has_something_to_decide(&mut self, work: &Work<'_>) -> Result<bool, Error> {
        if self.mempool.is_empty() {
            return Ok(false);
        }
        if self.late_reports(work)?.is_some() {
            return Ok(true);
        }
        let now = BlockTime(work.now);
        let candidates = self.mempool.candidates(work.state, &self.context, now, BLOCK_BYTES_MAX)?;
        if candidates.is_empty() || !self.last_was_empty {
            return Ok(!candidates.is_empty());
        }
        let tried = floe_ledger::build_block(work.state, &self.context, self.node, now, candidates)?;
        self.mempool.remove_refused(&tried.refused);
        Ok(!tried.block.transactions.is_empty())
    }

    pub(super) fn begin_height(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let height = self.head.height.next();
        if let Some(keys) = self.guard.release(height) {
            keys.into_iter().for_each(|key| self.consensus.add_key(key));
            work.out.push(Effect::MemoryWhole);
        }
        self.running = Some((height, work.now));
        self.next_stall_at = work.now + self.config.stall_millis;
        let validators = validators(&self.committee);
        self.drive(work, Input::StartHeight { height: consensus_height(height), validators })
    }

    /// When the epoch is due to end, in unix milliseconds.
    pub(super) fn epoch_ends_at(&self) -> u64 {
        self.head.epoch_began.plus_millis(self.context.params.epoch_millis).0
    }

    fn heard_of_height(&mut self, height: floe_consensus::Height) {
        // Others are at `height`, so they have decided the one below it.
        self.catch_up.heard_of(Height(height.0.saturating_sub(1)));
        self.begun_by_others = self.begun_by_others.max(Height(height.0));
    }

    fn sync_refused(&mut self, work: &mut Work<'_>, fault: SyncFault) {
        if fault == SyncFault::NotWanted {
            return;
        }
        if let Some(node) = self.catch_up.discard() {
            work.out.push(Effect::Blame { node, cause: "gave a block that was not decided" });
        }
    }

    fn blame(&self, work: &mut Work<'_>, key: ValidatorKey, cause: &'static str) {
        if let Some(member) = self.committee.members().iter().find(|member| member.vote_key.0 == key.0) {
            work.out.push(Effect::Blame { node: member.node, cause });
        }
    }

    /// Feeds the next fetched block, beginning its height when none is under way.
    pub(super) fn feed_fetched(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        while self.committing.is_none() && self.waiting.is_none() {
            let Some(fetched) = self.catch_up.next_block() else { return Ok(()) };
            let height = self.head.height.next();
            let Ok(certificate) = Certificate::decode(&fetched.certificate, CERTIFICATE_BYTES_MAX) else {
                self.sync_refused(work, SyncFault::Mismatch);
                return Ok(());
            };
            if certificate.height.0 <= self.head.height.0 {
                continue;
            }
            if let Some(below) = self.guard.saw(Height(certificate.height.0), &certificate) {
                work.out.push(Effect::MemoryLost { below });
            }
            if self.running.is_none() {
                self.begin_height(work)?;
            }
            if self.committing.is_none() {
                let value = Bytes::from(fetched.block);
                self.drive(work, Input::Synced { height: consensus_height(height), value, certificate })?;
            }
        }
        Ok(())
    }
}

/// The longest encoded commit certificate: 1,024 signers with key and signature.
const CERTIFICATE_BYTES_MAX: usize = 128 << 10;

pub(super) fn consensus_height(height: Height) -> floe_consensus::Height {
    floe_consensus::Height(height.0)
}

fn ledger_height(height: floe_consensus::Height) -> Height {
    Height(height.0)
}
