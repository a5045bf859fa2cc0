//! Decides with the others: when a height begins, what a block holds, whom to ask when behind.
//!
//! The coordinator is the switchboard between four parts and keeps none of their rules:
//! - [`floe_consensus::Machine`] agrees on one value a height; values are encoded blocks;
//! - [`floe_ledger`] says what blocks mean: it builds, checks and executes them;
//! - [`attendance`] asks the other members for their status: the live view;
//! - [`wallet`] gives this node's own transactions their nonces and sees them through;
//! - [`vote_keys`] sees to it that each term has a vote key of its own;
//! - [`relay`] takes transactions that were signed elsewhere and says what became of them;
//! - [`offences`] sees to it that two votes of one key are punished;
//! - [`catch_up`] fetches decided blocks when others are ahead, and says when a snapshot would be better;
//! - [`guard`] keeps a node whose memory of its votes may be gone from voting too early.
//!
//! # How a height goes
//! 1. A height begins when there is a reason: a transaction waits, the draw or the end of the epoch is due, or others have begun it. An
//!    idle network begins none.
//! 2. Consensus asks for a block ([`floe_ledger::build_block`]) or shows one ([`floe_ledger::check_block`]); what was
//!    executed is kept, so that a decided block is not executed again.
//! 3. On a decision one effect carries block, certificate and change set; the shell writes them in one atomic step, ordered
//!    before every later journal entry, and answers with [`Input::Committed`]. Only then the next height can begin.
//!
//! # Laws
//! - **CO-1** Between [`Effect::Commit`] and [`Input::Committed`] nothing is stepped: state is never read half-way.
//! - **CO-2** Nothing is published before the journal entries that stand before it among the effects are durable.
//! - **CO-3** Duties are signed as they are handed over. That each is said once an epoch is [`crate::challenges`]' law.
//! - **CO-4** A boundary is due by time alone, transactions or none; so is the draw, once a member has committed.
//!
//! # Source
//! `design.md` sections 4 and 5; decisions 002 (heights begin for a reason), 003 (status requests) and 035 (challenges).

pub mod attendance;
mod catch_up;
mod duties;
mod guard;
mod heights;
mod machine;
mod offences;
mod relay;
#[cfg(test)]
mod tests;
mod vote_keys;
mod wallet;

pub use attendance::{Attendance, Seen};
pub use guard::{Memory, SAFE_DISTANCE};
pub use machine::Coordinator;
pub use relay::{RELAYED_MAX, WATCH_MILLIS};
pub use wallet::PENDING_MAX;

use bytes::Bytes;
use floe_consensus::{Equivocation, JournalEntry, Timeouts, VoteSigningKey};
use floe_ledger::{Action, ChangeSet, Event, MempoolError, Refusal, SignedTransaction};
use floe_types::keys::SecretKey;
use floe_types::{Height, NodeId, Params, TransactionId, VoteKey};
use std::time::Duration;

/// What one operator may choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long each step of consensus waits.
    pub timeouts: Timeouts,
    /// A height under way this long without a decision makes the node ask others whether they have decided it.
    pub stall_millis: u64,
    /// An own transaction not in a block after this long is sent again. Longer than gossip remembers it, or it would go
    /// nowhere.
    pub resend_millis: u64,
    /// Whether a node makes and announces a vote key of its own for each term.
    pub fresh_vote_keys: bool,
    /// Heights behind the others from which on a snapshot is asked for beside the blocks.
    pub far_behind_heights: u64,
}

impl Config {
    /// The defaults for a network with `params`: a step waits for as long as a tenth of a closing, from 0.15 to 3 seconds.
    ///
    /// An absent proposer costs one such wait, and commitments, the draw and reports must come into blocks within a closing
    /// although proposers are absent, so that an epoch of seconds must not wait as long as one of an hour; on a network of continents 3
    /// seconds are ten times what a proposal takes.
    #[must_use]
    pub fn for_params(params: &Params) -> Config {
        let propose = Duration::from_millis((params.closing_millis / 10).clamp(150, 3_000));
        let timeouts = Timeouts {
            propose,
            prevote: propose / 3,
            precommit: propose / 3,
            rebroadcast: (propose * 2).clamp(Duration::from_secs(1), Duration::from_secs(5)),
            growth_per_round: propose / 4,
            ..Timeouts::default()
        };
        Config {
            timeouts,
            stall_millis: 1_000,
            resend_millis: 12_000,
            fresh_vote_keys: true,
            far_behind_heights: 10_000,
        }
    }
}

/// Who this node is.
pub struct Identity {
    /// Its name among nodes.
    pub node: NodeId,
    /// Its keys for votes: each height is signed with the one that its committee names; without one it observes.
    pub vote_keys: Vec<VoteSigningKey>,
    /// The account that signs its transactions.
    pub account: SecretKey,
}

/// Names a gossip message while its judgement is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GossipToken(pub u64);

/// Names a submission by someone in this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The node has started; these are the journal's entries above its newest block, in order.
    Started {
        /// The entries.
        journal: Vec<JournalEntry>,
    },
    /// A message on the consensus topic. Answered by [`Effect::Judge`].
    ConsensusMessage {
        /// To name it in the judgement.
        token: GossipToken,
        /// Its bytes, unchecked.
        bytes: Bytes,
    },
    /// A message on the transactions topic. Answered by [`Effect::Judge`].
    TransactionMessage {
        /// To name it in the judgement.
        token: GossipToken,
        /// Its bytes, unchecked.
        bytes: Bytes,
    },
    /// This node wants something of the ledger. Answered by [`Effect::Submitted`], later by [`Effect::Settled`].
    Submit {
        /// To name it in the answers.
        ticket: Ticket,
        /// What is wanted.
        action: Action,
    },
    /// Somebody hands in a transaction that is signed already. Answered as [`Input::Submit`].
    Relay {
        /// To name it in the answers.
        ticket: Ticket,
        /// The transaction, unchecked.
        transaction: Box<SignedTransaction>,
    },
    /// This node has something to say to the ledger that costs nothing: a commitment or a report. Safe twice.
    Duty {
        /// What is said.
        action: Action,
    },
    /// Answers [`Effect::MakeVoteKey`]: the key is durable.
    VoteKeyMade {
        /// For which term.
        term: u64,
        /// Its secret.
        secret: [u8; 32],
    },
    /// A member answered a status request.
    StatusAnswered {
        /// Who.
        from: NodeId,
        /// Its answer, unchecked.
        bytes: Bytes,
    },
    /// A status request failed.
    StatusFailed {
        /// Who did not answer.
        from: NodeId,
        /// The request's nonce.
        nonce: u64,
    },
    /// Decided blocks came.
    BlocksFetched {
        /// From whom.
        from: NodeId,
        /// The answer, unchecked.
        bytes: Bytes,
    },
    /// Decided blocks did not come.
    BlocksFailed {
        /// From whom they were wanted.
        from: NodeId,
    },
    /// A timer ran out.
    TimerFired(Timer),
    /// The commit is written and the state shows it.
    Committed,
}

/// What the shell must do, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Keep this entry; durable before any later publish. Safe twice.
    Journal(JournalEntry),
    /// Send to all. Safe twice.
    Publish {
        /// On which topic.
        topic: Topic,
        /// What.
        bytes: Bytes,
    },
    /// What the transport should think of a gossip message.
    Judge {
        /// Which message.
        token: GossipToken,
        /// The opinion.
        judgement: Judgement,
    },
    /// Answer with [`Input::TimerFired`] after this time; a timer already set starts anew.
    SetTimer {
        /// Which.
        timer: Timer,
        /// How long from now.
        after_millis: u64,
    },
    /// Forget a timer.
    CancelTimer(Timer),
    /// Forget all timers of consensus.
    CancelConsensusTimers,
    /// Write all of it in one atomic step before any later journal entry, drop the journal up to its height, answer
    /// [`Input::Committed`].
    Commit(Box<Commit>),
    /// Ask a member for its status; answered by [`Input::StatusAnswered`] or [`Input::StatusFailed`].
    AskStatus {
        /// Whom.
        to: NodeId,
        /// The request's nonce.
        nonce: u64,
        /// The encoded request.
        bytes: Bytes,
    },
    /// Ask a member for decided blocks; answered by [`Input::BlocksFetched`] or [`Input::BlocksFailed`].
    FetchBlocks {
        /// Whom.
        from: NodeId,
        /// The encoded request.
        bytes: Bytes,
    },
    /// The answer to a submission: its transaction is on its way, or not.
    Submitted {
        /// Which.
        ticket: Ticket,
        /// Its transaction, or why there is none.
        result: Result<TransactionId, SubmitError>,
    },
    /// What became of a submission.
    Settled {
        /// Which.
        ticket: Ticket,
        /// What became of it.
        outcome: Outcome,
    },
    /// Make a fresh secret for votes and keep it durably; answered by [`Input::VoteKeyMade`]. Asked again in the next epoch
    /// when it is not. Safe twice: the later one counts.
    MakeVoteKey {
        /// For which term.
        term: u64,
    },
    /// Destroy every secret for votes but those of these keys, for good. Safe twice.
    KeepVoteKeys {
        /// The public halves.
        keys: Vec<VoteKey>,
    },
    /// Others are far ahead, or have dropped the blocks that come next here: a snapshot is the better way
    /// ([`crate::snapshot`]). Said once. Blocks are asked for all the same.
    FarBehind {
        /// The greatest height that others claim.
        height: Height,
    },
    /// Nothing that was forgotten can matter any more: the note that memory was lost can go. Durable before any later
    /// publish. Safe twice.
    MemoryWhole,
    /// What the disk remembers may be less than what this node has signed, at heights below this one and at no other. The note is
    /// kept until [`Effect::MemoryWhole`] and is given back at the next start ([`Memory::LostBelow`]). Durable before any later
    /// publish. Safe twice, the newest counts.
    MemoryLost {
        /// The first height of which all is remembered.
        below: Height,
    },
    /// A member gave what it should not have. For peer scores and logs.
    Blame {
        /// Who.
        node: NodeId,
        /// For what.
        cause: &'static str,
    },
}

/// A decided block and all that follows from it.
#[derive(Debug)]
pub struct Commit {
    /// Its height.
    pub height: Height,
    /// The encoded block.
    pub block: Bytes,
    /// The encoded commit certificate.
    pub certificate: Vec<u8>,
    /// The rounds it took, from 0.
    pub round: u32,
    /// What changes in the state.
    pub changes: ChangeSet,
    /// What it adds to the index of accounts' histories, for whoever keeps one.
    pub history: Vec<floe_ledger::Entry>,
    /// What happened in it.
    pub events: Vec<Event>,
    /// Transactions in it.
    pub transactions: usize,
    /// Who was caught signing two things at this height.
    pub equivocations: Vec<Equivocation>,
}

/// A gossip topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Signed transactions.
    Transactions,
    /// Votes, proposals, certificates.
    Consensus,
}

/// What the transport should do with a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Relay it.
    Accept,
    /// Do not relay it; nobody is to blame.
    Ignore,
    /// Do not relay it; whoever passed it on is to blame.
    Reject,
}

/// The coordinator's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// One of consensus.
    Consensus(floe_consensus::Timer),
    /// The next thing that is due by time: a probe, a draw, a boundary, a second try.
    Wake,
}

/// Why a submission was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many own transactions wait already.
    #[error("{count} transactions of this node wait already; try again when some are in a block")]
    Busy {
        /// How many.
        count: usize,
    },
    /// The pool of waiting transactions would not take it as things stand.
    #[error(transparent)]
    NotTaken(#[from] MempoolError),
    /// The ledger would refuse it as things stand.
    #[error(transparent)]
    Refused(Refusal),
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the block of this height.
    Included {
        /// The height.
        height: Height,
    },
    /// The ledger no longer takes it; it had no effect and will have none.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// It still waits, and is not watched any longer. Only for transactions that were handed in.
    Waiting,
}

/// What the coordinator cannot go on from. The shell stops the process; a restart replays the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Consensus refuses to go on.
    #[error("consensus: {0}")]
    Consensus(#[from] floe_consensus::Error),
    /// The state could not be read.
    #[error("ledger state: {0}")]
    State(#[from] floe_ledger::StateError),
    /// A decided block does not execute here: this node's state differs from what a quorum has.
    #[error(
        "the block decided at height {height} does not execute on this node's state ({reason}); the data directory is damaged: move it away and let the node catch up from its peers"
    )]
    Diverged {
        /// The height.
        height: Height,
        /// The ledger's words.
        reason: String,
    },
}
