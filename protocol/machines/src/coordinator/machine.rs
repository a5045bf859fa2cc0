//! The coordinator's state and its one verb. This file only says what goes where.

use super::attendance::Attendance;
use super::catch_up::CatchUp;
use super::guard::{Guard, Heard, Memory};
use super::offences::Accusations;
use super::relay::Relay;
use super::wallet::Wallet;
use super::{
    Config, Effect, Error, GossipToken, Identity, Input, Judgement, Outcome, SubmitError, Ticket, Timer, Topic,
};
use crate::wire::status::{self, StatusAnswer};
use bytes::Bytes;
use floe_consensus::{JournalEntry, Machine, ValueId, VoteSigningKey};
use floe_ledger::mempool::Mempool;
use floe_ledger::{Action, Context, Executed, Head, MempoolError, Refusal, SignedTransaction, StateRead, views};
use floe_types::{AccountId, Committee, Height, NodeId, TransactionId, VoteKey};
use std::collections::BTreeMap;

/// So near to what others claim a node is at the head.
const HEAD_HEIGHTS: u64 = 2;

/// Executed blocks of the height under way that are kept; a round more costs executing one again.
pub(super) const EXECUTED_MAX: usize = 16;

/// The coordinating machine of one node.
pub struct Coordinator {
    pub(super) config: Config,
    pub(super) context: Context,
    pub(super) node: NodeId,
    pub(super) consensus: Machine,
    pub(super) message_bytes_max: usize,
    pub(super) committee: Committee,
    pub(super) head: Head,
    /// The height under way and since when.
    pub(super) running: Option<(Height, u64)>,
    /// The greatest height at which a member is known to vote.
    pub(super) begun_by_others: Height,
    /// A commit was ordered and not yet answered.
    pub(super) committing: Option<Vec<TransactionId>>,
    /// The newest block was empty and no boundary: what waits may be what no block can take.
    pub(super) last_was_empty: bool,
    pub(super) executed: BTreeMap<ValueId, Executed>,
    pub(super) mempool: Mempool,
    pub(super) wallet: Wallet,
    pub(super) relay: Relay,
    pub(super) accusations: Accusations,
    /// The vote key that was made last, and for which term: it may be on its way to the ledger.
    pub(super) announcing: Option<(u64, VoteKey)>,
    pub(super) attendance: Attendance,
    pub(super) catch_up: CatchUp,
    pub(super) next_stall_at: u64,
    pub(super) next_stuck_check_at: u64,
    /// The time for which the wake timer is set.
    pub(super) wake_at: Option<u64>,
    pub(super) guard: Guard,
    /// What others are told about their own votes.
    pub(super) heard: Heard,
    /// The keys and the journal, while the guard asks whether they may be used.
    pub(super) waiting: Option<(Vec<VoteSigningKey>, Vec<JournalEntry>)>,
    pub(super) has_started: bool,
    pub(super) said_far_behind: bool,
}

/// What a step works on besides the machine itself.
pub(super) struct Work<'a> {
    pub now: u64,
    pub state: &'a dyn StateRead,
    pub out: Vec<Effect>,
}

impl Coordinator {
    /// A coordinator at the head of `state` whose memory of its votes is certain.
    ///
    /// # Errors
    /// [`Error::State`] when the state cannot be read.
    pub fn new(
        config: Config,
        context: Context,
        identity: Identity,
        state: &dyn StateRead,
    ) -> Result<Coordinator, Error> {
        Coordinator::guarded(config, context, identity, Memory::Certain, state)
    }

    /// A coordinator at the head of `state` that votes only once its memory of earlier votes cannot matter any more.
    ///
    /// # Errors
    /// [`Error::State`] when the state cannot be read.
    pub fn guarded(
        config: Config,
        context: Context,
        identity: Identity,
        memory: Memory,
        state: &dyn StateRead,
    ) -> Result<Coordinator, Error> {
        let head = views::head(state)?;
        let committee = views::committee(state)?;
        let network = context.network;
        let consensus_config =
            floe_consensus::Config { timeouts: config.timeouts, ..floe_consensus::Config::new(network.0) };
        let mut attendance = Attendance::new(u64::from(identity.node.0[0]) << 32);
        attendance.watch(others(&committee, identity.node));
        let guard = Guard::new(network.0, identity.vote_keys.iter().map(VoteSigningKey::public).collect(), memory);
        Ok(Coordinator {
            message_bytes_max: consensus_config.message_bytes_max(),
            // Its keys are given to it when the guard says so.
            consensus: Machine::new(consensus_config, None),
            guard,
            heard: Heard::default(),
            waiting: Some((identity.vote_keys, Vec::new())),
            has_started: false,
            said_far_behind: false,
            wallet: Wallet::new(network, identity.account, context.params.clone()),
            mempool: Mempool::new(Default::default()),
            relay: Relay::default(),
            accusations: Accusations::default(),
            announcing: None,
            catch_up: CatchUp::new(network),
            config,
            context,
            node: identity.node,
            committee,
            head,
            running: None,
            begun_by_others: Height(0),
            committing: None,
            last_was_empty: false,
            executed: BTreeMap::new(),
            attendance,
            next_stall_at: 0,
            next_stuck_check_at: 0,
            wake_at: None,
        })
    }

    /// Takes one input at unix time `now` in milliseconds and answers with what must be done.
    ///
    /// # Errors
    /// [`Error`], after which the machine must not be stepped again.
    pub fn step(&mut self, now: u64, state: &dyn StateRead, input: Input) -> Result<Vec<Effect>, Error> {
        let mut work = Work { now, state, out: Vec::new() };
        match input {
            Input::Started { journal } => self.started(journal),
            Input::ConsensusMessage { token, bytes } => self.consensus_message(&mut work, token, &bytes)?,
            Input::TransactionMessage { token, bytes } => self.transaction_message(&mut work, token, &bytes),
            Input::Submit { ticket, action } => self.submit(&mut work, ticket, action)?,
            Input::Relay { ticket, transaction } => self.relay(&mut work, ticket, *transaction)?,
            Input::Duty { action } => self.duty(&mut work, action),
            Input::VoteKeyMade { term, secret } => self.vote_key_made(&mut work, term, secret)?,
            Input::StatusAnswered { from, bytes } => self.status_answered(&mut work, from, &bytes),
            Input::StatusFailed { from, nonce } => self.attendance.failed(from, nonce),
            Input::BlocksFetched { from, bytes } => self.blocks_fetched(&mut work, from, &bytes)?,
            Input::BlocksFailed { from } => self.catch_up.failed(from),
            Input::TimerFired(Timer::Consensus(timer)) => {
                self.drive(&mut work, floe_consensus::Input::TimerFired(timer))?;
            }
            Input::TimerFired(Timer::Wake) => self.wake_at = None,
            Input::Committed => self.committed(&mut work)?,
        }
        if self.committing.is_none() {
            self.begin_voting(&mut work)?;
        }
        if self.committing.is_none() {
            self.follow_up(&mut work)?;
        }
        Ok(work.out)
    }

    /// What is due whatever the input was: begin a height, probe, send again, and the next wake-up.
    fn follow_up(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        self.begin_height_for_a_reason(work)?;
        if self.committing.is_some() {
            return Ok(());
        }
        self.probe(work);
        self.see_own_transactions_through(work)?;
        self.expire_relayed(work);
        self.ask_for_blocks(work);
        self.begin_height_for_a_reason(work)?;
        self.set_wake(work)
    }

    /// The answer to another node's status request; `None` when it is not one of this network.
    #[must_use]
    pub fn answer_status(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let request = status::decode_request(bytes).ok().filter(|asked| asked.network == self.context.network)?;
        Some(status::encode(&StatusAnswer {
            network: self.context.network,
            nonce: request.nonce,
            height: self.head.height,
            block: self.head.block,
            epoch: self.head.epoch,
            heard: self.heard.newest_of(&request.voters).map(serde_bytes::ByteBuf::from),
        }))
    }

    fn transaction_message(&mut self, work: &mut Work<'_>, token: GossipToken, bytes: &[u8]) {
        let judgement = match SignedTransaction::decode(bytes) {
            Err(_) => Judgement::Reject,
            Ok(transaction) => match self.mempool.add(work.state, &self.context, transaction) {
                Ok(_) => Judgement::Accept,
                Err(MempoolError::Wrong(_)) => Judgement::Reject,
                Err(_) => Judgement::Ignore,
            },
        };
        work.out.push(Effect::Judge { token, judgement });
    }

    pub(super) fn submit(&mut self, work: &mut Work<'_>, ticket: Ticket, action: Action) -> Result<(), Error> {
        let nonce = self.own_nonce(work)?;
        let result = match self.wallet.submit(work.now, nonce, ticket, action) {
            Err(error) => Err(error),
            Ok(transaction) => {
                // One behind others cannot be tried before they are in a block.
                let is_next = transaction.transaction.nonce == nonce;
                let refusal = if is_next { self.refusal_of(work, &transaction)? } else { None };
                let sent = match refusal.filter(|refusal| !refusal.may_pass()) {
                    Some(refusal) => Err(SubmitError::Refused(refusal)),
                    None => self.send_own(work, transaction).map_err(SubmitError::NotTaken),
                };
                if sent.is_err() {
                    self.wallet.withdraw_last();
                }
                sent
            }
        };
        work.out.push(Effect::Submitted { ticket, result });
        Ok(())
    }

    /// Puts an own transaction into the mempool and on the wire.
    pub(super) fn send_own(
        &mut self,
        work: &mut Work<'_>,
        transaction: SignedTransaction,
    ) -> Result<TransactionId, MempoolError> {
        let bytes = Bytes::from(transaction.encode());
        let id = self.mempool.add(work.state, &self.context, transaction)?;
        work.out.push(Effect::Publish { topic: Topic::Transactions, bytes });
        Ok(id)
    }

    /// The nonce that the ledger expects next of this node's account.
    pub(super) fn own_nonce(&self, work: &Work<'_>) -> Result<u64, Error> {
        Ok(views::account(work.state, &self.wallet.account())?.nonce)
    }

    /// After a block: what of our own is settled, and how.
    pub(super) fn settle(&mut self, work: &mut Work<'_>, included: &[TransactionId]) -> Result<(), Error> {
        let nonce = self.own_nonce(work)?;
        for pending in self.wallet.settle(nonce) {
            // Its nonce is used, and not always by it: what this account sent before a restart may have waited elsewhere.
            let used = Refusal::Nonce { found: pending.transaction.transaction.nonce, expected: nonce };
            if pending.replaced.is_some() {
                // What is refused seldom comes alone: the next in line is looked at with this block, not in a second's time.
                self.next_stuck_check_at = work.now;
            }
            let outcome = match included.contains(&pending.submitted) {
                true => Outcome::Included { height: self.head.height },
                false => Outcome::Refused { refusal: pending.replaced.unwrap_or(used) },
            };
            work.out.push(Effect::Settled { ticket: pending.ticket, outcome });
        }
        Ok(())
    }

    /// The head of the chain as this node has it.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The committee in office.
    #[must_use]
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The live view of the other members.
    #[must_use]
    pub fn attendance(&self) -> &Attendance {
        &self.attendance
    }

    /// The account that signs this node's transactions.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.wallet.account()
    }

    /// Transactions waiting for a block.
    #[must_use]
    pub fn waiting_transactions(&self) -> usize {
        self.mempool.len()
    }

    /// Since when the height under way has been under way, in unix milliseconds.
    #[must_use]
    pub fn undecided_since(&self) -> Option<u64> {
        self.running.map(|(_, since)| since)
    }

    /// The first height at which this node votes, while its memory of earlier votes may be gone.
    #[must_use]
    pub fn votes_from(&self) -> Option<Height> {
        self.guard.holds_until()
    }

    /// Whether this node waits for others to say how far they are before it votes.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether others are known to be ahead.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.catch_up.is_behind(self.head.height)
    }

    /// Whether what the ledger says now is what the others' says, as far as is known: the memory of votes is settled, and
    /// nobody claims to be more than [`HEAD_HEIGHTS`] ahead.
    pub(super) fn is_at_head(&self) -> bool {
        let near = Height(self.head.height.0.saturating_add(HEAD_HEIGHTS));
        self.waiting.is_none() && !self.catch_up.is_behind(near)
    }

    /// The height that others claim, while a snapshot is the better way to it than blocks.
    #[must_use]
    pub fn far_behind(&self) -> Option<Height> {
        self.catch_up.is_far_behind(self.head.height, self.config.far_behind_heights)
    }
}

/// The nodes of `committee` other than `node`.
pub(super) fn others(committee: &Committee, node: NodeId) -> Vec<NodeId> {
    committee.members().iter().map(|member| member.node).filter(|other| *other != node).collect()
}
