//! What goes into the machine of challenges and what comes out.

use crate::coordinator::Judgement;
use bytes::Bytes;
use floe_ledger::challenges::{Slip, Unread};
use floe_ledger::{Action, StateError};
use floe_types::bls::BlsSecretKey;
use floe_types::keys::SecretKey;
use floe_types::{Epoch, NodeId};

/// What one operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Questions of this node under way at a time. More are asked later in their slot.
    pub asks_max: usize,
    /// Questions of others being answered at a time; one more is told to be too many.
    pub answers_max: usize,
    /// Of these, of one member.
    pub answers_per_peer_max: usize,
    /// Samples of others that are asked for again, in a slot. Those beyond are left to others.
    pub again_max: usize,
}

impl Default for Config {
    /// 256 questions under way, 64 being answered, 8 of one member, 256 again: a committee of a thousand asks two a second.
    fn default() -> Config {
        Config { asks_max: 256, answers_max: 64, answers_per_peer_max: 8, again_max: 256 }
    }
}

/// Who this node is.
#[derive(Clone)]
pub struct Identity {
    /// Its name among nodes.
    pub node: NodeId,
    /// The secret of its network identity, whose public half is its name: signs observations.
    pub network_key: SecretKey,
    /// The key of its confirmations, which gives its seeds.
    pub confirmation_key: BlsSecretKey,
}

/// A question of this node under way, numbered by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A question of somebody else, numbered by the shell and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Names an observation that came by gossip while its judgement is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservationToken(pub u64);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The node has started. Once, first.
    Started {
        /// What [`Effect::Keep`] kept last, if anything; at most [`super::SEALED_BYTES_MAX`].
        kept: Option<Vec<u8>>,
    },
    /// A block was decided and its state shows.
    Advanced,
    /// A target replied.
    Answered {
        /// To which question.
        ask: AskId,
        /// Its bytes, unchecked.
        bytes: Bytes,
    },
    /// There is nobody, or the exchange broke.
    Failed {
        /// Which question was not answered.
        ask: AskId,
    },
    /// A message on the observations topic. Answered by [`Effect::Judge`].
    Observed {
        /// To name it in the judgement.
        token: ObservationToken,
        /// Its bytes, unchecked.
        bytes: Bytes,
    },
    /// Somebody asks. Answered by [`Effect::Open`] or [`Effect::Reply`].
    Asked {
        /// The exchange.
        exchange: ExchangeId,
        /// Who, as the transport has authenticated it.
        peer: NodeId,
        /// Its bytes, unchecked.
        bytes: Bytes,
    },
    /// Ends [`Effect::Open`]: the reply is sent, or the peer is gone.
    Opened {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// A reader of this node could not get this from a holder that coverage names: it said no, sent something else, or nothing.
    Unread {
        /// Whom it was asked of.
        holder: NodeId,
        /// What.
        what: Unread,
    },
    /// Time passed; see [`super::Challenger::wake_at`].
    Tick,
}

/// What the shell must do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a member; answered by [`Input::Answered`] or [`Input::Failed`]. The machine itself gives up after the hard deadline.
    Ask {
        /// To name it in the answer.
        ask: AskId,
        /// Whom.
        to: NodeId,
        /// The encoded request.
        bytes: Bytes,
    },
    /// Send to all, on the observations topic. Safe twice.
    Publish {
        /// What.
        bytes: Bytes,
    },
    /// What the transport should think of an observation.
    Judge {
        /// Which.
        token: ObservationToken,
        /// The opinion.
        judgement: Judgement,
    },
    /// Read, open and sign with [`super::show`] on a thread that may block, send what it gives, then say [`Input::Opened`].
    Open {
        /// The exchange.
        exchange: ExchangeId,
        /// What is asked, of this node by the peer.
        slip: Slip,
    },
    /// Send this. Ends the exchange.
    Reply {
        /// The exchange.
        exchange: ExchangeId,
        /// The encoded reply.
        bytes: Bytes,
    },
    /// Keep this in place of what was kept before, durably before any later effect. Safe twice.
    Keep {
        /// The epoch that it is about: of no use in any other.
        epoch: Epoch,
        /// What.
        bytes: Vec<u8>,
    },
    /// Hand to the coordinator as [`crate::coordinator::Input::Duty`]. Safe twice.
    Duty {
        /// What is to be said to the ledger, without fee or nonce.
        action: Action,
    },
    /// A member gave what it should not have. For peer scores and logs.
    Blame {
        /// Who.
        node: NodeId,
        /// For what.
        cause: &'static str,
    },
}

/// Why the machine could not do its part. Its state is as before, and the next step may go well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state could not be read.
    #[error("ledger state: {0}")]
    State(#[from] StateError),
}
